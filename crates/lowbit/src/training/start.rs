//! Where training starts: at the float weights, or at what correction after training makes of them.
//!
//! ```text
//! corrected: weights rounded as the methods do it ─▶ error feedback, gains g and shifts layer by layer (quantize::layers, on the folded network)
//!            ─▶ taken back: codes into shadow weights, g·γ/σ into BatchNormalization's γ, the bias into its β
//! ```
//! The folded network of this start is the one that correction gave, so that training begins where quantization after training ends. Only
//! methods whose scales may stay ([`WeightMethod::start_from`](train::method::WeightMethod::start_from)) have such a start.

use std::collections::BTreeMap;

use graph::{Graph, NodeId, Op, ValueId, WeightAnnotation};
use kernels::Pool;
use quant::annotate::WeightTask;
use quant::{Rounding, Solver};
use tensor::{Data, Tensor};
use train::method::Progress;
use train::program::{FakeQuantizer, Parameter, ParameterKind};
use train::recipe::Recipe;
use train::trainer::Deployed;

use super::export;
use super::quantizers::{Layer, Quantized};
use crate::quantize::Effort;
use crate::quantize::batch_norm::Norms;
use crate::quantize::layers::Stage;
use crate::quantize::weights;
use crate::{Control, Error, Model, Result};

/// A gain below this is a channel that BatchNormalization has switched off: its codes say nothing.
const OFF: f64 = 1.0 / (1 << 20) as f64;

/// The network that is trained, and the codes that its weights start with, by the weight's name.
pub(super) struct Start {
    pub(super) model: Model,
    pub(super) codes: BTreeMap<String, WeightAnnotation>,
}

/// What a start is made of.
pub(super) struct Parts<'a> {
    pub(super) recipe: &'a Recipe,
    /// The float network, BatchNormalization unfolded.
    pub(super) source: &'a Model,
    /// The same, simplified: values keep their ids, nodes their names.
    pub(super) folded: &'a Model,
    pub(super) quantized: &'a Quantized,
    pub(super) activations: &'a [FakeQuantizer],
    /// Calibration pictures.
    pub(super) inputs: &'a [Tensor],
    pub(super) pool: &'a Pool,
}

impl Parts<'_> {
    /// The start that the recipe asks for.
    pub(super) fn start(&self) -> Result<Start> {
        if self.recipe.text("method.start") == "float" || self.quantized.layers.is_empty() {
            return Ok(Start {
                model: self.source.clone(),
                codes: BTreeMap::new(),
            });
        }
        let rounded = rounded(self.recipe, self.source.graph(), &self.quantized.layers)?;
        let corrected = self.corrected(&rounded)?;
        let mut graph = self.source.graph().clone();
        let mut codes = BTreeMap::new();
        for (task, start) in self.quantized.plan.weights.iter().zip(&rounded) {
            let (Some(layer), Some(unfolded)) = (corrected.get(&task.node), &start.annotation) else {
                continue;
            };
            let taken = self.place(task)?.take(&mut graph, layer, unfolded)?;
            codes.insert(start.parameter.name.clone(), taken);
        }
        Ok(Start {
            model: self.source.with_graph(graph),
            codes,
        })
    }

    /// The layers of the folded network, corrected one after the other.
    fn corrected(&self, rounded: &[Deployed]) -> Result<BTreeMap<NodeId, weights::Layer>> {
        let Quantized { plan, edges, .. } = self.quantized;
        let first = export::model(self.source, rounded, self.activations, edges)?;
        let mut layers = BTreeMap::new();
        for (task, start) in plan.weights.iter().zip(rounded) {
            let mut task = task.clone();
            let scales = start.annotation.as_ref().map_or(0, |a| a.points[0].scales.len());
            // Without BatchNormalization a gain needs scales of its own, and they must be real.
            if self.place(&task)?.norm.is_none() && (scales < 2 || self.recipe.text("method.scale") != "real")
            {
                task.axis = None;
            }
            let layer = weights::Layer::rounded(first.graph(), self.folded.graph(), task)?;
            layers.insert(layer.task.node, layer);
        }
        let control = Control::default();
        let stage = Stage {
            model: self.folded,
            edges,
            correction: true,
            rounding: match self.recipe.text("method.solver") == Solver::Optimum.as_str() {
                true => Rounding::Feedback,
                false => Rounding::Nearest,
            },
            others: &[],
            // Training begins with the float network's.
            norms: Some(&Norms::new()),
            pool: self.pool,
            control: &control,
        };
        let inputs = stage.inputs(self.inputs, Effort::Good.corrected(stage.model.graph()))?;
        let mut input = |picture: usize| Ok(inputs[picture].clone());
        let mut silent = |_: &str, _, _| {};
        stage.run_on(plan, &mut layers, inputs.len(), &mut input, &mut silent)?;
        Ok(layers)
    }

    fn place(&self, task: &WeightTask) -> Result<Place> {
        let name = &self.folded.graph().nodes[task.node].name;
        Place::of(self.source.graph(), name, task)
    }
}

/// What the methods make of the float weights before the first update.
fn rounded(recipe: &Recipe, graph: &Graph, layers: &[Layer]) -> Result<Vec<Deployed>> {
    let steps = recipe.count("steps");
    let one = |layer: &Layer| {
        let shadow = graph
            .find(&layer.weight)
            .and_then(|v| graph.constants.get(&v)?.as_f32());
        let shadow = shadow.unwrap_or_default();
        let mut method = layer.method(recipe)?;
        let fault = |e: quant::ProjectError| Error::bad(format!("weight \"{}\": {e}", layer.weight));
        let mut values = vec![0.0; shadow.len()];
        method
            .project(shadow, &Progress { step: 0, steps }, &mut values)
            .map_err(fault)?;
        Ok(Deployed {
            parameter: Parameter {
                name: layer.weight.clone(),
                shape: layer.layout.shape.clone(),
                kind: ParameterKind::Weight { node: String::new() },
                initial: Vec::new(),
            },
            values,
            annotation: method.annotation(),
        })
    };
    layers.iter().map(one).collect()
}

/// A layer of the network that is trained, and the BatchNormalization that alone reads it.
struct Place {
    node: NodeId,
    norm: Option<NodeId>,
}

impl Place {
    fn of(graph: &Graph, name: &str, task: &WeightTask) -> Result<Place> {
        let at = |e: Error| e.at(format!("node \"{name}\""));
        let node = graph.nodes.iter().position(|n| n.name == name);
        let node = node.ok_or_else(|| at(Error::bad("simplifying has changed this layer")))?;
        let consumers = graph.consumers();
        let y = graph.nodes[node].outputs[0];
        let norm = match consumers.get(&y).map(Vec::as_slice) {
            Some(&[n]) if !graph.outputs.contains(&y) => {
                matches!(graph.nodes[n].op, Op::BatchNormalization { .. }).then_some(n)
            }
            _ => None,
        };
        let inputs = norm
            .iter()
            .chain([&node])
            .flat_map(|&n| graph.nodes[n].inputs.iter().skip(1).flatten());
        let shared = inputs
            .clone()
            .any(|v| consumers.get(v).is_some_and(|r| r.len() > 1));
        match task.shared || shared {
            false => Ok(Place { node, norm }),
            true => Err(at(Error::unsupported(
                "a corrected start does not know layers that share their numbers",
            )
            .help("start from the float weights: --set method.start=float"))),
        }
    }

    /// Puts a corrected layer into the graph, and gives the codes of the weight as it is trained, without BatchNormalization's factor.
    fn take(
        &self,
        graph: &mut Graph,
        layer: &weights::Layer,
        unfolded: &WeightAnnotation,
    ) -> Result<WeightAnnotation> {
        let mut codes = layer.weight.clone();
        let bias = layer.bias.clone();
        let Some(norm) = self.norm else {
            if let Some(bias) = bias {
                set(graph, self.node, 2, bias);
            }
            return Ok(codes);
        };
        let Some([gamma, beta, mean, deviation]) = numbers(graph, norm) else {
            return Err(
                Error::bad("its numbers are no constants").at(format!("node \"{}\"", graph.nodes[norm].name))
            );
        };
        let pick = |all: &[f32], c: usize| f64::from(all[if all.len() == 1 { 0 } else { c }]);
        let (before, after) = (&unfolded.points[0].scales, &layer.weight.points[0].scales);
        // γ/σ of each channel: before, and with the gain that was found.
        let old: Vec<f64> = (0..gamma.len()).map(|c| gamma[c] / deviation[c]).collect();
        let new: Vec<f64> = (0..gamma.len())
            .map(|c| match old[c].abs() < OFF {
                true => old[c],
                false => (pick(after, c) / pick(before, c)).copysign(old[c]),
            })
            .collect();
        let own = graph.nodes[self.node].inputs.get(2).copied().flatten();
        let own = own.and_then(|v| Some(graph.constants.get(&v)?.as_f32()?.to_vec()));
        let shifts = (0..gamma.len()).map(|c| {
            let own = own.as_ref().map_or(0.0, |b| f64::from(b[c]));
            match &bias {
                Some(bias) => (f64::from(bias[c]) + (mean[c] - own) * new[c]) as f32,
                None => beta[c] as f32,
            }
        });
        let shifts = shifts.collect();
        set(
            graph,
            norm,
            1,
            (0..gamma.len()).map(|c| (new[c] * deviation[c]) as f32).collect(),
        );
        set(graph, norm, 2, shifts);
        codes.points[0].scales.clone_from(before);
        codes.zero_points.clone_from(&unfolded.zero_points);
        for i in 0..codes.len() {
            let gain = old[codes.channel(i)];
            let code = codes.points[0].codes[i];
            codes.points[0].codes[i] = match gain {
                g if g.abs() < OFF => unfolded.points[0].codes[i],
                g if g < 0.0 => opposite(&codes, code),
                _ => code,
            };
        }
        Ok(codes)
    }
}

/// γ, β, mean and σ of a BatchNormalization.
fn numbers(graph: &Graph, n: NodeId) -> Option<[Vec<f64>; 4]> {
    let node = &graph.nodes[n];
    let Op::BatchNormalization { epsilon } = node.op else {
        return None;
    };
    let list = |i: usize| -> Option<Vec<f64>> {
        let all = graph.constant_input(node, i)?.as_f32()?;
        Some(all.iter().map(|&x| f64::from(x)).collect())
    };
    let deviation = list(4)?.iter().map(|v| (v + f64::from(epsilon)).sqrt()).collect();
    Some([list(1)?, list(2)?, list(3)?, deviation])
}

/// The code of the opposite level; exporting has found that there is one.
fn opposite(weight: &WeightAnnotation, code: u8) -> u8 {
    let level = -weight.levels[usize::from(code)];
    weight
        .levels
        .iter()
        .position(|&l| l == level)
        .map_or(code, |c| c as u8)
}

/// Replaces the numbers of a node's constant, or gives it one.
fn set(graph: &mut Graph, n: NodeId, input: usize, values: Vec<f32>) {
    let v: Option<ValueId> = graph.nodes[n].inputs.get(input).copied().flatten();
    if let Some(Data::F32(old)) = v.and_then(|v| graph.constants.get_mut(&v)).map(Tensor::data_mut) {
        *old = values;
        return;
    }
    let new = graph.add_constant(&format!("{}/bias", graph.nodes[n].name), Tensor::vector(values));
    let inputs = &mut graph.nodes[n].inputs;
    inputs.resize(inputs.len().max(input + 1), None);
    inputs[input] = Some(new);
}

#[cfg(test)]
mod tests {
    use graph::passes::{Budget, simplify};
    use train::exec::Cpu;
    use train::trainer::Trainer;

    use super::super::{data, quantizers, setup, source};
    use super::*;
    use crate::runtime::{RunOptions, Runner};

    /// Σ y² / Σ (y − ŷ)² in dB.
    fn sqnr(y: &[f32], other: &[f32]) -> f64 {
        let square = |x: f32| f64::from(x) * f64::from(x);
        let signal: f64 = y.iter().map(|&x| square(x)).sum();
        let noise: f64 = y.iter().zip(other).map(|(&a, &b)| square(a - b)).sum();
        10.0 * (signal / noise.max(1e-30)).log10()
    }

    /// Our small detector whose BatchNormalizations have every kind of factor: negative ones, one that is switched off.
    fn detector(recipe: &Recipe) -> Model {
        let model = source::float_model(recipe, &Control::default()).unwrap();
        let mut graph = model.graph().clone();
        let mut random = testing::SplitMix64(7);
        for n in 0..graph.nodes.len() {
            if let Some([gamma, beta, mean, _]) = numbers(&graph, n) {
                let mut near = |all: &[f64], turn: bool| -> Vec<f32> {
                    let one = |x: &f64| {
                        let r = (random.next() % 1000) as f64 / 1000.0;
                        let sign = if turn && r < 0.25 { -1.0 } else { 1.0 };
                        (sign * (x + 0.4 * (r - 0.5))) as f32
                    };
                    all.iter().map(one).collect()
                };
                let mut factors = near(&gamma, true);
                factors[0] = 1e-9;
                let (shifts, means) = (near(&beta, false), near(&mean, false));
                set(&mut graph, n, 1, factors);
                set(&mut graph, n, 2, shifts);
                set(&mut graph, n, 3, means);
            }
        }
        model.with_graph(graph)
    }

    /// The folded network that training begins with is the one that correction gave: same codes, scales and biases. The trainer's own forward
    /// agrees with it, too.
    fn training_begins_where_correction_ended(settings: &[&str]) {
        let mut all: Vec<String> = [
            "model=zoo:tiny",
            "data.kind=synth",
            "data.count=16",
            "zoo.size=64",
            "batch=1",
            "method.start=corrected",
            "activation.calibration=6",
            "batch_norm.mode=frozen",
            "loss.kind=distill",
        ]
        .map(String::from)
        .to_vec();
        all.extend(settings.iter().map(|s| s.to_string()));
        let recipe = Recipe::parse("", &all).unwrap();
        let source = detector(&recipe);
        let head = source.head().unwrap().clone();
        let mut graph = source.graph().clone();
        simplify(&mut graph, &oracle::Reference, &Budget::default()).unwrap();
        let folded = source.with_graph(graph);
        let set = data::open(&recipe, "data", &head.input).unwrap();
        let inputs = setup::calibration(&recipe, &set, &head.input).unwrap();
        let pool = std::sync::Arc::new(Pool::new(1));
        let quantized = quantizers::plan(&recipe, source.graph(), &folded, &inputs, &pool).unwrap();
        let (activations, steps) = quantized.activations(&recipe, folded.graph()).unwrap();
        let parts = Parts {
            recipe: &recipe,
            source: &source,
            folded: &folded,
            quantized: &quantized,
            activations: &activations,
            inputs: &inputs,
            pool: &pool,
        };
        let layers = parts
            .corrected(&rounded(&recipe, source.graph(), &quantized.layers).unwrap())
            .unwrap();
        let wanted = weights::annotated(folded.graph(), &quantized.plan, &layers, quantized.edges.clone());
        let begin = parts.start().unwrap();
        let outputs: Vec<String> = head.outputs().into_iter().map(String::from).collect();
        let program = setup::program(
            &recipe,
            &begin.model,
            activations.clone(),
            outputs,
            &super::super::Ranks::default(),
            false,
        )
        .unwrap();
        let (mut parameters, ports) = (program.parameters().to_vec(), program.outputs().to_vec());
        let methods = quantized.methods(&recipe, &begin.codes, &mut parameters).unwrap();
        let exec = Cpu::new(program, pool.clone(), kernels::Isa::best()).unwrap();
        let settings = setup::settings(&recipe);
        let mut trainer = Trainer::new(Box::new(exec), &parameters, &ports, settings, methods, &steps);
        let deployed = trainer.deploy(&[]).unwrap();
        let have = export::model(&begin.model, &deployed, &activations, &quantized.edges).unwrap();

        let close = |a: &[f32], b: &[f32]| {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(0.01))
        };
        for task in &quantized.plan.weights {
            let name = &folded.graph().nodes[task.node].name;
            let want = &layers[&task.node];
            let have = weights::Layer::rounded(have.graph(), folded.graph(), task.clone()).unwrap();
            let (a, b) = (&have.weight.points[0], &want.weight.points[0]);
            let off =
                |i: usize| a.scales.len() > 1 && b.scales[have.weight.channel(i) % b.scales.len()] < 1e-7;
            assert!(
                (0..a.codes.len()).all(|i| a.codes[i] == b.codes[i] || off(i)),
                "{name}"
            );
            assert!(
                close(have.bias.as_ref().unwrap(), want.bias.as_ref().unwrap()),
                "{name}"
            );
        }
        let wanted = source.with_graph(wanted);
        let options = RunOptions {
            threads: 1,
            ..RunOptions::default()
        };
        let (a, b) = (
            Runner::new(&have, &options).unwrap(),
            Runner::new(&wanted, &options).unwrap(),
        );
        let rounded = export::model(
            &source,
            &rounded(&recipe, source.graph(), &quantized.layers).unwrap(),
            &activations,
            &quantized.edges,
        );
        let c = Runner::new(&rounded.unwrap(), &options).unwrap();
        for input in &inputs {
            let run = |r: &Runner| r.run(&[(&head.input.name, input)]).unwrap();
            let (a, b, c) = (run(&a), run(&b), run(&c));
            let shadow: Vec<Vec<f32>> = trainer
                .evaluate(&[input.as_f32().unwrap()])
                .unwrap()
                .iter()
                .map(|o| o.values.to_vec())
                .collect();
            for (o, (name, y)) in b.iter().enumerate() {
                let y = y.as_f32().unwrap();
                let of = |all: &[(String, Tensor)]| {
                    all.iter()
                        .find(|x| x.0 == *name)
                        .unwrap()
                        .1
                        .as_f32()
                        .unwrap()
                        .to_vec()
                };
                println!(
                    "{name}: exported {:.1} trainer {:.1} rounded {:.1} dB",
                    sqnr(y, &of(&a)),
                    sqnr(y, &shadow[o]),
                    sqnr(y, &of(&c))
                );
                assert!(sqnr(y, &of(&a)) > 100.0, "{name}");
                assert!(sqnr(y, &shadow[o]) > 35.0, "{name}");
                assert!(
                    sqnr(y, &of(&c)) < 25.0,
                    "{name}: the correction changes something"
                );
            }
        }
    }

    #[test]
    fn training_begins_where_correction_ended_per_channel() {
        training_begins_where_correction_ended(&[
            "method.grid=pow2-4",
            "method.every=0",
            "method.rules=[\"head=int8\"]",
        ]);
    }

    #[test]
    fn training_begins_where_correction_ended_with_a_power_of_two_per_tensor() {
        training_begins_where_correction_ended(&[
            "method.grid=lbw4",
            "method.granularity=tensor",
            "method.scale=power-of-two",
        ]);
    }

    #[test]
    fn training_begins_where_correction_ended_on_uniform_levels_with_float_activations() {
        training_begins_where_correction_ended(&["method.grid=int3", "activation.bits=0"]);
    }
}
