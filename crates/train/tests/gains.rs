//! What is learned where codes stay: gains of channels and offsets of biases.

use quant::{ProjectOptions, project_weight};
use testing::SplitMix64;
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
