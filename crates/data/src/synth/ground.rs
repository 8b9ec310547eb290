//! The background: noise in a few colours, patches of pattern, and things that are no object.

use super::canvas::{Canvas, blend, smoothstep};
use super::noise::Noise;
use super::texture::Texture;
use crate::rng::Rng;

pub(super) fn paint(canvas: &mut Canvas, rng: &mut Rng) {
    clouds(canvas, rng);
    for _ in 0..rng.below(4) {
        patch(canvas, rng);
    }
    for _ in 0..3 + rng.below(10) {
        match rng.below(3) {
            0 => line(canvas, rng),
            1 => blob(canvas, rng),
            _ => gravel(canvas, rng),
        }
    }
}

/// Warped noise through a palette of three colours, on a slope of brightness.
fn clouds(canvas: &mut Canvas, rng: &mut Rng) {
    let value = rng.within(0.2, 0.75);
    let palette: [_; 3] = std::array::from_fn(|_| {
        let spread = rng.within(-0.18, 0.18);
        rng.color(
            (0.05, 0.55),
            ((value + spread).max(0.05), (value + spread + 0.1).min(0.95)),
        )
    });
    let (coarse, fine, warp) = (Noise::new(rng), Noise::new(rng), Noise::new(rng));
    let size = rng.within(0.15, 0.6) * canvas.short();
    let (twist, grain) = (rng.within(0.0, 2.0), rng.within(0.0, 0.22));
    let (octaves, keep) = (3 + rng.below(3) as u32, rng.within(0.4, 0.65));
    canvas.each(|p, x, y| {
        let (u, v) = (x / size, y / size);
        let w = warp.octaves(u * 0.8, v * 0.8, 2, 0.5) - 0.5;
        let t = coarse.octaves(u + twist * w, v - twist * w, octaves, keep);
        let low = smoothstep(0.2, 0.55, t);
        let high = smoothstep(0.5, 0.8, t);
        let speckle = grain * (fine.at(x * 0.45, y * 0.45) - 0.5);
        *p = blend(blend(palette[0], palette[1], low), palette[2], high).map(|c| c + speckle);
    });
}

/// A region with a pattern: a wall, a floor, a cloth. Its border is a straight line or a wobbly one.
fn patch(canvas: &mut Canvas, rng: &mut Rng) {
    let short = canvas.short();
    let base = rng.within(0.15, 0.8);
    let colors = [
        rng.color((0.05, 0.6), (base, base + 0.1)),
        rng.color((0.05, 0.6), ((base - 0.2).max(0.05), base)),
    ];
    let texture = Texture::new(colors, (4.0 / short, 26.0 / short), rng);
    let [c, s] = rng.direction();
    let wobble = if rng.chance(0.5) {
        rng.within(0.05, 0.3) * short
    } else {
        0.0
    };
    let noise = Noise::new(rng);
    let (cx, cy) = (
        rng.within(0.1, 0.9) * canvas.width as f32,
        rng.within(0.1, 0.9) * canvas.height as f32,
    );
    let depth = rng.within(0.15, 0.7) * short;
    let strength = rng.within(0.5, 1.0);
    canvas.each(|p, x, y| {
        let along = c * (x - cx) + s * (y - cy);
        let edge = along + wobble * (noise.octaves(x / (0.2 * short), y / (0.2 * short), 2, 0.5) - 0.5);
        let cover = smoothstep(-1.0, 1.0, edge) * smoothstep(-1.0, 1.0, depth - edge);
        if cover > 0.0 {
            *p = blend(*p, texture.at(x, y, 1.0), cover * strength);
        }
    });
}

/// A thick line that bends: a branch, a cable, a crack.
fn line(canvas: &mut Canvas, rng: &mut Rng) {
    let short = canvas.short();
    let color = rng.color((0.0, 0.7), (0.05, 0.9));
    let width = rng.within(0.004, 0.016) * short;
    let (mut x, mut y) = (
        rng.unit() * canvas.width as f32,
        rng.unit() * canvas.height as f32,
    );
    let mut angle = rng.within(0.0, std::f32::consts::TAU);
    let bend = rng.within(-0.12, 0.12);
    for _ in 0..10 + rng.below(50) {
        angle += bend + rng.within(-0.25, 0.25);
        let (dx, dy) = (libm::cosf(angle) * width * 1.2, libm::sinf(angle) * width * 1.2);
        (x, y) = (x + dx, y + dy);
        dab(canvas, x, y, width, color, |_, _| 0.0);
    }
}

/// An irregular spot: its outline wobbles, so that it is none of the classes.
fn blob(canvas: &mut Canvas, rng: &mut Rng) {
    let short = canvas.short();
    let color = rng.color((0.05, 0.7), (0.1, 0.9));
    let noise = Noise::new(rng);
    let (x, y) = (
        rng.unit() * canvas.width as f32,
        rng.unit() * canvas.height as f32,
    );
    let radius = rng.within(0.02, 0.12) * short;
    dab(canvas, x, y, radius, color, |dx, dy| {
        1.1 * (noise.octaves(dx * 1.7 + 9.0, dy * 1.7 + 9.0, 3, 0.6) - 0.5)
    });
}

/// Many small specks.
fn gravel(canvas: &mut Canvas, rng: &mut Rng) {
    let short = canvas.short();
    let color = rng.color((0.0, 0.6), (0.05, 0.95));
    let (cx, cy) = (
        rng.unit() * canvas.width as f32,
        rng.unit() * canvas.height as f32,
    );
    let spread = rng.within(0.05, 0.35) * short;
    for _ in 0..10 + rng.below(60) {
        let (x, y) = (cx + rng.within(-spread, spread), cy + rng.within(-spread, spread));
        let radius = rng.within(0.002, 0.007) * short;
        let shade = rng.within(0.7, 1.2);
        dab(canvas, x, y, radius.max(0.6), color.map(|c| c * shade), |_, _| {
            0.0
        });
    }
}

/// A spot of one colour; `wobble` moves its outline by a share of the radius, seen from its middle in radii.
pub(super) fn dab(
    canvas: &mut Canvas,
    cx: f32,
    cy: f32,
    radius: f32,
    color: super::canvas::Color,
    wobble: impl Fn(f32, f32) -> f32,
) {
    let reach = 1.7 * radius + 2.0;
    let rectangle = [cx - reach, cy - reach, cx + reach, cy + reach].map(|v| v.floor() as i64);
    canvas.each_in(rectangle, |p, x, y| {
        let (dx, dy) = ((x - cx) / radius, (y - cy) / radius);
        let d = ((dx * dx + dy * dy).sqrt() - 1.0 + wobble(dx, dy)) * radius;
        *p = blend(*p, color, (0.5 - d).clamp(0.0, 1.0));
    });
}
