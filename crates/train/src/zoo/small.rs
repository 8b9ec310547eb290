//! The detector of `lowbit demo`: still small, but with enough depth for crowded scenes.

use graph::Graph;

use super::{Builder, two_levels};

/// An anchor-free detector: nine convolutions with BatchNormalization and ReLU, three of them residual, and a path from
/// stride 16 down to stride 8 (Lin et al., Feature Pyramid Networks, arXiv 1612.03144), so that small objects are seen with what is around them.
///
/// `width` is the number of channels of the first layer: 16 gives 0.34 million weights and, for 128 pixels, 55 million multiply-accumulates.
/// `size` is width and height of the input, multiples of 16. Weights are He's (arXiv 1502.01852), drawn by counter from `seed`; scores start at 0.01.
pub fn small(classes: &[String], width: usize, size: [usize; 2], seed: u64) -> Graph {
    let (mut b, x) = Builder::new("small", size, seed ^ 0x6f6f_7a5f_736d_616c);
    let (w1, w2, w4, w8) = (width, 2 * width, 4 * width, 8 * width);
    let x = b.layer(x, "stem", [3, w1], 2);
    let x = b.layer(x, "down4", [w1, w2], 2);
    let x = b.residual(x, "body4", w2);
    let x = b.layer(x, "down8", [w2, w4], 2);
    let eight = b.residual(x, "body8", w4);
    let x = b.layer(eight, "down16", [w4, w8], 2);
    let sixteen = b.residual(x, "body16", w8);
    let around = b.normalized(sixteen, "lateral", [w8, w4], [1, 1]);
    let around = b.doubled(around, "up");
    let eight = b.sum(eight, around, "merge");
    let eight = b.layer(eight, "fuse", [w4, w4], 1);
    b.finish("small", &two_levels([(eight, w4), (sixteen, w8)]), classes, size)
}
