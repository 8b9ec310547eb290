//! Kernels of weight gradients, written once and made for each instruction set.
//!
//! In scope where the macro is used: what `body` names.

/// Tiles of dense gradients (`TileCall`) and depthwise runs (`RunCall`).
macro_rules! gradients {
    ($features:literal, $dense:literal, $depthwise:literal, [$($rows:literal),*]) => {
        use crate::float::backward::{self as gradient, GradientRow, GradientSize};

        /// # Safety
        /// The CPU has the features; the pointers of the call are as its fields say, for MR input channels and two registers
        /// of output channels.
        #[target_feature(enable = $features)]
        unsafe fn gradient_tile<const MR: usize>(call: &gradient::TileCall) {
            // SAFETY: by the caller's promise every run has `len` pixels of MR channels and of two registers, `sums` MR rows.
            unsafe {
                let mut acc = [[splat(0.0); 2]; MR];
                for r in 0..call.runs {
                    let run = &*call.run.add(r);
                    let (mut x, mut dy) = (run.x, run.dy);
                    for _ in 0..run.len {
                        let (low, high) = (load(dy), load(dy.add(LANES)));
                        for m in 0..MR {
                            let pixel = splat(*x.add(m));
                            acc[m][0] = fma(pixel, low, acc[m][0]);
                            acc[m][1] = fma(pixel, high, acc[m][1]);
                        }
                        x = x.wrapping_add(call.x_step);
                        dy = dy.add(2 * LANES);
                    }
                }
                for m in 0..MR {
                    let to = call.sums.add(m * call.sums_step);
                    for v in 0..2 {
                        let at = to.add(v * LANES);
                        store(at, plus(load(at), acc[m][v]));
                    }
                }
            }
        }

        /// T taps of one register of channels.
        ///
        /// # Safety
        /// The CPU has the features; the pointers of the call are as its fields say.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn gradient_taps<const T: usize>(call: &gradient::RunCall, first: usize, channel: usize) {
            // SAFETY: by the caller's promise each tap's pointer plus `pixels − 1` of its steps has a register from `channel`
            // on, as `dy` has; `sums` is a row of channels per tap.
            unsafe {
                let mut acc = [splat(0.0); T];
                let mut x = [std::ptr::null::<f32>(); T];
                let mut step = [0usize; T];
                for t in 0..T {
                    let tap = &*call.tap.add(first + t);
                    (x[t], step[t]) = (tap.pointer.add(channel), tap.step);
                }
                let mut dy = call.dy.add(channel);
                for _ in 0..call.pixels {
                    let d = load(dy);
                    for t in 0..T {
                        acc[t] = fma(load(x[t]), d, acc[t]);
                        x[t] = x[t].wrapping_add(step[t]);
                    }
                    dy = dy.wrapping_add(call.dy_step);
                }
                for t in 0..T {
                    let at = call.sums.add((first + t) * call.channels + channel);
                    store(at, plus(load(at), acc[t]));
                }
            }
        }

        /// # Safety
        /// As above, for all taps and all whole registers of the call's channels.
        #[target_feature(enable = $features)]
        unsafe fn gradient_run(call: &gradient::RunCall) {
            for channel in (0..call.channels / LANES).map(|r| r * LANES) {
                let mut t = 0;
                while t < call.taps {
                    // SAFETY: registers and taps lie inside of the call's.
                    unsafe {
                        t += match call.taps - t {
                            9.. => {
                                gradient_taps::<9>(call, t, channel);
                                9
                            }
                            7.. => {
                                gradient_taps::<7>(call, t, channel);
                                7
                            }
                            5.. => {
                                gradient_taps::<5>(call, t, channel);
                                5
                            }
                            3.. => {
                                gradient_taps::<3>(call, t, channel);
                                3
                            }
                            _ => {
                                gradient_taps::<1>(call, t, channel);
                                1
                            }
                        };
                    }
                }
            }
        }

        pub(super) const GRADIENT: GradientRow = GradientRow {
            dense_name: $dense,
            depthwise_name: $depthwise,
            lanes: LANES,
            sizes: &[$(GradientSize { rows: $rows, tile: gradient_tile::<$rows> }),*],
            run: gradient_run,
        };
    };
}

pub(super) use gradients;
