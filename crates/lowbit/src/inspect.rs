//! What a model holds, what it costs, and what will run in integers.

use std::collections::BTreeMap;

use engine::Numbers;
use graph::{Graph, NodeId, Planes, ValueId};
use kernels::Pool;
use quant::annotate::{self, Request};
use quant::calibrate::{ObserverKind, quantizer};
use quant::prune::Stored;
use serde::Serialize;
use tasks::detect::Head;

use crate::energy::{Arithmetic, Cost, Energy, energy};
use crate::model::HeadSource;
use crate::quantize::{calibrate::round_once, weights};
use crate::{Control, Model, Result};

/// An input or output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Dimensions; absent where open.
    pub shape: Vec<Option<usize>>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectedLayer {
    /// Name.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Shape of the first output; absent dimensions are open.
    pub shape: Vec<Option<usize>>,
    /// Convolution or matrix product.
    pub product: bool,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Numbers in its constant inputs.
    pub parameters: usize,
    /// Grid of its weight, or `float`; absent without a weight.
    pub grid: Option<String>,
    /// Groups of its weight that the file leaves out; absent where it stores all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Pruned>,
    /// Bytes of its constant inputs in a file.
    pub stored_bytes: usize,
    /// Runs in integers; for a float model: would after `quantize`.
    pub integer: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Kernel.
    pub kernel: String,
}

/// Groups of a ternary weight, with those of zeros left out of the file (FORMAT.md 2.3).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pruned {
    /// Extent of a group: output channels, input channels, taps (first, second and further axes of the weight).
    pub group: [usize; 3],
    /// Groups.
    pub groups: usize,
    /// Share of them that is left out, 0 … 1.
    pub share: f64,
    /// Share of zeros among the weights of the others, 0 … 1.
    pub zeros: f64,
}

/// How much smaller than f32 convolutions and matrix products are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Compression {
    /// Bytes of weights, indices of groups, scales, zero points and biases.
    pub bytes: usize,
    /// 32 bits for every weight and bias, divided by all those bits.
    pub all: f64,
    /// The same over weights with pruned groups alone, without scales and biases, as papers on pruning count; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_layers: Option<f64>,
}

/// Result of [`inspect`].
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Name.
    pub name: String,
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Opset of the file.
    pub opset: i64,
    /// Weights or edges are quantized.
    pub quantized: bool,
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
    /// Operators and how often they occur, after simplification.
    pub operators: BTreeMap<String, usize>,
    /// Nodes in execution order.
    pub layers: Vec<InspectedLayer>,
    /// Multiply-accumulates per picture.
    pub macs: u64,
    /// Numbers in all constants.
    pub parameters: usize,
    /// Stored bits per weight of convolutions and matrix products, scales included.
    pub bits_per_weight: f64,
    /// Everything that convolutions and matrix products store, beside f32.
    pub compression: Compression,
    /// The network on an array of processing elements, where one is asked for ([`on_array`](crate::array::on_array)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<crate::array::Report>,
    /// Share of the multiply-accumulates in integers; for a float model: after `quantize`.
    pub integer_mac_share: f64,
    /// Packed weights, bytes.
    pub memory_weights: usize,
    /// Activations of one run, bytes.
    pub memory_activations: usize,
    /// A model of the energy of one picture.
    pub energy: Energy,
    /// Where the head was found.
    pub head_source: HeadSource,
    /// The head.
    pub head: Option<Head>,
    /// Outputs with shapes, in words.
    pub shapes: String,
    /// Description to edit where the head is not known or guessed.
    pub template: String,
    /// Metadata of the file.
    pub metadata: BTreeMap<String, String>,
}

/// Looks at a model. A float model is planned as `quantize --grid int8` would, so that what will stay float, and why, is known before.
///
/// # Errors
/// Open dimensions, operators that do not fit.
pub fn inspect(model: &Model) -> Result<Inspection> {
    let graph = model.graph();
    let compile = |g: &Graph| engine::compile(g, &engine::Options::default());
    let own = compile(graph)?;
    let (planned, reasons) = if model.is_quantized() {
        (None, BTreeMap::new())
    } else {
        let (annotated, reasons) = as_if_quantized(graph)?;
        (Some(compile(&annotated)?), reasons)
    };
    let numbers: BTreeMap<NodeId, &Numbers> = planned
        .as_ref()
        .unwrap_or(&own)
        .layers()
        .iter()
        .map(|l| (l.node, &l.numbers))
        .collect();
    let mut layers = Vec::new();
    let mut costs = Vec::new();
    let (mut weights, mut weight_bits) = (0usize, 0usize);
    let (mut numbers_of_products, mut bits_of_products, mut pruned_layers) = (0usize, 0usize, Vec::new());
    for layer in own.layers() {
        let node = &graph.nodes[layer.node];
        let constant = |v: &ValueId| {
            let numbers = graph.weights.get(v).map(graph::WeightAnnotation::len);
            let numbers = numbers.or_else(|| graph.constants.get(v).map(tensor::Tensor::len));
            Some((numbers?, graph.stored_bits(*v)?))
        };
        let parts: Vec<(usize, usize)> = node.inputs.iter().flatten().filter_map(constant).collect();
        let annotation = node
            .inputs
            .get(1)
            .copied()
            .flatten()
            .and_then(|w| graph.weights.get(&w));
        if layer.product
            && let Some(&(count, bits)) = parts.first()
        {
            weights += count;
            weight_bits += bits;
            numbers_of_products += parts.iter().map(|p| p.0).sum::<usize>();
            bits_of_products += parts.iter().map(|p| p.1).sum::<usize>();
            costs.push(Cost {
                node: layer.node,
                macs: layer.macs,
                stored_bits: parts.iter().map(|p| p.1).sum(),
                arithmetic: match annotation {
                    // Points are added up before they are multiplied.
                    Some(w) if layer.numbers == Numbers::Integer => match w.merged() {
                        Some(merged) if w.points.len() > 1 => Arithmetic::of(&merged.levels, false),
                        _ => Arithmetic::of(&w.levels, w.zero_points.is_some()),
                    },
                    _ => Arithmetic::Float,
                },
            });
        }
        let planes = annotation.and_then(Planes::of);
        if let (Some(planes), Some(w)) = (&planes, annotation) {
            pruned_layers.push(Stored {
                weights: w.len() as u64,
                kept: planes.plus.len() as u64,
                bits: 2,
                index: planes.mask.len() as u64,
                other: 0,
            });
        }
        let (integer, reason) = match numbers.get(&layer.node) {
            Some(Numbers::Integer) => (true, None),
            Some(Numbers::Float { reason }) => {
                (false, Some(reasons.get(&layer.node).unwrap_or(reason).clone()))
            }
            None => (false, None),
        };
        layers.push(InspectedLayer {
            name: layer.name.clone(),
            op: layer.op.to_string(),
            shape: node
                .outputs
                .first()
                .and_then(|v| graph.value(*v).shape.clone())
                .unwrap_or_default(),
            product: layer.product,
            macs: layer.macs,
            parameters: parts.iter().map(|p| p.0).sum(),
            grid: match (annotation, layer.product) {
                (Some(w), _) => Some(w.grid.clone()),
                (None, true) => Some("float".into()),
                (None, false) => None,
            },
            pruned: planes.map(|planes| Pruned {
                group: planes.group,
                groups: planes.mask.len(),
                share: planes.pruned(),
                zeros: planes.zeros(),
            }),
            stored_bytes: parts.iter().map(|p| p.1).sum::<usize>().div_ceil(8),
            integer,
            reason,
            kernel: layer.kernel.clone(),
        });
    }
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    for node in &graph.nodes {
        *operators.entry(node.op.name().to_string()).or_default() += 1;
    }
    let parameters = graph.constants.values().map(tensor::Tensor::len).sum::<usize>()
        + graph
            .weights
            .values()
            .map(graph::WeightAnnotation::len)
            .sum::<usize>();
    let memory = own.memory();
    Ok(Inspection {
        name: model.name(),
        file_bytes: model.file_bytes(),
        opset: graph.opset,
        quantized: model.is_quantized(),
        inputs: graph.inputs.iter().map(|v| port(graph, *v)).collect(),
        outputs: graph.outputs.iter().map(|v| port(graph, *v)).collect(),
        operators,
        macs: layers.iter().map(|l| l.macs).sum(),
        parameters,
        bits_per_weight: weight_bits as f64 / weights.max(1) as f64,
        compression: Compression {
            bytes: bits_of_products.div_ceil(8),
            all: 32.0 * numbers_of_products as f64 / bits_of_products.max(1) as f64,
            pruned_layers: (!pruned_layers.is_empty()).then(|| Stored::compression(&pruned_layers)),
        },
        array: None,
        integer_mac_share: planned.as_ref().unwrap_or(&own).integer_mac_share(),
        memory_weights: memory.weights,
        memory_activations: memory.activations,
        energy: energy(graph, &costs)?,
        layers,
        head_source: model.head_source().clone(),
        head: model.head().ok().cloned(),
        shapes: model.guess().shapes.clone(),
        template: model.guess().template.clone(),
        metadata: graph.metadata.clone(),
    })
}

fn port(graph: &Graph, v: ValueId) -> Port {
    let value = graph.value(v);
    Port {
        name: value.name.clone(),
        dtype: value.dtype.map_or("?".into(), |d| format!("{d:?}")),
        shape: value.shape.clone().unwrap_or_default(),
    }
}

/// The graph with int8 weights and stand-in ranges, and why products stay float.
fn as_if_quantized(graph: &Graph) -> Result<(Graph, BTreeMap<NodeId, String>)> {
    let project = quant::ProjectOptions::default();
    let request = Request {
        grid: "int8".parse()?,
        project,
        act_bits: 8,
        observer: ObserverKind::MinMax,
        rules: Vec::new(),
        float_layers: Default::default(),
    };
    let plan = annotate::plan(graph, &request)?;
    let layers = weights::project(graph, &plan, &project, (&Pool::new(0), &Control::default()))?;
    let stand_in = quantizer(-4.0, 4.0, 8);
    let mut edges = plan
        .groups
        .iter()
        .flat_map(|g| g.members.iter().map(|v| (*v, stand_in)))
        .collect();
    round_once(graph, &mut edges);
    let reasons = plan.floats.iter().map(|f| (f.node, f.reason.clone())).collect();
    Ok((weights::annotated(graph, &plan, &layers, edges), reasons))
}
