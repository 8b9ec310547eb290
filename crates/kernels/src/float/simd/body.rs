//! The kernels that differ between instruction sets in registers only.
//!
//! In scope where a macro is used: `V` (a register of f32), `LANES`, `splat(f32)`, `load(*const f32)`, `store(*mut f32, V)`,
//! `fma(x, w, acc)`, `plus(a, b)`, `larger(a, b)` and `smaller(a, b)` (`b` where either is NaN).

/// Dense tiles (`TileCall`) and depthwise runs (`RunCall`).
macro_rules! products {
    ($features:literal) => {
        use crate::float::conv::{Clamp, RunCall, TileCall};

        #[inline]
        #[target_feature(enable = $features)]
        fn clamped(v: V, clamp: &Clamp) -> V {
            smaller(splat(clamp.high), larger(splat(clamp.low), v))
        }

        /// # Safety
        /// The CPU has the features; the pointers of the call are as its fields say, for MR pixels and NV registers of
        /// output channels.
        #[target_feature(enable = $features)]
        unsafe fn tile<const MR: usize, const NV: usize>(call: &TileCall) {
            // SAFETY: by the caller's promise every pointer plus shift has a segment's elements, `weights` NR per element of
            // all segments, `init` and `out` a row per pixel.
            unsafe {
                let mut w = call.weights;
                for panel in 0..call.panels {
                    let channel = panel * 2 * LANES;
                    let mut acc = [[splat(0.0); NV]; MR];
                    for m in 0..MR {
                        for v in 0..NV {
                            acc[m][v] = load(call.init.add(m * call.init_step + channel + v * LANES));
                        }
                    }
                    for s in 0..call.segments {
                        let segment = &*call.segment.add(s);
                        let row = call.pointers.add(segment.tap * call.pointer_step);
                        let mut x = [std::ptr::null::<f32>(); MR];
                        for m in 0..MR {
                            x[m] = (*row.add(m)).offset(segment.shift);
                        }
                        for k in 0..segment.len {
                            let mut weights = [splat(0.0); NV];
                            for v in 0..NV {
                                weights[v] = load(w.add(v * LANES));
                            }
                            for m in 0..MR {
                                let pixel = splat(*x[m].add(k));
                                for v in 0..NV {
                                    acc[m][v] = fma(pixel, weights[v], acc[m][v]);
                                }
                            }
                            w = w.add(2 * LANES);
                        }
                    }
                    if let Some(clamp) = call.clamp {
                        for m in 0..MR {
                            for v in 0..NV {
                                acc[m][v] = clamped(acc[m][v], &clamp);
                            }
                        }
                    }
                    for m in 0..MR {
                        let out = (*call.out.add(m)).add(call.channel + channel);
                        for v in 0..NV {
                            store(out.add(v * LANES), acc[m][v]);
                        }
                    }
                }
            }
        }

        /// P pixels × CV registers of channels.
        ///
        /// # Safety
        /// The CPU has the features; the pointers of the call are as its fields say.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn depthwise_block<const P: usize, const CV: usize>(
            call: &RunCall,
            pixel: usize,
            channel: usize,
            weights: *const f32,
        ) {
            // SAFETY: by the caller's promise each tap's pointer plus `pixel + P − 1` of its steps has CV registers from
            // `channel` on, `weights` a block per tap behind the block of the bias, `out` P rows.
            unsafe {
                let mut acc = [[splat(0.0); CV]; P];
                for p in 0..P {
                    for v in 0..CV {
                        acc[p][v] = load(weights.add(v * LANES));
                    }
                }
                for t in 0..call.taps {
                    let tap = &*call.tap.add(t);
                    let x = tap.pointer.add(pixel * tap.step + channel);
                    let w = weights.add((t + 1) * 2 * LANES);
                    for v in 0..CV {
                        let weight = load(w.add(v * LANES));
                        for p in 0..P {
                            acc[p][v] = fma(load(x.add(p * tap.step + v * LANES)), weight, acc[p][v]);
                        }
                    }
                }
                for p in 0..P {
                    let out = call.out.add((pixel + p) * call.out_step + channel);
                    for v in 0..CV {
                        let sum = acc[p][v];
                        store(
                            out.add(v * LANES),
                            call.clamp.map_or(sum, |clamp| clamped(sum, &clamp)),
                        );
                    }
                }
            }
        }

        /// # Safety
        /// As above, for all pixels and channels of the call.
        #[target_feature(enable = $features)]
        unsafe fn depthwise(call: &RunCall) {
            let block = (call.taps + 1) * 2 * LANES;
            let mut pixel = 0;
            // SAFETY: blocks lie inside of the call's channels, which are at least LANES: the last one is moved left to end
            // where the channels end, and computes some of them twice.
            unsafe {
                while pixel < call.pixels {
                    let many = pixel + 4 <= call.pixels;
                    let mut weights = call.weights;
                    let mut channel = 0;
                    while channel < call.channels {
                        let left = call.channels - channel;
                        if left >= 2 * LANES {
                            match many {
                                true => depthwise_block::<4, 2>(call, pixel, channel, weights),
                                false => depthwise_block::<1, 2>(call, pixel, channel, weights),
                            }
                            channel += 2 * LANES;
                        } else {
                            let at = channel.min(call.channels - LANES);
                            match many {
                                true => depthwise_block::<4, 1>(call, pixel, at, weights),
                                false => depthwise_block::<1, 1>(call, pixel, at, weights),
                            }
                            channel = at + LANES;
                        }
                        weights = weights.add(block);
                    }
                    pixel += if many { 4 } else { 1 };
                }
            }
        }
    };
}

/// Row kernels that the compiler vectorizes by itself once it may use the features.
macro_rules! elements {
    ($features:literal) => {
        use crate::float::binary::BinaryOp;
        use crate::float::{Activation, activation, element};

        // What keeps an element or replaces it becomes masked stores when the compiler vectorizes it, which are slow: a clamp and
        // a maximum are written out.

        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        unsafe fn activate(activation: Activation, y: &mut [f32]) {
            let (low, high) = match activation {
                Activation::Relu => (0.0, f32::INFINITY),
                Activation::Clip { low, high } => (low, high),
                // SAFETY: the same promise.
                _ => return unsafe { activate_any(activation, y) },
            };
            let clamp = Clamp { low, high };
            let mut chunks = y.chunks_exact_mut(LANES);
            for chunk in &mut chunks {
                // SAFETY: a chunk is a register.
                unsafe { store(chunk.as_mut_ptr(), clamped(load(chunk.as_ptr()), &clamp)) }
            }
            activation::activate_row(activation, chunks.into_remainder());
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn fold<const R: usize>(acc: &mut [f32], taps: &[&[f32]], at: usize, op: impl Fn(V, V) -> V) -> usize {
            let whole = (acc.len() - at) / (R * LANES) * R * LANES;
            assert!(taps.iter().all(|tap| tap.len() >= at + whole));
            for at in (at..at + whole).step_by(R * LANES) {
                let mut some = [splat(0.0); R];
                // SAFETY: R registers from `at` on lie in `acc` and, by the assertion, in every tap.
                unsafe {
                    for r in 0..R {
                        some[r] = load(acc.as_ptr().add(at + r * LANES));
                    }
                    for tap in taps {
                        for r in 0..R {
                            some[r] = op(load(tap.as_ptr().add(at + r * LANES)), some[r]);
                        }
                    }
                    for r in 0..R {
                        store(acc.as_mut_ptr().add(at + r * LANES), some[r]);
                    }
                }
            }
            at + whole
        }

        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        unsafe fn max(acc: &mut [f32], taps: &[&[f32]]) {
            let at = fold::<4>(acc, taps, 0, |x, acc| larger(x, acc));
            let at = fold::<1>(acc, taps, at, |x, acc| larger(x, acc));
            element::max(acc, taps, at);
        }

        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        unsafe fn sum(acc: &mut [f32], taps: &[&[f32]]) {
            let at = fold::<4>(acc, taps, 0, |x, acc| plus(acc, x));
            let at = fold::<1>(acc, taps, at, |x, acc| plus(acc, x));
            element::sum(acc, taps, at);
        }

        elements! { $features
            fn activate_any(activation: Activation, y: &mut [f32]) = activation::activate_row;
            fn binary(op: BinaryOp, a: &[f32], b: &[f32], y: &mut [f32]) = element::binary;
            fn weigh(w: f32, acc: &mut [f32], x: &[f32]) = element::weigh;
            fn divide(y: &mut [f32], n: f32) = element::divide;
            fn exp_less(y: &mut [f32], most: f32) = element::exp_less;
            fn rows_of_bins(y: &mut [f32]) = crate::float::softmax::rows_of_bins;
        }
    };
    ($features:literal $(fn $name:ident($($arg:ident: $type:ty),*) = $body:path;)*) => {$(
        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        unsafe fn $name($($arg: $type),*) {
            $body($($arg),*);
        }
    )*};
}

/// The set of an instruction set, with tiles of the given numbers of pixels, largest first.
macro_rules! rows {
    ($isa:ident, $dense:literal, $depthwise:literal, [$($pixels:literal),*]) => {
        pub(crate) const ROWS: Rows = {
            use crate::float::conv::{DenseRow, DepthwiseRow, TileSize};
            Rows {
                isa: Isa::$isa,
                dense: Some(&DenseRow {
                    name: $dense,
                    lanes: LANES,
                    sizes: &[$(TileSize { pixels: $pixels, one: tile::<$pixels, 1>, two: tile::<$pixels, 2> }),*],
                    activate,
                }),
                depthwise: Some(&DepthwiseRow { name: $depthwise, lanes: LANES, run: depthwise, activate }),
                gradient: &GRADIENT,
                activate,
                binary,
                max,
                sum,
                weigh,
                divide,
                exp_less,
                softmax_of_bins: rows_of_bins,
            }
        };
    };
}

pub(super) use {elements, products, rows};
