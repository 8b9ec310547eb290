//! What a convolution's or a Gemm's weights are multiplied by, at some of its output positions.

use graph::shape::{conv_output, conv_window};
use graph::{Conv, Op};
use kernels::float::backward::WeightGradient;
use kernels::{ConvShape, Isa, Pool};
use quant::feedback::{self, Halves, Moments};
use tensor::Tensor;

/// Inputs that a layer is fitted on, over all pictures: so many per weight of an output channel, this many at least.
const PER_WEIGHT: usize = 64;
const LEAST: usize = 16_384;

/// Multiplications that a layer's moments may take, beyond what [`FEWEST`] inputs per weight need: a wide layer gets fewer inputs.
const WORK: usize = 8_000_000_000;
const FEWEST: usize = 8;

/// Most weights of one output channel: beyond, the moments of one half would take more than 128 MiB.
const MOST_WEIGHTS: usize = 4096;

/// Copies in memory, beside both halves' moments of all groups: their sum, ordered, their root, answers.
const COPIES: usize = 4;

/// Empty moments of a layer, one for each group; `None` for layers that are not fitted, or whose moments take more bytes than there are.
pub(super) fn moments(op: &Op, weight: &[usize], most_bytes: usize) -> Option<Vec<Halves>> {
    let dim = weight.get(1..)?.iter().product::<usize>();
    let groups = match op {
        Op::Conv(conv) => conv.group.max(1),
        Op::Gemm { .. } => 1,
        _ => return None,
    };
    let channels = weight[0] / groups;
    let bytes = Moments::bytes(dim, channels)?.checked_mul(2 * groups + COPIES)?;
    let halves = || [(); 2].map(|()| Moments::new(dim, channels));
    ((1..=MOST_WEIGHTS).contains(&dim) && bytes <= most_bytes)
        .then(|| (0..groups).map(|_| halves()).collect())
}

/// Inputs over all pictures for a layer of so many groups, each with rows of `dim` weights.
fn inputs_of(dim: usize, groups: usize) -> usize {
    let each = (2 * dim * dim * groups).max(1);
    let most = (WORK / each).max(FEWEST * dim);
    (PER_WEIGHT * dim).max(LEAST).min(most)
}

/// Products below this size are not worth a kernel's preparation.
const SMALL: usize = 1024;

/// aᵀb, for `[rows, columns of a, columns of b]`: the gradient of a pointwise convolution's weights is one.
pub(super) fn product(pool: &Pool, [rows, m, n]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<f32> {
    if m * n < SMALL {
        return feedback::product([rows, m, n], a, b);
    }
    let shape = ConvShape::matrix(rows, n, m);
    let gradient = WeightGradient::new(&shape, Isa::best());
    let (mut scratch, mut out) = (vec![0.0; gradient.scratch()], vec![0.0; m * n]);
    gradient.run(pool, b, a, &mut scratch, &mut out);
    out
}

/// Adds the inputs of one picture, `(index, count)` of all, to the moments of its half of the pictures, from positions spread over it.
/// `inputs`: in the quantized and in the float network.
pub(super) fn add(
    groups: &mut [Moments],
    op: &Op,
    shape: &[usize],
    [input, float]: [&Tensor; 2],
    (picture, pictures): (usize, usize),
    pool: &Pool,
) {
    let (Some(values), Some(floats)) = (input.as_f32(), float.as_f32()) else {
        return;
    };
    let product = |size: [usize; 3], a: &[f32], b: &[f32]| product(pool, size, a, b);
    let Op::Conv(conv) = op else {
        return groups.iter_mut().for_each(|g| g.add(values, floats, &product));
    };
    let Some(geometry) = Geometry::new(conv, shape, input.shape()) else {
        return;
    };
    let dim: usize = shape[1..].iter().product();
    let count = inputs_of(dim, groups.len()).div_ceil(pictures.max(1));
    let all: usize = geometry.output.iter().product();
    let step = all.div_ceil(count).max(1);
    // Another start in each picture, so that all columns and rows are seen.
    let positions: Vec<usize> = (picture * 7 % step..all).step_by(step).collect();
    // All groups look at the same places.
    let offsets: Vec<_> = positions.iter().map(|&p| geometry.offsets(p)).collect();
    let image: usize = input.shape()[1..].iter().product::<usize>().max(1);
    for (group, moments) in groups.iter_mut().enumerate() {
        for (values, floats) in values.chunks_exact(image).zip(floats.chunks_exact(image)) {
            let rows = |image: &[f32]| {
                let mut rows = Vec::with_capacity(offsets.len() * dim);
                for offsets in &offsets {
                    geometry.gather(image, group * shape[1], offsets, &mut rows);
                }
                rows
            };
            moments.add(&rows(values), &rows(floats), &product);
        }
    }
}

/// A convolution's geometry over its spatial axes.
struct Geometry<'a> {
    window: tensor::Window<'a>,
    /// Input channels of a group.
    channels: usize,
    input: &'a [usize],
    output: Vec<usize>,
}

impl<'a> Geometry<'a> {
    fn new(conv: &'a Conv, weight: &[usize], shape: &'a [usize]) -> Option<Self> {
        Some(Geometry {
            window: conv_window(conv, shape).ok()?,
            channels: weight[1],
            input: shape.get(2..)?,
            output: conv_output(conv, shape).ok()?,
        })
    }

    /// Places in a channel that lie under the kernel at an output position.
    fn offsets(&self, position: usize) -> Vec<Option<usize>> {
        let taps = self.window.kernel.iter().product();
        (0..taps).map(|k| self.offset(position, k)).collect()
    }

    /// What lies there: channel by channel in the weight's order, 0 in the padding.
    fn gather(&self, image: &[f32], first_channel: usize, offsets: &[Option<usize>], out: &mut Vec<f32>) {
        let plane: usize = self.input.iter().product();
        for c in first_channel..first_channel + self.channels {
            let channel = &image[c * plane..(c + 1) * plane];
            out.extend(offsets.iter().map(|o| o.map_or(0.0, |o| channel[o])));
        }
    }

    /// Place in a channel of tap `k` at an output position; `None` in the padding.
    fn offset(&self, mut position: usize, mut k: usize) -> Option<usize> {
        let (mut offset, mut stride) = (0, 1);
        for a in (0..self.input.len()).rev() {
            let at = position % self.output[a] * self.window.stride[a];
            let tap = k % self.window.kernel[a] * self.window.dilation[a];
            let x = (at + tap).checked_sub(self.window.pad[a])?;
            if x >= self.input[a] {
                return None;
            }
            offset += x * stride;
            stride *= self.input[a];
            position /= self.output[a];
            k /= self.window.kernel[a];
        }
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graph::Padding;

    #[test]
    fn a_kernels_product_is_the_plain_one() {
        let numbers = |seed: usize, count: usize| -> Vec<f32> {
            let number = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0;
            (0..count).map(number).collect()
        };
        for [rows, m, n] in [[3, 2, 5], [1, 40, 30], [500, 33, 65], [3000, 64, 16]] {
            let (a, b) = (numbers(1, rows * m), numbers(2, rows * n));
            let (fast, plain) = (
                product(&Pool::new(2), [rows, m, n], &a, &b),
                feedback::product([rows, m, n], &a, &b),
            );
            assert_eq!(fast.len(), m * n);
            for (fast, plain) in fast.iter().zip(&plain) {
                assert!(
                    (fast - plain).abs() < 1e-5 * rows as f32,
                    "{rows} {m} {n}: {fast} {plain}"
                );
            }
        }
    }

    #[test]
    fn rows_times_weights_are_the_convolution() {
        let conv = Conv {
            kernel: vec![3, 2],
            strides: vec![2, 1],
            dilations: vec![1, 2],
            padding: Padding::Explicit(vec![1, 0, 1, 2]),
            group: 2,
        };
        let fill = |n: usize| -> Vec<f32> { (0..n).map(|i| (i * 31 % 17) as f32 - 8.0).collect() };
        let (input, weight) = ([1, 4, 5, 6], [4, 2, 3, 2]);
        let (x, w) = (fill(120), fill(48));
        let mut g = graph::Graph::new("t");
        let shape = Some(input.map(Some).to_vec());
        let v = g.add_value("x", Some(tensor::DType::F32), shape);
        g.inputs.push(v);
        let c = g.add_constant("w", Tensor::new(weight.to_vec(), w.clone()).unwrap());
        let y = g.add_node(Op::Conv(conv.clone()), &[v, c], "y");
        g.outputs.push(y);
        graph::passes::simplify(&mut g, &oracle::Reference, &Default::default()).unwrap();
        let plan = engine::compile(&g, &engine::Options::default()).unwrap();
        let tensor = Tensor::new(input.to_vec(), x.clone()).unwrap();
        let out = plan.run(&kernels::Pool::new(1), &[("x", &tensor)]).unwrap();
        let out = out[0].1.as_f32().unwrap();
        let geometry = Geometry::new(&conv, &weight, &input).unwrap();
        let plane: usize = geometry.output.iter().product();
        assert_eq!(out.len(), 4 * plane);
        for (at, y) in out.iter().enumerate() {
            let (m, position) = (at / plane, at % plane);
            let mut row = Vec::new();
            geometry.gather(&x, m / 2 * 2, &geometry.offsets(position), &mut row);
            let sum: f32 = row.iter().zip(&w[m * 12..]).map(|(x, w)| x * w).sum();
            assert_eq!(*y, sum);
        }
    }
}
