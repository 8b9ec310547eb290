//! Which weights and edges of a graph become integers, and why others do not.
//!
//! The graph has been simplified: BatchNorm folded, activations fused, shapes inferred. An edge carries codes where an integer operator reads
//! it. Whatever leads, through operators with integer rules, to a product with a weight is integer; what only leads to the graph's outputs is
//! *decode* and stays float. So the last convolution of a head writes f32 (`FORMAT.md` 1.4) and boxes and scores never share a scale.

mod classes;
mod rules;
mod share;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use graph::{EdgeQuantizer, Graph, NodeId, Op, Unary, ValueId};

use crate::calibrate::{Observer, ObserverKind};
use crate::grid::Grid;
use crate::names::did_you_mean;
use crate::project::{ProjectOptions, named_choice};
use classes::{Class, Weighted, class, weighted};
pub use rules::{Action, Rule};
pub use share::{EdgeGroup, JOIN_FACTOR, Join, finish};

named_choice! {
    /// What a layer is in the network.
    Role {
        /// Reads the graph's input with no other weighted layer between.
        First = "first",
        /// Leads to no other weighted layer but those of the decode.
        Head = "head",
        /// One input channel per group.
        Depthwise = "depthwise",
        /// Kernel 1 everywhere, one group.
        Pointwise = "pointwise",
        /// Any other convolution.
        Dense = "dense",
        /// Gemm and MatMul.
        Linear = "linear",
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Grid of every layer without an override.
    pub grid: Grid,
    /// How weights are projected.
    pub project: ProjectOptions,
    /// Bits of activations, 1…8; the graph's inputs keep 8.
    pub act_bits: u32,
    /// How ranges of activations are chosen.
    pub observer: ObserverKind,
    /// Overrides; later ones win.
    pub rules: Vec<Rule>,
    /// Layers and other operators that stay float because their inputs, rounded to codes, would cost too much. Overrides are stronger.
    pub float_layers: BTreeSet<NodeId>,
}

/// A weight to project.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightTask {
    /// Node that multiplies by it.
    pub node: NodeId,
    /// Activation read.
    pub input: ValueId,
    /// The weight.
    pub weight: ValueId,
    /// One number per output channel.
    pub bias: Option<ValueId>,
    /// The node's output.
    pub output: ValueId,
    /// Axis of the output channel in the weight; `None` asks for one scale.
    pub axis: Option<usize>,
    /// What the layer is.
    pub role: Role,
    /// Levels.
    pub grid: Grid,
    /// The output edge carries no quantizer.
    pub float_output: bool,
    /// Other layers read the same weight.
    pub shared: bool,
}

/// A product with a weight that stays float.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloatLayer {
    /// The node.
    pub node: NodeId,
    /// A sentence's end: "its weight is computed, not a constant".
    pub reason: String,
}

/// What will be done to a graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Weights to project, in node order.
    pub weights: Vec<WeightTask>,
    /// Edges with quantizers.
    pub groups: Vec<EdgeGroup>,
    /// Concats, in node order.
    pub joins: Vec<Join>,
    /// Weighted layers left out.
    pub floats: Vec<FloatLayer>,
}

/// Why no plan was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum AnnotateError {
    #[error("activations have 1 to 8 bits, not {0}")]
    ActBits(u32),
    #[error("override \"{rule}\" names no weighted layer{} (`lowbit quantize --dry-run` lists layers and roles)", did_you_mean(.nearest.as_deref()))]
    NoLayer { rule: String, nearest: Option<String> },
    #[error("edge {edge}: {count} calibration values are not finite; the float model itself overflows there")]
    NonFinite { edge: String, count: u64 },
}

const FLOAT_INPUT: &str = "rounding its input to codes makes a large part of the outputs' error";

/// Decides what becomes integer.
///
/// # Errors
/// Bits out of range, an override that names nothing.
pub fn plan(graph: &Graph, request: &Request) -> Result<Plan, AnnotateError> {
    if !(1..=8).contains(&request.act_bits) {
        return Err(AnnotateError::ActBits(request.act_bits));
    }
    let flow = Flow::new(graph);
    let layers: Vec<(NodeId, Role)> = (0..graph.nodes.len())
        .filter(|&n| flow.is_product(n))
        .map(|n| (n, flow.role(n)))
        .collect();
    let named: Vec<(&str, &str, Role)> = layers
        .iter()
        .map(|&(n, role)| (graph.nodes[n].name.as_str(), graph.nodes[n].op.name(), role))
        .collect();
    for rule in &request.rules {
        if !named.iter().any(|&(name, op, role)| rule.matches(name, op, role)) {
            return Err(AnnotateError::NoLayer {
                rule: rule.to_string(),
                nearest: rule.suggestion(&named),
            });
        }
    }
    let (mut chosen, mut floats) = (BTreeMap::new(), Vec::new());
    for (&(node, role), &(name, op, _)) in layers.iter().zip(&named) {
        let last = request.rules.iter().rev().find(|r| r.matches(name, op, role));
        let outcome = match (flow.product(node), last) {
            (Err(reason), _) => Err(reason),
            (Ok(parts), Some(rule)) => match rule.action() {
                Action::Grid(grid) => Ok((parts, grid)),
                Action::Float => Err(format!("kept float by \"{rule}\"")),
            },
            (Ok(_), None) if request.float_layers.contains(&node) => Err(FLOAT_INPUT.into()),
            (Ok(parts), None) => Ok((parts, request.grid)),
        };
        match outcome {
            Ok((parts, grid)) => drop(chosen.insert(node, (parts, role, grid))),
            Err(reason) => floats.push(FloatLayer { node, reason }),
        }
    }
    let integer = flow.integer_nodes(&chosen.keys().copied().collect(), &request.float_layers);
    let (groups, joins) = flow.groups(&integer, request);
    let carries: BTreeSet<ValueId> = groups.iter().flat_map(|g| g.members.iter().copied()).collect();
    let mut uses: HashMap<ValueId, usize> = HashMap::new();
    for node in &graph.nodes {
        for v in node.inputs.iter().flatten() {
            *uses.entry(*v).or_default() += 1;
        }
    }
    let task = |(&node, &(parts, role, grid)): (&NodeId, &(Weighted, Role, Grid))| WeightTask {
        node,
        input: parts.input,
        weight: parts.weight,
        bias: parts.bias,
        output: graph.nodes[node].outputs[0],
        axis: parts.axis,
        role,
        grid,
        float_output: !carries.contains(&graph.nodes[node].outputs[0]),
        shared: uses.get(&parts.weight).is_some_and(|&n| n > 1),
    };
    Ok(Plan {
        weights: chosen.iter().map(task).collect(),
        groups,
        joins,
        floats,
    })
}

impl Plan {
    /// One fresh observer per group.
    pub fn observers(&self) -> Vec<Observer> {
        self.groups.iter().map(|g| Observer::new(g.observer)).collect()
    }

    /// For every observed edge its group.
    pub fn observed(&self) -> BTreeMap<ValueId, usize> {
        let of = |(i, g): (usize, &EdgeGroup)| g.observe.iter().map(move |&v| (v, i)).collect::<Vec<_>>();
        self.groups.iter().enumerate().flat_map(of).collect()
    }

    /// Quantizers of all edges, from one observer per group.
    ///
    /// # Errors
    /// When an observer saw values that are not finite.
    pub fn quantizers(
        &self,
        graph: &Graph,
        observers: &[Observer],
    ) -> Result<BTreeMap<ValueId, EdgeQuantizer>, AnnotateError> {
        for (group, observer) in self.groups.iter().zip(observers) {
            if observer.non_finite() > 0 {
                return Err(AnnotateError::NonFinite {
                    edge: share::names(graph, group),
                    count: observer.non_finite(),
                });
            }
        }
        Ok(share::resolve(&self.groups, &self.joins, observers))
    }
}

/// Most weights of a product that is part of the decode: the sum over a distribution's bins (DFL) has 16.
const DECODE_WEIGHTS: usize = 64;

/// Classes and reachability of one graph.
struct Flow<'g> {
    graph: &'g Graph,
    classes: Vec<Class>,
    consumers: HashMap<ValueId, Vec<NodeId>>,
    producers: HashMap<ValueId, NodeId>,
    /// A product with a weight lies before (after) the node, whatever is between.
    after_product: Vec<bool>,
    before_product: Vec<bool>,
    /// The same, products that are part of the decode left out.
    before_layer: Vec<bool>,
}

impl<'g> Flow<'g> {
    fn new(graph: &'g Graph) -> Self {
        let (consumers, producers) = (graph.consumers(), graph.producers());
        let count = graph.nodes.len();
        let mut flow = Flow {
            graph,
            classes: graph.nodes.iter().map(|n| class(graph, n)).collect(),
            consumers,
            producers,
            after_product: vec![false; count],
            before_product: vec![false; count],
            before_layer: vec![false; count],
        };
        for n in 0..count {
            let after = flow
                .inputs(n)
                .any(|p| flow.is_product(p) || flow.after_product[p]);
            flow.after_product[n] = after;
        }
        for n in (0..count).rev() {
            let before = flow
                .outputs(n)
                .any(|c| flow.is_product(c) || flow.before_product[c]);
            flow.before_product[n] = before;
        }
        for n in (0..count).rev() {
            let layer = |c: NodeId| flow.is_product(c) && !flow.decodes(c);
            let before = flow.outputs(n).any(|c| layer(c) || flow.before_layer[c]);
            flow.before_layer[n] = before;
        }
        flow
    }

    /// Nodes that write the inputs of a node.
    fn inputs(&self, n: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let inputs = self.graph.nodes[n].inputs.iter().flatten();
        inputs.filter_map(|v| self.producers.get(v).copied())
    }

    /// Nodes that read the outputs of a node.
    fn outputs(&self, n: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let outputs = self.graph.nodes[n].outputs.iter();
        outputs.filter_map(|v| self.consumers.get(v)).flatten().copied()
    }

    /// Operators that multiply by a weight where that is constant.
    fn is_product(&self, n: NodeId) -> bool {
        match &self.graph.nodes[n].op {
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. } => true,
            Op::MatMul => self.classes[n] == Class::Weighted,
            _ => false,
        }
    }

    /// The parts of a product that may be integer.
    fn product(&self, n: NodeId) -> Result<Weighted, String> {
        let parts = weighted(self.graph, &self.graph.nodes[n])?;
        if self.classes[n] != Class::Weighted {
            return Err("its input or output is not f32".into());
        }
        if self.decodes(n) {
            return Err(
                "part of the decode: it follows float operators and leads to the outputs alone".into(),
            );
        }
        Ok(parts)
    }

    /// Whether a product is part of the decode, as the sum over a distribution's bins is.
    fn decodes(&self, n: NodeId) -> bool {
        let weight = self.graph.nodes[n].inputs.get(1).copied().flatten();
        let few = weight
            .and_then(|w| self.graph.constants.get(&w))
            .is_some_and(|t| t.len() <= DECODE_WEIGHTS);
        few && !self.before_product[n] && self.after_product[n] && self.follows_float(n)
    }

    /// Whether the nearest operator before a node that makes new values is a float one.
    fn follows_float(&self, n: NodeId) -> bool {
        let mut at = n;
        loop {
            let first = self.graph.nodes[at].inputs.first().copied().flatten();
            match first.and_then(|v| self.producers.get(&v)) {
                Some(&p) if self.classes[p] == Class::Moves => at = p,
                Some(&p) => return self.classes[p] == Class::Float,
                None => return false,
            }
        }
    }

    fn role(&self, n: NodeId) -> Role {
        let node = &self.graph.nodes[n];
        let shape = node
            .inputs
            .get(1)
            .copied()
            .flatten()
            .and_then(|w| self.graph.constants.get(&w));
        let group_width = shape.and_then(|t| t.shape().get(1).copied()).unwrap_or(0);
        match &node.op {
            _ if !self.after_product[n] => Role::First,
            _ if !self.before_layer[n] => Role::Head,
            Op::Conv(c) if c.group > 1 && group_width == 1 => Role::Depthwise,
            Op::Conv(c) if c.group == 1 && c.kernel.iter().all(|&k| k == 1) => Role::Pointwise,
            Op::Conv(_) | Op::ConvTranspose(_) => Role::Dense,
            _ => Role::Linear,
        }
    }

    /// Inputs whose elements an operator computes with, as far as integer rules go.
    fn data_inputs(&self, n: NodeId) -> impl Iterator<Item = ValueId> + '_ {
        let count = match self.classes[n] {
            Class::Concat | Class::Fresh => self.graph.nodes[n].inputs.len(),
            _ => 1,
        };
        let inputs = self.graph.nodes[n].inputs.iter().take(count).flatten().copied();
        inputs.filter(|v| !self.graph.is_constant(*v))
    }

    /// The products chosen, and all operators with integer rules, but those kept float, that lead to one of them through such operators;
    /// activations only behind integers or the graph's inputs.
    fn integer_nodes(&self, products: &BTreeSet<NodeId>, floats: &BTreeSet<NodeId>) -> Vec<bool> {
        let mut integer = vec![false; self.graph.nodes.len()];
        for n in (0..self.graph.nodes.len()).rev() {
            integer[n] = match self.classes[n] {
                Class::Weighted => products.contains(&n),
                Class::Float => false,
                _ if floats.contains(&n) => false,
                _ => {
                    let outputs = self.graph.nodes[n].outputs.iter();
                    let readers = outputs
                        .flat_map(|v| self.consumers.get(v).into_iter().flatten().map(move |&c| (v, c)));
                    let mut leads =
                        readers.filter(|&(v, c)| integer[c] && self.data_inputs(c).any(|d| d == *v));
                    leads.next().is_some()
                }
            };
        }
        // The activation of a float operator is computed before its value is rounded, not on codes that span what it clips away.
        for n in 0..integer.len() {
            let activates = matches!(self.classes[n], Class::Clamp | Class::Table);
            integer[n] &= !(activates && self.inputs(n).any(|p| !integer[p]));
        }
        integer
    }

    /// Groups of edges that share a quantizer, and the Concats between them.
    fn groups(&self, integer: &[bool], request: &Request) -> (Vec<EdgeGroup>, Vec<Join>) {
        let nodes = || (0..self.graph.nodes.len()).filter(|&n| integer[n]);
        let mut carries: BTreeSet<ValueId> = nodes().flat_map(|n| self.data_inputs(n)).collect();
        for n in nodes().filter(|&n| self.classes[n] != Class::Weighted) {
            carries.extend(self.graph.nodes[n].outputs.iter().copied());
        }
        let index: BTreeMap<ValueId, usize> = carries.iter().enumerate().map(|(i, &v)| (v, i)).collect();
        let mut sets = share::Sets::new(index.len());
        // Edges that repeat, interpolate or will be clamped to another edge of the group need no observer.
        let mut derived: BTreeSet<ValueId> = BTreeSet::new();
        for n in nodes() {
            let node = &self.graph.nodes[n];
            let Some(x) = node.inputs.first().copied().flatten() else {
                continue;
            };
            match self.classes[n] {
                Class::Moves => {
                    for y in &node.outputs {
                        sets.join(index[y], index[&x]);
                        derived.insert(*y);
                    }
                }
                Class::Clamp if self.lends(x, integer) => {
                    sets.join(index[&x], index[&node.outputs[0]]);
                    derived.insert(x);
                }
                _ => {}
            }
        }
        let mut groups: BTreeMap<usize, EdgeGroup> = BTreeMap::new();
        for (&v, &i) in &index {
            let is_input = self.graph.inputs.contains(&v);
            let group = groups.entry(sets.find(i)).or_insert_with(|| EdgeGroup {
                members: Vec::new(),
                observe: Vec::new(),
                bits: request.act_bits,
                observer: request.observer,
                through: None,
            });
            group.members.push(v);
            if is_input {
                // Pictures fill their range evenly to its ends: eight bits and the extremes are exact for 8-bit pixels.
                (group.bits, group.observer) = (8, ObserverKind::MinMax);
            }
            if !derived.contains(&v) {
                group.observe.push(v);
            }
        }
        for group in groups.values_mut() {
            if let [only] = group.members[..] {
                group.through = self.sole_reader(only);
            }
        }
        let order: BTreeMap<usize, usize> = groups.keys().enumerate().map(|(g, &root)| (root, g)).collect();
        let mut of = |v: &ValueId| order[&sets.find(index[v])];
        let joins = nodes()
            .filter(|&n| self.classes[n] == Class::Concat)
            .map(|n| Join {
                inputs: self.data_inputs(n).map(|v| of(&v)).collect(),
                output: of(&self.graph.nodes[n].outputs[0]),
            })
            .collect();
        (groups.into_values().collect(), joins)
    }

    /// Whether the edge before a clamp may take its quantizer (`FORMAT.md` 1.5): computed by an integer operator, read by the clamp alone.
    fn lends(&self, x: ValueId, integer: &[bool]) -> bool {
        let alone = self.consumers.get(&x).is_some_and(|r| r.len() == 1) && !self.graph.outputs.contains(&x);
        let computed = self
            .producers
            .get(&x)
            .is_some_and(|&p| integer[p] && matches!(self.classes[p], Class::Weighted | Class::Fresh));
        alone && computed
    }

    /// The operator that alone reads an edge, where it is a table.
    fn sole_reader(&self, v: ValueId) -> Option<Unary> {
        let readers = self.consumers.get(&v)?;
        match readers[..] {
            [n] if !self.graph.outputs.contains(&v) => match self.graph.nodes[n].op {
                Op::Unary(u) => Some(u),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
