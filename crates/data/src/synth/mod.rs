//! Seeded scenes of textured shapes on cluttered ground, with their boxes: something to train and test on that may be
//! given away. Volumes with masks are in [`volume`], hyperspectral scenes in [`cube`].
//!
//! Picture `index` of a `seed` is the same whatever else is made, and has the same bytes on every platform: numbers
//! are drawn by counter, arithmetic is IEEE f32 without fused operations, `sin` and `cos` are those of `libm`.

mod canvas;
pub mod cube;
mod ground;
mod light;
mod noise;
mod objects;
mod shape;
mod texture;
pub mod volume;

use tasks::detect::Object;

use crate::Picture;
use crate::rng::Rng;
use canvas::Canvas;

pub use shape::NAMES;

/// Version of the drawing: it changes when the same seed gives other bytes.
pub const VERSION: u32 = 1;

/// Seeds from here on are the demo's: training refuses them, so that its scenes are fresh for every model.
pub const DEMO_SEEDS: u64 = 1 << 32;

/// What a scene is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Width in pixels, 32…4096.
    pub width: usize,
    /// Height in pixels, 32…4096.
    pub height: usize,
    /// Most objects of one scene, 1…64. At least one is placed; rarely it is hidden, and the scene has no box.
    pub max_objects: usize,
}

impl Default for Options {
    /// 416 by 416 pixels, at most 10 objects.
    fn default() -> Self {
        Options {
            width: 416,
            height: 416,
            max_objects: 10,
        }
    }
}

/// Scene `index` of a seed. Sizes outside their range are brought into it.
///
/// Boxes enclose what remains visible. An object of which less than a tenth can be seen has none; less than a third,
/// or a side below 8 pixels, is marked difficult. Classes index [`NAMES`].
pub fn scene(seed: u64, index: u64, options: &Options) -> (Picture, Vec<Object>) {
    let width = options.width.clamp(32, 4096);
    let height = options.height.clamp(32, 4096);
    let rng = |stream| Rng::new([seed, index, stream]);
    let mut canvas = Canvas::new(width, height);
    ground::paint(&mut canvas, &mut rng(1));
    let boxes = objects::paint(&mut canvas, options.max_objects.clamp(1, 64), &mut rng(2));
    light::shine(&mut canvas, &mut rng(3));
    light::expose(&mut canvas, &mut rng(4));
    (canvas.picture(), boxes)
}
