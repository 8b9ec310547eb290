//! Products with weights: each is a convolution or a transposed one.

use graph::shape::{conv_window, transposed_window};
use graph::{Conv, ConvTranspose, NodeId, Op, ValueId};
use kernels::ConvShape;
use kernels::float::backward::derivative_from_output;
use kernels::float::{BinaryOp, MatMul};

use super::super::build::{Builder, Order};
use super::super::error::Fault;
use super::super::instr::{Instr, Slot};
use super::super::{ParameterKind, Port};

pub(super) fn conv(b: &mut Builder<'_>, n: NodeId, op: &Conv) -> Result<(), Fault> {
    let (x, y) = (b.shape(b.input(n, 0)?)?, b.shape(b.graph.nodes[n].outputs[0])?);
    let shape = ConvShape::new(op.group, &x, &y, &conv_window(op, &x)?)?;
    let from = b.form(b.input(n, 0)?, Order::Last)?;
    product(b, n, shape, false, from, Order::Last)
}

pub(super) fn transposed(b: &mut Builder<'_>, n: NodeId, op: &ConvTranspose) -> Result<(), Fault> {
    let (x, y) = (b.shape(b.input(n, 0)?)?, b.shape(b.graph.nodes[n].outputs[0])?);
    let shape = ConvShape::new(op.conv.group, &x, &y, &transposed_window(op, &x)?)?;
    let from = b.form(b.input(n, 0)?, Order::Last)?;
    product(b, n, shape, true, from, Order::Last)
}

pub(super) fn gemm(b: &mut Builder<'_>, n: NodeId) -> Result<(), Fault> {
    let Op::Gemm {
        alpha,
        beta,
        trans_a,
        trans_b,
    } = b.graph.nodes[n].op
    else {
        return Err("it is no Gemm".into());
    };
    if alpha != 1.0 || beta != 1.0 || trans_a {
        return Err("alpha or beta is not 1, or its first input is transposed".into());
    }
    let (x, w) = (b.shape(b.input(n, 0)?)?, b.shape(b.input(n, 1)?)?);
    let (&[rows, inputs], &[first, second]) = (x.as_slice(), w.as_slice()) else {
        return Err("its inputs are no matrices".into());
    };
    if !b.graph.is_constant(b.input(n, 1)?) {
        return Err("its weight is computed".into());
    }
    let shape = ConvShape::matrix(rows, inputs, if trans_b { first } else { second });
    let mut from = b.form(b.input(n, 0)?, Order::Onnx)?;
    if b.options.dropout {
        from = masked(b, n, from, [rows, inputs])?;
    }
    product(b, n, shape, !trans_b, from, Order::Onnx)
}

/// x times a mask of dropout: one for each sample, the same in all its steps of time, which lie outermost.
fn masked(b: &mut Builder<'_>, n: NodeId, x: Slot, [rows, columns]: [usize; 2]) -> Result<Slot, Fault> {
    let batch = b.options.batch;
    if !rows.is_multiple_of(batch) {
        return Err("its rows are not those of the batch, which dropout takes".into());
    }
    let name = format!("mask of {}", b.graph.nodes[n].name);
    let shape = vec![batch, columns];
    let mask = b.slot(&name, batch * columns);
    b.masks.push((Port { name, shape }, mask));
    let y = b.slot("masked", rows * columns);
    b.emit(Instr::Binary {
        op: BinaryOp::Mul,
        a_shape: vec![rows / batch, batch * columns],
        b_shape: vec![1, batch * columns],
        a: x,
        b: mask,
        y,
    });
    Ok(y)
}

pub(super) fn mat_mul(b: &mut Builder<'_>, n: NodeId) -> Result<(), Fault> {
    let (a, c) = (b.input(n, 0)?, b.input(n, 1)?);
    let (x, w) = (b.shape(a)?, b.shape(c)?);
    if let (true, &[inputs, outputs]) = (b.graph.is_constant(c), w.as_slice()) {
        let rows = x.iter().product::<usize>() / inputs.max(1);
        let from = b.form(a, Order::Onnx)?;
        return product(
            b,
            n,
            ConvShape::matrix(rows, inputs, outputs),
            true,
            from,
            Order::Onnx,
        );
    }
    let ([batch @ .., m, k], [other @ .., _, columns]) = (x.as_slice(), w.as_slice()) else {
        return Err("its inputs have less than two axes".into());
    };
    if batch != other {
        return Err("its batches broadcast".into());
    }
    let op = MatMul {
        batch: batch.iter().product(),
        m: *m,
        k: *k,
        n: *columns,
        a_shared: false,
        b_shared: false,
    };
    let (a, c) = (b.form(a, Order::Onnx)?, b.form(c, Order::Onnx)?);
    let output = b.graph.nodes[n].outputs[0];
    let y = b.slot(b.name(output), op.batch * op.m * op.n);
    b.emit(Instr::MatMul { op, a, b: c, y });
    b.define(output, Order::Onnx, y)
}

/// Emits the product, its bias, and the activation behind it where its derivative follows from the output.
fn product(
    b: &mut Builder<'_>,
    n: NodeId,
    shape: ConvShape,
    transposed: bool,
    x: Slot,
    order: Order,
) -> Result<(), Fault> {
    let node = &b.graph.nodes[n];
    let weight = b.input(n, 1)?;
    if !b.graph.is_constant(weight) {
        return Err("its weight is computed".into());
    }
    let weight = b.parameter(
        weight,
        ParameterKind::Weight {
            node: node.name.clone(),
        },
    )?;
    let bias = bias(b, n, node.inputs.get(2).copied().flatten(), shape.out_channels)?;
    let (activation, output) = b.fuse(node.outputs[0], derivative_from_output)?;
    let y = b.slot(
        b.name(output),
        shape.batch * shape.output.iter().product::<usize>() * shape.out_channels,
    );
    b.emit(Instr::Conv {
        shape,
        transposed,
        activation,
        x,
        weight,
        bias,
        y,
    });
    b.define(output, order, y)
}

fn bias(b: &mut Builder<'_>, n: NodeId, v: Option<ValueId>, channels: usize) -> Result<Option<Slot>, Fault> {
    let Some(v) = v else { return Ok(None) };
    let node = b.graph.nodes[n].name.clone();
    if !b.graph.is_constant(v) || b.shape(v)?.iter().product::<usize>() != channels {
        return Err("its bias is computed, or is not one number per channel".into());
    }
    b.parameter(v, ParameterKind::Bias { node }).map(Some)
}

/// The product of which this one is the input gradient, and the other way around.
pub(in super::super) fn flipped(s: &ConvShape) -> ConvShape {
    ConvShape {
        in_channels: s.out_channels,
        out_channels: s.in_channels,
        input: s.output,
        output: s.input,
        ..s.clone()
    }
}
