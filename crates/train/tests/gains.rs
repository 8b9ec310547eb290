//! What is learned after another procedure has chosen codes: gains of channels, offsets of biases, codes next to the chosen ones.

use quant::{ProjectOptions, project_weight};
use testing::SplitMix64;
use train::method::adaround::AdaRound;
use train::method::gains::Gains;
use train::method::offset::Offset;
use train::method::{Progress, WeightMethod};
use train::optimizer::adamw::AdamW;
use train::optimizer::{Optimizer, State};

const PROGRESS: Progress = Progress { step: 0, steps: 1 };

#[test]
fn gains_start_at_the_codes_and_find_the_scale_of_each_channel() {
    for grid in ["int4", "pow2-4", "affine4", "pow2-4x2"] {
        let mut random = SplitMix64(7);
        let w: Vec<f32> = (0..24).map(|_| random.within(-1.0, 1.0) as f32).collect();
        let grid = grid.parse().unwrap();
        let weight = project_weight(&grid, &w, &[3, 8], 0, &ProjectOptions::default())
            .unwrap()
            .0;
        let wanted = [0.9f32, 1.0, 1.15];
        let target: Vec<f32> = weight
            .decode()
            .iter()
            .enumerate()
            .map(|(i, w)| w * wanted[i / 8])
            .collect();
        let mut method = Gains::new(&weight);
        let (mut q, mut g) = (vec![0.0; 24], vec![0.0; 24]);
        method.project(&w, &PROGRESS, &mut q).unwrap();
        assert_eq!(q, weight.decode());
        let (adam, mut state) = (Optimizer::AdamW(AdamW::default()), State::default());
        for _ in 0..400 {
            method.project(&w, &PROGRESS, &mut q).unwrap();
            g.iter_mut()
                .zip(q.iter().zip(&target))
                .for_each(|(g, (q, t))| *g = q - t);
            method.gradient(&w, &q, &mut g);
            assert!(g.iter().all(|g| *g == 0.0), "the shadow weights stay");
            let learned = method.learned().unwrap();
            let gradients = learned.gradients.to_vec();
            adam.update(&mut state, learned.values, &gradients, 0.03, 0.0);
        }
        let end = method.annotation().unwrap();
        assert!(end.check().is_ok());
        assert!(
            end.points
                .iter()
                .zip(&weight.points)
                .all(|(a, b)| a.codes == b.codes)
        );
        for (a, b) in end.decode().iter().zip(&target) {
            assert!((a - b).abs() < 0.01 * b.abs().max(0.1), "{grid}: {a} {b}");
        }
    }
}

#[test]
fn an_offset_moves_in_its_unit_or_not_at_all() {
    let (mut x, mut b, mut g) = ([3.0, -1.0], [0.0; 2], [2.0, 4.0]);
    let mut offset = Offset::new(0.5, &mut x);
    assert_eq!(x, [0.0; 2]);
    offset.project(&[1.0, -2.0], &PROGRESS, &mut b).unwrap();
    offset.gradient(&x, &b, &mut g);
    assert_eq!((b, g), ([3.5, -2.0], [1.0, 2.0]));
    let mut kept = [3.0, -1.0];
    let mut held = Offset::held(&mut kept);
    held.project(&[1.0, -2.0], &PROGRESS, &mut b).unwrap();
    held.gradient(&kept, &b, &mut g);
    assert_eq!((b, g), ([3.0, -1.0], [0.0; 2]));
}

/// Codes begin near where they were chosen, change where the loss asks for the next level and nowhere else, and end on the grid.
#[test]
fn codes_go_to_the_next_level_where_that_is_asked_for() {
    for grid in ["int4", "pow2-4", "affine4", "lbw3"] {
        let mut random = SplitMix64(11);
        let w: Vec<f32> = (0..24).map(|_| random.within(-1.0, 1.0) as f32).collect();
        let grid = grid.parse().unwrap();
        let weight = project_weight(&grid, &w, &[3, 8], 0, &ProjectOptions::default())
            .unwrap()
            .0;
        let start = weight.decode();
        let mut shadow = start.clone();
        let mut method = AdaRound::new(&weight, &w, &mut shadow).unwrap();
        let steps = 240;
        let at = |step: u64| Progress { step, steps };
        let (mut q, mut g) = (vec![0.0; 24], vec![0.0; 24]);
        method.project(&shadow, &at(0), &mut q).unwrap();
        // A tenth of the way to the next level on the float weight's side.
        for (i, (q, s)) in q.iter().zip(&start).enumerate() {
            assert!(
                (q - s) * (w[i] - s) >= 0.0 && (q - s).abs() < 0.11,
                "{grid} {i}: {q} {s}"
            );
        }
        // Every third weight is wanted on the other level: ten tenths of the way.
        let wanted = |i: usize| {
            if i.is_multiple_of(3) {
                start[i] + 10.0 * (q[i] - start[i])
            } else {
                start[i]
            }
        };
        let target: Vec<f32> = (0..24).map(wanted).collect();
        let (adam, mut state) = (Optimizer::AdamW(AdamW::default()), State::default());
        for step in 0..steps {
            method.project(&shadow, &at(step), &mut q).unwrap();
            g.iter_mut()
                .zip(q.iter().zip(&target))
                .for_each(|(g, (q, t))| *g = q - t);
            method.gradient(&shadow, &q, &mut g);
            adam.update(&mut state, &mut shadow, &g, 0.01, 0.0);
        }
        method.project(&shadow, &at(steps), &mut q).unwrap();
        let end = method.annotation().unwrap();
        assert!(end.check().is_ok());
        assert_eq!(end.decode(), q);
        for (a, b) in q.iter().zip(&target) {
            assert!((a - b).abs() < 1e-5, "{grid}: {q:?} {target:?}");
        }
    }
    let two = project_weight(
        &"pow2-4x2".parse().unwrap(),
        &[1.0, 0.3],
        &[1, 2],
        0,
        &ProjectOptions::default(),
    );
    assert!(AdaRound::new(&two.unwrap().0, &[1.0, 0.3], &mut [0.0; 2]).is_none());
}
