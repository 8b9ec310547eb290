//! Masks of volumes: a whole volume of any size through a network of one input size, by overlapping patches.

mod files;
pub(crate) mod overlay;

use data::volume::set::crop;
use graph::Graph;
use tasks::segment::{METADATA_KEY, SegmentHead, arg_max, cover};
use tensor::Tensor;

pub(crate) use files::fault;
pub use files::{ClassFound, SegmentOptions, Segmented, segment_files};

use crate::runtime::{RunOptions, Runner};
use crate::{Error, Model, Progress, Result};

/// Voxels that neighbouring patches share at least, where the caller does not say: the U-Net of our own sees 22 voxels to each side, most of its
/// answer comes from nearer ones.
pub const OVERLAP: usize = 16;

impl Model {
    /// What the tensors of a segmentation network mean.
    ///
    /// # Errors
    /// A model without that description, or with one that does not fit it.
    pub fn segment_head(&self) -> Result<SegmentHead> {
        let head = self.described(METADATA_KEY, SegmentHead::from_json, || {
            Error::unsupported("the model says nothing of masks: it segments no volumes")
                .help("`lowbit train` makes such models from zoo:unet3d; others need the metadata key lowbit.segment (README)")
        })?;
        let graph = self.graph();
        let shape = |name: &str| graph.find(name).and_then(|v| graph.value(v).fixed_shape());
        let fits = |name: &str, channels: usize| matches!(shape(name).as_deref(), Some([1, c, _, _, _]) if *c == channels);
        if !fits(&head.input, 1) || !fits(&head.output, head.classes.len()) || graph.inputs.len() != 1 {
            return Err(Error::bad(format!(
                "its metadata {METADATA_KEY} speaks of an input [1, 1, D, H, W] and an output [1, {}, D, H, W] that the graph has not",
                head.classes.len()
            )));
        }
        Ok(head)
    }

    /// Depth, height and width of the only input.
    pub(crate) fn volume_size(&self) -> Result<[usize; 3]> {
        match self.inputs()?.first().map(|i| i.2.as_slice()) {
            Some(&[_, _, d, h, w]) => Ok([d, h, w]),
            _ => Err(Error::unsupported("the model's input is no volume")),
        }
    }

    /// The same network for another depth, height and width.
    pub(crate) fn for_volumes_of(&self, size: [usize; 3], multiple: usize) -> Result<Model> {
        if size.iter().any(|&n| n == 0 || !n.is_multiple_of(multiple)) {
            return Err(Error::usage(format!(
                "patches of {} do not fit the network: each side is a multiple of {multiple}",
                size.map(|n| n.to_string()).join("×")
            )));
        }
        if size == self.volume_size()? {
            return Ok(self.clone());
        }
        let mut graph: Graph = self.graph().clone();
        for id in graph.inputs.clone() {
            let shape = [&[1, 1], &size[..]].concat();
            graph.value_mut(id).shape = Some(shape.into_iter().map(Some).collect());
        }
        crate::model::infer_again(&mut graph)?;
        Ok(self.with_graph(graph))
    }
}

/// A segmentation network that is ready to run. Memory is that of one patch, the volume and its mask.
#[derive(Debug)]
pub struct Segmenter {
    runner: Runner,
    head: SegmentHead,
    patch: [usize; 3],
}

impl Segmenter {
    /// For patches of a size, or of the model's own.
    ///
    /// # Errors
    /// Models that segment no volumes, patches that do not fit them, what compiling refuses.
    pub fn new(model: &Model, patch: Option<[usize; 3]>, options: &RunOptions) -> Result<Segmenter> {
        let head = model.segment_head()?;
        let patch = patch.map_or_else(|| model.volume_size(), Ok)?;
        let model = model.for_volumes_of(patch, head.multiple)?;
        Ok(Segmenter {
            runner: Runner::new(&model, options)?,
            head,
            patch,
        })
    }

    /// What the network's tensors mean.
    pub fn head(&self) -> &SegmentHead {
        &self.head
    }

    /// The compiled network.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Voxels of a patch along each axis.
    pub fn patch(&self) -> [usize; 3] {
        self.patch
    }

    /// The class of each voxel of a volume of intensities, row-major. Patches share at least `overlap` voxels; each answers for what lies nearer to its
    /// middle than to its neighbours'.
    ///
    /// # Errors
    /// Cancellation; a volume that is not of that shape.
    pub fn mask(
        &self,
        shape: [usize; 3],
        voxels: &[u8],
        overlap: usize,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>> {
        if shape.iter().product::<usize>() != voxels.len() {
            return Err(Error::bad(format!(
                "{} voxels are no volume {shape:?}",
                voxels.len()
            )));
        }
        let size = [1, 1, self.patch[0], self.patch[1], self.patch[2]];
        let patches = cover(shape, self.patch, overlap);
        let mut mask = vec![0u8; voxels.len()];
        for (k, patch) in patches.iter().enumerate() {
            progress.at("segment", k, patches.len());
            let mut input = Vec::with_capacity(self.patch.iter().product());
            crop(shape, voxels, patch.start, self.patch, |v| {
                input.push(self.head.scale * f32::from(v))
            });
            let classes =
                self.classes(Tensor::new(size.to_vec(), input).map_err(|e| Error::bad(e.to_string()))?)?;
            let [z_keep, y_keep, x_keep] = patch.keep.clone();
            for z in z_keep {
                for y in y_keep.clone() {
                    let from = ((z - patch.start[0]) * self.patch[1] + y - patch.start[1]) * self.patch[2];
                    let row = &classes[from + x_keep.start - patch.start[2]..][..x_keep.len()];
                    mask[(z * shape[1] + y) * shape[2]..][x_keep.clone()].copy_from_slice(row);
                }
            }
        }
        progress.at("segment", patches.len(), patches.len());
        Ok(mask)
    }

    /// The class of each voxel of one patch.
    fn classes(&self, input: Tensor) -> Result<Vec<u8>> {
        let outputs = self.runner.run(&[(&self.head.input, &input)])?;
        let logits = outputs
            .iter()
            .find(|o| o.0 == self.head.output)
            .and_then(|o| o.1.as_f32());
        let logits =
            logits.ok_or_else(|| Error::bad(format!("the network gives no \"{}\"", self.head.output)))?;
        Ok(arg_max(logits, self.head.classes.len()))
    }
}
