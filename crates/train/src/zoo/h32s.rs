//! A small hybrid 3D/2D network for hyperspectral patches, in the manner of Luo et al. (HSI-CNN, ICPR 2018) and ACE-SNN (Datta, Kundu, Jaiswal, Beerel,
//! Frontiers in Neuroscience 16, 2022): two convolutions along bands and pixels, one over the pixels of merged bands, two full layers.

use graph::{Conv, Graph, Op, Padding, Unary, ValueId};
use tasks::scene::{METADATA_KEY, SceneHead};
use tensor::{DType, Tensor};

use super::{Builder, mix};

/// What follows `zoo:`.
pub const H32S: &str = "h32s";

/// Pixels of a patch's side.
const SIDE: usize = 7;

/// Mean and deviation of each band.
#[derive(Debug, Clone, PartialEq)]
pub struct Bands {
    /// Mean.
    pub mean: Vec<f32>,
    /// Deviation.
    pub deviation: Vec<f32>,
}

/// The network for patches of 7 × 7 pixels: 559 520 multiplications at 40 bands and 16 classes, no bias, ReLU behind all layers but the last, so that it
/// becomes a spiking network as it is.
///
/// `None` with fewer than 13 bands, which the convolutions along bands take.
pub fn h32s(classes: &[String], bands: &Bands, seed: u64) -> Option<Graph> {
    let count = bands.mean.len();
    let first = (count.checked_sub(7)? / 3 + 1)
        .checked_sub(2)
        .filter(|&n| n > 0)?;
    let mut graph = Graph::new(H32S);
    let shape = [1, 1, count, SIDE, SIDE].map(Some).to_vec();
    let x = graph.add_value("patch", Some(DType::F32), Some(shape));
    graph.inputs.push(x);
    let mut b = Builder {
        graph,
        counter: mix(seed ^ 0x6833_3273),
        axes: 3,
    };
    let x = b.plain(x, "conv1", &[8, 1, 7, 3, 3], 3);
    let x = b.plain(x, "conv2", &[16, 8, 3, 3, 3], 1);
    let merged = Tensor::vector(vec![-1i64, 16 * first as i64, 3, 3]);
    let merged = b.graph.add_constant("bands.shape", merged);
    let x = b
        .graph
        .add_node(Op::Reshape { allow_zero: false }, &[x, merged], "bands");
    let x = b.plain(x, "conv3", &[64, 16 * first, 3, 3], 1);
    let x = b.graph.add_node(Op::Flatten { axis: 1 }, &[x], "features");
    let x = b.full(x, "fc1", [64, 64]);
    let x = b.graph.add_node(Op::Unary(Unary::Relu), &[x], "fc1.relu");
    let logits = b.full(x, "logits", [64, classes.len()]);
    b.graph.outputs.push(logits);
    let head = SceneHead {
        input: "patch".into(),
        output: "logits".into(),
        classes: classes.to_vec(),
        mean: bands.mean.clone(),
        deviation: bands.deviation.clone(),
    };
    b.graph.metadata.insert(METADATA_KEY.into(), head.to_json());
    graph::shape::infer(&mut b.graph).expect("a graph that was built right");
    Some(b.graph)
}

impl Builder {
    /// Weights of variance 2 over the inputs of an output (He et al., arXiv 1502.01852).
    fn weights(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let inputs: usize = shape[1..].iter().product();
        let deviation = (2.0 / inputs as f64).sqrt();
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| (self.normal() * deviation) as f32)
            .collect();
        let tensor = Tensor::new(shape.to_vec(), values).expect("as many values as the shape says");
        self.graph.add_constant(&format!("{name}.weight"), tensor)
    }

    /// A convolution without bias or padding, and ReLU; `stride` is that of the first spatial axis.
    fn plain(&mut self, x: ValueId, name: &str, shape: &[usize], stride: usize) -> ValueId {
        let weight = self.weights(name, shape);
        let axes = shape.len() - 2;
        let mut strides = vec![1; axes];
        strides[0] = stride;
        let op = Op::Conv(Conv {
            kernel: shape[2..].to_vec(),
            strides,
            padding: Padding::Explicit(vec![0; 2 * axes]),
            dilations: vec![1; axes],
            group: 1,
        });
        let y = self.graph.add_node(op, &[x, weight], name);
        self.graph
            .add_node(Op::Unary(Unary::Relu), &[y], &format!("{name}.relu"))
    }

    /// A full layer without bias.
    fn full(&mut self, x: ValueId, name: &str, [from, to]: [usize; 2]) -> ValueId {
        let weight = self.weights(name, &[to, from]);
        let op = Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        self.graph.add_node(op, &[x, weight], name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_the_method_has_its_multiplications() {
        let classes: Vec<String> = (0..16).map(|c| format!("class {c}")).collect();
        let bands = |n| Bands {
            mean: vec![0.0; n],
            deviation: vec![1.0; n],
        };
        let graph = h32s(&classes, &bands(40), 1).unwrap();
        graph.check().unwrap();
        let macs: Vec<u64> = graph
            .nodes
            .iter()
            .map(|n| graph::shape::macs(&graph, n))
            .filter(|&m| m > 0)
            .collect();
        assert_eq!(macs, [151_200, 311_040, 92_160, 4_096, 1_024]);
        assert_eq!(graph.value(graph.outputs[0]).fixed_shape().unwrap(), [1, 16]);
        assert!(SceneHead::from_json(&graph.metadata[METADATA_KEY]).is_ok());
        assert!(h32s(&classes, &bands(13), 1).is_some());
        assert!(h32s(&classes, &bands(12), 1).is_none());
    }
}
