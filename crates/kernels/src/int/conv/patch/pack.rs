//! Weights of a layer in the order in which a row reads them.

use std::borrow::Cow;

use super::{Body, Low, PANEL, PatchRow, Patched};
use crate::ConvShape;
use crate::int::conv::digits::digit;
use crate::int::conv::{Epilogue, Output};

/// 64 bytes of weights.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line([u8; 64]);

impl Line {
    pub(super) fn is_zero(&self) -> bool {
        self.0 == [0; 64]
    }

    /// Puts the element `at` of `unit` bytes.
    fn put(&mut self, at: usize, level: i32, unit: usize) {
        self.0[unit * at..unit * (at + 1)].copy_from_slice(&level.to_le_bytes()[..unit]);
    }
}

/// A layer of kernel 1 without strides or pads as one line of pixels.
fn flattened(shape: &ConvShape) -> ConvShape {
    let mut s = shape.clone();
    let one = |i: usize| s.kernel[i] == 1 && s.stride[i] == 1 && s.pad[i] == 0 && s.input[i] == s.output[i];
    if (0..3).all(one) {
        let pixels = s.batch * s.input.iter().product::<usize>();
        (s.batch, s.input, s.output) = (1, [1, 1, pixels], [1, 1, pixels]);
    }
    s
}

/// A digit of each level.
fn digits_of(levels: &[i32], place: u32, row: &PatchRow) -> Vec<i32> {
    let bits = row.digit_bits();
    levels
        .iter()
        .map(|&l| digit(i64::from(l), place, bits) as i32)
        .collect()
}

/// What a sum of products with codes has too much of the zero point: nothing where differences are multiplied.
fn zero_share(row: &PatchRow, levels: &[i32], zero_in: u8) -> i64 {
    match row.widen {
        Some(_) => 0,
        None => {
            let sum: i64 = levels.iter().map(|&l| i64::from(l)).sum();
            sum * (i64::from(zero_in) - i64::from(row.minus))
        }
    }
}

/// Levels of up to 16 channels, `each` of a channel in segments of `len`, into the lines of their panel, `quads` a segment: line after line, since a
/// panel's lines and a channel's column of them do not stay in the nearest cache together.
fn put_bytes(levels: &[i32], each: usize, lines: &mut [Line], (len, quads): (usize, usize)) {
    for (segment, lines) in lines.chunks_mut(quads.max(1)).enumerate() {
        for (n, channel) in levels.chunks(each.max(1)).enumerate() {
            let from = &channel[segment * len..][..len];
            let (whole, rest) = from.as_chunks::<4>();
            for (line, four) in lines.iter_mut().zip(whole) {
                line.0[4 * n..][..4].copy_from_slice(&four.map(|level| level as u8));
            }
            for (to, &level) in (4 * n..).zip(rest) {
                lines[whole.len()].0[to] = level as u8;
            }
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Products of a pair of lines: plane and column of the kernel, and the first of four rows. The lower line's taps reach one row further.
pub(super) fn columns(s: &ConvShape) -> impl Iterator<Item = (usize, usize, usize)> {
    let [kd, kh, kw] = s.kernel;
    (0..kd).flat_map(move |z| (0..kw).flat_map(move |x| (0..kh + 1).step_by(4).map(move |y| (z, x, y))))
}

/// For each tap of the kernel its places in [`columns`]: of the upper line and, a row further, of the lower.
fn places_in_columns(s: &ConvShape) -> Vec<Vec<[usize; 3]>> {
    let [kd, kh, kw] = s.kernel;
    let mut places = vec![Vec::new(); kd * kh * kw];
    for (product, (z, x, first)) in columns(s).enumerate() {
        for (at, row) in (first..first + 4).enumerate() {
            for output in 0..2 {
                if let Some(y) = row.checked_sub(output).filter(|&y| y < kh) {
                    places[(z * kh + y) * kw + x].push([product, output, at]);
                }
            }
        }
    }
    places
}

impl Patched {
    /// Packs `levels` [out channel][tap][in channel of the group], given with their largest magnitude; wide ones as digits.
    pub(crate) fn new(
        row: &'static PatchRow,
        shape: &ConvShape,
        levels: (&[i32], u32),
        epilogue: &Epilogue,
    ) -> Patched {
        let shape = flattened(shape);
        match shape.is_depthwise() {
            true => Patched::depthwise(row, shape, levels, epilogue),
            false => Patched::dense(row, shape, levels, epilogue),
        }
    }

    /// A layer of `lines` lines of weights and `channels` output channels, all 0.
    fn zeroed(
        row: &'static PatchRow,
        shape: ConvShape,
        body: Body,
        (planes, low): (u32, Low),
        lines: usize,
        channels: usize,
    ) -> Patched {
        Patched {
            row,
            shape,
            body,
            planes: planes as usize,
            low,
            weights: vec![Line([0; 64]); planes as usize * lines],
            kept: None,
            bias: vec![0; channels],
            multiplier: vec![0.0; channels],
        }
    }

    fn dense(
        row: &'static PatchRow,
        shape: ConvShape,
        (levels, most): (&[i32], u32),
        epilogue: &Epilogue,
    ) -> Patched {
        let (groups, channels) = (shape.groups, shape.out_channels);
        let (cin, cout) = (shape.in_channels / groups, channels / groups);
        let [kd, kh, kw] = shape.kernel;
        let joined = groups == 1 && shape.dilation[2] == 1;
        let (segments, len) = if joined {
            (kd * kh, kw * cin)
        } else {
            (kd * kh * kw, cin)
        };
        let fold = 4 / row.unit();
        let quads = len.div_ceil(fold).next_multiple_of(row.quads_at_a_time());
        let panels = cout.div_ceil(PANEL);
        let body = Body::Dense {
            panels,
            segments,
            quads,
            joined,
        };
        let all = groups * panels;
        let low = Low::of(row, (levels, most), all * segments * quads, false);
        let bits = low.bits;
        let planes = row.planes(most >> bits);
        let each_panel = planes as usize * segments * quads;
        let mut packed = Patched::zeroed(
            row,
            shape,
            body,
            (planes, low),
            all * segments * quads,
            all * PANEL,
        );
        let each = kd * kh * kw * cin;
        let bytes = row.unit() == 1 && planes == 1 && bits == 0;
        for o in 0..channels {
            let (panel, n) = (o / cout * panels + o % cout / PANEL, o % cout % PANEL);
            let levels = &levels[o * each..(o + 1) * each];
            let shift = zero_share(row, levels, epilogue.zero_in);
            // The bound of i32 covers the bias, with the zero point's share too.
            packed.bias[panel * PANEL + n] = (epilogue.bias[o] - shift) as i32;
            packed.multiplier[panel * PANEL + n] = epilogue.multiplier[o];
            if bytes {
                continue;
            }
            let levels = &match bits {
                0 => Cow::Borrowed(levels),
                _ => Cow::Owned(packed.low.divide(levels, len.max(1), (panel, n))),
            }[..];
            for plane in 0..planes {
                let digits: Vec<i32>;
                let levels = match planes {
                    1 => levels,
                    _ => {
                        digits = digits_of(levels, planes - 1 - plane, row);
                        &digits
                    }
                };
                let first = panel * each_panel + plane as usize * segments * quads;
                let lines = packed.weights[first..].chunks_mut(quads.max(1));
                for (levels, lines) in levels.chunks(len.max(1)).zip(lines) {
                    for (levels, line) in levels.chunks(fold).zip(lines) {
                        for (t, &level) in levels.iter().enumerate() {
                            line.put(fold * n + t, level, row.unit());
                        }
                    }
                }
            }
        }
        if bytes {
            let panels = packed.weights.chunks_mut(each_panel.max(1));
            let groups = levels.chunks((cout * each).max(1));
            let channels = groups.flat_map(|group| group.chunks((PANEL * each).max(1)));
            for (levels, lines) in channels.zip(panels) {
                put_bytes(levels, each, lines, (len, quads));
            }
        }
        packed.without_zeros()
    }

    fn depthwise(
        row: &'static PatchRow,
        shape: ConvShape,
        (levels, most): (&[i32], u32),
        epilogue: &Epilogue,
    ) -> Patched {
        let (channels, taps) = (shape.out_channels, shape.kernel.iter().product::<usize>());
        let (block, each) = (row.depthwise_block, row.taps());
        let codes = !matches!(epilogue.output, Output::F32);
        let paired = row.depthwise_pair.is_some()
            && codes
            && shape.output[1] > 1
            && (shape.stride[1], shape.dilation[1]) == (1, 1);
        // Where a tap stands: product, output line, place in the product.
        let places: Vec<Vec<[usize; 3]>> = match paired {
            true => places_in_columns(&shape),
            false => (0..taps).map(|t| vec![[t / each, 0, t % each]]).collect(),
        };
        let products = match paired {
            true => columns(&shape).count(),
            false => taps.div_ceil(each),
        };
        let outputs = if paired { 2 } else { 1 };
        // Lines of a product: a block's channels, `each` taps of `unit` bytes.
        let lines = block * 4 / 64;
        let period = channels / gcd(channels, block);
        let flat = codes && shape.stride[2] == 1 && channels % block != 0 && period <= block / 2;
        let blocks = if flat { period } else { channels.div_ceil(block) };
        let body = Body::Depthwise { blocks, flat, paired };
        let all = blocks * products * outputs * lines;
        let low = Low::of(row, (levels, most), all, true);
        let bits = low.bits;
        let planes = row.planes(most >> bits);
        let mut packed = Patched::zeroed(row, shape, body, (planes, low), all, blocks * block);
        for at in 0..blocks * block {
            let element = at / block * block + row.channel(at % block);
            let c = if flat { element % channels } else { element };
            if c < channels {
                let levels = &levels[c * taps..(c + 1) * taps];
                let shift = zero_share(row, levels, epilogue.zero_in);
                packed.bias[at] = (epilogue.bias[c] - shift) as i32;
                packed.multiplier[at] = epilogue.multiplier[c];
                let levels: Vec<i32> = levels.iter().map(|l| l >> bits).collect();
                for plane in 0..planes as usize {
                    let digits = match planes {
                        1 => levels.clone(),
                        _ => digits_of(&levels, planes - 1 - plane as u32, row),
                    };
                    for (&level, places) in digits.iter().zip(&places) {
                        for &[product, output, tap] in places {
                            let product = (at / block * planes as usize + plane) * products + product;
                            let i = at % block * each + tap;
                            let line = (product * outputs + output) * lines + i * row.unit() / 64;
                            packed.weights[line].put(i % (64 / row.unit()), level, row.unit());
                        }
                    }
                }
            }
        }
        packed
    }
}
