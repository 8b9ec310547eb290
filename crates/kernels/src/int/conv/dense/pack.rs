//! Levels as planes of digits, in panels of 16 output channels.

use super::{Dense, DenseRow, Line, PANEL, Sum};
use crate::geometry::Geometry;
use crate::int::conv::Epilogue;

/// Digit p of a level in base 128, each in −64…63.
fn digit(mut level: i64, p: u32) -> i8 {
    for _ in 0..p {
        level = (level + 64) >> 7;
    }
    ((level + 64).rem_euclid(128) - 64) as i8
}

/// Planes that levels up to `max` take.
fn plane_count(max: u32) -> u32 {
    let mut planes = 1;
    // The largest value of p digits is 63 · (128^p − 1) / 127.
    while i128::from(max) > 63 * (128i128.pow(planes) - 1) / 127 {
        planes += 1;
    }
    planes
}

impl Dense {
    /// Packs `levels` [out channel][tap][in channel of the group].
    pub(crate) fn new(
        row: &'static DenseRow,
        geometry: &Geometry,
        levels: &[i32],
        epilogue: &Epilogue,
    ) -> Dense {
        let s = &geometry.shape;
        let (taps, cin, cout) = (
            geometry.taps(),
            s.in_channels / s.groups,
            s.out_channels / s.groups,
        );
        let (quads, panels) = (cin.div_ceil(4), cout.div_ceil(PANEL));
        let lines = taps * quads;
        let max = levels.iter().map(|l| l.unsigned_abs()).max().unwrap_or(0);
        let plain = max <= 127;
        let count = if plain { 1 } else { plane_count(max) };
        let each = taps * cin;
        let largest = (0..s.out_channels)
            .map(|o| epilogue.largest(o, &levels[o * each..(o + 1) * each]))
            .max()
            .unwrap_or(0);
        let sum = match (plain, largest < 1 << 31) {
            (true, true) => Sum::Plain,
            (false, true) => Sum::I32,
            _ => Sum::I64,
        };

        let blocks = s.groups * panels;
        let mut planes = vec![vec![Line([0; 64]); blocks * lines]; count as usize];
        let mut wide_bias = vec![vec![0i64; blocks * PANEL + PANEL]; geometry.phases.len()];
        let mut multiplier = vec![0f32; blocks * PANEL + PANEL];
        for o in 0..s.out_channels {
            let (g, m) = (o / cout, o % cout);
            let block = g * panels + m / PANEL;
            let levels = &levels[o * each..(o + 1) * each];
            for (bias, phase) in wide_bias.iter_mut().zip(&geometry.phases) {
                let of_tap = |&t: &usize| {
                    levels[t * cin..(t + 1) * cin]
                        .iter()
                        .map(|&l| i64::from(l))
                        .sum::<i64>()
                };
                let total: i64 = phase.taps.iter().map(of_tap).sum();
                bias[block * PANEL + m % PANEL] = epilogue.bias[o] - i64::from(epilogue.zero_in) * total;
            }
            multiplier[block * PANEL + m % PANEL] = epilogue.multiplier[o];
            for (i, &level) in levels.iter().enumerate() {
                let (t, c) = (i / cin, i % cin);
                let line = block * lines + t * quads + c / 4;
                for (p, plane) in planes.iter_mut().enumerate() {
                    plane[line].0[m % PANEL * 4 + c % 4] = if plain {
                        level as i8
                    } else {
                        digit(i64::from(level), p as u32)
                    };
                }
            }
        }
        Dense {
            row,
            sum,
            planes,
            panels,
            lines,
            quads,
            bias: wide_bias
                .iter()
                .map(|b| b.iter().map(|&b| b as i32).collect())
                .collect(),
            wide_bias,
            multiplier,
            outside: vec![epilogue.zero_in; quads * 4],
            output: epilogue.output.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_rebuild_every_level() {
        for level in (-40_000..40_000).chain([i32::MAX, i32::MIN, 1 << 20]) {
            let planes = plane_count(level.unsigned_abs());
            let sum: i64 = (0..planes)
                .map(|p| i64::from(digit(i64::from(level), p)) << (7 * p))
                .sum();
            assert_eq!(sum, i64::from(level));
        }
        assert_eq!(
            (plane_count(63), plane_count(128), plane_count(32_768)),
            (1, 2, 3)
        );
    }
}
