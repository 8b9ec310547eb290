//! Sums over axes, and the spreading that is their backward.

use super::vector::{chunk, vectorized};
use super::weight::part_of;
use crate::float::rows::rows;
use crate::split::{self, Parts};
use crate::{Isa, Pool};

/// Parts of a sum over pixels.
pub(crate) const PARTS: usize = 16;

/// Elements of the f64 scratch memory for `len` sums.
pub fn sums_scratch(len: usize) -> usize {
    PARTS * len
}

/// Adds the parts in their order; the total is left in the first one.
pub(crate) fn combine(wide: &mut [f64], len: usize) {
    let (total, parts) = wide[..PARTS * len].split_at_mut(len);
    for part in parts.chunks(len.max(1)) {
        for (total, &x) in total.iter_mut().zip(part) {
            *total += x;
        }
    }
}

vectorized! {
    fn add_rows(c: usize, x: &[f32], sums: &mut [f64]) {
        #[inline(always)]
        fn block<const W: usize>(c: usize, at: usize, x: &[f32], sums: &mut [f64]) {
            let mut acc = [0f32; W];
            for row in x.chunks_exact(c) {
                let row = &row[at..at + W];
                for j in 0..W {
                    acc[j] += row[j];
                }
            }
            for j in 0..W {
                sums[at + j] += f64::from(acc[j]);
            }
        }
        let mut at = 0;
        while at + 16 <= c {
            block::<16>(c, at, x, sums);
            at += 16;
        }
        while at + 8 <= c {
            block::<8>(c, at, x, sums);
            at += 8;
        }
        while at < c {
            block::<1>(c, at, x, sums);
            at += 1;
        }
    }
}

/// Sum of each channel of `x` `[pixels, channels]`: the gradient of a bias. `wide` is scratch memory of [`sums_scratch`]`(channels)`.
pub fn channel_sums(pool: &Pool, isa: Isa, x: &[f32], wide: &mut [f64], sums: &mut [f32]) {
    let c = sums.len();
    let pixels = x.len() / c.max(1);
    {
        let wide = Parts::new(&mut wide[..PARTS * c]);
        pool.run(PARTS, &|part| {
            // SAFETY: a task owns the sums of its part.
            let mine = unsafe { wide.part(part * c, c) };
            mine.fill(0.0);
            let pixels = part_of(part, PARTS, pixels);
            for x in x[pixels.start * c..pixels.end * c].chunks(chunk(c) * c.max(1)) {
                add_rows(isa, c, x, mine);
            }
        });
    }
    combine(wide, c);
    for (to, &from) in sums.iter_mut().zip(&*wide) {
        *to = from as f32;
    }
}

/// `y ← y + x`.
pub fn add_into(pool: &Pool, isa: Isa, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "add: length");
    let weigh = rows(isa).weigh;
    // SAFETY: `rows` gives only what this CPU runs.
    split::chunks(pool, y, 1, 1 << 13, |at, part| unsafe {
        weigh(1.0, part, &x[at..at + part.len()])
    });
}

vectorized! {
    fn scale_row(gain: f32, y: &mut [f32]) {
        for y in y {
            *y *= gain;
        }
    }
}

/// `y ← gain · y`.
pub fn scale(pool: &Pool, isa: Isa, gain: f32, y: &mut [f32]) {
    split::chunks(pool, y, 1, 1 << 13, |_, part| scale_row(isa, gain, part));
}

/// (count, step) of axes, outermost first.
type Axes = Vec<(usize, usize)>;

/// A sum over some axes of a row-major tensor, times a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduce {
    /// (count, step in x) of the axes that stay, outermost first, and of those that are summed.
    pub(crate) kept: Axes,
    pub(crate) summed: Axes,
    /// What the sum is multiplied with.
    pub gain: f32,
}

impl Reduce {
    /// From a shape to one of the same rank, whose axes are the same or 1; `None` where they are not.
    pub fn new(from: &[usize], to: &[usize], gain: f32) -> Option<Reduce> {
        if from.len() != to.len() || from.iter().zip(to).any(|(&f, &t)| t != f && t != 1) {
            return None;
        }
        let (mut kept, mut summed): (Axes, Axes) = (Vec::new(), Vec::new());
        let mut step = 1;
        for (&f, &t) in from.iter().zip(to).rev() {
            let list = if f == t { &mut kept } else { &mut summed };
            match list.last_mut() {
                _ if f == 1 => {}
                Some(last) if last.0 * last.1 == step => last.0 *= f,
                _ => list.push((f, step)),
            }
            step *= f;
        }
        kept.reverse();
        summed.reverse();
        Some(Reduce { kept, summed, gain })
    }

    /// Elements of the large side.
    pub fn from_len(&self) -> usize {
        self.to_len() * self.summed.iter().map(|a| a.0).product::<usize>()
    }

    /// Elements of the small side.
    pub fn to_len(&self) -> usize {
        self.kept.iter().map(|a| a.0).product()
    }

    /// All axes of the large side, outermost first: (count, step in the large side, step in the small one).
    pub(crate) fn axes(&self) -> Vec<(usize, usize, usize)> {
        let mut axes: Vec<(usize, usize, usize)> =
            self.summed.iter().map(|&(n, step)| (n, step, 0)).collect();
        let mut step = 1;
        for &(n, large) in self.kept.iter().rev() {
            axes.push((n, large, step));
            step *= n;
        }
        axes.sort_by_key(|a| std::cmp::Reverse(a.1));
        axes
    }
}

/// Offset of element `i` of the axes.
fn offset(axes: &[(usize, usize)], mut i: usize) -> usize {
    let mut at = 0;
    for &(count, step) in axes.iter().rev() {
        at += i % count * step;
        i /= count;
    }
    at
}

/// `y = gain · Σ x`, summed in f64.
pub fn reduce(pool: &Pool, op: &Reduce, x: &[f32], y: &mut [f32]) {
    assert_eq!((x.len(), y.len()), (op.from_len(), op.to_len()), "reduce: length");
    let terms: usize = op.summed.iter().map(|a| a.0).product();
    // Results that follow each other in x go together.
    let run = op.kept.last().filter(|a| a.1 == 1).map_or(1, |a| a.0);
    const WIDE: usize = 32;
    split::chunks(pool, y, run, 1 << 8, |start, part| {
        for (r, row) in part.chunks_mut(run).enumerate() {
            let base = offset(&op.kept, start + r * run);
            for (b, to) in row.chunks_mut(WIDE).enumerate() {
                let mut acc = [0f64; WIDE];
                for t in 0..terms {
                    let from = &x[base + b * WIDE + offset(&op.summed, t)..];
                    for (acc, &x) in acc.iter_mut().zip(&from[..to.len()]) {
                        *acc += f64::from(x);
                    }
                }
                for (to, acc) in to.iter_mut().zip(acc) {
                    *to = (acc * f64::from(op.gain)) as f32;
                }
            }
        }
    });
}

/// Backward of [`reduce`]: `dx = gain · dy`, spread over the summed axes.
pub fn expand(pool: &Pool, op: &Reduce, dy: &[f32], dx: &mut [f32]) {
    assert_eq!(
        (dx.len(), dy.len()),
        (op.from_len(), op.to_len()),
        "expand: length"
    );
    let mut axes = op.axes();
    let (run, _, inner) = axes.pop().unwrap_or((1, 1, 0));
    split::chunks(pool, dx, run, 1 << 13, |start, part| {
        for (r, row) in part.chunks_mut(run).enumerate() {
            let (mut rest, mut at) = (start / run + r, 0);
            for &(n, _, step) in axes.iter().rev() {
                at += rest % n * step;
                rest /= n;
            }
            if inner == 0 {
                row.fill(op.gain * dy[at]);
            } else {
                for (to, &d) in row.iter_mut().zip(&dy[at..]) {
                    *to = op.gain * d;
                }
            }
        }
    });
}
