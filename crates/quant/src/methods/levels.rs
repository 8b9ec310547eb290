//! Nearest magnitude of a set.

/// Positive magnitudes L_1 < … < L_P with the midpoints between neighbours (the first one between 0 and L_1).
#[derive(Debug, Clone)]
pub struct Levels {
    /// 0, L_1 … L_P.
    magnitudes: Vec<f64>,
    midpoints: Vec<f64>,
    uniform: bool,
    /// 1, 2, 4 …: the exponent of x tells the nearest.
    powers: bool,
}

impl Levels {
    /// From ascending positive integers.
    pub fn new(magnitudes: &[i32]) -> Self {
        let all: Vec<f64> = (std::iter::once(&0).chain(magnitudes))
            .map(|&m| f64::from(m))
            .collect();
        Levels {
            midpoints: all.windows(2).map(|w| (w[0] + w[1]) / 2.0).collect(),
            powers: magnitudes.iter().zip(0..31).all(|(&m, k)| m == 1 << k),
            uniform: magnitudes.iter().zip(1..).all(|(&m, i)| m == i),
            magnitudes: all,
        }
    }

    /// P.
    pub fn count(&self) -> usize {
        self.midpoints.len()
    }

    /// L_P.
    pub fn top(&self) -> f64 {
        match self.count() {
            0 => 1.0,
            count => self.magnitudes[count],
        }
    }

    /// Midpoint below magnitude `index` (1 … P).
    pub(crate) fn midpoint(&self, index: usize) -> f64 {
        self.midpoints[index - 1]
    }

    /// Magnitude at an index, 0 for index 0.
    pub fn magnitude(&self, index: usize) -> f64 {
        self.magnitudes[index]
    }

    /// Index of the magnitude nearest to x ≥ 0, ties to the larger.
    pub fn index(&self, x: f64) -> usize {
        // Counting the midpoints below x has no branch: faster than the exponent for a few, and than halving them for some more.
        const FEW: usize = 4;
        const SOME: usize = 16;
        let count = self.count();
        let counted = || self.midpoints.iter().map(|&m| usize::from(m <= x)).sum();
        if self.uniform {
            (x.min(count as f64) + 0.5) as i32 as usize
        } else if self.powers && count > FEW {
            // x = m·2^e with 1 ≤ m < 2: nearer to 2^(e + 1) from m = 1.5 on.
            let bits = x.to_bits();
            let exponent = (bits >> 52) as i32 - 1023;
            match exponent < 0 {
                true => usize::from(x >= 0.5),
                false => (exponent as usize + (bits >> 51 & 1) as usize + 1).min(count),
            }
        } else if count <= SOME {
            counted()
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
