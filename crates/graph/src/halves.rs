//! Scales and biases in 16 bits (IEEE 754 binary16). BatchNormalization that is folded gives each output channel a scale and a bias; beside ternary weights of a few
//! channels, 32 bits for each are a tenth of the file. They are rounded once, in the graph, so that file, engine and reference program have the same numbers.

use half::f16;
use tensor::Tensor;

use crate::graph::{Graph, ValueId};

/// What rounding may change: half a unit of binary16's last place.
const ERROR: f32 = 1.0 / 2048.0;

/// Rounds scales and biases of quantized products to binary16 and marks them ([`Graph::halves`]). Each scale stays within 2^−11 of itself, each bias within
/// 2^−11 of the layer's largest; a layer's scales, or biases, that binary16 does not hold so stay as they are, and so do those of several points.
/// Gives how many tensors were rounded.
pub fn round(graph: &mut Graph) -> usize {
    let mut rounded = 0;
    for n in 0..graph.nodes.len() {
        let input = |i: usize| graph.nodes[n].inputs.get(i).copied().flatten();
        let (weight, bias) = (input(1), input(2));
        let Some((id, weight)) = weight.and_then(|v| Some((v, graph.weights.get_mut(&v)?))) else {
            continue;
        };
        if let [point] = &mut weight.points[..]
            && let Some(scales) = nearest(&point.scales, |x, _| x)
        {
            point.scales = scales;
            rounded += usize::from(graph.halves.insert(id));
        }
        if let Some((id, bias)) = bias.and_then(|v| Some((v, graph.constants.get_mut(&v)?)))
            && let Some(values) = bias.as_f32().and_then(|b| nearest(b, |_, most| most))
            && let Ok(near) = Tensor::new(bias.shape().to_vec(), values)
        {
            *bias = near;
            rounded += usize::from(graph.halves.insert(id));
        }
    }
    rounded
}

/// The nearest numbers of binary16, if each is within [`ERROR`] of what `unit` makes of it and of the largest magnitude.
fn nearest(values: &[f32], unit: impl Fn(f32, f32) -> f32) -> Option<Vec<f32>> {
    let most = values.iter().fold(0f32, |most, x| most.max(x.abs()));
    let one = |&x: &f32| {
        let near = f16::from_f32(x).to_f32();
        ((near - x).abs() <= ERROR * unit(x, most).abs()).then_some(near)
    };
    values.iter().map(one).collect()
}

/// Whether binary16 holds each of these numbers.
pub(crate) fn exact(values: &[f32]) -> bool {
    values
        .iter()
        .all(|x| f16::from_f32(*x).to_f32().to_bits() == x.to_bits())
}

impl Graph {
    /// Bits that the numbers of a constant or quantized weight take in a packed file.
    pub fn stored_bits(&self, v: ValueId) -> Option<usize> {
        let halves = |values: &[f32]| match self.halves.contains(&v) && exact(values) {
            true => 16 * values.len(),
            false => 0,
        };
        if let Some(w) = self.weights.get(&v) {
            let saved = match &w.points[..] {
                [point] => halves(&point.scales),
                _ => 0,
            };
            return Some(w.stored_bits() - saved);
        }
        let t = self.constants.get(&v)?;
        Some(t.bytes() * 8 - t.as_f32().map_or(0, halves))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_would_lose_more_than_half_a_unit_stay() {
        let scale = |values: &[f32]| nearest(values, |x, _| x);
        let bias = |values: &[f32]| nearest(values, |_, most| most);
        assert_eq!(scale(&[1.0, 0.1]), Some(vec![1.0, 0.099_975_586]));
        // Below 2^−14 binary16 loses bits, above 65504 all.
        assert_eq!(scale(&[1.0, 1e-6]), None);
        assert_eq!(scale(&[1e5]), None);
        assert_eq!(scale(&[f32::NAN]), None);
        assert_eq!(bias(&[1.0, 1e-6]), Some(vec![1.0, 17.0 * 2f32.powi(-24)]));
        assert_eq!(bias(&[0.0, -0.0]), Some(vec![0.0, -0.0]));
        assert!(exact(&[0.5, -0.0, 65504.0]) && !exact(&[0.1]));
    }
}
