//! Pools over windows: maximum (`FORMAT.md` 1.8) and averages (1.9).

use crate::int::registry::{Entry, KernelOp, choose};
use crate::int::rule::{BoundError, Edge, prove, requantize};
use crate::window::{for_pixels, pixel, window};
use crate::{Isa, Pool, PoolShape};

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
        let m = average_multiplier(from, to, divisor.of(shape, at, inside));
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

impl Divisor {
    /// n of the window at an output pixel, of whose elements `inside` lie inside the picture; at least 1.
    pub(crate) fn of(self, shape: &PoolShape, at: [usize; 3], inside: usize) -> usize {
        let n = match self {
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
        n.max(1)
    }
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
    let average = Average {
        divisor: Divisor::Inside,
        from,
        to,
    };
    let whole = PoolShape::whole(batch, pixels, channels);
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
