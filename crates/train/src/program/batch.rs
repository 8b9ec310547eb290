//! A graph for another batch size.

use graph::{Graph, Op};
use tensor::{DType, Tensor};

use super::ProgramError;

/// Gives all inputs the batch, rewrites the Reshapes of exporters that fixed the batch at one size, and infers all shapes.
pub(super) fn set(graph: &mut Graph, batch: usize) -> Result<(), ProgramError> {
    let mut old = None;
    for id in graph.inputs.clone() {
        let value = graph.value_mut(id);
        let shape = value.shape.clone().unwrap_or_default();
        let fixed = !shape.is_empty() && shape[1..].iter().all(Option::is_some);
        if !fixed || !matches!(value.dtype, None | Some(DType::F32)) {
            let dims: Vec<String> = shape
                .iter()
                .map(|d| d.map_or("?".into(), |d| d.to_string()))
                .collect();
            let shape = format!("[{}]", dims.join(", "));
            return Err(ProgramError::Input {
                input: value.name.clone(),
                shape,
            });
        }
        old = old.or(shape[0]);
        if let Some(first) = value.shape.as_mut().and_then(|s| s.first_mut()) {
            *first = Some(batch);
        }
    }
    if let Some(old) = old.filter(|&old| old != batch) {
        reshapes(graph, old as i64, batch as i64);
    }
    graph::shape::infer(graph)?;
    for &id in &graph.outputs {
        let value = graph.value(id);
        let first = value.shape.as_ref().and_then(|s| s.first().copied().flatten());
        if first != Some(batch) {
            let reason = format!("output \"{}\" would have {first:?} pictures", value.name);
            return Err(ProgramError::Batch { batch, reason });
        }
    }
    Ok(())
}

/// A Reshape to a constant shape that begins with the old batch is one that keeps the batch.
fn reshapes(graph: &mut Graph, old: i64, batch: i64) {
    for n in 0..graph.nodes.len() {
        if !matches!(graph.nodes[n].op, Op::Reshape { .. }) {
            continue;
        }
        let Some(shape) = graph
            .constant_input(&graph.nodes[n], 1)
            .and_then(|t| t.as_i64().map(<[i64]>::to_vec))
        else {
            continue;
        };
        if shape.len() > 1 && shape[0] == old {
            let mut shape = shape;
            shape[0] = batch;
            let name = format!("{}/shape", graph.nodes[n].name);
            let id = graph.add_constant(&name, Tensor::vector(shape));
            graph.nodes[n].inputs[1] = Some(id);
        }
    }
}
