//! Sums over the values of one place, and what they say.

/// Sums over the values of one output channel, or of one edge.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) signal: f64,
    /// Of the error: its sum and its squares.
    pub(super) own: (f64, f64),
    pub(super) fresh: (f64, f64),
    /// Σ value · error.
    along: f64,
}

impl Sums {
    pub(super) fn add(&mut self, float: f32, own: f32, fresh: f32) {
        let (f, o, r) = (f64::from(float), f64::from(own), f64::from(fresh));
        self.count += 1.0;
        self.sum += f;
        self.signal += f * f;
        self.along += f * (o - f);
        self.own = (self.own.0 + (o - f), self.own.1 + (o - f) * (o - f));
        self.fresh = (self.fresh.0 + (r - f), self.fresh.1 + (r - f) * (r - f));
    }

    pub(super) fn merge(&mut self, other: &Sums) {
        self.count += other.count;
        self.sum += other.sum;
        self.signal += other.signal;
        self.along += other.along;
        self.own = (self.own.0 + other.own.0, self.own.1 + other.own.1);
        self.fresh = (self.fresh.0 + other.fresh.0, self.fresh.1 + other.fresh.1);
    }

    /// What the deviations of the values from their mean are multiplied by; 1 for values that are all the same.
    pub(super) fn gain(&self) -> f64 {
        let n = self.count.max(1.0);
        let spread = self.spread((self.sum, self.signal));
        match spread > 1e-6 * self.signal {
            true => 1.0 + (self.along - self.sum * self.own.0 / n) / spread,
            false => 1.0,
        }
    }

    /// Σ of squares around the mean: a mean error is what biases are fitted to, and no fault of the weights.
    pub(super) fn spread(&self, (sum, squares): (f64, f64)) -> f64 {
        (squares - sum * sum / self.count.max(1.0)).max(0.0)
    }
}
