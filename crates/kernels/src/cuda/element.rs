//! Functions of single elements, what only moves elements, and rows.

use super::{BLOCK, CudaError, Memory, Span, given, numbers};
use crate::Broadcast;
use crate::float::backward::{FakeQuantizer, Gather, Reduce, StepGradient};
use crate::float::{Activation, BinaryOp, MatMul, Rare};

/// Kind and fields of a function, as kernels take it.
pub(super) fn function(f: Activation) -> (usize, f32, f32) {
    match f {
        Activation::None => (0, 0.0, 0.0),
        Activation::Relu => (1, 0.0, 0.0),
        Activation::LeakyRelu { alpha } => (2, alpha, 0.0),
        Activation::Clip { low, high } => (3, low, high),
        Activation::Sigmoid => (4, 0.0, 0.0),
        Activation::Swish { alpha } => (5, alpha, 0.0),
        Activation::HardSigmoid { alpha, beta } => (6, alpha, beta),
        Activation::HardSwish => (7, 0.0, 0.0),
        Activation::Mish => (8, 0.0, 0.0),
        Activation::Tanh => (9, 0.0, 0.0),
        Activation::Exp => (10, 0.0, 0.0),
        Activation::Rare(f) => match f {
            Rare::Elu { alpha, gamma } => (11, alpha, gamma),
            Rare::Softplus => (12, 0.0, 0.0),
            Rare::Softsign => (13, 0.0, 0.0),
            Rare::Gelu { tanh: false } => (14, 0.0, 0.0),
            Rare::Gelu { tanh: true } => (15, 0.0, 0.0),
            Rare::Erf => (16, 0.0, 0.0),
            Rare::Log => (17, 0.0, 0.0),
            Rare::Sqrt => (18, 0.0, 0.0),
            Rare::Reciprocal => (19, 0.0, 0.0),
            Rare::Abs => (20, 0.0, 0.0),
            Rare::Sin => (21, 0.0, 0.0),
            Rare::Cos => (22, 0.0, 0.0),
        },
    }
}

/// Loops as kernels take them: their number, count and step of each.
fn loops(axes: &[(usize, usize)]) -> impl Iterator<Item = usize> {
    [axes.len()]
        .into_iter()
        .chain(axes.iter().flat_map(|&(count, step)| [count, step]))
}

impl Memory {
    /// `y = f(x)`.
    ///
    /// # Errors
    /// Here and in all operators: what the driver refuses, sizes that kernels cannot count.
    pub fn activate(&self, f: Activation, x: Span, y: Span) -> Result<(), CudaError> {
        assert_eq!(x.len, y.len, "activation: length");
        let (kind, a, b) = function(f);
        // SAFETY: element by element.
        unsafe { self.each("activation", y.len, given![x, y, y.len, kind, a, b]) }
    }

    /// `dx = dy · f′`, where `value` is f's output or its input.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn activation_backward(
        &self,
        f: Activation,
        from_output: bool,
        value: Span,
        dy: Span,
        dx: Span,
    ) -> Result<(), CudaError> {
        assert_eq!(
            (value.len, dy.len),
            (dx.len, dx.len),
            "activation backward: length"
        );
        let (kind, a, b) = function(f);
        let arguments = given![value, dy, dx, dx.len, from_output, kind, a, b];
        // SAFETY: element by element.
        unsafe { self.each("activation_backward", dx.len, arguments) }
    }

    /// `y = gain · x`.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn scale(&self, gain: f32, x: Span, y: Span) -> Result<(), CudaError> {
        assert_eq!(x.len, y.len, "scale: length");
        // SAFETY: element by element.
        unsafe { self.each("scale", y.len, given![x, y, y.len, gain]) }
    }

    /// `y = a + b`.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn add(&self, a: Span, b: Span, y: Span) -> Result<(), CudaError> {
        assert_eq!((a.len, b.len), (y.len, y.len), "add: length");
        // SAFETY: element by element.
        unsafe { self.each("add", y.len, given![a, b, y, y.len]) }
    }

    /// Every element becomes `value`.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn fill(&self, value: f32, y: Span) -> Result<(), CudaError> {
        // SAFETY: element by element.
        unsafe { self.each("fill", y.len, given![y, y.len, value]) }
    }

    /// `op` of `a` and `b`, broadcast to the shape of `y`.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn binary(
        &self,
        op: BinaryOp,
        shape: &Broadcast,
        a: Span,
        b: Span,
        y: Span,
    ) -> Result<(), CudaError> {
        assert_eq!(
            (a.len, b.len, y.len),
            (shape.a_len(), shape.b_len(), shape.len()),
            "binary: length"
        );
        let head = [
            shape.outer.len(),
            shape.run,
            shape.a_moves.into(),
            shape.b_moves.into(),
        ];
        let outer = shape
            .outer
            .iter()
            .flat_map(|&(count, a_step, b_step)| [count, a_step, b_step]);
        let operation = match op {
            BinaryOp::Add => 0usize,
            BinaryOp::Sub => 1,
            BinaryOp::Mul => 2,
            BinaryOp::Div => 3,
            BinaryOp::Max => 4,
            BinaryOp::Min => 5,
            BinaryOp::PRelu => 6,
        };
        let s = numbers(head.into_iter().chain(outer));
        // SAFETY: the loops lead to all elements of a and b and no further, by their lengths.
        unsafe { self.each("binary", y.len, given![a, b, y, y.len, operation, s]) }
    }

    /// ONNX `Transpose`: axis i of `y` is axis `axes[i]` of `x`.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn transpose(&self, shape: &[usize], axes: &[usize], x: Span, y: Span) -> Result<(), CudaError> {
        let len: usize = shape.iter().product();
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..shape.len()), "transpose: axes");
        assert_eq!((x.len, y.len), (len, len), "transpose: length");
        let strides = tensor::strides(shape);
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for (len, step) in axes.iter().map(|&a| (shape[a], strides[a])) {
            match merged.last_mut() {
                _ if len == 1 => {}
                Some(last) if last.1 == step * len => *last = (last.0 * len, step),
                _ => merged.push((len, step)),
            }
        }
        let s = numbers(loops(&merged));
        // SAFETY: the axes are a permutation, so that the loops lead to each element of x.
        unsafe { self.each("spread", y.len, given![x, y, y.len, 1.0f32, s]) }
    }

    /// Backward of [`Memory::reduce`]: `dx = gain · dy`, spread over the summed axes.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn expand(&self, op: &Reduce, dy: Span, dx: Span) -> Result<(), CudaError> {
        assert_eq!((dx.len, dy.len), (op.from_len(), op.to_len()), "expand: length");
        let axes: Vec<(usize, usize)> = op.axes().iter().map(|a| (a.0, a.2)).collect();
        let s = numbers(loops(&axes));
        // SAFETY: the loops lead to the elements of dy, whose number is that of the axes that stay.
        unsafe { self.each("spread", dx.len, given![dy, dx, dx.len, op.gain, s]) }
    }

    /// `y = gain · Σ x`, summed in f64.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn reduce(&self, op: &Reduce, x: Span, y: Span) -> Result<(), CudaError> {
        assert_eq!((x.len, y.len), (op.from_len(), op.to_len()), "reduce: length");
        let terms: usize = op.summed.iter().map(|a| a.0).product();
        let lists = op.kept.iter().chain(&op.summed).flat_map(|a| [a.0, a.1]);
        let s = numbers([op.kept.len(), op.summed.len()].into_iter().chain(lists));
        // SAFETY: the loops lead to all elements of x, whose number is that of all axes.
        unsafe { self.each("reduce", y.len, given![x, y, y.len, terms, op.gain, s]) }
    }

    /// Rows of `count` elements: from `x` with rows of `x_row.0` elements, of which those from `x_row.1` on are read, to `y` likewise.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn copy_rows(
        &self,
        [rows, count]: [usize; 2],
        x: Span,
        x_row: (usize, usize),
        y: Span,
        y_row: (usize, usize),
    ) -> Result<(), CudaError> {
        let fits = |(len, start): (usize, usize), span: Span| start + count <= len && span.len == rows * len;
        assert!(fits(x_row, x) && fits(y_row, y), "copy of rows: length");
        let n = rows * count;
        let arguments = given![x, y, n, count, x_row.0, x_row.1, y_row.0, y_row.1];
        // SAFETY: every row lies in both.
        unsafe { self.each("copy_rows", n, arguments) }
    }

    /// `y[o, i] = x[o, indices[i]]`, or `fill`; `lists` are the first of [`Lists::gather`](super::Lists::gather).
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn gather(&self, op: &Gather, lists: usize, fill: f32, x: Span, y: Span) -> Result<(), CudaError> {
        self.pick([op.outer, op.len, op.indices.len(), op.inner], lists, fill, x, y)
    }

    /// `dx[o, indices[i]] += dy[o, i]`, from zero; `lists` are the second of [`Lists::gather`](super::Lists::gather).
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn gather_backward(&self, op: &Gather, lists: usize, dy: Span, dx: Span) -> Result<(), CudaError> {
        self.pick([op.outer, op.indices.len(), op.len, op.inner], lists, 0.0, dy, dx)
    }

    fn pick(
        &self,
        [outer, length, positions, inner]: [usize; 4],
        lists: usize,
        empty: f32,
        x: Span,
        y: Span,
    ) -> Result<(), CudaError> {
        let lists = &self.lists[lists];
        assert_eq!(
            (lists.positions[0], lists.sources[0]),
            (positions, length),
            "gather: lists"
        );
        assert_eq!(
            (x.len, y.len),
            (outer * length * inner, outer * positions * inner),
            "gather: length"
        );
        let [first, source, _] = self.addresses(lists);
        let arguments = given![x, y, y.len, first, source, length, positions, inner, empty];
        // SAFETY: the lists are of these numbers of positions, and name elements below `length`.
        unsafe { self.each("pick", y.len, arguments) }
    }

    /// Softmax of rows of `len` elements.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn softmax(&self, len: usize, x: Span, y: Span) -> Result<(), CudaError> {
        let rows = y.len / len.max(1);
        assert_eq!((x.len, y.len), (rows * len, rows * len), "softmax: length");
        // SAFETY: whole rows.
        unsafe { self.each("softmax", rows, given![x, y, rows, len]) }
    }

    /// `dx = y · (dy − Σ dy · y)` of rows of `len` elements.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn softmax_backward(&self, len: usize, y: Span, dy: Span, dx: Span) -> Result<(), CudaError> {
        let rows = y.len / len.max(1);
        assert_eq!((y.len, dy.len), (dx.len, dx.len), "softmax backward: length");
        assert_eq!(y.len, rows * len, "softmax backward: rows");
        // SAFETY: whole rows.
        unsafe { self.each("softmax_backward", rows, given![y, dy, dx, rows, len]) }
    }

    /// Multiplies `a` `[batch or 1, m, k]` and `b` `[batch or 1, k, n]` into `y` `[batch, m, n]`.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn matmul(&self, op: &MatMul, a: Span, b: Span, y: Span) -> Result<(), CudaError> {
        let &MatMul { batch, m, k, n, .. } = op;
        let each = |shared: bool| if shared { 1 } else { batch };
        let lengths = (
            each(op.a_shared) * m * k,
            each(op.b_shared) * k * n,
            batch * m * n,
        );
        assert_eq!((a.len, b.len, y.len), lengths, "matmul: length");
        let arguments = given![a, b, y, y.len, m, k, n, op.a_shared, op.b_shared];
        // SAFETY: the matrices are whole.
        unsafe { self.each("matmul", y.len, arguments) }
    }

    /// `y = step · level(x)`; `step` is one element.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn fake_quantize(&self, q: FakeQuantizer, x: Span, step: Span, y: Span) -> Result<(), CudaError> {
        assert_eq!((x.len, step.len), (y.len, 1), "fake quantizer: length");
        let arguments = given![x, step, y, y.len, q.low, q.high, q.up];
        // SAFETY: element by element.
        unsafe { self.each("fake_quantize", y.len, arguments) }
    }

    /// Words of the scratch memory of [`Memory::fake_quantize_backward`] for `len` elements.
    pub fn fake_quantize_scratch(len: usize) -> usize {
        2 * quantizer_threads(len) + 2
    }

    /// `dx` becomes the gradient where x lies in the range and 0 elsewhere, `dstep`, one element, that of the step.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    #[allow(clippy::too_many_arguments)]
    pub fn fake_quantize_backward(
        &self,
        q: FakeQuantizer,
        gradient: StepGradient,
        x: Span,
        step: Span,
        dy: Span,
        dx: Span,
        dstep: Span,
        scratch: Span,
    ) -> Result<(), CudaError> {
        assert_eq!(
            (x.len, dy.len, step.len, dstep.len),
            (dx.len, dx.len, 1, 1),
            "fake quantizer backward: length"
        );
        let gradient = match gradient {
            StepGradient::Fixed => 0usize,
            StepGradient::Lsq => 1,
            StepGradient::Code => 2,
            StepGradient::Mean => 3,
            StepGradient::Zero => 4,
        };
        let threads = quantizer_threads(x.len);
        let (sums, total) = scratch.split(2 * threads);
        let (total, _) = total.split(2);
        let arguments = given![
            x, step, dy, dx, sums, x.len, threads, q.low, q.high, q.up, gradient
        ];
        // SAFETY: element by element; a thread has its own sum.
        unsafe { self.each("fake_quantize_backward", threads, arguments)? };
        self.totals(sums, total, 1, threads)?;
        self.to_single(total, dstep)
    }
}

/// Threads of a quantizer's backward, at least one.
fn quantizer_threads(len: usize) -> usize {
    len.div_ceil(4).clamp(1, 64 * BLOCK)
}
