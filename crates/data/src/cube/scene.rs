//! A scene with its classes and its parts: training, validation and test pixels, patches around them.

use super::Cube;

/// What a pixel is for, as numbers of a split file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// 1
    Train = 1,
    /// 2
    Validation = 2,
    /// 3
    Test = 3,
}

/// Mean and deviation of each band.
#[derive(Debug, Clone, PartialEq)]
pub struct Standard {
    /// Mean.
    pub mean: Vec<f32>,
    /// Deviation, above 0.
    pub deviation: Vec<f32>,
}

/// A cube with standardized bands, and what its pixels are.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// (value − mean) / deviation of each band.
    pub cube: Cube,
    /// 0 no class, c + 1 class c; empty where nothing is known.
    pub labels: Vec<u8>,
    /// [`Part`] of each pixel, 0 for none.
    pub split: Vec<u8>,
}

/// Mean and deviation of the bands over some pixels.
///
/// ```
/// use data::cube::{Cube, standardize};
/// let cube = Cube { shape: [1, 2, 1], values: vec![2.0, 6.0] };
/// let standard = standardize(&cube, [0, 1].into_iter());
/// assert_eq!((standard.mean[0], standard.deviation[0]), (4.0, 2.0));
/// ```
pub fn standardize(cube: &Cube, pixels: impl Iterator<Item = usize>) -> Standard {
    let bands = cube.shape[2];
    let (mut sums, mut count) = (vec![[0f64; 2]; bands], 0f64);
    for pixel in pixels {
        count += 1.0;
        for (sum, &v) in sums.iter_mut().zip(&cube.values[pixel * bands..]) {
            *sum = [sum[0] + f64::from(v), sum[1] + f64::from(v) * f64::from(v)];
        }
    }
    let n = count.max(1.0);
    let deviation = |s: &[f64; 2]| (s[1] / n - (s[0] / n) * (s[0] / n)).max(0.0).sqrt();
    Standard {
        mean: sums.iter().map(|s| (s[0] / n) as f32).collect(),
        // A band that never changes says nothing, at whatever scale.
        deviation: sums.iter().map(|s| (deviation(s) as f32).max(1e-6)).collect(),
    }
}

impl Standard {
    /// The cube in units of the deviations.
    pub fn apply(&self, mut cube: Cube) -> Cube {
        for spectrum in cube.values.chunks_exact_mut(cube.shape[2]) {
            for ((v, m), d) in spectrum.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *v = (*v - m) / d;
            }
        }
        cube
    }
}

impl Scene {
    /// Labelled pixels of a part, in order.
    pub fn pixels(&self, part: Part) -> Vec<usize> {
        let all = self.split.iter().zip(&self.labels).enumerate();
        all.filter(|(_, (s, l))| **s == part as u8 && **l > 0)
            .map(|(i, _)| i)
            .collect()
    }

    /// All labelled pixels, in order.
    pub fn labelled(&self) -> Vec<usize> {
        let all = self.labels.iter().enumerate();
        all.filter(|(_, l)| **l > 0).map(|(i, _)| i).collect()
    }

    /// Class of a labelled pixel.
    pub fn class(&self, pixel: usize) -> usize {
        usize::from(self.labels[pixel]) - 1
    }

    /// Appends the patch around a pixel, `[bands, side, side]`, reflected at the border (the border itself once).
    pub fn patch(&self, pixel: usize, side: usize, out: &mut Vec<f32>) {
        let [rows, columns, bands] = self.cube.shape;
        let around = |at: usize, n: usize| -> Vec<usize> {
            (0..side)
                .map(|k| reflected(at as i64 + k as i64 - (side / 2) as i64, n))
                .collect()
        };
        let (down, right) = (around(pixel / columns, rows), around(pixel % columns, columns));
        for band in 0..bands {
            for r in &down {
                out.extend(
                    right
                        .iter()
                        .map(|c| self.cube.values[(r * columns + c) * bands + band]),
                );
            }
        }
    }
}

/// A coordinate beyond an axis of `n`, mirrored at its ends.
fn reflected(at: i64, n: usize) -> usize {
    let period = (2 * n as i64 - 2).max(1);
    let at = at.rem_euclid(period);
    (if at < n as i64 { at } else { period - at }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_reflected_at_the_border() {
        // np.pad([0, 1, 2], 3, mode="reflect")
        let mirrored: Vec<usize> = (-3..6).map(|i| reflected(i, 3)).collect();
        assert_eq!(mirrored, [1, 2, 1, 0, 1, 2, 1, 0, 1]);
        assert_eq!(reflected(-4, 1), 0);
        let scene = Scene {
            cube: Cube {
                shape: [2, 3, 2],
                values: (0..12).map(|v| v as f32).collect(),
            },
            labels: vec![0, 1, 2, 2, 0, 1],
            split: vec![1, 1, 3, 2, 2, 1],
        };
        let mut patch = Vec::new();
        scene.patch(0, 3, &mut patch);
        assert_eq!(patch[..9], [8.0, 6.0, 8.0, 2.0, 0.0, 2.0, 8.0, 6.0, 8.0]);
        assert_eq!(patch[9..12], [9.0, 7.0, 9.0]);
        assert_eq!(scene.pixels(Part::Train), [1, 5]);
        assert_eq!((scene.pixels(Part::Test), scene.class(2)), (vec![2], 1));
    }

    #[test]
    fn bands_get_mean_0_and_deviation_1_over_the_pixels_asked_for() {
        let cube = Cube {
            shape: [1, 3, 2],
            values: vec![1.0, 5.0, 3.0, 5.0, 100.0, 5.0],
        };
        let standard = standardize(&cube, [0, 1].into_iter());
        assert_eq!(standard.mean, [2.0, 5.0]);
        let values = standard.apply(cube).values;
        assert_eq!(values[..4], [-1.0, 0.0, 1.0, 0.0]);
    }
}
