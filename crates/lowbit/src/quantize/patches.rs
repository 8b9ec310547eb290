//! What a convolution's or a Gemm's weights are multiplied by, at some of its output positions.

use graph::{Conv, Op, shape};
use quant::feedback::SecondMoments;
use tensor::Tensor;

/// Inputs that a weight is fitted on, over all pictures: so many per weight of an output channel, this many at least.
const PER_WEIGHT: usize = 4;
const LEAST: usize = 2048;

/// Most weights of one output channel: beyond, the moments would take more than 128 MiB.
const MOST_WEIGHTS: usize = 4096;

/// Copies of the moments and of the inputs in memory: gathered, by columns, sums, ordered, their root.
const COPIES: usize = 3;

/// Empty moments of a layer, one for each group; `None` for layers that are not fitted, or whose moments take more bytes than there are.
pub(super) fn moments(op: &Op, weight: &[usize], most_bytes: usize) -> Option<Vec<SecondMoments>> {
    let dim = weight.get(1..)?.iter().product::<usize>();
    let groups = match op {
        Op::Conv(conv) => conv.group.max(1),
        Op::Gemm { .. } => 1,
        _ => return None,
    };
    let bytes = dim
        .checked_mul(dim)?
        .checked_mul((groups + COPIES) * size_of::<f64>())?;
    ((1..=MOST_WEIGHTS).contains(&dim) && bytes <= most_bytes).then(|| vec![SecondMoments::new(dim); groups])
}

/// Adds the inputs of one picture, `(index, count)` of all, to the moments, from positions spread over the picture.
pub(super) fn add(
    moments: &mut [SecondMoments],
    op: &Op,
    weight: &[usize],
    input: &Tensor,
    (picture, pictures): (usize, usize),
) {
    let Some(values) = input.as_f32() else { return };
    let dim: usize = weight[1..].iter().product();
    let Op::Conv(conv) = op else {
        return moments.iter_mut().for_each(|m| m.add(values));
    };
    let Some(window) = Window::new(conv, weight, input.shape()) else {
        return;
    };
    let count = (PER_WEIGHT * dim).max(LEAST).div_ceil(pictures.max(1));
    let all: usize = window.output.iter().product();
    let step = all.div_ceil(count).max(1);
    // Another start in each picture, so that all columns and rows are seen.
    let positions: Vec<usize> = (picture * 7 % step..all).step_by(step).collect();
    // All groups look at the same places.
    let offsets: Vec<_> = positions.iter().map(|&p| window.offsets(p)).collect();
    let image: usize = input.shape()[1..].iter().product();
    for (group, m) in moments.iter_mut().enumerate() {
        for image in values.chunks_exact(image.max(1)) {
            let mut rows = Vec::with_capacity(offsets.len() * dim);
            for offsets in &offsets {
                window.gather(image, group * weight[1], offsets, &mut rows);
            }
            m.add(&rows);
        }
    }
}

/// A convolution's geometry over its spatial axes.
struct Window<'a> {
    conv: &'a Conv,
    /// Input channels of a group.
    channels: usize,
    input: &'a [usize],
    output: Vec<usize>,
    begins: Vec<usize>,
}

impl<'a> Window<'a> {
    fn new(conv: &'a Conv, weight: &[usize], shape: &'a [usize]) -> Option<Self> {
        let input = shape.get(2..)?;
        let pads =
            shape::explicit_pads(&conv.padding, input, &conv.kernel, &conv.strides, &conv.dilations).ok()?;
        let (begins, ends) = pads.split_at(input.len());
        let output = (0..input.len()).map(|a| {
            let reach = conv.dilations[a] * (conv.kernel[a] - 1) + 1;
            let padded = input[a] + begins[a] + ends[a];
            Some(padded.checked_sub(reach)? / conv.strides[a] + 1)
        });
        Some(Window {
            conv,
            channels: weight[1],
            input,
            output: output.collect::<Option<_>>()?,
            begins: begins.to_vec(),
        })
    }

    /// Places in a channel that lie under the kernel at an output position.
    fn offsets(&self, position: usize) -> Vec<Option<usize>> {
        let taps = self.conv.kernel.iter().product();
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
            let at = position % self.output[a] * self.conv.strides[a];
            let tap = k % self.conv.kernel[a] * self.conv.dilations[a];
            let x = (at + tap).checked_sub(self.begins[a])?;
            if x >= self.input[a] {
                return None;
            }
            offset += x * stride;
            stride *= self.input[a];
            position /= self.output[a];
            k /= self.conv.kernel[a];
        }
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graph::Padding;

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
        let window = Window::new(&conv, &weight, &input).unwrap();
        let plane: usize = window.output.iter().product();
        assert_eq!(out.len(), 4 * plane);
        for (at, y) in out.iter().enumerate() {
            let (m, position) = (at / plane, at % plane);
            let mut row = Vec::new();
            window.gather(&x, m / 2 * 2, &window.offsets(position), &mut row);
            let sum: f32 = row.iter().zip(&w[m * 12..]).map(|(x, w)| x * w).sum();
            assert_eq!(*y, sum);
        }
    }
}
