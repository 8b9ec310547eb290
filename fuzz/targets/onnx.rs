//! One model: read, written and read back, shapes inferred, simplified, compiled, and run when it is small.

use std::collections::HashMap;
use std::sync::LazyLock;

use engine::{Options, compile};
use graph::onnx::{Form, Limits, ReadOptions, WriteOptions, read, write};
use graph::passes::{Budget, simplify};
use graph::shape::{TensorType, rule};
use graph::{Graph, Node, Op, ValueId};
use kernels::Pool;
use oracle::{Program, Reference};
use tensor::{DType, Data, Tensor};

pub const WORDS: &[&str] = &[];

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(1));

/// Elements of all tensors of a model that is run.
const SMALL: usize = 1 << 20;

pub fn target(bytes: &[u8]) {
    let options = ReadOptions {
        limits: Limits {
            model_bytes: 1 << 20,
            tensor_bytes: 4 << 20,
            constant_bytes: 16 << 20,
            nodes: 1_000,
            ..Limits::default()
        },
        ..ReadOptions::default()
    };
    let mut graph = match read(bytes, &options) {
        Ok(g) => g,
        Err(e) => return assert!(!e.to_string().is_empty()),
    };
    graph.check().expect("what is read is whole");
    for id in graph.inputs.clone() {
        for dim in graph.value_mut(id).shape.iter_mut().flatten() {
            dim.get_or_insert(1);
        }
    }
    if graph::shape::infer(&mut graph).is_err() {
        return;
    }
    written_and_read(&graph);
    if is_small(&graph) {
        run(&graph);
    }
    let budget = Budget {
        constant_bytes: 4 << 20,
        work: 1 << 22,
        ..Budget::default()
    };
    if simplify(&mut graph, &Reference, &budget).is_err() {
        return;
    }
    graph.check().expect("what is simplified is whole");
    // A pair of quantizers whose other readers are gone is an edge's from the next reading on.
    let options = WriteOptions {
        form: Form::Packed,
        ..WriteOptions::default()
    };
    if let Some(mut settled) = write(&graph, &options)
        .ok()
        .and_then(|f| read(&f, &ReadOptions::default()).ok())
        && graph::shape::infer(&mut settled).is_ok()
    {
        written_and_read(&settled);
    } else {
        written_and_read(&graph);
    }
    if is_small(&graph) {
        compiled(&graph);
    }
}

/// A plan gives the oracle's bytes.
fn compiled(graph: &Graph) {
    let options = Options {
        limit_bytes: Some(64 << 20),
        ..Options::default()
    };
    let (Ok(plan), Ok(program)) = (compile(graph, &options), Program::new(graph)) else {
        return;
    };
    let inputs: Option<Vec<(String, Tensor)>> = graph
        .inputs
        .iter()
        .map(|&id| Some((graph.value(id).name.clone(), ramp(graph, id)?)))
        .collect();
    let Some(inputs) = inputs else {
        return;
    };
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, t)| (name.as_str(), t)).collect();
    let have = plan.run(&POOL, &inputs);
    let want = program.run(&inputs, &mut |_, _, _| {});
    let (have, want) = match (have, want) {
        (Ok(have), Ok(want)) => (have, want),
        (Err(_), Err(_)) => return,
        (Ok(_), Err(e)) => panic!("only the oracle refuses: {e}"),
        // A file may declare a wrong size for an output whose size depends on data: a plan has to believe it until it runs.
        (Err(e), Ok(_)) if e.to_string().contains("shape inference said") => return,
        (Err(e), Ok(_)) => panic!("only the engine refuses: {e}"),
    };
    assert_eq!(have.len(), want.len());
    for ((name, x), (_, y)) in have.iter().zip(&want) {
        assert!(
            same(x, y),
            "output \"{name}\" is not the oracle's: inferred {:?}",
            plan.layers().iter().map(|l| l.op).collect::<Vec<_>>()
        );
    }
}

/// Equal to the bit; a NaN is a NaN.
fn same(a: &Tensor, b: &Tensor) -> bool {
    match (a.data(), b.data()) {
        _ if a.shape() != b.shape() => false,
        (Data::F32(a), Data::F32(b)) => a
            .iter()
            .zip(b)
            .all(|(x, y)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()),
        (Data::F64(a), Data::F64(b)) => a
            .iter()
            .zip(b)
            .all(|(x, y)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()),
        (a, b) => a == b,
    }
}

/// What is written is read, and from then on nothing changes.
fn written_and_read(graph: &Graph) {
    let options = WriteOptions {
        form: Form::Packed,
        ..WriteOptions::default()
    };
    let Ok(first) = write(graph, &options) else {
        return;
    };
    let mut again = match read(&first, &ReadOptions::default()) {
        Ok(g) => g,
        Err(e) => panic!("what is written is not read: {e}"),
    };
    // A declared size of 0 reads as unknown, since old exporters write it so.
    if let Err(e) = graph::shape::infer(&mut again) {
        panic!("what is written has no shapes: {e}");
    }
    let second = match write(&again, &options) {
        Ok(bytes) => bytes,
        Err(e) => panic!("what was read back is not written: {e}"),
    };
    assert!(first == second, "the second file differs from the first");
}

fn is_small(graph: &Graph) -> bool {
    let sizes = graph.value_ids().filter_map(|id| graph.value(id).fixed_shape());
    let elements = sizes.fold(0usize, |sum, shape| {
        sum.saturating_add(tensor::numel(&shape).unwrap_or(usize::MAX))
    });
    let macs = graph
        .nodes
        .iter()
        .fold(0u64, |sum, n| sum.saturating_add(products(graph, n)));
    elements <= SMALL && macs <= 4 * SMALL as u64
}

/// Multiplications of a node on the oracle, which looks at every tap of a transposed convolution for every output.
fn products(graph: &Graph, node: &Node) -> u64 {
    let Op::ConvTranspose(op) = &node.op else {
        return graph::shape::macs(graph, node);
    };
    let shape = |v: Option<ValueId>| v.and_then(|v| graph.value(v).fixed_shape()).unwrap_or_default();
    let x = shape(node.inputs[0]);
    let y = shape(node.outputs.first().copied());
    let all = op.conv.kernel.iter().chain(x.get(1)).chain(&y);
    all.fold(1, |n, &d| n.saturating_mul(d as u64))
}

/// Every operator on the oracle; what it computes has the inferred type.
fn run(graph: &Graph) {
    let mut values: HashMap<ValueId, Tensor> = graph.constants.iter().map(|(&v, t)| (v, t.clone())).collect();
    for &id in &graph.inputs {
        let Some(t) = ramp(graph, id) else {
            return;
        };
        values.insert(id, t);
    }
    for node in &graph.nodes {
        let mut inputs = Vec::new();
        for v in &node.inputs {
            match v.map(|v| values.get(&v)) {
                Some(None) => return,
                Some(t) => inputs.push(t),
                None => inputs.push(None),
            }
        }
        // Elements that were unknown before may make an output large.
        let types: Vec<_> = inputs.iter().map(|t| t.map(TensorType::from)).collect();
        let types: Vec<_> = types.iter().map(Option::as_ref).collect();
        let Ok(expected) = rule(&node.op, &types, &inputs, node.outputs.len()) else {
            return;
        };
        let sizes = expected.iter().filter_map(TensorType::fixed_shape);
        if sizes.filter_map(|s| tensor::numel(&s).ok()).any(|n| n > SMALL) {
            return;
        }
        let Ok(outputs) = oracle::evaluate(&node.op, &inputs, node.outputs.len()) else {
            return;
        };
        assert_eq!(outputs.len(), node.outputs.len());
        for ((&id, t), exact) in node.outputs.iter().zip(outputs).zip(&expected) {
            let v = graph.value(id);
            // What a file declares of its outputs stands where nothing is known; it may be wrong.
            let inferred = (!graph.outputs.contains(&id)).then_some((v.dtype, &v.shape));
            for (dtype, shape) in inferred.into_iter().chain([(exact.dtype, &exact.shape)]) {
                let fits = shape.as_ref().is_none_or(|s| {
                    s.len() == t.rank() && s.iter().zip(t.shape()).all(|(d, n)| d.is_none_or(|d| d == *n))
                });
                assert!(
                    fits && dtype.is_none_or(|d| d == t.dtype()),
                    "{}: inferred {dtype:?} {shape:?}, computed {:?} {:?}",
                    node.op.name(),
                    t.dtype(),
                    t.shape()
                );
            }
            values.insert(id, t);
        }
    }
}

/// An input with small, different values; `None` where its type is not known.
fn ramp(graph: &Graph, id: ValueId) -> Option<Tensor> {
    let v = graph.value(id);
    let shape = v.fixed_shape()?;
    let n = tensor::numel(&shape).ok().filter(|&n| n <= SMALL)?;
    let data = match v.dtype? {
        DType::F32 => Data::F32((0..n).map(|i| (i % 13) as f32 / 4.0 - 1.5).collect()),
        DType::F64 => Data::F64((0..n).map(|i| (i % 13) as f64 / 4.0 - 1.5).collect()),
        DType::I8 => Data::I8((0..n).map(|i| (i % 3) as i8).collect()),
        DType::U8 => Data::U8((0..n).map(|i| (i % 3) as u8).collect()),
        DType::I16 => Data::I16((0..n).map(|i| (i % 3) as i16).collect()),
        DType::U16 => Data::U16((0..n).map(|i| (i % 3) as u16).collect()),
        DType::I32 => Data::I32((0..n).map(|i| (i % 3) as i32).collect()),
        DType::U32 => Data::U32((0..n).map(|i| (i % 3) as u32).collect()),
        DType::I64 => Data::I64((0..n).map(|i| (i % 3) as i64).collect()),
        DType::U64 => Data::U64((0..n).map(|i| (i % 3) as u64).collect()),
        DType::Bool => Data::Bool((0..n).map(|i| i % 3 == 0).collect()),
    };
    Tensor::new(shape, data).ok()
}
