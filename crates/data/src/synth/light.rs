//! Light over the finished scene, then what a camera does to it.

use super::canvas::{Canvas, Color};
use super::noise::Noise;
use crate::rng::Rng;

/// A slope of brightness, cloud shadows, darker corners, a tint.
pub(super) fn shine(canvas: &mut Canvas, rng: &mut Rng) {
    let (width, height, short) = (canvas.width as f32, canvas.height as f32, canvas.short());
    let [c, s] = rng.direction();
    let slope = rng.within(0.0, 0.45);
    let gain = rng.within(0.75, 1.2);
    let corners = if rng.chance(0.4) {
        rng.within(0.1, 0.5)
    } else {
        0.0
    };
    let clouds = if rng.chance(0.3) {
        rng.within(0.1, 0.4)
    } else {
        0.0
    };
    let noise = Noise::new(rng);
    let tint: Color = std::array::from_fn(|_| rng.within(0.9, 1.08));
    canvas.each(|p, x, y| {
        let (u, v) = (x / width - 0.5, y / height - 0.5);
        let shadow = clouds * noise.octaves(x / (0.5 * short), y / (0.5 * short), 2, 0.5);
        let light =
            gain * (1.0 + slope * (c * u + s * v)) * (1.0 - corners * 2.0 * (u * u + v * v)) * (1.0 - shadow);
        for (c, t) in p.iter_mut().zip(tint) {
            *c *= light * t;
        }
    });
}

/// Blur, contrast, noise of the sensor.
pub(super) fn expose(canvas: &mut Canvas, rng: &mut Rng) {
    let passes = [0, 0, 0, 1, 1, 2][rng.below(6)];
    for _ in 0..passes {
        soften(canvas);
    }
    let contrast = rng.within(0.85, 1.12);
    let noise = rng.within(0.0, 0.035);
    for p in &mut canvas.pixels {
        for c in p {
            // Four uniform numbers are close enough to a normal one: variance 4/12.
            let bits = rng.next();
            let sum: u32 = (0..4).map(|k| (bits >> (16 * k)) as u32 & 0xffff).sum();
            let normal = (sum as f32 / 65536.0 - 2.0) * 1.732_050_8;
            *c = (*c - 0.5) * contrast + 0.5 + noise * normal;
        }
    }
}

/// One pass of the 3×3 binomial filter.
fn soften(canvas: &mut Canvas) {
    let (w, h) = (canvas.width, canvas.height);
    let filter = |pixels: &[Color], step: usize, at: usize, position: usize, last: usize| -> Color {
        let before = if position > 0 { at - step } else { at };
        let after = if position < last { at + step } else { at };
        std::array::from_fn(|k| 0.25 * pixels[before][k] + 0.5 * pixels[at][k] + 0.25 * pixels[after][k])
    };
    let rows: Vec<Color> = (0..w * h)
        .map(|at| filter(&canvas.pixels, 1, at, at % w, w - 1))
        .collect();
    canvas.pixels = (0..w * h).map(|at| filter(&rows, w, at, at / w, h - 1)).collect();
}
