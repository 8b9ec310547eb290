//! What can pass the threshold, told from logits before any sigmoid is taken: most cells of a picture are background.

use tensor::math::sigmoid;

/// The threshold, as a logit.
#[derive(Clone, Copy)]
pub(super) struct Logits {
    /// No logit below this has a score above the threshold.
    pub(super) least: f32,
}

impl Logits {
    /// ln(conf / (1 − conf)), less more than what the roundings of score and logarithm could move it.
    pub(super) fn above(conf: f32) -> Logits {
        if conf.is_nan() || conf <= 0.0 {
            return Logits {
                least: f32::NEG_INFINITY,
            };
        }
        // Near 1 a score moves by less than its last bit while the logit moves by much.
        let conf = f64::from(conf).min(0.999);
        let exact = libm::log(conf / (1.0 - conf));
        Logits {
            least: (exact - 1e-3 * (1.0 + exact.abs())) as f32,
        }
    }

    /// The score of a logit; 0 where it cannot pass.
    pub(super) fn score(self, logit: f32) -> f32 {
        if logit < self.least { 0.0 } else { sigmoid(logit) }
    }
}

/// The cells of which one class is at least `least`, in order; `classes` are planes of a value for each cell. Read plane by plane as they
/// lie, where cell by cell would read a line of memory for each value.
pub(super) fn cells<'a>(classes: impl Iterator<Item = &'a [f32]>, count: usize, least: f32) -> Vec<usize> {
    let mut passing = vec![false; count];
    for plane in classes {
        passing.iter_mut().zip(plane).for_each(|(p, v)| *p |= *v >= least);
    }
    (0..count).filter(|&cell| passing[cell]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_logit_below_the_least_never_passes(conf in prop_oneof![0.0f32..1.0, 0.99f32..1.0, 0.0f32..1e-3], below in 0.0f32..1.0, far in 0u32..40) {
            let least = Logits::above(conf).least;
            for logit in [least.next_down(), least - below * 2f32.powi(far as i32 - 30)] {
                prop_assert!(logit >= least || sigmoid(logit) <= conf, "{logit} gives {}", sigmoid(logit));
            }
        }

        #[test]
        fn the_least_is_near(conf in 1e-4f32..0.999) {
            prop_assert!(sigmoid(Logits::above(conf).least + 0.02) > conf);
        }
    }

    #[test]
    fn every_logit_may_pass_where_every_score_does() {
        for conf in [0.0, -1.0, f32::NAN] {
            assert_eq!(Logits::above(conf).least, f32::NEG_INFINITY);
        }
    }

    #[test]
    fn cells_are_those_with_a_class_that_is_no_less_in_order() {
        let planes: [&[f32]; 2] = [&[0.1, 0.9, f32::NAN, 0.5], &[0.0, 0.2, f32::NAN, 0.6]];
        assert_eq!(cells(planes.into_iter(), 4, 0.5), [1, 3]);
    }
}
