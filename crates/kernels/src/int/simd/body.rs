//! The kernels that differ between instruction sets in registers and instructions only.
//!
//! In scope where a macro is used: `V` (a register of i32), `LANES`, `zero()`, `load(*const i32)`, `store(*mut i32, V)`,
//! `spread(*const u8)` (four bytes to all lanes), `bytes(*const u8)` (a whole register), `interleave([V; 4])` (the bytes of
//! four registers to dot-product order), `requant(sums: [V; 4], multipliers: [V; 4], zero, hi)` → bytes of a register.

/// A dense tile (`TileCall`) over the dot product `$dot(acc, u8 quads, i8 quads)`.
macro_rules! dense {
    ($name:ident, $features:literal, $dot:ident) => {
        /// # Safety
        /// The CPU has the features; the pointers of the call are as its fields say, for MR pixels and NV registers of
        /// output channels.
        #[target_feature(enable = $features)]
        unsafe fn $name<const MR: usize, const NV: usize>(call: &TileCall) {
            const PER_PANEL: usize = PANEL / LANES;
            // SAFETY: by the caller's promise `init` has a row per pixel (or one), `acc` MR rows of ROW, the tables
            // a value per tap, each pixel pointer `4 · quads` readable bytes, each panel `64 · quads` per tap.
            unsafe {
                let mut acc = [[zero(); NV]; MR];
                for m in 0..MR {
                    for v in 0..NV {
                        acc[m][v] = load(call.init.add(m * call.init_step + v * LANES));
                    }
                }
                for t in 0..call.taps {
                    let mut x = [std::ptr::null::<u8>(); MR];
                    for m in 0..MR {
                        x[m] = (*call.pointers.add(t * call.pointer_step + m)).offset(*call.shifts.add(t));
                    }
                    let mut w = call.weights.add(*call.tap_weights.add(t));
                    for q in 0..call.quads {
                        let mut weights = [zero(); NV];
                        for v in 0..NV {
                            let at = v / PER_PANEL * call.panel + (v * LANES) % PANEL * 4;
                            weights[v] = load(w.add(at).cast());
                        }
                        for m in 0..MR {
                            let pixel = spread(x[m].add(4 * q));
                            for v in 0..NV {
                                acc[m][v] = $dot(acc[m][v], pixel, weights[v]);
                            }
                        }
                        w = w.add(64);
                    }
                }
                for m in 0..MR {
                    for v in 0..NV {
                        store(call.acc.add(m * ROW + v * LANES), acc[m][v]);
                    }
                }
            }
        }
    };
}

/// A depthwise kernel (`DepthwiseCall`) over `$dot`; three quads (3×3) keep their weights in registers.
macro_rules! depthwise {
    ($name:ident, $features:literal, $dot:ident) => {
        /// # Safety
        /// The CPU has the features; the pointers of the call are as its fields say.
        #[target_feature(enable = $features)]
        unsafe fn $name(call: &DepthwiseCall) {
            #[target_feature(enable = $features)]
            unsafe fn sized<const QUADS: usize>(call: &DepthwiseCall) {
                let quads = if QUADS == 0 { call.quads } else { QUADS };
                const BLOCK: usize = 4 * LANES;
                // SAFETY: by the caller's promise every pointer plus shift and advances has `blocks · BLOCK`
                // readable bytes, and weights, constants and `out` are whole blocks.
                unsafe {
                    for block in 0..call.blocks {
                        let weights = call.weights.add(block * quads * BLOCK * 4);
                        let (mut bias, mut scale) = ([zero(); 4], [zero(); 4]);
                        for r in 0..4 {
                            bias[r] = load(call.bias.add(block * BLOCK + r * LANES));
                            scale[r] = load(call.multiplier.add(block * BLOCK + r * LANES).cast());
                        }
                        for p in 0..call.pixels {
                            let mut acc = bias;
                            for q in 0..quads {
                                let mut x = [zero(); 4];
                                for t in 0..4 {
                                    let tap = 4 * q + t;
                                    let at = (*call.pointers.add(tap * call.pointer_step))
                                        .offset(*call.shifts.add(tap));
                                    x[t] = bytes(at.add(p * call.advance + block * BLOCK));
                                }
                                let x = interleave(x);
                                for r in 0..4 {
                                    let w = load(weights.add((4 * q + r) * LANES * 4).cast());
                                    acc[r] = $dot(acc[r], x[r], w);
                                }
                            }
                            let codes = requant(acc, scale, call.zero, call.hi);
                            store(
                                call.out.add((p * call.blocks + block) * BLOCK).cast(),
                                codes,
                            );
                        }
                    }
                }
            }
            // SAFETY: the same promise.
            unsafe {
                match call.quads {
                    3 => sized::<3>(call),
                    _ => sized::<0>(call),
                }
            }
        }
    };
}

/// Row kernels that the compiler vectorizes by itself once it may use the features.
macro_rules! elements {
    ($features:literal) => {
        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn add(n: &AddNumbers, a: &[u8], b: &[u8], y: &mut [u8]) {
            element::add(n, a, b, y);
        }

        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn mul(n: &MulNumbers, a: &[u8], b: &[u8], y: &mut [u8]) {
            element::mul(n, a, b, y);
        }

        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn max(acc: &mut [u8], x: &[u8]) {
            element::max(acc, x);
        }

        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn sum(acc: &mut [u32], x: &[u8]) {
            element::sum(acc, x);
        }

        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn dequantize(edge: Edge, x: &[u8], y: &mut [f32]) {
            element::dequantize(edge, x, y);
        }
    };
}

pub(super) use {dense, depthwise, elements};
