//! Exponentially averaged weights: what is evaluated and exported in place of the last iterate.
//!
//! ```text
//! E ← d·E + (1 − d)·w,   d(t) = D·(1 − e^(−t/τ))      t = updates done
//! ```
//! The ramp lets the average follow quickly at first (τ = 2000 in the YOLO code bases); without it, τ = 0, the average starts at the first w.

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ema {
    /// D, 0 … 1.
    pub decay: f64,
    /// τ in updates.
    pub ramp: f64,
}

impl Ema {
    /// d of update t = 1, 2, …
    pub fn factor(&self, t: u64) -> f64 {
        if self.ramp > 0.0 {
            self.decay * (1.0 - libm::exp(-(t as f64) / self.ramp))
        } else {
            self.decay
        }
    }

    /// Moves an average towards the values after update t = 1, 2, …; an empty one starts there.
    ///
    /// ```
    /// let ema = train::optimizer::ema::Ema { decay: 0.5, ramp: 0.0 };
    /// let mut average = Vec::new();
    /// ema.update(&mut average, &[4.0], 1);
    /// ema.update(&mut average, &[0.0], 2);
    /// assert_eq!(average, [2.0]);
    /// ```
    pub fn update(&self, average: &mut Vec<f32>, values: &[f32], t: u64) {
        if average.is_empty() {
            average.extend_from_slice(values);
            return;
        }
        let rest = (1.0 - self.factor(t)) as f32;
        for (e, &w) in average.iter_mut().zip(values) {
            *e += rest * (w - *e);
        }
    }
}
