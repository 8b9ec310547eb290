//! What rounding costs in mAP, where the pictures have ground truth: all of it, and the first places one at a time.

use std::fmt;

use data::read::Dataset;
use graph::Graph;
use kernels::Pool;
use serde::Serialize;
use tasks::detect::eval::{Interval, paired_interval};

use super::AnalyzeOptions;
use super::rank::Ranked;
use super::sites::{Alone, Site};
use crate::control::Progress;
use crate::evaluate::{EvalOptions, evaluate_on};
use crate::pictures::spread;
use crate::quantize::trial::Network;
use crate::{Model, Result};

/// Labelled pictures at most: mAP on the few pictures that places are measured on would be noise.
const PICTURES: usize = 100;

/// Multiply-accumulates that places alone may take, in all pictures together: half a minute of a core, whatever the network. Counted, not timed: the same
/// input gives the same table.
const WORK: u64 = 400_000_000_000;

/// mAP of both models on the same pictures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    /// Of the float model.
    pub float_map: f64,
    /// Of the low-bit model.
    pub low_map: f64,
    /// 95 % paired bootstrap interval of float − low-bit.
    pub interval: Option<Interval>,
    /// Pictures.
    pub pictures: usize,
    /// So many of the first places were tried alone on them: [`Ranked::map`].
    pub places_alone: usize,
}

impl Accuracy {
    /// Points that are lost with one place alone rounded, as in tables.
    pub fn loss_alone(&self, map: Option<f64>) -> String {
        map.map_or("–".into(), |m| format!("{:.2}", 100.0 * (self.float_map - m)))
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drop = 100.0 * (self.float_map - self.low_map);
        write!(f, "{:.3} → {:.3}, loss {drop:.1}", self.float_map, self.low_map)?;
        if let Some(i) = &self.interval {
            write!(f, " ({:.1} … {:.1})", 100.0 * i.low, 100.0 * i.high)?;
        }
        write!(f, " points on {}", crate::text::counted(self.pictures, "picture"))
    }
}

/// mAP of both models, and of `plain`, the float one, with each of the first places alone rounded, which goes into `places`. `None` without a head,
/// without objects, or where model and data have no class in common.
pub(super) fn measure(
    (float, low): (&Model, &Model),
    (plain, places): (&Model, &mut [(Ranked, &Site)]),
    set: &Dataset,
    options: &AnalyzeOptions,
    progress: &mut dyn Progress,
) -> Result<Option<Accuracy>> {
    let labelled = set.pictures.iter().any(|p| !p.objects.is_empty());
    let Some(head) = float.detector_head().ok().filter(|_| labelled) else {
        return Ok(None);
    };
    if tasks::detect::names::ClassMap::new(&head.classes, &set.names)
        .common
        .is_empty()
    {
        return Ok(None);
    }
    let few = Dataset {
        pictures: spread(&set.pictures, PICTURES),
        ..set.clone()
    };
    let eval = EvalOptions {
        allow_skips: true,
        run: options.run.clone(),
        ..EvalOptions::default()
    };
    let a = evaluate_on(float, &few, &eval, progress)?;
    let b = evaluate_on(low, &few, &eval, progress)?;
    let Some((float_map, low_map)) = a.headline_value().zip(b.headline_value()) else {
        return Ok(None);
    };
    let places_alone = affordable(plain.graph(), few.pictures.len()).min(places.len());
    let once = EvalOptions {
        resamples: 0,
        ..eval.clone()
    };
    let pool = Pool::new(options.run.threads);
    for (done, (ranked, site)) in places.iter_mut().take(places_alone).enumerate() {
        progress.at("mAP, one at a time", done, places_alone);
        let graph = plain.graph();
        let rounded = Alone { graph, site }.graph((&pool, &options.run.control))?;
        let silent = &mut |_: &str, _, _| {};
        ranked.map = evaluate_on(&plain.with_graph(rounded), &few, &once, silent)?.headline_value();
    }
    progress.at("mAP, one at a time", places_alone, places_alone);
    Ok(Some(Accuracy {
        float_map,
        low_map,
        interval: paired_interval(
            &b.evaluation,
            &a.evaluation,
            a.headline,
            eval.resamples,
            eval.seed,
        ),
        pictures: few.pictures.len() - a.skipped.min(few.pictures.len()),
        places_alone,
    }))
}

/// Places that [`WORK`] is enough for, at least one.
fn affordable(graph: &Graph, pictures: usize) -> usize {
    let one: u64 = graph.nodes.iter().map(|n| graph::shape::macs(graph, n)).sum();
    let each = one.saturating_mul(pictures as u64).max(1);
    (WORK / each).clamp(1, 1 << 20) as usize
}
