//! Per-channel affine correction: after rounding, a channel's output is scaled and shifted so that it follows the float one.
//!
//! ```text
//! minimize over g, b :  Σ (y_float − g·y_quant − b)²        over pictures and positions
//! g = cov(y_float, y_quant) / var(y_quant),   b = mean(y_float) − g·mean(y_quant)
//! ```
//! g multiplies the channel's weight scale and bias, b adds to the bias: nothing is left to do at run time. With g = 1 this is bias correction (Nagel et al.,
//! ICCV 2019). Where BatchNormalization is folded into the weights, which it is wherever a convolution stands before it, it is that layer's re-estimation:
//! mean and spread of each channel, which rounding has moved, are measured again and brought back.

/// The correction of one channel: y ← gain·y + shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Positive.
    pub gain: f64,
    /// Same unit as y.
    pub shift: f64,
}

impl Affine {
    /// No change.
    pub const IDENTITY: Affine = Affine {
        gain: 1.0,
        shift: 0.0,
    };
}

/// What a fit is trusted with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Samples below which a channel keeps its values.
    pub min_samples: u64,
    /// Gains outside are not believed: the channel's mean alone is corrected.
    pub gains: (f64, f64),
    /// Whether gains are fitted at all, or means alone.
    pub fit_gain: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            min_samples: 16,
            gains: (0.2, 5.0),
            fit_gain: true,
        }
    }
}

/// Streaming sums of one layer: per channel the count, both means and the centred second moments, in f64.
#[derive(Debug, Clone, Default)]
pub struct AffineFit {
    channels: Vec<Moments>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean_float: f64,
    mean_quant: f64,
    var_quant: f64,
    covariance: f64,
}

impl AffineFit {
    /// For a layer of so many output channels.
    pub fn new(channels: usize) -> Self {
        AffineFit {
            channels: vec![Moments::default(); channels],
        }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Adds one tensor pair whose channel lies on axis 1 (or another `axis`) of `shape`: the float net's output, the quantized net's before
    /// correction. Pairs with a value that is not finite are left out. Lengths that do not fit the shape are ignored.
    pub fn add(&mut self, shape: &[usize], axis: usize, float: &[f32], quant: &[f32]) {
        let channels = self.channels.len();
        if shape.get(axis) != Some(&channels) || float.len() != quant.len() {
            return;
        }
        let inner: usize = shape[axis + 1..].iter().product();
        if inner == 0 || float.len() != shape.iter().product::<usize>() {
            return;
        }
        for (at, (f, q)) in float.chunks(inner).zip(quant.chunks(inner)).enumerate() {
            self.channels[at % channels].merge(Moments::of(f, q));
        }
    }

    /// Adds what another fit of the same layer saw.
    pub fn merge(&mut self, other: &AffineFit) {
        self.channels
            .iter_mut()
            .zip(&other.channels)
            .for_each(|(mine, theirs)| mine.merge(*theirs));
    }

    /// The correction of every channel under the limits.
    ///
    /// ```
    /// use quant::correct::{AffineFit, Limits};
    /// let mut fit = AffineFit::new(1);
    /// let quant: Vec<f32> = (0..20).map(|i| i as f32).collect();
    /// let float: Vec<f32> = quant.iter().map(|x| 2.0 * x + 3.0).collect();
    /// fit.add(&[1, 1, 20], 1, &float, &quant);
    /// let found = fit.solve(&Limits::default())[0];
    /// assert!((found.gain - 2.0).abs() < 1e-12 && (found.shift - 3.0).abs() < 1e-9);
    /// ```
    pub fn solve(&self, limits: &Limits) -> Vec<Affine> {
        self.channels.iter().map(|m| m.solve(limits)).collect()
    }
}

impl Moments {
    fn of(float: &[f32], quant: &[f32]) -> Self {
        let pairs = || {
            let wide = |(f, q): (&f32, &f32)| (f64::from(*f), f64::from(*q));
            float
                .iter()
                .zip(quant)
                .filter(|(f, q)| f.is_finite() && q.is_finite())
                .map(wide)
        };
        let (count, sum_f, sum_q) = pairs().fold((0.0, 0.0, 0.0), |s, (f, q)| (s.0 + 1.0, s.1 + f, s.2 + q));
        if count == 0.0 {
            return Moments::default();
        }
        let (mean_float, mean_quant) = (sum_f / count, sum_q / count);
        let (mut var_quant, mut covariance) = (0.0, 0.0);
        for (f, q) in pairs() {
            var_quant += (q - mean_quant) * (q - mean_quant);
            covariance += (q - mean_quant) * (f - mean_float);
        }
        Moments {
            count,
            mean_float,
            mean_quant,
            var_quant,
            covariance,
        }
    }

    /// Chan, Golub, LeVeque: moments of a union from the moments of the parts.
    fn merge(&mut self, other: Moments) {
        let count = self.count + other.count;
        if other.count == 0.0 || count == 0.0 {
            return;
        }
        let (df, dq) = (
            other.mean_float - self.mean_float,
            other.mean_quant - self.mean_quant,
        );
        let cross = self.count * other.count / count;
        self.var_quant += other.var_quant + dq * dq * cross;
        self.covariance += other.covariance + df * dq * cross;
        self.mean_float += df * other.count / count;
        self.mean_quant += dq * other.count / count;
        self.count = count;
    }

    fn solve(&self, limits: &Limits) -> Affine {
        if self.count < limits.min_samples as f64 {
            return Affine::IDENTITY;
        }
        // A variance below the rounding of the mean itself says nothing.
        let varies = self.var_quant / self.count > 1e-12 * self.mean_quant * self.mean_quant + 1e-30;
        let gain = self.covariance / self.var_quant;
        let believed = limits.fit_gain && varies && gain >= limits.gains.0 && gain <= limits.gains.1;
        let gain = if believed { gain } else { 1.0 };
        let shift = self.mean_float - gain * self.mean_quant;
        if shift.is_finite() {
            Affine { gain, shift }
        } else {
            Affine::IDENTITY
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(float: &[f32], quant: &[f32]) -> Affine {
        let mut fit = AffineFit::new(1);
        fit.add(&[1, 1, float.len()], 1, float, quant);
        fit.solve(&Limits::default())[0]
    }

    #[test]
    fn a_bad_gain_corrects_the_mean_alone() {
        let x: Vec<f32> = (0..32).map(|i| i as f32).collect();
        let falling: Vec<f32> = x.iter().map(|v| -v).collect();
        assert_eq!(
            fitted(&falling, &x),
            Affine {
                gain: 1.0,
                shift: -31.0
            }
        );
        let steep: Vec<f32> = x.iter().map(|v| v * 100.0).collect();
        assert_eq!(fitted(&steep, &x).gain, 1.0);
        assert_eq!(
            fitted(&[5.0; 32], &[3.0; 32]),
            Affine {
                gain: 1.0,
                shift: 2.0
            }
        );
        assert_eq!(fitted(&[5.0; 4], &[3.0; 4]), Affine::IDENTITY);
        assert_eq!(fitted(&[f32::NAN; 32], &[3.0; 32]), Affine::IDENTITY);
    }

    #[test]
    fn streaming_equals_one_batch_even_far_from_zero() {
        let quant: Vec<f32> = (0..64).map(|i| 1e4 + (i * 37 % 64) as f32).collect();
        let float: Vec<f32> = quant.iter().map(|q| 0.5 * q - 7.0).collect();
        let mut parts = AffineFit::new(2);
        for k in 0..4 {
            // Two channels, the second the negative of the first.
            let slice = |v: &[f32]| -> Vec<f32> {
                let part = &v[16 * k..16 * (k + 1)];
                part.iter().copied().chain(part.iter().map(|x| -x)).collect()
            };
            parts.add(&[1, 2, 16], 1, &slice(&float), &slice(&quant));
        }
        let found = parts.solve(&Limits::default());
        assert!((found[0].gain - 0.5).abs() < 1e-9 && (found[0].shift + 7.0).abs() < 1e-4);
        assert!((found[1].gain - 0.5).abs() < 1e-9 && (found[1].shift - 7.0).abs() < 1e-4);
    }
}
