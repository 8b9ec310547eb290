//! The objects: placed, drawn from back to front, and boxed by what remains visible of them.

use tasks::detect::{BBox, Object, Status};

use super::canvas::{Canvas, Color, blend, distance as color_distance, smoothstep};
use super::noise::Noise;
use super::shape::{self, NAMES};
use super::texture::Texture;
use crate::rng::Rng;

/// Nothing owns the pixel.
const NONE: u8 = u8::MAX;

/// A shape at its place. Frame coordinates are `inverse · (pixel − centre)`.
struct Thing {
    class: usize,
    center: [f32; 2],
    /// Half of the larger side in pixels.
    radius: f32,
    inverse: [[f32; 2]; 2],
    texture: Texture,
    /// Towards the light, in the picture.
    light: [f32; 2],
    shading: f32,
    rim: f32,
}

pub(super) fn paint(canvas: &mut Canvas, most: usize, rng: &mut Rng) -> Vec<Object> {
    let light = rng.direction();
    let things = place(canvas, 1 + rng.below(most), light, rng);
    let mut owner = vec![NONE; canvas.width * canvas.height];
    let mut whole = Vec::new();
    for (k, thing) in things.iter().enumerate() {
        thing.shadow(canvas);
        whole.push(thing.draw(canvas, &mut owner, k as u8));
    }
    for _ in 0..rng.below(3) {
        occlude(canvas, &mut owner, rng);
    }
    visible(&things, &whole, &owner, canvas.width)
}

fn place(canvas: &mut Canvas, count: usize, light: [f32; 2], rng: &mut Rng) -> Vec<Thing> {
    let mut out: Vec<Thing> = Vec::new();
    let (width, height, short) = (canvas.width as f32, canvas.height as f32, canvas.short());
    // Crowded scenes have smaller objects.
    let largest = if count > 6 { 0.17 } else { 0.27 };
    for _ in 0..count {
        // The logarithm of the size is uniform: as many small objects as large ones.
        let radius = short * 0.028 * libm::powf(largest / 0.028, rng.unit());
        let crowd = if rng.chance(0.3) { 0.45 } else { 0.95 };
        let mut center = [0.0; 2];
        for _ in 0..12 {
            // The first one stands well inside, so that hardly a scene is empty; the others may be cut by the border.
            let border = if out.is_empty() { 0.15 } else { -0.02 };
            let mut along = |side: f32| rng.within(border, 1.0 - border) * side;
            center = [along(width), along(height)];
            let far = |t: &Thing| {
                let (dx, dy) = (t.center[0] - center[0], t.center[1] - center[1]);
                (dx * dx + dy * dy).sqrt() > crowd * (t.radius + radius)
            };
            if out.iter().all(far) {
                break;
            }
        }
        out.push(thing(canvas, center, radius, light, rng));
    }
    out
}

fn thing(canvas: &mut Canvas, center: [f32; 2], radius: f32, light: [f32; 2], rng: &mut Rng) -> Thing {
    let (stretch, shear) = (rng.within(0.68, 1.0), rng.within(-0.15, 0.15));
    let [c, s] = if rng.chance(0.35) {
        let tilt = rng.within(-0.3, 0.3);
        [libm::cosf(tilt), libm::sinf(tilt)]
    } else {
        rng.direction()
    };
    // frame = stretch⁻¹ · shear · rotation⁻¹ / radius
    let (rx, ry) = ([c / radius, s / radius], [-s / radius, c / radius]);
    let inverse = [
        [rx[0] + shear * ry[0], rx[1] + shear * ry[1]],
        [ry[0] / stretch, ry[1] / stretch],
    ];
    let around = [
        center[0] - radius,
        center[1] - radius,
        center[0] + radius,
        center[1] + radius,
    ];
    let behind = canvas.mean(around.map(|v| v as i64));
    Thing {
        class: rng.below(NAMES.len()),
        center,
        radius,
        inverse,
        texture: Texture::new(colors(behind, rng), (0.8, 3.2), rng),
        light,
        shading: rng.within(0.05, 0.45),
        rim: rng.within(0.0, 0.5),
    }
}

/// Two colours of which the first stands out from what is behind.
fn colors(behind: Color, rng: &mut Rng) -> [Color; 2] {
    let mut first = [0.0; 3];
    let mut best = -1.0;
    for _ in 0..6 {
        let candidate = rng.color((0.2, 1.0), (0.25, 1.0));
        let d = color_distance(candidate, behind);
        if d > best {
            (first, best) = (candidate, d);
        }
        if best > 0.45 {
            break;
        }
    }
    let second = if rng.chance(0.5) {
        let shade = if rng.chance(0.5) {
            rng.within(0.4, 0.7)
        } else {
            rng.within(1.25, 1.6)
        };
        first.map(|c| (c * shade).min(1.0))
    } else {
        rng.color((0.1, 1.0), (0.3, 1.0))
    };
    [first, second]
}

impl Thing {
    fn frame(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = (x - self.center[0], y - self.center[1]);
        self.inverse.map(|row| row[0] * dx + row[1] * dy)
    }

    /// Distance from the outline in pixels, negative inside.
    fn outline(&self, x: f32, y: f32) -> f32 {
        let [u, v] = self.frame(x, y);
        shape::distance(self.class, u, v) * self.radius
    }

    /// A rectangle that holds the shape and `margin` pixels around it.
    fn bounds(&self, margin: f32) -> [i64; 4] {
        let reach = 1.25 * self.radius + margin;
        let [x, y] = self.center;
        [x - reach, y - reach, x + reach + 1.0, y + reach + 1.0].map(|v| v.floor() as i64)
    }

    /// Darkens what lies behind, away from the light.
    fn shadow(&self, canvas: &mut Canvas) {
        let reach = 0.16 * self.radius;
        let soft = 0.14 * self.radius + 1.0;
        let [lx, ly] = self.light;
        canvas.each_in(self.bounds(reach + soft), |p, x, y| {
            let d = self.outline(x + lx * reach, y + ly * reach);
            let dark = 1.0 - 0.5 * (1.0 - smoothstep(-soft, soft, d));
            *p = p.map(|c| c * dark);
        });
    }

    /// Draws the shape, marks the pixels it owns, and counts its pixels with those beyond the picture and behind.
    fn draw(&self, canvas: &mut Canvas, owner: &mut [u8], k: u8) -> usize {
        let bounds @ [x1, y1, x2, y2] = self.bounds(2.0);
        let centers = |a: i64, b: i64| (a..b).map(|v| v as f32 + 0.5);
        let whole = centers(y1, y2)
            .map(|y| centers(x1, x2).filter(|x| self.outline(*x, y) < 0.0).count())
            .sum();
        let width = canvas.width;
        canvas.each_in(bounds, |p, x, y| {
            let d = self.outline(x, y);
            let cover = (0.5 - d).clamp(0.0, 1.0);
            if cover > 0.0 {
                *p = blend(*p, self.surface(x, y, d), cover);
            }
            if d < 0.0 {
                owner[y as usize * width + x as usize] = k;
            }
        });
        whole
    }

    /// Colour of the surface, brighter towards the light, darker at the rim.
    fn surface(&self, x: f32, y: f32, d: f32) -> Color {
        let [u, v] = self.frame(x, y);
        let towards =
            (self.light[0] * (x - self.center[0]) + self.light[1] * (y - self.center[1])) / self.radius;
        let rim = 1.0 - self.rim * smoothstep(-0.14 * self.radius - 1.0, 0.0, d);
        let shade = (1.0 + self.shading * towards) * rim;
        self.texture.at(u, v, 1.0 / self.radius).map(|c| c * shade)
    }
}

/// Something in front: a bar across the picture or a leaf-like spot.
fn occlude(canvas: &mut Canvas, owner: &mut [u8], rng: &mut Rng) {
    let short = canvas.short();
    let base = rng.within(0.1, 0.8);
    let colors = [
        rng.color((0.05, 0.6), (base, base + 0.15)),
        rng.color((0.05, 0.6), ((base - 0.1).max(0.05), base)),
    ];
    let texture = Texture::new(colors, (8.0 / short, 30.0 / short), rng);
    let (cx, cy) = (
        rng.unit() * canvas.width as f32,
        rng.unit() * canvas.height as f32,
    );
    let [c, s] = rng.direction();
    let bar = rng.chance(0.5);
    let half = if bar {
        rng.within(0.008, 0.03)
    } else {
        rng.within(0.04, 0.09)
    } * short;
    let noise = Noise::new(rng);
    let width = canvas.width;
    canvas.each(|p, x, y| {
        let (dx, dy) = (x - cx, y - cy);
        let across = c * dx + s * dy;
        let d = if bar {
            across.abs() - half
        } else {
            let along = (c * dy - s * dx) * 0.6;
            let wobble = noise.octaves(dx / half + 9.0, dy / half + 9.0, 2, 0.5) - 0.5;
            (across * across + along * along).sqrt() - half * (1.0 + wobble)
        };
        if d < 0.5 {
            *p = blend(*p, texture.at(x, y, 1.0), (0.5 - d).clamp(0.0, 1.0));
            if d < 0.0 {
                owner[y as usize * width + x as usize] = NONE;
            }
        }
    });
}

/// Boxes around the pixels that each thing still owns.
fn visible(things: &[Thing], whole: &[usize], owner: &[u8], width: usize) -> Vec<Object> {
    let mut seen = vec![0usize; things.len()];
    let mut boxes = vec![[usize::MAX, usize::MAX, 0, 0]; things.len()];
    for (at, k) in owner.iter().enumerate().filter(|(_, k)| **k != NONE) {
        let (x, y) = (at % width, at / width);
        let b = &mut boxes[usize::from(*k)];
        *b = [b[0].min(x), b[1].min(y), b[2].max(x + 1), b[3].max(y + 1)];
        seen[usize::from(*k)] += 1;
    }
    let mut out = Vec::new();
    for (k, thing) in things.iter().enumerate() {
        if seen[k] == 0 || seen[k] * 10 < whole[k] {
            continue;
        }
        let [x1, y1, x2, y2] = boxes[k].map(|v| v as f64);
        let mut object = Object::new(thing.class, BBox::new(x1, y1, x2, y2));
        if seen[k] * 3 < whole[k] || (x2 - x1).min(y2 - y1) < 8.0 {
            object.status = Status::Difficult;
        }
        out.push(object);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(x: f32, y: f32, radius: f32) -> Thing {
        Thing {
            class: 2,
            center: [x, y],
            radius,
            inverse: [[1.0 / radius, 0.0], [0.0, 1.0 / radius]],
            texture: Texture::new([[1.0; 3]; 2], (1.0, 1.0), &mut Rng::new([0, 0, 0])),
            light: [1.0, 0.0],
            shading: 0.0,
            rim: 0.0,
        }
    }

    fn boxes(things: &[Thing]) -> Vec<Object> {
        let mut canvas = Canvas::new(100, 80);
        let mut owner = vec![NONE; 8000];
        let whole: Vec<usize> = things
            .iter()
            .enumerate()
            .map(|(k, t)| t.draw(&mut canvas, &mut owner, k as u8))
            .collect();
        visible(things, &whole, &owner, 100)
    }

    #[test]
    fn boxes_hold_what_can_be_seen() {
        let far = boxes(&[disc(50.0, 40.0, 20.0)]);
        assert_eq!(far[0].bbox, BBox::new(30.0, 20.0, 70.0, 60.0));
        // Half beyond the border; a third of another one behind it.
        let cut = boxes(&[disc(20.0, 40.0, 10.0), disc(0.0, 40.0, 16.0)]);
        assert_eq!(cut[1].bbox, BBox::new(0.0, 24.0, 16.0, 56.0));
        assert_eq!((cut[0].bbox.x2, cut[0].bbox.x1 > 10.0), (30.0, true));
        assert!(cut.iter().all(|o| o.status == Status::Counted));
    }

    #[test]
    fn hidden_objects_are_difficult_or_gone() {
        let status = |shift: f32| {
            let all = boxes(&[disc(50.0 + shift, 40.0, 15.0), disc(50.0, 40.0, 20.0)]);
            (all.len() == 2).then(|| all[0].status)
        };
        assert_eq!(status(0.0), None);
        assert_eq!(status(7.0), None);
        assert_eq!(status(14.0), Some(Status::Difficult));
        assert_eq!(status(22.0), Some(Status::Counted));
        assert_eq!(boxes(&[disc(50.0, 40.0, 3.0)])[0].status, Status::Difficult);
    }
}
