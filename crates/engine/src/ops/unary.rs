//! Functions of one element: tables of codes (`FORMAT.md` 1.5), f32 activations.

use graph::{Graph, Node, NodeId, Op, Unary, real_function};
use kernels::float::{Activation, activate};
use kernels::int::{self, Edge};
use tensor::Tensor;

use super::{No, edge_in, first_input};
use crate::compile::{Compiler, Repr, Want};
use crate::error::Fault;
use crate::memory::Kind;
use crate::view::View;

pub(super) fn covers(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Clip)
}

pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), No> {
    let (v, from) = edge_in(cx, n, 0)?;
    let (table, _) = node_table(cx, n, from)?;
    let x = cx.need(v, Repr::Codes, &Want::Dense).map_err(|f| f.0)?;
    let y = self::table(cx, &x, table);
    cx.hold(cx.node(n).outputs[0], Repr::Codes, y);
    Ok(())
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let activation = activation(cx.graph, cx.node(n)).ok_or("it has no f32 kernel")?;
    let v = first_input(cx, n).ok_or("its input is missing")?;
    let x = cx.need(v, Repr::Real, &Want::Dense)?;
    let isa = cx.isa();
    let y = in_place(cx, &x, activation.name(), move |pool, y| {
        activate(pool, isa, activation.kind, y)
    });
    cx.hold_float(cx.node(n).outputs[0], y);
    Ok(())
}

/// Emits something that changes a dense view's elements, over the view itself where nothing else needs it.
pub(super) fn in_place(
    cx: &mut Compiler<'_>,
    x: &View,
    kernel: &str,
    change: impl Fn(&kernels::Pool, &mut [f32]) + Send + Sync + 'static,
) -> View {
    let (at, len) = (x.offset, x.len());
    if cx.dies_here(x) {
        cx.emit(kernel, &[], &[x.buffer], {
            Box::new(move |mut io| {
                let pool = io.pool;
                change(pool, &mut io.out_reals()[at..at + len]);
                Ok(())
            })
        });
        return x.clone();
    }
    let buffer = cx.buffer(Kind::Reals, len);
    cx.emit(kernel, &[x.buffer], &[buffer], {
        Box::new(move |mut io| {
            let (pool, x) = (io.pool, io.reals(0));
            let y = io.out_reals();
            y.copy_from_slice(&x[at..at + len]);
            change(pool, y);
            Ok(())
        })
    });
    View::dense(buffer, &x.shape, &x.order())
}

/// Emits a table over a dense view of codes; nothing where the table changes nothing.
pub(super) fn table(cx: &mut Compiler<'_>, x: &View, table: [u8; 256]) -> View {
    if is_identity(&table) {
        return x.clone();
    }
    let (at, len, isa) = (x.offset, x.len(), cx.isa());
    let buffer = cx.buffer(Kind::Codes, len);
    cx.emit("table_u8u8", &[x.buffer], &[buffer], {
        Box::new(move |mut io| {
            let (pool, x) = (io.pool, &io.codes(0)[at..at + len]);
            int::table(pool, isa, &table, x, io.out_codes());
            Ok(())
        })
    });
    View::dense(buffer, &x.shape, &x.order())
}

pub(super) fn is_identity(table: &[u8; 256]) -> bool {
    table.iter().enumerate().all(|(q, &t)| usize::from(t) == q)
}

/// The table of a node whose input has quantizer `from`, and its output's quantizer.
pub(super) fn node_table(cx: &Compiler<'_>, n: NodeId, from: Edge) -> Result<([u8; 256], Edge), String> {
    let node = cx.node(n);
    let output = node.outputs[0];
    let to = cx.edges.get(&output).copied();
    let to = to.ok_or_else(|| format!("output \"{}\" carries no quantizer", cx.name(output)))?;
    let f = function(cx.graph, node)?;
    let entry = |q: usize| {
        // Codes beyond the largest do not occur; they get its entry, so that tables compare.
        let q = q.min(usize::from(from.hi)) as f64;
        let y = f(f64::from(from.scale) * (q - f64::from(from.zero))) / f64::from(to.scale);
        let r = y.round_ties_even() as i32;
        r.saturating_add(i32::from(to.zero)).clamp(0, i32::from(to.hi)) as u8
    };
    let mut table: [u8; 256] = std::array::from_fn(entry);
    // Unused entries say nothing against an identity.
    let used = usize::from(from.hi) + 1;
    if (0..used).all(|q| usize::from(table[q]) == q) {
        table = std::array::from_fn(|q| q as u8);
    }
    Ok((table, to))
}

/// The function of a unary operator or a Clip by constants, in double precision (1.14).
fn function(graph: &Graph, node: &Node) -> Result<Box<dyn Fn(f64) -> f64>, String> {
    match node.op {
        Op::Unary(u) => real_function(u).ok_or_else(|| format!("{} has no integer rule", u.name())),
        Op::Clip => {
            let (low, high) = bounds(graph, node).ok_or("its bounds are computed")?;
            let (low, high) = (f64::from(low), f64::from(high));
            Ok(Box::new(move |x| {
                let v = if low > x { low } else { x };
                if high < v { high } else { v }
            }))
        }
        _ => Err(format!("{} has no integer rule", node.op.name())),
    }
}

/// A Clip's constant bounds; infinite where they are left out.
fn bounds(graph: &Graph, node: &Node) -> Option<(f32, f32)> {
    let bound = |i: usize, missing: f32| match node.inputs.get(i).copied().flatten() {
        None => Some(missing),
        Some(_) => match graph.constant_input(node, i).and_then(Tensor::as_f32) {
            Some(&[value]) => Some(value),
            _ => None,
        },
    };
    Some((bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?))
}

/// An operator that the f32 kernels compute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) kind: Activation,
    name: &'static str,
}

impl Named {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

/// The f32 kernel of a node, if it is an activation.
pub(super) fn activation(graph: &Graph, node: &Node) -> Option<Named> {
    let named = |kind, name| Some(Named { kind, name });
    match node.op {
        Op::Clip => {
            let (low, high) = bounds(graph, node)?;
            named(Activation::Clip { low, high }, "clip_f32")
        }
        Op::Unary(u) => match u {
            Unary::Relu => named(Activation::Relu, "relu_f32"),
            Unary::LeakyRelu { alpha } => named(Activation::LeakyRelu { alpha }, "leaky_relu_f32"),
            Unary::Sigmoid => named(Activation::Sigmoid, "sigmoid_f32"),
            Unary::HardSigmoid { alpha, beta } => {
                named(Activation::HardSigmoid { alpha, beta }, "hard_sigmoid_f32")
            }
            Unary::HardSwish => named(Activation::HardSwish, "hard_swish_f32"),
            Unary::Swish { alpha } => named(Activation::Swish { alpha }, "swish_f32"),
            Unary::Mish => named(Activation::Mish, "mish_f32"),
            Unary::Tanh => named(Activation::Tanh, "tanh_f32"),
            Unary::Exp => named(Activation::Exp, "exp_f32"),
            _ => None,
        },
        _ => None,
    }
}
