//! Pictures with boxes, large enough for their labels.

use tasks::detect::{BBox, Detection};

use crate::Picture;

/// The picture `factor` times as large with its boxes; with a factor of 1 as it is.
///
/// ```
/// use lowbit::{Picture, report::boxes::annotated};
/// let picture = Picture::filled(64, 48, [0; 3]);
/// let large = annotated(&picture, &[], &[], 5);
/// assert_eq!((large.width(), large.height()), (320, 240));
/// ```
pub fn annotated(picture: &Picture, found: &[Detection], classes: &[String], factor: usize) -> Picture {
    let factor = factor.max(1);
    let mut large = match factor {
        1 => picture.clone(),
        _ => data::resize::bilinear(picture, picture.width() * factor, picture.height() * factor),
    };
    let scaled: Vec<Detection> = found
        .iter()
        .map(|d| {
            let [x1, y1, x2, y2] = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(|v| v * factor as f64);
            Detection {
                bbox: BBox::new(x1, y1, x2, y2),
                ..*d
            }
        })
        .collect();
    data::draw::annotate(&mut large, &scaled, classes);
    large
}

/// How many times a picture of this width is enlarged, so that a label covers a small part of it.
pub fn enlargement(width: usize) -> usize {
    const LEAST: usize = 320;
    LEAST.div_ceil(width.max(1)).clamp(1, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_grow_and_boxes_with_them() {
        assert_eq!([1, 64, 128, 319, 320, 640].map(enlargement), [8, 5, 3, 2, 1, 1]);
        let found = Detection {
            class: 1,
            score: 0.5,
            bbox: BBox::new(10.0, 30.0, 40.0, 60.0),
        };
        let large = annotated(&Picture::filled(64, 64, [0; 3]), &[found], &[], 5);
        let color = data::draw::color(1);
        assert_eq!((large.pixel(50, 200), large.pixel(199, 299)), (color, color));
        assert_eq!(large.pixel(120, 220), [0; 3]);
    }
}
