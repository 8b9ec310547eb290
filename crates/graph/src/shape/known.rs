//! Elements of small tensors that follow from shapes, wholly or in part.
//!
//! Exporters compute shapes with tensors: `Shape` → `Gather` → `Mul` → `Concat` → `Reshape`. With a dynamic batch some elements are unknown
//! and the others still fix the result's rank and most of its dimensions, so each element is known or not on its own.

use tensor::{DType, Data, Tensor};

use super::TensorType;
use super::dims::normalize_axis;
use super::layout::{SliceAxis, slice_bounds};
use crate::op::{Binary, Op, ReduceKind, Unary};

/// Largest tensor followed; shapes have as many elements as a tensor has dimensions.
const MAX_ELEMENTS: usize = 1024;

/// One element: integers and booleans exactly, floats as f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Real(f32),
}

/// A small tensor, each element known or not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    dtype: DType,
    shape: Vec<usize>,
    values: Vec<Option<Number>>,
}

impl Known {
    fn new(dtype: DType, shape: Vec<usize>, values: Vec<Option<Number>>) -> Option<Known> {
        let fits = values.len() <= MAX_ELEMENTS && tensor::numel(&shape) == Ok(values.len());
        fits.then_some(Known { dtype, shape, values })
    }

    /// The elements of a small integer, boolean or f32 tensor.
    pub(crate) fn of_tensor(t: &Tensor) -> Option<Known> {
        if t.len() > MAX_ELEMENTS {
            return None;
        }
        let values = match t.data() {
            Data::F32(v) => v.iter().map(|&x| Some(Number::Real(x))).collect(),
            Data::Bool(v) => v.iter().map(|&x| Some(Number::Int(x.into()))).collect(),
            _ => t.to_i64()?.into_iter().map(|x| Some(Number::Int(x))).collect(),
        };
        Known::new(t.dtype(), t.shape().to_vec(), values)
    }

    /// The tensor, when every element is known and of a type that shapes are computed in.
    pub(crate) fn to_tensor(&self) -> Option<Tensor> {
        let data: Data = match self.dtype {
            DType::I64 => self.all_ints()?.into(),
            DType::I32 => self
                .all_ints()?
                .into_iter()
                .map(|x| i32::try_from(x).ok())
                .collect::<Option<Vec<i32>>>()?
                .into(),
            DType::Bool => self
                .all_ints()?
                .into_iter()
                .map(|x| x != 0)
                .collect::<Vec<bool>>()
                .into(),
            DType::F32 => self.reals()?.into(),
            _ => return None,
        };
        Tensor::new(self.shape.clone(), data).ok()
    }

    /// Integer elements; `None` for floats.
    pub(super) fn ints(&self) -> Option<Vec<Option<i64>>> {
        self.values
            .iter()
            .map(|v| match v {
                None => Some(None),
                Some(Number::Int(i)) => Some(Some(*i)),
                Some(Number::Real(_)) => None,
            })
            .collect()
    }

    fn all_ints(&self) -> Option<Vec<i64>> {
        self.ints()?.into_iter().collect()
    }

    /// Float elements, when all are known.
    pub(super) fn reals(&self) -> Option<Vec<f32>> {
        self.values
            .iter()
            .map(|v| match v {
                Some(Number::Real(x)) => Some(*x),
                _ => None,
            })
            .collect()
    }

    fn at(&self, flat: usize) -> Option<Number> {
        self.values.get(flat).copied().flatten()
    }
}

/// Elements of an operator's outputs, where they follow from `known` and the inputs' shapes. The operator's own rule has passed.
pub(super) fn evaluate(
    op: &Op,
    types: &[Option<&TensorType>],
    known: &[Option<&Known>],
    outputs: &[TensorType],
) -> Vec<Option<Known>> {
    let mut results = vec![None; outputs.len()];
    if let (Op::Split { axis }, Some(x)) = (op, known.first().copied().flatten()) {
        split(x, *axis, outputs, &mut results);
    } else if let (Some(slot), Some(output)) = (results.first_mut(), outputs.first()) {
        *slot = single(op, types, known, output);
    }
    results
}

fn single(
    op: &Op,
    types: &[Option<&TensorType>],
    known: &[Option<&Known>],
    output: &TensorType,
) -> Option<Known> {
    let input = |i: usize| known.get(i).copied().flatten();
    let dims = |i: usize| types.get(i).copied().flatten()?.shape.as_deref();
    match op {
        Op::Shape { start, end } => {
            let dims = dims(0)?;
            let range = super::constant::shape_range(*start, *end, dims.len());
            let values: Vec<_> = dims.get(range)?.iter().map(|d| number(*d)).collect();
            Known::new(DType::I64, vec![values.len()], values)
        }
        Op::Size => {
            let n = super::dims::product(dims(0)?).ok()?;
            Known::new(DType::I64, Vec::new(), vec![number(n)])
        }
        Op::ConstantOfShape { value } => {
            let shape = output.fixed_shape()?;
            let n = tensor::numel(&shape).ok().filter(|&n| n <= MAX_ELEMENTS)?;
            let value = Known::of_tensor(value)?.at(0);
            Known::new(output.dtype?, shape, vec![value; n])
        }
        Op::Range => {
            let shape = output.fixed_shape()?;
            let n = *shape.first().filter(|&&n| n <= MAX_ELEMENTS)?;
            let (Number::Int(start), Number::Int(step)) = (input(0)?.at(0)?, input(2)?.at(0)?) else {
                return None;
            };
            let values = (0..n as i64).map(|i| i.checked_mul(step)?.checked_add(start).map(Number::Int));
            Known::new(output.dtype?, shape, values.collect())
        }
        Op::Concat { axis } => {
            let parts: Vec<&Known> = (0..known.len()).map(input).collect::<Option<_>>()?;
            concat(&parts, *axis, output)
        }
        Op::Gather { axis } => gather(input(0)?, input(1)?, *axis, output),
        Op::Slice => {
            let x = input(0)?;
            let given = |i: usize| types.get(i).copied().flatten().is_some();
            let list = |i: usize| input(i).and_then(Known::ints);
            let axes = given(3).then(|| list(3)?.into_iter().collect());
            let steps = given(4).then(|| list(4));
            let cuts = slice_bounds(&list(1), &list(2), axes, steps, x.shape.len()).ok()??;
            let [(0, Some(SliceAxis { start, end, step, .. }))] = cuts[..] else {
                return None;
            };
            let [n] = x.shape[..] else { return None };
            let indices = super::layout::slice_indices(n, start, end, step);
            let values = indices.map(|i| x.at(i)).collect::<Vec<_>>();
            Known::new(x.dtype, vec![values.len()], values)
        }
        Op::Reshape { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Flatten { .. }
        | Op::Identity
        | Op::Dropout => {
            let x = input(0)?;
            Known::new(x.dtype, output.fixed_shape()?, x.values.clone())
        }
        Op::Cast { to } => {
            let x = input(0)?;
            let values = x.values.iter().map(|v| cast((*v)?, *to)).collect();
            Known::new(*to, x.shape.clone(), values)
        }
        Op::Unary(u) => {
            let x = input(0)?;
            let values = x.values.iter().map(|v| unary(*u, (*v)?)).collect();
            Known::new(output.dtype?, x.shape.clone(), values)
        }
        Op::Binary(b) => {
            let f = |args: &[Number]| match args {
                [a, b2] => binary(*b, *a, *b2),
                _ => None,
            };
            element_by_element(&[input(0)?, input(1)?], output, f)
        }
        Op::Max | Op::Min | Op::Sum => {
            let parts: Vec<&Known> = (0..known.len()).map(input).collect::<Option<_>>()?;
            let f = |args: &[Number]| {
                let mut rest = args.iter().copied();
                let first = rest.next()?;
                rest.try_fold(first, |a, b| match op {
                    Op::Max => larger(a, b, true),
                    Op::Min => larger(a, b, false),
                    _ => binary(Binary::Add, a, b),
                })
            };
            element_by_element(&parts, output, f)
        }
        Op::Where => {
            let f = |args: &[Number]| match args {
                [Number::Int(c), x, y] => Some(if *c != 0 { *x } else { *y }),
                _ => None,
            };
            element_by_element(&[input(0)?, input(1)?, input(2)?], output, f)
        }
        Op::Expand | Op::Tile => {
            let x = input(0)?;
            // Only the repetition of one number is met in shape arithmetic.
            let [value] = x.values[..] else { return None };
            let shape = output.fixed_shape()?;
            let n = tensor::numel(&shape).ok().filter(|&n| n <= MAX_ELEMENTS)?;
            Known::new(x.dtype, shape, vec![value; n])
        }
        // Others change even a number that is alone.
        Op::Reduce {
            kind: kind @ (ReduceKind::Sum | ReduceKind::Prod | ReduceKind::Max | ReduceKind::Min),
            ..
        } => {
            let shape = output.fixed_shape()?;
            if tensor::numel(&shape) != Ok(1) {
                return None;
            }
            let mut values = input(0)?.values.iter().copied();
            let first = values.next()??;
            let total = values.try_fold(first, |a, b| match kind {
                ReduceKind::Sum => binary(Binary::Add, a, b?),
                ReduceKind::Prod => binary(Binary::Mul, a, b?),
                ReduceKind::Max => larger(a, b?, true),
                ReduceKind::Min => larger(a, b?, false),
                _ => None,
            });
            Known::new(output.dtype?, shape, vec![total])
        }
        _ => None,
    }
}

fn number(d: Option<usize>) -> Option<Number> {
    d.and_then(|d| i64::try_from(d).ok()).map(Number::Int)
}

fn split(x: &Known, axis: i64, outputs: &[TensorType], results: &mut [Option<Known>]) {
    let ([n], Ok(0)) = (&x.shape[..], normalize_axis(axis, x.shape.len())) else {
        return;
    };
    let mut at = 0usize;
    for (output, result) in outputs.iter().zip(results) {
        let Some([len]) = output
            .fixed_shape()
            .as_deref()
            .map(|s| <[usize; 1]>::try_from(s).unwrap_or([*n + 1]))
        else {
            return;
        };
        let Some(part) = at.checked_add(len).and_then(|end| x.values.get(at..end)) else {
            return;
        };
        *result = Known::new(x.dtype, vec![len], part.to_vec());
        at += len;
    }
}

fn concat(parts: &[&Known], axis: i64, output: &TensorType) -> Option<Known> {
    let shape = output.fixed_shape()?;
    if normalize_axis(axis, shape.len()).ok()? != 0 {
        return None;
    }
    let values = parts.iter().flat_map(|p| p.values.iter().copied()).collect();
    Known::new(output.dtype?, shape, values)
}

fn gather(x: &Known, indices: &Known, axis: i64, output: &TensorType) -> Option<Known> {
    let [n] = x.shape[..] else { return None };
    normalize_axis(axis, 1).ok()?;
    let values = indices
        .ints()?
        .into_iter()
        .map(|i| x.at(normalize_axis(i?, n).ok()?))
        .collect();
    Known::new(x.dtype, output.fixed_shape()?, values)
}

/// Applies a function to broadcast elements; an element is known where the function's arguments and result are.
fn element_by_element(
    parts: &[&Known],
    output: &TensorType,
    f: impl Fn(&[Number]) -> Option<Number>,
) -> Option<Known> {
    let shape = output.fixed_shape()?;
    let n = tensor::numel(&shape).ok().filter(|&n| n <= MAX_ELEMENTS)?;
    let strides = tensor::strides(&shape);
    let values = (0..n)
        .map(|flat| {
            let args: Vec<Number> = parts
                .iter()
                .map(|p| p.at(broadcast_index(flat, &shape, &strides, &p.shape)))
                .collect::<Option<_>>()?;
            f(&args)
        })
        .collect();
    Known::new(output.dtype?, shape, values)
}

/// Flat index in a tensor of shape `from` that broadcasts to the element `flat` of `shape`.
fn broadcast_index(flat: usize, shape: &[usize], strides: &[usize], from: &[usize]) -> usize {
    let offset = shape.len().saturating_sub(from.len());
    let from_strides = tensor::strides(from);
    from.iter()
        .zip(&from_strides)
        .zip(shape.iter().zip(strides).skip(offset))
        .map(|((&d, &s), (&full, &full_stride))| {
            if d == 1 {
                0
            } else {
                flat / full_stride % full.max(1) * s
            }
        })
        .sum()
}

fn cast(v: Number, to: DType) -> Option<Number> {
    match (v, to) {
        (Number::Int(i), DType::I64) => Some(Number::Int(i)),
        (Number::Int(i), DType::I32) => i32::try_from(i).ok().map(|i| Number::Int(i.into())),
        (Number::Int(i), DType::Bool) => Some(Number::Int(i64::from(i != 0))),
        (Number::Int(i), DType::F32) => Some(Number::Real(i as f32)),
        (Number::Real(x), DType::F32) => Some(Number::Real(x)),
        // Beyond 2^31 the result would depend on the machine.
        (Number::Real(x), DType::I64 | DType::I32) if x.abs() < 2_147_483_648.0 => {
            Some(Number::Int(x.trunc() as i64))
        }
        _ => None,
    }
}

fn unary(op: Unary, v: Number) -> Option<Number> {
    Some(match (op, v) {
        (Unary::Neg, Number::Int(i)) => Number::Int(i.checked_neg()?),
        (Unary::Abs, Number::Int(i)) => Number::Int(i.checked_abs()?),
        (Unary::Not, Number::Int(i)) => Number::Int(i64::from(i == 0)),
        (Unary::Neg, Number::Real(x)) => Number::Real(-x),
        (Unary::Abs, Number::Real(x)) => Number::Real(x.abs()),
        (Unary::Floor, Number::Real(x)) => Number::Real(x.floor()),
        (Unary::Ceil, Number::Real(x)) => Number::Real(x.ceil()),
        (Unary::Round, Number::Real(x)) => Number::Real(x.round_ties_even()),
        _ => return None,
    })
}

fn binary(op: Binary, a: Number, b: Number) -> Option<Number> {
    use Number::{Int, Real};
    Some(match (op, a, b) {
        (Binary::Add, Int(a), Int(b)) => Int(a.checked_add(b)?),
        (Binary::Sub, Int(a), Int(b)) => Int(a.checked_sub(b)?),
        (Binary::Mul, Int(a), Int(b)) => Int(a.checked_mul(b)?),
        // Truncates, as in C.
        (Binary::Div, Int(a), Int(b)) => Int(a.checked_div(b)?),
        (Binary::Mod { fmod: true }, Int(a), Int(b)) => Int(a.checked_rem(b)?),
        (Binary::Mod { fmod: false }, Int(a), Int(b)) => {
            let r = a.checked_rem(b)?;
            Int(if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
        }
        (Binary::Equal, Int(a), Int(b)) => Int((a == b).into()),
        (Binary::Less, Int(a), Int(b)) => Int((a < b).into()),
        (Binary::LessOrEqual, Int(a), Int(b)) => Int((a <= b).into()),
        (Binary::Greater, Int(a), Int(b)) => Int((a > b).into()),
        (Binary::GreaterOrEqual, Int(a), Int(b)) => Int((a >= b).into()),
        (Binary::And, Int(a), Int(b)) => Int((a != 0 && b != 0).into()),
        (Binary::Or, Int(a), Int(b)) => Int((a != 0 || b != 0).into()),
        (Binary::Xor, Int(a), Int(b)) => Int(((a != 0) != (b != 0)).into()),
        (Binary::Add, Real(a), Real(b)) => Real(a + b),
        (Binary::Sub, Real(a), Real(b)) => Real(a - b),
        (Binary::Mul, Real(a), Real(b)) => Real(a * b),
        (Binary::Div, Real(a), Real(b)) => Real(a / b),
        _ => return None,
    })
}

fn larger(a: Number, b: Number, wanted: bool) -> Option<Number> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(Number::Int(if wanted { a.max(b) } else { a.min(b) })),
        (Number::Real(a), Number::Real(b)) if !a.is_nan() && !b.is_nan() => {
            Some(Number::Real(if wanted { a.max(b) } else { a.min(b) }))
        }
        _ => None,
    }
}
