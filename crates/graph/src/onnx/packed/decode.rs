//! A `Decode` node becomes an annotation.

use tensor::{Tensor, bits};

use super::super::attributes::{Attributes, positive};
use super::super::error::{Load, LoadError};
use super::super::read::Builder;
use super::halves;
use crate::annotation::{Point, WeightAnnotation};
use crate::graph::ValueId;

/// Reads a `Decode` node.
pub(super) fn decode(
    builder: &mut Builder<'_, '_>,
    inputs: &[Option<ValueId>],
    outputs: &[ValueId],
    attrs: Attributes<'_>,
) -> Load<()> {
    let (&[Some(codes), Some(levels), Some(scale), Some(zero_point)], &[output]) = (inputs, outputs) else {
        return Err(LoadError::bad("Decode has four inputs and one output"));
    };
    let missing = |name: &str| LoadError::bad(format!("attribute {name} is missing"));
    let width = attrs.int("bits")?.ok_or_else(|| missing("bits"))?;
    let width = u32::try_from(width)
        .ok()
        .filter(|b| (1..=8).contains(b))
        .ok_or_else(|| LoadError::bad(format!("attribute bits is {width}; 1 to 8 are possible")))?;
    let shape = positive("shape", attrs.ints("shape")?.ok_or_else(|| missing("shape"))?)?;
    let axis = attrs.int("axis")?.ok_or_else(|| missing("axis"))?;
    let (axis, channels) = usize::try_from(axis)
        .ok()
        .and_then(|axis| Some((axis, *shape.get(axis)?)))
        .ok_or_else(|| {
            LoadError::bad(format!(
                "attribute axis is {axis}, shape has {} axes",
                shape.len()
            ))
        })?;
    let grid = attrs.string("grid")?.ok_or_else(|| missing("grid"))?;
    attrs.finish()?;

    let count = tensor::numel(&shape).map_err(|e| LoadError::bad(e.to_string()))?;
    let packed = constant(builder, codes, "codes")?;
    let (tensor::Data::U8(_), &[points, length]) = (packed.data(), packed.shape()) else {
        return Err(wrong("codes", "bytes of shape [points, bytes]", packed));
    };
    if bits::packed_len(count, width) != Some(length) || points == 0 {
        return Err(LoadError::bad(format!(
            "codes is of shape [{points}, {length}]; {count} codes of {width} bits take {} bytes a point",
            bits::packed_len(count, width).unwrap_or(usize::MAX)
        )));
    }
    // One stream may stand under many nodes.
    builder.count_constant(count.saturating_mul(points))?;
    halves::inherit(builder, scale, output);
    let stream = constant(builder, codes, "codes")?.as_u8().unwrap_or_default();
    let levels = constant(builder, levels, "levels")?;
    let tensor::Data::I32(table) = levels.data() else {
        return Err(wrong("levels", "int32", levels));
    };
    if levels.rank() != 1 {
        return Err(wrong("levels", "a vector", levels));
    }
    let scale = constant(builder, scale, "scale")?;
    let Some(factors) = scale.as_f32() else {
        return Err(wrong("scale", "float", scale));
    };
    let per_point = check_axis("scale", scale, Some(points), &shape, axis)?;
    let zero_point = constant(builder, zero_point, "zero_point")?;
    let tensor::Data::I32(zeros) = zero_point.data() else {
        return Err(wrong("zero_point", "int32", zero_point));
    };
    let zero_points = if zero_point.rank() == 0 {
        if zeros != &[0] {
            return Err(LoadError::bad("a zero_point of no dimension is 0 and means none"));
        }
        None
    } else {
        check_axis("zero_point", zero_point, None, &shape, axis)?;
        Some(zeros.clone())
    };
    let points = stream
        .chunks_exact(length)
        .zip(factors.chunks_exact(per_point))
        .map(|(stream, scales)| {
            let codes = bits::unpack(stream, count, width)
                .ok_or_else(|| LoadError::bad("the last byte of codes has bits beyond the last code"))?;
            let scales = scales.to_vec();
            Ok(Point::whole(codes, scales))
        })
        .collect::<Load<_>>()?;
    let weight = WeightAnnotation {
        grid: grid.to_string(),
        bits: width,
        shape,
        axis,
        levels: table.clone(),
        zero_points,
        points,
    };
    debug_assert!(per_point == 1 || per_point == channels);
    weight.check().map_err(LoadError::bad)?;
    builder.set_weight(output, weight);
    Ok(())
}

pub(super) fn constant<'b>(builder: &'b Builder<'_, '_>, id: ValueId, what: &str) -> Load<&'b Tensor> {
    let constants = &builder.graph.constants;
    constants
        .get(&id)
        .ok_or_else(|| LoadError::bad(format!("input {what} is not an initializer")))
}

pub(super) fn wrong(what: &str, want: &str, have: &Tensor) -> LoadError {
    let (dtype, shape) = (have.dtype(), have.shape());
    LoadError::bad(format!(
        "input {what} is {dtype:?} of shape {shape:?}, not {want}"
    ))
}

/// The shape that broadcasts along `axis`, after the points where there are any; gives the numbers per point.
pub(super) fn check_axis(
    what: &str,
    have: &Tensor,
    points: Option<usize>,
    shape: &[usize],
    axis: usize,
) -> Load<usize> {
    let lead = usize::from(points.is_some());
    let dims = have.shape();
    let fits = dims.len() == shape.len() + lead
        && points.is_none_or(|p| dims.first() == Some(&p))
        && dims
            .iter()
            .skip(lead)
            .enumerate()
            .all(|(i, &d)| d == 1 || (i == axis && Some(&d) == shape.get(axis)));
    if !fits {
        return Err(LoadError::bad(format!(
            "input {what} of shape {dims:?} does not run along axis {axis} of shape {shape:?}"
        )));
    }
    Ok(dims.get(axis + lead).copied().unwrap_or(1))
}
