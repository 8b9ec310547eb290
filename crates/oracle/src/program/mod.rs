//! A quantized graph run by `FORMAT.md` part 1, over i64 loops.
//!
//! Which nodes are integer, and why others are not, is decided here from the page; the engine decides on its own, and
//! `lowbit verify` compares the two.

mod number;
mod product;
mod rule;
mod run;
mod spiking;

use std::collections::{BTreeMap, HashMap};

use graph::{EdgeQuantizer, Graph, GraphError, NodeId, ValueId, WeightAnnotation};
use tensor::{Tensor, numel};

use crate::ops::support::Answer;
use number::{dequantize, quantize};
use rule::{Float, Place, Rule};

/// What an edge holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Held {
    /// Codes of the edge's quantizer, U8 in ONNX order.
    Codes(Tensor),
    /// Sums of a product for the neurons behind it (1.16), I64.
    Sums(Tensor),
    /// Values of any type.
    Real(Tensor),
}

/// Why a program was not made or did not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ProgramError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("annotation of \"{value}\": {reason}")]
    Annotation { value: String, reason: String },
    #[error("input \"{name}\": {reason}")]
    Input { name: String, reason: String },
    #[error("node \"{node}\" ({op}): {reason}")]
    Node {
        node: String,
        op: &'static str,
        reason: String,
    },
    #[error("stopped before node \"{node}\"")]
    Stopped { node: String },
}

/// A graph with the rule of each node.
pub struct Program {
    graph: Graph,
    /// Quantizers of all edges, those included that files leave out.
    edges: BTreeMap<ValueId, EdgeQuantizer>,
    rules: Vec<Result<Rule, String>>,
    /// Nodes after which a value is read no more.
    last_use: HashMap<ValueId, NodeId>,
}

impl Program {
    /// Decides the rule of each node. Shapes should have been inferred: without them averages over pictures and linear Resize
    /// run in float.
    ///
    /// # Errors
    /// Nodes out of order, annotations that contradict themselves.
    pub fn new(graph: &Graph) -> Result<Program, ProgramError> {
        graph.check()?;
        for (v, w) in &graph.weights {
            check_weight(w).map_err(|reason| annotation(graph, *v, reason))?;
        }
        for (v, e) in &graph.edges {
            check_edge(graph, *v, e).map_err(|reason| annotation(graph, *v, reason))?;
        }
        let consumers = graph.consumers();
        let mut edges = graph.edges.clone();
        let mut rules = Vec::with_capacity(graph.nodes.len());
        let mut sums = BTreeMap::new();
        for node in &graph.nodes {
            let mut outputs: Vec<_> = node.outputs.iter().map(|v| edges.get(v).copied()).collect();
            let readers = |v: &ValueId| consumers.get(v).map_or(&[][..], Vec::as_slice);
            let lent = match (&node.outputs[..], &outputs[..]) {
                ([v], [None]) if rule::lends(&node.op) => rule::lent(graph, *v, readers(v), &edges),
                _ => None,
            };
            if lent.is_some() {
                outputs[0] = lent;
            }
            let hands_on = match node.outputs[..] {
                [v] => spiking::reads_sums(graph, v, &consumers, &edges),
                _ => false,
            };
            let place = Place {
                graph,
                node,
                edges: &edges,
                outputs,
                hands_on,
                sums: &sums,
            };
            let rule = place.rule();
            if let (Ok(Rule::Product(p)), &[v]) = (&rule, &node.outputs[..])
                && let Some(units) = p.units()
            {
                sums.insert(v, units);
            }
            if let (Some(lent), Ok(_) | Err(Float::Unbounded(_))) = (lent, &rule) {
                edges.insert(node.outputs[0], lent);
            }
            // 1.8: an output edge without a quantizer takes the input's.
            if let (Ok(Rule::Moves(_) | Rule::Concat(_)), Some(from)) = (
                &rule,
                node.inputs
                    .first()
                    .copied()
                    .flatten()
                    .and_then(|x| edges.get(&x).copied()),
            ) {
                for &v in node.outputs.iter().filter(|&&v| rule::may_be_float(graph, v)) {
                    edges.entry(v).or_insert(from);
                }
            }
            rules.push(rule.map_err(|f| match f {
                Float::Uncovered(reason) | Float::Unbounded(reason) => reason,
            }));
        }
        let reads = |(n, node): (NodeId, &graph::Node)| {
            let all: Vec<ValueId> = node
                .inputs
                .iter()
                .flatten()
                .chain(&node.outputs)
                .copied()
                .collect();
            all.into_iter().map(move |v| (v, n))
        };
        Ok(Program {
            last_use: graph.nodes.iter().enumerate().flat_map(reads).collect(),
            graph: graph.clone(),
            edges,
            rules,
        })
    }

    /// Whether a node follows an integer rule; if not, why.
    ///
    /// # Errors
    /// The end of a sentence that begins with the node's name.
    pub fn is_integer(&self, node: NodeId) -> Result<(), String> {
        match self.rules.get(node) {
            Some(Ok(_)) => Ok(()),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err(format!("there is no node {node}")),
        }
    }

    /// The quantizer of an edge, those included that files leave out (1.5, 1.8).
    pub fn quantizer(&self, edge: ValueId) -> Option<EdgeQuantizer> {
        self.edges.get(&edge).copied()
    }

    /// Runs the graph on named inputs; `seen` gets every node's outputs as they appear. Outputs that carry a quantizer are
    /// dequantized.
    ///
    /// # Errors
    /// A missing input or one of another type, a node without a result.
    pub fn run(
        &self,
        inputs: &[(&str, &Tensor)],
        seen: &mut dyn FnMut(NodeId, ValueId, &Held),
    ) -> Result<Vec<(String, Tensor)>, ProgramError> {
        self.run_while(inputs, &|| true, seen)
    }

    /// The same for as long as `wanted`, which is asked before each node: scalar loops over a large picture take minutes.
    ///
    /// # Errors
    /// As [`Program::run`]; [`ProgramError::Stopped`] once it is wanted no more.
    pub fn run_while(
        &self,
        inputs: &[(&str, &Tensor)],
        wanted: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(NodeId, ValueId, &Held),
    ) -> Result<Vec<(String, Tensor)>, ProgramError> {
        let mut held: HashMap<ValueId, Held> = HashMap::new();
        for &v in &self.graph.inputs {
            let name = &self.graph.value(v).name;
            let fault = |reason: String| ProgramError::Input {
                name: name.clone(),
                reason,
            };
            let given = inputs.iter().find(|(n, _)| n == name).map(|(_, t)| *t);
            let given = given.ok_or_else(|| fault("it is not given".into()))?;
            held.insert(v, self.held(v, given.clone()).map_err(fault)?);
        }
        for (n, node) in self.graph.nodes.iter().enumerate() {
            if !wanted() {
                let node = node.name.clone();
                return Err(ProgramError::Stopped { node });
            }
            let results = self.node(n, &held).map_err(|reason| ProgramError::Node {
                node: node.name.clone(),
                op: node.op.name(),
                reason,
            })?;
            for (&v, result) in node.outputs.iter().zip(results) {
                seen(n, v, &result);
                held.insert(v, result);
            }
            for v in node.inputs.iter().flatten().chain(&node.outputs) {
                if self.last_use.get(v) == Some(&n) && !self.graph.outputs.contains(v) {
                    held.remove(v);
                }
            }
        }
        let output = |&v: &ValueId| {
            let name = self.graph.value(v).name.clone();
            match self.real(v, &held) {
                Ok(t) => Ok((name, t)),
                Err(reason) => Err(ProgramError::Input { name, reason }),
            }
        };
        self.graph.outputs.iter().map(output).collect()
    }

    /// A tensor as its edge holds it.
    fn held(&self, v: ValueId, t: Tensor) -> Answer<Held> {
        let Some(&edge) = self.edges.get(&v) else {
            return Ok(Held::Real(t));
        };
        let Some(x) = t.as_f32() else {
            return Err(format!("{:?} values cannot be quantized", t.dtype()));
        };
        let codes: Vec<u8> = x.iter().map(|&x| quantize(x, edge)).collect();
        Ok(Held::Codes(crate::ops::support::tensor(
            t.shape().to_vec(),
            codes,
        )?))
    }

    /// A value as a float operator reads it.
    fn real(&self, v: ValueId, held: &HashMap<ValueId, Held>) -> Answer {
        let name = || &self.graph.value(v).name;
        match (held.get(&v), self.edges.get(&v)) {
            (Some(Held::Real(t)), _) => Ok(t.clone()),
            (Some(Held::Codes(t)), Some(&edge)) => {
                let q = t.as_u8().ok_or("codes are not U8")?;
                let x: Vec<f32> = q.iter().map(|&q| dequantize(q, edge)).collect();
                crate::ops::support::tensor(t.shape().to_vec(), x)
            }
            (Some(Held::Sums(_)), _) => Err(format!("\"{}\" holds sums, which neurons alone read", name())),
            (Some(Held::Codes(_)), None) => Err(format!("\"{}\" holds codes without a quantizer", name())),
            (None, _) => match (self.graph.constants.get(&v), self.graph.weights.get(&v)) {
                (Some(t), _) => Ok(t.clone()),
                (None, Some(w)) => product::decoded(w),
                (None, None) => Err(format!("\"{}\" was not computed", name())),
            },
        }
    }

    fn node(&self, n: NodeId, held: &HashMap<ValueId, Held>) -> Answer<Vec<Held>> {
        let node = &self.graph.nodes[n];
        let Ok(rule) = &self.rules[n] else {
            let real = |v: &Option<ValueId>| v.map(|v| self.real(v, held)).transpose();
            let inputs: Vec<Option<Tensor>> = node.inputs.iter().map(real).collect::<Answer<_>>()?;
            let inputs: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_ref).collect();
            let results = crate::evaluate(&node.op, &inputs, node.outputs.len())?;
            let results = node.outputs.iter().zip(results);
            return results.map(|(&v, t)| self.held(v, t)).collect();
        };
        let codes = |v: &Option<ValueId>| {
            let (Some(Held::Codes(t)), Some(&edge)) = (held.get(&(*v)?), self.edges.get(&(*v)?)) else {
                return None;
            };
            let (shape, q) = (t.shape(), t.as_u8()?);
            Some(run::Codes { shape, q, edge })
        };
        let sums = match node.inputs.first().copied().flatten().and_then(|v| held.get(&v)) {
            Some(Held::Sums(t)) => Some(t),
            _ => None,
        };
        let given = run::Given {
            sums,
            codes: node.inputs.iter().map(codes).collect(),
            tensors: node
                .inputs
                .iter()
                .map(|v| self.graph.constants.get(&(*v)?))
                .collect(),
            to: node.outputs.iter().map(|v| self.edges.get(v).copied()).collect(),
        };
        run::run(rule, node, &given)
    }
}

fn annotation(graph: &Graph, v: ValueId, reason: String) -> ProgramError {
    ProgramError::Annotation {
        value: graph.value(v).name.clone(),
        reason,
    }
}

fn check_edge(graph: &Graph, v: ValueId, e: &EdgeQuantizer) -> Result<(), String> {
    if !(e.scale.is_finite() && e.scale > 0.0) {
        return Err(format!("scale {} is not finite and positive", e.scale));
    }
    if !(1..=8).contains(&e.bits) || e.zero_point > e.max_code() {
        return Err(format!(
            "zero point {} does not fit {} bits",
            e.zero_point, e.bits
        ));
    }
    if !rule::may_be_float(graph, v) {
        return Err(format!(
            "an edge of {:?} cannot carry a quantizer",
            graph.value(v).dtype
        ));
    }
    Ok(())
}

/// That codes, levels, scales and zero points agree in number.
fn check_weight(w: &WeightAnnotation) -> Result<(), String> {
    let n = numel(&w.shape).map_err(|e| e.to_string())?;
    if !(1..=8).contains(&w.bits) || w.levels.len() != 1 << w.bits {
        return Err(format!("{} levels do not fit {} bits", w.levels.len(), w.bits));
    }
    let channels = w
        .shape
        .get(w.axis)
        .ok_or_else(|| format!("axis {} does not exist", w.axis))?;
    let scales = |n: usize| n == 1 || n == *channels;
    for point in &w.points {
        if point.codes.len() != n || point.codes.iter().any(|&c| usize::from(c) >= w.levels.len()) {
            return Err(format!("its codes are not {n} of {} bits", w.bits));
        }
        if !scales(point.scales.len()) || point.scales.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(format!(
                "its scales are not 1 or {channels} finite positive numbers"
            ));
        }
    }
    let first = w.points.first().ok_or("it has no codes")?;
    match &w.zero_points {
        Some(z) if z.len() != first.scales.len() => Err("there is not one zero point per scale".into()),
        Some(z) if z.iter().any(|z| z.unsigned_abs() > 1 << 24) => Err("a zero point leaves 24 bits".into()),
        _ if w.levels.iter().any(|l| l.unsigned_abs() > 1 << 24) => Err("a level leaves 24 bits".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
