//! Convolution, transposed convolution and Gemm with quantized weights (`FORMAT.md` 1.3, 1.4).
//!
//! A dense layer is an implicit matrix product: a tile is a few output pixels × 16 or 32 output channels, and a pixel
//! is a pointer per kernel tap, to the input pixel or to a row of the zero point outside of the picture. No patch
//! matrix is ever written.

mod constant;
mod dense;
mod depthwise;
mod digits;
mod epilogue;
mod patch;
mod scalar;

use std::borrow::Cow;

use crate::float::Activation;
use crate::geometry::Geometry;
use crate::int::Edge;
use crate::int::registry::{Entry, Facts, Kernel, KernelOp, choose_conv, registry};
use crate::{ConvShape, Isa, Out, Pixels, Pool};
use dense::Dense;
use depthwise::Depthwise;
use patch::Patched;

pub(crate) use dense::{DenseRow, Finish, PANEL, ROW, TileCall, TileSize};
pub(crate) use depthwise::{DepthwiseCall, DepthwiseRow};
pub use epilogue::{ConvError, Epilogue, Output};
pub(crate) use patch::{Ending, Function, LineCall, Listed, PatchRow, Tiles};

/// Whether the SIMD rows apply a function to sums before these become codes of an edge; every other function takes a slower row.
pub fn is_fused(function: Activation, edge: Edge) -> bool {
    Function::of(function, edge).is_some()
}

/// The largest magnitude. By hand: `max()` of an iterator is no vector operation.
pub(crate) fn most(levels: &[i32]) -> u32 {
    levels.iter().fold(0, |most, l| most.max(l.unsigned_abs()))
}

/// The largest magnitude, and the sum of all.
pub(crate) fn magnitudes(levels: &[i32]) -> (u32, u64) {
    let (mut largest, mut sum) = (0, 0);
    // Parts whose sums stay in 32 bits where levels do in 20, as those of every weight: vectors of twice as many.
    for part in levels.chunks(1 << 12) {
        let most = most(part);
        largest = largest.max(most);
        sum += match most < 1 << 20 {
            true => u64::from(part.iter().map(|l| l.unsigned_abs()).sum::<u32>()),
            false => part.iter().map(|l| u64::from(l.unsigned_abs())).sum(),
        };
    }
    (largest, sum)
}

/// The sum of all magnitudes.
pub(crate) fn magnitude(levels: &[i32]) -> u64 {
    magnitudes(levels).1
}

/// What bounds need of levels [out channel][…], so that they are read once.
#[derive(Debug)]
pub(crate) struct Magnitudes {
    /// The largest of all.
    pub(crate) most: u32,
    /// Their sum for each output channel.
    pub(crate) sums: Vec<u64>,
    /// Weights of a channel.
    pub(crate) depth: usize,
}

impl Magnitudes {
    pub(crate) fn of(levels: &[i32], channels: usize) -> Magnitudes {
        let depth = levels.len() / channels.max(1);
        let each = (0..channels).map(|c| magnitudes(&levels[c * depth..(c + 1) * depth]));
        let (most, sums): (Vec<u32>, Vec<u64>) = each.unzip();
        Magnitudes {
            most: most.into_iter().max().unwrap_or(0),
            sums,
            depth,
        }
    }
}

/// A convolution packed for one kernel.
#[derive(Debug)]
pub struct Conv {
    geometry: Geometry,
    epilogue: Epilogue,
    kernel: &'static Kernel,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Levels [out channel][tap][in channel of the group].
    Scalar(Vec<i32>),
    Dense(Dense),
    Depthwise(Depthwise),
    Patched(Patched),
}

impl Conv {
    /// A convolution of `levels` `[out_channels, in_channels / groups, kernel…]` (zero points taken off).
    /// Gemm and MatMul are a convolution with a kernel of 1.
    ///
    /// # Errors
    /// When lengths do not match or a bound of 1.13 fails: the layer then has to run in float.
    pub fn new(shape: &ConvShape, levels: &[i32], epilogue: Epilogue, isa: Isa) -> Result<Conv, ConvError> {
        Conv::best(Geometry::new(shape, false), levels, epilogue, isa)
    }

    /// A transposed convolution of `levels` `[in_channels, out_channels / groups, kernel…]`; `shape.pad` is ONNX's
    /// padding before each axis, `shape.output` the output's size.
    ///
    /// # Errors
    /// As [`Conv::new`].
    pub fn transposed(
        shape: &ConvShape,
        levels: &[i32],
        epilogue: Epilogue,
        isa: Isa,
    ) -> Result<Conv, ConvError> {
        Conv::best(Geometry::new(shape, true), levels, epilogue, isa)
    }

    /// The rows that could run this layer on this CPU, up to an instruction set, the one that [`Conv::new`] takes last; at most `most`.
    ///
    /// # Errors
    /// As [`Conv::new`].
    pub fn rows(
        shape: &ConvShape,
        transposed: bool,
        levels: &[i32],
        epilogue: &Epilogue,
        isa: Isa,
        most: usize,
    ) -> Result<Vec<&'static Kernel>, ConvError> {
        let geometry = Geometry::new(shape, transposed);
        let (_, _, facts) = Conv::settled(&geometry, levels, epilogue.clone())?;
        let mut rows: Vec<_> = registry()
            .filter(|k| k.op == KernelOp::Conv && k.isa <= isa && k.is_available() && k.accepts(&facts))
            .collect();
        rows.drain(..rows.len().saturating_sub(most));
        Ok(rows)
    }

    /// The same with the registry row of that name; `None` when the row cannot run this layer on this CPU.
    ///
    /// # Errors
    /// As [`Conv::new`].
    pub fn with_kernel(
        shape: &ConvShape,
        transposed: bool,
        levels: &[i32],
        epilogue: Epilogue,
        kernel: &'static Kernel,
    ) -> Result<Option<Conv>, ConvError> {
        let runs =
            |facts: &Facts| kernel.op == KernelOp::Conv && kernel.is_available() && kernel.accepts(facts);
        Conv::build(Geometry::new(shape, transposed), levels, epilogue, |facts| {
            runs(facts).then_some(kernel)
        })
    }

    fn best(geometry: Geometry, levels: &[i32], epilogue: Epilogue, isa: Isa) -> Result<Conv, ConvError> {
        let conv = Conv::build(geometry, levels, epilogue, |facts| Some(choose_conv(isa, facts)))?;
        Ok(conv.expect("the scalar row takes every layer"))
    }

    /// Levels `[out channel][…]` and epilogue as kernels take them, and what a choice depends on.
    fn settled<'a>(
        geometry: &Geometry,
        levels: &'a [i32],
        mut epilogue: Epilogue,
    ) -> Result<(Cow<'a, [i32]>, Epilogue, Facts), ConvError> {
        let shape = &geometry.shape;
        Facts::check(shape, levels, &epilogue)?;
        let mut levels = geometry.by_output(levels);
        let magnitudes = Magnitudes::of(&levels, shape.out_channels);
        let mut facts = Facts::of(shape, geometry.transposed, &magnitudes, &epilogue);
        epilogue.prove(&magnitudes.sums)?;
        if !facts.narrow() {
            constant::settle(levels.to_mut(), &mut epilogue);
            let magnitudes = Magnitudes::of(&levels, shape.out_channels);
            facts = Facts::of(shape, geometry.transposed, &magnitudes, &epilogue);
        }
        Ok((levels, epilogue, facts))
    }

    fn build(
        geometry: Geometry,
        levels: &[i32],
        epilogue: Epilogue,
        choose: impl Fn(&Facts) -> Option<&'static Kernel>,
    ) -> Result<Option<Conv>, ConvError> {
        let (levels, epilogue, facts) = Conv::settled(&geometry, levels, epilogue)?;
        let shape = &geometry.shape;
        let Some(kernel) = choose(&facts) else {
            return Ok(None);
        };
        let body = match kernel.entry {
            Entry::Dense(row) => Body::Dense(Dense::new(row, &geometry, &levels, &epilogue)),
            Entry::Depthwise(row) => Body::Depthwise(Depthwise::new(row, &geometry, &levels, &epilogue)),
            Entry::Patch(row) => Body::Patched(Patched::new(row, shape, (&levels, facts.level()), &epilogue)),
            _ => Body::Scalar(levels.into_owned()),
        };
        Ok(Some(Conv {
            geometry,
            epilogue,
            kernel,
            body,
        }))
    }

    /// Computes codes from `x` `[batch, input…, in_channels]` into `y` `[batch, output…, out_channels]`.
    /// Panics when the object writes f32 or a view is too short.
    pub fn run(&self, pool: &Pool, x: Pixels<'_, u8>, mut y: Out<'_, u8>) {
        assert!(
            !matches!(self.epilogue.output, Output::F32),
            "this convolution writes f32"
        );
        self.check(&x, &y);
        match &self.body {
            Body::Scalar(levels) => scalar::run(
                pool,
                &self.geometry,
                &self.epilogue,
                levels,
                x,
                &mut y,
                |acc, m, e| e.code(acc, m),
            ),
            Body::Dense(dense) => dense.run_u8(pool, &self.geometry, &self.epilogue, x, &mut y),
            Body::Depthwise(body) => body.run(pool, &self.geometry, &self.epilogue, x, &mut y),
            Body::Patched(body) => body.run(pool, &self.epilogue, x, &mut y),
        }
    }

    /// Computes f32 (1.4). Panics when the object writes codes or a view is too short.
    pub fn run_f32(&self, pool: &Pool, x: Pixels<'_, u8>, mut y: Out<'_, f32>) {
        assert!(
            matches!(self.epilogue.output, Output::F32),
            "this convolution writes codes"
        );
        self.check(&x, &y);
        match &self.body {
            Body::Scalar(levels) => scalar::run(
                pool,
                &self.geometry,
                &self.epilogue,
                levels,
                x,
                &mut y,
                |acc, m, _| acc as f32 * m,
            ),
            Body::Dense(dense) => dense.run_f32(pool, &self.geometry, x, &mut y),
            Body::Patched(body) => body.run(pool, &self.epilogue, x, &mut y),
            Body::Depthwise(_) => unreachable!("depthwise rows accept u8 outputs only"),
        }
    }

    fn check<T>(&self, x: &Pixels<'_, u8>, y: &Out<'_, T>) {
        let shape = &self.geometry.shape;
        x.check(
            shape.batch * shape.input.iter().product::<usize>(),
            shape.in_channels,
        );
        y.check(
            shape.batch * shape.output.iter().product::<usize>(),
            shape.out_channels,
        );
    }

    /// The registry row that runs.
    pub fn kernel_name(&self) -> &str {
        self.kernel.name
    }

    /// Bytes of the packed weights and constants.
    pub fn packed_bytes(&self) -> usize {
        match &self.body {
            Body::Scalar(levels) => levels.len() * 4,
            Body::Dense(dense) => dense.packed_bytes(),
            Body::Depthwise(body) => body.packed_bytes(),
            Body::Patched(body) => body.packed_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_those_of_wide_sums() {
        for len in [0, 1, 4095, 4096, 4097, 10_000] {
            for level in [0, 1, -127, (1 << 20) - 1, 1 << 20, i32::MAX, i32::MIN] {
                let levels = vec![level; len];
                let largest = if len > 0 { level.unsigned_abs() } else { 0 };
                let sum = len as u64 * u64::from(level.unsigned_abs());
                assert_eq!(magnitudes(&levels), (largest, sum));
                assert_eq!((most(&levels), magnitude(&levels)), (largest, sum));
            }
        }
    }
}
