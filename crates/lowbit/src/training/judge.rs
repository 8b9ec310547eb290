//! Accuracy during training: the exported model, in integers, by the code of `eval`.

use tasks::detect::eval::{Kind, Protocol, Scene, evaluate};
use tasks::detect::{Family, NmsOptions};

use super::data::Set;
use crate::detect::Detector;
use crate::runtime::{RunOptions, Runner};
use crate::{Control, Error, Model, Result};

/// Which picture of a set is the i-th of those that are judged: the first ones of a detector's, and of a classifier's, which may be sorted by class,
/// `count` spread over all.
pub(super) fn position(family: &Family, i: usize, count: usize, all: usize) -> usize {
    match family {
        Family::Classifier(_) => i * all / count,
        _ => i,
    }
}

/// mAP at IoU 0.5 (area), or the share of pictures whose best class is right; `classes` maps the data's classes to the head's.
pub(super) fn score(
    model: &Model,
    set: &Set,
    classes: &[Option<usize>],
    most: usize,
    threads: usize,
    control: &Control,
) -> Result<f64> {
    let options = RunOptions {
        threads,
        control: control.clone(),
        ..RunOptions::default()
    };
    let head = model.head()?;
    let count = set.source.len().min(most.max(1));
    let fault = |e: data::augment::SourceError| Error::bad(e.to_string());
    if let Family::Classifier(output) = &head.family {
        let runner = Runner::new(model, &options)?;
        let mut right = 0;
        for i in 0..count {
            let at = position(&head.family, i, count, set.source.len());
            let (picture, objects) = set.source.sample(at).map_err(fault)?;
            let (input, _) = data::prepare(&picture, &head.input).map_err(|e| Error::bad(e.to_string()))?;
            let outputs = runner.run(&[(&head.input.name, &input)])?;
            let logits = outputs
                .iter()
                .find(|o| o.0 == *output)
                .and_then(|o| o.1.as_f32())
                .unwrap_or_default();
            let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            let wanted = objects
                .first()
                .and_then(|o| classes.get(o.class).copied().flatten());
            right += usize::from(best.is_some() && best == wanted);
        }
        return Ok(right as f64 / count as f64);
    }
    let detector = Detector::new(model, &options)?;
    let mut scenes = Vec::with_capacity(count);
    for i in 0..count {
        control.check()?;
        let (picture, mut objects) = set.source.sample(i).map_err(fault)?;
        objects.retain_mut(|o| match classes.get(o.class).copied().flatten() {
            Some(class) => {
                o.class = class;
                true
            }
            None => false,
        });
        scenes.push(Scene {
            detections: detector.detect(&picture, &NmsOptions::default())?,
            objects,
        });
    }
    let protocol = Protocol::new(Kind::Voc10);
    Ok(evaluate(&scenes, &head.classes, &protocol)
        .report
        .map50
        .unwrap_or(0.0))
}
