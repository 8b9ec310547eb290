//! Sums over pixels and batch normalization.

use super::element::function;
use super::{CudaError, Memory, Span, given};
use crate::float::backward::{BatchNorm, Ramp};

/// About as many sums are made side by side.
const THREADS: usize = 1 << 16;
/// Pixels below which a part is not worth its sums.
const PART: usize = 64;

/// Parts of a sum over pixels, of which each has so many sums.
fn parts(pixels: usize, sums: usize) -> usize {
    let most = pixels.div_ceil(PART).max(1);
    (THREADS / sums.max(1)).clamp(1, most)
}

/// Statistics of a batch: the sums of its pixels, of all ranks together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchStatistics {
    /// Pixels that they are of.
    pub pixels: usize,
    /// Their weight in the running statistics.
    pub momentum: f32,
}

impl Memory {
    /// Adds the parts `[parts][columns]` of each column, in f64.
    pub(super) fn totals(
        &self,
        sums: Span,
        total: Span,
        columns: usize,
        parts: usize,
    ) -> Result<(), CudaError> {
        assert_eq!(
            sums.start % 2 + total.start % 2,
            0,
            "sums: f64 lies at even words"
        );
        assert_eq!(
            (sums.len, total.len),
            (2 * columns * parts, 2 * columns),
            "sums: length"
        );
        // SAFETY: a block reads its column and writes its total.
        unsafe { self.blocks("totals", [columns, 1, 1], given![sums, total, columns, parts]) }
    }

    /// f64 to f32.
    pub(super) fn to_single(&self, x: Span, y: Span) -> Result<(), CudaError> {
        assert_eq!(x.len, 2 * y.len, "sums: length");
        // SAFETY: element by element.
        unsafe { self.each("to_single", y.len, given![x, y, y.len]) }
    }

    /// Words of the scratch memory for sums over the pixels of `[pixels, channels]`; the totals come first.
    pub fn sums_scratch(pixels: usize, channels: usize) -> usize {
        4 * channels * (parts(pixels, channels) + 1)
    }

    /// Scratch memory as totals and parts of `columns` sums.
    fn sums(&self, scratch: Span, pixels: usize, channels: usize, columns: usize) -> (Span, Span, usize) {
        let parts = parts(pixels, channels);
        let (total, rest) = scratch.split(2 * columns);
        (total, rest.split(2 * columns * parts).0, parts)
    }

    /// Sum of each channel of `x` `[pixels, channels]`: the gradient of a bias.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn channel_sums(&self, x: Span, sums: Span, scratch: Span) -> Result<(), CudaError> {
        let channels = sums.len;
        let pixels = x.len / channels.max(1);
        assert_eq!(x.len, pixels * channels, "channel sums: length");
        let (total, in_parts, parts) = self.sums(scratch, pixels, channels, channels);
        let arguments = given![x, in_parts, pixels, channels, parts];
        // SAFETY: a thread reads one channel of its pixels and has its own sum.
        unsafe { self.each("channel_sums", parts * channels, arguments)? };
        self.totals(in_parts, total, channels, parts)?;
        self.to_single(total, sums)
    }

    /// Leaves Σ(x − shift) and Σ(x − shift)² of each channel of `x` `[pixels, channels]` at the front of `scratch`, `[2][channels]` in f64; `shift` is a
    /// guess of the mean.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn batch_norm_sums(&self, x: Span, shift: Span, scratch: Span) -> Result<(), CudaError> {
        let channels = shift.len;
        let pixels = x.len / channels.max(1);
        assert_eq!(x.len, pixels * channels, "batch norm: length");
        let (total, in_parts, parts) = self.sums(scratch, pixels, channels, 2 * channels);
        let arguments = given![x, shift, in_parts, pixels, channels, parts];
        // SAFETY: a thread reads one channel of its pixels and has its own sums.
        unsafe { self.each("moments", parts * channels, arguments)? };
        self.totals(in_parts, total, 2 * channels, parts)
    }

    /// The first `into.len()` totals at the front of scratch memory.
    ///
    /// # Errors
    /// See [`Memory::read`].
    pub fn read_sums(&self, scratch: Span, into: &mut [f64]) -> Result<(), CudaError> {
        self.read(scratch.split(2 * into.len()).0, bytemuck::cast_slice_mut(into))
    }

    /// Replaces the first totals at the front of scratch memory.
    ///
    /// # Errors
    /// See [`Memory::write`].
    pub fn write_sums(&mut self, scratch: Span, sums: &[f64]) -> Result<(), CudaError> {
        self.write(scratch.split(2 * sums.len()).0, bytemuck::cast_slice(sums))
    }

    /// Mean, 1/σ, scale and shift of a step into `saved`. With `batch` they are those of the [sums](Memory::batch_norm_sums) at the front of
    /// `scratch`, and the running statistics follow; without it those of the running ones.
    ///
    /// `parameters` are γ, β, running mean and running variance.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn batch_norm_statistics(
        &self,
        batch: Option<BatchStatistics>,
        epsilon: f32,
        parameters: [Span; 4],
        saved: Span,
        scratch: Span,
    ) -> Result<(), CudaError> {
        let [gamma, beta, mean, variance] = parameters;
        let c = gamma.len;
        assert!(
            parameters.iter().all(|p| p.len == c) && saved.len == 4 * c,
            "batch norm: parameters"
        );
        let total = scratch.split(4 * c).0;
        let BatchStatistics { pixels, momentum } = batch.unwrap_or(BatchStatistics {
            pixels: 1,
            momentum: 0.0,
        });
        let arguments = given![
            total,
            gamma,
            beta,
            mean,
            variance,
            saved,
            c,
            batch.is_some(),
            pixels,
            epsilon,
            momentum,
        ];
        // SAFETY: channel by channel.
        unsafe { self.each("batch_norm_statistics", c, arguments) }
    }

    /// `y = f(x · scale + shift)` with the numbers of `saved`.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn batch_norm(&self, op: &BatchNorm, x: Span, saved: Span, y: Span) -> Result<(), CudaError> {
        let n = op.pixels * op.channels;
        assert_eq!(
            (x.len, y.len, saved.len),
            (n, n, 4 * op.channels),
            "batch norm: length"
        );
        let (kind, a, b) = function(op.activation);
        // SAFETY: element by element; the numbers are of all channels.
        unsafe { self.each("batch_norm", n, given![x, saved, y, n, op.channels, kind, a, b]) }
    }

    /// Leaves Σ dz and Σ dz · (x − mean) of each channel at the front of `scratch`, `[2][channels]` in f64, and gives the gradients of γ and β.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    #[allow(clippy::too_many_arguments)]
    pub fn batch_norm_backward_sums(
        &self,
        op: &BatchNorm,
        x: Span,
        saved: Span,
        dy: Span,
        dgamma: Span,
        dbeta: Span,
        scratch: Span,
    ) -> Result<(), CudaError> {
        let (pixels, c) = (op.pixels, op.channels);
        assert_eq!(
            (x.len, dy.len, saved.len),
            (pixels * c, pixels * c, 4 * c),
            "batch norm backward: length"
        );
        assert_eq!((dgamma.len, dbeta.len), (c, c), "batch norm backward: gradients");
        let Ramp { low, high, slope } = ramp(op);
        let (total, in_parts, parts) = self.sums(scratch, pixels, c, 2 * c);
        let arguments = given![x, dy, saved, in_parts, pixels, c, parts, low, high, slope];
        // SAFETY: a thread reads one channel of its pixels and has its own sums.
        unsafe { self.each("batch_norm_backward_sums", parts * c, arguments)? };
        self.totals(in_parts, total, 2 * c, parts)?;
        let arguments = given![total, saved, dgamma, dbeta, c];
        // SAFETY: channel by channel.
        unsafe { self.each("batch_norm_gradients", c, arguments) }
    }

    /// Backward of [`Memory::batch_norm`] by its input. `statistics` is the number of the pixels that the statistics were taken of, whose
    /// [sums](Memory::batch_norm_backward_sums) are at the front of `scratch`; `None`: they were fixed. `factors` takes `2 · channels` elements.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    #[allow(clippy::too_many_arguments)]
    pub fn batch_norm_backward(
        &self,
        op: &BatchNorm,
        statistics: Option<usize>,
        x: Span,
        saved: Span,
        dy: Span,
        dx: Span,
        factors: Span,
        scratch: Span,
    ) -> Result<(), CudaError> {
        let (n, c) = (op.pixels * op.channels, op.channels);
        assert_eq!(
            (x.len, dy.len, dx.len, saved.len),
            (n, n, n, 4 * c),
            "batch norm backward: length"
        );
        let factors = factors.split(2 * c).0;
        let total = scratch.split(4 * c).0;
        let pixels = statistics.unwrap_or(1);
        let arguments = given![total, saved, factors, c, statistics.is_some(), pixels];
        // SAFETY: channel by channel.
        unsafe { self.each("batch_norm_factors", c, arguments)? };
        let Ramp { low, high, slope } = ramp(op);
        let arguments = given![x, dy, saved, factors, dx, n, c, low, high, slope];
        // SAFETY: element by element; the numbers are of all channels.
        unsafe { self.each("batch_norm_backward", n, arguments) }
    }
}

fn ramp(op: &BatchNorm) -> Ramp {
    Ramp::of(op.activation).expect("an activation of straight pieces")
}
