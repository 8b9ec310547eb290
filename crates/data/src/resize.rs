//! Bilinear resizing, equal to OpenCV's `INTER_LINEAR` on 8-bit pixels to the byte: half-pixel centres, no
//! antialiasing, weights in 11-bit fixed point. Networks were trained on these bytes.

use crate::Picture;

/// Bits of a weight.
const BITS: u32 = 11;

/// Source index and the two weights (summing to about 2048) of one target row or column.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    weights: [i32; 2],
}

/// Whether positions outside are moved to the edge with all weight on it (columns), or both neighbours are moved
/// and the weights kept (rows). The results differ in the last bit, and OpenCV does the one for x and the other for y.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    Snap,
    Clip,
}

fn taps(from: usize, to: usize, edge: Edge) -> Vec<Tap> {
    // OpenCV inverts twice, in f64, before it turns to f32; `from / to` is another number.
    let scale = 1.0 / (to as f64 / from as f64);
    let last = from as i64 - 1;
    let one = (1 << BITS) as f32;
    (0..to)
        .map(|k| {
            let position = ((k as f64 + 0.5) * scale - 0.5) as f32;
            let mut at = position.floor() as i64;
            let mut fraction = position - position.floor();
            if edge == Edge::Snap {
                if at < 0 {
                    (at, fraction) = (0, 0.0);
                } else if at >= last {
                    (at, fraction) = (last, 0.0);
                }
            }
            Tap {
                first: at.clamp(0, last) as usize,
                second: (at + 1).clamp(0, last) as usize,
                weights: [1.0 - fraction, fraction].map(|w| (w * one).round_ties_even() as i32),
            }
        })
        .collect()
}

/// The picture at another size.
///
/// # Panics
/// When a side of the target is 0.
pub fn bilinear(picture: &Picture, width: usize, height: usize) -> Picture {
    let mut out = Picture::filled(width, height, [0; 3]);
    bilinear_into(picture, width, height, out.rgb_mut());
    out
}

/// As [`bilinear`], into a buffer of `3 · width · height` bytes.
pub(crate) fn bilinear_into(picture: &Picture, width: usize, height: usize, out: &mut [u8]) {
    let (w, h) = (picture.width(), picture.height());
    if (w, h) == (width, height) {
        out.copy_from_slice(picture.rgb());
    } else if (w, h) == (2 * width, 2 * height) {
        halve(picture, out);
    } else {
        interpolate(picture, width, height, out);
    }
}

/// OpenCV takes the mean of 2×2 pixels where both sides are exactly halved.
fn halve(picture: &Picture, out: &mut [u8]) {
    let stride = 3 * picture.width();
    let rows = picture.rgb().chunks_exact(2 * stride);
    for (rows, out) in rows.zip(out.chunks_exact_mut(stride / 2)) {
        let (upper, lower) = rows.split_at(stride);
        for ((a, b), out) in upper
            .chunks_exact(6)
            .zip(lower.chunks_exact(6))
            .zip(out.chunks_exact_mut(3))
        {
            for (k, out) in out.iter_mut().enumerate() {
                let sum = u16::from(a[k]) + u16::from(a[k + 3]) + u16::from(b[k]) + u16::from(b[k + 3]);
                *out = ((sum + 2) >> 2) as u8;
            }
        }
    }
}

fn interpolate(picture: &Picture, width: usize, height: usize, out: &mut [u8]) {
    let stride = 3 * picture.width();
    let columns = taps(picture.width(), width, Edge::Snap);
    let rows = taps(picture.height(), height, Edge::Clip);
    // The last two source rows, interpolated horizontally: neighbouring target rows mostly share them.
    let mut held: [(usize, Vec<i32>); 2] = std::array::from_fn(|_| (usize::MAX, vec![0; 3 * width]));
    for (row, out) in rows.iter().zip(out.chunks_exact_mut(3 * width)) {
        if held[0].0 != row.first && held[1].0 == row.first {
            held.swap(0, 1);
        }
        for (slot, source) in held.iter_mut().zip([row.first, row.second]) {
            if slot.0 != source {
                slot.0 = source;
                horizontal(&picture.rgb()[source * stride..][..stride], &columns, &mut slot.1);
            }
        }
        let [a, b] = row.weights;
        for ((out, upper), lower) in out.iter_mut().zip(&held[0].1).zip(&held[1].1) {
            *out = ((((a * upper) >> 16) + ((b * lower) >> 16) + 2) >> 2) as u8;
        }
    }
}

/// One source row at the target's columns, in units of 2⁻⁷ (weights of 11 bits, 4 bits dropped as OpenCV does).
fn horizontal(row: &[u8], columns: &[Tap], out: &mut [i32]) {
    for (tap, out) in columns.iter().zip(out.chunks_exact_mut(3)) {
        let (a, b) = (&row[3 * tap.first..][..3], &row[3 * tap.second..][..3]);
        for (k, out) in out.iter_mut().enumerate() {
            *out = (i32::from(a[k]) * tap.weights[0] + i32::from(b[k]) * tap.weights[1]) >> 4;
        }
    }
}
