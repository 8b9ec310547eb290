//! Accuracy of a model on a scene, and the energy that its activity stands for.

use std::path::{Path, PathBuf};
use std::time::Instant;

use data::cube::{Part, Scene, read_labels};
use data::volume::Limits;
use graph::{Graph, IntegerRule, Op};
use serde::Serialize;
use tasks::scene::Confusion;

use super::{Classifier, Counted, fault, read_cube, standardized};
use crate::energy::Constants;
use crate::energy::spiking::{Layer, SpikingEnergy, energy};
use crate::provenance::DataHash;
use crate::runtime::RunOptions;
use crate::{Error, Model, Progress, Result};

/// Files of a scene.
#[derive(Debug, Clone, Default)]
pub struct SceneFiles {
    /// The cube.
    pub cube: PathBuf,
    /// Classes 1, 2, … of its pixels, 0 for none.
    pub labels: Option<PathBuf>,
    /// 1 training, 2 validation, 3 test; without it all labelled pixels are judged.
    pub split: Option<PathBuf>,
    /// Name of the array, where the cube's file holds several.
    pub array: Option<String>,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassAccuracy {
    /// Its name.
    pub class: String,
    /// Pixels of it.
    pub pixels: u64,
    /// Share of them that was called so; absent without a pixel.
    pub accuracy: Option<f64>,
}

/// Result of [`evaluate_scene`].
#[derive(Debug, Clone, Serialize)]
pub struct SceneEvaluated {
    /// Pixels judged.
    pub pixels: u64,
    /// OA.
    pub overall: f64,
    /// AA, over the classes that have pixels.
    pub average: f64,
    /// κ
    pub kappa: f64,
    /// Class by class.
    pub classes: Vec<ClassAccuracy>,
    /// Rows are the truth.
    pub confusion: Confusion,
    /// Of a spiking network, from the activity on these pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<SpikingEnergy>,
    /// Share of the multiply-accumulates that run in integers.
    pub integer_mac_share: f64,
    /// Milliseconds of the network over all pixels, its spikes counted where it has any.
    pub milliseconds: f64,
    /// SHA-256 over the files.
    #[serde(skip)]
    pub data_sha256: String,
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, &e))
}

/// OA, AA, κ and the confusion matrix of a model on the test pixels of a scene.
///
/// # Errors
/// Files that cannot be read or do not fit each other or the model; what running refuses.
pub fn evaluate_scene(
    model: &Model,
    files: &SceneFiles,
    constants: &Constants,
    options: &RunOptions,
    progress: &mut dyn Progress,
) -> Result<SceneEvaluated> {
    let head = model.scene_head()?;
    let labels_file = files.labels.as_ref().ok_or_else(|| {
        Error::usage("a scene is judged by the classes of its pixels")
            .help("give --data CUBE --labels FILE, and --split FILE to judge the test pixels alone")
    })?;
    let cube = read_cube(&files.cube, files.array.as_deref())?;
    let limits = Limits::default();
    let read = |path: &Path| read_labels(path, &cube, &limits).map_err(|e| fault(path, &e));
    let labels = read(labels_file)?;
    let split = match &files.split {
        Some(path) => read(path)?,
        None => vec![Part::Test as u8; labels.len()],
    };
    let classes = head.classes.len();
    if let Some(label) = labels.iter().find(|&&l| usize::from(l) > classes) {
        let what = format!("the scene has label {label}, the model {classes} classes");
        return Err(Error::bad(what).at(labels_file.display()));
    }
    let mut hash = DataHash::default();
    for (name, path) in [
        ("cube", Some(&files.cube)),
        ("labels", Some(labels_file)),
        ("split", files.split.as_ref()),
    ] {
        if let Some(path) = path {
            hash.add(name, &bytes(path)?);
        }
    }
    let cube = standardized(cube, &head).map_err(|e| e.at(files.cube.display()))?;
    let scene = Scene { cube, labels, split };
    let pixels = scene.pixels(Part::Test);
    if pixels.is_empty() {
        let at = files.split.as_ref().unwrap_or(labels_file);
        return Err(Error::bad("no labelled pixel is a test pixel").at(at.display()));
    }
    let (evaluated, _) = judge(model, &scene, &pixels, constants, options, progress)?;
    Ok(SceneEvaluated {
        data_sha256: hash.finish(),
        ..evaluated
    })
}

/// The same of some pixels of a standardized scene that is at hand, and the class that each was called.
pub(crate) fn judge(
    model: &Model,
    scene: &Scene,
    pixels: &[usize],
    constants: &Constants,
    options: &RunOptions,
    progress: &mut dyn Progress,
) -> Result<(SceneEvaluated, Vec<usize>)> {
    let classifier = Classifier::new(model, options, true)?;
    let head = classifier.head();
    let begin = Instant::now();
    let (said, counted) = classifier.classes(scene, pixels, progress)?;
    let milliseconds = 1e3 * begin.elapsed().as_secs_f64();
    let mut confusion = Confusion::new(head.classes.len());
    pixels
        .iter()
        .zip(&said)
        .for_each(|(&p, &class)| confusion.add(scene.class(p), class));
    let class = |(name, (row, accuracy)): (&String, (&Vec<u64>, Option<f64>))| ClassAccuracy {
        class: name.clone(),
        pixels: row.iter().sum(),
        accuracy,
    };
    let rows = confusion.counts.iter().zip(confusion.by_class());
    let evaluated = SceneEvaluated {
        pixels: confusion.total(),
        overall: confusion.overall(),
        average: confusion.average(),
        kappa: confusion.kappa(),
        classes: head.classes.iter().zip(rows).map(class).collect(),
        energy: spent(model.graph(), &counted, pixels.len() as u64, constants),
        confusion,
        integer_mac_share: classifier.runner().integer_mac_share(),
        milliseconds,
        data_sha256: String::new(),
    };
    Ok((evaluated, said))
}

/// The energy model over a chain of layers with neurons between them; `None` for any other network.
fn spent(graph: &Graph, counted: &[Counted], samples: u64, constants: &Constants) -> Option<SpikingEnergy> {
    let products: Vec<&graph::Node> = graph
        .nodes
        .iter()
        .filter(|n| n.op.integer_rule() == Some(IntegerRule::Product))
        .collect();
    let steps = graph.nodes.iter().find_map(|n| match n.op {
        Op::IntegrateFire(op) => Some(op.steps),
        _ => None,
    })?;
    if products.len() != counted.len() + 1 {
        return None;
    }
    let weight = |n: &&graph::Node| {
        n.inputs
            .get(1)
            .copied()
            .flatten()
            .and_then(|w| graph.weights.get(&w))
    };
    let bits = products.iter().filter_map(weight).map(|w| w.bits).max()?;
    // Of one sample and one step: the first axis of the output is both.
    let outputs = |n: &graph::Node| graph.value(n.outputs[0]).fixed_shape();
    let macs = |n: &graph::Node| Some(graph::shape::macs(graph, n) / (*outputs(n)?.first()? as u64).max(1));
    let activity = |c: &Counted| Some(c.spikes as f64 / c.neurons.max(1) as f64);
    let activities = std::iter::once(None).chain(counted.iter().map(activity));
    let layers: Option<Vec<Layer>> = products
        .iter()
        .zip(activities)
        .map(|(n, activity)| {
            Some(Layer {
                macs: macs(n)?,
                activity,
            })
        })
        .collect();
    let neurons = counted.iter().map(|c| c.neurons).sum::<u64>() / samples.max(1);
    let first = outputs(products[0])?[1..].iter().product::<usize>() as u64;
    Some(energy(constants, &layers?, steps, bits, neurons, first))
}
