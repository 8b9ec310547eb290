//! Conv and ConvTranspose.

use super::{Context, Parsed, Row, row};
use crate::graph::ValueId;
use crate::onnx::attributes::{Attributes, wrong_count};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::write::NodeWriter;
use crate::op::{Conv, ConvTranspose, Op, Padding};

pub(super) const ROWS: &[Row] = &[
    row("Conv", (2, 3), (1, 1), conv),
    row("ConvTranspose", (2, 3), (1, 1), conv_transpose),
];

fn conv(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    Ok(Op::Conv(window(c)?).into())
}

fn conv_transpose(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    let conv = window(c)?;
    let axes = conv.kernel.len();
    let output_padding = c
        .attrs
        .not_negative("output_padding", axes)?
        .unwrap_or(vec![0; axes]);
    let output_shape = match c.attrs.ints("output_shape")? {
        None => None,
        Some(_) => Some(c.attrs.positive("output_shape", axes, 1)?),
    };
    Ok(Op::ConvTranspose(ConvTranspose {
        conv,
        output_padding,
        output_shape,
    })
    .into())
}

fn window(c: &Context<'_, '_, '_>) -> Load<Conv> {
    let from_weight = match c.input(1).and_then(|w| weight_shape(c, w)) {
        Some(shape) if shape.len() < 3 => {
            let rank = shape.len();
            return Err(LoadError::bad(format!(
                "the weight has {rank} dimensions, a convolution wants 3 or more"
            )));
        }
        Some(shape) => shape.get(2..).and_then(|kernel| kernel.iter().copied().collect()),
        None => None,
    };
    let kernel = match (c.attrs.ints("kernel_shape")?, from_weight) {
        (Some(list), from_weight) => {
            let axes = from_weight.as_ref().map_or(list.len(), Vec::len);
            let kernel = c.attrs.positive("kernel_shape", axes, 1)?;
            if let Some(w) = from_weight.filter(|w| *w != kernel) {
                return Err(LoadError::bad(format!(
                    "kernel_shape is {kernel:?}, the weight's kernel is {w:?}"
                )));
            }
            kernel
        }
        (None, Some(kernel)) if kernel.iter().any(|k| !(1..=i32::MAX as usize).contains(k)) => {
            return Err(LoadError::bad(format!("the weight's kernel is {kernel:?}")));
        }
        (None, Some(kernel)) => kernel,
        (None, None) => {
            return Err(LoadError::unsupported(
                "kernel_shape is not given and the weight's shape is not known",
            )
            .help("export the model with constant weights"));
        }
    };
    let axes = kernel.len();
    if axes == 0 {
        return Err(LoadError::bad("kernel_shape is empty"));
    }
    let group = c.attrs.int_or("group", 1)?;
    let group = usize::try_from(group)
        .ok()
        .filter(|g| (1..=i32::MAX as usize).contains(g))
        .ok_or_else(|| LoadError::bad(format!("group is {group}; only 1 … 2^31 − 1 are possible")))?;
    Ok(Conv {
        strides: c.attrs.positive("strides", axes, 1)?,
        dilations: c.attrs.positive("dilations", axes, 1)?,
        padding: padding(&c.attrs, axes)?,
        kernel,
        group,
    })
}

/// Shape of a weight: a constant's, or what a graph input declares.
fn weight_shape(c: &Context<'_, '_, '_>, weight: ValueId) -> Option<Vec<Option<usize>>> {
    match c.builder.known_shape(weight) {
        Some(shape) => Some(shape.iter().copied().map(Some).collect()),
        None => c.builder.graph.value(weight).shape.clone(),
    }
}

/// `auto_pad` and `pads` of convolutions and pools; `pads` has no meaning beside another `auto_pad`.
pub(super) fn padding(attrs: &Attributes<'_>, axes: usize) -> Load<Padding> {
    #[derive(Clone, Copy)]
    enum Auto {
        NotSet,
        Upper,
        Lower,
        Valid,
    }
    let choices = [
        ("NOTSET", Auto::NotSet),
        ("SAME_UPPER", Auto::Upper),
        ("SAME_LOWER", Auto::Lower),
        ("VALID", Auto::Valid),
    ];
    let auto = attrs.choice("auto_pad", "NOTSET", &choices)?;
    let pads = match attrs.ints("pads")? {
        Some(list) if list.len() != 2 * axes => return Err(wrong_count("pads", list.len(), 2 * axes)),
        _ => attrs.not_negative("pads", 2 * axes)?,
    };
    Ok(match auto {
        Auto::NotSet => Padding::Explicit(pads.unwrap_or(vec![0; 2 * axes])),
        Auto::Upper => Padding::SameUpper,
        Auto::Lower => Padding::SameLower,
        Auto::Valid => Padding::Valid,
    })
}

pub(super) fn write_padding(padding: &Padding, node: &mut NodeWriter<'_>) {
    match padding {
        Padding::Explicit(pads) => node.sizes("pads", pads),
        Padding::SameUpper => node.string("auto_pad", "SAME_UPPER"),
        Padding::SameLower => node.string("auto_pad", "SAME_LOWER"),
        Padding::Valid => node.string("auto_pad", "VALID"),
    }
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    let conv = match op {
        Op::Conv(conv) => conv,
        Op::ConvTranspose(t) => {
            node.sizes("output_padding", &t.output_padding);
            if let Some(shape) = &t.output_shape {
                node.sizes("output_shape", shape);
            }
            &t.conv
        }
        _ => return,
    };
    node.sizes("kernel_shape", &conv.kernel);
    node.sizes("strides", &conv.strides);
    node.sizes("dilations", &conv.dilations);
    write_padding(&conv.padding, node);
    node.int("group", conv.group as i64);
}
