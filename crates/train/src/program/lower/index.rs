//! What picks elements along axes by constant indices.

use graph::{NodeId, PadMode};
use kernels::float::backward::Gather;

use super::super::build::{Builder, Order, axis_in, in_order};
use super::super::error::Fault;
use super::super::instr::{Instr, Slot};
use super::{around, axis_of, integers};

/// A value on its way through several axes.
pub(super) struct Walk {
    pub(super) slot: Slot,
    /// In the slot's order.
    pub(super) shape: Vec<usize>,
    pub(super) order: Order,
}

impl Walk {
    /// Starts at a node's first input.
    pub(super) fn new(b: &mut Builder<'_>, n: NodeId) -> Result<Walk, Fault> {
        let v = b.input(n, 0)?;
        let order = b.order(v);
        Ok(Walk {
            slot: b.form(v, order)?,
            shape: in_order(&b.shape(v)?, order),
            order,
        })
    }

    /// Picks along ONNX's axis `axis`.
    pub(super) fn pick(&mut self, b: &mut Builder<'_>, axis: usize, indices: Vec<Option<usize>>, fill: f32) {
        let at = axis_in(axis, self.shape.len(), self.order);
        let (outer, len, inner) = around(&self.shape, at);
        let count = indices.len();
        let start = indices.first().copied().flatten().unwrap_or(0);
        let range = (0..count).all(|i| indices[i] == Some(start + i));
        if range && count == len {
            return;
        }
        self.shape[at] = count;
        let x = self.slot;
        self.slot = b.slot(&b.slots[x.index()].name.clone(), outer * count * inner);
        let y = self.slot;
        b.emit(if range {
            Instr::Slice {
                outer,
                len: len * inner,
                start: start * inner,
                count: count * inner,
                x,
                y,
            }
        } else {
            Instr::Gather {
                op: Gather {
                    outer,
                    len,
                    inner,
                    indices,
                },
                fill,
                x,
                y,
            }
        });
    }

    /// Ends at a node's output.
    pub(super) fn finish(self, b: &mut Builder<'_>, n: NodeId) -> Result<(), Fault> {
        b.define(b.graph.nodes[n].outputs[0], self.order, self.slot)
    }
}

pub(super) fn slice(b: &mut Builder<'_>, n: NodeId) -> Result<(), Fault> {
    let shape = b.shape(b.input(n, 0)?)?;
    let rank = shape.len();
    let starts = integers(b, n, 1)?.ok_or("its starts are missing")?;
    let ends = integers(b, n, 2)?.ok_or("its ends are missing")?;
    let axes = integers(b, n, 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = integers(b, n, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    let mut walk = Walk::new(b, n)?;
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis_of(axis, rank)?;
        let len = shape[axis] as i64;
        let wrap = |i: i64| if i < 0 { i.saturating_add(len) } else { i };
        let indices: Vec<Option<usize>> = match step {
            1.. => (wrap(start).clamp(0, len)..wrap(end).clamp(0, len))
                .step_by(step as usize)
                .map(|i| Some(i as usize))
                .collect(),
            ..0 => {
                let (from, to) = (wrap(start).clamp(-1, len - 1), wrap(end).clamp(-1, len - 1));
                let mut list = Vec::new();
                let mut i = from;
                while i > to {
                    list.push(Some(i as usize));
                    i = i.saturating_add(step);
                }
                list
            }
            0 => return Err("a step is 0".into()),
        };
        walk.pick(b, axis, indices, 0.0);
    }
    walk.finish(b, n)
}

pub(super) fn pad(b: &mut Builder<'_>, n: NodeId, mode: PadMode) -> Result<(), Fault> {
    let shape = b.shape(b.input(n, 0)?)?;
    let rank = shape.len();
    let pads = integers(b, n, 1)?.ok_or("its pads are missing")?;
    let fill = match b.graph.nodes[n].inputs.get(2).copied().flatten() {
        None => 0.0,
        Some(v) => *b
            .graph
            .constants
            .get(&v)
            .and_then(|t| t.as_f32()?.first())
            .ok_or("its filling is computed")?,
    };
    let axes = integers(b, n, 3)?.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * axes.len() {
        return Err("its pads and axes differ in length".into());
    }
    let mut walk = Walk::new(b, n)?;
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, rank)?;
        let len = shape[axis] as i64;
        let place = |at: i64| -> Option<usize> {
            let inside = (0..len).contains(&at);
            let at = match mode {
                _ if inside => at,
                PadMode::Constant => return None,
                PadMode::Edge => at.clamp(0, len - 1),
                PadMode::Wrap => at.rem_euclid(len),
                PadMode::Reflect => {
                    let period = (2 * (len - 1)).max(1);
                    let at = at.rem_euclid(period);
                    if at < len { at } else { period - at }
                }
            };
            Some(at as usize)
        };
        let indices = (-pads[i]..len + pads[axes.len() + i]).map(place).collect();
        walk.pick(b, axis, indices, fill);
    }
    walk.finish(b, n)
}

pub(super) fn gather(b: &mut Builder<'_>, n: NodeId, axis: i64) -> Result<(), Fault> {
    let (v, output) = (b.input(n, 0)?, b.graph.nodes[n].outputs[0]);
    let shape = b.shape(v)?;
    let axis = axis_of(axis, shape.len())?;
    let len = shape[axis] as i64;
    let list = integers(b, n, 1)?.ok_or("its indices are missing")?;
    let indices: Option<Vec<Option<usize>>> = list
        .iter()
        .map(|&i| {
            let i = if i < 0 { i + len } else { i };
            (0..len).contains(&i).then_some(Some(i as usize))
        })
        .collect();
    let indices = indices.ok_or("an index lies outside")?;
    // Its result may have another number of axes: ONNX's order has no need to know.
    let slot = b.form(v, Order::Onnx)?;
    let mut walk = Walk {
        slot,
        shape,
        order: Order::Onnx,
    };
    walk.pick(b, axis, indices, 0.0);
    b.define(output, Order::Onnx, walk.slot)
}
