//! Convolution and transposed convolution, over floats (`FORMAT.md` 1.15) and over integers (1.3).

use graph::{Conv, ConvTranspose};
use tensor::Tensor;

use super::number::Mac;
use super::support::{Answer, Inputs, Walk, count, pair, product, tensor};
use super::window::{Axis, Source, of_conv, of_transposed};

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
        // What each output pixel reads under this tap.
        let sources = sources(s, &at);
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
                for (acc, source) in acc.iter_mut().zip(&sources) {
                    match *source {
                        Source::At(i) => *acc = acc.mac(x[i], weight),
                        Source::Outside => *acc = acc.mac(T::ZERO, weight),
                        Source::Between => {}
                    }
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

/// The source of every output pixel under the tap at kernel coordinates `at`.
fn sources(s: &Sizes, at: &[usize]) -> Vec<Source> {
    let outputs: Vec<usize> = s.axes.iter().map(|a| a.output).collect();
    let inputs: Vec<usize> = s.axes.iter().map(|a| a.input).collect();
    let steps = tensor::strides(&inputs);
    let read = |a: usize, o: usize| {
        if s.transposed {
            s.axes[a].transposed(o, at[a])
        } else {
            s.axes[a].forward(o, at[a])
        }
    };
    let mut out = Vec::with_capacity(product(&outputs));
    Walk::new(&outputs, |a, o| match read(a, o) {
        Source::At(i) => Some(i * steps[a]),
        _ => None,
    })
    .for_each(|i| out.push(i.map_or(Source::Outside, Source::At)));
    if s.transposed {
        let mut i = 0;
        Walk::new(&outputs, |a, o| (read(a, o) != Source::Between).then_some(0)).for_each(|met| {
            if met.is_none() {
                out[i] = Source::Between;
            }
            i += 1;
        });
    }
    out
}
