//! The scalar row: the meaning of all others, for every layer.

use super::Epilogue;
use crate::geometry::Geometry;
use crate::split::Parts;
use crate::{Out, Pixels, Pool};

/// Computes every output as `finish(acc, multiplier)`.
pub(super) fn run<T: Copy + Send>(
    pool: &Pool,
    geometry: &Geometry,
    epilogue: &Epilogue,
    levels: &[i32],
    x: Pixels<'_, u8>,
    y: &mut Out<'_, T>,
    finish: impl Fn(i64, f32, &Epilogue) -> T + Sync,
) {
    let s = &geometry.shape;
    let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
    let taps = geometry.taps();
    let zero = i64::from(epilogue.zero_in);
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
                    let mut acc = epilogue.bias[o];
                    for (t, &tap) in phase.taps.iter().enumerate() {
                        let Some(pixel) = geometry.input(phase, place, t) else {
                            continue;
                        };
                        let from = pixel * x.stride + x.offset + o / cout * cin;
                        let levels = &levels[(o * taps + tap) * cin..][..cin];
                        for (&q, &level) in x.data[from..from + cin].iter().zip(levels) {
                            acc += i64::from(level) * (i64::from(q) - zero);
                        }
                    }
                    *out = finish(acc, epilogue.multiplier[o], epilogue);
                }
            }
        });
    }
}
