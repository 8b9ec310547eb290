//! Operators that move elements: concatenation, splitting, slicing, padding, reshaping, transposing.

use tensor::Tensor;

use super::{Context, MANY, Parsed, Row, row};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::write::NodeWriter;
use crate::op::{Op, PadMode};

pub(super) const ROWS: &[Row] = &[
    row("Concat", (1, MANY), (1, 1), |c| {
        let axis = c.attrs.int("axis")?;
        let axis = axis.ok_or_else(|| LoadError::bad("attribute axis is missing"))?;
        Ok(Op::Concat { axis }.into())
    }),
    row("Split", (1, 2), (1, MANY), split),
    row("Slice", (1, 5), (1, 1), slice),
    row("Pad", (1, 4), (1, 1), pad),
    row("Reshape", (2, 2), (1, 1), |c| {
        let allow_zero = c.attrs.flag("allowzero", false)?;
        Ok(Op::Reshape { allow_zero }.into())
    }),
    row("Flatten", (1, 1), (1, 1), |c| {
        let axis = c.attrs.int_or("axis", 1)?;
        Ok(Op::Flatten { axis }.into())
    }),
    row("Squeeze", (1, 2), (1, 1), |c| {
        axes_attribute(c)?;
        Ok(Op::Squeeze.into())
    }),
    row("Unsqueeze", (1, 2), (1, 1), |c| {
        axes_attribute(c)?;
        if c.input(1).is_none() {
            return Err(LoadError::bad("axes are missing"));
        }
        Ok(Op::Unsqueeze.into())
    }),
    row("Transpose", (1, 1), (1, 1), transpose),
    row("Expand", (2, 2), (1, 1), |_| Ok(Op::Expand.into())),
    row("Tile", (2, 2), (1, 1), |_| Ok(Op::Tile.into())),
    row("DepthToSpace", (1, 1), (1, 1), |c| {
        Ok(Op::DepthToSpace {
            block: block(c)?,
            crd: c.attrs.choice("mode", "DCR", &[("DCR", false), ("CRD", true)])?,
        }
        .into())
    }),
    row("SpaceToDepth", (1, 1), (1, 1), |c| {
        let block = block(c)?;
        // The other order, CRD, came with opset 28.
        c.attrs.choice("mode", "DCR", &[("DCR", ())])?;
        Ok(Op::SpaceToDepth { block }.into())
    }),
];

fn block(c: &Context<'_, '_, '_>) -> Load<usize> {
    let size = c.attrs.int("blocksize")?;
    let size = size.ok_or_else(|| LoadError::bad("attribute blocksize is missing"))?;
    usize::try_from(size)
        .ok()
        .filter(|b| (1..1 << 16).contains(b))
        .ok_or_else(|| LoadError::bad(format!("blocksize is {size}; only 1 … 65535 are possible")))
}

/// Axes of Squeeze and Unsqueeze became an input in opset 13.
fn axes_attribute(c: &mut Context<'_, '_, '_>) -> Load<()> {
    if c.opset < 13 {
        if c.inputs.len() > 1 {
            return Err(LoadError::bad("axes are an input only from opset 13 on"));
        }
        if let Some(axes) = c.attrs.ints("axes")?.map(<[i64]>::to_vec) {
            c.set_constant(1, "axes", Tensor::vector(axes));
        }
    }
    Ok(())
}

/// Sizes became an input in opset 13; `num_outputs` came in 18 and must agree with the outputs.
fn split(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    let axis = c.attrs.int_or("axis", 0)?;
    if c.opset < 13 {
        if c.inputs.len() > 1 {
            return Err(LoadError::bad("sizes are an input only from opset 13 on"));
        }
        if let Some(sizes) = c.attrs.ints("split")?.map(<[i64]>::to_vec) {
            if sizes.len() != c.outputs.len() {
                let (have, want) = (sizes.len(), c.outputs.len());
                return Err(LoadError::bad(format!(
                    "attribute split has {have} sizes for {want} outputs"
                )));
            }
            c.set_constant(1, "split", Tensor::vector(sizes));
        }
    }
    if let Some(n) = c
        .attrs
        .int("num_outputs")?
        .filter(|&n| n != c.outputs.len() as i64)
    {
        let have = c.outputs.len();
        return Err(LoadError::bad(format!(
            "num_outputs is {n}, the node has {have} outputs"
        )));
    }
    Ok(Op::Split { axis }.into())
}

/// Everything became inputs in opset 10.
fn slice(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    if c.opset < 10 {
        if c.inputs.len() > 1 {
            return Err(LoadError::bad("bounds are inputs only from opset 10 on"));
        }
        let list = |name| Ok::<_, LoadError>(c.attrs.ints(name)?.map(<[i64]>::to_vec));
        let (starts, ends, axes) = (list("starts")?, list("ends")?, list("axes")?);
        let (Some(starts), Some(ends)) = (starts, ends) else {
            return Err(LoadError::bad("attribute starts or ends is missing"));
        };
        if starts.len() != ends.len() || axes.as_ref().is_some_and(|a| a.len() != starts.len()) {
            return Err(LoadError::bad(
                "attributes starts, ends and axes differ in length",
            ));
        }
        c.set_constant(1, "starts", Tensor::vector(starts));
        c.set_constant(2, "ends", Tensor::vector(ends));
        if let Some(axes) = axes {
            c.set_constant(3, "axes", Tensor::vector(axes));
        }
    } else if c.input(1).is_none() || c.input(2).is_none() {
        return Err(LoadError::bad("starts or ends are missing"));
    }
    Ok(Op::Slice.into())
}

/// Paddings and the value became inputs in opset 11.
fn pad(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    let modes = [
        ("constant", PadMode::Constant),
        ("reflect", PadMode::Reflect),
        ("edge", PadMode::Edge),
        ("wrap", PadMode::Wrap),
    ];
    let mode = c.attrs.choice("mode", "constant", &modes)?;
    if c.opset < 11 {
        if c.inputs.len() > 1 {
            return Err(LoadError::bad("paddings are an input only from opset 11 on"));
        }
        let pads = c.attrs.ints("pads")?.map(<[i64]>::to_vec);
        let pads = pads.ok_or_else(|| LoadError::bad("attribute pads is missing"))?;
        c.set_constant(1, "pads", Tensor::vector(pads));
        let value = c.attrs.float_or("value", 0.0)?;
        if value != 0.0 {
            c.set_constant(2, "value", Tensor::scalar(value));
        }
    } else if c.input(1).is_none() {
        return Err(LoadError::bad("paddings are missing"));
    }
    Ok(Op::Pad { mode }.into())
}

fn transpose(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    let Some(list) = c.attrs.ints("perm")? else {
        return Ok(Op::Transpose { perm: None }.into());
    };
    let mut seen = vec![false; list.len()];
    let mut perm = Vec::with_capacity(list.len());
    for &axis in list {
        let slot = usize::try_from(axis)
            .ok()
            .and_then(|a| Some((a, seen.get_mut(a)?)));
        match slot {
            Some((axis, slot)) if !*slot => {
                *slot = true;
                perm.push(axis);
            }
            _ => return Err(LoadError::bad(format!("perm {list:?} is not a permutation"))),
        }
    }
    Ok(Op::Transpose { perm: Some(perm) }.into())
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    match op {
        Op::Concat { axis } | Op::Flatten { axis } => node.int("axis", *axis),
        Op::Split { axis } => {
            node.int("axis", *axis);
            if node.input_count() < 2 {
                node.int("num_outputs", node.output_count() as i64);
            }
        }
        Op::Pad { mode } => {
            let name = match mode {
                PadMode::Constant => "constant",
                PadMode::Reflect => "reflect",
                PadMode::Edge => "edge",
                PadMode::Wrap => {
                    node.needs_opset(19);
                    "wrap"
                }
            };
            node.string("mode", name);
        }
        Op::Reshape { allow_zero } => node.flag("allowzero", *allow_zero),
        Op::Transpose { perm: Some(perm) } => node.sizes("perm", perm),
        Op::DepthToSpace { block, crd } => {
            node.int("blocksize", *block as i64);
            node.string("mode", if *crd { "CRD" } else { "DCR" });
        }
        Op::SpaceToDepth { block } => node.int("blocksize", *block as i64),
        _ => {}
    }
}
