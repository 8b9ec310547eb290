//! A `DecodePlanes` node becomes an annotation.

use tensor::{Data, Tensor, bits};

use super::super::attributes::{Attributes, positive};
use super::super::error::{Load, LoadError};
use super::super::read::Builder;
use super::decode::{check_axis, constant, wrong};
use super::halves;
use crate::annotation::{Point, WeightAnnotation};
use crate::graph::ValueId;
use crate::planes::{LEVELS, counts, extent, group_of};

/// Reads a `DecodePlanes` node.
pub(super) fn planes(
    builder: &mut Builder<'_, '_>,
    inputs: &[Option<ValueId>],
    outputs: &[ValueId],
    attrs: Attributes<'_>,
) -> Load<()> {
    let (&[Some(mask), Some(planes), Some(scale)], &[output]) = (inputs, outputs) else {
        return Err(LoadError::bad("DecodePlanes has three inputs and one output"));
    };
    let missing = |name: &str| LoadError::bad(format!("attribute {name} is missing"));
    let shape = positive("shape", attrs.ints("shape")?.ok_or_else(|| missing("shape"))?)?;
    let group = positive("group", attrs.ints("group")?.ok_or_else(|| missing("group"))?)?;
    let axis = attrs.int("axis")?.ok_or_else(|| missing("axis"))?;
    let grid = attrs.string("grid")?.ok_or_else(|| missing("grid"))?;
    attrs.finish()?;
    let axis = usize::try_from(axis).ok().filter(|axis| *axis < shape.len());
    let axis = axis.ok_or_else(|| LoadError::bad(format!("attribute axis is no axis of shape {shape:?}")))?;
    let count = tensor::numel(&shape).map_err(|e| LoadError::bad(e.to_string()))?;
    let whole = extent(&shape).ok_or_else(|| LoadError::bad("a weight in planes has two axes or more"))?;
    let group = <[usize; 3]>::try_from(&group[..])
        .ok()
        .filter(|group| (0..3).all(|i| group[i] <= whole[i]))
        .ok_or_else(|| {
            LoadError::bad(format!(
                "attribute group is {group:?}, not three extents within {whole:?}"
            ))
        })?;

    // Groups are no more than weights, and these are counted before any is made.
    builder.count_constant(count)?;
    let groups: usize = counts(whole, group).iter().product();
    let mask = constant(builder, mask, "mask")?;
    let (Data::U8(stream), 1) = (mask.data(), mask.rank()) else {
        return Err(wrong("mask", "a vector of bytes", mask));
    };
    let mask = bits::unpack(stream, groups, 1).ok_or_else(|| {
        LoadError::bad(format!(
            "mask is not one bit for each of {groups} groups, and zeros"
        ))
    })?;
    let kept = || (0..count).filter(|&i| mask[group_of(whole, group, i)] == 1);
    let (plus, minus) = signs(constant(builder, planes, "planes")?, kept().count())?;
    let mut codes = vec![0; count];
    for ((i, plus), minus) in kept().zip(plus).zip(minus) {
        codes[i] = match (plus, minus) {
            (1, 1) => {
                return Err(LoadError::bad(format!(
                    "weight {i} is +1 and -1: it has a bit in both planes"
                )));
            }
            (1, _) => 1,
            (_, 1) => 3,
            _ => 0,
        };
    }
    halves::inherit(builder, scale, output);
    let scale = constant(builder, scale, "scale")?;
    let Some(scales) = scale.as_f32() else {
        return Err(wrong("scale", "float", scale));
    };
    check_axis("scale", scale, None, &shape, axis)?;
    let weight = WeightAnnotation {
        grid: grid.to_string(),
        bits: 2,
        shape,
        axis,
        levels: LEVELS.to_vec(),
        zero_points: None,
        points: vec![Point::whole(codes, scales.to_vec())],
    };
    weight.check().map_err(LoadError::bad)?;
    builder.set_weight(output, weight);
    Ok(())
}

/// Bits of both planes.
fn signs(planes: &Tensor, kept: usize) -> Load<(Vec<u8>, Vec<u8>)> {
    let (Data::U8(stream), &[2, length]) = (planes.data(), planes.shape()) else {
        return Err(wrong("planes", "two rows of bytes", planes));
    };
    let (plus, minus) = stream.split_at(length);
    match (bits::unpack(plus, kept, 1), bits::unpack(minus, kept, 1)) {
        (Some(plus), Some(minus)) if kept > 0 => Ok((plus, minus)),
        _ => Err(LoadError::bad(format!(
            "planes is of shape [2, {length}]; {kept} kept weights, at least one, take {} bytes a plane, and zeros behind the last bit",
            kept.div_ceil(8)
        ))),
    }
}
