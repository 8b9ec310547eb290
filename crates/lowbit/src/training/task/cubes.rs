//! The pixels of a hyperspectral scene.

use std::path::{Path, PathBuf};

use ::data::augment::order;
use ::data::cube::{Part, Scene, read_labels, standardize};
use ::data::synth::cube;
use ::data::volume::Limits;
use tasks::scene::{Confusion, SceneHead};
use tensor::Tensor;
use train::exchange::Ranks;
use train::exec::Exec;
use train::loss::classify::CrossEntropy;
use train::loss::{Loss, LossParts, Output, Target};
use train::program::Port;
use train::recipe::Recipe;
use train::trainer::TrainError;
use train::zoo::Bands;

use super::super::data::training_seed;
use super::super::objective::ClassTeacher;
use super::{Answer, Examples, Sample, Samples, Score, Shown, Task, run_options};
use crate::report::page::Jpeg;
use crate::scene::{Classifier, drawn, fault, read_cube, standardized};
use crate::{Control, Error, Model, Result};

/// A scene's data and loss.
pub(in super::super) struct Cubes {
    head: SceneHead,
    scene: Scene,
    train: Vec<usize>,
    judged: Option<Vec<usize>>,
    /// Bands, and pixels of a patch's side.
    size: [usize; 2],
    seed: u64,
    batch: usize,
    share: (usize, usize),
    loss: CrossEntropy,
    teacher: Option<ClassTeacher>,
    step: u64,
    targets: Vec<Vec<Target>>,
}

/// A file beside the cube.
fn beside(recipe: &Recipe, key: &str) -> Result<PathBuf> {
    match recipe.text(key) {
        "" => Err(Error::usage(format!("the recipe says no {key}"))
            .help(format!("give it with --set {key}=FILE, a file beside the cube"))),
        name => Ok(Path::new(recipe.text("data.path")).with_file_name(name)),
    }
}

/// What `data.kind` calls a drawn scene.
const DRAWN: &str = "synth-cube";

/// The scene of a recipe: drawn, or as it is in its files.
fn read(recipe: &Recipe) -> Result<Scene> {
    if recipe.text("data.kind") == DRAWN {
        return Ok(cube::scene(
            training_seed(recipe, "data")?,
            &cube::Options::default(),
        ));
    }
    let path = recipe.text("data.path");
    if path.is_empty() {
        return Err(
            Error::usage("the recipe says no data.path").help("give the cube with --set data.path=FILE")
        );
    }
    let cube = read_cube(Path::new(path), None)?;
    let labels = |key: &str| {
        let path = beside(recipe, key)?;
        read_labels(&path, &cube, &Limits::default()).map_err(|e| fault(&path, &e))
    };
    let (labels, split) = (labels("data.labels")?, labels("data.split")?);
    Ok(Scene { cube, labels, split })
}

/// Names of the classes, and mean and deviation of the bands over the training pixels.
pub(in super::super) fn bands(recipe: &Recipe) -> Result<(Vec<String>, Bands)> {
    let names = match recipe.text("data.kind") {
        DRAWN => cube::NAMES.to_vec(),
        _ => recipe.texts("data.classes"),
    };
    let names: Vec<String> = names.into_iter().map(String::from).collect();
    if !(2..=255).contains(&names.len()) {
        return Err(
            Error::usage("a run on a cube needs the names of its labels 1, 2, …")
                .at("recipe key \"data.classes\"")
                .help("name them in order: classes = [\"corn\", \"oats\"]"),
        );
    }
    let scene = read(recipe)?;
    let standard = standardize(&scene.cube, scene.pixels(Part::Train).into_iter());
    let bands = Bands {
        mean: standard.mean,
        deviation: standard.deviation,
    };
    Ok((names, bands))
}

impl Cubes {
    pub(super) fn open(recipe: &Recipe, source: &Model, ranks: &Ranks) -> Result<Cubes> {
        let head = source.scene_head()?;
        let mut scene = read(recipe)?;
        scene.cube = standardized(scene.cube, &head)?;
        let classes = head.classes.len();
        if let Some(label) = scene.labels.iter().find(|&&l| usize::from(l) > classes) {
            return Err(Error::bad(format!(
                "the scene has label {label}, and there are {classes} classes"
            ))
            .at("recipe key \"data.labels\""));
        }
        let judged = match recipe.text("eval.kind") {
            "" => None,
            "cube" => Some(scene.pixels(Part::Test)),
            "held-out" => Some(scene.pixels(Part::Validation)),
            _ => {
                return Err(Error::usage(
                    "a scene is evaluated on its test pixels (cube) or its validation pixels (held-out)",
                )
                .at("recipe key \"eval.kind\""));
            }
        };
        let train = scene.pixels(Part::Train);
        if train.is_empty() || judged.as_ref().is_some_and(Vec::is_empty) {
            return Err(
                Error::bad("the split leaves no labelled pixels to train on, or to evaluate")
                    .at("recipe key \"data.split\""),
            );
        }
        Ok(Cubes {
            size: source.patch_size()?,
            loss: CrossEntropy {
                output: head.output.clone(),
                classes,
                smoothing: recipe.number("loss.smoothing"),
            },
            teacher: None,
            head,
            scene,
            train,
            judged,
            seed: recipe.count("seed"),
            batch: recipe.count("batch") as usize / ranks.size(),
            share: (ranks.rank(), ranks.size()),
            step: 0,
            targets: Vec::new(),
        })
    }

    fn patches(&self, pixels: &[usize]) -> Vec<f32> {
        let mut out = Vec::with_capacity(pixels.len() * self.size[0] * self.size[1] * self.size[1]);
        pixels
            .iter()
            .for_each(|&p| self.scene.patch(p, self.size[1], &mut out));
        out
    }

    /// Pixels of this rank's share of a batch.
    fn pixels(&self, step: u64) -> Vec<usize> {
        let n = self.train.len() as u64;
        let (share, shares) = (self.share.0 as u64, self.share.1 as u64);
        let mut shuffled: Option<(u64, Vec<usize>)> = None;
        let one = |k: u64| {
            let position = (step * shares + share) * self.batch as u64 + k;
            let epoch = position / n;
            if shuffled.as_ref().is_none_or(|s| s.0 != epoch) {
                shuffled = Some((epoch, order(self.seed, epoch, self.train.len())));
            }
            self.train[shuffled.as_ref().map_or(0, |s| s.1[(position % n) as usize])]
        };
        (0..self.batch as u64).map(one).collect()
    }
}

impl Task for Cubes {
    fn outputs(&self) -> Vec<String> {
        vec![self.head.output.clone()]
    }

    fn calibration(&self, recipe: &Recipe) -> Result<Vec<Tensor>> {
        let count = (recipe.count("activation.calibration") as usize).min(self.train.len());
        let [bands, side] = self.size;
        let one = |i: usize| {
            let values = self.patches(&[self.train[i * self.train.len() / count]]);
            Tensor::new(vec![1, 1, bands, side, side], values).map_err(|e| Error::bad(e.to_string()))
        };
        (0..count).map(one).collect()
    }

    fn sized(&self, model: &Model) -> Result<Model> {
        Ok(model.clone())
    }

    fn prepare(&mut self, recipe: &Recipe, teacher: Option<Box<dyn Exec>>, ports: Vec<Port>) -> Result<()> {
        self.teacher = teacher.map(|t| ClassTeacher::new(recipe, self.loss.clone(), t, ports));
        Ok(())
    }

    fn begin(&mut self, first: u64) {
        self.step = first;
    }

    fn next(&mut self) -> Result<Vec<f32>> {
        let pixels = self.pixels(self.step);
        self.step += 1;
        let target = |&p: &usize| {
            vec![Target {
                class: self.scene.class(p),
                ..Target::default()
            }]
        };
        self.targets = pixels.iter().map(target).collect();
        Ok(self.patches(&pixels))
    }

    fn input(&self, step: u64) -> Result<Vec<f32>> {
        Ok(self.patches(&self.pixels(step)))
    }

    fn loss(
        &mut self,
        input: &[f32],
        outputs: &[Output],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> std::result::Result<LossParts, TrainError> {
        match &mut self.teacher {
            Some(teacher) => teacher.evaluate(input, outputs, &self.targets, ranks, gradients),
            None => Ok(self.loss.evaluate(outputs, &self.targets, ranks, gradients)?),
        }
    }

    fn score(&self, model: &Model, recipe: &Recipe, control: &Control) -> Result<Option<Score>> {
        let Some(pixels) = &self.judged else {
            return Ok(None);
        };
        let options = run_options(recipe, control);
        let classifier = Classifier::new(model, &options, false)?;
        let (said, _) = classifier.classes(&self.scene, pixels, &mut |_: &str, _, _| {})?;
        let mut confusion = Confusion::new(self.head.classes.len());
        pixels
            .iter()
            .zip(said)
            .for_each(|(&p, class)| confusion.add(self.scene.class(p), class));
        let by_class = self.head.classes.iter().cloned().zip(confusion.by_class());
        Ok(Some(Score {
            value: confusion.overall(),
            classes: by_class
                .filter_map(|(name, share)| Some((name, share?)))
                .collect(),
        }))
    }

    fn measure(&self) -> &'static str {
        "overall accuracy"
    }

    fn samples(&self, _recipe: &Recipe) -> Result<Option<Samples<'_>>> {
        let Some(pixels) = &self.judged else {
            return Ok(None);
        };
        let [bands, side] = self.size;
        let each = |&p: &usize| Sample::plain(self.patches(&[p]), Some(self.scene.class(p)));
        Ok(Some(Samples {
            input: self.head.input.clone(),
            answer: Answer::Classes {
                output: &self.head.output,
                count: self.head.classes.len(),
                what: "pixels",
            },
            shape: vec![1, 1, bands, side, side],
            all: Box::new(pixels.iter().map(each)),
        }))
    }
    /// Maps of the labelled pixels, by the truth and by each model.
    fn examples(&self, shown: &Shown<'_>) -> Result<Option<Examples>> {
        if self.judged.is_none() {
            return Ok(None);
        }
        let [rows, columns, _] = self.scene.cube.shape;
        let labelled = self.scene.labelled();
        let map = |classes: &[usize]| {
            let mut all = vec![None; rows * columns];
            labelled.iter().zip(classes).for_each(|(&p, &c)| all[p] = Some(c));
            Jpeg::of(&drawn([rows, columns], &all, &self.head.classes)?)
        };
        let truth: Vec<usize> = labelled.iter().map(|&p| self.scene.class(p)).collect();
        let mut pictures = vec![("truth".to_string(), map(&truth)?)];
        for (what, model) in &shown.models {
            let classifier = Classifier::new(model, &shown.options, false)?;
            let (said, _) = classifier.classes(&self.scene, &labelled, &mut |_: &str, _, _| {})?;
            let wrong = said.iter().zip(&truth).filter(|(a, b)| a != b).count();
            let caption = format!("{what}, {wrong} of {} pixels wrong", truth.len());
            pictures.push((caption, map(&said)?));
        }
        Ok(Some(Examples {
            note: "The scene's labelled pixels, those of training and of the evaluation; white ones have no label.".into(),
            columns: 3,
            pictures,
        }))
    }
}
