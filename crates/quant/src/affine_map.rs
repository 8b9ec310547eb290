//! Affine maps: codes that are never negative, and the trained map that gives them a value (Wang and Lin, "Optimizing 3D U-Net-based Brain Tumor
//! Segmentation with Integer-arithmetic Deep Learning Accelerators", ACM JETC 18(2), 2022).
//!
//! ```text
//! q = rnd( clip((x − b)/s, 0, Q) ),   x̂ = s·q + b,   Q = 2^k − 1,   rnd(v) = ⌊v + ½⌋
//!
//! Σ x̂·ŵ = s_a·s_w·acc + s_a·b_w·Sq + s_w·b_a·Sp + n·b_a·b_w        acc = Σ q·p,  Sq = Σ q,  Sp = Σ p
//! q' = clip( rnd(A·acc + R·Sq + C), 0, Q' )                         BatchNormalization, ReLU and encode in one ([`LayerEnd`])
//! ```
//! The body of the paper was not at hand: the equations follow by algebra from what its abstract fixes, and the names are ours.
//!
//! **In the engine** a weight's map has its offset on a grid of its own step: b = −s·Z/2^F with an integer Z ([`snapped`](AffineMap::snapped)). Then
//! w = (s/2^F)·(2^F·p − Z) is a weight of one scale with integer levels 2^F·p and zero point Z, `acc' = 2^F·acc − Z·Sq` is the sum of FORMAT.md 1.3, and
//! nothing else is new. An activation's map has b = −s·z with a code z for 0 ([`with_zero`](AffineMap::with_zero)), so that padding is a code.

/// x̂ = scale·q + offset, q in 0 … 2^bits − 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AffineMap {
    /// s > 0.
    pub scale: f64,
    /// b.
    pub offset: f64,
    /// k, 1 … 8.
    pub bits: u32,
}

/// ∂x̂/∂x, ∂x̂/∂s and ∂x̂/∂b at one x: straight-through on the rounding, exact elsewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slopes {
    /// 1 within the range, 0 outside.
    pub x: f64,
    /// 0 below, q − v within, Q above.
    pub scale: f64,
    /// 1 outside, 0 within.
    pub offset: f64,
}

impl Slopes {
    /// The same map by its ends lo = b and hi = b + Q·s: ∂x̂/∂lo and ∂x̂/∂hi.
    pub fn of_range(&self, top: f64) -> (f64, f64) {
        (self.offset - self.scale / top, self.scale / top)
    }
}

impl AffineMap {
    /// The map whose lowest and highest values these are.
    ///
    /// ```
    /// let map = quant::affine_map::AffineMap::of_range(-0.75, 0.75, 2);
    /// assert_eq!((map.scale, map.code(0.1), map.value(2)), (0.5, 2, 0.25));
    /// ```
    pub fn of_range(low: f64, high: f64, bits: u32) -> AffineMap {
        let map = AffineMap {
            scale: 1.0,
            offset: low,
            bits,
        };
        AffineMap {
            scale: (high - low) / map.top(),
            ..map
        }
    }

    /// Q, the largest code.
    pub fn top(&self) -> f64 {
        f64::from((1u32 << self.bits) - 1)
    }

    /// v = (x − b)/s, not clipped.
    pub fn position(&self, x: f64) -> f64 {
        (x - self.offset) / self.scale
    }

    /// q; NaN gives 0.
    pub fn code(&self, x: f64) -> u8 {
        (self.position(x).clamp(0.0, self.top()) + 0.5).floor() as u8
    }

    /// x̂ of a code.
    pub fn value(&self, code: u8) -> f64 {
        self.scale * f64::from(code) + self.offset
    }

    /// The derivatives at x.
    pub fn slopes(&self, x: f64) -> Slopes {
        let v = self.position(x);
        let (x, scale, offset) = if v <= 0.0 {
            (0.0, 0.0, 1.0)
        } else if v >= self.top() {
            (0.0, self.top(), 1.0)
        } else {
            (1.0, f64::from(self.code(x)) - v, 0.0)
        };
        Slopes { x, scale, offset }
    }

    /// Z of the offset −s·Z/2^F that is nearest, and the map with that offset; |Z| ≤ 2^22.
    pub fn snapped(&self, fraction: u32) -> (i32, AffineMap) {
        let parts = f64::from(1u32 << fraction);
        let z = (-self.offset / self.scale * parts + 0.5).floor();
        let z = z.clamp(-f64::from(1 << 22), f64::from(1 << 22));
        let offset = -self.scale * z / parts;
        (z as i32, AffineMap { offset, ..*self })
    }

    /// The code of 0 and the map that has it exactly: what pads a convolution that reads such codes. A range without 0 ends there.
    pub fn with_zero(&self) -> (u8, AffineMap) {
        let z = (-self.offset / self.scale + 0.5).floor().clamp(0.0, self.top());
        let offset = -self.scale * z;
        (z as u8, AffineMap { offset, ..*self })
    }
}

/// BatchNormalization of one channel at the end of a layer: γ, β, μ, σ².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// γ
    pub gain: f64,
    /// β
    pub shift: f64,
    /// μ
    pub mean: f64,
    /// σ²
    pub variance: f64,
    /// ε
    pub epsilon: f64,
}

/// A, R and C of one output channel: from the integer sums to the position of the next code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerEnd {
    /// Of acc.
    pub products: f64,
    /// Of Sq.
    pub inputs: f64,
    /// What is added.
    pub constant: f64,
}

impl LayerEnd {
    /// Of a layer from `input` through weights of `weight` with n taps and the sum Sp of a channel's codes, normalized, to codes of `next`, whose offset is
    /// 0: its lower clip is the ReLU. A negative gain gives a negative A.
    pub fn new(
        input: &AffineMap,
        weight: &AffineMap,
        taps: usize,
        codes: i64,
        norm: &Norm,
        next: &AffineMap,
    ) -> LayerEnd {
        let gain = norm.gain / (norm.variance + norm.epsilon).sqrt();
        let unit = gain / next.scale;
        let fixed = weight.scale * input.offset * codes as f64 + taps as f64 * input.offset * weight.offset;
        LayerEnd {
            products: unit * input.scale * weight.scale,
            inputs: unit * input.scale * weight.offset,
            constant: (gain * (fixed - norm.mean) + norm.shift) / next.scale,
        }
    }

    /// q' of the sums.
    pub fn code(&self, acc: i64, inputs: i64, top: f64) -> u8 {
        let v = self.products * acc as f64 + self.inputs * inputs as f64 + self.constant;
        (v.clamp(0.0, top) + 0.5).floor() as u8
    }
}

/// Most taps whose sum of products of codes fits i32: 5.5 of the method's page.
///
/// ```
/// assert_eq!(quant::affine_map::most_taps(8, 8), 33_025);
/// assert_eq!(quant::affine_map::most_taps(4, 4), 9_544_371);
/// ```
pub fn most_taps(input_bits: u32, weight_bits: u32) -> u64 {
    let top = |bits: u32| (1u64 << bits) - 1;
    i32::MAX as u64 / (top(input_bits) * top(weight_bits))
}
