//! Element-wise operators of one, two and more inputs.

use tensor::Tensor;

use super::{Context, MANY, Parsed, ReadFn, Row, row};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::write::NodeWriter;
use crate::op::{Binary, Op, Unary};

const fn unary(name: &'static str, read: ReadFn) -> Row {
    row(name, (1, 1), (1, 1), read)
}

const fn binary(name: &'static str, read: ReadFn) -> Row {
    row(name, (2, 2), (1, 1), read)
}

macro_rules! plain {
    ($op:expr) => {
        |_| Ok($op.into())
    };
}

pub(super) const ROWS: &[Row] = &[
    unary("Relu", plain!(Op::Unary(Unary::Relu))),
    unary("LeakyRelu", |c| {
        let alpha = c.attrs.float_or("alpha", 0.01)?;
        Ok(Op::Unary(Unary::LeakyRelu { alpha }).into())
    }),
    unary("Elu", |c| {
        let alpha = c.attrs.float_or("alpha", 1.0)?;
        Ok(Op::Unary(Unary::Elu { alpha }).into())
    }),
    unary("Selu", |c| {
        let alpha = c.attrs.float_or("alpha", 1.673_263_2)?;
        let gamma = c.attrs.float_or("gamma", 1.050_701)?;
        Ok(Op::Unary(Unary::Selu { alpha, gamma }).into())
    }),
    unary("Sigmoid", plain!(Op::Unary(Unary::Sigmoid))),
    unary("HardSigmoid", |c| {
        let alpha = c.attrs.float_or("alpha", 0.2)?;
        let beta = c.attrs.float_or("beta", 0.5)?;
        Ok(Op::Unary(Unary::HardSigmoid { alpha, beta }).into())
    }),
    unary("HardSwish", plain!(Op::Unary(Unary::HardSwish))),
    unary("Swish", |c| {
        let alpha = c.attrs.float_or("alpha", 1.0)?;
        Ok(Op::Unary(Unary::Swish { alpha }).into())
    }),
    unary("Mish", plain!(Op::Unary(Unary::Mish))),
    unary("Softplus", plain!(Op::Unary(Unary::Softplus))),
    unary("Softsign", plain!(Op::Unary(Unary::Softsign))),
    unary("Tanh", plain!(Op::Unary(Unary::Tanh))),
    unary("Erf", plain!(Op::Unary(Unary::Erf))),
    unary("Gelu", |c| {
        let tanh = c
            .attrs
            .choice("approximate", "none", &[("none", false), ("tanh", true)])?;
        Ok(Op::Unary(Unary::Gelu { tanh }).into())
    }),
    unary("Exp", plain!(Op::Unary(Unary::Exp))),
    unary("Log", plain!(Op::Unary(Unary::Log))),
    unary("Sqrt", plain!(Op::Unary(Unary::Sqrt))),
    unary("Reciprocal", plain!(Op::Unary(Unary::Reciprocal))),
    unary("Neg", plain!(Op::Unary(Unary::Neg))),
    unary("Abs", plain!(Op::Unary(Unary::Abs))),
    unary("Sign", plain!(Op::Unary(Unary::Sign))),
    unary("Floor", plain!(Op::Unary(Unary::Floor))),
    unary("Ceil", plain!(Op::Unary(Unary::Ceil))),
    unary("Round", plain!(Op::Unary(Unary::Round))),
    unary("Sin", plain!(Op::Unary(Unary::Sin))),
    unary("Cos", plain!(Op::Unary(Unary::Cos))),
    unary("Not", plain!(Op::Unary(Unary::Not))),
    unary("IsNaN", plain!(Op::Unary(Unary::IsNaN))),
    binary("Add", plain!(Op::Binary(Binary::Add))),
    binary("Sub", plain!(Op::Binary(Binary::Sub))),
    binary("Mul", plain!(Op::Binary(Binary::Mul))),
    binary("Div", plain!(Op::Binary(Binary::Div))),
    binary("Pow", plain!(Op::Binary(Binary::Pow))),
    binary("Mod", |c| {
        let fmod = c.attrs.flag("fmod", false)?;
        Ok(Op::Binary(Binary::Mod { fmod }).into())
    }),
    binary("PRelu", plain!(Op::Binary(Binary::PRelu))),
    binary("Equal", plain!(Op::Binary(Binary::Equal))),
    binary("Less", plain!(Op::Binary(Binary::Less))),
    binary("LessOrEqual", plain!(Op::Binary(Binary::LessOrEqual))),
    binary("Greater", plain!(Op::Binary(Binary::Greater))),
    binary("GreaterOrEqual", plain!(Op::Binary(Binary::GreaterOrEqual))),
    binary("And", plain!(Op::Binary(Binary::And))),
    binary("Or", plain!(Op::Binary(Binary::Or))),
    binary("Xor", plain!(Op::Binary(Binary::Xor))),
    row("Clip", (1, 3), (1, 1), clip),
    row("Max", (1, MANY), (1, 1), plain!(Op::Max)),
    row("Min", (1, MANY), (1, 1), plain!(Op::Min)),
    row("Sum", (1, MANY), (1, 1), plain!(Op::Sum)),
    row("Mean", (1, MANY), (1, 1), plain!(Op::Mean)),
    row("Where", (3, 3), (1, 1), plain!(Op::Where)),
];

/// Before opset 11 the bounds were attributes.
fn clip(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    if c.opset < 11 {
        if c.inputs.len() > 1 {
            return Err(LoadError::bad("bounds are inputs only from opset 11 on"));
        }
        for (i, name) in [(1, "min"), (2, "max")] {
            if let Some(v) = c.attrs.float(name)? {
                c.set_constant(i, name, Tensor::scalar(v));
            }
        }
    }
    Ok(Op::Clip.into())
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    match *op {
        Op::Unary(Unary::LeakyRelu { alpha } | Unary::Elu { alpha } | Unary::Swish { alpha }) => {
            node.float("alpha", alpha);
        }
        Op::Unary(Unary::Selu { alpha, gamma }) => {
            node.float("alpha", alpha);
            node.float("gamma", gamma);
        }
        Op::Unary(Unary::HardSigmoid { alpha, beta }) => {
            node.float("alpha", alpha);
            node.float("beta", beta);
        }
        Op::Unary(Unary::Gelu { tanh }) => {
            node.needs_opset(20);
            node.string("approximate", if tanh { "tanh" } else { "none" });
        }
        Op::Binary(Binary::Mod { fmod }) => node.flag("fmod", fmod),
        _ => {}
    }
}
