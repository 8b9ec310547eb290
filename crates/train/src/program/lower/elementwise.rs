//! Operators of single elements, normalizations.

use graph::{Binary, NodeId, Unary};
use kernels::float::backward::batch_norm_takes;
use kernels::float::{Activation, BinaryOp};
use kernels::picture;

use super::super::activation::activation;
use super::super::build::{Builder, Order, axis_in, in_order};
use super::super::error::Fault;
use super::super::instr::{Instr, Normalization};
use super::super::{BatchNormMode, ParameterKind};
use super::{NO_BACKWARD, axis_of, common_order};

pub(super) fn unary(b: &mut Builder<'_>, n: NodeId) -> Result<(), Fault> {
    let (v, output) = (b.input(n, 0)?, b.graph.nodes[n].outputs[0]);
    let order = b.order(v);
    let x = b.form(v, order)?;
    let y = b.slot(b.name(output), b.shape(output)?.iter().product());
    match (activation(b.graph, &b.graph.nodes[n]), &b.graph.nodes[n].op) {
        (Some(function), _) => b.emit(Instr::Activation { function, x, y }),
        (None, graph::Op::Unary(Unary::Neg)) => b.emit(Instr::Scale { gain: -1.0, x, y }),
        _ => return Err(NO_BACKWARD.into()),
    }
    b.define(output, order, y)
}

pub(super) fn binary(b: &mut Builder<'_>, n: NodeId, op: Binary) -> Result<(), Fault> {
    let (left, right) = (b.input(n, 0)?, b.input(n, 1)?);
    let op = match op {
        Binary::Add => BinaryOp::Add,
        Binary::Sub => BinaryOp::Sub,
        Binary::Mul => BinaryOp::Mul,
        Binary::Div => BinaryOp::Div,
        Binary::Pow => {
            let exponent = b.graph.constants.get(&right).and_then(|t| t.as_f32());
            if exponent != Some(&[2.0][..]) {
                return Err("its exponent is not 2".into());
            }
            return emit(b, n, BinaryOp::Mul, [left, left]);
        }
        Binary::PRelu => return parametric_relu(b, n, [left, right]),
        _ => return Err(NO_BACKWARD.into()),
    };
    emit(b, n, op, [left, right])
}

/// relu(x) + slope · (x − relu(x)): of slope 1 above 0, else `slope`.
fn parametric_relu(b: &mut Builder<'_>, n: NodeId, [value, slope]: [graph::ValueId; 2]) -> Result<(), Fault> {
    let output = b.graph.nodes[n].outputs[0];
    let shape = b.shape(output)?;
    let order = match shape.len() {
        0..3 => Order::Onnx,
        _ => common_order(b, n),
    };
    let x = b.form(value, order)?;
    let (slope, slope_shape) = b.operand(slope, shape.len(), order)?;
    let (name, here) = (b.name(output).to_string(), in_order(&shape, order));
    let [above, below, scaled, y] = ["/above", "/below", "/scaled", ""]
        .map(|part| b.slot(&format!("{name}{part}"), here.iter().product()));
    b.emit(Instr::Activation {
        function: Activation::Relu,
        x,
        y: above,
    });
    for (op, left, (right, right_shape), y) in [
        (BinaryOp::Sub, x, (above, &here), below),
        (BinaryOp::Mul, below, (slope, &slope_shape), scaled),
        (BinaryOp::Add, above, (scaled, &here), y),
    ] {
        b.emit(Instr::Binary {
            op,
            a_shape: here.clone(),
            b_shape: right_shape.clone(),
            a: left,
            b: right,
            y,
        });
    }
    b.define(output, order, y)
}

fn emit(
    b: &mut Builder<'_>,
    n: NodeId,
    op: BinaryOp,
    [left, right]: [graph::ValueId; 2],
) -> Result<(), Fault> {
    let output = b.graph.nodes[n].outputs[0];
    let shape = b.shape(output)?;
    let order = if shape.len() < 3 {
        Order::Onnx
    } else {
        common_order(b, n)
    };
    let (a, a_shape) = b.operand(left, shape.len(), order)?;
    let (c, b_shape) = b.operand(right, shape.len(), order)?;
    let y = b.slot(b.name(output), shape.iter().product());
    b.emit(Instr::Binary {
        op,
        a_shape,
        b_shape,
        a,
        b: c,
        y,
    });
    b.define(output, order, y)
}

/// Sum, or mean, of any number of operands.
pub(super) fn sum(b: &mut Builder<'_>, n: NodeId, mean: bool) -> Result<(), Fault> {
    let inputs: Vec<_> = b.graph.nodes[n].inputs.iter().flatten().copied().collect();
    let output = b.graph.nodes[n].outputs[0];
    let shape = b.shape(output)?;
    let order = common_order(b, n);
    let mut slots = Vec::with_capacity(inputs.len());
    for v in inputs {
        if b.shape(v)? != shape {
            return Err("its operands broadcast".into());
        }
        slots.push(b.form(v, order)?);
    }
    let gain = 1.0 / slots.len().max(1) as f32;
    let mut y = b.slot(b.name(output), shape.iter().product());
    b.emit(Instr::Sum { inputs: slots, y });
    if mean {
        let x = y;
        y = b.slot(b.name(output), shape.iter().product());
        b.emit(Instr::Scale { gain, x, y });
    }
    b.define(output, order, y)
}

pub(super) fn batch_norm(b: &mut Builder<'_>, n: NodeId, epsilon: f32) -> Result<(), Fault> {
    let node = &b.graph.nodes[n];
    let v = b.input(n, 0)?;
    let shape = b.shape(v)?;
    let (order, channels) = match shape.as_slice() {
        &[_, c] => (Order::Onnx, c),
        _ => (Order::Last, picture(&shape)?.1),
    };
    let x = b.form(v, order)?;
    let name = || node.name.clone();
    let kinds = [
        ParameterKind::Scale { node: name() },
        ParameterKind::Shift { node: name() },
        ParameterKind::RunningMean { node: name() },
        ParameterKind::RunningVariance { node: name() },
    ];
    let mut slots = Vec::with_capacity(4);
    for (i, kind) in kinds.into_iter().enumerate() {
        let parameter = b.input(n, i + 1)?;
        if !b.graph.is_constant(parameter) || b.shape(parameter)? != [channels] {
            return Err("its parameters are computed, or are not one number per channel".into());
        }
        slots.push(b.parameter(parameter, kind)?);
    }
    let [gamma, beta, mean, variance] = slots[..] else {
        unreachable!("four kinds")
    };
    let (activation, output) = b.fuse(node.outputs[0], batch_norm_takes)?;
    let op = Normalization {
        pixels: shape.iter().product::<usize>() / channels.max(1),
        channels,
        epsilon,
        momentum: match b.options.batch_norm {
            BatchNormMode::Batch { momentum } => Some(momentum),
            BatchNormMode::Frozen => None,
        },
        activation,
    };
    let saved = b.slot(&format!("{}/saved", node.name), 4 * channels);
    let y = b.slot(b.name(output), shape.iter().product());
    b.emit(Instr::BatchNorm {
        op,
        x,
        gamma,
        beta,
        mean,
        variance,
        saved,
        y,
    });
    b.define(output, order, y)
}

pub(super) fn softmax(b: &mut Builder<'_>, n: NodeId, axis: i64) -> Result<(), Fault> {
    let (v, output) = (b.input(n, 0)?, b.graph.nodes[n].outputs[0]);
    let shape = b.shape(v)?;
    let rank = shape.len();
    let axis = axis_of(axis, rank)?;
    let order = if axis == 1 && rank > 2 {
        Order::Last
    } else {
        Order::Onnx
    };
    let x = b.form(v, order)?;
    let (at, here) = (axis_in(axis, rank, order), in_order(&shape, order));
    // The axis last, and back.
    let mut axes: Vec<usize> = (0..rank).filter(|&a| a != at).collect();
    axes.push(at);
    let moved: Vec<usize> = axes.iter().map(|&a| here[a]).collect();
    let x = b.permute(x, &here, &axes);
    let y = b.slot(b.name(output), shape.iter().product());
    b.emit(Instr::Softmax {
        len: shape[axis],
        x,
        y,
    });
    let mut back = vec![0; rank];
    for (to, &from) in axes.iter().enumerate() {
        back[from] = to;
    }
    let y = b.permute(y, &moved, &back);
    b.define(output, order, y)
}
