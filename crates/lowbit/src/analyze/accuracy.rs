//! What rounding costs in mAP, where the pictures have ground truth.

use std::fmt;

use data::read::Dataset;
use serde::Serialize;
use tasks::detect::eval::{Interval, paired_interval};

use super::AnalyzeOptions;
use crate::control::Progress;
use crate::evaluate::{EvalOptions, evaluate_on};
use crate::pictures::spread;
use crate::{Model, Result};

/// Labelled pictures at most: mAP on the few pictures that places are measured on would be noise.
const PICTURES: usize = 100;

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

/// `None` without a head, without objects, or where model and data have no class in common.
pub(super) fn measure(
    (float, low): (&Model, &Model),
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
    let maps = a.headline_value().zip(b.headline_value());
    Ok(maps.map(|(float_map, low_map)| Accuracy {
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
    }))
}
