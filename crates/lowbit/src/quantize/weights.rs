//! Weights to codes, corrections into scales and biases, all of it into the graph.

use std::collections::BTreeMap;

use graph::{EdgeQuantizer, Graph, NodeId, Op, ValueId, WeightAnnotation};
use quant::annotate::{Plan, WeightTask};
use quant::correct::Affine;
use quant::feedback::Scales;
use quant::{Granularity, ProjectOptions, ScaleKind, project_weight};
use tensor::Tensor;

use crate::side_by_side::{self, Share, Team};
use crate::{Error, Result};

/// One layer's weight and bias on their way.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) task: WeightTask,
    pub(crate) weight: WeightAnnotation,
    /// One number per output channel, once there is a bias or a correction.
    pub(crate) bias: Option<Vec<f32>>,
    /// ‖w − ŵ‖² / ‖w‖² before correction.
    pub(crate) weight_error: f64,
    /// All layers that read the weight store it once; its scales cannot follow one of them.
    pub(crate) stored_once: bool,
    /// Whether rounding may choose them again.
    pub(crate) scales: Scales,
}

/// Refuses weights and biases of products that hold NaN or infinity, before pictures meet them.
pub(crate) fn check_finite(graph: &Graph) -> Result<()> {
    for node in &graph.nodes {
        if !matches!(
            node.op,
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. } | Op::MatMul
        ) {
            continue;
        }
        for v in node.inputs.iter().skip(1).flatten() {
            let values = graph.constants.get(v).and_then(Tensor::as_f32);
            if let Some(i) = values.and_then(|all| all.iter().position(|x| !x.is_finite())) {
                let name = &graph.value(*v).name;
                return Err(Error::bad(format!(
                    "element {i} of constant \"{name}\" is not a finite number"
                ))
                .at(format!("node \"{}\"", node.name))
                .help("train or export the model again: it cannot work as it is"));
            }
        }
    }
    Ok(())
}

/// Projects every weight of a plan.
pub(crate) fn project(
    graph: &Graph,
    plan: &Plan,
    options: &ProjectOptions,
    (pool, control): Team<'_>,
) -> Result<BTreeMap<NodeId, Layer>> {
    let readers = graph.consumers();
    let one = |i: usize| {
        let task = &plan.weights[i];
        let same = |n: &NodeId| {
            let other = plan.weights.iter().find(|t| t.node == *n);
            other.is_some_and(|t| t.grid == task.grid && t.axis == task.axis && t.weight == task.weight)
        };
        let stored_once = task.shared && readers.get(&task.weight).is_some_and(|all| all.iter().all(same));
        project_one(graph, task, stored_once, options)
    };
    let layers = side_by_side::map(pool, control, Share::NOTHING, plan.weights.len(), &one)?;
    Ok(layers.into_iter().map(|layer| (layer.task.node, layer)).collect())
}

fn project_one(
    graph: &Graph,
    task: &WeightTask,
    stored_once: bool,
    options: &ProjectOptions,
) -> Result<Layer> {
    let node = &graph.nodes[task.node];
    let tensor = graph.constants.get(&task.weight);
    let Some((tensor, values)) = tensor.and_then(|t| Some((t, t.as_f32()?))) else {
        return Err(Error::bad("the weight is no constant of f32").at(format!("node \"{}\"", node.name)));
    };
    let granularity = match task.axis {
        Some(_) => options.granularity,
        None => Granularity::Tensor,
    };
    let options = ProjectOptions {
        granularity,
        ..*options
    };
    let axis = task.axis.unwrap_or(0);
    let (weight, projection) =
        project_weight(&task.grid, values, tensor.shape(), axis, &options).map_err(|e| {
            use quant::ProjectError as E;
            let error = match e {
                E::Solver { .. } | E::Mu(_) => Error::usage(e.to_string()),
                _ => Error::bad(e.to_string()),
            };
            error.at(format!(
                "weight \"{}\" of node \"{}\"",
                graph.value(task.weight).name,
                node.name
            ))
        })?;
    let free = granularity == Granularity::Channel && options.scale_kind == ScaleKind::Real;
    let scales = match free && !stored_once && weight.points.iter().all(|p| p.scales.len() > 1) {
        true => Scales::Searched,
        false => Scales::Kept,
    };
    let bias = task.bias.and_then(|b| graph.constants.get(&b)?.as_f32());
    Ok(Layer {
        task: task.clone(),
        weight,
        bias: bias.map(<[f32]>::to_vec),
        weight_error: projection.relative_error(),
        scales,
        stored_once,
    })
}

impl Layer {
    /// A layer of `float` whose weight and bias `quantized`, the same network, has already; nodes are found by their names.
    pub(crate) fn rounded(quantized: &Graph, float: &Graph, task: WeightTask) -> Result<Layer> {
        let name = &float.nodes[task.node].name;
        let node = quantized.nodes.iter().find(|n| n.name == *name);
        let input = |i: usize| node.and_then(|n| n.inputs.get(i).copied().flatten());
        let weight = input(1).and_then(|w| quantized.weights.get(&w));
        let Some(weight) = weight else {
            return Err(Error::bad("the layer has no codes").at(format!("node \"{name}\"")));
        };
        let bias = input(2).and_then(|b| quantized.constants.get(&b)?.as_f32());
        Ok(Layer {
            weight: weight.clone(),
            bias: bias.map(<[f32]>::to_vec),
            weight_error: 0.0,
            stored_once: false,
            scales: Scales::Kept,
            task,
        })
    }

    /// Whether a channel's gain can go into the scales.
    pub(super) fn takes_gain(&self) -> bool {
        self.task.axis.is_some() && !self.stored_once
    }

    /// Gives the layer's node its weight and bias as numbers.
    pub(super) fn put_into(&self, graph: &mut Graph) -> Result<()> {
        let weight = Tensor::new(self.weight.shape.clone(), self.weight.decode());
        let weight = weight.map_err(|e| Error::bad(e.to_string()))?;
        graph.constants.insert(self.task.weight, weight);
        let Some(bias) = &self.bias else { return Ok(()) };
        let bias = Tensor::vector(bias.clone());
        match self.task.bias {
            Some(b) => drop(graph.constants.insert(b, bias)),
            None => {
                let b = graph.add_constant("bias", bias);
                let inputs = &mut graph.nodes[self.task.node].inputs;
                inputs.resize(inputs.len().max(3), None);
                inputs[2] = Some(b);
            }
        }
        Ok(())
    }

    /// y ← gain·y + shift per output channel: into scales and bias.
    pub(super) fn fold(&mut self, affine: &[Affine]) {
        let channels = affine.len();
        if self.takes_gain() && affine.iter().any(|a| a.gain != 1.0) {
            for point in &mut self.weight.points {
                if point.scales.len() == 1 {
                    point.scales = vec![point.scales[0]; channels];
                }
                for (scale, a) in point.scales.iter_mut().zip(affine) {
                    let folded = (f64::from(*scale) * a.gain) as f32;
                    *scale = folded.clamp(f32::MIN_POSITIVE, f32::MAX / 65_536.0);
                }
            }
            if let Some(zero_points) = &mut self.weight.zero_points
                && zero_points.len() == 1
            {
                *zero_points = vec![zero_points[0]; channels];
            }
        }
        let bias = self.bias.get_or_insert_with(|| vec![0.0; channels]);
        for (b, a) in bias.iter_mut().zip(affine) {
            *b = (a.gain * f64::from(*b) + a.shift) as f32;
        }
    }
}

/// The graph with codes, scales, biases and edge quantizers.
pub(crate) fn annotated(
    float: &Graph,
    plan: &Plan,
    layers: &BTreeMap<NodeId, Layer>,
    edges: BTreeMap<ValueId, EdgeQuantizer>,
) -> Graph {
    let mut graph = float.clone();
    for task in &plan.weights {
        let Some(layer) = layers.get(&task.node) else {
            continue;
        };
        if task.shared && !layer.stored_once {
            // The other readers want other numbers: this layer gets a copy of its own.
            let name = graph.value(task.weight).name.clone();
            let shape = layer.weight.shape.iter().map(|&d| Some(d)).collect();
            let copy = graph.add_value(&name, Some(tensor::DType::F32), Some(shape));
            graph.weights.insert(copy, layer.weight.clone());
            graph.nodes[task.node].inputs[1] = Some(copy);
        } else {
            graph.constants.remove(&task.weight);
            graph.weights.insert(task.weight, layer.weight.clone());
        }
        let old = task.bias.and_then(|b| float.constants.get(&b)?.as_f32());
        if let Some(bias) = layer.bias.as_deref().filter(|b| old != Some(*b)) {
            let base = match task.bias {
                Some(b) => float.value(b).name.clone(),
                None => format!("{}_bias", float.value(task.weight).name),
            };
            let new = graph.add_constant(&base, Tensor::vector(bias.to_vec()));
            let inputs = &mut graph.nodes[task.node].inputs;
            inputs.resize(inputs.len().max(3), None);
            inputs[2] = Some(new);
        }
    }
    graph.edges = edges;
    drop_unread(&mut graph);
    graph
}

/// Constants that nothing reads any more, such as replaced biases.
pub(super) fn drop_unread(graph: &mut Graph) {
    let mut read: std::collections::BTreeSet<ValueId> = graph
        .nodes
        .iter()
        .flat_map(|n| n.inputs.iter().flatten().copied())
        .collect();
    read.extend(graph.outputs.iter().copied());
    graph.constants.retain(|v, _| read.contains(v));
    graph.weights.retain(|v, _| read.contains(v));
}
