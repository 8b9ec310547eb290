//! Convolution and transposed convolution, over floats (`FORMAT.md` 1.15) and over integers (1.3).

use graph::{Conv, ConvTranspose};
use tensor::Tensor;

use super::number::Mac;
use super::support::{Answer, Inputs, count, pair, product, tensor};
use super::window::{Axis, of_conv, of_transposed};

/// Sizes of a convolution, checked against its operands.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) group: usize,
    /// Channels of one group.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) axes: Vec<Axis>,
    pub(crate) transposed: bool,
}

impl Sizes {
    /// Of `Conv`: x [N, C, spatial…], w [M, C/group, kernel…].
    pub(crate) fn conv(op: &Conv, x: &[usize], w: &[usize]) -> Answer<Sizes> {
        let mut sizes = Sizes::checked(op, x, w)?;
        if w[1] != sizes.inputs || !w[0].is_multiple_of(op.group) {
            return Err(misfit(op, x, w));
        }
        sizes.outputs = w[0] / op.group;
        sizes.axes = of_conv(op, &x[2..])?;
        Ok(sizes)
    }

    /// Of `ConvTranspose`: x [N, C, spatial…], w [C, M/group, kernel…].
    pub(crate) fn transposed(op: &ConvTranspose, x: &[usize], w: &[usize]) -> Answer<Sizes> {
        let mut sizes = Sizes::checked(&op.conv, x, w)?;
        if w[0] != x[1] {
            return Err(misfit(&op.conv, x, w));
        }
        sizes.outputs = w[1];
        sizes.axes = of_transposed(op, &x[2..])?;
        sizes.transposed = true;
        Ok(sizes)
    }

    fn checked(op: &Conv, x: &[usize], w: &[usize]) -> Answer<Sizes> {
        let fits = x.len() >= 3 && w.len() == x.len() && w[2..] == op.kernel && op.group > 0;
        if !fits || !x[1].is_multiple_of(op.group) {
            return Err(misfit(op, x, w));
        }
        Ok(Sizes {
            batch: x[0],
            group: op.group,
            inputs: x[1] / op.group,
            outputs: 0,
            axes: Vec::new(),
            transposed: false,
        })
    }

    /// Output channels of all groups.
    pub(crate) fn channels(&self) -> Answer<usize> {
        let all = self.outputs.checked_mul(self.group);
        all.ok_or_else(|| "it has too many output channels".into())
    }

    /// Shape of the output.
    pub(crate) fn output(&self) -> Answer<Vec<usize>> {
        let mut shape = vec![self.batch, self.channels()?];
        shape.extend(self.axes.iter().map(|a| a.output));
        Ok(shape)
    }
}

fn misfit(op: &Conv, x: &[usize], w: &[usize]) -> String {
    let (kernel, group) = (&op.kernel, op.group);
    format!("x {x:?}, weight {w:?}, kernel {kernel:?} and group {group} do not fit")
}

pub(super) fn conv(i: Inputs<'_>, op: &Conv) -> Answer {
    let (x, w) = (i.need(0)?, i.need(1)?);
    run(x, w, i.get(2), &Sizes::conv(op, x.shape(), w.shape())?)
}

pub(super) fn conv_transpose(i: Inputs<'_>, op: &ConvTranspose) -> Answer {
    let (x, w) = (i.need(0)?, i.need(1)?);
    run(x, w, i.get(2), &Sizes::transposed(op, x.shape(), w.shape())?)
}

fn run(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, sizes: &Sizes) -> Answer {
    let shape = sizes.output()?;
    if let Some(b) = bias.filter(|b| b.shape() != [shape[1]] || b.dtype() != x.dtype()) {
        return Err(format!(
            "a bias {:?} of {:?} does not fit {} output channels",
            b.dtype(),
            b.shape(),
            shape[1]
        ));
    }
    count(&shape, 8)?;
    let data: tensor::Data = match bias {
        None => pair!(x, w, [F32, F64], (x, w) => products(x, w, None, sizes).into())?,
        Some(b) => match (x.data(), b.data()) {
            (tensor::Data::F32(x), tensor::Data::F32(b)) => {
                let w = w.as_f32().ok_or("x and weight differ in type")?;
                products(x, w, Some(b), sizes).into()
            }
            (tensor::Data::F64(x), tensor::Data::F64(b)) => match w.data() {
                tensor::Data::F64(w) => products(x, w, Some(b), sizes).into(),
                _ => return Err("x and weight differ in type".into()),
            },
            (d, _) => return Err(super::support::wrong_type(d.dtype())),
        },
    };
    tensor(shape, data)
}

/// The sums of products of every output: from the bias on, kernel taps in row-major order outermost, then input channels.
/// The output's length has been checked.
pub(crate) fn products<T: Mac>(x: &[T], w: &[T], bias: Option<&[T]>, s: &Sizes) -> Vec<T> {
    let channels = s.outputs * s.group;
    let pixels = product(&s.axes.iter().map(|a| a.output).collect::<Vec<_>>());
    let picture = product(&s.axes.iter().map(|a| a.input).collect::<Vec<_>>());
    let kernel: Vec<usize> = s.axes.iter().map(|a| a.kernel).collect();
    let taps = product(&kernel);
    let mut y = vec![T::ZERO; s.batch * channels * pixels];
    if y.is_empty() {
        return y;
    }
    if let Some(bias) = bias {
        for (i, channel) in y.chunks_mut(pixels).enumerate() {
            channel.fill(bias[i % channels]);
        }
    }
    let mut at = vec![0; kernel.len()];
    for tap in 0..taps {
        let met = met(s, &at);
        for (bm, acc) in y.chunks_mut(pixels).enumerate() {
            let (b, m) = (bm / channels, bm % channels);
            let g = m / s.outputs;
            for c in 0..s.inputs {
                let row = if s.transposed {
                    (g * s.inputs + c) * s.outputs + m % s.outputs
                } else {
                    m * s.inputs + c
                };
                let weight = w[row * taps + tap];
                let plane = (b * s.group + g) * s.inputs + c;
                let x = &x[plane * picture..][..picture];
                for &(o, source) in &met {
                    let x = source.map_or(T::ZERO, |i| x[i]);
                    acc[o] = acc[o].mac(x, weight);
                }
            }
        }
        for (i, &k) in at.iter_mut().zip(&kernel).rev() {
            *i += 1;
            if *i < k {
                break;
            }
            *i = 0;
        }
    }
    y
}

/// The output pixels that the tap at kernel coordinates `at` reaches, ascending, with the pixel that each reads; `None` is padding.
/// A transposed convolution's tap reaches one in stride's pixels along each axis, and no other is looked at.
fn met(s: &Sizes, at: &[usize]) -> Vec<(usize, Option<usize>)> {
    let sizes = |f: fn(&Axis) -> usize| s.axes.iter().map(f).collect::<Vec<_>>();
    let (to, from) = (
        tensor::strides(&sizes(|a| a.output)),
        tensor::strides(&sizes(|a| a.input)),
    );
    let mut all = vec![(0, Some(0))];
    for (a, axis) in s.axes.iter().enumerate() {
        let (first, step) = match s.transposed {
            true => axis.phase(at[a]),
            false => (0, 1),
        };
        let line: Vec<(usize, Option<usize>)> = (first..axis.output)
            .step_by(step)
            .map(|o| {
                let source = match s.transposed {
                    true => axis.transposed(o, at[a]),
                    false => axis.forward(o, at[a]),
                };
                (o * to[a], source.map(|i| i * from[a]))
            })
            .collect();
        let sum = |&(o, i): &(usize, Option<usize>)| {
            line.iter()
                .map(move |&(p, j)| (o + p, i.zip(j).map(|(i, j)| i + j)))
        };
        all = all.iter().flat_map(sum).collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One tap in stride's pixels: the work is that of the taps that meet a pixel or padding, not of all.
    #[test]
    fn a_transposed_tap_looks_at_its_phase_alone() {
        for (stride, dilation, begin) in [(1, 1, 0), (2, 1, 0), (3, 2, 1), (1000, 7, 5), (4, 4, 3)] {
            let axis = Axis {
                input: 5,
                output: 4 * stride + 2 * dilation + 1 - begin,
                kernel: 3,
                stride,
                dilation,
                begin,
                end: 0,
            };
            let sizes = Sizes {
                batch: 1,
                group: 1,
                inputs: 1,
                outputs: 1,
                axes: vec![axis],
                transposed: true,
            };
            for k in 0..3 {
                let all = met(&sizes, &[k]);
                assert!(all.len() <= axis.output.div_ceil(stride));
                // As the definition has it: o + pad = i·stride + tap·dilation.
                let want: Vec<(usize, Option<usize>)> = (0..axis.output)
                    .filter(|o| ((o + begin) as i64 - (k * dilation) as i64).rem_euclid(stride as i64) == 0)
                    .map(|o| {
                        let i = (0..5).find(|i| o + begin == i * stride + k * dilation);
                        (o, i)
                    })
                    .collect();
                assert_eq!(all, want, "stride {stride}, tap {k}");
            }
        }
    }
}
