//! Copies between strided views.

use std::sync::Mutex;

use kernels::Pool;
use tensor::{Data, Tensor};

use crate::view::{View, onnx_order};

/// The elements of a view, in ONNX order.
pub(crate) fn gather<T: Copy + Default + Send + Sync>(pool: &Pool, from: &[T], view: &View) -> Tensor
where
    Data: From<Vec<T>>,
{
    let mut out = vec![T::default(); view.len()];
    let to = View::dense(view.buffer, &view.shape, &onnx_order(view.shape.len()));
    Copies::new(view, &to).run(pool, from, &mut out);
    Tensor::new(view.shape.clone(), out).expect("as many elements as the view has")
}

/// A copy with its loops: (count, step in the source, step in the target), by falling step in the target, merged where both
/// sides go on without a gap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Copies {
    loops: Vec<(usize, usize, usize)>,
    from: usize,
    to: usize,
}

/// Elements that one task copies at least.
const GRAIN: usize = 1 << 14;
/// Most elements of an axis that is walked outside of a longer one, such as the channels of a picture.
const SHORT: usize = 4;

impl Copies {
    /// From one view to another of the same shape.
    pub(crate) fn new(from: &View, to: &View) -> Copies {
        assert_eq!(from.shape, to.shape, "copy: shapes");
        let mut loops: Vec<(usize, usize, usize)> = Vec::new();
        for axis in to.order() {
            let (count, source, target) = (to.shape[axis], from.strides[axis], to.strides[axis]);
            if count == 1 {
                continue;
            }
            match loops.last_mut() {
                Some(outer) if outer.1 == source * count && outer.2 == target * count => {
                    *outer = (outer.0 * count, source, target);
                }
                _ => loops.push((count, source, target)),
            }
        }
        Copies {
            loops,
            from: from.offset,
            to: to.offset,
        }
    }

    /// Runs it. The target's elements must not overlap each other.
    pub(crate) fn run<T: Copy + Send + Sync>(&self, pool: &Pool, x: &[T], y: &mut [T]) {
        let Some((&(count, source, target), inner)) = self.loops.split_first() else {
            y[self.to] = x[self.from];
            return;
        };
        if self.loops.iter().any(|l| l.0 == 0) {
            return;
        }
        let each: usize = inner.iter().map(|l| l.0).product();
        // Rows that lie beside each other in the source are read together, whatever their length: one by one, each would read all lines of memory.
        let least = match *inner {
            [(_, step, 1)] if source == 1 && step > 1 => ROWS,
            _ => 1,
        };
        let rows = (GRAIN / each.max(1)).max(least).min(count);
        let y = &mut y[self.to..];
        if rows == count {
            return walk(&self.loops, &x[self.from..], y);
        }
        let parts: Vec<Mutex<&mut [T]>> = y.chunks_mut(rows * target).map(Mutex::new).collect();
        pool.run(count.div_ceil(rows), &|i| {
            let mut part = parts[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let rows_here = rows.min(count - i * rows);
            let loops = [&[(rows_here, source, target)], inner].concat();
            walk(&loops, &x[self.from + i * rows * source..], &mut part);
        });
    }
}

fn walk<T: Copy>(loops: &[(usize, usize, usize)], x: &[T], y: &mut [T]) {
    match *loops {
        [] => y[0] = x[0],
        [(count, 1, 1)] => y[..count].copy_from_slice(&x[..count]),
        [(count, 0, 1)] => y[..count].fill(x[0]),
        [(count, source, 1)] => {
            for (y, x) in y[..count].iter_mut().zip(x.iter().step_by(source)) {
                *y = *x;
            }
        }
        [(count, source, target)] => {
            for i in 0..count {
                y[i * target] = x[i * source];
            }
        }
        // A few elements side by side, again and again: a call for each run would take longer than the run.
        [(rows, across, down), (2, 1, 1)] => runs::<T, 2>(rows, across, down, x, y),
        [(rows, across, down), (3, 1, 1)] => runs::<T, 3>(rows, across, down, x, y),
        [(rows, across, down), (4, 1, 1)] => runs::<T, 4>(rows, across, down, x, y),
        [(rows, across, down), (8, 1, 1)] => runs::<T, 8>(rows, across, down, x, y),
        [(rows, across, down), (16, 1, 1)] => runs::<T, 16>(rows, across, down, x, y),
        // A short axis inside of a long one: the long one goes first, once for each element of the short one.
        [(rows, across, down), (count, source, target)]
            if count <= SHORT && rows > count && across > 0 && down > 0 && (source, target) != (1, 1) =>
        {
            for c in 0..count {
                let from = x[c * source..].iter().step_by(across);
                for (y, x) in y[c * target..].iter_mut().step_by(down).zip(from).take(rows) {
                    *y = *x;
                }
            }
        }
        [(rows, 1, target), (count, source, 1)] if rows > 1 && source > 1 => {
            transpose(rows, target, count, source, x, y)
        }
        [(count, source, target), ref inner @ ..] => {
            for i in 0..count {
                walk(inner, &x[i * source..], &mut y[i * target..]);
            }
        }
    }
}

/// Runs of N elements, at distances of `across` and `down`.
fn runs<T: Copy, const N: usize>(rows: usize, across: usize, down: usize, x: &[T], y: &mut [T]) {
    for i in 0..rows {
        // Arrays: their copies are moves, no calls.
        let from: &[T; N] = x[i * across..].first_chunk().expect("N elements");
        *y[i * down..].first_chunk_mut().expect("N elements") = *from;
    }
}

/// Lines of the source that are read side by side, elements of each before the next lines' turn, and lines before the next elements': of rows at
/// a distance of a power of two, which share few places of a cache, no more are written at a time than it has.
const LINES: usize = 16;
const ROWS: usize = 16;
const SPAN: usize = 256;

/// `y[r·target + c] = x[c·source + r]` for r below `rows` and c below `count`, block by block.
fn transpose<T: Copy>(rows: usize, target: usize, count: usize, source: usize, x: &[T], y: &mut [T]) {
    for span in (0..count).step_by(SPAN) {
        let len = SPAN.min(count - span);
        let whole = span + len - len % LINES;
        for first in (0..rows).step_by(ROWS) {
            let here = ROWS.min(rows - first);
            let y = &mut y[first * target..];
            let line = |c: usize| &x[c * source + first..][..here];
            for c in (span..whole).step_by(LINES) {
                let lines: [&[T]; LINES] = std::array::from_fn(|k| line(c + k));
                for (r, y) in y[c..].chunks_mut(target).take(here).enumerate() {
                    for (y, line) in y[..LINES].iter_mut().zip(&lines) {
                        *y = line[r];
                    }
                }
            }
            for c in whole..span + len {
                for (y, x) in y[c..].iter_mut().step_by(target).zip(line(c)) {
                    *y = *x;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{BufferId, channels_last};

    #[test]
    fn layouts_and_slices_arrive() {
        let shape = [2, 40, 17, 19];
        let count = shape.iter().product::<usize>();
        let x: Vec<f32> = (0..count).map(|i| i as f32).collect();
        let from = View::dense(BufferId(0), &shape, &onnx_order(4));
        let to = View::dense(BufferId(1), &shape, &channels_last(4));
        for pool in [Pool::new(1), Pool::new(3)] {
            let mut y = vec![0f32; count];
            Copies::new(&from, &to).run(&pool, &x, &mut y);
            for n in 0..2 {
                for c in 0..40 {
                    for p in 0..17 * 19 {
                        assert_eq!(y[(n * 17 * 19 + p) * 40 + c], x[(n * 40 + c) * 17 * 19 + p]);
                    }
                }
            }
            // And a slice of it with steps comes back in ONNX order.
            let part = to.sliced(2, 1, 3, 5).sliced(1, 2, 2, 10);
            let t = gather(&pool, &y, &part);
            for (i, &v) in t.as_f32().unwrap().iter().enumerate() {
                let (w, h, c, n) = (i % 19, i / 19 % 5, i / 95 % 10, i / 950);
                let want = ((n * 40 + 2 + 2 * c) * 17 + 1 + 3 * h) * 19 + w;
                assert_eq!(v, want as f32);
            }
        }
    }

    #[test]
    fn large_pictures_come_back_in_onnx_order() {
        // Planes of more elements than a task has, channels that are no multiple of those read together.
        let shape = [1, 150, 129, 131];
        let (channels, plane) = (shape[1], shape[2] * shape[3]);
        let x: Vec<u32> = (0..(channels * plane) as u32).collect();
        let from = View::dense(BufferId(0), &shape, &channels_last(4));
        let to = View::dense(BufferId(1), &shape, &onnx_order(4));
        for pool in [Pool::new(1), Pool::new(3)] {
            let mut y = vec![0u32; x.len()];
            Copies::new(&from, &to).run(&pool, &x, &mut y);
            for (i, &v) in y.iter().enumerate() {
                assert_eq!(v as usize, i % plane * channels + i / plane);
            }
        }
    }

    #[test]
    fn repeats_are_written_out() {
        let x = View::dense(BufferId(0), &[3, 1], &[0, 1]);
        let t = gather(&Pool::new(1), &[1f32, 2.0, 3.0], &x.expanded(&[2, 3, 2]).unwrap());
        assert_eq!(
            t.as_f32().unwrap(),
            [1., 1., 2., 2., 3., 3., 1., 1., 2., 2., 3., 3.]
        );
    }
}
