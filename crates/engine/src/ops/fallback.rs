//! Operators, types and shapes without a kernel: the oracle computes them, on tensors in ONNX order.

use graph::{IntegerRule, NodeId, ValueId};
use tensor::{DType, Data, Tensor};

use crate::compile::{Compiler, Repr, Want};
use crate::error::Fault;
use crate::memory::Kind;
use crate::run::{Io, Slice, SliceMut};
use crate::view::{View, onnx_order};

/// Where an input comes from.
enum Source {
    Missing,
    Constant(Tensor),
    /// f32 of read `i`, from an element on.
    Reals(usize, usize, Vec<usize>),
    /// The tensor of read `i`.
    Tensor(usize),
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let node = cx.node(n);
    let (mut sources, mut reads) = (Vec::new(), Vec::new());
    let mut bytes = 0usize;
    for input in &node.inputs {
        sources.push(match *input {
            None => Source::Missing,
            Some(v) => match source(cx, v)? {
                (source, None) => source,
                (source, Some(view)) => {
                    bytes = usize::saturating_add(bytes, view.len().saturating_mul(4));
                    reads.push(view.buffer);
                    match source {
                        Source::Reals(_, at, shape) => Source::Reals(reads.len() - 1, at, shape),
                        _ => Source::Tensor(reads.len() - 1),
                    }
                }
            },
        });
    }
    let mut writes = Vec::new();
    let mut views = Vec::new();
    for &v in &node.outputs {
        let view = if cx.is_plain(v) {
            let shape = cx.shape(v)?;
            let len = shape.iter().product();
            bytes = usize::saturating_add(bytes, usize::saturating_mul(len, 4));
            View::dense(cx.buffer(Kind::Reals, len), &shape, &onnx_order(shape.len()))
        } else {
            View::dense(cx.buffer(Kind::Tensor, 0), &[], &[])
        };
        writes.push(view.buffer);
        views.push(view);
    }
    cx.temporary(bytes);
    let (op, outputs) = (node.op.clone(), node.outputs.len());
    let shapes: Vec<Vec<usize>> = views.iter().map(|v| v.shape.clone()).collect();
    if op.integer_rule() == Some(IntegerRule::Product) {
        let macs = usize::try_from(graph::shape::macs(cx.graph, node)).unwrap_or(usize::MAX);
        let stored = match node.inputs.get(1).copied().flatten() {
            Some(w) => super::weights::stored(cx, w),
            None => 0,
        };
        cx.product(macs, stored, stored);
    }
    cx.emit("reference", &reads, &writes, {
        Box::new(move |mut io| {
            let inputs = sources
                .iter()
                .map(|s| input(&io, s))
                .collect::<Result<Vec<_>, String>>()?;
            let borrowed: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_ref).collect();
            let results = oracle::evaluate(&op, &borrowed, outputs)?;
            if results.len() < outputs {
                return Err(format!("{} outputs, {outputs} are used", results.len()));
            }
            for (i, (result, shape)) in results.into_iter().zip(&shapes).enumerate() {
                output(&mut io, i, result, shape)?;
            }
            Ok(())
        })
    });
    for (&v, view) in node.outputs.iter().zip(views) {
        if cx.is_plain(v) {
            cx.hold_float(v, view);
        } else if cx.edges.contains_key(&v) {
            return Err(Fault::unknown(cx.graph, v));
        } else {
            cx.hold(v, Repr::Tensor, view);
        }
    }
    Ok(())
}

/// An input, and the view that the instruction has to read for it.
fn source(cx: &mut Compiler<'_>, v: ValueId) -> Result<(Source, Option<View>), Fault> {
    if let Some(tensor) = cx.graph.constants.get(&v) {
        return Ok((Source::Constant(tensor.clone()), None));
    }
    if let Some(weight) = cx.graph.weights.get(&v) {
        let tensor = Tensor::new(weight.shape.clone(), weight.decode()).map_err(|e| e.to_string())?;
        return Ok((Source::Constant(tensor), None));
    }
    if let Some(view) = cx.tensor(v) {
        return Ok((Source::Tensor(0), Some(view)));
    }
    let rank = cx.shape(v)?.len();
    let view = cx.need(v, Repr::Real, &Want::Order(onnx_order(rank)))?;
    Ok((Source::Reals(0, view.offset, view.shape.clone()), Some(view)))
}

fn input(io: &Io<'_>, source: &Source) -> Result<Option<Tensor>, String> {
    Ok(match source {
        Source::Missing => None,
        Source::Constant(tensor) => Some(tensor.clone()),
        Source::Reals(i, at, shape) => {
            let len: usize = shape.iter().product();
            let x = io.reals(*i)[*at..*at + len].to_vec();
            Some(Tensor::new(shape.clone(), x).map_err(|e| e.to_string())?)
        }
        Source::Tensor(i) => match io.reads[*i] {
            Slice::Tensor(Some(tensor)) => Some(tensor.clone()),
            _ => return Err(format!("input {i} was not computed")),
        },
    })
}

fn output(io: &mut Io<'_>, i: usize, result: Tensor, shape: &[usize]) -> Result<(), String> {
    match &mut io.writes[i] {
        SliceMut::Tensor(slot) => **slot = Some(result),
        SliceMut::Reals(y) => match result.data() {
            Data::F32(x) if result.shape() == shape => y.copy_from_slice(x),
            _ => {
                let (have, dtype) = (result.shape(), result.dtype());
                return Err(format!(
                    "it gives {dtype:?} {have:?}, shape inference said {:?} {shape:?}",
                    DType::F32
                ));
            }
        },
        SliceMut::Codes(_) => return Err("codes are written by integer rules alone".into()),
    }
    Ok(())
}
