//! A picture in f32, 0…1.

use crate::Picture;

/// Red, green, blue.
pub(super) type Color = [f32; 3];

pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<Color>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Canvas {
            width,
            height,
            pixels: vec![[0.0; 3]; width * height],
        }
    }

    /// The shorter side in pixels.
    pub(super) fn short(&self) -> f32 {
        self.width.min(self.height) as f32
    }

    /// Calls `f` with the pixel and the coordinates of its centre, for the part of the rectangle inside the picture.
    pub(super) fn each_in(&mut self, [x1, y1, x2, y2]: [i64; 4], mut f: impl FnMut(&mut Color, f32, f32)) {
        let inside = |v: i64, most: usize| v.clamp(0, most as i64) as usize;
        let (x1, x2) = (inside(x1, self.width), inside(x2, self.width));
        for y in inside(y1, self.height)..inside(y2, self.height) {
            for x in x1..x2 {
                f(
                    &mut self.pixels[y * self.width + x],
                    x as f32 + 0.5,
                    y as f32 + 0.5,
                );
            }
        }
    }

    /// Calls `f` with every pixel and the coordinates of its centre.
    pub(super) fn each(&mut self, f: impl FnMut(&mut Color, f32, f32)) {
        self.each_in([0, 0, self.width as i64, self.height as i64], f);
    }

    /// Mean colour of the part of a rectangle inside the picture, black when there is none.
    pub(super) fn mean(&mut self, rectangle: [i64; 4]) -> Color {
        let mut sum = [0.0; 3];
        let mut n = 0.0;
        self.each_in(rectangle, |p, _, _| {
            for (s, v) in sum.iter_mut().zip(*p) {
                *s += v;
            }
            n += 1.0;
        });
        sum.map(|s| if n > 0.0 { s / n } else { 0.0 })
    }

    pub(super) fn picture(&self) -> Picture {
        let rgb = self
            .pixels
            .iter()
            .flatten()
            .map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)
            .collect();
        Picture::new(self.width, self.height, rgb).expect("a canvas has three bytes for each of its pixels")
    }
}

/// `a` at 0, `b` at 1.
pub(super) fn blend(a: Color, b: Color, t: f32) -> Color {
    std::array::from_fn(|k| a[k] + (b[k] - a[k]) * t)
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(super) fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Distance of two colours, 0…1.73.
pub(super) fn distance(a: Color, b: Color) -> f32 {
    (0..3).map(|k| (a[k] - b[k]) * (a[k] - b[k])).sum::<f32>().sqrt()
}
