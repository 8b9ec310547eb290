//! Changes of layout: ONNX's channels-first to channels-last and back, channel ranges, any permutation.

use crate::split;
use crate::{Out, Pixels, Pool};

/// `[batch, channels, pixels]` to `[batch, pixels, channels]`.
pub fn to_channels_last<T: Copy + Send + Sync>(
    pool: &Pool,
    [batch, channels, pixels]: [usize; 3],
    x: &[T],
    y: &mut [T],
) {
    transpose_matrices(pool, [batch, channels, pixels], x, y);
}

/// `[batch, pixels, channels]` to `[batch, channels, pixels]`; the sizes come in the order of the result.
pub fn from_channels_last<T: Copy + Send + Sync>(
    pool: &Pool,
    [batch, channels, pixels]: [usize; 3],
    x: &[T],
    y: &mut [T],
) {
    transpose_matrices(pool, [batch, pixels, channels], x, y);
}

/// `[batch, rows, columns]` to `[batch, columns, rows]`, in blocks that stay in the first cache.
fn transpose_matrices<T: Copy + Send + Sync>(
    pool: &Pool,
    [batch, rows, columns]: [usize; 3],
    x: &[T],
    y: &mut [T],
) {
    assert_eq!(x.len(), batch * rows * columns, "layout: input length");
    assert_eq!(y.len(), x.len(), "layout: output length");
    if y.is_empty() {
        return;
    }
    const BLOCK: usize = 16;
    // A task's part is whole rows of the result, so it lies in few pictures.
    split::chunks(pool, y, rows, 1 << 14, |start, part| {
        let mut part = part;
        let mut row = start / rows;
        while !part.is_empty() {
            let (picture, first) = (row / columns, row % columns);
            let count = (part.len() / rows).min(columns - first);
            let (here, rest) = part.split_at_mut(count * rows);
            let x = &x[picture * rows * columns..][..rows * columns];
            for c0 in (0..count).step_by(BLOCK) {
                let c1 = count.min(c0 + BLOCK);
                for r0 in (0..rows).step_by(BLOCK) {
                    let r1 = rows.min(r0 + BLOCK);
                    for c in c0..c1 {
                        let to = &mut here[c * rows + r0..c * rows + r1];
                        let from = x[r0 * columns + first + c..].iter().step_by(columns);
                        for (to, &from) in to.iter_mut().zip(from) {
                            *to = from;
                        }
                    }
                }
            }
            row += count;
            part = rest;
        }
    });
}

/// Copies `channels` elements of each pixel, from and to channel ranges of wider pixels: Concat, Split, channel Slice.
pub fn copy_channels<T: Copy + Send + Sync>(pool: &Pool, x: Pixels<'_, T>, channels: usize, y: Out<'_, T>) {
    let stride = y.stride;
    split::chunks(pool, y.data, stride, 1 << 14, |start, part| {
        let rows = x.data.chunks(x.stride.max(1)).skip(start / stride.max(1));
        for (from, to) in rows.zip(part.chunks_mut(stride.max(1))) {
            to[y.offset..y.offset + channels].copy_from_slice(&from[x.offset..x.offset + channels]);
        }
    });
}

/// ONNX `Transpose` of a dense tensor: axis i of the result is axis `axes[i]` of `x`, whose shape is `shape`.
pub fn transpose<T: Copy + Send + Sync>(pool: &Pool, shape: &[usize], axes: &[usize], x: &[T], y: &mut [T]) {
    assert_eq!(
        x.len(),
        shape.iter().product::<usize>(),
        "transpose: input length"
    );
    assert_eq!(y.len(), x.len(), "transpose: output length");
    assert_eq!(axes.len(), shape.len(), "transpose: one axis per dimension");
    if y.is_empty() {
        return;
    }
    // (length, step in x) of merged axes of the result, outermost first.
    let strides = tensor::strides(shape);
    let mut loops: Vec<(usize, usize)> = Vec::new();
    for &axis in axes {
        let (len, step) = (shape[axis], strides[axis]);
        match loops.last_mut() {
            _ if len == 1 => {}
            Some(last) if last.1 == step * len => *last = (last.0 * len, step),
            _ => loops.push((len, step)),
        }
    }
    if let &[(columns, 1), (rows, step)] = &loops[..] {
        // [a, b] read the wrong way around cannot be: a step of 1 outermost means a transposed matrix.
        debug_assert_eq!(step, columns);
        return transpose_matrices(pool, [1, rows, columns], x, y);
    }
    if let &[(batch, outer), (columns, 1), (rows, step)] = &loops[..]
        && step == columns
        && outer == rows * columns
    {
        return transpose_matrices(pool, [batch, rows, columns], x, y);
    }
    let (run, step) = loops.pop().unwrap_or((1, 1));
    split::chunks(pool, y, run, 1 << 14, |start, part| {
        for (i, to) in part.chunks_mut(run).enumerate() {
            let (mut rest, mut at) = (start / run + i, 0);
            for &(len, step) in loops.iter().rev() {
                at += rest % len * step;
                rest /= len;
            }
            if step == 1 {
                to.copy_from_slice(&x[at..at + run]);
            } else {
                for (to, &from) in to.iter_mut().zip(x[at..].iter().step_by(step)) {
                    *to = from;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every permutation of up to five axes against index arithmetic.
    #[test]
    fn transpose_follows_the_definition() {
        let pool = Pool::new(2);
        let shapes: [&[usize]; 5] = [&[], &[7], &[33, 40], &[2, 17, 3], &[2, 3, 1, 4, 5]];
        for shape in shapes {
            let len: usize = shape.iter().product();
            let x: Vec<u32> = (0..len as u32).collect();
            for axes in permutations(shape.len()) {
                let mut y = vec![0; len];
                transpose(&pool, shape, &axes, &x, &mut y);
                let (from, to): (Vec<_>, Vec<_>) =
                    (tensor::strides(shape), axes.iter().map(|&a| shape[a]).collect());
                let steps = tensor::strides(&to);
                for (i, &got) in y.iter().enumerate() {
                    let at: usize = (0..to.len()).map(|k| i / steps[k] % to[k] * from[axes[k]]).sum();
                    assert_eq!(got as usize, at, "{shape:?} by {axes:?}, element {i}");
                }
            }
        }
    }

    fn permutations(n: usize) -> Vec<Vec<usize>> {
        if n == 0 {
            return vec![Vec::new()];
        }
        let mut out = Vec::new();
        for shorter in permutations(n - 1) {
            for at in 0..n {
                let mut axes = shorter.clone();
                axes.insert(at, n - 1);
                out.push(axes);
            }
        }
        out
    }

    #[test]
    fn channels_last_and_back_is_the_identity() {
        let pool = Pool::new(2);
        for sizes @ [batch, channels, pixels] in
            [[2, 3, 50], [1, 70, 33], [3, 1, 5], [1, 16, 2000], [0, 3, 4]]
        {
            let x: Vec<f32> = (0..batch * channels * pixels).map(|i| i as f32).collect();
            let (mut last, mut back) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            to_channels_last(&pool, sizes, &x, &mut last);
            from_channels_last(&pool, sizes, &last, &mut back);
            assert_eq!(back, x);
            for (i, &v) in last.iter().enumerate() {
                let (b, p, c) = (i / (pixels * channels), i / channels % pixels, i % channels);
                assert_eq!(v, x[(b * channels + c) * pixels + p]);
            }
        }
    }
}
