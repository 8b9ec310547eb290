//! Picking along an axis by constant indices: strided Slice, Gather, Pad, nearest Resize.

use crate::{Pool, split};

/// From `[outer, len, inner]` to `[outer, indices, inner]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Gather {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
    /// What each element of the result's axis reads; `None` is the fill value.
    pub indices: Vec<Option<usize>>,
}

/// `y[o, i] = x[o, indices[i]]`.
pub fn gather(pool: &Pool, op: &Gather, fill: f32, x: &[f32], y: &mut [f32]) {
    let (n, inner) = (op.indices.len(), op.inner);
    assert_eq!(
        (x.len(), y.len()),
        (op.outer * op.len * inner, op.outer * n * inner),
        "gather: length"
    );
    split::chunks(pool, y, inner, 1 << 13, |start, part| {
        for (i, to) in part.chunks_mut(inner.max(1)).enumerate() {
            let (o, i) = ((start / inner + i) / n, (start / inner + i) % n);
            match op.indices[i] {
                Some(at) => to.copy_from_slice(&x[(o * op.len + at) * inner..][..inner]),
                None => to.fill(fill),
            }
        }
    });
}

/// `dx[o, indices[i]] += dy[o, i]`, from zero, in the order of i.
pub fn gather_backward(pool: &Pool, op: &Gather, dy: &[f32], dx: &mut [f32]) {
    let (n, inner) = (op.indices.len(), op.inner);
    assert_eq!(
        (dx.len(), dy.len()),
        (op.outer * op.len * inner, op.outer * n * inner),
        "gather backward: length"
    );
    split::chunks(pool, dx, op.len * inner, 1 << 13, |start, part| {
        part.fill(0.0);
        for (r, dx) in part.chunks_mut((op.len * inner).max(1)).enumerate() {
            let o = start / (op.len * inner) + r;
            for (i, at) in op.indices.iter().enumerate() {
                if let Some(at) = at {
                    let from = &dy[(o * n + i) * inner..][..inner];
                    for (to, &d) in dx[at * inner..][..inner].iter_mut().zip(from) {
                        *to += d;
                    }
                }
            }
        }
    });
}
