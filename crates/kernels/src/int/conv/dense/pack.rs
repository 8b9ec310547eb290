//! Levels as planes of digits, in panels of 16 output channels.

use super::{Dense, DenseRow, Line, PANEL, Sum};
use crate::geometry::Geometry;
use crate::int::conv::digits::{count, digit};
use crate::int::conv::{Epilogue, magnitude, most};

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
        let max = most(levels);
        let plain = max <= 127;
        let planes_of_digits = if plain { 1 } else { count(max, 7) };
        let each = taps * cin;
        let largest = (0..s.out_channels)
            .map(|o| epilogue.largest(o, magnitude(&levels[o * each..(o + 1) * each])))
            .max()
            .unwrap_or(0);
        let sum = match (plain, largest < 1 << 31) {
            (true, true) => Sum::Plain,
            (false, true) => Sum::I32,
            _ => Sum::I64,
        };

        let blocks = s.groups * panels;
        let mut planes = vec![vec![Line([0; 64]); blocks * lines]; planes_of_digits as usize];
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
                        digit(i64::from(level), p as u32, 7) as i8
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
