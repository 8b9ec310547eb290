//! 256-bit VNNI, once in VEX encoding (AVX-VNNI) and once in EVEX encoding (AVX-512 VNNI with VL).

macro_rules! vnni256 {
    ($module:ident, $doc:literal, $features:literal, $isa:ident, $dpbusd:ident) => {
        #[doc = $doc]
        pub(crate) mod $module {
            use std::arch::x86_64::*;

            use crate::Isa;
            use crate::int::conv::{DenseRow, DepthwiseCall, DepthwiseRow, PANEL, ROW, TileCall, TileSize};
            use crate::int::simd::body::{dense, depthwise};
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
