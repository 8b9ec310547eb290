//! Networks of our own, with random weights: something to train from nothing.

use graph::{Binary, Conv, Graph, Op, Padding, Unary, ValueId};
use tasks::detect::{Channels, ColorOrder, DflHead, Family, Head, Input, METADATA_KEY, Resize};
use tensor::{DType, Tensor};

/// Bins of each distance: up to 7 strides from the middle of a cell.
const BINS: usize = 8;

/// A small anchor-free detector for square pictures: seven convolutions with BatchNormalization and ReLU, heads at strides 8 and 16.
///
/// `width` is the number of channels of the first layer; `size` a multiple of 16. Weights are He's (arXiv 1502.01852), drawn by counter from
/// `seed`; scores start at 0.01.
pub fn tiny(classes: &[String], width: usize, size: usize, seed: u64) -> Graph {
    let mut b = Builder {
        graph: Graph::new("tiny"),
        counter: mix(seed ^ 0x7a6f_6f5f_7469_6e79),
    };
    let shape = [1, 3, size, size].map(Some).to_vec();
    let x = b.graph.add_value("images", Some(DType::F32), Some(shape));
    b.graph.inputs.push(x);
    let (w1, w2, w4, w8) = (width, 2 * width, 4 * width, 8 * width);
    let x = b.layer(x, "stem", [3, w1], 2);
    let x = b.layer(x, "down4", [w1, w2], 2);
    let x = b.layer(x, "body4", [w2, w2], 1);
    let x = b.layer(x, "down8", [w2, w4], 2);
    let eight = b.residual(x, "body8", w4);
    let x = b.layer(eight, "down16", [w4, w8], 2);
    let sixteen = b.residual(x, "body16", w8);
    for (name, x, channels) in [("small", eight, w4), ("large", sixteen, w8)] {
        let output = b.head(x, name, channels, classes.len());
        b.graph.outputs.push(output);
    }
    let head = head(classes, size);
    b.graph.metadata.insert(METADATA_KEY.into(), head.to_json());
    graph::shape::infer(&mut b.graph).expect("a graph that was built right");
    b.graph
}

fn head(classes: &[String], size: usize) -> Head {
    let heads = [("small", 8), ("large", 16)].map(|(output, stride)| DflHead {
        output: output.into(),
        stride,
    });
    Head {
        name: "tiny".into(),
        source: None,
        input: Input {
            name: "images".into(),
            width: size,
            height: size,
            color: ColorOrder::Rgb,
            layout: Channels::Nchw,
            scale: 1.0 / 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            resize: Resize::Letterbox,
            pad_value: Some(114),
        },
        family: Family::Yolov8Raw {
            heads: heads.to_vec(),
            reg_max: BINS,
        },
        decode: Default::default(),
        classes: classes.to_vec(),
    }
}

struct Builder {
    graph: Graph,
    counter: u64,
}

/// The finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Builder {
    fn unit(&mut self) -> f64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.counter) >> 11) as f64 * 2f64.powi(-53)
    }

    /// Normal numbers by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (u, t) = (1.0 - self.unit(), self.unit());
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * t)
    }

    fn conv(
        &mut self,
        x: ValueId,
        name: &str,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        bias: Option<Vec<f32>>,
    ) -> ValueId {
        let [from, to] = channels;
        let shape = vec![to, from, kernel, kernel];
        let deviation = (2.0 / (from * kernel * kernel) as f64).sqrt();
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| (self.normal() * deviation) as f32)
            .collect();
        let weight = Tensor::new(shape, values).expect("as many values as the shape says");
        let mut inputs = vec![x, self.graph.add_constant(&format!("{name}.weight"), weight)];
        if let Some(bias) = bias {
            inputs.push(
                self.graph
                    .add_constant(&format!("{name}.bias"), Tensor::vector(bias)),
            );
        }
        let pad = kernel / 2;
        let op = Op::Conv(Conv {
            kernel: vec![kernel; 2],
            strides: vec![stride; 2],
            padding: Padding::Explicit(vec![pad; 4]),
            dilations: vec![1; 2],
            group: 1,
        });
        self.graph.add_node(op, &inputs, name)
    }

    /// Convolution 3×3 and BatchNormalization.
    fn normalized(&mut self, x: ValueId, name: &str, channels: [usize; 2], stride: usize) -> ValueId {
        let y = self.conv(x, &format!("{name}.conv"), channels, 3, stride, None);
        let mut inputs = vec![y];
        for (part, value) in [("gamma", 1f32), ("beta", 0.0), ("mean", 0.0), ("variance", 1.0)] {
            let all = Tensor::vector(vec![value; channels[1]]);
            inputs.push(self.graph.add_constant(&format!("{name}.{part}"), all));
        }
        let op = Op::BatchNormalization { epsilon: 1e-5 };
        self.graph.add_node(op, &inputs, &format!("{name}.bn"))
    }

    fn layer(&mut self, x: ValueId, name: &str, channels: [usize; 2], stride: usize) -> ValueId {
        let y = self.normalized(x, name, channels, stride);
        self.graph
            .add_node(Op::Unary(Unary::Relu), &[y], &format!("{name}.relu"))
    }

    /// x + layer(x), then ReLU.
    fn residual(&mut self, x: ValueId, name: &str, channels: usize) -> ValueId {
        let y = self.normalized(x, name, [channels; 2], 1);
        let sum = self
            .graph
            .add_node(Op::Binary(Binary::Add), &[x, y], &format!("{name}.add"));
        self.graph
            .add_node(Op::Unary(Unary::Relu), &[sum], &format!("{name}.relu"))
    }

    fn head(&mut self, x: ValueId, name: &str, channels: usize, classes: usize) -> ValueId {
        let mut bias = vec![0.0; 4 * BINS];
        bias.resize(4 * BINS + classes, libm::log(0.01 / 0.99) as f32);
        self.conv(x, name, [channels, 4 * BINS + classes], 1, 1, Some(bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_detector_has_its_shapes_and_its_head_and_depends_on_the_seed() {
        let classes = ["a".to_string(), "b".to_string()];
        let graph = tiny(&classes, 8, 96, 1);
        graph.check().unwrap();
        let shapes: Vec<_> = graph
            .outputs
            .iter()
            .map(|&v| graph.value(v).fixed_shape().unwrap())
            .collect();
        assert_eq!(shapes, [[1, 34, 12, 12], [1, 34, 6, 6]]);
        let head = Head::from_json(&graph.metadata[METADATA_KEY]).unwrap();
        assert_eq!((head.classes.len(), head.outputs()), (2, vec!["small", "large"]));
        let weight = |seed| tiny(&classes, 8, 96, seed).constants.values().next().cloned();
        assert_eq!(weight(1), weight(1));
        assert_ne!(weight(1), weight(2));
    }
}
