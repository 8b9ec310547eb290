//! Early layers and sums that stay float because rounding what they read costs most detections.
//!
//! The first edges of a small network have few channels of unlike ranges, and every later layer inherits their rounding: on YOLOX-nano one edge of
//! 139 makes four fifths of the error, on UltraFace the first one two fifths. The layers that read them are small. A sum of two branches takes
//! values that reach further than their sum's activation keeps; where the branches write f32 it rounds once instead of three times.

use std::collections::{BTreeMap, BTreeSet};

use graph::{Binary, NodeId, Op, ValueId, shape};
use quant::annotate::{self, Request};

use super::trial::{Candidate, Ground, Trial};
use crate::Result;
use crate::control::Progress;
use crate::pictures::spread;

/// Weighted layers, from the input on, that may stay float.
const EARLY: usize = 8;

/// A layer is kept float if that takes at least this share of the outputs' error away.
const SHARE: f64 = 0.1;

/// A sum is kept float if that takes at least this share of the harm away: what it adds to the error is little, and meets detections all the same.
const SHARE_OF_SUM: f64 = 0.05;

/// The layers that stay float do so many in a hundred of the multiplications at most.
const PERCENT: u64 = 13;

/// Rounds of trials: one edge, one sum or all sums are added in each.
const ROUNDS: usize = 3;

/// Pictures of a trial: a difference on the same pictures for all needs few.
const PICTURES: usize = 16;

/// Layers and sums that stay float.
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
            weights: rounded.weights.clone(),
        })
    };
    let macs = |layers: &BTreeSet<NodeId>| -> u64 {
        layers.iter().map(|&n| shape::macs(graph, &graph.nodes[n])).sum()
    };
    let most = macs(&(0..graph.nodes.len()).collect()) * PERCENT / 100;
    let mut kept = FloatLayers::default();
    let mut best = *found;
    type Score = fn(&Trial) -> f64;
    let kinds: [(_, Score, f64); 2] = [
        (early(rounded), Trial::error, SHARE),
        (sums(rounded), Trial::harm, SHARE_OF_SUM),
    ];
    for (offers, score, share) in kinds {
        for _ in 0..ROUNDS {
            let mut sets: Vec<BTreeSet<NodeId>> = vec![kept.layers.clone()];
            let others = offers.iter().filter(|o| !o.is_subset(&kept.layers));
            sets.extend(others.map(|o| o | &kept.layers));
            sets.retain(|set| macs(set) <= most);
            if sets.len() < 2 {
                break;
            }
            let candidates = sets.iter().map(with).collect::<Result<Vec<_>>>()?;
            let trials = few.run("choose float layers", &candidates, progress)?;
            let scores = trials.iter().map(score).enumerate();
            let Some((i, least)) = scores.min_by(|a, b| a.1.total_cmp(&b.1)) else {
                break;
            };
            if i == 0 || least > (1.0 - share) * score(&trials[0]) {
                break;
            }
            // Fewer errors on background that cost detections are no gain, and what helps on few pictures must help on all.
            let trial = ground.run("choose float layers", &candidates[i..=i], progress)?[0];
            if trial.harm() > best.harm() {
                break;
            }
            best = trial;
            kept.layers = sets.swap_remove(i);
            let name = |n: &NodeId| graph.nodes[*n].name.clone();
            kept.rounds.push((kept.layers.iter().map(name).collect(), trial));
        }
    }
    Ok(kept)
}

/// The first layers whose inputs carry codes, input by input. Pictures are codes already.
fn early(rounded: &Candidate<'_>) -> Vec<BTreeSet<NodeId>> {
    let inputs = &rounded.model.graph().inputs;
    let mut readers: BTreeMap<ValueId, BTreeSet<NodeId>> = BTreeMap::new();
    for task in rounded.plan.weights.iter().take(EARLY) {
        if rounded.edges.contains_key(&task.input) && !inputs.contains(&task.input) {
            readers.entry(task.input).or_default().insert(task.node);
        }
    }
    readers.into_values().collect()
}

/// Sums of two edges with codes: all of them, and each alone.
fn sums(rounded: &Candidate<'_>) -> Vec<BTreeSet<NodeId>> {
    let graph = rounded.model.graph();
    let codes = |v: &Option<ValueId>| v.is_some_and(|v| rounded.edges.contains_key(&v));
    let sum = |n: &NodeId| {
        let node = &graph.nodes[*n];
        matches!(node.op, Op::Binary(Binary::Add)) && node.inputs.iter().all(codes)
    };
    let all: BTreeSet<NodeId> = (0..graph.nodes.len()).filter(sum).collect();
    let each = all.iter().map(|&n| BTreeSet::from([n]));
    let mut offers: Vec<_> = each.filter(|_| all.len() > 1).collect();
    offers.extend((!all.is_empty()).then(|| all.clone()));
    offers
}
