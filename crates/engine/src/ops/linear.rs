//! Gemm and MatMul: by a constant they are convolutions with a kernel of 1 (`FORMAT.md` 1.3), of two edges f32 products (1.15).

use graph::{NodeId, Op, ValueId};
use kernels::ConvShape;
use kernels::float::{self, MatMul, matmul};

use super::conv::{Behind, activation_behind, emit_float, emit_integer};
use super::weights::{quantized, stored};
use super::{No, edge_in, fallback, first_input};
use crate::compile::{Compiler, Repr, Want};
use crate::error::Fault;
use crate::memory::Kind;
use crate::view::{View, onnx_order};

pub(super) fn covers(op: &Op) -> bool {
    matches!(op, Op::Gemm { .. } | Op::MatMul)
}

/// Rows of the first input, and (inputs, outputs) of the constant second one with whether it lies `[outputs, inputs]`.
#[derive(Debug, Clone, Copy)]
struct Linear {
    rows: usize,
    inputs: usize,
    outputs: usize,
    by_output: bool,
}

impl Linear {
    /// `None` where the operator is no plain product with a constant matrix.
    fn of(cx: &Compiler<'_>, n: NodeId) -> Result<Linear, String> {
        let node = cx.node(n);
        let by_output = match node.op {
            Op::MatMul => false,
            Op::Gemm {
                alpha,
                beta,
                trans_a,
                trans_b,
            } => {
                if alpha != 1.0 || beta != 1.0 || trans_a {
                    return Err("Gemm with alpha, beta other than 1 or a transposed first input".into());
                }
                trans_b
            }
            _ => return Err("it is no matrix product".into()),
        };
        let x = first_input(cx, n).ok_or("its first input is missing")?;
        let weight = node
            .inputs
            .get(1)
            .copied()
            .flatten()
            .ok_or("its second input is missing")?;
        if !cx.graph.is_constant(weight) {
            return Err("its weight is computed".into());
        }
        let (x, w) = (cx.shape(x).map_err(|f| f.0)?, cx.shape(weight).map_err(|f| f.0)?);
        let (&[a, b], [.., k]) = (w.as_slice(), x.as_slice()) else {
            return Err(format!("a weight of rank {} has no integer rule", w.len()));
        };
        let (inputs, outputs) = if by_output { (b, a) } else { (a, b) };
        if *k != inputs {
            return Err("its shapes do not fit together".into());
        }
        Ok(Linear {
            rows: x.iter().rev().skip(1).product(),
            inputs,
            outputs,
            by_output,
        })
    }

    /// As a convolution over rows.
    fn shape(&self) -> ConvShape {
        ConvShape {
            batch: 1,
            in_channels: self.inputs,
            out_channels: self.outputs,
            groups: 1,
            input: [1, 1, self.rows],
            output: [1, 1, self.rows],
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0; 3],
        }
    }

    /// A matrix as `[outputs, inputs]`.
    fn by_output<T: Copy>(&self, weights: Vec<T>) -> Vec<T> {
        if self.by_output {
            return weights;
        }
        let at = |o: usize, i: usize| weights[i * self.outputs + o];
        (0..self.outputs)
            .flat_map(|o| (0..self.inputs).map(move |i| (o, i)))
            .map(|(o, i)| at(o, i))
            .collect()
    }

    /// Rows as pixels of channels.
    fn pixels(&self, view: &View, channels: usize) -> View {
        View {
            buffer: view.buffer,
            offset: 0,
            shape: vec![1, channels, self.rows],
            strides: vec![self.rows * channels, 1, channels],
        }
    }
}

pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), No> {
    let (x, from) = edge_in(cx, n, 0)?;
    let linear = Linear::of(cx, n)?;
    let q = quantized(cx, n, usize::from(!linear.by_output))?;
    let behind = Behind::of(cx, n, from, &q, linear.outputs)?;
    let shape = linear.shape();
    let levels = linear.by_output(q.levels);
    let rank = cx.shape(x).map_err(|f| f.0)?.len();
    if rank == 2
        && let Some(sums) = behind.handed_on(cx, n, from, &levels, &q.scales)
    {
        let input = whole(cx, x, Repr::Codes).map_err(|f| f.0)?;
        let y = cx.shape(behind.output).map_err(|f| f.0)?;
        return behind.sums(
            cx,
            sums,
            &shape,
            (&levels, q.stored_bytes),
            &input,
            (y, onnx_order(2)),
        );
    }
    let conv = cx
        .convolution(&shape, false, &levels, &behind.epilogue)
        .map_err(No::bound)?;
    cx.levels = levels;
    let input = whole(cx, x, Repr::Codes).map_err(|f| f.0)?;
    behind.fuse(cx);
    let (repr, kind) = match behind.codes {
        true => (Repr::Codes, Kind::Codes),
        false => (Repr::Real, Kind::Reals),
    };
    let y = output(cx, behind.output, kind).map_err(|f| f.0)?;
    cx.product(shape.macs(), q.stored_bytes, conv.packed_bytes());
    let (from, to) = (
        linear.pixels(&input, linear.inputs),
        linear.pixels(&y, linear.outputs),
    );
    emit_integer(cx, conv, &from, &to, behind.codes)?;
    cx.hold(behind.output, repr, y);
    Ok(())
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let node = cx.node(n);
    let Ok(linear) = Linear::of(cx, n) else {
        return two_edges(cx, n);
    };
    let x = first_input(cx, n).ok_or("its first input is missing")?;
    let weight = node.inputs[1].ok_or("its second input is missing")?;
    let bias = match node.inputs.get(2).copied().flatten() {
        None => None,
        Some(b) if cx.graph.is_constant(b) => match cx.weight(b)? {
            bias if bias.len() == linear.outputs && cx.shape(b)?.last() == Some(&linear.outputs) => {
                Some(bias)
            }
            bias if bias.len() == 1 => Some(vec![bias[0]; linear.outputs]),
            _ => return fallback::float(cx, n),
        },
        Some(_) => return fallback::float(cx, n),
    };
    let weights = linear.by_output(cx.weight(weight)?);
    let (activation, value) = activation_behind(cx, n);
    let shape = linear.shape();
    let conv = float::Conv::new(&shape, &weights, bias.as_deref(), activation, cx.isa())
        .map_err(|e| e.to_string())?;
    let input = whole(cx, x, Repr::Real)?;
    let y = output(cx, value, Kind::Reals)?;
    cx.product(shape.macs(), stored(cx, weight), conv.packed_bytes());
    let (from, to) = (
        linear.pixels(&input, linear.inputs),
        linear.pixels(&y, linear.outputs),
    );
    emit_float(cx, conv, &from, &to)?;
    cx.hold_float(value, y);
    Ok(())
}

/// MatMul of two computed operands.
fn two_edges(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let node = cx.node(n);
    let (Op::MatMul, &[Some(a), Some(b)]) = (&node.op, node.inputs.as_slice()) else {
        return fallback::float(cx, n);
    };
    if !cx.is_plain(b) {
        return fallback::float(cx, n);
    }
    let (a_shape, b_shape, y_shape) = (cx.shape(a)?, cx.shape(b)?, cx.shape(node.outputs[0])?);
    let ([.., m, k], [.., _, columns]) = (a_shape.as_slice(), b_shape.as_slice()) else {
        return fallback::float(cx, n);
    };
    let lead = |s: &[usize]| s[..s.len() - 2].to_vec();
    let y_lead = lead(&y_shape[..y_shape.len().max(2)]);
    let batch: usize = y_lead.iter().product();
    let shared = |s: &[usize]| lead(s).iter().all(|&d| d == 1);
    let whole_batch = |s: &[usize]| lead(s) == y_lead;
    let fits = |s: &[usize]| shared(s) || whole_batch(s);
    if y_shape.len() < 2 || !fits(&a_shape) || !fits(&b_shape) {
        return fallback::float(cx, n);
    }
    let shape = MatMul {
        batch,
        m: *m,
        k: *k,
        n: *columns,
        a_shared: shared(&a_shape) && batch != 1,
        b_shared: shared(&b_shape) && batch != 1,
    };
    cx.product(batch * m * k * columns, 0, 0);
    let (x, w) = (whole(cx, a, Repr::Real)?, whole(cx, b, Repr::Real)?);
    let y = output(cx, node.outputs[0], Kind::Reals)?;
    let isa = cx.isa();
    cx.emit("matmul_f32", &[x.buffer, w.buffer], &[y.buffer], {
        let (x, w) = (x.offset..x.offset + x.len(), w.offset..w.offset + w.len());
        Box::new(move |mut io| {
            let (pool, a, b) = (io.pool, &io.reals(0)[x.clone()], &io.reals(1)[w.clone()]);
            matmul(pool, isa, &shape, a, b, io.out_reals());
            Ok(())
        })
    });
    cx.hold_float(node.outputs[0], y);
    Ok(())
}

/// A value in ONNX order, at the start of its buffer where it is a matrix of rows.
fn whole(cx: &mut Compiler<'_>, v: ValueId, repr: Repr) -> Result<View, Fault> {
    let rank = cx.shape(v)?.len();
    let view = cx.need(v, repr, &Want::Order(onnx_order(rank)))?;
    match view.offset {
        0 => Ok(view),
        _ => Ok(cx.rearranged(&view, &onnx_order(rank), repr)),
    }
}

fn output(cx: &mut Compiler<'_>, v: ValueId, kind: Kind) -> Result<View, Fault> {
    let shape = cx.shape(v)?;
    let buffer = cx.buffer(kind, shape.iter().product());
    Ok(View::dense(buffer, &shape, &onnx_order(shape.len())))
}
