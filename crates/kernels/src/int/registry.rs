//! Every integer kernel as one row of data.
//!
//! Name: `<op>_<act><wgt>_<isa>_<block>_<layout>[_<weights>][_<schedule>]`; element kernels have no block.

use crate::int::RUN;
use crate::int::binary::{AddNumbers, MulNumbers, add_scalar, mul_scalar};
use crate::int::conv::{ConvError, DenseRow, DepthwiseRow, Epilogue, Function, Magnitudes, Output, PatchRow};
use crate::int::convert::{dequantize_scalar, quantize_scalar};
use crate::int::rule::{Edge, REACH};
use crate::int::simd;
use crate::int::table::table_scalar;
use crate::int::window::{max_scalar, sum_scalar};
use crate::peak::Arithmetic;
use crate::{ConvShape, Isa};

/// What a row computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum KernelOp {
    Conv,
    Add,
    Mul,
    Table,
    Max,
    Sum,
    Quantize,
    Dequantize,
}

/// The code behind a row.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    ScalarConv,
    Dense(&'static DenseRow),
    Depthwise(&'static DepthwiseRow),
    Patch(&'static PatchRow),
    Add(unsafe fn(&AddNumbers, &[u8], &[u8], &mut [u8])),
    Mul(unsafe fn(&MulNumbers, &[u8], &[u8], &mut [u8])),
    Table(unsafe fn(&[u8; 256], &mut [u8])),
    Max(unsafe fn(&mut [u8], &[u8])),
    Sum(unsafe fn(&mut [u32], &[u8])),
    /// Planes of pixels, at most [`PLANES`](crate::int::PLANES), and codes of each pixel side by side.
    Quantize(unsafe fn(Edge, &[&[f32]], &mut [u8])),
    Dequantize(unsafe fn(Edge, &[u8], &mut [f32])),
}

/// One kernel.
pub struct Kernel {
    /// See the grammar above.
    pub name: &'static str,
    /// What the CPU must have.
    pub isa: Isa,
    /// What it computes.
    pub op: KernelOp,
    accepts: fn(&Facts) -> bool,
    pub(crate) entry: Entry,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Kernel {
    /// Whether this CPU runs it.
    pub fn is_available(&self) -> bool {
        self.isa.is_available()
    }

    pub(crate) fn accepts(&self, facts: &Facts) -> bool {
        (self.accepts)(facts)
    }

    /// What the name says.
    pub fn parts(&self) -> Parts {
        let mut words = self.name.split('_').peekable();
        let mut next = || words.next().unwrap_or_default();
        let (op, types, isa) = (next(), next(), next());
        let block = words.next_if(|w| w.starts_with('m')).and_then(block);
        Parts {
            op,
            types,
            isa,
            block,
            layout: words.next().unwrap_or_default(),
            weights: words.next_if(|w| w.starts_with('w')),
            schedule: words.next(),
            rest: words.next(),
        }
    }

    /// The instructions of its inner loop; `None` for scalar code and where nothing is multiplied.
    pub fn arithmetic(&self) -> Option<Arithmetic> {
        let parts = self.parts();
        match (self.isa, self.op) {
            (Isa::Scalar, _) => None,
            (Isa::Avx2, KernelOp::Conv) => Some(match parts.weights {
                Some("w7") => Arithmetic::Bytes,
                Some("w4acc16") => Arithmetic::ShortSums,
                _ => Arithmetic::Words,
            }),
            (Isa::Neon | Isa::Simd128, KernelOp::Conv) => Some(Arithmetic::Words),
            (Isa::Amx, KernelOp::Conv) => Some(Arithmetic::Tiles),
            (_, KernelOp::Conv) => Some(Arithmetic::Dot),
            _ => None,
        }
    }
}

/// A kernel's name in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Operator: `conv`, `dwconv` (depthwise), `add` …
    pub op: &'static str,
    /// Element types of activations, and of weights or results: `u8s8`.
    pub types: &'static str,
    /// Instruction set, as in `LOWBIT_ISA`.
    pub isa: &'static str,
    /// Pixels and channels of a tile.
    pub block: Option<(usize, usize)>,
    /// Layout of activations.
    pub layout: &'static str,
    /// Largest weights: `w7` are those of 7 bits, `w4acc16` those whose sums wait in 16 bits.
    pub weights: Option<&'static str>,
    /// How the loops run: `patch` gathers the pixels under a line of outputs first.
    pub schedule: Option<&'static str>,
    rest: Option<&'static str>,
}

/// `m4n16` → (4, 16).
fn block(text: &str) -> Option<(usize, usize)> {
    let (m, n) = text.strip_prefix('m')?.split_once('n')?;
    Some((m.parse().ok()?, n.parse().ok()?))
}

/// What a convolution's choice depends on.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    depthwise: bool,
    transposed: bool,
    channels: usize,
    writes_codes: bool,
    real: bool,
    /// A function between sums and codes, if there is one, is one that rows over patches have, and its results are whole numbers of steps in i32.
    ends: bool,
    /// Side by side pixels lie side by side in the input.
    single_step: bool,
    /// Products of one sum.
    depth: usize,
    /// Largest |level|, and largest |entry| of a plane.
    level: u32,
    entry: u32,
    hi_in: u32,
    /// No sum leaves i32.
    narrow: bool,
}

impl Facts {
    /// Checks lengths.
    pub(crate) fn check(shape: &ConvShape, levels: &[i32], epilogue: &Epilogue) -> Result<(), ConvError> {
        let depth = shape.kernel.iter().product::<usize>() * shape.in_channels / shape.groups.max(1);
        let want = depth * shape.out_channels;
        let lengths = [
            ("levels", want, levels.len()),
            ("bias", shape.out_channels, epilogue.bias.len()),
            ("multiplier", shape.out_channels, epilogue.multiplier.len()),
            (
                "groups that divide the input channels",
                0,
                shape.in_channels % shape.groups.max(1),
            ),
            (
                "groups that divide the output channels",
                0,
                shape.out_channels % shape.groups.max(1),
            ),
        ];
        match lengths.iter().find(|(_, want, have)| want != have) {
            Some(&(what, want, have)) => Err(ConvError::Length { what, want, have }),
            None => Ok(()),
        }
    }

    /// Facts of levels of these magnitudes.
    pub(crate) fn of(shape: &ConvShape, transposed: bool, levels: &Magnitudes, epilogue: &Epilogue) -> Facts {
        let (depth, level) = (levels.depth, levels.most);
        let sum = |(&sum, bias): (&u64, &i64)| {
            u128::from(sum) * u128::from(epilogue.hi_in) + u128::from(bias.unsigned_abs())
        };
        let largest = levels.sums.iter().zip(&epilogue.bias).map(sum).max().unwrap_or(0);
        Facts {
            depthwise: shape.is_depthwise(),
            transposed,
            channels: shape.out_channels,
            writes_codes: matches!(epilogue.output, Output::U8 { .. }),
            real: matches!(epilogue.output, Output::F32),
            ends: match &epilogue.output {
                Output::Function { function, edge } => {
                    let most = epilogue.multiplier.iter().copied().fold(0.0, f32::max);
                    let steps = largest as f64 * f64::from(most) / f64::from(edge.scale);
                    Function::of(*function, *edge).is_some_and(|f| steps * f64::from(f.most()) < REACH)
                }
                _ => true,
            },
            single_step: shape.stride[2] == 1,
            depth,
            level,
            entry: if level <= 127 { level } else { 64 },
            hi_in: u32::from(epilogue.hi_in),
            narrow: largest < 1 << 31,
        }
    }

    /// The largest magnitude of a level.
    pub(crate) fn level(&self) -> u32 {
        self.level
    }

    /// No sum leaves i32.
    pub(crate) fn narrow(&self) -> bool {
        self.narrow
    }

    /// A plane's sums of products stay in i32.
    fn shallow(&self) -> bool {
        self.depth <= 100_000
    }

    /// Nor is it a depthwise layer that a row over patches takes, which for panels would be nearly empty.
    fn products(&self) -> bool {
        self.shallow() && !(self.depthwise && self.patches())
    }

    /// Sums of `n` pairs of products stay in i16: vpmaddubsw and adds behind it are exact.
    fn pairs(&self, n: u32) -> bool {
        2 * n * self.hi_in * self.entry <= 32_767
    }

    /// A convolution proper whose sums stay in i32; levels of more bits than factors have become digits.
    fn patches(&self) -> bool {
        !self.transposed && self.narrow && self.ends
    }

    /// The same, dense, of factors of one byte.
    fn digits(&self) -> bool {
        self.patches() && !self.depthwise
    }

    /// … all levels of which are bytes.
    fn bytes(&self) -> bool {
        self.digits() && self.level <= 127
    }

    /// … of a depthwise layer that writes codes, whose blocks of channels are not mostly empty.
    fn depthwise_bytes(&self, block: usize) -> bool {
        let full = self.single_step || 4 * self.channels >= 3 * block;
        self.patches() && self.depthwise && self.level <= 127 && !self.real && full
    }

    fn depthwise_codes(&self) -> bool {
        self.depthwise && self.writes_codes && self.level <= 127 && self.narrow && self.channels >= 8
    }
}

const ANY: fn(&Facts) -> bool = |_| true;

macro_rules! rows {
    ($($name:literal $isa:ident $op:ident $entry:expr, $accepts:expr;)*) => {
        &[$(Kernel { name: $name, isa: Isa::$isa, op: KernelOp::$op, accepts: $accepts, entry: $entry }),*]
    };
}

/// All rows; the first of an operator is scalar, and a later row that this CPU runs and that accepts a layer is
/// preferred.
static KERNELS: &[Kernel] = rows! {
    "conv_u8s32_scalar_m1n1_nhwc" Scalar Conv Entry::ScalarConv, ANY;
    "add_u8u8_scalar_nhwc" Scalar Add Entry::Add(add_scalar), ANY;
    "mul_u8u8_scalar_nhwc" Scalar Mul Entry::Mul(mul_scalar), ANY;
    "table_u8u8_scalar_nhwc" Scalar Table Entry::Table(table_scalar), ANY;
    "max_u8u8_scalar_nhwc" Scalar Max Entry::Max(max_scalar), ANY;
    "sum_u8u32_scalar_nhwc" Scalar Sum Entry::Sum(sum_scalar), ANY;
    "quantize_f32u8_scalar_nhwc" Scalar Quantize Entry::Quantize(quantize_scalar), ANY;
    "dequantize_u8f32_scalar_nhwc" Scalar Dequantize Entry::Dequantize(dequantize_scalar), ANY;
};

#[cfg(target_arch = "x86_64")]
static X86: &[Kernel] = rows! {
    "conv_u8s8_avx2_m4n16_nhwc_w8" Avx2 Conv Entry::Dense(&simd::avx2::DENSE_W8), |f| f.shallow();
    "conv_u8s8_avx2_m4n16_nhwc_w7" Avx2 Conv Entry::Dense(&simd::avx2::DENSE_W7), |f| f.shallow() && f.pairs(1);
    "dwconv_u8s8_avx2_m1n32_nhwc_w8" Avx2 Conv Entry::Depthwise(&simd::avx2::DEPTHWISE_W8), |f| f.depthwise_codes();
    "conv_u8s16_avx2_m6n16_nhwc_patch" Avx2 Conv Entry::Patch(&simd::lines::PATCH), |f| f.digits();
    "conv_u8s8_avx2_m6n16_nhwc_w7_patch" Avx2 Conv Entry::Patch(&simd::lines::PATCH_W7),
        |f| f.bytes() && f.pairs(1);
    "conv_u8s8_avx2_m6n16_nhwc_w4acc16_patch" Avx2 Conv Entry::Patch(&simd::lines::PATCH_W4),
        |f| f.bytes() && f.pairs(RUN as u32);
    "dwconv_u8s16_avx2_m4n16_nhwc_patch" Avx2 Conv Entry::Patch(&simd::lines::PATCH), |f| f.patches() && f.depthwise;
    "add_u8u8_avx2_nhwc" Avx2 Add Entry::Add(simd::avx2::add), ANY;
    "mul_u8u8_avx2_nhwc" Avx2 Mul Entry::Mul(simd::avx2::mul), ANY;
    "table_u8u8_avx2_nhwc" Avx2 Table Entry::Table(simd::avx2::table), ANY;
    "max_u8u8_avx2_nhwc" Avx2 Max Entry::Max(simd::avx2::max), ANY;
    "sum_u8u32_avx2_nhwc" Avx2 Sum Entry::Sum(simd::avx2::sum), ANY;
    "quantize_f32u8_avx2_nhwc" Avx2 Quantize Entry::Quantize(simd::quantize::avx2), ANY;
    "dequantize_u8f32_avx2_nhwc" Avx2 Dequantize Entry::Dequantize(simd::avx2::dequantize), ANY;

    "conv_u8s8_avxvnni_m6n16_nhwc_w8" AvxVnni Conv Entry::Dense(&simd::avxvnni::DENSE_W8), |f| f.products();
    "dwconv_u8s8_avxvnni_m1n32_nhwc_w8" AvxVnni Conv Entry::Depthwise(&simd::avxvnni::DEPTHWISE_W8),
        |f| f.depthwise_codes();
    "conv_u8s8_avxvnni_m6n16_nhwc_w8_patch" AvxVnni Conv Entry::Patch(&simd::avxvnni::PATCH), |f| f.digits();
    "dwconv_u8s8_avxvnni_m1n32_nhwc_w8_patch" AvxVnni Conv Entry::Patch(&simd::avxvnni::PATCH),
        |f| f.depthwise_bytes(32);

    "conv_u8s8_avx512vnni_m6n16_nhwc_w8_ymm" Avx512Vnni Conv Entry::Dense(&simd::evexvnni::DENSE_W8), |f| f.products();
    "conv_u8s8_avx512vnni_m12n32_nhwc_w8" Avx512Vnni Conv Entry::Dense(&simd::avx512::DENSE_W8), |f| f.products();
    "conv_u8s8_avx512vnni_m6n16_nhwc_w8_ymmpatch" Avx512Vnni Conv Entry::Patch(&simd::evexvnni::PATCH), |f| f.digits();
    "conv_u8s8_avx512vnni_m12n16_nhwc_w8_patch" Avx512Vnni Conv Entry::Patch(&simd::lines512::PATCH), |f| f.digits();
    "dwconv_u8s8_avx512vnni_m1n64_nhwc_w8" Avx512Vnni Conv Entry::Depthwise(&simd::avx512::DEPTHWISE_W8),
        |f| f.depthwise_codes();
    "dwconv_u8s8_avx512vnni_m1n32_nhwc_w8_ymm" Avx512Vnni Conv Entry::Depthwise(&simd::evexvnni::DEPTHWISE_W8),
        |f| f.depthwise_codes() && matches!(f.channels % 64, 1..=32);
    "dwconv_u8s8_avx512vnni_m1n32_nhwc_w8_ymmpatch" Avx512Vnni Conv Entry::Patch(&simd::evexvnni::PATCH),
        |f| f.depthwise_bytes(32);
    "dwconv_u8s8_avx512vnni_m1n64_nhwc_w8_patch" Avx512Vnni Conv Entry::Patch(&simd::lines512::PATCH),
        |f| f.depthwise_bytes(64);
    "add_u8u8_avx512vnni_nhwc" Avx512Vnni Add Entry::Add(simd::avx512::add), ANY;
    "mul_u8u8_avx512vnni_nhwc" Avx512Vnni Mul Entry::Mul(simd::avx512::mul), ANY;
    "table_u8u8_avx512vnni_nhwc" Avx512Vnni Table Entry::Table(simd::avx512::table), ANY;
    "max_u8u8_avx512vnni_nhwc" Avx512Vnni Max Entry::Max(simd::avx512::max), ANY;
    "sum_u8u32_avx512vnni_nhwc" Avx512Vnni Sum Entry::Sum(simd::avx512::sum), ANY;
    "quantize_f32u8_avx512vnni_nhwc" Avx512Vnni Quantize Entry::Quantize(simd::quantize::avx512), ANY;
    "dequantize_u8f32_avx512vnni_nhwc" Avx512Vnni Dequantize Entry::Dequantize(simd::avx512::dequantize), ANY;

    "conv_u8s8_amx_m64n16_nhwc_w8_patch" Amx Conv Entry::Patch(&simd::amx::PATCH), |f| f.bytes();
};
#[cfg(not(target_arch = "x86_64"))]
static X86: &[Kernel] = &[];

#[cfg(target_arch = "aarch64")]
static ARM: &[Kernel] = rows! {
    "conv_u8s16_neon_m4n16_nhwc_patch" Neon Conv Entry::Patch(&simd::lines128::PATCH), |f| f.digits();
    "dwconv_u8s16_neon_m4n16_nhwc_patch" Neon Conv Entry::Patch(&simd::lines128::PATCH), |f| f.patches() && f.depthwise;
    "conv_u8s8_dotprod_m4n16_nhwc_w8_patch" DotProd Conv Entry::Patch(&simd::neon::DOTPROD), |f| f.digits();
    "conv_u8s8_i8mm_m4n16_nhwc_w8_patch" I8mm Conv Entry::Patch(&simd::neon::I8MM), |f| f.digits();
};
#[cfg(not(target_arch = "aarch64"))]
static ARM: &[Kernel] = &[];

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
static WASM: &[Kernel] = rows! {
    "conv_u8s16_simd128_m4n16_nhwc_patch" Simd128 Conv Entry::Patch(&simd::lines128::PATCH), |f| f.digits();
    "dwconv_u8s16_simd128_m4n16_nhwc_patch" Simd128 Conv Entry::Patch(&simd::lines128::PATCH), |f| f.patches() && f.depthwise;
};
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
static WASM: &[Kernel] = &[];

/// All integer kernels of this build, whether this CPU runs them or not.
pub fn registry() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().chain(X86).chain(ARM).chain(WASM)
}

/// The last row of an operator up to an instruction set that this CPU runs and whose predicate holds.
fn best(op: KernelOp, isa: Isa, accepts: impl Fn(&Kernel) -> bool) -> &'static Kernel {
    let mut chosen = &KERNELS[0];
    for kernel in registry().filter(|k| k.op == op && k.isa <= isa) {
        if kernel.is_available() && accepts(kernel) {
            chosen = kernel;
        }
    }
    chosen
}

/// The row that runs an element operator.
pub(crate) fn choose(op: KernelOp, isa: Isa) -> &'static Kernel {
    best(op, isa, |_| true)
}

/// The row that runs a convolution.
pub(crate) fn choose_conv(isa: Isa, facts: &Facts) -> &'static Kernel {
    best(KernelOp::Conv, isa, |k| k.accepts(facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_follows_the_grammar() {
        let mut names = HashSet::new();
        for kernel in registry() {
            let name = kernel.name;
            assert!(names.insert(name), "{name} twice");
            let parts = kernel.parts();
            let want = match kernel.op {
                KernelOp::Conv => ["conv", "dwconv"].as_slice(),
                KernelOp::Add => &["add"],
                KernelOp::Mul => &["mul"],
                KernelOp::Table => &["table"],
                KernelOp::Max => &["max"],
                KernelOp::Sum => &["sum"],
                KernelOp::Quantize => &["quantize"],
                KernelOp::Dequantize => &["dequantize"],
            };
            assert!(want.contains(&parts.op), "{name}: operator");
            let types = ["u8s8", "u8s16", "u8s32", "u8u8", "u8u32", "f32u8", "u8f32"];
            assert!(types.contains(&parts.types), "{name}: types");
            assert_eq!(parts.isa, kernel.isa.name(), "{name}: instruction set");
            let tiled = kernel.op == KernelOp::Conv;
            assert_eq!(
                parts.block.is_some_and(|(m, n)| m > 0 && n > 0),
                tiled,
                "{name}: block"
            );
            assert_eq!(parts.layout, "nhwc", "{name}: layout");
            if let Some(weights) = parts.weights {
                let bits = weights[1..].split("acc").map(|n| n.parse::<u32>());
                assert!(bits.into_iter().all(|n| n.is_ok()), "{name}: weights {weights}");
            }
            assert!(
                parts
                    .schedule
                    .is_none_or(|s| ["ymm", "patch", "ymmpatch"].contains(&s))
                    && parts.rest.is_none(),
                "{name}: schedule"
            );
            assert_eq!(
                kernel.arithmetic().is_some(),
                tiled && kernel.isa != Isa::Scalar,
                "{name}"
            );
        }
    }

    #[test]
    fn the_first_row_of_every_operator_is_scalar() {
        let mut seen = HashSet::new();
        for kernel in registry() {
            assert_eq!(
                seen.insert(kernel.op),
                kernel.isa == Isa::Scalar,
                "{}",
                kernel.name
            );
        }
    }
}
