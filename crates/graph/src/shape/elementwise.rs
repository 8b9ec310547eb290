//! Element-wise operators of one, two and more inputs.

use tensor::DType;

use super::dims::{broadcast, show};
use super::{Call, Dim, ShapeFault, TensorType, one};
use crate::op::{Binary, Op, Unary};

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    match op {
        Op::Unary(u) => unary(*u, call),
        Op::Binary(b) => binary(*b, call),
        Op::Clip => {
            let x = call.input(0)?;
            for i in [1, 2] {
                if let Some(dims) = call
                    .dims(i)
                    .filter(|d| !d.iter().all(|d| d.is_none_or(|n| n == 1)))
                {
                    return Err(ShapeFault::bad(format!(
                        "a bound must be one number, it has shape {}",
                        show(dims)
                    )));
                }
            }
            Ok(one(call.same_dtype([0, 1, 2])?, x.shape.clone()))
        }
        Op::Where => {
            if let Some(other) = call.dtype(0).filter(|&d| d != DType::Bool) {
                return Err(ShapeFault::bad(format!(
                    "the condition must be Bool, it is {other:?}"
                )));
            }
            let shape = broadcast_all(&[call.input(0)?, call.input(1)?, call.input(2)?])?;
            Ok(one(call.same_dtype([1, 2])?, shape))
        }
        _ => {
            let all = call.all()?;
            Ok(one(call.same_dtype(0..all.len())?, broadcast_all(&all)?))
        }
    }
}

fn unary(op: Unary, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let x = call.input(0)?;
    let dtype = match op {
        Unary::Not => match x.dtype {
            None | Some(DType::Bool) => Some(DType::Bool),
            Some(other) => return Err(ShapeFault::bad(format!("input 0 must be Bool, it is {other:?}"))),
        },
        Unary::IsNaN => {
            call.expect_float(0)?;
            Some(DType::Bool)
        }
        Unary::Relu | Unary::Neg | Unary::Abs | Unary::Sign => match x.dtype {
            Some(DType::Bool) => return Err(ShapeFault::bad("input 0 must be a number, it is Bool")),
            other => other,
        },
        _ => {
            call.expect_float(0)?;
            x.dtype
        }
    };
    Ok(one(dtype, x.shape.clone()))
}

fn binary(op: Binary, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let dtype = match op {
        // The exponent may have its own type.
        Binary::Pow => a.dtype,
        _ => call.same_dtype([0, 1])?,
    };
    let logical = matches!(op, Binary::And | Binary::Or | Binary::Xor);
    let equal = op == Binary::Equal;
    match dtype {
        Some(DType::Bool) if !logical && !equal => {
            return Err(ShapeFault::bad("its inputs must be numbers, they are Bool"));
        }
        Some(other) if logical && other != DType::Bool => {
            return Err(ShapeFault::bad(format!(
                "its inputs must be Bool, they are {other:?}"
            )));
        }
        _ => {}
    }
    let dtype = match op {
        Binary::Equal
        | Binary::Less
        | Binary::LessOrEqual
        | Binary::Greater
        | Binary::GreaterOrEqual
        | Binary::And
        | Binary::Or
        | Binary::Xor => Some(DType::Bool),
        _ => dtype,
    };
    let shape = match (op, &a.shape, &b.shape) {
        // The slope broadcasts to x, never x to the slope.
        (Binary::PRelu, Some(x), Some(slope)) => {
            let both = broadcast(x, slope)?;
            if both.len() != x.len() || both.iter().zip(x).any(|(b, x)| x.is_some() && b != x) {
                let (x, slope) = (show(x), show(slope));
                return Err(ShapeFault::bad(format!(
                    "the slope's shape {slope} does not broadcast to x's {x}"
                )));
            }
            Some(x.clone())
        }
        (Binary::PRelu, ..) => a.shape.clone(),
        _ => broadcast_all(&[a, b])?,
    };
    Ok(one(dtype, shape))
}

fn broadcast_all(types: &[&TensorType]) -> Result<Option<Vec<Dim>>, ShapeFault> {
    let mut out: Option<Vec<Dim>> = Some(Vec::new());
    for t in types {
        out = match (&out, &t.shape) {
            (Some(a), Some(b)) => Some(broadcast(a, b)?),
            _ => None,
        };
    }
    Ok(out)
}
