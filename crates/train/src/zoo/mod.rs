//! Networks of our own, with random weights: something to train from nothing.

mod h32s;
mod resnet;
mod small;
mod tiny;
mod unet;

use graph::{
    Binary, Conv, CoordinateTransform, Graph, NearestMode, Node, Op, Padding, Resize, ResizeMode, Unary,
    ValueId,
};
use tasks::detect::{Channels, ColorOrder, DflHead, Family, Head, Input, METADATA_KEY};
use tensor::{DType, Tensor};

pub use h32s::{Bands, H32S, h32s};
pub use resnet::{resnet18, resnet50};
pub use small::small;
pub use tiny::tiny;
pub use unet::{unet3d, unet3d_transposed};

/// Makes a network from class names, channels of its first layer, width and height of its input, and a seed.
pub type Build = fn(&[String], usize, [usize; 2], u64) -> Graph;

/// A network by its name.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// What follows `zoo:`.
    pub name: &'static str,
    /// Makes it.
    pub build: Build,
    /// Width and height of its input are multiples of this.
    pub multiple: usize,
}

const fn network(name: &'static str, build: Build, multiple: usize) -> Network {
    Network {
        name,
        build,
        multiple,
    }
}

/// A network for volumes by its name: as [`Network`], its input of depth, height and width.
#[derive(Debug, Clone, Copy)]
pub struct VolumeNetwork {
    /// What follows `zoo:`.
    pub name: &'static str,
    /// Makes it.
    pub build: fn(&[String], usize, [usize; 3], u64) -> Graph,
    /// Axes of its input are multiples of this.
    pub multiple: usize,
}

/// All networks for volumes.
pub const VOLUMES: [VolumeNetwork; 2] = [
    VolumeNetwork {
        name: "unet3d",
        build: unet3d,
        multiple: 4,
    },
    VolumeNetwork {
        name: "unet3d-transposed",
        build: unet3d_transposed,
        multiple: 4,
    },
];

/// All networks for pictures.
pub const ALL: [Network; 4] = [
    network("tiny", tiny, 16),
    network("small", small, 16),
    network("resnet18", resnet18, 32),
    network("resnet50", resnet50, 32),
];

/// Bins of each distance: up to 7 strides from the middle of a cell.
const BINS: usize = 8;

/// Features that a head reads: the value, its channels, name and stride of the output.
struct Level {
    x: ValueId,
    channels: usize,
    output: &'static str,
    stride: usize,
}

fn head(name: &str, classes: &[String], [width, height]: [usize; 2], levels: &[Level]) -> Head {
    let heads = levels.iter().map(|level| DflHead {
        output: level.output.into(),
        stride: level.stride,
    });
    Head {
        name: name.into(),
        source: None,
        input: Input {
            name: "images".into(),
            width,
            height,
            color: ColorOrder::Rgb,
            layout: Channels::Nchw,
            scale: 1.0 / 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            resize: tasks::detect::Resize::Letterbox,
            pad_value: Some(114),
        },
        family: Family::Yolov8Raw {
            heads: heads.collect(),
            reg_max: BINS,
        },
        decode: Default::default(),
        classes: classes.to_vec(),
    }
}

/// Levels at strides 8 and 16.
fn two_levels(features: [(ValueId, usize); 2]) -> [Level; 2] {
    let [eight, sixteen] = features;
    [(eight, "small", 8), (sixteen, "large", 16)].map(|((x, channels), output, stride)| Level {
        x,
        channels,
        output,
        stride,
    })
}

struct Builder {
    graph: Graph,
    counter: u64,
    /// Spatial axes: 2, of volumes 3.
    axes: usize,
}

/// The finalizer of SplitMix64.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Builder {
    /// A graph with its input alone.
    fn new(name: &str, [width, height]: [usize; 2], seed: u64) -> (Builder, ValueId) {
        let mut graph = Graph::new(name);
        let shape = [1, 3, height, width].map(Some).to_vec();
        let x = graph.add_value("images", Some(DType::F32), Some(shape));
        graph.inputs.push(x);
        let counter = mix(seed);
        let axes = 2;
        (Builder { graph, counter, axes }, x)
    }

    /// Adds a head on each level, and their description.
    fn finish(mut self, name: &str, levels: &[Level], classes: &[String], size: [usize; 2]) -> Graph {
        for level in levels {
            let output = self.head(level.x, level.output, level.channels, classes.len());
            self.graph.outputs.push(output);
        }
        let head = head(name, classes, size, levels);
        self.graph.metadata.insert(METADATA_KEY.into(), head.to_json());
        graph::shape::infer(&mut self.graph).expect("a graph that was built right");
        self.graph
    }

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
        let shape = [&[to, from][..], &vec![kernel; self.axes]].concat();
        let deviation = (2.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
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
            kernel: vec![kernel; self.axes],
            strides: vec![stride; self.axes],
            padding: Padding::Explicit(vec![pad; 2 * self.axes]),
            dilations: vec![1; self.axes],
            group: 1,
        });
        self.graph.add_node(op, &inputs, name)
    }

    /// Convolution without bias, and BatchNormalization; `geometry` is kernel side and stride.
    fn normalized(&mut self, x: ValueId, name: &str, channels: [usize; 2], geometry: [usize; 2]) -> ValueId {
        let [kernel, stride] = geometry;
        let y = self.conv(x, &format!("{name}.conv"), channels, kernel, stride, None);
        self.batch_norm(y, name, channels[1])
    }

    fn batch_norm(&mut self, x: ValueId, name: &str, channels: usize) -> ValueId {
        let mut inputs = vec![x];
        for (part, value) in [("gamma", 1f32), ("beta", 0.0), ("mean", 0.0), ("variance", 1.0)] {
            let all = Tensor::vector(vec![value; channels]);
            inputs.push(self.graph.add_constant(&format!("{name}.{part}"), all));
        }
        let op = Op::BatchNormalization { epsilon: 1e-5 };
        self.graph.add_node(op, &inputs, &format!("{name}.bn"))
    }

    fn layer(&mut self, x: ValueId, name: &str, channels: [usize; 2], stride: usize) -> ValueId {
        let y = self.normalized(x, name, channels, [3, stride]);
        self.graph
            .add_node(Op::Unary(Unary::Relu), &[y], &format!("{name}.relu"))
    }

    /// x + layer(x), then ReLU.
    fn residual(&mut self, x: ValueId, name: &str, channels: usize) -> ValueId {
        let y = self.normalized(x, name, [channels; 2], [3, 1]);
        self.sum(x, y, name)
    }

    /// ReLU of a + b.
    fn sum(&mut self, a: ValueId, b: ValueId, name: &str) -> ValueId {
        let sum = self
            .graph
            .add_node(Op::Binary(Binary::Add), &[a, b], &format!("{name}.add"));
        self.graph
            .add_node(Op::Unary(Unary::Relu), &[sum], &format!("{name}.relu"))
    }

    /// Every value four times, of volumes eight times: twice the length of every spatial axis.
    fn doubled(&mut self, x: ValueId, name: &str) -> ValueId {
        let scales = Tensor::vector([&[1f32; 2][..], &vec![2.0; self.axes]].concat());
        let scales = self.graph.add_constant(&format!("{name}.scales"), scales);
        let op = Op::Resize(Resize {
            mode: ResizeMode::Nearest,
            coordinates: CoordinateTransform::Asymmetric,
            nearest: NearestMode::Floor,
            axes: Vec::new(),
        });
        let output = self.graph.add_value(name, None, None);
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs: vec![Some(x), None, Some(scales)],
            outputs: vec![output],
        });
        output
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
        let graph = tiny(&classes, 8, [96, 64], 1);
        graph.check().unwrap();
        let shapes: Vec<_> = graph
            .outputs
            .iter()
            .map(|&v| graph.value(v).fixed_shape().unwrap())
            .collect();
        assert_eq!(shapes, [[1, 34, 8, 12], [1, 34, 4, 6]]);
        let head = Head::from_json(&graph.metadata[METADATA_KEY]).unwrap();
        assert_eq!((head.classes.len(), head.outputs()), (2, vec!["small", "large"]));
        assert_eq!((head.input.width, head.input.height), (96, 64));
        let weight = |seed| {
            tiny(&classes, 8, [96; 2], seed)
                .constants
                .values()
                .next()
                .cloned()
        };
        assert_eq!(weight(1), weight(1));
        assert_ne!(weight(1), weight(2));
    }

    #[test]
    fn the_demos_detector_is_small_and_sees_at_two_strides() {
        let classes: Vec<String> = (0..8).map(|i| format!("class {i}")).collect();
        let graph = small(&classes, 16, [128; 2], 1);
        graph.check().unwrap();
        let shapes: Vec<_> = graph
            .outputs
            .iter()
            .map(|&v| graph.value(v).fixed_shape().unwrap())
            .collect();
        assert_eq!(shapes, [[1, 40, 16, 16], [1, 40, 8, 8]]);
        let count: usize = graph.constants.values().map(Tensor::len).sum();
        assert!((340_000..=350_000).contains(&count), "{count}");
    }
}
