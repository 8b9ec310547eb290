//! Early layers that stay float because rounding what they read makes most of the outputs' error.
//!
//! The first edges of a small network have few channels of unlike ranges, and every later layer inherits their rounding: on YOLOX-nano one edge of
//! 139 makes four fifths of the error, on UltraFace the first one two fifths. The layers that read them are small.

use std::collections::{BTreeMap, BTreeSet};

use graph::{NodeId, ValueId, shape};
use quant::annotate::{self, Request};

use super::trial::{Candidate, Ground, Trial};
use crate::Result;
use crate::control::Progress;
use crate::pictures::spread;

/// Weighted layers, from the input on, that may stay float.
const EARLY: usize = 8;

/// An edge is kept f32 if that takes at least this share of the outputs' error away.
const SHARE: f64 = 0.1;

/// The layers that stay float do one part of so many of the multiplications at most.
const MULTIPLICATIONS: u64 = 8;

/// Rounds of trials: one edge is added in each.
const ROUNDS: usize = 3;

/// Pictures of a trial: an error of outputs, the same pictures for all, needs few.
const PICTURES: usize = 16;

/// Layers that stay float.
#[derive(Debug, Default)]
pub(super) struct FloatLayers {
    pub(super) layers: BTreeSet<NodeId>,
    /// Names of the layers after each round, and what the network then did.
    pub(super) rounds: Vec<(Vec<String>, Trial)>,
}

/// Adds layers as long as one takes enough of the error away.
pub(super) fn choose(
    ground: &Ground<'_>,
    rounded: &Candidate<'_>,
    found: &Trial,
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<FloatLayers> {
    let graph = rounded.model.graph();
    let few = Ground {
        pictures: &spread(ground.pictures, PICTURES),
        ..*ground
    };
    let with = |layers: &BTreeSet<NodeId>| -> Result<Candidate<'_>> {
        let request = Request {
            float_layers: layers.clone(),
            ..request.clone()
        };
        let plan = annotate::plan(graph, &request)?;
        let carries: BTreeSet<ValueId> = plan.groups.iter().flat_map(|g| &g.members).copied().collect();
        let mut edges = rounded.edges.clone();
        edges.retain(|v, _| carries.contains(v));
        Ok(Candidate {
            model: rounded.model,
            plan,
            edges,
        })
    };
    let readers = early(rounded);
    let macs = |layers: &BTreeSet<NodeId>| -> u64 {
        layers.iter().map(|&n| shape::macs(graph, &graph.nodes[n])).sum()
    };
    let most = macs(&(0..graph.nodes.len()).collect()) / MULTIPLICATIONS;
    let mut kept = FloatLayers::default();
    let mut best = *found;
    for _ in 0..ROUNDS {
        let mut sets: Vec<BTreeSet<NodeId>> = vec![kept.layers.clone()];
        sets.extend(
            readers
                .values()
                .filter(|r| !r.is_subset(&kept.layers))
                .map(|r| r | &kept.layers),
        );
        sets.retain(|set| macs(set) <= most);
        let candidates = sets.iter().map(with).collect::<Result<Vec<_>>>()?;
        let trials = few.run("choose float layers", &candidates, progress)?;
        let errors = trials.iter().map(|t| t.output_error).enumerate();
        let Some((i, error)) = errors.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            break;
        };
        if i == 0 || error > (1.0 - SHARE) * trials[0].output_error {
            break;
        }
        // Fewer errors on background that cost detections are no gain.
        let trial = ground.run("choose float layers", &candidates[i..=i], progress)?[0];
        if trial.harm() > best.harm() {
            break;
        }
        best = trial;
        kept.layers = sets.swap_remove(i);
        let name = |n: &NodeId| graph.nodes[*n].name.clone();
        kept.rounds.push((kept.layers.iter().map(name).collect(), trial));
    }
    Ok(kept)
}

/// The first layers whose inputs carry codes, by those inputs. Pictures are codes already.
fn early(rounded: &Candidate<'_>) -> BTreeMap<ValueId, BTreeSet<NodeId>> {
    let inputs = &rounded.model.graph().inputs;
    let mut readers: BTreeMap<ValueId, BTreeSet<NodeId>> = BTreeMap::new();
    for task in rounded.plan.weights.iter().take(EARLY) {
        if rounded.edges.contains_key(&task.input) && !inputs.contains(&task.input) {
            readers.entry(task.input).or_default().insert(task.node);
        }
    }
    readers
}
