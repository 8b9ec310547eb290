//! Batch normalization, forward and backward, with the activation behind it.
//!
//! Sums are taken in f32 over chunks of pixels that stay in the first cache, of values less a shift near their mean, and the chunks
//! in f64: `E[x²] − E[x]²` in f32 loses variances that are small against the mean.

use super::reduce::{PARTS, combine};
use super::vector::{Repeated, chunk, period, vectorized};
use super::weight::part_of;
use crate::float::Activation;
use crate::float::rows::rows;
use crate::split::{self, Parts};
use crate::{Isa, Pool};

/// A normalization of `[pixels, channels]` and the function behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub struct BatchNorm {
    pub pixels: usize,
    pub channels: usize,
    pub activation: Activation,
}

/// f of straight pieces: f′ is `slope` up to `low`, 1 to `high`, 0 from there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ramp {
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) slope: f32,
}

impl Ramp {
    pub(crate) fn of(f: Activation) -> Option<Ramp> {
        let (low, high, slope) = match f {
            Activation::None => (f32::NEG_INFINITY, f32::INFINITY, 1.0),
            Activation::Relu => (0.0, f32::INFINITY, 0.0),
            Activation::LeakyRelu { alpha } => (0.0, f32::INFINITY, alpha),
            Activation::Clip { low, high } => (low, high, 0.0),
            _ => return None,
        };
        Some(Ramp { low, high, slope })
    }

    #[inline(always)]
    fn derivative(self, x: f32) -> f32 {
        let d = if x > self.low { 1.0 } else { self.slope };
        if x < self.high { d } else { 0.0 }
    }
}

/// Whether a normalization's backward goes through the activation behind it.
pub fn batch_norm_takes(f: Activation) -> bool {
    Ramp::of(f).is_some()
}

vectorized! {
    /// Adds Σ(x − shift) and Σ(x − shift)² of rows of channels to `sums` `[2][channels]`.
    fn moments(x: &[f32], shift: &[f32], sums: &mut [f64]) {
        #[inline(always)]
        fn block<const W: usize>(x: &[f32], c: usize, at: usize, shift: &[f32], first: &mut [f64], second: &mut [f64]) {
            let mut s = [0f32; W];
            s.copy_from_slice(&shift[at..at + W]);
            let (mut one, mut two) = ([0f32; W], [0f32; W]);
            for row in x.chunks_exact(c) {
                let row = &row[at..at + W];
                for j in 0..W {
                    let d = row[j] - s[j];
                    one[j] += d;
                    two[j] = d.mul_add(d, two[j]);
                }
            }
            for j in 0..W {
                first[at + j] += f64::from(one[j]);
                second[at + j] += f64::from(two[j]);
            }
        }
        let c = shift.len();
        let (first, second) = sums.split_at_mut(c);
        let mut at = 0;
        while at + 16 <= c {
            block::<16>(x, c, at, shift, first, second);
            at += 16;
        }
        while at + 8 <= c {
            block::<8>(x, c, at, shift, first, second);
            at += 8;
        }
        while at < c {
            block::<1>(x, c, at, shift, first, second);
            at += 1;
        }
    }
}

/// Leaves Σ(x − shift) and Σ(x − shift)² of each channel of `x` `[pixels, channels]` at the front of `wide`, `[2][channels]`; `shift` is a guess of
/// the mean. `wide` is scratch memory of [`sums_scratch`](super::sums_scratch)`(2 · channels)`.
pub fn batch_norm_sums(pool: &Pool, isa: Isa, x: &[f32], shift: &[f32], wide: &mut [f64]) {
    let c = shift.len();
    in_parts(pool, x.len() / c.max(1), 2 * c, chunk(c), wide, |p, sums| {
        moments(isa, &x[p.start * c..p.end * c], shift, sums)
    });
}

/// Mean and biased variance of each channel, from the [sums](batch_norm_sums) of `pixels` pixels.
pub fn batch_norm_moments(
    sums: &[f64],
    shift: &[f32],
    pixels: usize,
    mean: &mut [f32],
    variance: &mut [f32],
) {
    let c = shift.len();
    let n = pixels.max(1) as f64;
    for j in 0..c {
        let d = sums[j] / n;
        mean[j] = (f64::from(shift[j]) + d) as f32;
        variance[j] = (sums[c + j] / n - d * d).max(0.0) as f32;
    }
}

/// Calls `sums(pixels, part's sums)` over chunks of a fixed number of parts, and leaves the total at the front of `wide`.
fn in_parts(
    pool: &Pool,
    pixels: usize,
    len: usize,
    chunk: usize,
    wide: &mut [f64],
    sums: impl Fn(std::ops::Range<usize>, &mut [f64]) + Sync,
) {
    {
        let wide = Parts::new(&mut wide[..PARTS * len]);
        pool.run(PARTS, &|part| {
            // SAFETY: a task owns the sums of its part.
            let mine = unsafe { wide.part(part * len, len) };
            mine.fill(0.0);
            let pixels = part_of(part, PARTS, pixels);
            let mut at = pixels.start;
            while at < pixels.end {
                let to = pixels.end.min(at + chunk);
                sums(at..to, mine);
                at = to;
            }
        });
    }
    combine(wide, len);
}

vectorized! {
    fn affine_row(scale: &[f32], shift: &[f32], x: &[f32], y: &mut [f32]) {
        let period = scale.len();
        for (y, x) in y.chunks_mut(period).zip(x.chunks(period)) {
            for (((y, &x), &a), &b) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                *y = x.mul_add(a, b);
            }
        }
    }
}

/// `y = f(x · scale + shift)` with numbers per channel.
pub fn batch_norm(
    pool: &Pool,
    isa: Isa,
    op: &BatchNorm,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    y: &mut [f32],
) {
    let c = op.channels;
    assert_eq!(
        (x.len(), y.len()),
        (op.pixels * c, op.pixels * c),
        "batch norm: length"
    );
    let (short_scale, short_shift) = (Repeated::new(scale), Repeated::new(shift));
    let (scale, shift) = (short_scale.row(scale), short_shift.row(shift));
    let activate = rows(isa).activate;
    split::chunks(pool, y, period(c), 1 << 12, |start, part| {
        affine_row(isa, scale, shift, &x[start..start + part.len()], part);
        if op.activation != Activation::None {
            // SAFETY: `rows` gives only what this CPU runs.
            unsafe { activate(op.activation, part) };
        }
    });
}

/// Per channel: scale, shift, mean.
#[derive(Clone, Copy)]
struct Affine<'a> {
    scale: &'a [f32],
    shift: &'a [f32],
    mean: &'a [f32],
}

vectorized! {
    /// Adds Σ dz and Σ dz · (x − mean) to `sums` `[2][channels]`, dz = dy · f′(x · scale + shift).
    fn backward_sums(f: Ramp, affine: Affine<'_>, x: &[f32], dy: &[f32], sums: &mut [f64]) {
        #[inline(always)]
        #[allow(clippy::too_many_arguments)]
        fn block<const W: usize>(
            f: Ramp,
            affine: Affine<'_>,
            x: &[f32],
            dy: &[f32],
            at: usize,
            first: &mut [f64],
            second: &mut [f64],
        ) {
            let c = affine.mean.len();
            let (mut a, mut b, mut m) = ([0f32; W], [0f32; W], [0f32; W]);
            a.copy_from_slice(&affine.scale[at..at + W]);
            b.copy_from_slice(&affine.shift[at..at + W]);
            m.copy_from_slice(&affine.mean[at..at + W]);
            let (mut one, mut two) = ([0f32; W], [0f32; W]);
            for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
                let (x, dy) = (&x[at..at + W], &dy[at..at + W]);
                for j in 0..W {
                    let dz = dy[j] * f.derivative(x[j].mul_add(a[j], b[j]));
                    one[j] += dz;
                    two[j] = dz.mul_add(x[j] - m[j], two[j]);
                }
            }
            for j in 0..W {
                first[at + j] += f64::from(one[j]);
                second[at + j] += f64::from(two[j]);
            }
        }
        let c = affine.mean.len();
        let (first, second) = sums.split_at_mut(c);
        let mut at = 0;
        while at + 16 <= c {
            block::<16>(f, affine, x, dy, at, first, second);
            at += 16;
        }
        while at + 8 <= c {
            block::<8>(f, affine, x, dy, at, first, second);
            at += 8;
        }
        while at < c {
            block::<1>(f, affine, x, dy, at, first, second);
            at += 1;
        }
    }
}

/// Per element of a period: scale, shift, and the factors of dz, x and 1 in dx.
#[derive(Clone, Copy)]
struct Factors<'a> {
    scale: &'a [f32],
    shift: &'a [f32],
    of_x: &'a [f32],
    of_one: &'a [f32],
}

vectorized! {
    /// `dx = dz · scale + x · of_x + of_one`.
    fn backward_row(f: Ramp, k: Factors<'_>, x: &[f32], dy: &mut [f32]) {
        let period = k.scale.len();
        for (dy, x) in dy.chunks_mut(period).zip(x.chunks(period)) {
            let numbers = k.scale.iter().zip(k.shift).zip(k.of_x).zip(k.of_one);
            for ((dy, &x), (((&a, &b), &of_x), &of_one)) in dy.iter_mut().zip(x).zip(numbers) {
                let dz = *dy * f.derivative(x.mul_add(a, b));
                *dy = dz.mul_add(a, x.mul_add(of_x, of_one));
            }
        }
    }
}

/// Sums of a backward: leaves Σ dz and Σ dz · (x − mean) of each channel at the front of `wide`, `[2][channels]`, where z is what the activation
/// gets, one that [`batch_norm_takes`]. The first are ∂/∂shift, the second, over the deviation, ∂/∂scale.
///
/// `saved` is `[mean, 1 / √(variance + ε), scale, shift]`, each per channel; `wide` takes [`sums_scratch`](super::sums_scratch)`(2 · channels)`.
pub fn batch_norm_backward_sums(
    pool: &Pool,
    isa: Isa,
    op: &BatchNorm,
    x: &[f32],
    saved: [&[f32]; 4],
    dy: &[f32],
    wide: &mut [f64],
) {
    let c = op.channels;
    let [mean, _, scale, shift] = saved;
    let ramp = Ramp::of(op.activation).expect("an activation of straight pieces");
    let affine = Affine { scale, shift, mean };
    in_parts(pool, op.pixels, 2 * c, chunk(2 * c), wide, |p, sums| {
        let at = p.start * c..p.end * c;
        backward_sums(isa, ramp, affine, &x[at.clone()], &dy[at], sums);
    });
}

/// Backward of [`batch_norm`] by its input: `dy` becomes dx. `statistics` are the [sums](batch_norm_backward_sums) and the number of the pixels that
/// the statistics were taken of; `None`: they were fixed. `scratch` takes `2 · channels` elements.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_backward(
    pool: &Pool,
    isa: Isa,
    op: &BatchNorm,
    statistics: Option<(&[f64], usize)>,
    x: &[f32],
    saved: [&[f32]; 4],
    dy: &mut [f32],
    scratch: &mut [f32],
) {
    let c = op.channels;
    let [mean, inverse, scale, shift] = saved;
    assert_eq!(
        (x.len(), dy.len()),
        (op.pixels * c, op.pixels * c),
        "batch norm backward: length"
    );
    let ramp = Ramp::of(op.activation).expect("an activation of straight pieces");
    let (of_x, of_one) = scratch[..2 * c].split_at_mut(c);
    of_x.fill(0.0);
    of_one.fill(0.0);
    if let Some((sums, pixels)) = statistics {
        let n = pixels.max(1) as f64;
        for j in 0..c {
            let (beta, gamma) = (sums[j], sums[c + j] * f64::from(inverse[j]));
            let a = f64::from(scale[j]);
            let k = -a * f64::from(inverse[j]) * gamma / n;
            of_x[j] = k as f32;
            of_one[j] = (-a * beta / n - k * f64::from(mean[j])) as f32;
        }
    }
    let lists = [scale, shift, of_x, of_one].map(Repeated::new);
    let k = Factors {
        scale: lists[0].row(scale),
        shift: lists[1].row(shift),
        of_x: lists[2].row(of_x),
        of_one: lists[3].row(of_one),
    };
    split::chunks(pool, dy, period(c), 1 << 12, |start, part| {
        backward_row(isa, ramp, k, &x[start..start + part.len()], part);
    });
}
