//! Seeded hyperspectral scenes: fields of a few materials, seen in many narrow bands.
//!
//! The materials are the same in every scene, a smooth curve each; every second one differs from the one before by an absorption band alone. Where they lie, how they mix,
//! the light on each field and the noise follow from the seed.

use super::noise::Noise;
use crate::cube::{Cube, Part, Scene};
use crate::rng::Rng;

/// What the labels 1, 2, … are.
pub const NAMES: [&str; 8] = [
    "clay",
    "clay, iron",
    "grass",
    "grass, dry",
    "water",
    "water, algae",
    "roof",
    "roof, old",
];

/// What a scene is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Pixels, 16 … 1024.
    pub rows: usize,
    /// Pixels, 16 … 1024.
    pub columns: usize,
    /// Bands, 4 … 256.
    pub bands: usize,
}

impl Default for Options {
    /// 128 by 128 pixels in 30 bands.
    fn default() -> Self {
        Options {
            rows: 128,
            columns: 128,
            bands: 30,
        }
    }
}

/// Pixels of a field, about.
const FIELD: usize = 110;

/// A hump of a curve: where, how wide, how high.
#[derive(Clone, Copy)]
struct Hump([f32; 3]);

impl Hump {
    fn at(self, t: f32) -> f32 {
        let [place, width, height] = self.0;
        let d = (t - place) / width;
        height * libm::expf(-0.5 * d * d)
    }
}

/// Reflectance of a material in each band.
fn curve(material: usize, bands: usize) -> Vec<f32> {
    const CURVES: u64 = 12;
    let mut rng = Rng::new([CURVES, material as u64 / 2]);
    let (level, slope) = (rng.within(0.25, 0.6), rng.within(-0.2, 0.2));
    let humps: [Hump; 4] =
        std::array::from_fn(|_| Hump([rng.unit(), rng.within(0.06, 0.2), rng.within(-0.18, 0.18)]));
    let band = Hump([
        rng.within(0.15, 0.85),
        0.06,
        if material % 2 == 1 { -0.09 } else { 0.0 },
    ]);
    (0..bands)
        .map(|b| {
            let t = b as f32 / (bands - 1) as f32;
            let all: f32 = humps.iter().map(|h| h.at(t)).sum();
            (level + slope * (t - 0.5) + all + band.at(t)).max(0.02)
        })
        .collect()
}

/// A part of the ground that has one material.
struct Field {
    /// Row and column.
    site: [f32; 2],
    light: f32,
    /// What it is mixed with, and how much of that at most.
    other: usize,
    mixed: f32,
}

/// The scene of a seed, in reflectance: every pixel has a class, and each field is for training, validation or test as a whole, half of those of a class for training.
///
/// The same bytes on every platform; sizes outside their range are brought into it.
pub fn scene(seed: u64, options: &Options) -> Scene {
    let [rows, columns] = [options.rows, options.columns].map(|n| n.clamp(16, 1024));
    let bands = options.bands.clamp(4, 256);
    const SCENE: u64 = 13;
    let mut rng = Rng::new([seed, SCENE]);
    let materials = NAMES.len();
    let curves: Vec<Vec<f32>> = (0..materials).map(|m| curve(m, bands)).collect();
    // Field k has material k modulo their number, so that each of them has as many.
    let count = (rows * columns / FIELD).next_multiple_of(4 * materials);
    let fields: Vec<Field> = (0..count)
        .map(|_| Field {
            site: [rng.unit() * rows as f32, rng.unit() * columns as f32],
            light: rng.within(0.75, 1.25),
            other: rng.below(materials),
            mixed: rng.within(0.0, 0.35),
        })
        .collect();
    let warp = [Noise::new(&mut rng), Noise::new(&mut rng)];
    let (mixing, shadow) = (Noise::new(&mut rng), Noise::new(&mut rng));
    let field_at = |row: f32, column: f32| -> usize {
        let moved = [
            row + 5.0 * (warp[0].at(row * 0.15, column * 0.15) - 0.5),
            column + 5.0 * (warp[1].at(row * 0.15, column * 0.15) - 0.5),
        ];
        let distance = |f: &Field| {
            (0..2)
                .map(|d| (moved[d] - f.site[d]) * (moved[d] - f.site[d]))
                .sum::<f32>()
        };
        (0..count)
            .min_by(|&a, &b| distance(&fields[a]).total_cmp(&distance(&fields[b])))
            .unwrap_or(0)
    };
    let mut cube = Vec::with_capacity(rows * columns * bands);
    let (mut labels, mut split) = (Vec::new(), Vec::new());
    for row in 0..rows {
        for column in 0..columns {
            let (r, c) = (row as f32, column as f32);
            let field = field_at(r, c);
            labels.push((field % materials) as u8 + 1);
            let part = [Part::Train, Part::Test, Part::Train, Part::Validation][field / materials % 4];
            split.push(part as u8);
            // A detector sees as much around a pixel as of it: at borders two materials mix.
            let seen = [
                (0.0, 0.0, 0.5),
                (-0.6, 0.0, 0.125),
                (0.6, 0.0, 0.125),
                (0.0, -0.6, 0.125),
                (0.0, 0.6, 0.125),
            ];
            let mut spectrum = vec![0f32; bands];
            for (down, right, share) in seen {
                let k = field_at(r + down, c + right);
                let f = &fields[k];
                let mixed = f.mixed * mixing.at(r * 0.2, c * 0.2);
                let (own, other) = (&curves[k % materials], &curves[f.other]);
                for ((s, a), b) in spectrum.iter_mut().zip(own).zip(other) {
                    *s += share * f.light * (a + mixed * (b - a));
                }
            }
            let shade = 0.85 + 0.3 * shadow.octaves(r * 0.06, c * 0.06, 2, 0.5);
            // Nearly normal, of deviation 0.02.
            cube.extend(
                spectrum
                    .iter()
                    .map(|s| s * shade + 0.04 * (rng.unit() + rng.unit() + rng.unit() - 1.5)),
            );
        }
    }
    Scene {
        cube: Cube {
            shape: [rows, columns, bands],
            values: cube,
        },
        labels,
        split,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_follows_from_its_seed_and_each_part_has_all_materials() {
        let options = Options::default();
        let one = scene(1, &options);
        assert_eq!(one, scene(1, &options));
        assert_ne!(one.labels, scene(2, &options).labels);
        assert_eq!(one.cube.shape, [128, 128, 30]);
        assert!(one.cube.values.iter().all(|v| v.is_finite()));
        for part in [Part::Train, Part::Validation, Part::Test] {
            let mut seen = [0; NAMES.len()];
            one.pixels(part).into_iter().for_each(|p| seen[one.class(p)] += 1);
            assert!(seen.iter().all(|&n| n > 20), "{part:?}: {seen:?}");
        }
    }

    /// The nearest mean spectrum, which knows neither the light nor the neighbours, is often wrong.
    #[test]
    fn spectra_alone_do_not_tell_the_materials() {
        let s = scene(1, &Options::default());
        let bands = s.cube.shape[2];
        let spectrum = |p: usize| &s.cube.values[p * bands..(p + 1) * bands];
        let mut means = vec![vec![0f64; bands + 1]; NAMES.len()];
        for p in s.pixels(Part::Train) {
            let mean = &mut means[s.class(p)];
            mean.iter_mut()
                .zip(spectrum(p))
                .for_each(|(m, &v)| *m += f64::from(v));
            mean[bands] += 1.0;
        }
        let distance = |mean: &[f64], p: usize| -> f64 {
            let one = |(m, &v): (&f64, &f32)| (m / mean[bands] - f64::from(v)).powi(2);
            mean.iter().zip(spectrum(p)).map(one).sum()
        };
        let test = s.pixels(Part::Test);
        let nearest = |p: usize| {
            (0..NAMES.len())
                .min_by(|&a, &b| distance(&means[a], p).total_cmp(&distance(&means[b], p)))
                .unwrap()
        };
        let right = test.iter().filter(|&&p| nearest(p) == s.class(p)).count();
        let share = right as f64 / test.len() as f64;
        assert!((0.3..0.75).contains(&share), "{share}");
    }
}
