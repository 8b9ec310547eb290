//! 256-bit VNNI, once in VEX encoding (AVX-VNNI) and once in EVEX encoding (AVX-512 VNNI with VL).

#![allow(clippy::needless_range_loop)] // Indices are registers.

macro_rules! vnni256 {
    ($module:ident, $doc:literal, $features:literal, $isa:ident, $dpbusd:ident) => {
        #[doc = $doc]
        pub(crate) mod $module {
            use std::arch::x86_64::*;

            use crate::Isa;
            use crate::int::conv::{
                DenseRow, DepthwiseCall, DepthwiseRow, Ending, Function, LineCall, Listed, PANEL, PatchRow,
                ROW, TileCall, TileSize,
            };
            use crate::int::simd::body::{dense, depthwise};
            use crate::int::simd::ends::{
                CODES, FUNCTION, HARD_SWISH, LEAKY, REAL, SWISH, TABLE, by_ending, by_function,
            };
            use crate::int::simd::ends256::{Finish, codes, copied, end, end_apart, put, steps};
            use crate::int::simd::lines;
            use crate::int::simd::ymm::{
                LANES, V, bytes, finish, interleave, load, requant, spread, store, zero,
            };

            #[inline]
            #[target_feature(enable = $features)]
            fn dot(acc: V, x: V, w: V) -> V {
                $dpbusd(acc, x, w)
            }

            dense!(tile, $features, dot);
            depthwise!(depthwise, $features, dot);

            /// Any i8 weight, over patches of codes.
            pub(crate) static PATCH: PatchRow = PatchRow {
                half: line::<1, false>,
                whole: line::<2, false>,
                listed: Some(Listed {
                    half: line::<1, true>,
                    whole: line::<2, true>,
                    pair: None,
                }),
                depthwise: depthwise_line,
                depthwise_block: 4 * LANES,
                ..lines::PATCH_W7
            };

            /// A dense line; NV registers of output channels; segments, or a list of quads.
            ///
            /// # Safety
            /// The CPU has the features; the pointers of the call are as its fields say.
            #[target_feature(enable = $features)]
            unsafe fn line<const NV: usize, const LISTED: bool>(call: &LineCall<'_>) {
                // SAFETY: the same promise.
                unsafe { by_ending!(call, tiles, NV, LISTED) }
            }

            /// # Safety
            /// As [`line`], with the ending E.
            #[target_feature(enable = $features)]
            unsafe fn tiles<const NV: usize, const LISTED: bool, const E: u8>(call: &LineCall<'_>) {
                let finish = Finish::new(&call.ending);
                let mut p = 0;
                // SAFETY: the caller's promise, for each pixel once.
                unsafe {
                    while p + 6 <= call.pixels {
                        tile_of_line::<6, NV, LISTED, E>(call, &finish, p);
                        p += 6;
                    }
                    if p + 4 <= call.pixels {
                        tile_of_line::<4, NV, LISTED, E>(call, &finish, p);
                        p += 4;
                    }
                    if p + 2 <= call.pixels {
                        tile_of_line::<2, NV, LISTED, E>(call, &finish, p);
                        p += 2;
                    }
                    if p < call.pixels {
                        tile_of_line::<1, NV, LISTED, E>(call, &finish, p);
                    }
                }
            }

            /// # Safety
            /// As [`line`], for MR pixels from `p` on.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn tile_of_line<const MR: usize, const NV: usize, const LISTED: bool, const E: u8>(
                call: &LineCall<'_>,
                finish: &Finish<'_>,
                p: usize,
            ) {
                let mut acc = [[zero(); NV]; MR];
                // SAFETY: `bias` holds a panel; each pixel plus shift has `4 · quads` readable bytes, the weights a line per quad.
                unsafe {
                    let mut starts = [call.x.add(p * call.step); MR];
                    for m in 1..MR {
                        starts[m] = starts[m - 1].add(call.step);
                    }
                    let mut w = call.weights;
                    let quads = if LISTED { 1 } else { call.quads };
                    for plane in 0..call.planes {
                        for v in 0..NV {
                            let bias = lines::first_bias(call, load(call.bias.add(v * LANES)));
                            for m in 0..MR {
                                acc[m][v] = lines::begin::<8>(acc[m][v], bias, plane, call.planes);
                            }
                        }
                        for &shift in call.shifts {
                            for q in 0..quads {
                                let mut weights = [zero(); NV];
                                for v in 0..NV {
                                    weights[v] = load(w.add(v * 32).cast());
                                }
                                for m in 0..MR {
                                    let pixel = spread(starts[m].add(shift + 4 * q));
                                    for v in 0..NV {
                                        acc[m][v] = dot(acc[m][v], pixel, weights[v]);
                                    }
                                }
                                w = w.add(64);
                            }
                        }
                    }
                    if call.low > 0 {
                        acc = lines::multiplied(&acc, call, 1, p);
                    }
                    match E {
                        TABLE | FUNCTION => end_apart::<MR, NV, E>(&copied(&acc), call, finish, p),
                        _ => end::<MR, NV, E>(&acc, call, finish, p),
                    }
                }
            }

            /// A depthwise line of 32 channels: the bytes of four taps, interleaved, are the quads of a dot product.
            ///
            /// # Safety
            /// The CPU has the features; the pointers of the call are as its fields say; outputs are codes.
            #[target_feature(enable = $features)]
            unsafe fn depthwise_line(call: &LineCall<'_>) {
                // SAFETY: the same promise.
                unsafe {
                    match call.shifts.len() {
                        12 => by_function!(call, depthwise_pixels, 3),
                        _ => by_function!(call, depthwise_pixels, 0),
                    }
                }
            }

            /// # Safety
            /// As [`depthwise_line`], with the ending E and, where it is not 0, so many products of four taps.
            #[target_feature(enable = $features)]
            unsafe fn depthwise_pixels<const PRODUCTS: usize, const E: u8>(call: &LineCall<'_>) {
                let products = if PRODUCTS == 0 {
                    call.shifts.len() / 4
                } else {
                    PRODUCTS
                };
                let finish = Finish::new(&call.ending);
                // SAFETY: constants are 32 values, weights 128 bytes per product; each pixel plus shift has 32 readable bytes, `out` a row of
                // `width` per pixel.
                unsafe {
                    for p in 0..call.pixels {
                        let x = call.x.add(p * call.step);
                        let mut acc = [zero(); 4];
                        for r in 0..4 {
                            acc[r] = load(call.bias.add(r * LANES));
                        }
                        for q in 0..products {
                            let tap = |t: usize| bytes(x.add(*call.shifts.get_unchecked(4 * q + t)));
                            let x = interleave([tap(0), tap(1), tap(2), tap(3)]);
                            for r in 0..4 {
                                acc[r] = dot(
                                    acc[r],
                                    x[r],
                                    load(call.weights.add((4 * q + r) * 32).cast()),
                                );
                            }
                        }
                        for r in 0..4 {
                            acc[r] = steps::<E>(acc[r], load(call.multiplier.add(r * LANES).cast()), &finish);
                        }
                        let codes = codes::<E>(acc, &finish);
                        let to = call.out.add(p * call.out_step);
                        if call.width == 32 {
                            store(to.cast(), codes);
                        } else {
                            let mut all = [0u8; 32];
                            store(all.as_mut_ptr().cast(), codes);
                            put(all.as_ptr(), to, call.width);
                        }
                    }
                }
            }

            pub(crate) static DENSE_W8: DenseRow = DenseRow {
                sizes: &[
                    TileSize {
                        pixels: 6,
                        one: tile::<6, 2>,
                        two: None,
                    },
                    TileSize {
                        pixels: 4,
                        one: tile::<4, 2>,
                        two: None,
                    },
                    TileSize {
                        pixels: 2,
                        one: tile::<2, 2>,
                        two: None,
                    },
                    TileSize {
                        pixels: 1,
                        one: tile::<1, 2>,
                        two: None,
                    },
                ],
                finish,
                isa: Isa::$isa,
            };

            pub(crate) static DEPTHWISE_W8: DepthwiseRow = DepthwiseRow {
                block: 4 * LANES,
                run: depthwise,
                isa: Isa::$isa,
            };
        }
    };
}

vnni256!(
    avxvnni,
    "VEX encoding.",
    "avx2,fma,avxvnni",
    AvxVnni,
    _mm256_dpbusd_avx_epi32
);
vnni256!(
    evexvnni,
    "EVEX encoding.",
    "avx2,fma,avx512f,avx512vl,avx512vnni",
    Avx512Vnni,
    _mm256_dpbusd_epi32
);
