//! Operators that move codes (`FORMAT.md` 1.8): channel copies and picks along spatial axes.

use crate::Pool;
use crate::int::conv::{Out, Pixels};
use crate::int::split;

/// Copies `channels` codes of each pixel, from and to channel ranges of wider pixels: Concat, Split and channel Slice.
/// A `table` changes the quantizer on the way.
pub fn copy_channels(pool: &Pool, x: Pixels<'_>, channels: usize, table: Option<&[u8; 256]>, y: Out<'_, u8>) {
    let stride = y.stride;
    split::chunks(pool, y.data, stride, 1 << 14, |start, part| {
        let rows = x.data.chunks(x.stride).skip(start / stride.max(1));
        for (from, to) in rows.zip(part.chunks_mut(stride)) {
            let from = &from[x.offset..x.offset + channels];
            let to = &mut to[y.offset..y.offset + channels];
            match table {
                None => to.copy_from_slice(from),
                Some(table) => {
                    for (to, &q) in to.iter_mut().zip(from) {
                        *to = table[usize::from(q)];
                    }
                }
            }
        }
    });
}

/// For each output coordinate of depth, height and width, the input coordinate, or `None` for the fill code.
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

/// Writes the picked pixels of `x` `[batch, input…, channels]`; `fill` is the code of what lies outside.
pub fn pick(
    pool: &Pool,
    picks: &Picks,
    [batch, channels]: [usize; 2],
    input: [usize; 3],
    fill: u8,
    x: &[u8],
    y: &mut [u8],
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
