//! Nearest magnitude of a set.

/// Positive magnitudes L_1 < … < L_P with the midpoints between neighbours (the first one between 0 and L_1).
#[derive(Debug, Clone)]
pub struct Levels {
    magnitudes: Vec<f64>,
    midpoints: Vec<f64>,
    uniform: bool,
    /// 1, 2, 4 …: the exponent of x tells the nearest.
    powers: bool,
}

impl Levels {
    /// From ascending positive integers.
    pub fn new(magnitudes: &[i32]) -> Self {
        let magnitudes: Vec<f64> = magnitudes.iter().map(|&m| f64::from(m)).collect();
        let below = std::iter::once(&0.0).chain(&magnitudes);
        Levels {
            midpoints: magnitudes.iter().zip(below).map(|(a, b)| (a + b) / 2.0).collect(),
            powers: magnitudes.iter().zip(0..).all(|(&m, k)| m == super::pow2(k)),
            uniform: magnitudes.iter().enumerate().all(|(i, &m)| m == (i + 1) as f64),
            magnitudes,
        }
    }

    /// P.
    pub fn count(&self) -> usize {
        self.magnitudes.len()
    }

    /// L_P.
    pub fn top(&self) -> f64 {
        self.magnitudes.last().copied().unwrap_or(1.0)
    }

    /// Midpoint below magnitude `index` (1 … P).
    pub(crate) fn midpoint(&self, index: usize) -> f64 {
        self.midpoints[index - 1]
    }

    /// Magnitude at an index, 0 for index 0.
    pub fn magnitude(&self, index: usize) -> f64 {
        if index == 0 {
            0.0
        } else {
            self.magnitudes[index - 1]
        }
    }

    /// Index of the magnitude nearest to x ≥ 0, ties to the larger.
    pub fn index(&self, x: f64) -> usize {
        if self.uniform {
            ((x + 0.5) as usize).min(self.magnitudes.len())
        } else if self.powers && x >= 1.0 {
            // x = m·2^e with 1 ≤ m < 2: nearer to 2^(e + 1) from m = 1.5 on.
            let bits = x.to_bits();
            let exponent = (bits >> 52) as usize - 1023;
            (exponent + (bits >> 51 & 1) as usize + 1).min(self.magnitudes.len())
        } else {
            self.midpoints.partition_point(|&m| m <= x)
        }
    }

    /// Index of |w|/scale with the sign of w.
    pub(crate) fn signed_index(&self, w: f32, scale: f64) -> i32 {
        let index = self.index(f64::from(w.abs()) / scale) as i32;
        if w < 0.0 { -index } else { index }
    }
}

#[cfg(test)]
mod tests {
    use super::Levels;

    #[test]
    fn the_nearest_power_of_two_is_that_of_the_midpoints() {
        for count in [4, 7, 16] {
            let magnitudes: Vec<i32> = (0..count).map(|k| 1 << k).collect();
            let levels = Levels::new(&magnitudes);
            let mut at = vec![0.0, 0.3, 0.5, 1e9, 1e300, f64::INFINITY];
            for k in -3..20 {
                for m in [1.0, 1.25, 1.5, 1.75] {
                    let x = m * f64::from(k).exp2();
                    at.extend([x, x.next_down(), x.next_up()]);
                }
            }
            for x in at {
                let want = levels.midpoints.iter().filter(|&&m| m <= x).count();
                assert_eq!(levels.index(x), want, "{count} {x}");
            }
        }
    }
}
