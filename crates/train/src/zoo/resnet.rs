//! Residual networks (He, Zhang, Ren, Sun, arXiv 1512.03385) with the stride in the 3 × 3 convolution, as torchvision has them: what the papers train.

use graph::{Graph, Op, Padding, Pool, Unary, ValueId};
use tasks::detect::{Family, METADATA_KEY};
use tensor::Tensor;

use super::{Builder, Level, head};

/// A value and its channels.
type Features = (ValueId, usize);

/// Blocks of the four stages, and what a block is.
struct Stages {
    blocks: [usize; 4],
    /// 1 × 1, 3 × 3 and 1 × 1 with four times the channels, in place of two of 3 × 3.
    bottleneck: bool,
}

/// ResNet-18 for classification, the network of BCGD's ImageNet rows: 11.7 million weights at `width` 64 and 1000 classes.
///
/// `size` is width and height of the input, multiples of 32 (ImageNet: 224). Mean and deviation of the input are ImageNet's.
pub fn resnet18(classes: &[String], width: usize, size: [usize; 2], seed: u64) -> Graph {
    let (mut b, x) = Builder::new("resnet18", size, seed ^ 0x7265_736e_6574_3138);
    let stages = Stages {
        blocks: [2; 4],
        bottleneck: false,
    };
    let [.., (x, channels)] = b.trunk(x, width, &stages);
    let x = b.graph.add_node(Op::GlobalAveragePool, &[x], "pool");
    let x = b.graph.add_node(Op::Flatten { axis: 1 }, &[x], "flat");
    let logits = b.linear(x, "logits", [channels, classes.len()]);
    b.graph.outputs.push(logits);
    let mut head = head("resnet18", classes, size, &[]);
    head.family = Family::Classifier("logits".into());
    head.input.mean = [0.485, 0.456, 0.406];
    head.input.std = [0.229, 0.224, 0.225];
    head.input.resize = tasks::detect::Resize::Stretch;
    head.input.pad_value = None;
    b.graph.metadata.insert(METADATA_KEY.into(), head.to_json());
    graph::shape::infer(&mut b.graph).expect("a graph that was built right");
    b.graph
}

/// A detector on a ResNet-50 with a feature pyramid (Lin et al., arXiv 1612.03144) and anchor-free heads at strides 8, 16 and 32: LBW-Net's backbone
/// with a head of today, 27 million weights at `width` 64 and 20 classes.
///
/// `size` is width and height of the input, multiples of 32.
pub fn resnet50(classes: &[String], width: usize, size: [usize; 2], seed: u64) -> Graph {
    let (mut b, x) = Builder::new("resnet50", size, seed ^ 0x7265_736e_6574_3530);
    let stages = Stages {
        blocks: [3, 4, 6, 3],
        bottleneck: true,
    };
    let [_, levels @ ..] = b.trunk(x, width, &stages);
    let wide = 4 * width;
    let mut above: Option<ValueId> = None;
    let mut heads = Vec::new();
    for ((x, channels), (name, stride)) in levels.into_iter().zip([("p3", 8), ("p4", 16), ("p5", 32)]).rev() {
        let mut x = b.normalized(x, &format!("{name}.lateral"), [channels, wide], [1, 1]);
        x = match above {
            Some(above) => {
                let above = b.doubled(above, &format!("{name}.up"));
                b.sum(x, above, &format!("{name}.merge"))
            }
            None => b.relu(x, &format!("{name}.lateral")),
        };
        above = Some(x);
        heads.push(Level {
            x: b.layer(x, &format!("{name}.fuse"), [wide; 2], 1),
            channels: wide,
            output: name,
            stride,
        });
    }
    heads.reverse();
    b.finish("resnet50", &heads, classes, size)
}

impl Builder {
    /// Features after each stage, at strides 4, 8, 16 and 32.
    fn trunk(&mut self, x: ValueId, width: usize, stages: &Stages) -> [Features; 4] {
        let stem = self.normalized(x, "stem", [3, width], [7, 2]);
        let stem = self.relu(stem, "stem");
        let pool = Op::MaxPool(Pool {
            kernel: vec![3; 2],
            strides: vec![2; 2],
            dilations: vec![1; 2],
            padding: Padding::Explicit(vec![1; 4]),
            ceil_mode: false,
            count_include_pad: false,
        });
        let mut x = (self.graph.add_node(pool, &[stem], "stem.pool"), width);
        let mut stage = 0;
        stages.blocks.map(|blocks| {
            let inner = width << stage;
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("stage{}.block{block}", stage + 1);
                x = self.block(x, &name, inner, stride, stages.bottleneck);
            }
            stage += 1;
            x
        })
    }

    /// A residual block; its way past is a 1 × 1 convolution where the shape changes.
    fn block(
        &mut self,
        (x, from): Features,
        name: &str,
        inner: usize,
        stride: usize,
        bottleneck: bool,
    ) -> Features {
        let part = |k: usize| format!("{name}.{k}");
        let (y, to) = if bottleneck {
            let y = self.normalized(x, &part(1), [from, inner], [1, 1]);
            let y = self.relu(y, &part(1));
            let y = self.normalized(y, &part(2), [inner; 2], [3, stride]);
            let y = self.relu(y, &part(2));
            (
                self.normalized(y, &part(3), [inner, 4 * inner], [1, 1]),
                4 * inner,
            )
        } else {
            let y = self.normalized(x, &part(1), [from, inner], [3, stride]);
            let y = self.relu(y, &part(1));
            (self.normalized(y, &part(2), [inner; 2], [3, 1]), inner)
        };
        let past = match from == to && stride == 1 {
            true => x,
            false => self.normalized(x, &format!("{name}.past"), [from, to], [1, stride]),
        };
        (self.sum(y, past, name), to)
    }

    pub(super) fn relu(&mut self, x: ValueId, name: &str) -> ValueId {
        self.graph
            .add_node(Op::Unary(Unary::Relu), &[x], &format!("{name}.relu"))
    }

    /// A matrix product with bias, from and to so many channels.
    fn linear(&mut self, x: ValueId, name: &str, [from, to]: [usize; 2]) -> ValueId {
        let deviation = (1.0 / from as f64).sqrt();
        let values: Vec<f32> = (0..from * to)
            .map(|_| (self.normal() * deviation) as f32)
            .collect();
        let weight = Tensor::new(vec![to, from], values).expect("as many values as the shape says");
        let inputs = [
            x,
            self.graph.add_constant(&format!("{name}.weight"), weight),
            self.graph
                .add_constant(&format!("{name}.bias"), Tensor::vector(vec![0f32; to])),
        ];
        let op = Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        self.graph.add_node(op, &inputs, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(graph: &Graph) -> usize {
        let running = |name: &str| name.ends_with(".mean") || name.ends_with(".variance");
        let constants = graph.constants.iter();
        constants
            .filter(|(v, _)| !running(&graph.value(**v).name))
            .map(|(_, t)| t.len())
            .sum()
    }

    #[test]
    fn resnet18_has_the_weights_of_the_papers() {
        let classes: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
        let graph = resnet18(&classes, 64, [224; 2], 1);
        graph.check().unwrap();
        assert_eq!(graph.value(graph.outputs[0]).fixed_shape().unwrap(), [1, 1000]);
        // What torchvision's has.
        assert_eq!(count(&graph), 11_689_512);
    }

    #[test]
    fn the_detector_on_resnet50_sees_at_three_strides() {
        let classes: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let graph = resnet50(&classes, 8, [96, 64], 1);
        graph.check().unwrap();
        let shapes: Vec<_> = (graph.outputs.iter())
            .map(|&v| graph.value(v).fixed_shape().unwrap())
            .collect();
        assert_eq!(shapes, [[1, 52, 8, 12], [1, 52, 4, 6], [1, 52, 2, 3]]);
    }

    #[test]
    fn its_trunk_has_the_weights_of_the_papers() {
        let (mut b, x) = Builder::new("trunk", [64; 2], 1);
        let stages = Stages {
            blocks: [3, 4, 6, 3],
            bottleneck: true,
        };
        let [.., (_, channels)] = b.trunk(x, 64, &stages);
        // torchvision's 25 557 032 without the last layer.
        assert_eq!((channels, count(&b.graph)), (2048, 25_557_032 - 2_049_000));
    }
}
