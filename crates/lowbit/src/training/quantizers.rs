//! What of a run is quantized, and how: weight methods and activation quantizers, by the recipe.

use std::collections::BTreeMap;
use std::sync::Arc;

use graph::{EdgeQuantizer, Graph, Op, Unary, ValueId, WeightAnnotation};
use kernels::Pool;
use quant::annotate::{self, Plan, Request, Rule};
use quant::calibrate::ObserverKind;
use quant::grid::Grid;
use quant::prune::{Clip, GroupShape, Groups};
use quant::{Granularity, ProjectOptions};
use train::method::affine::Affine;
use train::method::apot::Apot;
use train::method::bcgd::{Bcgd, Quantizer};
use train::method::binary_relax::BinaryRelax;
use train::method::lbw::Lbw;
use train::method::lsq::Lsq;
use train::method::progressive::Progressive;
use train::method::pruned::{Pruned, Pruning};
use train::method::symmetric::Symmetric;
use train::method::ternary_threshold::TernaryThreshold;
use train::method::{Layout, WeightMethod, activation};
use train::program::{FakeQuantizer, Parameter, QuantizerGradient, Rounding};
use train::recipe::Recipe;
use train::trainer::StepRule;

use super::maps::Maps;
use super::spiking;
use crate::runtime::{RunOptions, Runner};
use crate::{Error, Model, Result};

/// A layer whose weight is quantized.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Name of the weight in the graph that is trained.
    pub(super) weight: String,
    pub(super) layout: Layout,
    pub(super) grid: Grid,
    pub(super) per_tensor: bool,
}

/// The plan of a run: layers and edges.
#[derive(Debug, Clone, Default)]
pub(super) struct Quantized {
    pub(super) layers: Vec<Layer>,
    /// Of the folded graph; its weights are the layers.
    pub(super) plan: Plan,
    pub(super) edges: BTreeMap<ValueId, EdgeQuantizer>,
}

fn parsed<T: std::str::FromStr>(recipe: &Recipe, key: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    let fault = |e: T::Err| Error::usage(e.to_string()).at(format!("recipe key \"{key}\""));
    recipe.text(key).parse().map_err(fault)
}

fn project_options(recipe: &Recipe) -> Result<ProjectOptions> {
    Ok(ProjectOptions {
        granularity: parsed(recipe, "method.granularity")?,
        scale_kind: parsed(recipe, "method.scale")?,
        solver: parsed(recipe, "method.solver")?,
        mu: recipe.number("method.mu"),
    })
}

/// Plans a run of `trained` (BatchNormalization unfolded); `folded` is the same graph simplified, whose values keep their ids and nodes their
/// names. Edges are calibrated on `inputs`, one picture each.
pub(super) fn plan(
    recipe: &Recipe,
    trained: &Graph,
    folded: &Model,
    inputs: &[tensor::Tensor],
    pool: &Arc<Pool>,
) -> Result<Quantized> {
    if recipe.text("method.name") == "float" {
        return Ok(Quantized::default());
    }
    let mut rules: Vec<Rule> = Vec::new();
    for text in recipe.texts("method.rules") {
        let rule = text.parse::<Rule>();
        rules.push(rule.map_err(|e| Error::usage(e).at("recipe key \"method.rules\""))?);
    }
    let bits = recipe.count("activation.bits") as u32;
    let request = Request {
        grid: parsed(recipe, "method.grid")?,
        project: project_options(recipe)?,
        act_bits: if bits == 0 { 8 } else { bits },
        observer: ObserverKind::Mse,
        rules,
        float_layers: Default::default(),
    };
    let graph = folded.graph();
    let plan = annotate::plan(graph, &request)?;
    let mut layers = Vec::new();
    for task in &plan.weights {
        let name = &graph.nodes[task.node].name;
        if task.grid.points() > 1 {
            let why = format!("grid {} has several points, which no method trains", task.grid);
            return Err(Error::unsupported(why)
                .at(format!("node \"{name}\""))
                .help("train with one point; `lowbit quantize` takes several"));
        }
        let node = trained.nodes.iter().find(|n| n.name == *name);
        let weight = node.and_then(|n| n.inputs.get(1).copied().flatten());
        let Some((weight, tensor)) = weight.and_then(|w| Some((w, trained.constants.get(&w)?))) else {
            return Err(
                Error::unsupported("this layer's weight cannot be trained in low bits")
                    .at(format!("node \"{name}\"")),
            );
        };
        layers.push(Layer {
            weight: trained.value(weight).name.clone(),
            layout: Layout {
                shape: tensor.shape().to_vec(),
                axis: task.axis.unwrap_or(0),
            },
            grid: task.grid,
            per_tensor: task.axis.is_none(),
        });
    }
    // Spikes are codes by themselves.
    if let Some(edges) = spiking::input_edge(recipe, graph) {
        return Ok(Quantized { layers, plan, edges });
    }
    if bits == 0 {
        return Ok(Quantized {
            layers,
            plan,
            edges: BTreeMap::new(),
        });
    }
    let observed = plan.observed();
    let watch = observed.keys().copied().collect();
    let mut observers = plan.observers();
    let runner = Runner::on_graph(graph, pool.clone(), &RunOptions::default(), true)?;
    let name = match graph.inputs[..] {
        [input] => graph.value(input).name.clone(),
        _ => return Err(Error::unsupported("only models with one input can be trained")),
    };
    for input in inputs {
        // The plan shows what nodes give; the input is nobody's.
        if let Some(&group) = graph.find(&name).and_then(|id| observed.get(&id)) {
            observers[group].observe(input.as_f32().unwrap_or_default());
        }
        let mut see = |_, value: ValueId, held: &engine::Held| {
            if let (Some(&group), engine::Held::Real(tensor)) = (observed.get(&value), held) {
                observers[group].observe(tensor.as_f32().unwrap_or_default());
            }
        };
        runner.watch(&[(&name, input)], Some(&watch), &mut see)?;
    }
    let mut edges = plan.quantizers(graph, &observers)?;
    crate::quantize::calibrate::round_once(graph, &mut edges);
    if shares_maps(recipe) {
        Maps::joined(graph, &mut edges);
    }
    Ok(Quantized { layers, plan, edges })
}

/// Whether codes that only move keep their map while it is trained.
fn shares_maps(recipe: &Recipe) -> bool {
    recipe.text("activation.rule") == "affine"
}

impl Layer {
    /// The recipe's method for this layer, pruning included.
    pub(super) fn method(&self, recipe: &Recipe) -> Result<Box<dyn WeightMethod>> {
        let method = self.quantizing(recipe)?;
        let Some(groups) = self.groups(recipe)? else {
            return Ok(method);
        };
        let pruning = Pruning {
            share: recipe.number("prune.share"),
            until: recipe.number("prune.until"),
            lambda: recipe.number("prune.lambda"),
            clip: match recipe.number("prune.clip") {
                0.0 => Clip::None,
                a => Clip::OfMean(a),
            },
        };
        Ok(Box::new(Pruned::new(method, groups, pruning)))
    }

    /// Groups that the recipe prunes in this layer: of convolutions with enough input channels for one, which leaves out depthwise ones and the first.
    pub(super) fn groups(&self, recipe: &Recipe) -> Result<Option<Groups>> {
        if recipe.text("prune.groups").is_empty() {
            return Ok(None);
        }
        let shape: GroupShape = parsed(recipe, "prune.groups")?;
        let Layout { shape: weight, axis } = &self.layout;
        if *axis != 0 || weight.len() < 3 || weight[1] < shape.inputs {
            return Ok(None);
        }
        if !self.grid.has_zero() {
            return Err(
                Error::usage(format!("grid {} has no zero for what is pruned", self.grid))
                    .at("recipe key \"prune.groups\"")
                    .help("take ternary, or another grid with a zero"),
            );
        }
        Ok(Groups::new(shape, weight))
    }

    /// The recipe's weight method for this layer.
    fn quantizing(&self, recipe: &Recipe) -> Result<Box<dyn WeightMethod>> {
        let mut options = project_options(recipe)?;
        if self.per_tensor {
            options.granularity = Granularity::Tensor;
        }
        let layout = || self.layout.clone();
        let projected = |grid: Grid| -> Box<dyn WeightMethod> {
            let clip = recipe.flag("method.clip");
            Box::new(Lbw::new(
                grid,
                options,
                layout(),
                recipe.count("method.every"),
                clip,
            ))
        };
        // Rules keep some layers at other grids, which only projection knows.
        let by_rule = self.grid.to_string() != recipe.text("method.grid");
        let bits = self.grid.bits();
        let method: Box<dyn WeightMethod> = match recipe.text("method.name") {
            "affine" if self.grid.is_affine() && bits >= 2 => {
                let span = recipe.count("method.level_bits") as u32;
                Box::new(Affine::new(bits, span, options.granularity, layout()))
            }
            _ if by_rule => return Ok(projected(self.grid)),
            "bcgd" => {
                let quantizer = match recipe.flag("method.published") {
                    true => Quantizer::Published,
                    false => Quantizer::Exact,
                };
                let rho = recipe.number("method.rho") as f32;
                Box::new(Bcgd::new(
                    bits,
                    quantizer,
                    options.granularity,
                    rho,
                    layout(),
                    recipe.count("method.every"),
                ))
            }
            "symmetric" => {
                let method = Symmetric::new(self.grid, options.granularity, layout());
                let what = || format!("method symmetric has no grid {}", self.grid);
                Box::new(method.ok_or_else(|| Error::usage(what()).at("recipe key \"method.grid\""))?)
            }
            "binary-relax" => Box::new(BinaryRelax::new(projected(self.grid))),
            "lsq" if bits >= 2 => Box::new(Lsq::new(bits, options.granularity, layout())),
            "apot" if self.grid.has_zero() && !self.grid.is_affine() => {
                Box::new(Apot::new(self.grid, options.granularity, layout()))
            }
            "ternary-threshold" if self.grid.to_string() == "ternary" => {
                Box::new(TernaryThreshold::new(options.granularity, layout()))
            }
            name @ ("lsq" | "apot" | "affine" | "ternary-threshold") => {
                return Err(Error::usage(format!("method {name} has no grid {}", self.grid))
                    .at("recipe key \"method.grid\""));
            }
            _ => projected(self.grid),
        };
        let before = recipe.texts("method.from");
        if before.is_empty() {
            return Ok(method);
        }
        let mut stages = Vec::new();
        for (k, name) in before.iter().enumerate() {
            let grid = name
                .parse::<Grid>()
                .map_err(|e| Error::usage(e.to_string()).at("recipe key \"method.from\""))?;
            if grid.points() > 1 {
                let why = format!("grid {grid} has several points, which no method trains");
                return Err(Error::unsupported(why).at("recipe key \"method.from\""));
            }
            stages.push((0.5 * k as f64 / before.len() as f64, projected(grid)));
        }
        stages.push((0.5, method));
        Ok(Box::new(Progressive::new(stages)))
    }
}

impl Quantized {
    /// A method for every layer, by the weight's name. Where there are codes to start with, the method takes them, and the shadow weights move
    /// into their bins.
    pub(super) fn methods(
        &self,
        recipe: &Recipe,
        codes: &BTreeMap<String, WeightAnnotation>,
        parameters: &mut [Parameter],
    ) -> Result<BTreeMap<String, Box<dyn WeightMethod>>> {
        let mut methods = BTreeMap::new();
        for layer in &self.layers {
            let mut method = layer.method(recipe)?;
            let shadow = parameters.iter_mut().find(|p| p.name == layer.weight);
            if let (Some(start), Some(shadow)) = (codes.get(&layer.weight), shadow)
                && !method.start_from(start, &mut shadow.initial)
            {
                return Err(Error::usage("this method cannot start from corrected codes")
                    .at("recipe key \"method.start\"")
                    .help("take method.name = \"lbw\" with method.solver = \"optimum\", or method.start = \"float\""));
            }
            methods.insert(layer.weight.clone(), method);
        }
        Ok(methods)
    }

    /// Fake quantizers of the trained graph, and how their steps move. An edge before a clamp that has the same quantizer is left out: the clamp's own
    /// does the same.
    pub(super) fn activations(
        &self,
        recipe: &Recipe,
        folded: &Graph,
    ) -> Result<(Vec<FakeQuantizer>, BTreeMap<String, StepRule>)> {
        let at = |key: &'static str| move |e: String| Error::usage(e).at(format!("recipe key \"{key}\""));
        let gradient = activation::rule(recipe.text("activation.rule")).map_err(at("activation.rule"))?;
        let rounding =
            activation::rounding(recipe.text("activation.rounding")).map_err(at("activation.rounding"))?;
        let consumers = folded.consumers();
        let clamped = |v: &ValueId, q: &EdgeQuantizer| match consumers.get(v).map(Vec::as_slice) {
            Some([n]) if !folded.outputs.contains(v) => {
                let node = &folded.nodes[*n];
                let clamp = matches!(node.op, Op::Unary(Unary::Relu) | Op::Clip);
                clamp && self.edges.get(&node.outputs[0]) == Some(q)
            }
            _ => false,
        };
        // Rounding up is the quantized ReLU's, and exported as half a step in the bias before it; all other edges round to nearest.
        let producers = folded.producers();
        let before = |v: ValueId| producers.get(&v).map(|&n| &folded.nodes[n]);
        let takes_bias = |v: ValueId, q: &EdgeQuantizer| {
            let clamp = before(v).filter(|n| matches!(n.op, Op::Unary(Unary::Relu) | Op::Clip));
            let layer = clamp.and_then(|n| before(n.inputs[0]?));
            q.zero_point == 0 && layer.is_some_and(|n| matches!(n.op, Op::Conv(_) | Op::Gemm { .. }))
        };
        let affine = shares_maps(recipe);
        let maps = match affine {
            true => Maps::joined(folded, &mut self.edges.clone()),
            false => Maps::apart(&self.edges),
        };
        let (mut all, mut steps) = (Vec::new(), BTreeMap::new());
        for (v, q) in self
            .edges
            .iter()
            .filter(|(v, q)| !clamped(v, q) && !maps.repeats(**v))
        {
            let (value, owner) = (folded.value(*v), maps.owner(*v));
            let elements: usize = value.fixed_shape().unwrap_or_default().iter().product();
            let top = f64::from(q.max_code());
            let batch = recipe.count("batch") as f64;
            let rule = match gradient {
                QuantizerGradient::Fixed => StepRule::Fixed,
                // Bytes of pictures and volumes have their map.
                QuantizerGradient::Lsq if affine && folded.inputs.contains(v) => StepRule::Fixed,
                QuantizerGradient::Lsq if affine => StepRule::Range {
                    scale: (1.0 / (elements as f64 * batch * top).sqrt()) as f32,
                    top: top as f32,
                },
                QuantizerGradient::Lsq => StepRule::Lsq {
                    scale: (1.0 / (elements as f64 * batch * top).sqrt()) as f32,
                },
                QuantizerGradient::Alpha(_) => StepRule::Bcgd {
                    factor: recipe.number("activation.factor") as f32,
                },
            };
            let rounding = if takes_bias(*v, q) {
                rounding
            } else {
                Rounding::Nearest
            };
            // Ranges are those of rounding to nearest; the best step of rounding up is another.
            let start = match gradient {
                QuantizerGradient::Alpha(_) => {
                    activation::initial_step(q.bits, rounding)
                        / activation::initial_step(q.bits, Rounding::Nearest)
                }
                _ => 1.0,
            };
            let owner = (owner != *v).then(|| folded.value(owner).name.clone());
            let name = owner.as_ref().unwrap_or(&value.name);
            steps.insert(format!("{name}/step"), rule);
            all.push(FakeQuantizer {
                edge: value.name.clone(),
                bits: q.bits,
                step: q.scale * start,
                zero_point: q.zero_point,
                rounding,
                gradient,
                step_of: owner,
            });
        }
        Ok((all, steps))
    }
}
