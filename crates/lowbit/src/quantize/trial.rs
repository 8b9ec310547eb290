//! Networks tried in the integer engine beside the float one: activations rounded, weights nearly exact, so that what the ranges of edges cost
//! is seen apart from the weights' own error, and in a fraction of the time that fitting weights takes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use graph::{EdgeQuantizer, Graph, NodeId, ValueId};
use kernels::Pool;
use quant::ProjectOptions;
use quant::annotate::{Plan, WeightTask};
use tasks::detect::{Detection, Placement, postprocess};
use tensor::Tensor;

use super::layers::{add_squares, relative};
use super::weights::Layer;
use super::{Grid, agreement, weights};
use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::runtime::{Outputs, RunOptions, Runner, borrowed};
use crate::side_by_side::{self, Share, Team, room, weight_bytes};
use crate::{Control, ErrorKind, Model, Result};

/// What a network was found to do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trial {
    /// 0…1: how well its detections agree with the float network's; absent for models without detections.
    pub(crate) agreement: Option<f64>,
    /// Mean over the outputs of Σ(y − ŷ)² / Σy².
    pub(crate) output_error: f64,
}

impl Trial {
    /// Mean over the outputs, whatever they mean.
    pub(crate) fn error(&self) -> f64 {
        self.output_error
    }

    /// What a choice makes small: detections that disagree, where there are any; else the error of the outputs.
    pub(crate) fn harm(&self) -> f64 {
        self.agreement.map_or(self.output_error, |a| 1.0 - a)
    }
}

/// What every trial shares.
pub(crate) struct Ground<'a> {
    /// The network that the others are compared with.
    pub(crate) float: &'a Model,
    pub(crate) pictures: &'a [PathBuf],
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) control: &'a Control,
}

/// A network to try: codes on the edges of its plan, and weights of 8 bits whatever the plan's grids are.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub(super) model: &'a Model,
    pub(super) plan: Plan,
    pub(super) edges: BTreeMap<ValueId, EdgeQuantizer>,
    pub(super) weights: Arc<Eight>,
}

/// Weights of 8 bits that the candidates of one model share, as they come to be wanted.
#[derive(Debug, Default)]
pub(super) struct Eight(Mutex<BTreeMap<NodeId, Layer>>);

impl Eight {
    fn of(&self, graph: &Graph, plan: &Plan, workers: Team<'_>) -> Result<BTreeMap<NodeId, Layer>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // How a weight is stored that several layers read depends on the whole plan.
        let stands = |t: &WeightTask| !t.shared && known.get(&t.node).is_some_and(|l| l.task == *t);
        let missing = Plan {
            weights: plan.weights.iter().filter(|t| !stands(t)).cloned().collect(),
            ..Plan::default()
        };
        known.extend(weights::project(
            graph,
            &missing,
            &ProjectOptions::default(),
            workers,
        )?);
        let layer = |t: &WeightTask| Some((t.node, known.get(&t.node)?.clone()));
        Ok(plan.weights.iter().filter_map(layer).collect())
    }
}

/// A network that can be tried.
pub(crate) trait Network {
    /// It as a graph.
    fn graph(&self, workers: Team<'_>) -> Result<Graph>;
}

impl Network for Candidate<'_> {
    fn graph(&self, workers: Team<'_>) -> Result<Graph> {
        let mut plan = self.plan.clone();
        let grid: Grid = "int8".parse()?;
        plan.weights.iter_mut().for_each(|task| task.grid = grid);
        let graph = self.model.graph();
        let layers = self.weights.of(graph, &plan, workers)?;
        Ok(weights::annotated(graph, &plan, &layers, self.edges.clone()))
    }
}

/// Bytes that networks in one run take together, beside the float one's weights, where no limit is given.
const ROOM: usize = 24 << 20;

/// Pictures between two reports of progress.
const PART: usize = 8;

impl Ground<'_> {
    /// Bytes that networks in one run take together where no limit is given: the float one's weights and their packed copy, and room for the others.
    fn most(&self) -> usize {
        let float = self.float.graph();
        2 * weight_bytes(float) + room(ROOM, float)
    }

    /// Runs all networks on all pictures, beside each other as far as the memory allows.
    pub(crate) fn run(
        &self,
        what: &str,
        networks: &[impl Network],
        progress: &mut dyn Progress,
    ) -> Result<Vec<Trial>> {
        let control = match (networks, self.control.memory()) {
            ([_, _, ..], None) => self.control.clone().with_memory(self.most()),
            _ => self.control.clone(),
        };
        match self.together(what, networks, control, progress) {
            Err(e) if e.kind() == ErrorKind::Limit && networks.len() > 1 => {
                self.control.check()?;
                let (a, b) = networks.split_at(networks.len() / 2);
                let mut trials = self.run(what, a, progress)?;
                trials.extend(self.run(what, b, progress)?);
                Ok(trials)
            }
            other => other,
        }
    }

    fn together(
        &self,
        what: &str,
        networks: &[impl Network],
        mut control: Control,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Trial>> {
        let mut compile = |graph: &Graph| -> Result<Runner> {
            let options = RunOptions {
                control: control.clone(),
                ..RunOptions::default()
            };
            let runner = Runner::on_graph(graph, self.pool.clone(), &options, false)?;
            control = control.less(runner.memory().total(), "comparing networks")?;
            Ok(runner)
        };
        let float = compile(self.float.graph())?;
        let networks: Vec<Runner> = networks
            .iter()
            .map(|n| compile(&n.graph((self.pool, self.control))?))
            .collect::<Result<_>>()?;
        let activations = |n: &Runner| n.memory().activations;
        let most = networks.iter().map(activations).max().unwrap_or(0);
        let share = Share::of(activations(&float) + most, self.float.graph());
        let mut sums = vec![Sums::default(); networks.len()];
        let picture = |i: usize| -> Result<Vec<Sums>> {
            let path = &self.pictures[i];
            let (name, input) = input_of(self.float, &mut Reader::new(self.control), path)?;
            let run = |runner: &Runner| runner.run(&[(&name, &input)]).map_err(|e| e.at(path.display()));
            let outputs = run(&float)?;
            let boxes = self.boxes(&outputs);
            let one = |network: &Runner| {
                let low = run(network)?;
                Ok(Sums::of(
                    (&outputs, boxes.as_deref()),
                    (&low, self.boxes(&low).as_deref()),
                ))
            };
            networks.iter().map(one).collect()
        };
        for first in (0..self.pictures.len()).step_by(PART) {
            progress.at(what, first, self.pictures.len());
            let count = PART.min(self.pictures.len() - first);
            for parts in side_by_side::map(self.pool, self.control, share, count, &|i| picture(first + i))? {
                sums.iter_mut().zip(&parts).for_each(|(sum, part)| sum.add(part));
            }
        }
        progress.at(what, self.pictures.len(), self.pictures.len());
        Ok(sums.iter().map(Sums::trial).collect())
    }

    /// Boxes in the input's own pixels; `None` for models without detections.
    fn boxes(&self, outputs: &Outputs) -> Option<Vec<Detection>> {
        let head = self.float.detector_head().ok()?;
        let placement = Placement::identity(head.input.width, head.input.height);
        postprocess(head, &borrowed(outputs), 0, &placement, &agreement::BOXES).ok()
    }
}

/// Sums over pictures.
#[derive(Debug, Clone, Default)]
struct Sums {
    /// Σ y² and Σ (y − ŷ)² of each output.
    squares: Vec<(f64, f64)>,
    agreement: agreement::Agreement,
}

impl Sums {
    fn of(float: (&Outputs, Option<&[Detection]>), low: (&Outputs, Option<&[Detection]>)) -> Sums {
        let pair = |((_, float), (_, low)): (&(String, Tensor), &(String, Tensor))| {
            let mut squares = (0.0, 0.0);
            add_squares(&mut squares, float, low);
            squares
        };
        let mut agreement = agreement::Agreement::default();
        if let (Some(float), Some(low)) = (float.1, low.1) {
            agreement.add(float, low);
        }
        Sums {
            squares: float.0.iter().zip(low.0).map(pair).collect(),
            agreement,
        }
    }

    fn add(&mut self, other: &Sums) {
        self.squares.resize(other.squares.len(), (0.0, 0.0));
        for (mine, theirs) in self.squares.iter_mut().zip(&other.squares) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1);
        }
        self.agreement.merge(&other.agreement);
    }

    fn trial(&self) -> Trial {
        Trial {
            agreement: self.agreement.value(),
            output_error: relative(&self.squares),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graph::{Conv, Op, Padding, Unary};
    use quant::annotate::{Request, plan};

    /// x → a → Relu → b → Relu → c → y, where a and b read one weight.
    fn network() -> Graph {
        let mut graph = Graph::new("t");
        let shape = |dims: [usize; 4]| Some(dims.map(Some).to_vec());
        let x = graph.add_value("x", Some(tensor::DType::F32), shape([1, 4, 5, 5]));
        graph.inputs.push(x);
        let weight = |graph: &mut Graph, seed: usize| {
            let values: Vec<f32> = (0..16).map(|i| ((i * 7919 + seed) % 31) as f32 - 15.0).collect();
            graph.add_constant("w", Tensor::new(vec![4, 4, 1, 1], values).unwrap())
        };
        let (shared, own) = (weight(&mut graph, 0), weight(&mut graph, 5));
        let mut at = x;
        for (name, weight) in [("a", shared), ("b", shared), ("c", own)] {
            let conv = Op::Conv(Conv {
                kernel: vec![1, 1],
                strides: vec![1, 1],
                dilations: vec![1, 1],
                padding: Padding::Valid,
                group: 1,
            });
            at = graph.add_node(conv, &[at, weight], name);
            at = graph.add_node(Op::Unary(Unary::Relu), &[at], &format!("{name}_relu"));
        }
        graph.outputs.push(at);
        graph
    }

    #[test]
    fn weights_that_candidates_share_are_those_of_each_alone() {
        let graph = network();
        let (pool, control) = (Pool::new(2), Control::default());
        let workers = (&pool, &control);
        let request = |float: &[&str]| Request {
            grid: "int8".parse().unwrap(),
            project: ProjectOptions::default(),
            act_bits: 8,
            observer: quant::calibrate::ObserverKind::MinMax,
            rules: Vec::new(),
            float_layers: float
                .iter()
                .map(|name| graph.nodes.iter().position(|n| n.name == *name).unwrap())
                .collect(),
        };
        // Layers go and come again; with `a` in float the weight that it shares belongs to `b` alone.
        let plans = [&[][..], &["a"], &["c"], &["a", "c"], &[]].map(|f| plan(&graph, &request(f)).unwrap());
        assert_eq!(plans.each_ref().map(|p| p.weights.len()), [3, 2, 2, 1, 3]);
        let shared = Eight::default();
        for (k, plan) in plans.iter().enumerate() {
            let alone = weights::project(&graph, plan, &ProjectOptions::default(), workers).unwrap();
            let found = shared.of(&graph, plan, workers).unwrap();
            assert!(found.keys().eq(alone.keys()), "{k}");
            for (n, layer) in &alone {
                let found = &found[n];
                assert_eq!(found.weight, layer.weight, "{k}, node {n}");
                assert_eq!(found.stored_once, layer.stored_once, "{k}, node {n}");
            }
        }
    }
}
