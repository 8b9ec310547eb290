//! Products of two computed matrices.

use crate::split;
use crate::{Isa, Pool};

/// `y[b] = a[b] · b[b]` for `batch` pairs of row-major matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MatMul {
    pub batch: usize,
    /// Rows of a and y.
    pub m: usize,
    /// Columns of a, rows of b.
    pub k: usize,
    /// Columns of b and y.
    pub n: usize,
    /// One matrix stands for the whole batch.
    pub a_shared: bool,
    pub b_shared: bool,
}

/// Multiplies `a` `[batch or 1, m, k]` and `b` `[batch or 1, k, n]` into `y` `[batch, m, n]`.
pub fn matmul(pool: &Pool, isa: Isa, shape: &MatMul, a: &[f32], b: &[f32], y: &mut [f32]) {
    let _ = isa;
    let &MatMul { batch, m, k, n, .. } = shape;
    let each = |shared: bool| if shared { 1 } else { batch };
    assert_eq!(a.len(), each(shape.a_shared) * m * k, "matmul: length of a");
    assert_eq!(b.len(), each(shape.b_shared) * k * n, "matmul: length of b");
    assert_eq!(y.len(), batch * m * n, "matmul: length of y");
    split::chunks(pool, y, n, 1 << 10, |start, part| {
        for (i, y) in part.chunks_mut(n.max(1)).enumerate() {
            let row = start / n + i;
            let a = &a[(if shape.a_shared { row % m } else { row }) * k..][..k];
            let b = &b[if shape.b_shared { 0 } else { row / m * k * n }..][..k * n];
            y.fill(0.0);
            for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
                for (y, &b) in y.iter_mut().zip(b) {
                    *y = a.mul_add(b, *y);
                }
            }
        }
    });
}
