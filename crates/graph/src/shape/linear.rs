//! Gemm and MatMul.

use tensor::DType;

use super::dims::{broadcast, show, unify};
use super::{Call, Dim, ShapeFault, TensorType, one};
use crate::op::Op;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    call.input(0)?;
    call.input(1)?;
    for i in 0..3 {
        let allowed: &[DType] = match op {
            Op::Gemm { .. } => &[DType::F32, DType::F64, DType::I64],
            _ => &[
                DType::F32,
                DType::F64,
                DType::I64,
                DType::U64,
                DType::I32,
                DType::U32,
            ],
        };
        if let Some(other) = call.dtype(i).filter(|d| !allowed.contains(d)) {
            return Err(ShapeFault::unsupported(format!(
                "input {i} is {other:?}, supported are {allowed:?}"
            ))
            .help("put a Cast before it"));
        }
    }
    let shape = match op {
        Op::Gemm { trans_a, trans_b, .. } => Some(gemm(*trans_a, *trans_b, call)?),
        _ => match (call.dims(0), call.dims(1)) {
            (Some(a), Some(b)) => Some(matmul(a, b)?),
            _ => None,
        },
    };
    Ok(one(call.same_dtype([0, 1, 2])?, shape))
}

fn gemm(trans_a: bool, trans_b: bool, call: &Call<'_>) -> Result<Vec<Dim>, ShapeFault> {
    let matrix = |i: usize, transposed: bool| match call.dims(i) {
        None => Ok((None, None)),
        Some(&[a, b]) => Ok(if transposed { (b, a) } else { (a, b) }),
        Some(other) => Err(ShapeFault::bad(format!(
            "input {i} has shape {}, not two dimensions",
            show(other)
        ))),
    };
    let ((m, k), (k_b, n)) = (matrix(0, trans_a)?, matrix(1, trans_b)?);
    unify(k, k_b, "inner sizes of the two matrices")?;
    let shape = vec![m, n];
    if let Some(c) = call.dims(2) {
        let both = broadcast(&shape, c)?;
        if both.len() != 2 || shape.iter().zip(&both).any(|(s, b)| s.is_some() && s != b) {
            let (c, shape) = (show(c), show(&shape));
            return Err(ShapeFault::bad(format!(
                "input 2 of shape {c} does not broadcast to {shape}"
            )));
        }
    }
    Ok(shape)
}

/// Numpy's `matmul`: a vector counts as a row at the left, as a column at the right.
fn matmul(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, ShapeFault> {
    let (batch_a, m, k) = match a {
        [] => return Err(ShapeFault::bad("input 0 is a single number, not a matrix")),
        [k] => (&[][..], None, *k),
        [batch @ .., m, k] => (batch, Some(*m), *k),
    };
    let (batch_b, k_b, n) = match b {
        [] => return Err(ShapeFault::bad("input 1 is a single number, not a matrix")),
        [k] => (&[][..], *k, None),
        [batch @ .., k, n] => (batch, *k, Some(*n)),
    };
    unify(k, k_b, "inner sizes of the two matrices")?;
    let mut out = broadcast(batch_a, batch_b)?;
    out.extend(m.into_iter().chain(n));
    Ok(out)
}
