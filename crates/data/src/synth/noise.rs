//! Value noise: random numbers on a lattice, smooth between.

use crate::rng::{Rng, mix};

/// One field of noise.
#[derive(Clone, Copy)]
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Noise(rng.next())
    }

    /// One octave, 0…1, with features of size 1.
    pub(super) fn at(self, x: f32, y: f32) -> f32 {
        let (fx, fy) = (x.floor(), y.floor());
        let (ix, iy) = (fx as i64, fy as i64);
        let ease = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (tx, ty) = (ease(x - fx), ease(y - fy));
        let corner = |dx: i64, dy: i64| {
            let key = (ix + dx).wrapping_mul(0x632b_e5ab) ^ (iy + dy).wrapping_mul(0x85eb_ca6b_0001);
            (mix(self.0 ^ key as u64) >> 40) as f32 / (1u32 << 24) as f32
        };
        let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * tx;
        let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * tx;
        top + (bottom - top) * ty
    }

    /// The same in a volume.
    pub(super) fn within(self, [z, y, x]: [f32; 3]) -> f32 {
        let floor = z.floor();
        // A lattice of its own for each plane of corners.
        let plane = |k: i64| Noise(mix(self.0.wrapping_add((floor as i64 + k) as u64))).at(x, y);
        let t = z - floor;
        let ease = t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (near, far) = (plane(0), plane(1));
        near + (far - near) * ease
    }

    /// Several octaves, each of half the size and a weight of `keep` of the one before; 0…1.
    pub(super) fn octaves(self, x: f32, y: f32, count: u32, keep: f32) -> f32 {
        let (mut sum, mut total, mut weight, mut scale) = (0.0, 0.0, 1.0, 1.0);
        for k in 0..count {
            // Shifted, so that the lattices do not share their corners.
            let shift = 17.3 * k as f32;
            sum += weight * self.at(x * scale + shift, y * scale - shift);
            total += weight;
            weight *= keep;
            scale *= 2.0;
        }
        sum / total
    }
}
