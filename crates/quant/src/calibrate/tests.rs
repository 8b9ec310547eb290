//! What the observers promise, on distributions whose answer is known.

use proptest::prelude::*;

use super::*;

/// Uniform numbers in 0 … 1 from a 64-bit linear congruential generator.
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn gauss(seed: u64, count: usize) -> Vec<f32> {
    let mut next = uniform(seed);
    (0..count)
        .map(|_| ((-2.0 * next().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * next()).cos()) as f32)
        .collect()
}

fn kinds() -> [ObserverKind; 4] {
    [
        ObserverKind::MinMax,
        ObserverKind::Percentile { tail: 1e-4 },
        ObserverKind::Mse,
        ObserverKind::Kl,
    ]
}

fn seen(kind: ObserverKind, values: &[f32]) -> Observer {
    let mut observer = Observer::new(kind);
    observer.observe(values);
    observer
}

fn measured_error(values: &[f32], q: &EdgeQuantizer) -> f64 {
    let square = |x: &f32| f64::from(x - q.dequantize(q.quantize(*x))).powi(2);
    values.iter().map(square).sum::<f64>() / values.len() as f64
}

#[test]
fn mse_beats_min_max_with_an_outlier_and_percentile_ignores_it() {
    let mut values = gauss(7, 100_000);
    values.push(400.0);
    let plain = seen(ObserverKind::MinMax, &values).finish(4);
    let least = seen(ObserverKind::Mse, &values).finish(4);
    assert!(measured_error(&values, &least) < measured_error(&values, &plain));
    let cut = seen(ObserverKind::Percentile { tail: 1e-4 }, &values).finish(8);
    assert!(f64::from(cut.scale) * 255.0 < 9.0, "{cut:?}");
}

#[test]
fn mse_is_within_two_percent_of_a_fine_search() {
    for (bits, seed) in [(8, 1), (4, 2), (3, 3), (2, 4)] {
        let values: Vec<f32> = gauss(seed, 50_000)
            .iter()
            .map(|x| if seed % 2 == 0 { x.max(0.0) } else { *x })
            .collect();
        let found = measured_error(&values, &seen(ObserverKind::Mse, &values).finish(bits));
        let mut best = f64::INFINITY;
        for low in 0..40 {
            for high in 1..50 {
                let q = quantizer(-0.1 * f64::from(low), 0.1 * f64::from(high), bits);
                best = best.min(measured_error(&values, &q));
            }
        }
        assert!(found < best * 1.02 + 1e-9, "{bits} bits: {found} against {best}");
    }
}

#[test]
fn the_estimate_of_the_error_is_the_error() {
    let values = gauss(11, 100_000);
    let observer = seen(ObserverKind::Mse, &values);
    for bits in 2..=8 {
        let q = observer.finish(bits);
        let (estimate, exact) = (observer.error(&q, None).unwrap(), measured_error(&values, &q));
        assert!(
            (estimate / exact - 1.0).abs() < 0.03,
            "{bits} bits: {estimate} {exact}"
        );
    }
}

#[test]
fn the_dead_side_of_silu_is_cut() {
    let values: Vec<f32> = gauss(5, 100_000).iter().map(|x| x * 12.0 - 10.0).collect();
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let observer = seen(ObserverKind::Mse, &values);
    let low = |q: &EdgeQuantizer| f64::from(q.dequantize(0));
    let (aware, blind) = (observer.finish_through(8, Some(&silu)), observer.finish(8));
    assert!(low(&blind) < -30.0 && low(&aware) > -9.0, "{blind:?} {aware:?}");
    assert!(
        observer.error(&aware, Some(&silu)).unwrap() < 0.3 * observer.error(&blind, Some(&silu)).unwrap()
    );
}

#[test]
fn one_sided_constant_and_hostile_edges() {
    for kind in kinds() {
        let q = seen(kind, &[0.0; 64]).finish(8);
        assert_eq!((q.scale, q.zero_point), (1.0, 0), "{kind}");
        let positive: Vec<f32> = (0..1000).map(|i| i as f32 * 0.01).collect();
        assert_eq!(seen(kind, &positive).finish(8).zero_point, 0, "{kind}");
        let negative: Vec<f32> = positive.iter().map(|x| -x).collect();
        assert_eq!(seen(kind, &negative).finish(8).zero_point, 255, "{kind}");
        for hostile in [
            vec![f32::from_bits(1), f32::from_bits(9)],
            vec![f32::MAX, -f32::MAX, 1.0],
            vec![f32::NAN, f32::INFINITY, 2.0],
            vec![1e-30, 1e30],
        ] {
            let observer = seen(kind, &hostile);
            let q = observer.finish(8);
            assert!(q.scale.is_normal() && q.scale > 0.0, "{kind} {hostile:?} {q:?}");
            assert!(q.dequantize(0).is_finite() && q.dequantize(255).is_finite());
        }
        assert_eq!(seen(kind, &[f32::NAN, 1.0]).non_finite(), 1);
    }
}

proptest! {
    #[test]
    fn zero_is_a_code_and_min_max_covers(values in prop::collection::vec(-1e6f32..1e6, 1..200), bits in 1u32..=8) {
        for kind in kinds() {
            let q = seen(kind, &values).finish(bits);
            prop_assert_eq!(q.dequantize(q.quantize(0.0)), 0.0);
            prop_assert!(q.zero_point <= q.max_code());
        }
        let q = seen(ObserverKind::MinMax, &values).finish(bits);
        for x in values {
            prop_assert!((x - q.dequantize(q.quantize(x))).abs() <= q.scale * 1.001);
        }
    }

    #[test]
    fn batches_order_and_merging_change_nothing(values in prop::collection::vec(-100f32..100.0, 2..300), cut in 1usize..300, grow in 0i32..12) {
        let mut values = values;
        let cut = cut.min(values.len() - 1);
        values[cut] *= (grow as f32).exp2();
        for kind in kinds() {
            let whole = seen(kind, &values);
            let mut parts = seen(kind, &values[..cut]);
            let rest = seen(kind, &values[cut..]);
            let mut merged = rest.clone();
            merged.merge(&parts);
            parts.observe(&values[cut..]);
            prop_assert_eq!(whole.finish(8), parts.finish(8));
            prop_assert_eq!(whole.finish(8), merged.finish(8));
        }
    }
}

#[test]
fn one_histogram_serves_every_kind() {
    let values: Vec<f32> = (0..50_000)
        .map(|i| match i % 3 {
            0 => 0.0,
            1 => (i as f32 * 0.37).sin() * 4.0 + (i % 7) as f32,
            _ => f32::NAN,
        })
        .collect();
    let mut shared = Observer::new(ObserverKind::Mse);
    shared.observe(&values);
    for kind in [
        ObserverKind::MinMax,
        ObserverKind::Percentile { tail: 1e-3 },
        ObserverKind::Mse,
        ObserverKind::Kl,
    ] {
        let mut own = Observer::new(kind);
        own.observe(&values);
        assert_eq!(shared.of_kind(kind).finish(8), own.finish(8), "{kind}");
        assert_eq!(own.non_finite(), 16_666);
    }
    // What is not counted leaves no trace: a third of the values is zero.
    let q = shared.finish(8);
    let own: f64 = values
        .iter()
        .filter(|x| x.is_finite())
        .map(|x| f64::from(x - q.dequantize(q.quantize(*x))).powi(2))
        .sum();
    let seen = shared.error(&q, None).unwrap() * 50_000.0;
    assert!((seen / own - 1.0).abs() < 0.1, "{seen} {own}");
}
