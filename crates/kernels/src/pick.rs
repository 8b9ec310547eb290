//! Copies of whole pixels along spatial axes.

use crate::{Pool, split};

/// For each output coordinate of depth, height and width, the input coordinate, or `None` for the fill value.
///
/// Nearest Resize, spatial Slice with any step, Pad and Crop are all picks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picks(pub [Vec<Option<usize>>; 3]);

impl Picks {
    /// Leaves an axis of `len` elements as it is.
    pub fn all(len: usize) -> Vec<Option<usize>> {
        (0..len).map(Some).collect()
    }

    /// Spatial output shape.
    pub fn output(&self) -> [usize; 3] {
        [self.0[0].len(), self.0[1].len(), self.0[2].len()]
    }
}

/// Writes the picked pixels of `x` `[batch, input…, channels]`; `fill` is the value of what lies outside.
pub fn pick<T: Copy + Send + Sync>(
    pool: &Pool,
    picks: &Picks,
    [batch, channels]: [usize; 2],
    input: [usize; 3],
    fill: T,
    x: &[T],
    y: &mut [T],
) {
    let [_, height, width] = picks.output();
    let row = width * channels;
    assert_eq!(
        y.len(),
        batch * picks.output().iter().product::<usize>() * channels,
        "pick: output length"
    );
    assert_eq!(
        x.len(),
        batch * input.iter().product::<usize>() * channels,
        "pick: input length"
    );
    if row == 0 {
        return;
    }
    split::chunks(pool, y, row, 1 << 14, |start, part| {
        for (i, to) in part.chunks_mut(row).enumerate() {
            let line = start / row + i;
            let (plane, y) = (line / height, line % height);
            let (b, z) = (plane / picks.0[0].len(), plane % picks.0[0].len());
            let (Some(z), Some(y)) = (picks.0[0][z], picks.0[1][y]) else {
                to.fill(fill);
                continue;
            };
            let from = &x[((b * input[0] + z) * input[1] + y) * input[2] * channels..];
            for (to, x) in to.chunks_mut(channels).zip(&picks.0[2]) {
                match x {
                    Some(x) => to.copy_from_slice(&from[x * channels..(x + 1) * channels]),
                    None => to.fill(fill),
                }
            }
        }
    });
}
