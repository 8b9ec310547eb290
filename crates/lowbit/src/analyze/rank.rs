//! From measurements to an order: what hurts most first, and what to do about it.
//!
//! ```text
//! score = min(alone, all) · (fault + 1/20)
//! alone = error of the model's outputs with this place alone rounded;  all: with everything rounded
//! fault = of an edge:   share of its own error that a fresh rounding of the same width would not make
//!         of a weight:  how far the gain of its channels is from 1 (their median), or how much of one channel is lost
//! ```
//! A place that does what its width can do is ranked by what it costs; one that does worse comes before it, up to twenty times as much: there a
//! repair is near. Alone may be larger than all, since layers were fitted to what earlier ones do; no place is to blame for more than there is.
//! The first places are then repaired in the low-bit model, one at a time: score ← score · max(share of the error that this takes away, 1/50). What
//! later layers were fitted to is no gain to repair.
//!
//! For the same reason a weight that does somewhat worse than fresh in front of float values is no fault: it answers for errors in its inputs.

use graph::Graph;
use serde::Serialize;

use super::accumulate::Accumulated;
use super::own::Own;
use super::sites::{Rounds, Site};
use crate::quantize::trial::Trial;

/// What counts of an error that is what it should be.
const ORDINARY: f64 = 0.05;

/// Errors of a channel up to so many times the fresh ones are chance, and what error feedback and corrections ask for.
const CHANCE: f64 = 2.0;

/// A place is named as faulty where it alone makes this share of all the model's error at least …
const MATTERS: f64 = 0.1;

/// … and is at fault by so much.
const FAULTY: f64 = 0.5;

/// Gains so far from 1 are a fault by 1: corrections move the median of a layer's channels by less.
const GAIN: f64 = 0.2;

/// An error of this share of a channel's spread is a fault by 1 …
const LOST: f64 = 0.5;

/// … where it is so many times the fresh one,
const BROKEN: f64 = 10.0;

/// and the channel has at least this part of what channels have on the average.
const ALIVE: f64 = 0.01;

/// So many of the first places are repaired.
pub(super) const REPAIRED: usize = 12;

/// What is left of a score where a repair gains nothing, or was not tried.
const NO_GAIN: f64 = 0.02;

/// A place is faulty where its repair takes at least this share of the error away: error feedback makes what looks like a fault before float values,
/// but no gain to repair.
const CONFIRMED: f64 = 0.1;

/// Share of the error that a repair takes away.
fn spared(repaired: Option<f64>, whole: f64) -> f64 {
    match (repaired, whole.is_nan()) {
        (Some(error), true) => f64::from(u8::from(!error.is_nan())),
        (Some(error), false) => (whole - error) / whole.max(f64::MIN_POSITIVE),
        (None, _) => 0.0,
    }
}

/// The score after a repair.
fn confirmed(score: f64, repaired: Option<f64>, whole: f64) -> f64 {
    match whole.is_nan() && repaired.is_none() {
        true => score,
        false => score * spared(repaired, whole).clamp(NO_GAIN, 1.0),
    }
}

/// Takes a repair's result into account: of a place that was not repaired, or in vain, nothing worse is said than that it rounds.
pub(super) fn confirm(ranked: &mut Ranked, repaired: Option<f64>, whole: f64) {
    ranked.repaired_error = repaired;
    ranked.score = confirmed(ranked.score, repaired, whole);
    if ranked.finding != Finding::Rounding && spared(repaired, whole) < CONFIRMED {
        ranked.finding = Finding::Rounding;
        ranked.advice = advice(ranked.finding, ranked.part, &ranked.grid, None, 0.0);
    }
}

/// Which numbers a place rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The weights of a layer.
    Weights,
    /// The values that a layer hands on.
    Activations,
}

impl Part {
    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Part::Weights => "weights",
            Part::Activations => "activations",
        }
    }
}

/// What is the matter with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Its error is what its width makes.
    Rounding,
    /// Most channels of the weights are further off than their grid asks for: their scales are wrong.
    Scale,
    /// A few channels are.
    Channel,
    /// The range cuts values off.
    Clipped,
    /// The range is far wider than the values.
    Coarse,
    /// As [`Coarse`](Finding::Coarse) or [`Clipped`](Finding::Clipped), on an edge that a Concat joins with others.
    Mixed,
}

impl Finding {
    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Finding::Rounding => "ordinary rounding",
            Finding::Scale => "scales off",
            Finding::Channel => "channel broken",
            Finding::Clipped => "clipped",
            Finding::Coarse => "range too wide",
            Finding::Mixed => "mixed ranges",
        }
    }
}

/// One place, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// The layer by its name in the float model; an input of the model by the input's.
    pub layer: String,
    /// Its operator.
    pub op: String,
    /// What is rounded.
    pub part: Part,
    /// Name of the weight or of the edge.
    pub value: String,
    /// Grid of the weights; `uN` for codes of N bits.
    pub grid: String,
    /// 10·log10(Σy² / Σe²) of what this place alone adds to float values, e around its mean of each channel.
    pub own_sqnr_db: f64,
    /// The same of a fresh rounding to the same grid or width.
    pub fresh_sqnr_db: f64,
    /// Share of the own error that the fresh rounding would not make, 0…1.
    pub extra: f64,
    /// How much of what it does is a fault, 0…1.
    pub fault: f64,
    /// The output channel of which most is lost, where it is far more than a fresh rounding loses; weights only.
    pub worst_channel: Option<usize>,
    /// Share of the values beyond the codes' range; activations only.
    pub clipped: Option<f64>,
    /// Mean over the model's outputs of Σ(y − ŷ)² / Σy² with this place alone rounded.
    pub output_error: f64,
    /// The same of the low-bit model with this place alone repaired; of the first places.
    pub repaired_error: Option<f64>,
    /// Agreement of the detections with the float model's, with this place alone rounded, 0…1; absent without detections.
    pub agreement: Option<f64>,
    /// mAP with this place alone rounded, on the labelled pictures; of the first places, where there are labels. The order does not depend on it.
    pub map: Option<f64>,
    /// 10·log10(Σy² / Σ(y − ŷ)²) of the layer's output with everything rounded.
    pub sqnr_db: Option<f64>,
    /// Cosine of the layer's output in both models.
    pub cosine: Option<f64>,
    /// What the order is by.
    pub score: f64,
    /// What is the matter.
    pub finding: Finding,
    /// What to do.
    pub advice: String,
}

/// Decibels; equal values have no noise, 200 dB is beyond f32.
pub(super) fn decibels(signal: f64, noise: f64) -> f64 {
    (10.0 * (signal.max(f64::MIN_POSITIVE) / noise.max(f64::MIN_POSITIVE)).log10()).clamp(-200.0, 200.0)
}

/// SQNR and cosine of Σ y², Σ ŷ², Σ (y − ŷ)², Σ y·ŷ.
pub(super) fn likeness([y, l, d, both]: [f64; 4]) -> (f64, f64) {
    let cosine = match y * l > 0.0 {
        true => (both / (y * l).sqrt()).clamp(-1.0, 1.0),
        false => f64::from(u8::from(y == l)),
    };
    (decibels(y, d), cosine)
}

/// Extra error of each channel.
fn extras(own: &Own) -> impl Iterator<Item = f64> {
    own.own
        .iter()
        .zip(&own.fresh)
        .map(|(o, f)| (o - CHANCE * f).max(0.0))
}

/// Share of the own error that a fresh rounding would not make.
pub(super) fn extra(own: &Own) -> f64 {
    let all: f64 = own.own.iter().sum();
    match all > 0.0 {
        true => extras(own).sum::<f64>() / all,
        false => 0.0,
    }
}

/// How far the gain of the layer as a whole is off, 0…1.
fn scaled(own: &Own) -> f64 {
    let mut gains = own.gain.clone();
    gains.sort_by(f64::total_cmp);
    let median = gains.get(gains.len() / 2).copied().unwrap_or(1.0);
    ((median - 1.0) / GAIN).powi(2).min(1.0)
}

/// The channel of which most is lost, and how much, 0…1.
fn broken(own: &Own) -> Option<(usize, f64)> {
    let alive = ALIVE * own.spread.iter().sum::<f64>() / own.spread.len().max(1) as f64;
    let lost = |c: usize| {
        let counts = own.spread[c] > alive && own.own[c] >= BROKEN * own.fresh[c];
        counts.then(|| (c, (own.own[c] / (LOST * own.spread[c])).clamp(0.0, 1.0)))
    };
    (0..own.own.len())
        .filter_map(lost)
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

/// How much of what a place does is a fault, 0…1.
fn fault(part: Part, own: &Own) -> f64 {
    match part {
        Part::Activations => extra(own),
        Part::Weights => scaled(own).max(broken(own).map_or(0.0, |b| b.1)),
    }
}

/// What the order is by; `whole` is the error of the outputs with everything rounded.
pub(super) fn score(part: Part, own: &Own, alone: &Trial, whole: f64) -> f64 {
    // Outputs that are no numbers are the worst of all.
    match alone.output_error.is_nan() {
        true => f64::INFINITY,
        false => alone.output_error.min(whole) * (fault(part, own) + ORDINARY),
    }
}

/// Judges one place; `whole` is the error of the outputs with everything rounded.
pub(super) fn judge(
    graph: &Graph,
    site: &Site,
    own: &Own,
    alone: &Trial,
    whole: f64,
    accumulated: &Accumulated,
) -> Ranked {
    let node = site.node.map(|n| &graph.nodes[n]);
    let value = graph.value(site.value).name.clone();
    let signal: f64 = own.signal.iter().sum();
    let (sums, fresh): (f64, f64) = (own.own.iter().sum(), own.fresh.iter().sum());
    let (part, grid) = match &site.rounds {
        Rounds::Weight { weight, .. } => (Part::Weights, weight.grid.clone()),
        Rounds::Edge(edge) => (Part::Activations, format!("u{}", edge.bits)),
    };
    let shown = match part {
        Part::Weights => node.and_then(|n| n.outputs.first().copied()),
        Part::Activations => Some(site.value),
    };
    let like = shown.and_then(|v| accumulated.get(&v)).map(|s| likeness(*s));
    let extra = extra(own);
    let matters = alone.output_error.is_nan() || alone.output_error >= MATTERS * whole;
    let fault = fault(part, own);
    let worst_channel = broken(own).filter(|_| part == Part::Weights).map(|b| b.0);
    let finding = match part {
        _ if !matters || fault < FAULTY => Finding::Rounding,
        Part::Weights if scaled(own) >= FAULTY => Finding::Scale,
        Part::Weights => Finding::Channel,
        Part::Activations if site.is_concatenated(graph) => Finding::Mixed,
        Part::Activations if own.clipped > 1e-3 => Finding::Clipped,
        Part::Activations => Finding::Coarse,
    };
    let layer = node.map_or(value.clone(), |n| n.name.clone());
    Ranked {
        advice: advice(finding, part, &grid, worst_channel, own.clipped),
        op: node.map_or("input".into(), |n| n.op.name().to_string()),
        layer,
        part,
        value,
        own_sqnr_db: decibels(signal, sums),
        fresh_sqnr_db: decibels(signal, fresh),
        extra,
        fault,
        worst_channel,
        clipped: (part == Part::Activations).then_some(own.clipped),
        output_error: alone.output_error,
        repaired_error: None,
        agreement: alone.agreement,
        map: None,
        sqnr_db: like.map(|l| l.0),
        cosine: like.map(|l| l.1),
        score: score(part, own, alone, whole),
        finding,
        grid,
    }
}

/// A sentence about what is wrong and what helps.
fn advice(finding: Finding, part: Part, grid: &str, worst: Option<usize>, clipped: f64) -> String {
    let percent = 100.0 * clipped;
    match finding {
        Finding::Rounding => match part {
            Part::Weights if grid == "int8" => "as good as 8 bits are; float if it matters".into(),
            Part::Weights => format!("as good as {grid} is; a wider grid for this layer"),
            Part::Activations => {
                "as good as its bits are; the layers that read it in float if it matters".into()
            }
        },
        Finding::Scale => "the scales do not fit the weights: quantize the float model again".into(),
        Finding::Channel => format!(
            "channel {} is broken: quantize the float model again; if it stays, keep this layer at int8 or float",
            worst.unwrap_or(0)
        ),
        Finding::Clipped => {
            format!("{percent:.2} % of the values are cut off: a wider range, by the observer min-max")
        }
        Finding::Coarse => {
            "the range is far wider than the values: a narrower one, by the observer mse".into()
        }
        Finding::Mixed => format!(
            "joined by a Concat with a range that does not fit it ({percent:.2} % cut off): quantize again, or keep the layers that read the Concat in float"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(own: [f64; 3], gain: f64) -> Own {
        Own {
            signal: vec![100.0; 3],
            spread: vec![100.0; 3],
            gain: vec![gain; 3],
            own: own.to_vec(),
            fresh: vec![1.0; 3],
            ..Own::default()
        }
    }

    #[test]
    fn a_fault_comes_before_rounding_that_costs_more() {
        let alone = |output_error| Trial {
            agreement: None,
            output_error,
        };
        let of = |own: &Own, error| score(Part::Weights, own, &alone(error), 0.3);
        let ordinary = of(&weight([1.0, 1.5, 2.0], 1.01), 0.2);
        for faulty in [weight([1.0, 1.0, 90.0], 1.0), weight([5.0; 3], 0.7)] {
            assert!(of(&faulty, 0.02) > ordinary);
        }
        // What takes no error away when it is repaired, later layers were fitted to.
        assert_eq!(confirmed(1.0, Some(0.4), 0.3), NO_GAIN);
        assert_eq!(confirmed(1.0, Some(0.1), 0.2), 0.5);
        // A weight that answers for errors in its inputs is none.
        assert!(of(&weight([5.0; 3], 1.05), 0.02) < ordinary);
        // Nor is a channel that hardly lives.
        let mut dead = weight([1.0, 1.0, 0.1], 1.0);
        (dead.spread[2], dead.fresh[2]) = (0.1, 0.0);
        assert!(of(&dead, 0.02) < ordinary);
        // Alone, a place may cost more than all together: it is to blame for no more than there is.
        assert_eq!(of(&dead, 0.4), of(&dead, 0.3));
        assert_eq!(of(&dead, f64::NAN), f64::INFINITY);
    }

    #[test]
    fn what_no_repair_confirms_is_ordinary_rounding() {
        let suspect = || Ranked {
            layer: "conv".into(),
            op: "Conv".into(),
            part: Part::Weights,
            value: "w".into(),
            grid: "pow2-4".into(),
            own_sqnr_db: 10.0,
            fresh_sqnr_db: 20.0,
            extra: 0.9,
            fault: 1.0,
            worst_channel: None,
            clipped: None,
            output_error: 0.3,
            repaired_error: None,
            agreement: None,
            map: None,
            sqnr_db: None,
            cosine: None,
            score: 0.2,
            finding: Finding::Scale,
            advice: String::new(),
        };
        let finding = |repaired, whole| {
            let mut ranked = suspect();
            confirm(&mut ranked, repaired, whole);
            ranked.finding
        };
        assert_eq!(finding(Some(0.1), 0.3), Finding::Scale);
        assert_eq!(finding(Some(0.29), 0.3), Finding::Rounding);
        assert_eq!(finding(Some(0.9), 0.3), Finding::Rounding);
        assert_eq!(finding(None, 0.3), Finding::Rounding);
        // Outputs that are no numbers, and are with the place repaired.
        assert_eq!(finding(Some(0.1), f64::NAN), Finding::Scale);
        assert_eq!(finding(Some(f64::NAN), f64::NAN), Finding::Rounding);
    }

    #[test]
    fn an_edge_is_at_fault_by_what_a_fresh_range_would_spare() {
        let edge = |own: f64| Own {
            own: vec![own],
            fresh: vec![1.0],
            ..Own::default()
        };
        assert_eq!(fault(Part::Activations, &edge(1.5)), 0.0);
        assert_eq!(fault(Part::Activations, &edge(20.0)), 0.9);
    }
}
