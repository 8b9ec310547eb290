//! Volumes with masks.

use std::path::Path;

use ::data::synth::volume;
use ::data::volume::Limits;
use ::data::volume::set::{self, Batch, Case, Plan, crop};
use tasks::segment::{SegmentHead, dice, mean_dice};
use tensor::Tensor;
use train::exchange::Ranks;
use train::exec::Exec;
use train::loss::segment::Segment;
use train::loss::{LossParts, Output};
use train::program::Port;
use train::recipe::Recipe;
use train::trainer::TrainError;

use super::super::data::training_seed;
use super::{Answer, Examples, Sample, Samples, Score, Shown, Task, run_options};
use crate::report::page::Jpeg;
use crate::segment::{OVERLAP, Segmenter, fault, overlay};
use crate::{Control, Error, Model, Result};

/// A segmentation network's data and loss.
pub(super) struct Volumes {
    head: SegmentHead,
    cases: Vec<Case>,
    judged: Option<Vec<Case>>,
    plan: Plan,
    loss: Segment,
    step: u64,
    labels: Vec<u8>,
    /// Size of the network that is trained, evaluated and exported.
    size: [usize; 3],
}

/// Volumes of the evaluation that the report shows.
const EXAMPLES: usize = 3;

/// What `data.kind` and `eval.kind` call drawn volumes.
const DRAWN: &str = "synth-volumes";

/// Names of the classes: those of drawn volumes, or of the recipe.
pub(in super::super) fn classes(recipe: &Recipe) -> Result<Vec<String>> {
    if recipe.text("data.kind") == DRAWN {
        return Ok(volume::NAMES.map(String::from).to_vec());
    }
    let names: Vec<String> = recipe
        .texts("data.classes")
        .into_iter()
        .map(String::from)
        .collect();
    match (2..=256).contains(&names.len()) {
        true => Ok(names),
        false => Err(Error::usage("a run on volumes needs the names of its labels")
            .at("recipe key \"data.classes\"")
            .help("name the labels 0, 1, …, the background first: classes = [\"background\", \"tumour\"]")),
    }
}

/// Volumes of a section; drawn ones have the size of the network's input.
fn cases(recipe: &Recipe, section: &str, classes: usize, size: [usize; 3]) -> Result<Vec<Case>> {
    let key = |name: &str| format!("{section}.{name}");
    if recipe.text(&key("kind")) == DRAWN {
        let seed = training_seed(recipe, section)?;
        let first = recipe.count(&key("first"));
        let all = first..first + recipe.count(&key("count")).max(1);
        return Ok(all.map(|index| volume::volume(seed, index, size)).collect());
    }
    let key = key("path");
    let path = recipe.text(&key);
    if path.is_empty() {
        return Err(Error::usage(format!("the recipe says no {key}"))
            .help(format!("give it with --set {key}=FILE.npz")));
    }
    set::open(Path::new(path), classes, &Limits::default()).map_err(|e| fault(&e.path, &e.fault))
}

impl Volumes {
    pub(super) fn open(recipe: &Recipe, source: &Model, ranks: &Ranks) -> Result<Volumes> {
        let head = source.segment_head()?;
        if recipe.text("loss.kind") != "labels" {
            return Err(
                Error::unsupported("volumes are trained against their masks alone")
                    .at("recipe key \"loss.kind\""),
            );
        }
        let classes = head.classes.len();
        let size = source.volume_size()?;
        let mut all = cases(recipe, "data", classes, size)?;
        let part = recipe.number("data.hold_out");
        let mut held_out = Vec::new();
        if part > 0.0 {
            let count = ((part * all.len() as f64).ceil() as usize).min(all.len());
            let mut indices = ::data::augment::order(recipe.count("data.seed"), 0, all.len());
            indices.truncate(count);
            indices.sort_unstable_by(|a, b| b.cmp(a));
            held_out.extend(indices.into_iter().map(|i| all.remove(i)));
            held_out.reverse();
        }
        let judged = match recipe.text("eval.kind") {
            "" => None,
            "held-out" if part == 0.0 => {
                return Err(
                    Error::usage("nothing is held out").help("say how much with --set data.hold_out=0.2")
                );
            }
            "held-out" => Some(held_out),
            "volumes" | DRAWN => Some(cases(recipe, "eval", classes, size)?),
            _ => {
                return Err(
                    Error::usage("volumes are evaluated on volumes, synth-volumes or held-out")
                        .at("recipe key \"eval.kind\""),
                );
            }
        };
        if all.is_empty() {
            return Err(Error::usage(format!("data.hold_out = {part} leaves no volumes")));
        }
        let mut patch = size;
        for (side, asked) in patch.iter_mut().zip(recipe.numbers("data.patch")) {
            if asked > 0.0 {
                *side = asked as usize;
            }
        }
        Ok(Volumes {
            plan: Plan {
                seed: recipe.count("seed"),
                batch: recipe.count("batch") as usize / ranks.size(),
                share: (ranks.rank(), ranks.size()),
                patch,
                intensity: recipe.number("augment.intensity") as f32,
                scale: head.scale,
            },
            loss: Segment {
                output: head.output.clone(),
                classes,
            },
            head,
            cases: all,
            judged,
            step: 0,
            labels: Vec::new(),
            size,
        })
    }

    fn batch(&self, step: u64) -> Batch {
        set::batch(&self.cases, &self.plan, step)
    }
}

/// The input of a network of a size that sees a whole case, or its first corner.
pub(in super::super) fn input(case: &Case, size: [usize; 3], scale: f32) -> Vec<f32> {
    let mut values = Vec::with_capacity(size.iter().product());
    crop(case.shape, &case.voxels, [0; 3], size, |v| {
        values.push(scale * f32::from(v))
    });
    values
}

impl Task for Volumes {
    fn outputs(&self) -> Vec<String> {
        vec![self.head.output.clone()]
    }

    fn calibration(&self, recipe: &Recipe) -> Result<Vec<Tensor>> {
        let count = (recipe.count("activation.calibration") as usize).min(self.cases.len());
        let shape = [&[1, 1], &self.size[..]].concat();
        let one = |i: usize| {
            let values = input(
                &self.cases[i * self.cases.len() / count],
                self.size,
                self.head.scale,
            );
            Tensor::new(shape.clone(), values).map_err(|e| Error::bad(e.to_string()))
        };
        (0..count).map(one).collect()
    }

    fn sized(&self, model: &Model) -> Result<Model> {
        let sized = model.for_volumes_of(self.plan.patch, self.head.multiple);
        sized.map_err(|e| e.at("recipe key \"data.patch\""))
    }

    fn prepare(
        &mut self,
        _recipe: &Recipe,
        _teacher: Option<Box<dyn Exec>>,
        _ports: Vec<Port>,
    ) -> Result<()> {
        Ok(())
    }

    fn begin(&mut self, first: u64) {
        self.step = first;
    }

    fn next(&mut self) -> Result<Vec<f32>> {
        let batch = self.batch(self.step);
        self.step += 1;
        self.labels = batch.labels;
        Ok(batch.input)
    }

    fn input(&self, step: u64) -> Result<Vec<f32>> {
        Ok(self.batch(step).input)
    }

    fn loss(
        &mut self,
        _input: &[f32],
        outputs: &[Output],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> std::result::Result<LossParts, TrainError> {
        Ok(self.loss.evaluate(outputs, &self.labels, ranks, gradients)?)
    }

    fn score(&self, model: &Model, recipe: &Recipe, control: &Control) -> Result<Option<Score>> {
        let Some(cases) = &self.judged else {
            return Ok(None);
        };
        let options = run_options(recipe, control);
        let segmenter = Segmenter::new(model, None, &options)?;
        let count = cases.len().min(recipe.count("eval.count").max(1) as usize);
        let mut found = Vec::with_capacity(count);
        for case in &cases[..count] {
            control.check()?;
            let mask = segmenter.mask(case.shape, &case.voxels, OVERLAP, &mut |_: &str, _, _| {})?;
            found.push(dice(&mask, &case.labels, self.head.classes.len()));
        }
        let each = mean_dice(&found);
        Ok(Some(Score {
            value: each.iter().sum::<f64>() / each.len().max(1) as f64,
            classes: self.head.classes[1..].iter().cloned().zip(each).collect(),
        }))
    }

    fn measure(&self) -> &'static str {
        "mean dice of the classes"
    }

    fn class_measure(&self) -> &'static str {
        "dice"
    }

    fn samples(&self, recipe: &Recipe) -> Result<Option<Samples<'_>>> {
        let Some(cases) = &self.judged else {
            return Ok(None);
        };
        let count = cases.len().min(recipe.count("eval.count").max(1) as usize);
        let each = |case: &Case| Sample::plain(input(case, self.size, self.head.scale), None);
        Ok(Some(Samples {
            input: self.head.input.clone(),
            answer: Answer::Classes {
                output: &self.head.output,
                count: self.head.classes.len(),
                what: "voxels",
            },
            shape: [&[1, 1], &self.size[..]].concat(),
            all: Box::new(cases[..count].iter().map(each)),
        }))
    }
    /// Of the first volumes the slice that holds most of the truth, with the classes of the truth and of each model over it.
    fn examples(&self, shown: &Shown<'_>) -> Result<Option<Examples>> {
        let Some(cases) = &self.judged else {
            return Ok(None);
        };
        let segmenter = |&(what, model): &(&'static str, &Model)| -> Result<_> {
            Ok((what, Segmenter::new(model, None, &shown.options)?))
        };
        let segmenters: Vec<_> = shown.models.iter().map(segmenter).collect::<Result<_>>()?;
        let mut pictures = Vec::new();
        for case in cases.iter().take(EXAMPLES) {
            let index = overlay::fullest(case.shape, &case.labels, 0);
            let slice = |mask: &[u8]| Jpeg::of(&overlay::slice(case.shape, &case.voxels, mask, 0, index)?);
            pictures.push((
                format!("{}: truth, slice {index}", case.name),
                slice(&case.labels)?,
            ));
            for (what, segmenter) in &segmenters {
                let mask = segmenter.mask(case.shape, &case.voxels, OVERLAP, &mut |_: &str, _, _| {})?;
                let each = mean_dice(&[dice(&mask, &case.labels, self.head.classes.len())]);
                let mean = each.iter().sum::<f64>() / each.len().max(1) as f64;
                pictures.push((
                    format!("{what}, mean dice of the volume {mean:.4}"),
                    slice(&mask)?,
                ));
            }
        }
        Ok(Some(Examples {
            note: "The first volumes of the evaluation, of each the slice that holds most of the truth."
                .into(),
            columns: 3,
            pictures,
        }))
    }
}
