//! Types of all values of a graph, node by node.

use std::collections::HashMap;

use super::{Known, ShapeError, TensorType, apply, known};
use crate::graph::{Graph, ValueId};

/// Fills in type and shape of every value that follow from the graph's inputs and constants.
///
/// Small tensors whose elements follow from shapes (`Shape` → `Gather` → `Concat` → `Reshape`) are followed through, so that
/// a graph with fixed inputs ends with fixed shapes everywhere but behind operators whose result depends on the data.
///
/// # Errors
/// The first node whose inputs cannot be those of its operator.
pub fn infer(graph: &mut Graph) -> Result<(), ShapeError> {
    infer_known(graph).map(drop)
}

/// As [`infer`], and gives the elements of small tensors that are known, wholly or in part.
pub(crate) fn infer_known(graph: &mut Graph) -> Result<HashMap<ValueId, Known>, ShapeError> {
    let mut elements: HashMap<ValueId, Known> = graph
        .constants
        .iter()
        .filter_map(|(&id, t)| Some((id, Known::of_tensor(t)?)))
        .collect();
    let mut types: HashMap<ValueId, TensorType> = graph
        .constants
        .iter()
        .map(|(&id, t)| (id, TensorType::from(t)))
        .collect();
    for (&id, w) in &graph.weights {
        types.insert(id, TensorType::fixed(tensor::DType::F32, &w.shape));
    }
    for &id in &graph.inputs {
        let v = graph.value(id);
        types.insert(
            id,
            TensorType {
                dtype: v.dtype,
                shape: v.shape.clone(),
            },
        );
    }
    let unknown = TensorType::default();
    for node in &graph.nodes {
        let inputs: Vec<Option<&TensorType>> = node
            .inputs
            .iter()
            .map(|v| v.map(|v| types.get(&v).unwrap_or(&unknown)))
            .collect();
        let known: Vec<Option<&Known>> = node
            .inputs
            .iter()
            .map(|v| v.and_then(|v| elements.get(&v)))
            .collect();
        let results = apply(&node.op, &inputs, &known, node.outputs.len()).map_err(|fault| ShapeError {
            node: node.name.clone(),
            operator: node.op.name(),
            fault,
        })?;
        let values = known::evaluate(&node.op, &inputs, &known, &results);
        for ((&v, t), k) in node.outputs.iter().zip(results).zip(values) {
            types.insert(v, t);
            if let Some(k) = k {
                elements.insert(v, k);
            }
        }
    }
    // What a file declares of its outputs stands where nothing is inferred.
    for &id in &graph.outputs {
        if let Some(t) = types.get_mut(&id) {
            declared(graph, id, t);
        }
    }
    for (id, t) in types {
        let v = graph.value_mut(id);
        v.dtype = t.dtype;
        v.shape = t.shape;
    }
    Ok(elements)
}

fn declared(graph: &Graph, id: ValueId, t: &mut TensorType) {
    let v = graph.value(id);
    t.dtype = t.dtype.or(v.dtype);
    match (&mut t.shape, &v.shape) {
        (Some(have), Some(said)) if have.len() == said.len() => {
            for (d, s) in have.iter_mut().zip(said) {
                *d = d.or(*s);
            }
        }
        (none @ None, said) => none.clone_from(said),
        _ => {}
    }
}
