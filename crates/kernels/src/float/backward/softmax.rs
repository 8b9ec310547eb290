//! Backward of Softmax.

use crate::{Pool, split};

/// `dy ← y · (dy − Σ dy · y)` for each row of `len` elements.
pub fn softmax_backward(pool: &Pool, len: usize, y: &[f32], dy: &mut [f32]) {
    assert_eq!(y.len(), dy.len(), "softmax backward: length");
    split::chunks(pool, dy, len, 1 << 12, |start, part| {
        for (r, dy) in part.chunks_mut(len.max(1)).enumerate() {
            let y = &y[start + r * len..][..dy.len()];
            let sum: f64 = dy.iter().zip(y).map(|(&d, &y)| f64::from(d) * f64::from(y)).sum();
            for (d, &y) in dy.iter_mut().zip(y) {
                *d = y * (*d - sum as f32);
            }
        }
    });
}
