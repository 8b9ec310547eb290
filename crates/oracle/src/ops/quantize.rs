//! QuantizeLinear and DequantizeLinear as plain operators.

use tensor::{DType, Data, Tensor};

use super::support::{Answer, Inputs, axis, product, tensor, wrong_type};

/// Per-tensor or per-axis parameters.
struct Scales<'a> {
    scales: &'a [f32],
    zeros: Vec<i64>,
    inner: usize,
}

impl Scales<'_> {
    fn at(&self, i: usize) -> (f32, i64) {
        let c = if self.scales.len() == 1 {
            0
        } else {
            i / self.inner % self.scales.len()
        };
        (self.scales[c], self.zeros.get(c).copied().unwrap_or(0))
    }
}

fn scales<'a>(i: Inputs<'a>, along: i64) -> Answer<Scales<'a>> {
    let (x, s) = (i.need(0)?, i.need(1)?);
    let scales = i.f32s(1)?;
    let zero = i.get(2);
    let zeros = zero
        .map(|z| z.to_i64().ok_or_else(|| wrong_type(z.dtype())))
        .transpose()?
        .unwrap_or_default();
    if zero.is_some_and(|z| z.len() != scales.len()) {
        return Err(format!(
            "there are {} scales and {} zero points",
            scales.len(),
            zeros.len()
        ));
    }
    if scales.len() == 1 {
        let inner = 1;
        return Ok(Scales { scales, zeros, inner });
    }
    let along = axis(along, x.rank())?;
    if s.shape() != [x.shape()[along]] {
        return Err(format!(
            "scales {:?} do not fit axis {along} of {:?}",
            s.shape(),
            x.shape()
        ));
    }
    let inner = if x.is_empty() {
        1
    } else {
        product(&x.shape()[along + 1..])
    };
    Ok(Scales { scales, zeros, inner })
}

/// x, scale, zero_point?: the type is that of the zero point, u8 without one.
pub(super) fn quantize(i: Inputs<'_>, along: i64) -> Answer {
    let x = i.need(0)?;
    let s = scales(i, along)?;
    let values: Vec<f32> = match x.data() {
        Data::F32(v) => v.clone(),
        Data::I32(v) => v.iter().map(|&x| x as f32).collect(),
        d => return Err(wrong_type(d.dtype())),
    };
    fn run<T: TryFrom<i64>>(values: &[f32], s: &Scales<'_>, low: i64, high: i64) -> Vec<T> {
        let code = |(i, &x): (usize, &f32)| {
            let (scale, zero) = s.at(i);
            let q = ((x / scale).round_ties_even() as i64)
                .saturating_add(zero)
                .clamp(low, high);
            T::try_from(q).ok()
        };
        values.iter().enumerate().filter_map(code).collect()
    }
    let to = i.get(2).map_or(DType::U8, Tensor::dtype);
    let data: Data = match to {
        DType::U8 => run::<u8>(&values, &s, 0, 255).into(),
        DType::I8 => run::<i8>(&values, &s, -128, 127).into(),
        DType::U16 => run::<u16>(&values, &s, 0, 65_535).into(),
        DType::I16 => run::<i16>(&values, &s, -32_768, 32_767).into(),
        _ => return Err(wrong_type(to)),
    };
    tensor(x.shape().to_vec(), data)
}

/// x, scale, zero_point?.
pub(super) fn dequantize(i: Inputs<'_>, along: i64) -> Answer {
    let x = i.need(0)?;
    let s = scales(i, along)?;
    let codes = x.to_i64().ok_or_else(|| wrong_type(x.dtype()))?;
    let value = |(i, q): (usize, i64)| {
        let (scale, zero) = s.at(i);
        q.saturating_sub(zero) as f32 * scale
    };
    let y: Vec<f32> = codes.into_iter().enumerate().map(value).collect();
    tensor(x.shape().to_vec(), y)
}
