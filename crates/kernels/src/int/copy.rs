//! Channel copies of codes (`FORMAT.md` 1.8).

use crate::{Out, Pixels, Pool, layout, split};

/// Copies `channels` codes of each pixel, from and to channel ranges of wider pixels: Concat, Split and channel Slice.
/// A `table` changes the quantizer on the way.
pub fn copy_channels(
    pool: &Pool,
    x: Pixels<'_, u8>,
    channels: usize,
    table: Option<&[u8; 256]>,
    y: Out<'_, u8>,
) {
    let Some(table) = table else {
        return layout::copy_channels(pool, x, channels, y);
    };
    let stride = y.stride;
    split::chunks(pool, y.data, stride, 1 << 14, |start, part| {
        let rows = x.data.chunks(x.stride).skip(start / stride.max(1));
        for (from, to) in rows.zip(part.chunks_mut(stride)) {
            let from = &from[x.offset..x.offset + channels];
            for (to, &q) in to[y.offset..y.offset + channels].iter_mut().zip(from) {
                *to = table[usize::from(q)];
            }
        }
    });
}
