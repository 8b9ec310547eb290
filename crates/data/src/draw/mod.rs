//! Boxes and labels drawn into a picture.

mod glyphs;

use tasks::detect::{BBox, Detection};

use crate::Picture;
use crate::write::class_name;

/// Colours of classes, told apart also by people who confuse red and green as far as twenty colours can be.
const COLORS: [[u8; 3]; 20] = [
    [230, 57, 70],
    [42, 157, 244],
    [255, 183, 3],
    [46, 196, 120],
    [155, 93, 229],
    [251, 133, 0],
    [0, 206, 209],
    [241, 91, 181],
    [174, 214, 39],
    [67, 97, 238],
    [255, 112, 91],
    [0, 150, 136],
    [255, 221, 87],
    [186, 104, 200],
    [121, 85, 72],
    [100, 221, 233],
    [198, 40, 90],
    [139, 195, 74],
    [92, 107, 192],
    [255, 160, 160],
];

/// Colour of a class.
pub fn color(class: usize) -> [u8; 3] {
    COLORS[class % COLORS.len()]
}

/// Draws each detection's box in its class's colour with a label `name 0.93`.
///
/// Line width and letters grow with the picture. The best detections are drawn last, so that their labels stay
/// readable. Characters without a glyph are drawn as `?`. Boxes may reach beyond the picture; nothing is drawn there.
pub fn annotate(picture: &mut Picture, detections: &[Detection], class_names: &[String]) {
    let mut order: Vec<&Detection> = detections.iter().filter(|d| d.bbox.is_finite()).collect();
    order.sort_by(|a, b| a.score.total_cmp(&b.score));
    for d in order {
        let text = format!("{} {:.2}", class_name(class_names, d.class), d.score);
        labelled_box(picture, &d.bbox, &text, color(d.class));
    }
}

/// One box with a label on it.
pub fn labelled_box(picture: &mut Picture, bbox: &BBox, text: &str, color: [u8; 3]) {
    let size = picture.width() + picture.height();
    let line = (size as f64 * 0.0015)
        .round()
        .max(if size > 400 { 2.0 } else { 1.0 }) as i64;
    let [x1, y1, x2, y2] = [bbox.x1, bbox.y1, bbox.x2, bbox.y2].map(|v| v.round() as i64);
    // The frame lies on the box's inner side, so that it stays in the picture when the box fills it.
    let (x2, y2) = (x2.max(x1.saturating_add(1)), y2.max(y1.saturating_add(1)));
    fill(picture, [x1, y1, x2, y1.saturating_add(line).min(y2)], color);
    fill(picture, [x1, y2.saturating_sub(line).max(y1), x2, y2], color);
    fill(picture, [x1, y1, x1.saturating_add(line).min(x2), y2], color);
    fill(picture, [x2.saturating_sub(line).max(x1), y1, x2, y2], color);
    label(picture, (x1, y1), text, color);
}

/// A line of text on a ground of `color`, its lower left corner at `(x, y)`; moved inside where it would leave the
/// picture.
pub fn label(picture: &mut Picture, (x, y): (i64, i64), text: &str, color: [u8; 3]) {
    let dot = (picture.width().min(picture.height()) as f64 / 320.0)
        .round()
        .clamp(1.0, 8.0) as i64;
    // More letters than fit into the picture are not laid out.
    let most = picture.width() / (glyphs::WIDTH + 1) + 1;
    let letters: Vec<char> = text.chars().take(most).collect();
    let advance = (glyphs::WIDTH as i64 + 1) * dot;
    let (width, height) = (
        letters.len() as i64 * advance + 3 * dot,
        (glyphs::HEIGHT as i64 + 1) * dot,
    );
    let x = x.min(picture.width() as i64 - width).max(0);
    let y = y
        .saturating_sub(height)
        .min(picture.height() as i64 - height)
        .max(0);
    fill(picture, [x, y, x + width, y + height], color);
    let ink = if luminance(color) > 140 { [0; 3] } else { [255; 3] };
    for (k, c) in letters.into_iter().enumerate() {
        let left = x + 2 * dot + k as i64 * advance;
        for (row, bits) in glyphs::rows(c).into_iter().enumerate() {
            for column in (0..glyphs::WIDTH).filter(|col| bits >> (glyphs::WIDTH - 1 - col) & 1 == 1) {
                let (px, py) = (left + column as i64 * dot, y + (row as i64) * dot + dot / 2);
                fill(picture, [px, py, px + dot, py + dot], ink);
            }
        }
    }
}

/// Brightness as the eye weighs it, 0…255.
fn luminance([r, g, b]: [u8; 3]) -> u32 {
    (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)) / 1000
}

/// Fills columns x1 … x2 − 1 of rows y1 … y2 − 1, as far as they are in the picture.
fn fill(picture: &mut Picture, [x1, y1, x2, y2]: [i64; 4], color: [u8; 3]) {
    let inside = |v: i64, most: usize| v.clamp(0, most as i64) as usize;
    let (x1, x2) = (inside(x1, picture.width()), inside(x2, picture.width()));
    let (y1, y2) = (inside(y1, picture.height()), inside(y2, picture.height()));
    if x1 >= x2 {
        return;
    }
    let stride = 3 * picture.width();
    for y in y1..y2 {
        for pixel in picture.rgb_mut()[y * stride..][3 * x1..3 * x2].chunks_exact_mut(3) {
            pixel.copy_from_slice(&color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(class: usize, score: f64, bbox: BBox) -> Detection {
        Detection { class, score, bbox }
    }

    #[test]
    fn nothing_leaves_the_picture_and_hostile_numbers_are_harmless() {
        let names = vec!["日本\n\x1b[31m<b>".repeat(100)];
        for (w, h) in [(1, 1), (7, 3), (640, 480), (1, 500)] {
            let mut p = Picture::filled(w, h, [9; 3]);
            let all = [
                [-1e300, -1e300, 1e300, 1e300],
                [f64::NAN, 0.0, 1.0, 1.0],
                [5.0, 5.0, 5.0, 5.0],
                [1e18, 1e18, 2e18, 2e18],
                [9.0, 9.0, 1.0, 1.0],
                [f64::NEG_INFINITY, 0.0, f64::INFINITY, 9.0],
            ];
            let all = all.map(|[a, b, c, d]| detection(usize::MAX, f64::NAN, BBox::new(a, b, c, d)));
            annotate(&mut p, &all, &names);
            annotate(
                &mut p,
                &[detection(0, 0.5, BBox::new(0.0, 0.0, w as f64, h as f64))],
                &names,
            );
            assert_eq!(p.rgb().len(), 3 * w * h);
        }
    }

    #[test]
    fn the_frame_is_on_the_box_and_the_inside_is_untouched() {
        let mut p = Picture::filled(100, 100, [0; 3]);
        annotate(
            &mut p,
            &[detection(1, 0.5, BBox::new(20.0, 40.0, 80.0, 90.0))],
            &[],
        );
        for (x, y) in [(20, 41), (79, 60), (50, 40), (50, 89)] {
            assert_eq!(p.pixel(x, y), color(1), "{x} {y}");
        }
        for (x, y) in [(50, 60), (19, 60), (80, 60), (50, 90), (22, 42)] {
            assert_eq!(p.pixel(x, y), [0; 3], "{x} {y}");
        }
    }
}
