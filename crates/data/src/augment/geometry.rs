//! Where pictures lie on the canvas, and what remains of their objects.

use tasks::detect::{BBox, Input, Object, Resize};

use super::{Options, Sample};
use crate::Picture;
use crate::resize::bilinear;
use crate::rng::Rng;

const GREY: u8 = 114;

/// A picture brought to some size and position; both may reach beyond the canvas.
struct Placed {
    width: usize,
    height: usize,
    left: i64,
    top: i64,
    /// Left with right, top with bottom.
    flipped: [bool; 2],
}

/// A part of the canvas: left, top, right, bottom.
type Window = [usize; 4];

/// One picture.
pub(super) fn single(
    picture: &Picture,
    objects: &[Object],
    input: &Input,
    options: &Options,
    rng: &mut Rng,
) -> Sample {
    let (width, height) = (input.width, input.height);
    let mut out = blank(input);
    let [w, h] = size(picture, input, [1.0, 1.0], options, rng);
    // Smaller than the canvas: anywhere on it. Larger: any part of it.
    let mut along = |free: i64| match options.shift {
        0 if options.scale == [1.0, 1.0] => match input.resize {
            Resize::LetterboxTopleft => 0,
            _ => free / 2,
        },
        0 => free.signum() * rng.below(free.unsigned_abs() as usize + 1) as i64,
        shift => rng.below(2 * shift + 1) as i64 - shift as i64,
    };
    let placed = Placed {
        width: w,
        height: h,
        left: along(width as i64 - w as i64),
        top: along(height as i64 - h as i64),
        flipped: flips(options, rng),
    };
    paste(
        &mut out,
        picture,
        objects,
        &placed,
        [0, 0, width, height],
        options,
    );
    out
}

/// Four pictures around a random middle, as in YOLOv4 (arXiv 2004.10934).
pub(super) fn mosaic(
    four: &[(Picture, Vec<Object>); 4],
    input: &Input,
    options: &Options,
    rng: &mut Rng,
) -> Sample {
    let (width, height) = (input.width, input.height);
    let mut out = blank(input);
    let x = ((width as f32 * rng.within(0.3, 0.7)) as usize).clamp(1, width.max(2) - 1);
    let y = ((height as f32 * rng.within(0.3, 0.7)) as usize).clamp(1, height.max(2) - 1);
    let windows = [
        [0, 0, x, y],
        [x, 0, width, y],
        [0, y, x, height],
        [x, y, width, height],
    ];
    for (k, ((picture, objects), window)) in four.iter().zip(windows).enumerate() {
        // Half of the input, so that four of usual scale fill it.
        let [w, h] = size(picture, input, [0.7, 0.7], options, rng);
        // The corner at the middle of the mosaic is a corner of the picture.
        let left = if k % 2 == 0 {
            window[2] as i64 - w as i64
        } else {
            window[0] as i64
        };
        let top = if k < 2 {
            window[3] as i64 - h as i64
        } else {
            window[1] as i64
        };
        let placed = Placed {
            width: w,
            height: h,
            left,
            top,
            flipped: flips(options, rng),
        };
        paste(&mut out, picture, objects, &placed, window, options);
    }
    out
}

fn blank(input: &Input) -> Sample {
    Sample {
        canvas: Picture::filled(input.width, input.height, [input.pad_value.unwrap_or(GREY); 3]),
        objects: Vec::new(),
    }
}

/// Size of a picture on the canvas: as the input's rule has it, times `base`, times the random factors.
fn size(picture: &Picture, input: &Input, base: [f32; 2], options: &Options, rng: &mut Rng) -> [usize; 2] {
    let (w, h) = (picture.width() as f64, picture.height() as f64);
    let fit = [input.width as f64 / w, input.height as f64 / h];
    let fit = match input.resize {
        Resize::Stretch => fit,
        _ => [fit[0].min(fit[1]); 2],
    };
    let mut factor = base.map(f64::from);
    if options.shift == 0 && options.scale != [1.0, 1.0] {
        let scale = f64::from(rng.within(options.scale[0], options.scale[1]));
        factor = factor.map(|f| f * scale);
    }
    if options.shift == 0 && options.aspect > 1.0 {
        let stretch = f64::from(rng.within(1.0, options.aspect));
        factor[usize::from(rng.chance(0.5))] *= stretch;
    }
    // No side beyond four canvases: the rest would be cut off anyway.
    let side = |length: f64, k: usize, canvas: usize| {
        ((length * fit[k] * factor[k]).round_ties_even() as usize).clamp(1, 4 * canvas)
    };
    [side(w, 0, input.width), side(h, 1, input.height)]
}

/// A chance of zero draws no number, so that older recipes give the samples they gave.
fn flips(options: &Options, rng: &mut Rng) -> [bool; 2] {
    let horizontal = rng.chance(options.flip);
    [
        horizontal,
        options.flip_vertical > 0.0 && rng.chance(options.flip_vertical),
    ]
}

fn paste(
    out: &mut Sample,
    picture: &Picture,
    objects: &[Object],
    placed: &Placed,
    window: Window,
    options: &Options,
) {
    let small = bilinear(picture, placed.width, placed.height);
    let canvas_width = out.canvas.width();
    let columns = visible(placed.left, placed.width, window[0], window[2]);
    let rows = visible(placed.top, placed.height, window[1], window[3]);
    for y in rows {
        let mut row = (y as i64 - placed.top) as usize;
        if placed.flipped[1] {
            row = placed.height - 1 - row;
        }
        let source = row * placed.width;
        for x in columns.clone() {
            let mut column = (x as i64 - placed.left) as usize;
            if placed.flipped[0] {
                column = placed.width - 1 - column;
            }
            let (from, to) = (3 * (source + column), 3 * (y * canvas_width + x));
            out.canvas.rgb_mut()[to..to + 3].copy_from_slice(&small.rgb()[from..from + 3]);
        }
    }
    let scale = [
        placed.width as f64 / picture.width() as f64,
        placed.height as f64 / picture.height() as f64,
    ];
    for object in objects {
        let b = &object.bbox;
        let (mut x1, mut x2) = (b.x1 * scale[0], b.x2 * scale[0]);
        let (mut y1, mut y2) = (b.y1 * scale[1], b.y2 * scale[1]);
        if placed.flipped[0] {
            (x1, x2) = (placed.width as f64 - x2, placed.width as f64 - x1);
        }
        if placed.flipped[1] {
            (y1, y2) = (placed.height as f64 - y2, placed.height as f64 - y1);
        }
        let (left, top) = (placed.left as f64, placed.top as f64);
        let whole = BBox::new(x1 + left, y1 + top, x2 + left, y2 + top);
        if let Some(bbox) = clipped(&whole, window, options.visible) {
            out.objects.push(Object { bbox, ..*object });
        }
    }
}

/// Canvas positions of a picture's side that lie inside of a window.
fn visible(start: i64, length: usize, low: usize, high: usize) -> std::ops::Range<usize> {
    let from = start.max(low as i64);
    let to = (start + length as i64).min(high as i64).max(from);
    from as usize..to as usize
}

/// What of a box lies in a window, if it is a part of at least `visible` and at least 2 pixels wide and high.
fn clipped(whole: &BBox, window: Window, visible: f32) -> Option<BBox> {
    let [left, top, right, bottom] = window.map(|v| v as f64);
    let part = BBox::new(
        whole.x1.clamp(left, right),
        whole.y1.clamp(top, bottom),
        whole.x2.clamp(left, right),
        whole.y2.clamp(top, bottom),
    );
    let enough = part.area() >= f64::from(visible) * whole.area();
    (part.width() >= 2.0 && part.height() >= 2.0 && enough).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_cut_at_the_window_and_slivers_dropped() {
        let window = [10, 10, 50, 50];
        let cut = clipped(&BBox::new(0.0, 20.0, 20.0, 30.0), window, 0.2).unwrap();
        assert_eq!(cut, BBox::new(10.0, 20.0, 20.0, 30.0));
        assert!(clipped(&BBox::new(-90.0, 20.0, 20.0, 30.0), window, 0.2).is_none());
        assert!(clipped(&BBox::new(48.5, 20.0, 52.0, 30.0), window, 0.0).is_none());
        assert!(clipped(&BBox::new(60.0, 60.0, 70.0, 70.0), window, 0.0).is_none());
    }

    #[test]
    fn sides_outside_of_the_window_have_no_positions() {
        assert_eq!(visible(-5, 10, 0, 8), 0..5);
        assert_eq!(visible(6, 10, 0, 8), 6..8);
        assert!(visible(20, 5, 0, 8).is_empty());
        assert!(visible(-20, 5, 0, 8).is_empty());
    }
}
