//! Functions of single elements.

use graph::{Graph, Node, Op, Unary};
use kernels::float::{Activation, Rare};

/// The kernels' form of a node that applies a function to each element.
pub(super) fn activation(graph: &Graph, node: &Node) -> Option<Activation> {
    let bound = |i: usize, open: f32| match node.inputs.get(i).copied().flatten() {
        None => Some(open),
        Some(v) => graph.constants.get(&v)?.as_f32()?.first().copied(),
    };
    Some(match node.op {
        Op::Clip => Activation::Clip {
            low: bound(1, f32::NEG_INFINITY)?,
            high: bound(2, f32::INFINITY)?,
        },
        Op::Unary(unary) => match unary {
            Unary::Relu => Activation::Relu,
            Unary::LeakyRelu { alpha } => Activation::LeakyRelu { alpha },
            Unary::Sigmoid => Activation::Sigmoid,
            Unary::Swish { alpha } => Activation::Swish { alpha },
            Unary::HardSigmoid { alpha, beta } => Activation::HardSigmoid { alpha, beta },
            Unary::HardSwish => Activation::HardSwish,
            Unary::Mish => Activation::Mish,
            Unary::Tanh => Activation::Tanh,
            Unary::Exp => Activation::Exp,
            Unary::Elu { alpha } => Activation::Rare(Rare::Elu { alpha, gamma: 1.0 }),
            Unary::Selu { alpha, gamma } => Activation::Rare(Rare::Elu { alpha, gamma }),
            Unary::Softplus => Activation::Rare(Rare::Softplus),
            Unary::Softsign => Activation::Rare(Rare::Softsign),
            Unary::Gelu { tanh } => Activation::Rare(Rare::Gelu { tanh }),
            Unary::Erf => Activation::Rare(Rare::Erf),
            Unary::Log => Activation::Rare(Rare::Log),
            Unary::Sqrt => Activation::Rare(Rare::Sqrt),
            Unary::Reciprocal => Activation::Rare(Rare::Reciprocal),
            Unary::Abs => Activation::Rare(Rare::Abs),
            Unary::Sin => Activation::Rare(Rare::Sin),
            Unary::Cos => Activation::Rare(Rare::Cos),
            // Steps and truth values: their slope is 0 wherever it exists.
            Unary::Neg
            | Unary::Sign
            | Unary::Floor
            | Unary::Ceil
            | Unary::Round
            | Unary::Not
            | Unary::IsNaN => return None,
        },
        _ => return None,
    })
}
