//! The classes: shapes as signed distances, negative inside, in a frame where they about fill −1 … 1.

/// Class names in the order of their indices.
pub const NAMES: [&str; 8] = [
    "box", "cross", "disc", "heart", "moon", "ring", "star", "triangle",
];

/// Signed distance of a point from the outline of a class's shape. y points down.
pub(super) fn distance(class: usize, x: f32, y: f32) -> f32 {
    match class {
        0 => rounded(x, y, 0.82, 0.82, 0.08),
        1 => rounded(x, y, 0.98, 0.30, 0.04).min(rounded(x, y, 0.30, 0.98, 0.04)),
        2 => length(x, y) - 1.0,
        3 => heart(x, y),
        4 => (length(x, y) - 1.0).max(0.80 - length(x - 0.52, y)),
        5 => (length(x, y) - 0.74).abs() - 0.26,
        6 => star(x, y),
        _ => triangle(x, y),
    }
}

fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// A rectangle of half sides `w` and `h` with rounded corners.
fn rounded(x: f32, y: f32, w: f32, h: f32, radius: f32) -> f32 {
    let (dx, dy) = (x.abs() - w + radius, y.abs() - h + radius);
    length(dx.max(0.0), dy.max(0.0)) + dx.max(dy).min(0.0) - radius
}

/// Equal sides, one corner up, slightly rounded.
fn triangle(x: f32, y: f32) -> f32 {
    let (y, half_root_3) = (y - 0.18, 0.866_025_4);
    let side = half_root_3 * x.abs() - 0.5 * y;
    side.max(y) - 0.52
}

/// Five points.
fn star(x: f32, y: f32) -> f32 {
    // The plane is folded along the star's axes of symmetry onto a tenth of it: one slanted edge remains.
    let (c, s) = (0.809_017, 0.587_785_25);
    let (mut x, mut y) = (x.abs(), -y);
    for (nx, ny) in [(c, -s), (-c, -s)] {
        let over = 2.0 * (nx * x + ny * y).max(0.0);
        (x, y) = (x - over * nx, y - over * ny);
    }
    (x, y) = (x.abs(), y - 1.0);
    let depth = 0.46;
    let (ex, ey) = (depth * s, depth * c - 1.0);
    let along = ((x * ex + y * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0);
    let d = length(x - ex * along, y - ey * along);
    if y * ex > x * ey { d } else { -d }
}

/// Two round lobes and a point below.
fn heart(x: f32, y: f32) -> f32 {
    let scale = 1.65;
    let (x, y) = (x.abs() / scale, 0.56 - y / scale);
    let square = |dx: f32, dy: f32| dx * dx + dy * dy;
    let d = if x + y > 1.0 {
        square(x - 0.25, y - 0.75).sqrt() - 0.353_553_4
    } else {
        let diagonal = 0.5 * (x + y).max(0.0);
        let d = square(x, y - 1.0).min(square(x - diagonal, y - diagonal)).sqrt();
        if x > y { d } else { -d }
    };
    d * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_fills_its_frame_and_no_more() {
        for (class, name) in NAMES.iter().enumerate() {
            let mut reach = [0f32; 2];
            let mut inside = 0;
            for k in 0..201 * 201 {
                let (x, y) = ((k % 201) as f32 / 80.0 - 1.25, (k / 201) as f32 / 80.0 - 1.25);
                if distance(class, x, y) < 0.0 {
                    reach = [reach[0].max(x.abs()), reach[1].max(y.abs())];
                    inside += 1;
                }
            }
            let share = inside as f32 / (160.0 * 160.0);
            assert!(reach[0] > 0.75 && reach[0] <= 1.03, "{name} {reach:?}");
            assert!(reach[1] > 0.75 && reach[1] <= 1.03, "{name} {reach:?}");
            assert!((0.2..0.85).contains(&share), "{name} covers {share}");
        }
    }
}
