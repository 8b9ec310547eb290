//! Pools.

use super::conv::{padding, write_padding};
use super::{Context, Row, row};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::write::NodeWriter;
use crate::op::{Op, Pool};

pub(super) const ROWS: &[Row] = &[
    row("MaxPool", (1, 1), (1, 1), |c| {
        // The order of the second output, which is not supported.
        c.attrs.ignore("storage_order");
        Ok(Op::MaxPool(window(c)?).into())
    }),
    row("AveragePool", (1, 1), (1, 1), |c| {
        let count_include_pad = c.attrs.flag("count_include_pad", false)?;
        Ok(Op::AveragePool(Pool {
            count_include_pad,
            ..window(c)?
        })
        .into())
    }),
    row("GlobalAveragePool", (1, 1), (1, 1), |_| {
        Ok(Op::GlobalAveragePool.into())
    }),
    row("GlobalMaxPool", (1, 1), (1, 1), |_| Ok(Op::GlobalMaxPool.into())),
];

fn window(c: &Context<'_, '_, '_>) -> Load<Pool> {
    let axes = c.attrs.ints("kernel_shape")?.map_or(0, <[i64]>::len);
    if axes == 0 {
        return Err(LoadError::bad("kernel_shape is not given"));
    }
    Ok(Pool {
        kernel: c.attrs.positive("kernel_shape", axes, 1)?,
        strides: c.attrs.positive("strides", axes, 1)?,
        dilations: c.attrs.positive("dilations", axes, 1)?,
        padding: padding(&c.attrs, axes)?,
        ceil_mode: c.attrs.flag("ceil_mode", false)?,
        count_include_pad: false,
    })
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    let pool = match op {
        Op::MaxPool(pool) => pool,
        Op::AveragePool(pool) => {
            node.flag("count_include_pad", pool.count_include_pad);
            pool
        }
        _ => return,
    };
    node.sizes("kernel_shape", &pool.kernel);
    node.sizes("strides", &pool.strides);
    if pool.dilations.iter().any(|&d| d != 1) {
        if matches!(op, Op::AveragePool(_)) {
            node.needs_opset(19);
        }
        node.sizes("dilations", &pool.dilations);
    }
    write_padding(&pool.padding, node);
    node.flag("ceil_mode", pool.ceil_mode);
}
