//! An `AddRows` node gives a weight a point that some output channels have.

use tensor::Data;

use super::super::attributes::Attributes;
use super::super::error::{Load, LoadError};
use super::super::read::Builder;
use super::decode::{constant, wrong};
use crate::annotation::{Point, WeightAnnotation};
use crate::graph::ValueId;

/// Reads an `AddRows` node.
pub(super) fn add_rows(
    builder: &mut Builder<'_, '_>,
    inputs: &[Option<ValueId>],
    outputs: &[ValueId],
    attrs: Attributes<'_>,
) -> Load<()> {
    let (&[Some(weight), Some(rows), Some(channels)], &[output]) = (inputs, outputs) else {
        return Err(LoadError::bad("AddRows has three inputs and one output"));
    };
    let axis = attrs
        .int("axis")?
        .ok_or_else(|| LoadError::bad("attribute axis is missing"))?;
    attrs.finish()?;
    let decoded = |id, what: &str| {
        let weights = &builder.graph.weights;
        let missing = || LoadError::bad(format!("input {what} is no decoded weight"));
        weights.get(&id).ok_or_else(missing)
    };
    let (whole, extra) = (decoded(weight, "weight")?, decoded(rows, "rows")?);
    let channels = constant(builder, channels, "channels")?;
    let Data::I32(numbers) = channels.data() else {
        return Err(wrong("channels", "int32", channels));
    };
    let numbers = numbers.iter().map(|&n| u32::try_from(n).ok());
    let numbers = numbers
        .collect::<Option<Vec<u32>>>()
        .filter(|_| channels.rank() == 1);
    let numbers = numbers.ok_or_else(|| wrong("channels", "a vector of numbers of channels", channels))?;
    fits(whole, extra, axis, &numbers)?;
    builder.count_constant(whole.len().saturating_mul(whole.points.len() + 1))?;
    let (whole, extra) = (&builder.graph.weights[&weight], &builder.graph.weights[&rows]);
    let mut sum = whole.clone();
    sum.points.push(spread(whole, extra, numbers));
    sum.check().map_err(LoadError::bad)?;
    builder.set_weight(output, sum);
    Ok(())
}

/// Whether the rows are of the weight's kind.
fn fits(whole: &WeightAnnotation, extra: &WeightAnnotation, axis: i64, channels: &[u32]) -> Load<()> {
    let mut shape = whole.shape.clone();
    shape[whole.axis] = channels.len();
    let bad = |why: &str| Err(LoadError::bad(format!("AddRows: {why}")));
    match () {
        () if usize::try_from(axis) != Ok(whole.axis) || extra.axis != whole.axis => {
            bad("axis is not that of weight and rows")
        }
        () if extra.shape != shape => bad("rows has not the shape of so many channels of weight"),
        () if extra.points.len() != 1 || extra.zero_points.is_some() => {
            bad("rows is no weight of one point without zero points")
        }
        () if (extra.bits, &extra.levels) != (whole.bits, &whole.levels) => {
            bad("rows and weight have different levels")
        }
        () if channels.iter().any(|&c| c as usize >= whole.shape[whole.axis]) => {
            bad("channels names one that weight does not have")
        }
        () => Ok(()),
    }
}

/// Rows as a point of the whole weight.
fn spread(whole: &WeightAnnotation, extra: &WeightAnnotation, channels: Vec<u32>) -> Point {
    let inner: usize = whole.shape[whole.axis + 1..].iter().product();
    let (all, some) = (whole.shape[whole.axis], channels.len());
    let point = &extra.points[0];
    let mut codes = vec![0; whole.len()];
    let mut scales = vec![1.0; all];
    for (r, &c) in channels.iter().enumerate() {
        let c = c as usize;
        scales[c] = point.scales[if point.scales.len() == 1 { 0 } else { r }];
        let (to, from) = (
            codes.chunks_exact_mut(all * inner),
            point.codes.chunks_exact(some * inner),
        );
        for (to, from) in to.zip(from) {
            to[c * inner..(c + 1) * inner].copy_from_slice(&from[r * inner..(r + 1) * inner]);
        }
    }
    Point {
        codes,
        scales,
        rows: Some(channels),
    }
}
