//! Training pictures: random changes, and batches made by several threads in one order.
//!
//! ```text
//! Source ─sample(i)─▶ (Picture, objects) ─geometry: scale, crop, flip, mosaic─▶ canvas ─colour, cutout─▶ input tensor, boxes in network pixels
//! ```
//! Randomness is counted: the changes of a sample follow from (seed, epoch, sample, purpose) alone, the order of samples from (seed, epoch).
//! Batch k has the same bytes for any number of threads, and a run can go on at any batch.

mod color;
mod geometry;
mod loader;
mod sources;

pub use loader::{Batch, LoadError, Loader, Plan, batch};
pub use sources::{Cached, Classes, Pictures, Source, SourceError, Subset, Synthetic};

use tasks::detect::{Input, Object};

use crate::Picture;
use crate::rng::Rng;

/// What is changed, and how much. Chances are 0 … 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Chance of a picture whose left and right are changed.
    pub flip: f32,
    /// Chance of a picture whose top and bottom are changed: for pictures that have no up, as those of microscopes and from above.
    pub flip_vertical: f32,
    /// Smallest and largest size of the picture, relative to the size that just fits the input.
    pub scale: [f32; 2],
    /// Largest change of the aspect ratio: 1.2 stretches one side by up to 20 %.
    pub aspect: f32,
    /// Chance of a mosaic of four pictures.
    pub mosaic: f32,
    /// Largest change of hue, as part of the circle; of saturation and of value, as a factor 1 ± it.
    pub hsv: [f32; 3],
    /// Chance of grey rectangles.
    pub cutout: f32,
    /// Pixels of random shift after padding, as is usual for CIFAR; replaces scale and aspect where it is not 0.
    pub shift: usize,
    /// Objects of which less than this part remains visible are dropped.
    pub visible: f32,
}

impl Default for Options {
    /// Moderate changes for fine-tuning a detector: flip ½, scale 0.6 … 1.4, aspect 1.2, mosaic ¼, HSV 0.015, 0.5, 0.4.
    fn default() -> Self {
        Options {
            flip: 0.5,
            flip_vertical: 0.0,
            scale: [0.6, 1.4],
            aspect: 1.2,
            mosaic: 0.25,
            hsv: [0.015, 0.5, 0.4],
            cutout: 0.0,
            shift: 0,
            visible: 0.2,
        }
    }
}

impl Options {
    /// No change at all: the picture as `prepare` puts it.
    pub fn none() -> Self {
        Options {
            flip: 0.0,
            flip_vertical: 0.0,
            scale: [1.0, 1.0],
            aspect: 1.0,
            mosaic: 0.0,
            hsv: [0.0; 3],
            cutout: 0.0,
            shift: 0,
            visible: 0.0,
        }
    }
}

/// What a random number is for: each purpose has its own stream.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Order = 1,
    Geometry = 2,
    Color = 3,
    Cutout = 4,
    Mosaic = 5,
}

fn rng(seed: u64, epoch: u64, sample: u64, purpose: Purpose) -> Rng {
    Rng::new([seed, epoch, sample, purpose as u64])
}

/// Order of `n` samples in an epoch: a permutation of 0 … n − 1 (Fisher, Yates).
///
/// ```
/// let mut order = data::augment::order(1, 0, 5);
/// assert_ne!(order, data::augment::order(1, 1, 5));
/// order.sort();
/// assert_eq!(order, [0, 1, 2, 3, 4]);
/// ```
pub fn order(seed: u64, epoch: u64, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut random = rng(seed, epoch, 0, Purpose::Order);
    for i in (1..n).rev() {
        order.swap(i, random.below(i + 1));
    }
    order
}

/// A training canvas of the network's size with the objects in its pixels.
#[derive(Debug, Clone)]
pub struct Sample {
    /// As large as the network's input.
    pub canvas: Picture,
    /// Clipped to it.
    pub objects: Vec<Object>,
}

/// Sample `index` of an epoch, changed. Mosaics read three more samples.
///
/// # Errors
/// What the source says of a sample that cannot be read.
pub fn sample(
    source: &dyn Source,
    index: usize,
    seed: u64,
    epoch: u64,
    input: &Input,
    options: &Options,
) -> Result<Sample, SourceError> {
    let random = |purpose| rng(seed, epoch, index as u64, purpose);
    let mut mosaic = random(Purpose::Mosaic);
    let mut shape = random(Purpose::Geometry);
    let mut out = if mosaic.chance(options.mosaic) {
        let others = std::array::from_fn(|_| mosaic.below(source.len().max(1)));
        let [a, b, c]: [usize; 3] = others;
        let four = [
            source.sample(index)?,
            source.sample(a)?,
            source.sample(b)?,
            source.sample(c)?,
        ];
        geometry::mosaic(&four, input, options, &mut shape)
    } else {
        let (picture, objects) = source.sample(index)?;
        geometry::single(&picture, &objects, input, options, &mut shape)
    };
    color::jitter(&mut out.canvas, options.hsv, &mut random(Purpose::Color));
    color::cutout(&mut out.canvas, options.cutout, &mut random(Purpose::Cutout));
    Ok(out)
}
