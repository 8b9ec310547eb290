//! What quantization adds to a graph: a grid with codes and scales on a weight, a quantizer on an edge.
//!
//! These are plain numbers. Nothing here knows how codes were chosen (`quant`) or how they are multiplied (`kernels`).

use crate::planes::Planes;

/// One term of a quantized weight: `w ≈ Σ_points scale[c] · level(code)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// One code per weight, row-major in the weight's ONNX order; each below 2^bits.
    pub codes: Vec<u8>,
    /// One scale, or one per output channel; finite and positive.
    pub scales: Vec<f32>,
    /// Output channels that have this term, ascending; the levels of all others are 0. `None`: all channels.
    pub rows: Option<Vec<u32>>,
}

impl Point {
    /// A term of all channels.
    pub fn whole(codes: Vec<u8>, scales: Vec<f32>) -> Point {
        Point {
            codes,
            scales,
            rows: None,
        }
    }

    /// The largest code.
    pub fn most(&self) -> u8 {
        self.codes.iter().fold(0, |most, &code| most.max(code))
    }

    /// Output channels that a file stores.
    fn stored_rows(&self, channels: usize) -> usize {
        self.rows.as_ref().map_or(channels, Vec::len)
    }
}

/// A weight as integers in one unit per output channel: what an integer product multiplies by.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Σ over the points of 2^F · scale_p / scale_1 · level, zero points taken off, in the weight's order.
    pub levels: Vec<i32>,
    /// scale_1 · 2^(−F) of each channel; one, where all points have one.
    pub scales: Vec<f32>,
}

/// Integers of this size and their differences are exact in f32.
const LARGEST: u32 = 1 << 23;

/// Largest F: scales of points are whole multiples of 2^−16 of the first one's, or the weight is no integer one.
const LARGEST_SHIFT: u32 = 16;

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
        let mut levels = Vec::new();
        self.integer_levels_into(point, &mut levels);
        levels
    }

    /// The same, in place of what a vector holds.
    fn integer_levels_into(&self, point: usize, out: &mut Vec<i32>) {
        let codes = &self.points[point].codes;
        // As long as a code can count: no look at the length for each weight.
        let mut table = [0i32; 256];
        let known = self.levels.len().min(table.len());
        table[..known].copy_from_slice(&self.levels[..known]);
        let level = |code: &u8| table[usize::from(*code)];
        out.clear();
        match &self.zero_points {
            None => out.extend(codes.iter().map(level)),
            Some(z) if z.len() == 1 => out.extend(codes.iter().map(|c| level(c) - z[0])),
            Some(z) => out.extend(
                codes
                    .iter()
                    .enumerate()
                    .map(|(i, c)| level(c) - z[self.channel(i)]),
            ),
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

    /// Whether [`WeightAnnotation::merged`] gives something; one point always does.
    pub fn merges(&self) -> bool {
        self.points.len() == 1 || self.merged().is_some()
    }

    /// The points as one row of integers per channel (`FORMAT.md` 1.3). `None` where a channel's scales are no whole multiples of 2^−16 of
    /// its first, or an integer would leave ±2^23.
    pub fn merged(&self) -> Option<Merged> {
        self.merged_in(Vec::new())
    }

    /// The same in the memory of a vector that held the levels of another weight: the system gives new memory page by page, which takes longer
    /// than to fill it.
    pub fn merged_in(&self, mut levels: Vec<i32>) -> Option<Merged> {
        let [first, others @ ..] = &self.points[..] else {
            return None;
        };
        if others.is_empty() {
            self.integer_levels_into(0, &mut levels);
            return Some(Merged {
                levels,
                scales: first.scales.clone(),
            });
        }
        let one = self
            .points
            .iter()
            .all(|p| p.scales.len() == 1 && p.rows.is_none());
        let channels = if one { 1 } else { *self.shape.get(self.axis)? };
        let scale = |p: &Point, c: usize| f64::from(p.scales[if p.scales.len() == 1 { 0 } else { c }]);
        let has = |p: &Point, c: usize| {
            p.rows
                .as_ref()
                .is_none_or(|r| r.binary_search(&(c as u32)).is_ok())
        };
        let whole =
            |x: f64| (x.fract() == 0.0 && x < f64::from(1 << (LARGEST_SHIFT + 1))).then_some(x as i64);
        let mut factors = Vec::with_capacity(channels);
        let mut scales = Vec::with_capacity(channels);
        for c in 0..channels {
            let ratio = |p: &Point| {
                if has(p, c) {
                    scale(p, c) / scale(first, c)
                } else {
                    0.0
                }
            };
            // The smallest unit in which the factors of all points are whole.
            let (unit, found) = (0..=LARGEST_SHIFT).find_map(|shift| {
                let parts = f64::from(1u32 << shift);
                let all = self.points.iter().map(|p| whole(ratio(p) * parts));
                Some((scale(first, c) / parts, all.collect::<Option<Vec<i64>>>()?))
            })?;
            factors.push(found);
            scales.push(Some(unit as f32).filter(|u| u.is_normal())?);
        }
        let terms: Vec<Vec<i32>> = (0..self.points.len()).map(|p| self.integer_levels(p)).collect();
        let level = |i: usize| -> i64 {
            let factors = &factors[if one { 0 } else { self.channel(i) }];
            terms.iter().zip(factors).map(|(t, r)| r * i64::from(t[i])).sum()
        };
        let levels = (0..self.len()).map(|i| i32::try_from(level(i)).ok());
        let levels = levels.map(|l| l.filter(|l| l.unsigned_abs() <= LARGEST));
        Some(Merged {
            levels: levels.collect::<Option<_>>()?,
            scales,
        })
    }

    /// Whether the parts agree: lengths, ranges, positive finite scales. Everything else here relies on it.
    ///
    /// # Errors
    /// A sentence that names the part at fault.
    pub fn check(&self) -> Result<(), String> {
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
        for (p, point) in self.points.iter().enumerate() {
            if let Some(rows) = &point.rows {
                self.check_rows(p, rows)?;
            }
            if point.codes.len() != count {
                let have = point.codes.len();
                return Err(format!("{have} codes are given for shape {:?}", self.shape));
            }
            let code = point.most();
            if usize::from(code) >= self.levels.len() {
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

    /// The channels of a point that not all channels have: after the first one, and after those that all have.
    fn check_rows(&self, p: usize, rows: &[u32]) -> Result<(), String> {
        let channels = self.shape[self.axis];
        if p == 0 || self.points[p + 1..].iter().any(|later| later.rows.is_none()) {
            return Err(format!(
                "point {p} has not all channels, but a point of all channels behind it"
            ));
        }
        let ascending = rows.windows(2).all(|w| w[0] < w[1]);
        if !ascending || rows.is_empty() || rows.last().is_some_and(|&r| r as usize >= channels) {
            return Err(format!(
                "the rows of point {p} are not ascending output channels of {channels}"
            ));
        }
        if self.zero_points.is_some() || self.levels[0] != 0 {
            return Err("points of some rows need a grid without zero points whose code 0 is 0".into());
        }
        let codes = &self.points[p].codes;
        let outside = |i: usize| codes[i] != 0 && rows.binary_search(&(self.channel(i) as u32)).is_err();
        match (0..codes.len()).find(|&i| outside(i)) {
            Some(i) => Err(format!(
                "point {p} has a level in channel {}, which is none of its rows",
                self.channel(i)
            )),
            None => Ok(()),
        }
    }

    /// Rows of weights that a file stores, one for each output channel and point that has it.
    pub fn stored_rows(&self) -> usize {
        let channels = self.shape[self.axis];
        self.points.iter().map(|p| p.stored_rows(channels)).sum()
    }

    /// Bits that the codes, scales and numbers of rows take in a file.
    pub fn stored_bits(&self) -> usize {
        match Planes::of(self) {
            Some(planes) => planes.bytes() * 8 + 32 * self.points[0].scales.len(),
            None => self.most_bits(),
        }
    }

    /// Bits that they take whatever the codes are: ternary weights that prune whole groups take fewer.
    pub fn most_bits(&self) -> usize {
        let channels = self.shape[self.axis].max(1);
        let each = self.len() / channels;
        let point = |p: &Point| {
            let rows = p.stored_rows(channels);
            let numbers = if p.rows.is_some() {
                2 * rows
            } else {
                p.scales.len()
            };
            (rows * each * self.bits as usize).div_ceil(8) * 8 + 32 * numbers
        };
        let zero_points = self.zero_points.as_ref().map_or(0, |z| z.len() * 32);
        self.points.iter().map(point).sum::<usize>() + zero_points
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
            points: vec![Point::whole(vec![0, 1, 3, 3, 1, 0], vec![0.5, 2.0])],
        };
        assert_eq!(w.decode(), vec![0.0, 0.5, -0.5, -2.0, 2.0, 0.0]);
        assert_eq!(w.stored_bits(), 2 * 8 + 64);
    }

    /// Channel 1 has a second point of a quarter of the first one's scale.
    fn two_points() -> WeightAnnotation {
        let second = Point {
            codes: vec![0, 0, 0, 1, 3, 1],
            scales: vec![1.0, 0.5],
            rows: Some(vec![1]),
        };
        WeightAnnotation {
            grid: "ternary".into(),
            bits: 2,
            shape: vec![2, 3],
            axis: 0,
            levels: vec![0, 1, 0, -1],
            zero_points: None,
            points: vec![Point::whole(vec![0, 1, 3, 3, 1, 0], vec![0.5, 2.0]), second],
        }
    }

    #[test]
    fn points_of_some_rows_are_added_there_and_stored_alone() {
        let w = two_points();
        assert_eq!(w.check(), Ok(()));
        assert_eq!(w.decode(), vec![0.0, 0.5, -0.5, -1.5, 1.5, 0.5]);
        // 6 codes and 2 scales; 3 codes, a scale and the number of the row.
        assert_eq!((w.stored_bits(), w.stored_rows()), (16 + 64 + 8 + 64, 3));
        let merged = w.merged().unwrap();
        assert_eq!(merged.levels, vec![0, 1, -1, -3, 3, 1]);
        assert_eq!(merged.scales, vec![0.5, 0.5]);
        let mut third = w.clone();
        third.points[1].scales[1] = 2.0 / 3.0;
        assert_eq!(third.merged(), None);
    }

    #[test]
    fn rows_that_do_not_fit_are_named() {
        let broken = |change: fn(&mut WeightAnnotation)| {
            let mut w = two_points();
            change(&mut w);
            w.check().unwrap_err()
        };
        assert!(broken(|w| w.points[1].codes[0] = 1).contains("channel 0"));
        assert!(broken(|w| w.points[1].rows = Some(vec![2])).contains("ascending output channels of 2"));
        assert!(broken(|w| w.points[1].rows = Some(vec![])).contains("ascending"));
        assert!(broken(|w| w.points.swap(0, 1)).contains("point 0"));
        assert!(broken(|w| w.zero_points = Some(vec![0, 0])).contains("zero points"));
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
