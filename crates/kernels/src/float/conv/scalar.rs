//! The scalar row: the meaning of all others, for every layer.

use crate::float::Activation;
use crate::geometry::Geometry;
use crate::split::Parts;
use crate::{Out, Pixels, Pool};

/// `weights` are [out channel][tap][in channel of the group].
pub(super) fn run(
    pool: &Pool,
    geometry: &Geometry,
    weights: &[f32],
    bias: &[f32],
    activation: Activation,
    x: Pixels<'_, f32>,
    y: Out<'_, f32>,
) {
    let s = &geometry.shape;
    let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
    let taps = geometry.taps();
    // A tap outside of the picture is a term with x = 0.
    let outside = vec![0f32; cin];
    let parts = Parts::new(y.data);
    for phase in &geometry.phases {
        let pixels = s.batch * phase.pixels();
        let grain = 64usize;
        pool.run(pixels.div_ceil(grain), &|task| {
            for p in task * grain..pixels.min((task + 1) * grain) {
                let place = phase.place(p);
                let at = geometry.output(phase, place) * y.stride + y.offset;
                // SAFETY: every output pixel belongs to one phase and one task.
                let out = unsafe { parts.part(at, s.out_channels) };
                for (o, out) in out.iter_mut().enumerate() {
                    let mut acc = bias[o];
                    for (t, &tap) in phase.taps.iter().enumerate() {
                        let x = match geometry.input(phase, place, t) {
                            Some(pixel) => &x.data[pixel * x.stride + x.offset + o / cout * cin..][..cin],
                            None => &outside,
                        };
                        for (&x, &w) in x.iter().zip(&weights[(o * taps + tap) * cin..][..cin]) {
                            acc = x.mul_add(w, acc);
                        }
                    }
                    *out = activation.apply(acc);
                }
            }
        });
    }
}
