//! U-Nets for volumes (Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger, "3D U-Net", arXiv 1606.06650), three levels deep.

use graph::{Conv, ConvTranspose, Graph, Op, Padding, Pool, ValueId};
use tasks::segment::{METADATA_KEY, SegmentHead};
use tensor::{DType, Tensor};

use super::{Builder, mix};

/// How features go up a level.
#[derive(Clone, Copy)]
enum Up {
    /// Every voxel eight times.
    Nearest,
    /// A transposed convolution of 2³ and stride 2, with as many channels.
    Transposed,
}

/// A U-Net whose features are repeated on the way up: 88 691 parameters at `width` 8 and three classes.
///
/// `size` is depth, height and width of the input in voxels, multiples of 4; the network runs at any other such size. All convolutions are 3³ with padding 1,
/// BatchNormalization and ReLU, two of them at each level, but the last, 1³ to the classes' logits.
pub fn unet3d(classes: &[String], width: usize, size: [usize; 3], seed: u64) -> Graph {
    build("unet3d", Up::Nearest, classes, width, size, seed)
}

/// The same with transposed convolutions on the way up.
pub fn unet3d_transposed(classes: &[String], width: usize, size: [usize; 3], seed: u64) -> Graph {
    build("unet3d-transposed", Up::Transposed, classes, width, size, seed)
}

fn build(name: &str, up: Up, classes: &[String], width: usize, size: [usize; 3], seed: u64) -> Graph {
    let mut graph = Graph::new(name);
    let shape = [&[1, 1], &size[..]].concat().into_iter().map(Some).collect();
    let x = graph.add_value("volume", Some(DType::F32), Some(shape));
    graph.inputs.push(x);
    let mut b = Builder {
        graph,
        counter: mix(seed ^ 0x756e_6574_3364),
        axes: 3,
    };
    let (w1, w2, w4) = (width, 2 * width, 4 * width);
    let one = b.level(x, "e1", [1, w1]);
    let x = b.halved(one, "e2.pool");
    let two = b.level(x, "e2", [w1, w2]);
    let x = b.halved(two, "e3.pool");
    let x = b.level(x, "e3", [w2, w4]);
    let x = b.up(x, "d2", w4, up);
    let x = b.beside(x, two, "d2.concat");
    let x = b.level(x, "d2", [w4 + w2, w2]);
    let x = b.up(x, "d1", w2, up);
    let x = b.beside(x, one, "d1.concat");
    let x = b.level(x, "d1", [w2 + w1, w1]);
    let logits = b.conv(
        x,
        "logits",
        [w1, classes.len()],
        1,
        1,
        Some(vec![0.0; classes.len()]),
    );
    b.graph.outputs.push(logits);
    let head = SegmentHead {
        input: "volume".into(),
        output: "logits".into(),
        classes: classes.to_vec(),
        scale: 1.0 / 255.0,
        multiple: 4,
    };
    b.graph.metadata.insert(METADATA_KEY.into(), head.to_json());
    graph::shape::infer(&mut b.graph).expect("a graph that was built right");
    b.graph
}

impl Builder {
    /// Two layers.
    fn level(&mut self, x: ValueId, name: &str, [from, to]: [usize; 2]) -> ValueId {
        let x = self.layer(x, &format!("{name}.1"), [from, to], 1);
        self.layer(x, &format!("{name}.2"), [to, to], 1)
    }

    /// The largest of each 2³.
    fn halved(&mut self, x: ValueId, name: &str) -> ValueId {
        let pool = Op::MaxPool(Pool {
            kernel: vec![2; self.axes],
            strides: vec![2; self.axes],
            dilations: vec![1; self.axes],
            padding: Padding::Explicit(vec![0; 2 * self.axes]),
            ceil_mode: false,
            count_include_pad: false,
        });
        self.graph.add_node(pool, &[x], name)
    }

    fn beside(&mut self, a: ValueId, b: ValueId, name: &str) -> ValueId {
        self.graph.add_node(Op::Concat { axis: 1 }, &[a, b], name)
    }

    fn up(&mut self, x: ValueId, name: &str, channels: usize, up: Up) -> ValueId {
        let name = format!("{name}.up");
        if matches!(up, Up::Nearest) {
            return self.doubled(x, &name);
        }
        let shape = [&[channels, channels][..], &vec![2; self.axes]].concat();
        let deviation = (2.0 / channels as f64).sqrt();
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| (self.normal() * deviation) as f32)
            .collect();
        let weight = Tensor::new(shape, values).expect("as many values as the shape says");
        let weight = self.graph.add_constant(&format!("{name}.conv.weight"), weight);
        let op = Op::ConvTranspose(ConvTranspose {
            conv: Conv {
                kernel: vec![2; self.axes],
                strides: vec![2; self.axes],
                padding: Padding::Explicit(vec![0; 2 * self.axes]),
                dilations: vec![1; self.axes],
                group: 1,
            },
            output_padding: vec![0; self.axes],
            output_shape: None,
        });
        let y = self.graph.add_node(op, &[x, weight], &format!("{name}.conv"));
        let y = self.batch_norm(y, &name, channels);
        self.relu(y, &name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unet_of_the_method_has_its_size_and_runs_at_others() {
        let classes = ["background", "anterior", "posterior"].map(String::from);
        for (graph, parameters) in [
            (unet3d(&classes, 8, [40, 56, 40], 1), 88_691),
            (
                unet3d_transposed(&classes, 8, [40, 56, 40], 1),
                88_691 + 32 * 32 * 8 + 64 + 16 * 16 * 8 + 32,
            ),
        ] {
            graph.check().unwrap();
            assert_eq!(
                graph.value(graph.outputs[0]).fixed_shape().unwrap(),
                [1, 3, 40, 56, 40]
            );
            let trained = |name: &str| {
                !(name.ends_with("mean") || name.ends_with("variance") || name.ends_with("scales"))
            };
            let count: usize = (graph.constants.iter())
                .filter(|(v, _)| trained(&graph.value(**v).name))
                .map(|(_, t)| t.len())
                .sum();
            assert_eq!(count, parameters);
            let head = SegmentHead::from_json(&graph.metadata[METADATA_KEY]).unwrap();
            assert_eq!(head.classes, classes);
        }
    }
}
