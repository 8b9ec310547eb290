//! Quantized weights and biases of products.

use graph::{NodeId, ValueId};

use crate::compile::Compiler;

/// A weight that an integer kernel can multiply by.
#[derive(Debug)]
pub(super) struct Quantized {
    /// Zero points taken off, in ONNX order.
    pub(super) levels: Vec<i32>,
    /// One, or one per output channel.
    pub(super) scales: Vec<f32>,
    /// Zero points differ from channel to channel.
    pub(super) affine_per_channel: bool,
    pub(super) stored_bytes: usize,
}

/// The second input as integer levels with scales along `axis`.
///
/// They lie in the compiler's own memory: [`Compiler::levels`] takes it back when they are packed.
pub(super) fn quantized(cx: &mut Compiler<'_>, n: NodeId, axis: usize) -> Result<Quantized, String> {
    let weight = cx
        .node(n)
        .inputs
        .get(1)
        .copied()
        .flatten()
        .ok_or("its weight is missing")?;
    let Some(q) = cx.graph.weights.get(&weight) else {
        return Err(match cx.graph.constants.contains_key(&weight) {
            true => format!("weight \"{}\" is not quantized", cx.name(weight)),
            false => "its weight is computed".into(),
        });
    };
    let merged = q
        .merged_in(std::mem::take(&mut cx.levels))
        .ok_or("the scales of its weight's points have no common unit")?;
    let affine_per_channel = q.zero_points.as_ref().is_some_and(|z| z.len() > 1);
    if (merged.scales.len() > 1 || affine_per_channel) && q.axis != axis {
        return Err(format!("its scales lie along axis {}, not {axis}", q.axis));
    }
    Ok(Quantized {
        levels: merged.levels,
        scales: merged.scales,
        affine_per_channel,
        stored_bytes: stored(cx, weight),
    })
}

/// Bytes of a weight in a model file.
pub(super) fn stored(cx: &Compiler<'_>, weight: ValueId) -> usize {
    match (cx.graph.weights.get(&weight), cx.graph.constants.get(&weight)) {
        (Some(q), _) => q.stored_bits().div_ceil(8),
        (None, Some(t)) => t.bytes(),
        (None, None) => 0,
    }
}

/// The third input of an integer product: one constant per output channel, or none.
pub(super) fn bias_of(cx: &Compiler<'_>, n: NodeId, channels: usize) -> Result<Option<Vec<f32>>, String> {
    let Some(v) = cx.node(n).inputs.get(2).copied().flatten() else {
        return Ok(None);
    };
    let bias = cx.graph.constants.get(&v).and_then(|t| t.as_f32());
    match bias {
        None => Err(format!("bias \"{}\" is no f32 constant", cx.name(v))),
        Some(b) if b.len() == channels => Ok(Some(b.to_vec())),
        Some(b) => Err(format!(
            "its bias has {} elements for {channels} channels",
            b.len()
        )),
    }
}
