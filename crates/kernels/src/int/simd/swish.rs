//! x · sigmoid(x) = max(x, 0) − h(|x|) with the hump h(a) = a / (1 + eᵃ), by a cubic over each of 32 pieces of u = a + 1: eight pieces for each
//! power of two from 1 to 16, so that a piece's number is the bits of u from the 20th on.

use std::sync::OnceLock;

/// The greatest u: beyond, the hump is nearly 0.
pub(super) const LAST: f32 = 15.999_999;
/// How far the cubics are from the function, rounding not counted.
pub(super) const ERROR: f32 = 6e-6;

const PIECES: usize = 32;

/// Powers 0 to 3 of u, by the number's lower five bits.
pub(super) fn pieces() -> &'static [[f32; PIECES]; 4] {
    static POWERS: OnceLock<[[f32; PIECES]; 4]> = OnceLock::new();
    POWERS.get_or_init(|| {
        let mut powers = [[0.0; PIECES]; 4];
        for piece in 0..PIECES {
            let first = f64::from(2.0f32).powi((piece / 8) as i32);
            let (start, width) = (first * (1.0 + (piece % 8) as f64 / 8.0), first / 8.0);
            let number = (start as f32).to_bits() >> 20;
            for (power, c) in powers.iter_mut().zip(cubic(start, width)) {
                power[number as usize % PIECES] = c as f32;
            }
        }
        powers
    })
}

/// The hump at u.
fn hump(u: f64) -> f64 {
    let a = u - 1.0;
    a / (1.0 + a.exp())
}

/// The polynomial that meets the hump at four Chebyshev nodes, by powers of u.
fn cubic(start: f64, width: f64) -> [f64; 4] {
    let nodes: [f64; 4] = std::array::from_fn(|k| {
        let angle = std::f64::consts::PI * (2 * k + 1) as f64 / 8.0;
        start + width * 0.5 * (1.0 + angle.cos())
    });
    // Divided differences, then Newton's form multiplied out.
    let mut differences = nodes.map(hump);
    for order in 1..4 {
        for k in (order..4).rev() {
            differences[k] = (differences[k] - differences[k - 1]) / (nodes[k] - nodes[k - order]);
        }
    }
    let mut powers = [0.0; 4];
    for k in (0..4).rev() {
        // powers · (u − node) + difference.
        for i in (0..4).rev() {
            powers[i] = if i > 0 { powers[i - 1] } else { 0.0 } - nodes[k] * powers[i];
        }
        powers[0] += differences[k];
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubics_keep_to_the_hump() {
        let powers = pieces();
        let mut worst = 0f64;
        for i in 0..400_000 {
            let a = i as f64 * 5e-5;
            let u = (a as f32 + 1.0).min(LAST);
            let piece = (u.to_bits() >> 20) as usize % PIECES;
            let y = (0..4)
                .rev()
                .fold(0.0, |y, i| y * f64::from(u) + f64::from(powers[i][piece]));
            worst = worst.max((y - hump(f64::from(a as f32) + 1.0)).abs());
        }
        assert!(worst < f64::from(ERROR), "{worst}");
        assert!(worst > f64::from(ERROR) / 4.0, "{worst}: the bound is too wide");
    }
}
