//! Pools over windows: maximum (`FORMAT.md` 1.8) and averages (1.9).

use crate::int::registry::{Entry, KernelOp, choose};
use crate::int::rule::{BoundError, Edge, prove, requantize};
use crate::int::split;
use crate::{Isa, Pool, PoolShape};

/// Input coordinates of one output coordinate's window along one axis, inside the picture.
fn window(shape: &PoolShape, axis: usize, at: usize) -> impl Iterator<Item = usize> + Clone + use<> {
    let begin = at * shape.stride[axis];
    let (pad, len, dilation) = (shape.pad[axis], shape.input[axis], shape.dilation[axis]);
    (0..shape.kernel[axis])
        .map(move |k| begin + k * dilation)
        .filter(move |&i| i >= pad && i - pad < len)
        .map(move |i| i - pad)
}

/// Calls `visit(batch, [z, y, x] of the output, the output's pixel)` for every output pixel.
fn for_pixels(
    pool: &Pool,
    shape: &PoolShape,
    y: &mut [u8],
    visit: impl Fn(usize, [usize; 3], &mut [u8]) + Sync,
) {
    let [depth, height, width] = shape.output;
    assert_eq!(
        y.len(),
        shape.batch * depth * height * width * shape.channels,
        "pool: output length"
    );
    if y.is_empty() {
        return;
    }
    let grain = (1 << 13) / shape.kernel.iter().product::<usize>().clamp(1, 64);
    split::chunks(pool, y, shape.channels, grain, |start, part| {
        for (i, to) in part.chunks_mut(shape.channels).enumerate() {
            let p = start / shape.channels + i;
            let at = [p / (height * width) % depth, p / width % height, p % width];
            visit(p / (depth * height * width), at, to);
        }
    });
}

/// Index of an input pixel.
fn pixel(shape: &PoolShape, b: usize, z: usize, y: usize, x: usize) -> usize {
    ((b * shape.input[0] + z) * shape.input[1] + y) * shape.input[2] + x
}

/// Largest code of each window; padding never wins. A global maximum is a window over the whole picture.
pub fn max_pool(pool: &Pool, isa: Isa, shape: &PoolShape, x: &[u8], y: &mut [u8]) {
    let Entry::Max(row) = choose(KernelOp::Max, isa).entry else {
        unreachable!("a Max row holds a Max kernel")
    };
    let c = shape.channels;
    for_pixels(pool, shape, y, |b, at, to| {
        to.fill(0);
        for z in window(shape, 0, at[0]) {
            for y in window(shape, 1, at[1]) {
                for i in window(shape, 2, at[2]) {
                    let p = pixel(shape, b, z, y, i) * c;
                    // SAFETY: `choose` gives only rows that this CPU runs.
                    unsafe { row(to, &x[p..p + c]) }
                }
            }
        }
    });
}

/// The multiplier of 1.9 for a divisor.
fn average_multiplier(from: Edge, to: Edge, n: usize) -> f32 {
    (f64::from(from.scale) / (f64::from(to.scale) * n as f64)) as f32
}

/// Mean of each window (1.9).
///
/// # Errors
/// When the scales fail the rule's bound (1.13).
pub fn average_pool(
    pool: &Pool,
    isa: Isa,
    shape: &PoolShape,
    average: &Average,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), BoundError> {
    let &Average { divisor, from, to } = average;
    let taps: usize = shape.kernel.iter().product();
    prove(f64::from(from.hi) * taps as f64, average_multiplier(from, to, 1))?;
    let Entry::Sum(row) = choose(KernelOp::Sum, isa).entry else {
        unreachable!("a Sum row holds a Sum kernel")
    };
    let c = shape.channels;
    for_pixels(pool, shape, y, |b, at, out| {
        let mut sums = vec![0u32; c];
        let mut inside = 0usize;
        for z in window(shape, 0, at[0]) {
            for y in window(shape, 1, at[1]) {
                for i in window(shape, 2, at[2]) {
                    let p = pixel(shape, b, z, y, i) * c;
                    // SAFETY: `choose` gives only rows that this CPU runs.
                    unsafe { row(&mut sums, &x[p..p + c]) }
                    inside += 1;
                }
            }
        }
        let n = match divisor {
            Divisor::Inside => inside,
            Divisor::Padded(end) => (0..3)
                .map(|axis| {
                    let begin = at[axis] * shape.stride[axis];
                    (0..shape.kernel[axis])
                        .filter(|k| begin + k * shape.dilation[axis] < end[axis])
                        .count()
                })
                .product(),
        };
        let m = average_multiplier(from, to, n.max(1));
        for (q, &sum) in out.iter_mut().zip(&sums) {
            let acc = i64::from(sum) - inside as i64 * i64::from(from.zero);
            *q = requantize(acc, m, to.zero, to.hi);
        }
    });
    Ok(())
}

/// The numbers of [`average_pool`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// What sums are divided by.
    pub divisor: Divisor,
    /// Quantizer of the input.
    pub from: Edge,
    /// Quantizer of the output.
    pub to: Edge,
}

/// What an average is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divisor {
    /// The window's elements inside the picture (`count_include_pad` = 0).
    Inside,
    /// The window's elements inside the padded picture, whose length per axis (begin + input + end) is given.
    Padded([usize; 3]),
}

/// Mean over all pixels of each picture: `[batch, pixels, channels]` to `[batch, channels]`.
///
/// # Errors
/// When the scales fail the rule's bound (1.13).
pub fn global_average(
    pool: &Pool,
    isa: Isa,
    [batch, pixels, channels]: [usize; 3],
    from: Edge,
    to: Edge,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), BoundError> {
    let whole = PoolShape {
        batch,
        channels,
        input: [1, 1, pixels],
        output: [1, 1, 1],
        kernel: [1, 1, pixels],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    let average = Average {
        divisor: Divisor::Inside,
        from,
        to,
    };
    average_pool(pool, isa, &whole, &average, x, y)
}

pub(crate) fn max_scalar(acc: &mut [u8], x: &[u8]) {
    for (acc, &x) in acc.iter_mut().zip(x) {
        *acc = (*acc).max(x);
    }
}

pub(crate) fn sum_scalar(acc: &mut [u32], x: &[u8]) {
    for (acc, &x) in acc.iter_mut().zip(x) {
        *acc += u32::from(x);
    }
}
