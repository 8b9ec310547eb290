//! Seven convolutions: the smallest detector that learns something.

use graph::Graph;

use super::{Builder, two_levels};

/// A small anchor-free detector: seven convolutions with BatchNormalization and ReLU, heads at strides 8 and 16.
///
/// `width` is the number of channels of the first layer; `size` width and height of the input, multiples of 16. Weights are He's
/// (arXiv 1502.01852), drawn by counter from `seed`; scores start at 0.01.
pub fn tiny(classes: &[String], width: usize, size: [usize; 2], seed: u64) -> Graph {
    let (mut b, x) = Builder::new("tiny", size, seed ^ 0x7a6f_6f5f_7469_6e79);
    let (w1, w2, w4, w8) = (width, 2 * width, 4 * width, 8 * width);
    let x = b.layer(x, "stem", [3, w1], 2);
    let x = b.layer(x, "down4", [w1, w2], 2);
    let x = b.layer(x, "body4", [w2, w2], 1);
    let x = b.layer(x, "down8", [w2, w4], 2);
    let eight = b.residual(x, "body8", w4);
    let x = b.layer(eight, "down16", [w4, w8], 2);
    let sixteen = b.residual(x, "body16", w8);
    b.finish("tiny", &two_levels([(eight, w4), (sixteen, w8)]), classes, size)
}
