//! Classes of the pixels of hyperspectral scenes.

mod evaluate;
mod map;

use std::path::Path;

pub(crate) use evaluate::judge;
pub use evaluate::{ClassAccuracy, SceneEvaluated, SceneFiles, evaluate_scene};
pub(crate) use map::drawn;
pub use map::{MapOptions, Mapped, map_scene};

use data::cube::{Cube, Scene, Standard};
use data::volume::{Limits, VolumeError};
use graph::ValueId;
use tasks::scene::{METADATA_KEY, SceneHead, arg_max};
use tensor::Tensor;

use crate::runtime::{RunOptions, Runner};
use crate::{Error, Model, Progress, Result};

/// Patches of one run of the network.
const BATCH: usize = 32;

impl Model {
    /// Whether the model says that it classifies pixels of hyperspectral scenes.
    pub fn has_scene_head(&self) -> bool {
        self.graph().metadata.contains_key(METADATA_KEY)
    }

    /// What the tensors of a network for hyperspectral scenes mean.
    ///
    /// # Errors
    /// A model without that description, or with one that does not fit it.
    pub fn scene_head(&self) -> Result<SceneHead> {
        let head = self.described(METADATA_KEY, SceneHead::from_json, || {
            Error::unsupported("the model says nothing of hyperspectral scenes")
                .help("`lowbit train` makes such models from zoo:h32s; others need the metadata key lowbit.scene (FORMAT.md 2.7)")
        })?;
        let graph = self.graph();
        let shape = |name: &str| graph.find(name).and_then(|v| graph.value(v).fixed_shape());
        let input = matches!(shape(&head.input).as_deref(), Some([_, 1, b, h, w]) if *b == head.mean.len() && h == w && h % 2 == 1);
        let output = matches!(shape(&head.output).as_deref(), Some([_, c]) if *c == head.classes.len());
        if !input || !output || graph.inputs.len() != 1 {
            let (bands, classes) = (head.mean.len(), head.classes.len());
            return Err(Error::bad(format!(
                "its metadata {METADATA_KEY} speaks of an input [N, 1, {bands}, P, P], P odd, and an output [N, {classes}] that the graph has not"
            )));
        }
        Ok(head)
    }

    /// Bands, and pixels of a patch's side.
    pub(crate) fn patch_size(&self) -> Result<[usize; 2]> {
        match self.inputs()?.first().map(|i| i.2.as_slice()) {
            Some(&[_, _, bands, _, side]) => Ok([bands, side]),
            _ => Err(Error::unsupported("the model's input is no patch of a scene")),
        }
    }

    /// The same network for so many patches at once.
    pub(crate) fn for_patches(&self, batch: usize) -> Result<Model> {
        let mut graph = self.graph().clone();
        for id in graph.inputs.clone() {
            if let Some(first) = graph.value_mut(id).shape.as_mut().and_then(|s| s.first_mut()) {
                *first = Some(batch);
            }
        }
        crate::model::infer_again(&mut graph)?;
        Ok(self.with_graph(graph))
    }
}

/// What is wrong with a file of a scene, as an error of a class.
pub(crate) fn fault(path: &Path, e: &VolumeError) -> Error {
    crate::segment::fault(path, e)
}

/// A cube in units of the network's bands.
pub(crate) fn standardized(cube: Cube, head: &SceneHead) -> Result<Cube> {
    let (have, want) = (cube.shape[2], head.mean.len());
    if have != want {
        return Err(
            Error::bad(format!("the cube has {have} bands, the network {want}"))
                .help("bring the cube to the bands that the network was trained on"),
        );
    }
    let standard = Standard {
        mean: head.mean.clone(),
        deviation: head.deviation.clone(),
    };
    Ok(standard.apply(cube))
}

/// Reads a cube.
pub(crate) fn read_cube(path: &Path, array: Option<&str>) -> Result<Cube> {
    data::cube::read_cube(path, array, &Limits::default()).map_err(|e| fault(path, &e))
}

/// A network for scenes that is ready to run.
#[derive(Debug)]
pub struct Classifier {
    runner: Runner,
    head: SceneHead,
    bands: usize,
    side: usize,
    /// Values whose spikes are counted, in the order of their layers.
    spikes: Vec<ValueId>,
}

/// Spikes of one layer over the pixels that ran.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) spikes: u64,
    /// Neurons, times the pixels.
    pub(crate) neurons: u64,
}

impl Classifier {
    /// For a model; with `count` the spikes of its layers are counted.
    ///
    /// # Errors
    /// Models for something else, what compiling refuses.
    pub(crate) fn new(model: &Model, options: &RunOptions, count: bool) -> Result<Classifier> {
        let head = model.scene_head()?;
        let [bands, side] = model.patch_size()?;
        let model = model.for_patches(BATCH)?;
        let graph = model.graph();
        let fires = |n: &&graph::Node| count && matches!(n.op, graph::Op::IntegrateFire(_));
        let spikes: Vec<ValueId> = graph.nodes.iter().filter(fires).map(|n| n.outputs[0]).collect();
        let pool = std::sync::Arc::new(kernels::Pool::new(options.threads));
        Ok(Classifier {
            runner: Runner::on_graph(graph, pool, options, !spikes.is_empty())?,
            head,
            bands,
            side,
            spikes,
        })
    }

    /// What the network's tensors mean.
    pub fn head(&self) -> &SceneHead {
        &self.head
    }

    /// The compiled network.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// The class of each of some pixels of a standardized scene, and what fired.
    pub(crate) fn classes(
        &self,
        scene: &Scene,
        pixels: &[usize],
        progress: &mut dyn Progress,
    ) -> Result<(Vec<usize>, Vec<Counted>)> {
        let mut all = Vec::with_capacity(pixels.len());
        let mut counted = vec![Counted::default(); self.spikes.len()];
        let watch = self.spikes.iter().copied().collect();
        let shape = [BATCH, 1, self.bands, self.side, self.side];
        for part in pixels.chunks(BATCH) {
            progress.at("classify", all.len(), pixels.len());
            let mut input = Vec::with_capacity(shape.iter().product());
            for &pixel in part {
                scene.patch(pixel, self.side, &mut input);
            }
            input.resize(shape.iter().product(), 0.0);
            let input = Tensor::new(shape.to_vec(), input).map_err(|e| Error::bad(e.to_string()))?;
            let mut see = |_, value: ValueId, held: &engine::Held| {
                let layer = self.spikes.iter().position(|&v| v == value);
                if let (Some(layer), engine::Held::Codes(t)) = (layer, held) {
                    count(&mut counted[layer], t, part.len());
                }
            };
            let outputs = match self.spikes.is_empty() {
                true => self.runner.run(&[(&self.head.input, &input)])?,
                false => self
                    .runner
                    .watch(&[(&self.head.input, &input)], Some(&watch), &mut see)?,
            };
            let logits = outputs
                .iter()
                .find(|o| o.0 == self.head.output)
                .and_then(|o| o.1.as_f32());
            let logits =
                logits.ok_or_else(|| Error::bad(format!("the network gives no \"{}\"", self.head.output)))?;
            all.extend(
                arg_max(logits, self.head.classes.len())
                    .into_iter()
                    .take(part.len()),
            );
        }
        progress.at("classify", all.len(), pixels.len());
        Ok((all, counted))
    }
}

/// Adds the spikes of the first `samples` of each step.
fn count(counted: &mut Counted, codes: &Tensor, samples: usize) {
    let each: usize = codes.shape()[1..].iter().product();
    for step in codes.as_u8().unwrap_or_default().chunks(BATCH * each) {
        counted.spikes += step[..samples * each].iter().map(|&q| u64::from(q)).sum::<u64>();
    }
    counted.neurons += (samples * each) as u64;
}
