//! Ranges of activations from a stream of pictures, in fixed memory.
//!
//! An [`Observer`] sees every value of one edge (or of several edges that share a quantizer), keeps extremes and, where its kind needs one, a
//! histogram of fixed size, and in the end gives the edge's quantizer. Real 0 is always a code exactly: padding and ReLU's zeros depend on it.

mod histogram;
mod search;

use std::fmt;
use std::str::FromStr;

use graph::EdgeQuantizer;

use crate::names::{did_you_mean, nearest};
use histogram::Histogram;

/// How a range is chosen from what was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ObserverKind {
    /// Smallest to largest value.
    MinMax,
    /// Leaves out this share of the values at each end.
    Percentile {
        /// 0 … 0.5; 0.0001 by default, the percentiles 0.01 and 99.99.
        tail: f64,
    },
    /// Least mean squared error of the quantized value, or of a function of it.
    Mse,
    /// Least Kullback–Leibler divergence between the histogram and its quantized form (Migacz, "8-bit inference with TensorRT", GTC 2017),
    /// over shrunk ranges whose outliers fall into the end bins.
    Kl,
}

impl ObserverKind {
    /// Names in flags; `percentile=TAIL` sets the tail.
    pub const NAMES: [&'static str; 4] = ["min-max", "percentile", "mse", "kl"];
}

impl fmt::Display for ObserverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObserverKind::MinMax => f.write_str("min-max"),
            ObserverKind::Percentile { tail } => write!(f, "percentile={tail}"),
            ObserverKind::Mse => f.write_str("mse"),
            ObserverKind::Kl => f.write_str("kl"),
        }
    }
}

impl FromStr for ObserverKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "min-max" => return Ok(ObserverKind::MinMax),
            "percentile" => return Ok(ObserverKind::Percentile { tail: 1e-4 }),
            "mse" => return Ok(ObserverKind::Mse),
            "kl" => return Ok(ObserverKind::Kl),
            _ => {}
        }
        if let Some(tail) = text.strip_prefix("percentile=") {
            return match tail.parse() {
                Ok(tail) if (0.0..0.5).contains(&tail) => Ok(ObserverKind::Percentile { tail }),
                _ => Err(format!(
                    "\"{tail}\" is not a tail share in 0 … 0.5, such as 0.0001"
                )),
            };
        }
        let near = did_you_mean(nearest(text, Self::NAMES));
        Err(format!("\"{text}\" is none of {}{near}", Self::NAMES.join(", ")))
    }
}

/// A function of the edge's value whose error counts instead of the value's own: the activation behind a pre-activation edge.
pub type Through<'a> = Option<&'a dyn Fn(f64) -> f64>;

/// Sees values, gives a quantizer. At most 64 KiB, however many values.
#[derive(Debug, Clone)]
pub struct Observer {
    kind: ObserverKind,
    min: f32,
    max: f32,
    count: u64,
    non_finite: u64,
    histogram: Option<Histogram>,
}

impl Observer {
    /// Nothing seen yet.
    pub fn new(kind: ObserverKind) -> Self {
        Observer {
            kind,
            min: 0.0,
            max: 0.0,
            count: 0,
            non_finite: 0,
            histogram: (kind != ObserverKind::MinMax).then(Histogram::new),
        }
    }

    /// The kind given.
    pub fn kind(&self) -> ObserverKind {
        self.kind
    }

    /// What it saw, for another kind; an observer of [`ObserverKind::MinMax`] has no histogram for the others, which then take the extremes.
    #[must_use]
    pub fn of_kind(&self, kind: ObserverKind) -> Observer {
        Observer { kind, ..self.clone() }
    }

    /// Values seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// NaN and infinities seen; they are left out of everything else.
    pub fn non_finite(&self) -> u64 {
        self.non_finite
    }

    /// Smallest and largest finite value seen, 0 included.
    pub fn extremes(&self) -> (f32, f32) {
        (self.min, self.max)
    }

    /// Adds the values of one tensor.
    pub fn observe(&mut self, values: &[f32]) {
        // Lanes of their own, so that the compiler makes vectors of them.
        const LANES: usize = 16;
        let (mut mins, mut maxs, mut bads) = ([0f32; LANES], [0f32; LANES], [0u32; LANES]);
        let mut bad = 0u64;
        for part in values.chunks(LANES << 20) {
            for values in part.chunks(LANES) {
                for (l, &x) in values.iter().enumerate() {
                    let finite = x.abs() <= f32::MAX;
                    bads[l] += u32::from(!finite);
                    let x = if finite { x } else { 0.0 };
                    mins[l] = if x < mins[l] { x } else { mins[l] };
                    maxs[l] = if x > maxs[l] { x } else { maxs[l] };
                }
            }
            bad += bads.iter().map(|&b| u64::from(b)).sum::<u64>();
            bads.fill(0);
        }
        let min = mins.iter().fold(0f32, |a, b| a.min(*b));
        let max = maxs.iter().fold(0f32, |a, b| a.max(*b));
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        self.count += values.len() as u64;
        self.non_finite += bad;
        if let Some(histogram) = &mut self.histogram {
            histogram.add(values, max.max(-min));
        }
    }

    /// Adds what another observer of the same kind saw; the same as if this one had seen it.
    pub fn merge(&mut self, other: &Observer) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.non_finite += other.non_finite;
        if let (Some(mine), Some(theirs)) = (&mut self.histogram, &other.histogram) {
            mine.merge(theirs);
        }
    }

    /// The quantizer of `bits` (1…8) bits for what was seen.
    pub fn finish(&self, bits: u32) -> EdgeQuantizer {
        self.finish_through(bits, None)
    }

    /// The same where the error of `through(x)` counts, for [`ObserverKind::Mse`]: of SiLU's input only −8 … matters, of hard-swish's −3 ….
    pub fn finish_through(&self, bits: u32, through: Through<'_>) -> EdgeQuantizer {
        let extremes = (f64::from(self.min), f64::from(self.max));
        let (low, high) = match (&self.histogram, self.kind) {
            (Some(h), ObserverKind::Percentile { tail }) => search::percentile(h, extremes, tail),
            (Some(h), ObserverKind::Mse) => search::least_error(h, extremes, bits, through),
            (Some(h), ObserverKind::Kl) => search::least_divergence(h, extremes, bits),
            _ => extremes,
        };
        quantizer(low, high, bits)
    }

    /// Mean squared error of `through(x)` under a quantizer, estimated from the histogram; `None` for [`ObserverKind::MinMax`].
    pub fn error(&self, q: &EdgeQuantizer, through: Through<'_>) -> Option<f64> {
        let histogram = self.histogram.as_ref()?;
        Some(search::Points::new(histogram, through).error(q) / (self.count.max(1) as f64))
    }
}

/// The quantizer of a range: 0 lies inside and is a code; the scale is a normal f32. The range 0 … 0 gives scale 1.
///
/// ```
/// let q = quant::calibrate::quantizer(-1.0, 3.0, 2);
/// assert_eq!((q.scale, q.zero_point), (4.0 / 3.0, 1));
/// let q = quant::calibrate::quantizer(0.0, 255.0, 8);
/// assert_eq!((q.scale, q.zero_point), (1.0, 0));
/// ```
pub fn quantizer(low: f64, high: f64, bits: u32) -> EdgeQuantizer {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let hi = f64::from((1u32 << bits) - 1);
    if high - low <= 0.0 {
        return EdgeQuantizer {
            scale: 1.0,
            zero_point: 0,
            bits,
        };
    }
    let scale = ((high - low) / hi).clamp(f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX) / 256.0) as f32;
    let zero_point = (-low / f64::from(scale)).round().clamp(0.0, hi) as u8;
    EdgeQuantizer {
        scale,
        zero_point,
        bits,
    }
}

#[cfg(test)]
mod tests;
