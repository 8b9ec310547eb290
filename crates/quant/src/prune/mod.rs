//! Groups of weights that are pruned together (L. Yang, Z. He, D. Fan, "Harmonious Coexistence of Structured Weight Pruning and Ternarization for Deep
//! Neural Networks", AAAI 2020): what a processing element takes in one step, its norm, the clipped penalty that pulls weak groups to zero and leaves
//! strong ones alone, and the choice of what goes.

mod compression;
mod groups;
mod penalty;
mod select;

pub use compression::{Stored, ratio};
pub use groups::{GroupShape, Groups};
pub use penalty::{Clip, Penalty, shrink};
pub use select::select;
