//! Fake quantizers of activations: what one element becomes in forward, and its two derivatives in backward.
//!
//! ```text
//! y = s·(q − z),   q = clamp( R(x/s) + z, 0, K ),   K = 2^b − 1
//! ```
//! R is `rne`, FORMAT.md 1.12, or `ceil`, the quantized ReLU of BCGD (arXiv 1808.05240, eq. 5; z = 0 there): y = kα on ((k−1)α, kα].
//! `ceil`(u) = `rne`(u + ½) but at ties, so a model trained with `ceil` is exported by adding s/2 to the bias of the operator before the edge.
//!
//! Derivatives, with k = q − z and the *inside* −z < … ≤ K − z of the clamp:
//!
//! | rule | ∂y/∂x | ∂y/∂s below | inside | above |
//! |---|---|---|---|---|
//! | `ste` | 1 inside, else 0 | – | – | – |
//! | `bcgd-ae` | 1 inside, else 0 | −z | k | K − z |
//! | `bcgd-3` | 1 inside, else 0 | −z | 2^(b−1) · sign(x) | K − z |
//! | `bcgd-2` | 1 inside, else 0 | −z | 0 | K − z |
//! | `lsq`, `affine` | 1 inside, else 0 | −z | k − x/s | K − z |
//!
//! For z = 0 these are BCGD's 2^b-, 3- and 2-valued derivatives (3-valued: the mean of k over (0, Kα]) and LSQ's (arXiv 1902.08153, eq. 3).
//! With z > 0, the paper does not say; the clamp's own bounds stand in for 0 and K, and the 3-valued form takes the side's mean level,
//! (K − z + 1)/2 for x > 0 and −(z + 1)/2 for x < 0, which is 2^(b−1) for z = 0.

use quant::names::{did_you_mean, nearest};

use crate::program::{AlphaDerivative, QuantizerGradient, Rounding};

/// Names of the derivatives in recipes.
const RULES: [(&str, QuantizerGradient); 6] = [
    ("ste", QuantizerGradient::Fixed),
    (
        "bcgd-ae",
        QuantizerGradient::Alpha(AlphaDerivative::AlmostEverywhere),
    ),
    ("bcgd-3", QuantizerGradient::Alpha(AlphaDerivative::ThreeValued)),
    ("bcgd-2", QuantizerGradient::Alpha(AlphaDerivative::TwoValued)),
    ("lsq", QuantizerGradient::Lsq),
    ("affine", QuantizerGradient::Lsq),
];

/// The derivatives of this name.
///
/// # Errors
/// With the nearest name.
pub fn rule(name: &str) -> Result<QuantizerGradient, String> {
    RULES.iter().find(|r| r.0 == name).map(|r| r.1).ok_or_else(|| {
        let names: Vec<&str> = RULES.iter().map(|r| r.0).collect();
        let near = did_you_mean(nearest(name, names.iter().copied()));
        format!(
            "the activation rule \"{name}\" is none of {}{near}",
            names.join(", ")
        )
    })
}

/// The rounding of this name.
///
/// # Errors
/// With the names there are.
pub fn rounding(name: &str) -> Result<Rounding, String> {
    match name {
        "rne" => Ok(Rounding::Nearest),
        "ceil" => Ok(Rounding::Up),
        _ => Err(format!("there is no rounding \"{name}\"; there are rne and ceil")),
    }
}

/// The numbers of one fake quantizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fake {
    /// s > 0.
    pub step: f32,
    /// Code of real 0.
    pub zero_point: u8,
    /// 1 … 8.
    pub bits: u32,
    /// R.
    pub rounding: Rounding,
}

impl Fake {
    /// K, the largest code.
    pub fn top(&self) -> i32 {
        (1 << self.bits) - 1
    }

    /// q − z; NaN becomes 0.
    #[inline]
    pub fn level(&self, x: f32) -> i32 {
        let u = x / self.step;
        let r = match self.rounding {
            Rounding::Nearest => u.round_ties_even(),
            Rounding::Up => u.ceil(),
        };
        let z = i32::from(self.zero_point);
        // The bounds keep the cast and the sum inside i32; NaN casts to 0.
        (r.clamp(-65_536.0, 65_536.0) as i32).clamp(-z, self.top() - z)
    }

    /// y.
    #[inline]
    pub fn value(&self, x: f32) -> f32 {
        self.step * self.level(x) as f32
    }

    /// ∂y/∂x and ∂y/∂s at x.
    ///
    /// ```
    /// use train::method::activation::{Fake, rule};
    /// use train::program::Rounding;
    /// let relu = Fake { step: 0.5, zero_point: 0, bits: 2, rounding: Rounding::Up };
    /// assert_eq!(relu.value(0.6), 1.0);
    /// assert_eq!(relu.derivatives(0.6, rule("bcgd-3").unwrap()), (1.0, 2.0));
    /// assert_eq!(relu.derivatives(9.0, rule("bcgd-2").unwrap()), (0.0, 3.0));
    /// ```
    #[inline]
    pub fn derivatives(&self, x: f32, rule: QuantizerGradient) -> (f32, f32) {
        let z = f32::from(self.zero_point);
        let (low, high) = (-z, self.top() as f32 - z);
        let learned = |value: f32| {
            if rule == QuantizerGradient::Fixed {
                0.0
            } else {
                value
            }
        };
        // As products, not quotients: x = K·s must lie inside whatever s is.
        if x.is_nan() {
            (0.0, 0.0)
        } else if x > high * self.step {
            (0.0, learned(high))
        } else if x < low * self.step || (x == low * self.step && self.zero_point == 0) {
            (0.0, learned(low))
        } else {
            let inside = match rule {
                QuantizerGradient::Fixed | QuantizerGradient::Alpha(AlphaDerivative::TwoValued) => 0.0,
                QuantizerGradient::Alpha(AlphaDerivative::AlmostEverywhere) => self.level(x) as f32,
                QuantizerGradient::Alpha(AlphaDerivative::ThreeValued) if x > 0.0 => (high + 1.0) / 2.0,
                QuantizerGradient::Alpha(AlphaDerivative::ThreeValued) if x < 0.0 => (low - 1.0) / 2.0,
                QuantizerGradient::Alpha(AlphaDerivative::ThreeValued) => 0.0,
                QuantizerGradient::Lsq => self.level(x) as f32 - x / self.step,
            };
            (1.0, inside)
        }
    }

    /// Factor of the summed ∂ℓ/∂s: LSQ's 1/√(N·K) for a tensor of N elements (of one picture times the batch), 1 for the others, whose
    /// rate has a factor of its own.
    pub fn step_gradient_scale(&self, rule: QuantizerGradient, elements: usize) -> f32 {
        match rule {
            QuantizerGradient::Lsq => 1.0 / (elements.max(1) as f64 * f64::from(self.top())).sqrt() as f32,
            _ => 1.0,
        }
    }
}

/// BCGD's update direction of a step: clip(r·g, −1, 1), published r = 0.01; the trainer adds the weight decay, which holds a step back whose 2-valued derivative would let it grow.
pub fn bcgd_step_gradient(gradient: f32, factor: f32) -> f32 {
    (factor * gradient).clamp(-1.0, 1.0)
}

/// BCGD's bounds of a learned step.
pub fn bcgd_clamp_step(step: f32) -> f32 {
    step.clamp(1e-3, 5.0)
}

/// The step of least error E(y − max(x, 0))² for x ~ N(0, 1), 1 … 8 bits: the start of a learned step behind BatchNorm, times the standard
/// deviation otherwise. The table is `methods/bcgd.md` §5; a test recomputes it.
pub fn initial_step(bits: u32, rounding: Rounding) -> f32 {
    const NEAREST: [f32; 8] = [1.2240, 0.6508, 0.3534, 0.1932, 0.1055, 0.0573, 0.0309, 0.0165];
    const CEIL: [f32; 8] = [0.7979, 0.4866, 0.2893, 0.1666, 0.0938, 0.0520, 0.0284, 0.0154];
    let table = match rounding {
        Rounding::Nearest => NEAREST,
        Rounding::Up => CEIL,
    };
    table[(bits.clamp(1, 8) - 1) as usize]
}
