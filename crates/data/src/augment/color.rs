//! Colour and occlusion, on 8-bit pixels.

use crate::Picture;
use crate::rng::Rng;

/// Moves hue by up to `amounts[0]` of the circle, scales saturation and value by 1 ± `amounts[1]`, 1 ± `amounts[2]`.
pub(super) fn jitter(picture: &mut Picture, amounts: [f32; 3], rng: &mut Rng) {
    if amounts == [0.0; 3] {
        return;
    }
    let [h, s, v] = amounts.map(|a| rng.within(-a, a));
    let (turn, saturation, value) = (6.0 * h, 1.0 + s, 1.0 + v);
    for pixel in picture.rgb_mut().chunks_exact_mut(3) {
        let rgb = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        for (out, new) in pixel.iter_mut().zip(shifted(rgb, turn, saturation, value)) {
            *out = (new + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
}

/// A colour 0 … 255 with its hue turned by sixths of the circle, its saturation and its value multiplied.
fn shifted(rgb: [f32; 3], turn: f32, saturation: f32, value: f32) -> [f32; 3] {
    let [r, g, b] = rgb;
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let spread = high - low;
    let v = (high * value).min(255.0);
    if spread == 0.0 {
        return [v; 3];
    }
    let hue = if high == r {
        (g - b) / spread
    } else if high == g {
        2.0 + (b - r) / spread
    } else {
        4.0 + (r - g) / spread
    };
    let hue = around(hue + turn + 12.0);
    let s = (spread / high * saturation).clamp(0.0, 1.0);
    [5.0, 3.0, 1.0].map(|k| {
        let at = around(hue + k);
        v - v * s * at.min(4.0 - at).clamp(0.0, 1.0)
    })
}

/// x modulo 6 for 0 ≤ x < 24 or so: the same number as `%`, which is a call of a library function.
fn around(mut x: f32) -> f32 {
    while x >= 6.0 {
        x -= 6.0;
    }
    x
}

/// With this chance, up to three grey rectangles of at most a quarter of the sides (Cutout, DeVries, Taylor, arXiv 1708.04552).
pub(super) fn cutout(picture: &mut Picture, chance: f32, rng: &mut Rng) {
    if !rng.chance(chance) {
        return;
    }
    let (width, height) = (picture.width(), picture.height());
    for _ in 0..=rng.below(3) {
        let (w, h) = (
            1 + rng.below(width.div_ceil(4)),
            1 + rng.below(height.div_ceil(4)),
        );
        let (x, y) = (rng.below(width - w + 1), rng.below(height - h + 1));
        for row in y..y + h {
            picture.rgb_mut()[3 * (row * width + x)..][..3 * w].fill(114);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_at_zero_and_a_third_turn_permutes_the_primaries() {
        for rgb in [[10.0, 200.0, 30.0], [255.0, 0.0, 1.0], [7.0, 7.0, 7.0], [0.0; 3]] {
            for (a, b) in shifted(rgb, 0.0, 1.0, 1.0).iter().zip(rgb) {
                assert!((a - b).abs() < 1e-3, "{rgb:?}");
            }
            let [r, g, b] = rgb;
            for (a, b) in shifted(rgb, 2.0, 1.0, 1.0).iter().zip([b, r, g]) {
                assert!((a - b).abs() < 1e-3, "{rgb:?}");
            }
        }
        assert_eq!(shifted([200.0, 100.0, 50.0], 0.0, 0.0, 0.5), [100.0; 3]);
    }
}
