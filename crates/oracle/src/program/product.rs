//! Products with a quantized weight: `FORMAT.md` 1.3 and 1.4.

use graph::{EdgeQuantizer, Node, Op, WeightAnnotation};
use tensor::Tensor;

use super::Held;
use super::number::{level, prove, requantize};
use super::rule::{Float, Place};
use super::spiking;
use crate::ops::conv::{self, Sizes};
use crate::ops::linear;
use crate::ops::support::{Answer, count, tensor};

/// The numbers of a product.
pub(super) struct Product {
    from: EdgeQuantizer,
    to: To,
    /// Levels in the weight's ONNX order, and its shape.
    levels: Vec<i64>,
    weight: Vec<usize>,
    /// In units of s_x · s_c, one per output channel.
    bias: Vec<i64>,
    /// m_c, or the output's scale per unit where the output is float.
    m: Vec<f32>,
}

/// What becomes of the sums.
enum To {
    Codes(EdgeQuantizer),
    /// 1.4.
    Real,
    /// They are handed to neurons (1.16); what one is worth, of each channel.
    Sums(Vec<f64>),
}

/// Output channel of an element of a weight.
type Channel = Box<dyn Fn(usize) -> usize>;

/// The number of output channels, and the channel of every element of a weight.
fn channels(op: &Op, weight: &[usize]) -> Result<(usize, Channel), Float> {
    let inner: usize = weight.iter().skip(1).product();
    match (op, weight) {
        (Op::Conv(_), [m, _, _, ..]) => Ok((*m, Box::new(move |i| i / inner))),
        (Op::ConvTranspose(t), &[c, n, _, ..]) => {
            let group = t.conv.group;
            let all = n
                .checked_mul(group)
                .filter(|_| group > 0 && c.is_multiple_of(group));
            let all = all.ok_or("its groups do not fit its weight")?;
            let taps = inner / n.max(1);
            let rows = c / group;
            Ok((all, Box::new(move |i| i / inner / rows * n + i / taps % n)))
        }
        (Op::Gemm { trans_b: true, .. }, &[n, _]) => Ok((n, Box::new(move |i| i / inner))),
        (Op::Gemm { .. } | Op::MatMul, &[_, n]) => Ok((n, Box::new(move |i| i % n))),
        _ => Err(format!("a weight of {} dimensions has no integer rule", weight.len()).into()),
    }
}

/// Axis of the output channel in the weight, where one is.
fn channel_axis(op: &Op) -> Option<usize> {
    match op {
        Op::Conv(_) | Op::Gemm { trans_b: true, .. } => Some(0),
        Op::ConvTranspose(t) => (t.conv.group == 1).then_some(1),
        _ => Some(1),
    }
}

/// Whole numbers in a unit of their channel.
struct Units {
    levels: Vec<i64>,
    scales: Vec<f32>,
}

/// A weight of any number of points in whole numbers of one unit a channel.
fn units(weight: &WeightAnnotation) -> Result<Units, Float> {
    let none = || Float::from("the scales of its points have no common unit (1.3)");
    let first = weight.points.first().ok_or("its weight has no points")?;
    let mut levels: Vec<i64> = weight.integer_levels(0).into_iter().map(i64::from).collect();
    let mut scales = first.scales.clone();
    if weight.points.len() == 1 {
        return Ok(Units { levels, scales });
    }
    let alike = |p: &graph::Point| p.scales.len() == 1 && p.rows.is_none();
    if !weight.points.iter().all(alike) {
        scales.resize(weight.shape[weight.axis], first.scales[0]);
    }
    let terms: Vec<Vec<i32>> = (0..weight.points.len())
        .map(|p| weight.integer_levels(p))
        .collect();
    let mut factors = Vec::with_capacity(scales.len());
    for (c, unit) in scales.iter_mut().enumerate() {
        let of = |p: &graph::Point| f64::from(p.scales[if p.scales.len() == 1 { 0 } else { c }]);
        let has = |p: &graph::Point| {
            p.rows
                .as_ref()
                .is_none_or(|rows| rows.iter().any(|&r| r as usize == c))
        };
        let ratios = |f: i32| {
            let ratio = move |p| {
                if has(p) {
                    of(p) / of(first) * 2f64.powi(f)
                } else {
                    0.0
                }
            };
            weight.points.iter().map(ratio)
        };
        let fits = |f: &i32| ratios(*f).all(|r| r == r.trunc() && r < 131_072.0);
        let f = (0..=16).find(fits).ok_or_else(none)?;
        factors.push(ratios(f).map(|r| r as i64).collect::<Vec<_>>());
        *unit = (of(first) / 2f64.powi(f)) as f32;
    }
    for (i, level) in levels.iter_mut().enumerate() {
        let factors = &factors[if factors.len() == 1 { 0 } else { weight.channel(i) }];
        *level = terms.iter().zip(factors).map(|(t, r)| r * i64::from(t[i])).sum();
    }
    if levels.iter().any(|l| l.abs() > 1 << 23) || !scales.iter().all(|s| s.is_normal()) {
        return Err(none());
    }
    Ok(Units { levels, scales })
}

/// The product of a node.
pub(super) fn product(place: &Place<'_>) -> Result<Product, Float> {
    let Place { graph, node, .. } = place;
    let from = place.quantizer(0)?;
    let weight = node
        .inputs
        .get(1)
        .copied()
        .flatten()
        .and_then(|v| graph.weights.get(&v));
    let weight = weight.ok_or("its weight is not quantized")?;
    if let Op::Gemm {
        alpha, beta, trans_a, ..
    } = node.op
        && (alpha != 1.0 || beta != 1.0 || trans_a)
    {
        return Err("Gemm with alpha, beta other than 1 or a transposed first operand is float (1.3)".into());
    }
    let Units { levels, scales } = units(weight)?;
    let (channels, channel) = channels(&node.op, &weight.shape)?;
    let per_channel = scales.len() > 1;
    if per_channel && (scales.len() != channels || channel_axis(&node.op) != Some(weight.axis)) {
        return Err("its weight's scales are not one per output channel (1.3)".into());
    }
    let scale = |c: usize| scales[if per_channel { c } else { 0 }];
    let bias = bias(place, channels)?;
    let to = place.outputs.first().copied().flatten();
    let (mut sums, mut most) = (Vec::with_capacity(channels), 0);
    let mut weights = vec![0i128; channels];
    for (i, level) in levels.iter().enumerate() {
        weights[channel(i)] += i128::from(level.unsigned_abs());
    }
    let reach = i128::from(from.zero_point.max(from.max_code() - from.zero_point));
    let mut rule = Product {
        from,
        to: to.map_or(To::Real, To::Codes),
        levels,
        weight: weight.shape.clone(),
        bias: Vec::with_capacity(channels),
        m: Vec::with_capacity(channels),
    };
    for (c, (bias, weights)) in bias.into_iter().zip(weights).enumerate() {
        let unit = f64::from(from.scale) * f64::from(scale(c));
        // A cast saturates.
        let bias = (f64::from(bias) / unit).round_ties_even() as i64;
        let m = match to {
            Some(to) => (unit / f64::from(to.scale)) as f32,
            None => unit as f32,
        };
        let largest = i128::from(bias.unsigned_abs()) + reach * weights;
        if largest >= 1 << 62 {
            return Err(Float::Unbounded("its sums may reach 2^62 (1.13)".into()));
        }
        match to {
            Some(_) => prove(largest as f64, m).map_err(Float::Unbounded)?,
            None if m.is_finite() => {}
            None => {
                return Err(Float::Unbounded(
                    "its scales leave the range of f32 (1.13)".into(),
                ));
            }
        }
        rule.bias.push(bias);
        rule.m.push(m);
        sums.push(unit);
        most = most.max(largest);
    }
    // The output channel is axis 1.
    let flat = match &node.op {
        Op::Conv(_) | Op::Gemm { .. } => true,
        Op::MatMul => place.rank() == Some(2),
        _ => false,
    };
    if to.is_none() && place.hands_on && flat && most < spiking::REACH {
        rule.to = To::Sums(sums);
    }
    Ok(rule)
}

/// The bias as f32, zeros without one.
fn bias(place: &Place<'_>, channels: usize) -> Result<Vec<f32>, Float> {
    let Some(v) = place.node.inputs.get(2).copied().flatten() else {
        return Ok(vec![0.0; channels]);
    };
    let t = place.graph.constants.get(&v).ok_or("its bias is computed")?;
    let along = matches!(place.node.op, Op::Gemm { .. }) || t.rank() == 1;
    match t.as_f32() {
        Some(b) if b.len() == channels && along && t.shape().last() == Some(&channels) => Ok(b.to_vec()),
        _ => Err("its bias is not one F32 per output channel (1.3)".into()),
    }
}

impl Product {
    /// What the sums are worth, where they are handed on.
    pub(super) fn units(&self) -> Option<Vec<f64>> {
        match &self.to {
            To::Sums(units) => Some(units.clone()),
            _ => None,
        }
    }

    /// Codes of shape `shape` to codes, or to f32 where the output edge carries no quantizer.
    pub(super) fn run(&self, node: &Node, shape: &[usize], codes: &[u8]) -> Answer<Held> {
        let x: Vec<i64> = codes.iter().map(|&q| level(q, self.from)).collect();
        let (output, inner, acc) = match &node.op {
            Op::Conv(op) => self.convolve(&x, Sizes::conv(op, shape, &self.weight)?)?,
            Op::ConvTranspose(op) => self.convolve(&x, Sizes::transposed(op, shape, &self.weight)?)?,
            Op::Gemm { trans_b, .. } => {
                let &[rows, depth] = shape else {
                    return Err(format!("an operand of shape {shape:?} is no matrix"));
                };
                let (b_step, b_depth) = match (*trans_b, &self.weight[..]) {
                    (true, &[_, k]) => ([1, k], k),
                    (false, &[k, n]) => ([n, 1], k),
                    _ => return Err("its weight is no matrix".into()),
                };
                if depth != b_depth {
                    return Err(format!("operands {shape:?} and {:?} do not fit", self.weight));
                }
                let columns = self.bias.len();
                count(&[rows, columns], 8)?;
                let mut acc: Vec<i64> = (0..rows).flat_map(|_| self.bias.iter().copied()).collect();
                let sizes = [rows, depth, columns];
                linear::products(&x, [depth, 1], &self.levels, b_step, sizes, &mut acc);
                (vec![rows, columns], 1, acc)
            }
            _ => {
                let p = linear::Product::new(shape, &self.weight)?;
                count(&p.output, 8)?;
                let acc = p.run(&x, &self.levels);
                (p.output, 1, acc)
            }
        };
        if let To::Sums(_) = self.to {
            return Ok(Held::Sums(tensor(output, acc)?));
        }
        let channel = |i: usize| i / inner % self.m.len();
        let sums = acc.iter().enumerate();
        Ok(match self.to {
            To::Codes(to) => {
                let codes: Vec<u8> = sums
                    .map(|(i, &a)| requantize(a, self.m[channel(i)], to))
                    .collect();
                Held::Codes(tensor(output, codes)?)
            }
            To::Real | To::Sums(_) => {
                let reals: Vec<f32> = sums.map(|(i, &a)| a as f32 * self.m[channel(i)]).collect();
                Held::Real(tensor(output, reals)?)
            }
        })
    }

    /// Shape of the output, elements of one channel, sums.
    fn convolve(&self, x: &[i64], sizes: Sizes) -> Answer<(Vec<usize>, usize, Vec<i64>)> {
        let output = sizes.output()?;
        count(&output, 8)?;
        let inner = output[2..].iter().product::<usize>().max(1);
        let acc = conv::products(x, &self.levels, Some(&self.bias), &sizes);
        Ok((output, inner, acc))
    }
}

/// The weight as the f32 tensor that float operators read.
pub(super) fn decoded(weight: &WeightAnnotation) -> Answer<Tensor> {
    tensor(weight.shape.clone(), weight.decode())
}
