//! Activations that exporters spell out are put together again.
//!
//! Each pattern is looked for from its last node backwards; what lies between must be read by the pattern alone.

use super::clamps::{Clamp, clamp};
use super::view::{View, input, near};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::{Binary, Op, Unary};

/// Puts them together and gives their number; the inner nodes are dead then.
pub(super) fn run(graph: &mut Graph) -> usize {
    let view = View::new(graph);
    let found: Vec<(NodeId, Unary, ValueId)> = (0..graph.nodes.len())
        .filter_map(|n| {
            let (op, x) = find(&view, &graph.nodes[n])?;
            Some((n, op, x))
        })
        .collect();
    for &(n, op, x) in &found {
        graph.nodes[n].op = Op::Unary(op);
        graph.nodes[n].inputs = vec![Some(x)];
    }
    found.len()
}

fn find(view: &View<'_>, node: &Node) -> Option<(Unary, ValueId)> {
    match &node.op {
        Op::Binary(Binary::Mul) => gated(view, node)
            .or_else(|| gelu(view, node))
            .or_else(|| clipped_line(view, node))
            .or_else(|| hard_swish(view, node)),
        Op::Binary(Binary::Div) => sigmoid_of_quotient(view, node)
            .or_else(|| clipped_line(view, node))
            .or_else(|| hard_swish(view, node)),
        Op::Binary(Binary::PRelu) => {
            let (x, slope) = (input(node, 0)?, input(node, 1)?);
            let alpha = view.uniform(slope, x)?;
            Some((leaky(alpha), x))
        }
        Op::Unary(Unary::LeakyRelu { alpha: 0.0 }) => Some((Unary::Relu, input(node, 0)?)),
        Op::Unary(Unary::Reciprocal) => {
            let x = one_plus_exp(view, input(node, 0)?, true)?;
            Some((Unary::Sigmoid, x))
        }
        Op::Unary(Unary::Log) => {
            let x = one_plus_exp(view, input(node, 0)?, false)?;
            Some((Unary::Softplus, x))
        }
        Op::Max => maximum(view, node),
        Op::Clip => clip(view, node),
        _ => None,
    }
}

fn leaky(alpha: f32) -> Unary {
    if alpha == 0.0 {
        Unary::Relu
    } else {
        Unary::LeakyRelu { alpha }
    }
}

/// Both orders of a node's two operands.
fn orders(node: &Node) -> Option<[(ValueId, ValueId); 2]> {
    let (a, b) = (input(node, 0)?, input(node, 1)?);
    Some([(a, b), (b, a)])
}

/// x · g(x): Swish, HardSwish, Mish.
fn gated(view: &View<'_>, node: &Node) -> Option<(Unary, ValueId)> {
    orders(node)?.into_iter().find_map(|(x, gate)| {
        let gate = view.inner(gate)?;
        let inside = input(gate, 0)?;
        let op = match gate.op {
            Op::Unary(Unary::Sigmoid) if inside == x => Unary::Swish { alpha: 1.0 },
            Op::Unary(Unary::Sigmoid) => {
                let scaled = view.inner(inside)?;
                let (of, alpha) = view.with_uniform(scaled)?;
                if scaled.op != Op::Binary(Binary::Mul) || of != x {
                    return None;
                }
                Unary::Swish { alpha }
            }
            Op::Unary(Unary::HardSigmoid { alpha, beta })
                if inside == x && near(alpha, 1.0 / 6.0) && near(beta, 0.5) =>
            {
                Unary::HardSwish
            }
            Op::Unary(Unary::Tanh) if view.inner_unary(inside, Unary::Softplus)? == x => Unary::Mish,
            _ => return None,
        };
        Some((op, x))
    })
}

/// A product or quotient by a number: the operand and the factor.
fn factor(view: &View<'_>, node: &Node) -> Option<(ValueId, f32)> {
    match node.op {
        Op::Binary(Binary::Mul) => view.with_uniform(node),
        Op::Binary(Binary::Div) => {
            let (x, c) = (input(node, 0)?, input(node, 1)?);
            Some((x, 1.0 / view.uniform(c, x)?))
        }
        _ => None,
    }
}

/// Clip(x + b, 0, 6) of a value that only the pattern reads: x, b, and the upper bound.
fn clipped_sum(view: &View<'_>, v: ValueId) -> Option<(ValueId, f32, f32)> {
    let clamp = clamp(view, view.inner(v)?)?;
    let sum = view.inner(clamp.x).filter(|_| clamp.low == 0.0)?;
    if sum.op != Op::Binary(Binary::Add) {
        return None;
    }
    let (x, b) = view.with_uniform(sum)?;
    Some((x, b, clamp.high))
}

/// Clip(x + 3, 0, 6) / 6: a HardSigmoid.
fn clipped_line(view: &View<'_>, node: &Node) -> Option<(Unary, ValueId)> {
    let (clipped, scale) = factor(view, node)?;
    let (x, b, high) = clipped_sum(view, clipped)?;
    let op = Unary::HardSigmoid {
        alpha: scale,
        beta: b * scale,
    };
    near(high * scale, 1.0).then_some((op, x))
}

/// x · Clip(x + 3, 0, 6) / 6 with the division last.
fn hard_swish(view: &View<'_>, node: &Node) -> Option<(Unary, ValueId)> {
    let is_hard_swish = |x: ValueId, product: (ValueId, f32, f32)| {
        let (inside, b, high) = product;
        inside == x && near(b, 3.0) && near(high, 6.0)
    };
    if let Some((product, scale)) = factor(view, node).filter(|f| near(f.1, 1.0 / 6.0)) {
        let _ = scale;
        let product = view.inner(product)?;
        if product.op == Op::Binary(Binary::Mul) {
            return orders(product)?
                .into_iter()
                .find(|&(x, gate)| clipped_sum(view, gate).is_some_and(|c| is_hard_swish(x, c)))
                .map(|(x, _)| (Unary::HardSwish, x));
        }
    }
    // (x / 6) · Clip(x + 3, 0, 6)
    if node.op != Op::Binary(Binary::Mul) {
        return None;
    }
    orders(node)?.into_iter().find_map(|(scaled, gate)| {
        let (x, scale) = factor(view, view.inner(scaled)?)?;
        let sum = clipped_sum(view, gate)?;
        (near(scale, 1.0 / 6.0) && is_hard_swish(x, sum)).then_some((Unary::HardSwish, x))
    })
}

/// Clip(x, 0): Relu. Clip(a·x + b, 0, 1): HardSigmoid.
fn clip(view: &View<'_>, node: &Node) -> Option<(Unary, ValueId)> {
    let Clamp { x, low, high } = clamp(view, node)?;
    match (low, high) {
        (0.0, high) if high >= f32::MAX => Some((Unary::Relu, x)),
        (0.0, 1.0) => {
            let sum = view.inner(x)?;
            if sum.op != Op::Binary(Binary::Add) {
                return None;
            }
            let (line, beta) = view.with_uniform(sum)?;
            let (x, alpha) = factor(view, view.inner(line)?)?;
            Some((Unary::HardSigmoid { alpha, beta }, x))
        }
        _ => None,
    }
}

/// 1 + exp(∓x).
fn one_plus_exp(view: &View<'_>, v: ValueId, negated: bool) -> Option<ValueId> {
    let sum = view.inner(v)?;
    if sum.op != Op::Binary(Binary::Add) {
        return None;
    }
    let (power, one) = view.with_uniform(sum)?;
    if one != 1.0 {
        return None;
    }
    let exponent = view.inner_unary(power, Unary::Exp)?;
    if negated {
        view.inner_unary(exponent, Unary::Neg)
    } else {
        Some(exponent)
    }
}

/// 1 / (1 + exp(−x)).
fn sigmoid_of_quotient(view: &View<'_>, node: &Node) -> Option<(Unary, ValueId)> {
    let (one, sum) = (input(node, 0)?, input(node, 1)?);
    if view.uniform(one, sum)? != 1.0 {
        return None;
    }
    Some((Unary::Sigmoid, one_plus_exp(view, sum, true)?))
}

/// Max(x, 0) and Max(x, alpha · x).
fn maximum(view: &View<'_>, node: &Node) -> Option<(Unary, ValueId)> {
    if node.inputs.len() != 2 {
        return None;
    }
    if let Some((x, 0.0)) = view.with_uniform(node) {
        return Some((Unary::Relu, x));
    }
    orders(node)?.into_iter().find_map(|(x, scaled)| {
        let scaled = view.inner(scaled)?;
        let (of, alpha) = factor(view, scaled)?;
        (of == x && alpha > 0.0 && alpha < 1.0).then_some((Unary::LeakyRelu { alpha }, x))
    })
}

/// x · 0.5 · (1 + erf(x / √2)), the three factors in any order.
fn gelu(view: &View<'_>, node: &Node) -> Option<(Unary, ValueId)> {
    let mut factors = Vec::with_capacity(3);
    let mut half = false;
    let mut open = vec![input(node, 0)?, input(node, 1)?];
    while let Some(v) = open.pop() {
        if view.constant(v).is_some() {
            let c = view.constant(v)?;
            half = !half && c.len() == 1 && c.as_f32()?.first() == Some(&0.5);
            if !half {
                return None;
            }
            continue;
        }
        match view.inner(v) {
            Some(product) if product.op == Op::Binary(Binary::Mul) && factors.len() + open.len() < 3 => {
                open.extend([input(product, 0)?, input(product, 1)?]);
            }
            _ => factors.push(v),
        }
    }
    let [a, b] = factors[..] else { return None };
    let x = [(a, b), (b, a)]
        .into_iter()
        .find(|&(x, gate)| one_plus_erf(view, gate) == Some(x))?
        .0;
    half.then_some((Unary::Gelu { tanh: false }, x))
}

/// 1 + erf(x / √2).
fn one_plus_erf(view: &View<'_>, v: ValueId) -> Option<ValueId> {
    let sum = view.inner(v)?;
    if sum.op != Op::Binary(Binary::Add) {
        return None;
    }
    let (erf, one) = view.with_uniform(sum)?;
    let scaled = view.inner(view.inner_unary(erf, Unary::Erf)?)?;
    let (x, scale) = factor(view, scaled)?;
    (one == 1.0 && near(scale, std::f32::consts::FRAC_1_SQRT_2)).then_some(x)
}
