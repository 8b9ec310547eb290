//! Batch, instance and layer normalization; Softmax.

use tensor::{Data, Tensor};

use super::number::{Number, Real, larger};
use super::support::{Answer, Inputs, axis, broadcast_shape, product, tensor, typed};

/// Numbers of one kind as f64.
fn f64s(t: &Tensor) -> Answer<Vec<f64>> {
    typed!(t, [F32, F64], v => v.iter().map(|x| x.to_f64()).collect())
}

/// An operand with one number per channel.
fn per_channel(i: Inputs<'_>, at: usize, channels: usize) -> Answer<Vec<f64>> {
    let t = i.need(at)?;
    if t.shape() != [channels] {
        return Err(format!(
            "input {at} has shape {:?}, there are {channels} channels",
            t.shape()
        ));
    }
    f64s(t)
}

/// [N, C, …] and the size of one channel.
fn channels(x: &Tensor) -> Answer<(usize, usize)> {
    match x.shape() {
        [_, c, rest @ ..] => Ok((*c, if x.is_empty() { 0 } else { product(rest) })),
        s => Err(format!("an input of shape {s:?} has no channels")),
    }
}

/// x, scale, bias, mean, variance.
pub(super) fn batch(i: Inputs<'_>, epsilon: f32) -> Answer {
    let x = i.need(0)?;
    let (c, inner) = channels(x)?;
    let all: Vec<Vec<f64>> = (1..5).map(|at| per_channel(i, at, c)).collect::<Answer<_>>()?;
    let [scale, bias, mean, variance] = &all[..] else {
        return Err("operands are missing".into());
    };
    fn run<T: Real>(x: &[T], c: usize, inner: usize, affine: impl Fn(usize) -> (f64, f64)) -> Vec<T> {
        let mut y = Vec::with_capacity(x.len());
        for (i, x) in x.chunks(inner.max(1)).enumerate() {
            let (a, b) = affine(i % c);
            let (a, b) = (T::of_f64(a), T::of_f64(b));
            y.extend(x.iter().map(|&x| T::fma(x, a, b)));
        }
        y
    }
    let affine = |c: usize| {
        let r = scale[c] / libm::sqrt(variance[c] + f64::from(epsilon));
        (r, bias[c] - mean[c] * r)
    };
    let data: Data = typed!(x, [F32, F64], v => run(v, c, inner, affine).into())?;
    tensor(x.shape().to_vec(), data)
}

/// (x − mean) · r + bias of one run of elements, in f64.
fn normalized<T: Real>(x: &[T], epsilon: f32, to: &mut Vec<T>, affine: impl Fn(usize) -> (f64, f64)) {
    let n = x.len() as f64;
    let mean = x.iter().fold(0.0, |s, x| s + x.to_f64()) / n;
    let square = |x: &T| (x.to_f64() - mean) * (x.to_f64() - mean);
    let variance = x.iter().fold(0.0, |s, x| s + square(x)) / n;
    let root = libm::sqrt(variance + f64::from(epsilon));
    to.extend(x.iter().enumerate().map(|(i, x)| {
        let (scale, bias) = affine(i);
        T::of_f64((x.to_f64() - mean) * (scale / root) + bias)
    }));
}

/// x, scale, bias: each channel of each picture by itself.
pub(super) fn instance(i: Inputs<'_>, epsilon: f32) -> Answer {
    let x = i.need(0)?;
    let (c, inner) = channels(x)?;
    let (scale, bias) = (per_channel(i, 1, c)?, per_channel(i, 2, c)?);
    let data: Data = typed!(x, [F32, F64], v => {
        let mut y = Vec::with_capacity(v.len());
        for (i, x) in v.chunks(inner.max(1)).enumerate() {
            normalized(x, epsilon, &mut y, |_| (scale[i % c], bias[i % c]));
        }
        y.into()
    })?;
    tensor(x.shape().to_vec(), data)
}

/// x, scale, bias?: everything from an axis on.
pub(super) fn layer(i: Inputs<'_>, from: i64, epsilon: f32) -> Answer {
    let x = i.need(0)?;
    let from = axis(from, x.rank())?;
    let shape = &x.shape()[from..];
    if x.is_empty() {
        return Ok(x.clone());
    }
    let spread = |t: &Tensor| {
        if broadcast_shape(&[t.shape(), shape])? != shape {
            return Err(format!(
                "an operand of shape {:?} is larger than {shape:?}",
                t.shape()
            ));
        }
        let v = f64s(t)?;
        let at = super::support::Walk::broadcast(t.shape(), shape).indices();
        Ok(at.into_iter().map(|i| v[i]).collect::<Vec<f64>>())
    };
    let scale = spread(i.need(1)?)?;
    let bias = i.get(2).map(spread).transpose()?;
    let data: Data = typed!(x, [F32, F64], v => {
        let mut y = Vec::with_capacity(v.len());
        for x in v.chunks(product(shape)) {
            normalized(x, epsilon, &mut y, |i| (scale[i], bias.as_ref().map_or(0.0, |b| b[i])));
        }
        y.into()
    })?;
    tensor(x.shape().to_vec(), data)
}

/// Softmax and LogSoftmax over one axis.
pub(super) fn softmax(i: Inputs<'_>, along: i64, log: bool) -> Answer {
    fn run<T: Real>(x: &[T], n: usize, inner: usize, log: bool) -> Vec<T> {
        let mut y = vec![<T as Number>::ZERO; x.len()];
        if x.is_empty() {
            return y;
        }
        for start in (0..x.len()).step_by(n * inner) {
            for lane in start..start + inner {
                let at = |k: usize| lane + k * inner;
                let m = (0..n).fold(T::LOWEST, |m, k| larger(m, x[at(k)]));
                let mut sum = <T as Number>::ZERO;
                for k in 0..n {
                    let e = x[at(k)].minus(m).exp();
                    y[at(k)] = e;
                    sum = sum.plus(e);
                }
                let log_sum = T::of_f64(libm::log(sum.to_f64()));
                for k in 0..n {
                    y[at(k)] = if log {
                        x[at(k)].minus(m).minus(log_sum)
                    } else {
                        y[at(k)].over(sum).unwrap_or(sum)
                    };
                }
            }
        }
        y
    }
    let x = i.need(0)?;
    let along = axis(along, x.rank())?;
    let (n, inner) = match x.is_empty() {
        true => (0, 0),
        false => (x.shape()[along], product(&x.shape()[along + 1..])),
    };
    let data: Data = typed!(x, [F32, F64], v => run(v, n, inner, log).into())?;
    tensor(x.shape().to_vec(), data)
}
