//! Pooling windows: which input pixels an output pixel reads.

use crate::{Pool, PoolShape, split};

/// Input coordinates of one output coordinate's window along one axis, inside the picture. Takes no time for padding: a kernel may
/// be far larger than the picture.
pub(crate) fn window(
    shape: &PoolShape,
    axis: usize,
    at: usize,
) -> impl Iterator<Item = usize> + Clone + use<> {
    let begin = at * shape.stride[axis];
    let (pad, len, dilation) = (shape.pad[axis], shape.input[axis], shape.dilation[axis]);
    let first = pad.saturating_sub(begin).div_ceil(dilation);
    let end = (pad + len).saturating_sub(begin).div_ceil(dilation);
    (first..end.min(shape.kernel[axis])).map(move |k| begin + k * dilation - pad)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: a kernel of 2^31 − 1 was walked tap by tap for every output.
    #[test]
    fn a_window_is_what_its_taps_find_and_takes_no_time_for_padding() {
        let mut shape = PoolShape::whole(1, 7, 1);
        for (kernel, stride, dilation, pad) in [
            (3, 1, 1, 1),
            (2, 3, 2, 0),
            (5, 2, 3, 9),
            (9, 1, 1, 4),
            (1, 1, 5, 0),
        ] {
            (shape.kernel[2], shape.stride[2]) = (kernel, stride);
            (shape.dilation[2], shape.pad[2]) = (dilation, pad);
            for at in 0..12 {
                let taps = (0..kernel).filter_map(|k| (at * stride + k * dilation).checked_sub(pad));
                let want: Vec<usize> = taps.filter(|&i| i < 7).collect();
                assert_eq!(
                    window(&shape, 2, at).collect::<Vec<_>>(),
                    want,
                    "{shape:?} at {at}"
                );
            }
        }
        (shape.kernel[2], shape.pad[2]) = (usize::MAX >> 8, usize::MAX >> 9);
        (shape.stride[2], shape.dilation[2]) = (1, 1);
        assert_eq!(window(&shape, 2, 0).count(), 7);
    }
}
