//! Pictures with boxes or classes.

use ::data::augment::{LoadError, Loader};
use tasks::detect::{Channels, Detection, Family, Head, NmsOptions, Object};
use tensor::Tensor;
use train::exchange::Ranks;
use train::exec::Exec;
use train::loss::{LossParts, Output};
use train::program::Port;
use train::recipe::Recipe;
use train::trainer::TrainError;

use super::super::data::{self, Set};
use super::super::objective::Objective;
use super::super::{judge, setup};
use super::{Answer, Examples, Sample, Samples, Score, Shown, Task};
use crate::report::boxes::{annotated, enlargement};
use crate::report::page::Jpeg;
use crate::{Control, Detector, Error, Model, Result};

/// Pictures of the evaluation that the report shows.
const EXAMPLES: usize = 4;

/// A detector's or a classifier's data and loss.
pub(in super::super) struct Pictures {
    head: Head,
    set: Set,
    plan: ::data::augment::Plan,
    classes: Vec<Option<usize>>,
    judged: Option<(Set, Vec<Option<usize>>)>,
    features: Vec<String>,
    objective: Option<Objective>,
    loader: Option<Loader>,
}

impl Pictures {
    pub(super) fn open(recipe: &Recipe, source: &Model, ranks: &Ranks) -> Result<Pictures> {
        let head = source.head()?.clone();
        let set = data::open_cached(recipe, &head.input)?;
        let classes = data::classes(&set, &head.classes);
        let distill = recipe.text("loss.kind") == "distill";
        // A teacher needs no labels.
        let classes = match distill && recipe.number("loss.label_gain") == 0.0 {
            true => classes.unwrap_or_default(),
            false => classes?,
        };
        let judged = match recipe.text("eval.kind") {
            "" => None,
            _ => {
                let set = data::open(recipe, "eval", &head.input)?;
                let classes = data::classes(&set, &head.classes)?;
                Some((set, classes))
            }
        };
        let features = match distill {
            true => recipe
                .texts("loss.features")
                .into_iter()
                .map(String::from)
                .collect(),
            false => Vec::new(),
        };
        Ok(Pictures {
            plan: data::plan(recipe, &head.input, data::changes(recipe), ranks),
            head,
            set,
            classes,
            judged,
            features,
            objective: None,
            loader: None,
        })
    }
}

impl Task for Pictures {
    fn outputs(&self) -> Vec<String> {
        let outputs = self.head.outputs().into_iter().map(String::from);
        outputs.chain(self.features.iter().cloned()).collect()
    }

    fn calibration(&self, recipe: &Recipe) -> Result<Vec<Tensor>> {
        setup::calibration(recipe, &self.set, &self.head.input)
    }

    fn sized(&self, model: &Model) -> Result<Model> {
        Ok(model.clone())
    }

    fn prepare(&mut self, recipe: &Recipe, teacher: Option<Box<dyn Exec>>, ports: Vec<Port>) -> Result<()> {
        let classes = std::mem::take(&mut self.classes);
        self.objective = Some(Objective::new(recipe, &self.head, classes, teacher, ports)?);
        Ok(())
    }

    fn begin(&mut self, first: u64) {
        self.loader = Some(Loader::new(self.set.source.clone(), self.plan.clone(), first));
    }

    fn next(&mut self) -> Result<Vec<f32>> {
        let loader = self
            .loader
            .get_or_insert_with(|| Loader::new(self.set.source.clone(), self.plan.clone(), 0));
        let batch = loader.next_batch().map_err(load_fault)?;
        if let Some(objective) = &mut self.objective {
            objective.target(&batch)?;
        }
        Ok(batch.input)
    }

    fn input(&self, step: u64) -> Result<Vec<f32>> {
        let batch = ::data::augment::batch(&*self.set.source, &self.plan, step);
        Ok(batch.map_err(load_fault)?.input)
    }

    fn loss(
        &mut self,
        input: &[f32],
        outputs: &[Output],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> std::result::Result<LossParts, TrainError> {
        let objective = self.objective.as_mut().expect("prepared before the first step");
        objective.evaluate(input, outputs, ranks, gradients)
    }

    fn score(&self, model: &Model, recipe: &Recipe, control: &Control) -> Result<Option<Score>> {
        let Some((set, classes)) = &self.judged else {
            return Ok(None);
        };
        let count = |key: &str| recipe.count(key) as usize;
        let value = judge::score(
            model,
            set,
            classes,
            count("eval.count"),
            count("threads"),
            control,
        )?;
        let classes = Vec::new();
        Ok(Some(Score { value, classes }))
    }

    /// The pictures that [`score`](Task::score) takes.
    fn samples(&self, recipe: &Recipe) -> Result<Option<Samples<'_>>> {
        let Some((set, classes)) = &self.judged else {
            return Ok(None);
        };
        let input = &self.head.input;
        let count = set.source.len().min(recipe.count("eval.count").max(1) as usize);
        let answer = match &self.head.family {
            Family::Classifier(output) => Answer::Classes {
                output,
                count: self.head.classes.len(),
                what: "pictures",
            },
            _ => Answer::Boxes(&self.head),
        };
        // Pictures that cannot be read were refused by the score.
        let each = move |i: usize| {
            let at = judge::position(&self.head.family, i, count, set.source.len());
            let (picture, objects) = set.source.sample(at).ok()?;
            let (input, placement) = ::data::prepare(&picture, input).ok()?;
            let class = objects
                .first()
                .and_then(|o| classes.get(o.class).copied().flatten());
            Some(Sample {
                values: input.as_f32()?.to_vec(),
                class,
                placement,
            })
        };
        let (channels, width, height) = (3, input.width, input.height);
        Ok(Some(Samples {
            input: input.name.clone(),
            answer,
            shape: match input.layout {
                Channels::Nchw => vec![1, channels, height, width],
                Channels::Nhwc => vec![1, height, width, channels],
            },
            all: Box::new((0..count).filter_map(each)),
        }))
    }

    fn measure(&self) -> &'static str {
        match self.head.family {
            Family::Classifier(_) => "share of right classes",
            _ => "mAP at IoU 0.5",
        }
    }

    /// The first pictures with their boxes; beside a network that began from nothing, the labels.
    fn examples(&self, shown: &Shown<'_>) -> Result<Option<Examples>> {
        let Some((set, classes)) = &self.judged else {
            return Ok(None);
        };
        if matches!(self.head.family, Family::Classifier(_)) {
            return Ok(None);
        }
        let nms = NmsOptions {
            conf: 0.25,
            ..NmsOptions::default()
        };
        let detector = |&(what, model): &(&'static str, &Model)| -> Result<_> {
            Ok((what, Detector::new(model, &shown.options)?))
        };
        let detectors: Vec<_> = shown.models.iter().map(detector).collect::<Result<_>>()?;
        let mut pictures = Vec::new();
        for i in 0..set.source.len().min(EXAMPLES) {
            let fault = |e: ::data::augment::SourceError| Error::bad(e.to_string());
            let (picture, objects) = set.source.sample(i).map_err(fault)?;
            let mut found = Vec::new();
            if let [_] = detectors[..] {
                found.push(("labels", labels(&objects, classes)));
            }
            for (what, detector) in &detectors {
                found.push((what, detector.detect(&picture, &nms)?));
            }
            for (what, boxes) in found {
                let large = annotated(&picture, &boxes, &self.head.classes, enlargement(picture.width()));
                pictures.push((format!("picture {i}, {what}"), Jpeg::of(&large)?));
            }
        }
        Ok(Some(Examples {
            note: "The first pictures of the evaluation, boxes above confidence 0.25.".into(),
            columns: 2,
            pictures,
        }))
    }
}

/// Labels as boxes of full confidence.
fn labels(objects: &[Object], classes: &[Option<usize>]) -> Vec<Detection> {
    let one = |o: &Object| {
        Some(Detection {
            class: classes.get(o.class).copied().flatten()?,
            score: 1.0,
            bbox: o.bbox,
        })
    };
    objects.iter().filter_map(one).collect()
}

fn load_fault(e: LoadError) -> Error {
    match e {
        LoadError::Source(::data::augment::SourceError::Picture(e)) => e.into(),
        e => Error::bad(e.to_string()),
    }
}
