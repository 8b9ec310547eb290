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
            call.expect_number(0)?;
            for i in [1, 2] {
                call.expect_one(i, "a bound")?;
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
            for i in 0..all.len() {
                call.expect_number(i)?;
                if matches!(op, Op::Mean) {
                    call.expect_float(i)?;
                }
            }
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
        Unary::Abs | Unary::Sign => {
            call.expect_number(0)?;
            x.dtype
        }
        Unary::Relu | Unary::Neg => {
            call.expect_number(0)?;
            if let Some(other @ (DType::U8 | DType::U16 | DType::U32 | DType::U64)) = x.dtype {
                return Err(ShapeFault::bad(format!(
                    "input 0 must be of a type with a sign, it is {other:?}"
                )));
            }
            x.dtype
        }
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
    if op == Binary::Pow {
        call.expect_number(1)?;
    }
    if op == Binary::PRelu
        && let Some(other @ (DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::I16)) = dtype
    {
        return Err(ShapeFault::bad(format!(
            "input 0 must be F32, F64, I8, I32 or I64, it is {other:?}"
        ))
        .help("put a Cast before it"));
    }
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
