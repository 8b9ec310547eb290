//! That annotations agree with themselves: what follows indexes by them.

use graph::{EdgeQuantizer, Graph, ValueId, WeightAnnotation};
use tensor::{DType, numel};

use crate::error::CompileError;

/// Checks every annotation of a graph.
///
/// # Errors
/// The first that contradicts itself.
pub(super) fn annotations(graph: &Graph) -> Result<(), CompileError> {
    let named = |v: ValueId, reason: String| CompileError::Annotation {
        value: graph.value(v).name.clone(),
        reason,
    };
    for (&v, w) in &graph.weights {
        let declared = graph.value(v).fixed_shape();
        if declared.is_some_and(|s| s != w.shape) {
            return Err(named(v, format!("its shape is not the weight's {:?}", w.shape)));
        }
        weight(w).map_err(|reason| named(v, reason))?;
    }
    for (&v, e) in &graph.edges {
        if !matches!(graph.value(v).dtype, None | Some(DType::F32)) {
            return Err(named(v, "only edges of F32 carry a quantizer".into()));
        }
        edge(e).map_err(|reason| named(v, reason))?;
    }
    Ok(())
}

fn edge(e: &EdgeQuantizer) -> Result<(), String> {
    if !(e.scale.is_finite() && e.scale > 0.0) {
        return Err(format!("scale {} is not finite and positive", e.scale));
    }
    match (1..=8).contains(&e.bits) && e.zero_point <= e.max_code() {
        true => Ok(()),
        false => Err(format!(
            "zero point {} does not fit {} bits",
            e.zero_point, e.bits
        )),
    }
}

fn weight(w: &WeightAnnotation) -> Result<(), String> {
    let len = numel(&w.shape).map_err(|e| e.to_string())?;
    let channels = w.shape.get(w.axis).copied();
    let channels = channels.ok_or_else(|| format!("axis {} of {:?}", w.axis, w.shape))?;
    let per_channel = |n: usize| n == 1 || n == channels;
    if w.points.is_empty() || w.levels.iter().any(|l| l.unsigned_abs() > 1 << 24) {
        return Err("it has no points, or a level beyond 24 bits".into());
    }
    for point in &w.points {
        if point.codes.len() != len || usize::from(point.most()) >= w.levels.len() {
            return Err(format!("its codes are not {len} of {} levels", w.levels.len()));
        }
        let fine = |s: &f32| s.is_finite() && *s > 0.0;
        if !per_channel(point.scales.len()) || !point.scales.iter().all(fine) {
            return Err(format!(
                "its scales are not 1 or {channels} finite positive numbers"
            ));
        }
    }
    match &w.zero_points {
        Some(z) if !per_channel(z.len()) || z.iter().any(|z| z.unsigned_abs() > 1 << 24) => {
            Err(format!("its zero points are not 1 or {channels} of 24 bits"))
        }
        _ => Ok(()),
    }
}
