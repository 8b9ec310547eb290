//! Seeded volumes with masks: a body of two parts in clutter, as a scan of an organ has it.
//!
//! The body is a round cap on a thin stem. Its place, bend, size, contrast and surface, the clutter around it and the noise follow from the seed; both parts are
//! nearly as bright as each other and as some of the clutter, so that they are told apart by shape and by what lies beside them.

use super::noise::Noise;
use crate::rng::Rng;
use crate::volume::set::Case;

/// What the labels 0, 1, 2 are.
pub const NAMES: [&str; 3] = ["background", "cap", "stem"];

/// Blobs of the clutter, at most.
const MOST_BLOBS: usize = 7;

type Point = [f32; 3];

fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn minus(a: Point, b: Point) -> Point {
    std::array::from_fn(|d| a[d] - b[d])
}

/// `a + t·b`
fn along(a: Point, t: f32, b: Point) -> Point {
    std::array::from_fn(|d| a[d] + t * b[d])
}

fn unit(a: Point) -> Point {
    let length = dot(a, a).sqrt().max(1e-6);
    a.map(|v| v / length)
}

fn point(rng: &mut Rng, low: f32, high: f32) -> Point {
    std::array::from_fn(|_| rng.within(low, high))
}

/// A cap and a stem that bends away from its axis.
struct Body {
    cap: Point,
    /// Of the cap, along each axis of the volume.
    radii: Point,
    /// From the cap to the end of the stem.
    axis: Point,
    /// Where the stem's end is moved to.
    bend: Point,
    length: f32,
    stem: f32,
    surface: Noise,
    /// How far the surface waves, as a part of the radius.
    wave: f32,
}

impl Body {
    fn new(size: [usize; 3], rng: &mut Rng) -> Body {
        let short = size.into_iter().min().unwrap_or(0) as f32;
        let [tilt, _, turn] = point(rng, -0.6, 0.6);
        let axis = unit([tilt, if rng.chance(0.5) { 1.0 } else { -1.0 }, turn]);
        let radius = rng.within(0.15, 0.22) * short;
        let length = rng.within(0.5, 0.75) * short;
        // The middle of the whole lies near that of the volume.
        let middle = std::array::from_fn(|d| size[d] as f32 * rng.within(0.43, 0.57));
        Body {
            cap: along(middle, -0.5 * length, axis),
            radii: point(rng, 0.85, 1.15).map(|r| r * radius),
            bend: point(rng, -0.16, 0.16).map(|b| b * short),
            axis,
            length: length + 0.5 * radius,
            stem: rng.within(0.075, 0.11) * short,
            surface: Noise::new(rng),
            wave: rng.within(0.1, 0.35),
        }
    }

    /// Distances from the middle of the cap and from the line of the stem, 1 on their surfaces.
    fn distances(&self, p: Point) -> [f32; 2] {
        let wave = self.wave * (self.surface.within(p.map(|v| 0.3 * v)) - 0.5);
        let q = minus(p, self.cap);
        let scaled: Point = std::array::from_fn(|d| q[d] / self.radii[d]);
        // The nearest point of the straight stem, bent as far as it lies down the stem.
        let t = (dot(q, self.axis) / self.length).clamp(0.0, 1.0);
        let off = along(along(q, -t * self.length, self.axis), -t * t, self.bend);
        let thick = self.stem * (1.15 - 0.4 * t);
        [dot(scaled, scaled).sqrt(), dot(off, off).sqrt() / thick].map(|d| d + wave)
    }
}

/// A blob of the clutter: middle, radius, brightness.
struct Blob(Point, f32, f32);

/// Volume `index` of a seed: the same bytes on every platform, whatever else is made.
///
/// `size` is depth, height and width in voxels, brought into 16 … 256.
pub fn volume(seed: u64, index: u64, size: [usize; 3]) -> Case {
    let size = size.map(|n| n.clamp(16, 256));
    const VOLUME: u64 = 11;
    let mut rng = Rng::new([seed, index, VOLUME]);
    let body = Body::new(size, &mut rng);
    let ground = rng.within(0.25, 0.45);
    let bright = ground + rng.within(0.16, 0.34);
    let values = [bright, bright - rng.within(0.0, 0.06)];
    let short = size.into_iter().min().unwrap_or(0) as f32;
    let blobs: Vec<Blob> = (0..3 + rng.below(MOST_BLOBS - 2))
        .map(|_| {
            let middle = std::array::from_fn(|d| size[d] as f32 * rng.unit());
            let value = ground + rng.within(-0.15, 0.3);
            Blob(middle, rng.within(0.06, 0.14) * short, value)
        })
        .collect();
    let (clouds, tissue) = (Noise::new(&mut rng), Noise::new(&mut rng));
    let (cloudy, rough, grain) = (
        rng.within(0.1, 0.25),
        rng.within(0.0, 0.12),
        rng.within(0.02, 0.06),
    );
    let slope = point(&mut rng, -0.12, 0.12);
    let (mut voxels, mut labels) = (Vec::new(), Vec::new());
    for z in 0..size[0] {
        for y in 0..size[1] {
            for x in 0..size[2] {
                let p = [z, y, x].map(|v| v as f32 + 0.5);
                // A border is as wide as a voxel: what is brighter there is a part of what is within.
                let soft = |d: f32, radius: f32| ((1.0 - d) * radius + 0.5).clamp(0.0, 1.0);
                let mut value = ground + cloudy * (clouds.within(p.map(|v| 0.15 * v)) - 0.5);
                for Blob(middle, radius, bright) in &blobs {
                    let q = minus(p, *middle);
                    value += (bright - value) * soft(dot(q, q).sqrt() / radius, *radius);
                }
                let [cap, stem] = body.distances(p);
                let skin = rough * (tissue.within(p.map(|v| 0.5 * v)) - 0.5);
                value += (values[1] + skin - value) * soft(stem, body.stem);
                value += (values[0] + skin - value) * soft(cap, body.radii[0]);
                // Light falls off across the volume, and each voxel has noise of its own, nearly normal.
                let place: Point = std::array::from_fn(|d| p[d] / size[d] as f32 - 0.5);
                let noise = rng.unit() + rng.unit() + rng.unit() - 1.5;
                value = value * (1.0 + dot(slope, place)) + 2.0 * grain * noise;
                voxels.push((255.0 * value).clamp(0.0, 255.0) as u8);
                labels.push(match (cap < 1.0, stem < 1.0) {
                    (true, _) => 1,
                    (false, true) => 2,
                    (false, false) => 0,
                });
            }
        }
    }
    Case {
        name: format!("volume {index} of seed {seed}"),
        shape: size,
        voxels,
        labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_follows_from_its_seed_and_has_both_parts() {
        let size = [24, 32, 24];
        for index in 0..20 {
            let case = volume(3, index, size);
            assert_eq!((case.shape, case.voxels.len()), (size, 24 * 32 * 24));
            let count = |l: u8| case.labels.iter().filter(|&&v| v == l).count();
            assert_eq!(count(0) + count(1) + count(2), case.labels.len());
            assert!((150..2500).contains(&count(1)), "{index}: {}", count(1));
            assert!((50..1500).contains(&count(2)), "{index}: {}", count(2));
        }
        assert_eq!(volume(3, 1, size), volume(3, 1, size));
        assert_ne!(volume(3, 1, size).voxels, volume(3, 2, size).voxels);
        assert_ne!(volume(4, 1, size).voxels, volume(3, 1, size).voxels);
    }

    /// A threshold does not find the body: as much of the rest is as bright.
    #[test]
    fn brightness_alone_does_not_tell_the_body() {
        let mut best: f64 = 0.0;
        for threshold in (64..192).step_by(4) {
            let mut overlap = tasks::segment::Overlap::default();
            for index in 0..10 {
                let case = volume(5, index, [24, 32, 24]);
                for (&v, &l) in case.voxels.iter().zip(&case.labels) {
                    let (said, is) = (v >= threshold, l > 0);
                    overlap.predicted += u64::from(said);
                    overlap.truth += u64::from(is);
                    overlap.both += u64::from(said && is);
                }
            }
            best = best.max(overlap.dice());
        }
        assert!(best < 0.75, "{best}");
    }
}
