//! Pooling windows: which input pixels an output pixel reads.

use crate::{Pool, PoolShape, split};

/// Input coordinates of one output coordinate's window along one axis, inside the picture.
pub(crate) fn window(
    shape: &PoolShape,
    axis: usize,
    at: usize,
) -> impl Iterator<Item = usize> + Clone + use<> {
    let begin = at * shape.stride[axis];
    let (pad, len, dilation) = (shape.pad[axis], shape.input[axis], shape.dilation[axis]);
    (0..shape.kernel[axis])
        .map(move |k| begin + k * dilation)
        .filter(move |&i| i >= pad && i - pad < len)
        .map(move |i| i - pad)
}

/// Calls `visit(batch, [z, y, x] of the output, the output's pixel)` for every output pixel.
pub(crate) fn for_pixels<T: Send>(
    pool: &Pool,
    shape: &PoolShape,
    y: &mut [T],
    visit: impl Fn(usize, [usize; 3], &mut [T]) + Sync,
) {
    let [depth, height, width] = shape.output;
    assert_eq!(
        y.len(),
        shape.batch * depth * height * width * shape.channels,
        "pool: output length"
    );
    if y.is_empty() {
        return;
    }
    let grain = (1 << 13) / shape.kernel.iter().product::<usize>().clamp(1, 64);
    split::chunks(pool, y, shape.channels, grain, |start, part| {
        for (i, to) in part.chunks_mut(shape.channels).enumerate() {
            let p = start / shape.channels + i;
            let at = [p / (height * width) % depth, p / width % height, p % width];
            visit(p / (depth * height * width), at, to);
        }
    });
}

/// Index of an input pixel.
pub(crate) fn pixel(shape: &PoolShape, b: usize, z: usize, y: usize, x: usize) -> usize {
    ((b * shape.input[0] + z) * shape.input[1] + y) * shape.input[2] + x
}
