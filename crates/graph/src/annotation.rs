//! What quantization adds to a graph: a grid with codes and scales on a weight, a quantizer on an edge.
//!
//! These are plain numbers. Nothing here knows how codes were chosen (`quant`) or how they are multiplied (`kernels`).

/// One term of a quantized weight: `w ≈ Σ_points scale[c] · level(code)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// One code per weight, row-major in the weight's ONNX order; each below 2^bits.
    pub codes: Vec<u8>,
    /// One scale, or one per output channel; finite and positive.
    pub scales: Vec<f32>,
}

/// A quantized weight. The value of element i with output channel c is
/// `Σ_p scales_p[c] · (levels[codes_p[i]] − zero_points[c])`, each product rounded to f32 once.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightAnnotation {
    /// Grid name as in flags and tables: `lbw4`, `pow2-4`, `int8`, `ternary`, …
    pub grid: String,
    /// Bits stored per code, 1…8.
    pub bits: u32,
    /// Shape of the weight in ONNX order.
    pub shape: Vec<usize>,
    /// Axis of the output channel: 0 for Conv and Gemm with transB, 1 for ConvTranspose (group 1) and Gemm.
    pub axis: usize,
    /// Integer level of each of the 2^bits codes; unused codes repeat a used level or are 0.
    pub levels: Vec<i32>,
    /// Affine weights: one integer per scale of the first point; `None` means 0.
    pub zero_points: Option<Vec<i32>>,
    /// At least one term.
    pub points: Vec<Point>,
}

impl WeightAnnotation {
    /// Number of weights.
    pub fn len(&self) -> usize {
        self.points.first().map_or(0, |p| p.codes.len())
    }

    /// Whether there is no weight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Output channel of the element at row-major index `i`.
    pub fn channel(&self, i: usize) -> usize {
        let inner: usize = self.shape[self.axis + 1..].iter().product();
        i / inner.max(1) % self.shape[self.axis]
    }

    /// Integer levels (zero point taken off) of one point, in the weight's order.
    pub fn integer_levels(&self, point: usize) -> Vec<i32> {
        let codes = &self.points[point].codes;
        let level = |code: &u8| self.levels[usize::from(*code)];
        match &self.zero_points {
            None => codes.iter().map(level).collect(),
            Some(z) if z.len() == 1 => codes.iter().map(|c| level(c) - z[0]).collect(),
            Some(z) => codes
                .iter()
                .enumerate()
                .map(|(i, c)| level(c) - z[self.channel(i)])
                .collect(),
        }
    }

    /// The real weights: `Σ_p scale · level`, each product and each sum rounded to f32.
    pub fn decode(&self) -> Vec<f32> {
        let mut out = vec![0f32; self.len()];
        for (p, point) in self.points.iter().enumerate() {
            let levels = self.integer_levels(p);
            for (i, (o, level)) in out.iter_mut().zip(levels).enumerate() {
                let scale = if point.scales.len() == 1 {
                    point.scales[0]
                } else {
                    point.scales[self.channel(i)]
                };
                let term = scale * level as f32;
                *o = if p == 0 { term } else { *o + term };
            }
        }
        out
    }

    /// Whether the parts agree: lengths, ranges, positive finite scales. Everything else here relies on it.
    ///
    /// # Errors
    /// A sentence that names the part at fault.
    pub fn check(&self) -> Result<(), String> {
        /// Integers of this size and their differences are exact in f32.
        const LARGEST: u32 = 1 << 23;
        if !(1..=8).contains(&self.bits) {
            return Err(format!("a code has {} bits; 1 to 8 are possible", self.bits));
        }
        if self.grid.is_empty() || self.grid.len() > 64 || !self.grid.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("{:?} is not a grid name", self.grid));
        }
        if self.levels.len() != 1 << self.bits {
            let (have, bits) = (self.levels.len(), self.bits);
            return Err(format!("{have} levels are given for codes of {bits} bits"));
        }
        let Some(&channels) = self.shape.get(self.axis) else {
            return Err(format!("axis {} is not one of shape {:?}", self.axis, self.shape));
        };
        let count = tensor::numel(&self.shape).map_err(|e| e.to_string())?;
        if count == 0 {
            return Err(format!("shape {:?} holds no weight", self.shape));
        }
        let Some(first) = self.points.first() else {
            return Err("there is no point".into());
        };
        for point in &self.points {
            if point.codes.len() != count {
                let have = point.codes.len();
                return Err(format!("{have} codes are given for shape {:?}", self.shape));
            }
            if let Some(code) = point.codes.iter().find(|&&c| usize::from(c) >= self.levels.len()) {
                return Err(format!("code {code} does not fit {} bits", self.bits));
            }
            if ![1, channels].contains(&point.scales.len()) {
                let have = point.scales.len();
                return Err(format!("{have} scales are given for {channels} output channels"));
            }
            if let Some(s) = point.scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
                return Err(format!("a scale is {s}; scales are finite and positive"));
            }
        }
        if let Some(z) = &self.zero_points
            && z.len() != first.scales.len()
        {
            let (have, want) = (z.len(), first.scales.len());
            return Err(format!("{have} zero points are given for {want} scales"));
        }
        let mut integers = self.levels.iter().chain(self.zero_points.iter().flatten());
        match integers.find(|v| v.unsigned_abs() > LARGEST) {
            Some(v) => Err(format!("{v} is outside −2^23 … 2^23")),
            None => Ok(()),
        }
    }

    /// Bits that the codes and scales take in a file.
    pub fn stored_bits(&self) -> usize {
        let scales: usize = self.points.iter().map(|p| p.scales.len() * 32).sum();
        let zero_points = self.zero_points.as_ref().map_or(0, |z| z.len() * 32);
        self.points.len() * (self.len() * self.bits as usize).div_ceil(8) * 8 + scales + zero_points
    }
}

/// The quantizer of one edge: `x ≈ scale · (q − zero_point)`, q ∈ 0 … 2^bits − 1 stored in u8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdgeQuantizer {
    /// Real step, finite and positive.
    pub scale: f32,
    /// Code of real 0, within 0 … 2^bits − 1.
    pub zero_point: u8,
    /// 1…8.
    pub bits: u32,
}

impl EdgeQuantizer {
    /// Whether the numbers are in their ranges.
    ///
    /// # Errors
    /// A sentence that names the number at fault.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=8).contains(&self.bits) {
            return Err(format!("a code has {} bits; 1 to 8 are possible", self.bits));
        }
        if !(self.scale.is_finite() && self.scale > 0.0) {
            let s = self.scale;
            return Err(format!("the scale is {s}; scales are finite and positive"));
        }
        if self.zero_point > self.max_code() {
            return Err(format!(
                "zero point {} does not fit {} bits",
                self.zero_point, self.bits
            ));
        }
        Ok(())
    }

    /// Largest code.
    pub fn max_code(&self) -> u8 {
        ((1u16 << self.bits) - 1) as u8
    }

    /// ONNX QuantizeLinear: `clamp(round_half_even(x / scale) + zero_point, 0, 2^bits − 1)`; NaN becomes the zero point.
    pub fn quantize(&self, x: f32) -> u8 {
        if x.is_nan() {
            return self.zero_point;
        }
        let q =
            (x / self.scale).round_ties_even().clamp(-65_536.0, 65_536.0) as i32 + i32::from(self.zero_point);
        q.clamp(0, i32::from(self.max_code())) as u8
    }

    /// `scale · (q − zero_point)`.
    pub fn dequantize(&self, q: u8) -> f32 {
        self.scale * (i32::from(q) - i32::from(self.zero_point)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_channel_scales_follow_the_axis() {
        let w = WeightAnnotation {
            grid: "ternary".into(),
            bits: 2,
            shape: vec![2, 3],
            axis: 0,
            levels: vec![0, 1, 0, -1],
            zero_points: None,
            points: vec![Point {
                codes: vec![0, 1, 3, 3, 1, 0],
                scales: vec![0.5, 2.0],
            }],
        };
        assert_eq!(w.decode(), vec![0.0, 0.5, -0.5, -2.0, 2.0, 0.0]);
        assert_eq!(w.stored_bits(), 2 * 8 + 64);
    }

    #[test]
    fn codes_round_half_to_even_and_saturate() {
        let q = EdgeQuantizer {
            scale: 0.5,
            zero_point: 3,
            bits: 4,
        };
        assert_eq!(q.quantize(0.25), 3);
        assert_eq!(q.quantize(0.75), 5);
        assert_eq!(q.quantize(1e30), 15);
        assert_eq!(q.quantize(-1e30), 0);
        assert_eq!(q.quantize(f32::NAN), 3);
        assert_eq!(q.dequantize(5), 1.0);
    }
}
