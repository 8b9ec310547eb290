//! A histogram of fixed size whose range doubles when a value falls outside.

/// Bins on each side of zero.
pub(super) const HALF: usize = 4096;

/// Places behind the bins for what is not counted.
const ASIDE: usize = 8;

/// Counts over −R … R in equal bins, R a power of two.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    /// R = 2^exponent; `None` before the first non-zero value.
    exponent: Option<i32>,
    counts: Vec<u64>,
    /// Exact zeros, kept apart because every quantizer represents them exactly.
    pub(super) zeros: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Histogram {
            exponent: None,
            counts: vec![0; 2 * HALF + ASIDE],
            zeros: 0,
        }
    }

    /// Width of a bin.
    pub(super) fn width(&self) -> f64 {
        self.exponent.map_or(0.0, |e| f64::from(e).exp2() / HALF as f64)
    }

    /// Centre and count of the bins that are not empty, ascending; zeros are not among them.
    pub(super) fn bins(&self) -> impl Iterator<Item = (f64, f64)> {
        let width = self.width();
        let center = move |k: usize| (k as f64 - HALF as f64 + 0.5) * width;
        let filled = self.counts.iter().enumerate().filter(|c| *c.1 > 0);
        filled.map(move |(k, &c)| (center(k), c as f64))
    }

    /// Adds finite values, of which `largest` is the largest magnitude.
    pub(super) fn add(&mut self, values: &[f32], largest: f32) {
        if largest == 0.0 {
            self.zeros += values.iter().filter(|x| **x == 0.0).count() as u64;
            return;
        }
        let exponent = self.grow_to(crate::methods::floor_log2(f64::from(largest)) + 1);
        // In f64: subnormal ranges would overflow an f32 reciprocal.
        let per_unit = HALF as f64 / f64::from(exponent).exp2();
        // Bins first, so that the compiler makes vectors of them; then the counts, without a branch: zeros and values that are not finite go to
        // bins behind the last, several of them, because one would wait for itself.
        const PART: usize = 1024;
        let mut bins = [0u32; PART];
        let mut zeros = 0u32;
        for values in values.chunks(PART) {
            for (i, (bin, &x)) in bins.iter_mut().zip(values).enumerate() {
                let finite = x.abs() <= f32::MAX;
                let inside = if finite { x } else { 0.0 };
                // Within −R … R: no cast saturates.
                let k = (f64::from(inside) * per_unit + HALF as f64) as i32 as u32;
                let counted = inside != 0.0;
                zeros += u32::from(x == 0.0);
                *bin = if counted {
                    k.min(2 * HALF as u32 - 1)
                } else {
                    (2 * HALF + i % ASIDE) as u32
                };
            }
            for &bin in &bins[..values.len()] {
                self.counts[bin as usize] += 1;
            }
            self.zeros += u64::from(std::mem::take(&mut zeros));
        }
        self.counts[2 * HALF..].fill(0);
    }

    pub(super) fn merge(&mut self, other: &Histogram) {
        self.zeros += other.zeros;
        let Some(theirs) = other.exponent else { return };
        let mine = self.grow_to(theirs);
        let shift = (mine - theirs) as u32;
        for (k, &count) in other.counts.iter().enumerate() {
            self.counts[coarser(k, shift)] += count;
        }
    }

    /// Doubles the range until it is 2^exponent at least; each doubling joins pairs of bins.
    fn grow_to(&mut self, exponent: i32) -> i32 {
        let Some(now) = self.exponent else {
            self.exponent = Some(exponent);
            return exponent;
        };
        if exponent <= now {
            return now;
        }
        let old = std::mem::replace(&mut self.counts, vec![0; 2 * HALF + ASIDE]);
        for (k, count) in old.into_iter().enumerate() {
            self.counts[coarser(k, (exponent - now) as u32)] += count;
        }
        self.exponent = Some(exponent);
        exponent
    }
}

/// Index of bin k after `doublings` of the range.
fn coarser(k: usize, doublings: u32) -> usize {
    let from_zero = k as i64 - HALF as i64;
    ((from_zero >> doublings.min(62)) + HALF as i64) as usize
}
