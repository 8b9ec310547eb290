//! Patterns of two colours.

use super::canvas::{Color, blend, smoothstep};
use super::noise::Noise;
use crate::rng::Rng;

/// What a surface looks like.
pub(super) struct Texture {
    kind: usize,
    colors: [Color; 2],
    /// Pattern repeats for each unit of length.
    frequency: f32,
    direction: [f32; 2],
    noise: Noise,
}

impl Texture {
    /// A pattern in two colours; `frequency` is the range of repeats for each unit of length.
    pub(super) fn new(colors: [Color; 2], frequency: (f32, f32), rng: &mut Rng) -> Self {
        Texture {
            kind: rng.below(7),
            colors,
            frequency: rng.within(frequency.0, frequency.1),
            direction: rng.direction(),
            noise: Noise::new(rng),
        }
    }

    /// Colour at a point. `blur` is the size of a pixel in the same units: edges of the pattern are as soft as that.
    pub(super) fn at(&self, x: f32, y: f32, blur: f32) -> Color {
        let [c, s] = self.direction;
        let f = self.frequency;
        let (u, v) = ((c * x + s * y) * f, (c * y - s * x) * f);
        let soft = (blur * f).clamp(0.02, 0.5);
        // 0 and 1 in turns, each for half a unit.
        let square = |t: f32| {
            let wave = (t - t.floor() - 0.5).abs() * 2.0;
            smoothstep(0.5 - soft, 0.5 + soft, wave)
        };
        let t = match self.kind {
            0 => 0.35 * self.noise.octaves(u, v, 3, 0.6),
            1 => square(u),
            2 => {
                let (a, b) = (square(u * 0.5), square(v * 0.5));
                a + b - 2.0 * a * b
            }
            3 => {
                let (a, b) = (u - u.floor() - 0.5, v - v.floor() - 0.5);
                1.0 - smoothstep(0.28 - soft, 0.28 + soft, (a * a + b * b).sqrt())
            }
            4 => smoothstep(0.35, 0.65, self.noise.octaves(u * 1.3, v * 1.3, 4, 0.55)),
            5 => square((u * u + v * v).sqrt()),
            _ => square(u + 1.2 * self.noise.at(u * 0.7, v * 0.7) + 0.3 * v),
        };
        blend(self.colors[0], self.colors[1], t)
    }
}
