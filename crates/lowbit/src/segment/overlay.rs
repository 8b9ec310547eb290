//! Slices of a volume with the mask's colours over them.

use data::Picture;

use crate::{Error, Result};

/// Share of the class's colour.
const COLOR: u32 = 45;

/// Enlargement of small slices, so that voxels can be seen.
const SIDE: usize = 320;

/// The slice across `axis` in which the mask covers most, the middle one where it is empty.
pub(crate) fn fullest(shape: [usize; 3], mask: &[u8], axis: usize) -> usize {
    let mut counts = vec![0usize; shape[axis]];
    for (i, _) in mask.iter().enumerate().filter(|(_, l)| **l > 0) {
        let at = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
        counts[at[axis]] += 1;
    }
    let best = (0..counts.len()).rev().max_by_key(|&k| counts[k]).unwrap_or(0);
    if counts[best] == 0 { shape[axis] / 2 } else { best }
}

/// Slice `index` across `axis`: grey intensities, classes above 0 in colours.
pub(crate) fn slice(
    shape: [usize; 3],
    voxels: &[u8],
    mask: &[u8],
    axis: usize,
    index: usize,
) -> Result<Picture> {
    let [down, right] = [[1, 2], [0, 2], [0, 1]][axis];
    let scale = (SIDE / shape[right].max(shape[down]).max(1)).clamp(1, 8);
    let (width, height) = (shape[right] * scale, shape[down] * scale);
    let mut rgb = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            let mut at = [index; 3];
            (at[down], at[right]) = (y / scale, x / scale);
            let i = (at[0] * shape[1] + at[1]) * shape[2] + at[2];
            let grey = u32::from(voxels[i]);
            match mask[i] {
                0 => rgb.extend([grey as u8; 3]),
                class => {
                    let color = data::draw::color(usize::from(class) - 1);
                    rgb.extend(
                        color.map(|c| ((100 - COLOR) * grey / 100 + COLOR * u32::from(c) / 100) as u8),
                    );
                }
            }
        }
    }
    Picture::new(width, height, rgb).map_err(|e| Error::bad(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_slice_is_shown_with_its_classes_in_colours() {
        let shape = [2, 3, 4];
        let mut mask = vec![0; 24];
        (mask[12 + 5], mask[12 + 6]) = (1, 1);
        assert_eq!([0, 1, 2].map(|axis| fullest(shape, &mask, axis)), [1, 1, 1]);
        assert_eq!(fullest(shape, &[0; 24], 2), 2);
        let picture = slice(shape, &[100; 24], &mask, 0, 1).unwrap();
        assert_eq!((picture.width(), picture.height()), (32, 24));
        assert_eq!(picture.pixel(0, 0), [100; 3]);
        assert_ne!(picture.pixel(8, 8), [100; 3]);
    }
}
