//! The weight gradients of every CPU.

use super::{GradientRow, GradientSize, RunCall, TileCall};

const LANES: usize = 8;

/// # Safety
/// The pointers of the call are as its fields say, for one input channel and [`LANES`] times two output channels.
unsafe fn tile(call: &TileCall) {
    // SAFETY: by the caller's promise every run has `len` pixels, `sums` a row.
    unsafe {
        let mut acc = [0f32; 2 * LANES];
        for run in std::slice::from_raw_parts(call.run, call.runs) {
            for p in 0..run.len {
                let x = *run.x.add(p * call.x_step);
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = x.mul_add(*run.dy.add(p * 2 * LANES + j), *acc);
                }
            }
        }
        for (j, acc) in acc.iter().enumerate() {
            *call.sums.add(j) += acc;
        }
    }
}

/// # Safety
/// The pointers of the call are as its fields say.
unsafe fn run(call: &RunCall) {
    // SAFETY: by the caller's promise each tap has `pixels` rows of `channels`, as `dy` has; `sums` has a row per tap.
    unsafe {
        for t in 0..call.taps {
            let tap = &*call.tap.add(t);
            for c in 0..call.channels / LANES * LANES {
                let mut acc = 0f32;
                for p in 0..call.pixels {
                    acc =
                        (*tap.pointer.add(p * tap.step + c)).mul_add(*call.dy.add(p * call.dy_step + c), acc);
                }
                *call.sums.add(t * call.channels + c) += acc;
            }
        }
    }
}

pub(crate) const GRADIENT: GradientRow = GradientRow {
    dense_name: "wgrad_f32_scalar",
    depthwise_name: "dwwgrad_f32_scalar",
    lanes: LANES,
    sizes: &[GradientSize { rows: 1, tile }],
    run,
};
