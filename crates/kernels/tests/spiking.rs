//! Neurons over time: the vectors of the method (numbers of an independent program), and what follows from the equations.

use kernels::Pool;
use kernels::float::backward::sums_scratch;
use kernels::float::spiking::{Neuron, NeuronGradient, Steps, integrate_fire, integrate_fire_backward};
use proptest::prelude::*;
use serde_json::Value;
use testing::SplitMix64;

fn vectors() -> Value {
    serde_json::from_str(testing::SNN_VECTORS).unwrap()
}

fn reals(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn close(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within, "{a} instead of {b}");
}

const fn steps(steps: usize) -> Steps {
    Steps {
        steps,
        constant: false,
        count: false,
    }
}

fn spikes(op: Steps, neuron: Neuron<f32>, x: &[f32]) -> Vec<f32> {
    let n = if op.constant { x.len() } else { x.len() / op.steps };
    let mut y = vec![f32::NAN; if op.count { n } else { n * op.steps }];
    integrate_fire(&Pool::new(2), op, neuron, x, &mut y);
    y
}

#[test]
fn membranes_distances_and_spikes_are_the_published_ones() {
    for case in vectors()["neuron"].as_array().unwrap() {
        let neuron = Neuron {
            threshold: case["v"].as_f64().unwrap(),
            leak: case["leak"].as_f64().unwrap(),
        };
        let [current, z, spike, after] = ["current", "z", "spike", "u_after"].map(|k| reals(&case[k]));
        let mut u = 0.0;
        for t in 0..current.len() {
            let before = neuron.integrate(u, current[t]);
            close(before / neuron.threshold - 1.0, z[t], 1e-11);
            let (fires, left) = neuron.fire(before);
            assert_eq!(f64::from(u8::from(fires)), spike[t]);
            close(left, after[t], 1e-11);
            u = left;
        }
    }
}

/// The published equation resets one step later, without leak: the same spikes at leak 1, others below.
#[test]
fn a_reset_that_comes_a_step_later_is_another_neuron() {
    let delayed = |neuron: Neuron<f64>, current: &[f64]| {
        let (mut u, mut fired) = (0.0, false);
        let mut run = |&i: &f64| {
            u = neuron.leak * u + i - if fired { neuron.threshold } else { 0.0 };
            fired = u / neuron.threshold - 1.0 > 0.0;
            (u, fired)
        };
        current.iter().map(&mut run).collect::<Vec<_>>()
    };
    let own = |neuron: Neuron<f64>, current: &[f64]| {
        let mut u = 0.0;
        let mut run = |&i: &f64| {
            let before = neuron.integrate(u, i);
            let (fires, left) = neuron.fire(before);
            u = left;
            (before, fires)
        };
        current.iter().map(&mut run).collect::<Vec<_>>()
    };
    let all = vectors();
    let case = &all["neuron_delayed_reset"];
    let mut neuron = Neuron {
        threshold: case["v"].as_f64().unwrap(),
        leak: case["leak"].as_f64().unwrap(),
    };
    let current = reals(&case["current"]);
    let late = delayed(neuron, &current);
    for ((u, fires), (want_u, want)) in late
        .iter()
        .zip(reals(&case["u"]).iter().zip(reals(&case["spike"])))
    {
        close(*u, *want_u, 1e-9);
        assert_eq!(f64::from(u8::from(*fires)), want);
    }
    let differs = own(neuron, &current)
        .iter()
        .zip(&late)
        .any(|(a, b)| (a.0 - b.0).abs() > 1e-3);
    assert!(
        differs,
        "both resets leave the same membranes at leak {}",
        neuron.leak
    );
    neuron.leak = 1.0;
    let mut random = SplitMix64(3);
    for _ in 0..200 {
        // In sixteenths, so that both sums are exact.
        let current: Vec<f64> = (0..20)
            .map(|_| (random.unit() * 32.0 - 8.0).floor() / 16.0)
            .collect();
        let exact = Neuron {
            threshold: 0.625,
            ..neuron
        };
        let fires = |all: Vec<(f64, bool)>| all.into_iter().map(|s| s.1).collect::<Vec<_>>();
        assert_eq!(fires(own(exact, &current)), fires(delayed(exact, &current)));
    }
}

/// Two layers, five steps, float64: spikes, loss and all gradients as an automatic differentiation gave them.
#[test]
fn back_propagation_through_time_gives_the_published_gradients() {
    let case = &vectors()["bptt"];
    let matrix = |k: &str| case[k].as_array().unwrap().iter().map(reals).collect::<Vec<_>>();
    let (x, w1, w2) = (reals(&case["x"]), matrix("W1"), matrix("W2"));
    let neuron = Neuron {
        threshold: case["v"].as_f64().unwrap(),
        leak: case["leak"].as_f64().unwrap(),
    };
    let (t, label) = (
        case["T"].as_u64().unwrap() as usize,
        case["label"].as_u64().unwrap() as usize,
    );
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut before = vec![Vec::new(); 2];
    let mut spikes = vec![vec![0.0; 2]; t];
    for (j, row) in w1.iter().enumerate() {
        let (current, mut u) = (dot(row, &x), 0.0);
        for step in &mut spikes {
            let b = neuron.integrate(u, current);
            let (fires, left) = neuron.fire(b);
            before[j].push(b);
            (u, step[j]) = (left, f64::from(u8::from(fires)));
        }
    }
    assert_eq!(spikes, matrix("spikes"));
    let out: Vec<f64> = w2
        .iter()
        .map(|row| spikes.iter().map(|s| dot(row, s)).sum())
        .collect();
    let total: f64 = out.iter().map(|o| o.exp()).sum();
    close(total.ln() - out[label], case["loss"].as_f64().unwrap(), 1e-10);
    let p: Vec<f64> = (0..2)
        .map(|c| out[c].exp() / total - f64::from(u8::from(c == label)))
        .collect();
    let mut sums = NeuronGradient {
        threshold: 0.0,
        leak: 0.0,
    };
    for j in 0..2 {
        let e = (0..2).map(|c| w2[c][j] * p[c]).sum::<f64>();
        let mut d = vec![e; t];
        neuron.backward(&before[j], &mut d, &mut sums);
        let sum: f64 = d.iter().sum();
        for i in 0..2 {
            close(sum * x[i], matrix("dW1")[j][i], 1e-10);
            close(
                p[i] * spikes.iter().map(|s| s[j]).sum::<f64>(),
                matrix("dW2")[i][j],
                1e-10,
            );
        }
    }
    close(sums.threshold, case["dv"].as_f64().unwrap(), 1e-10);
    close(sums.leak, case["dleak"].as_f64().unwrap(), 1e-10);
}

#[test]
fn the_surrogate_is_a_tent_of_height_three_tenths() {
    let neuron = Neuron {
        threshold: 0.5f64,
        leak: 1.0,
    };
    close(neuron.surrogate(0.5), 0.3, 1e-8);
    for outside in [0.0, -1.0, 1.0, 1.5] {
        assert_eq!(neuron.surrogate(outside), 0.0);
    }
    for inside in [0.001, 0.999] {
        assert!(neuron.surrogate(inside) > 0.0);
    }
}

/// The program's kernel in f32 beside the equations in f64, neuron by neuron, in every form of input and output.
#[test]
fn kernels_follow_the_equations() {
    let mut random = SplitMix64(9);
    let (t, n) = (5, 77);
    for (constant, count) in [(false, false), (true, false), (false, true), (true, true)] {
        let op = Steps {
            steps: t,
            constant,
            count,
        };
        let neuron = Neuron {
            threshold: 0.625f32,
            leak: 0.875,
        };
        let lengths = [constant, count].map(|one| if one { n } else { t * n });
        let [x, dy] = lengths.map(|len| {
            (0..len)
                .map(|_| (random.unit() * 2.0 - 0.7) as f32)
                .collect::<Vec<_>>()
        });
        let y = spikes(op, neuron, &x);
        let (mut dx, mut wide) = (vec![0.0; x.len()], vec![0.0; sums_scratch(2)]);
        let sums = integrate_fire_backward(&Pool::new(2), op, neuron, &x, &dy, &mut dx, &mut wide);
        let exact = Neuron {
            threshold: 0.625f64,
            leak: 0.875,
        };
        let mut want = NeuronGradient {
            threshold: 0.0,
            leak: 0.0,
        };
        for i in 0..n {
            let at = |one: bool, step: usize| if one { i } else { step * n + i };
            let (mut u, mut before, mut fired) = (0.0, Vec::new(), Vec::new());
            for step in 0..t {
                let b = exact.integrate(u, f64::from(x[at(constant, step)]));
                let (fires, left) = exact.fire(b);
                u = left;
                before.push(b);
                fired.push(f32::from(u8::from(fires)));
            }
            match count {
                true => assert_eq!(y[i], fired.iter().sum::<f32>()),
                false => (0..t).for_each(|step| assert_eq!(y[at(false, step)], fired[step])),
            }
            let mut d: Vec<f64> = (0..t).map(|step| f64::from(dy[at(count, step)])).collect();
            exact.backward(&before, &mut d, &mut want);
            match constant {
                true => close(f64::from(dx[i]), d.iter().sum(), 1e-5),
                false => (0..t).for_each(|step| close(f64::from(dx[at(false, step)]), d[step], 1e-5)),
            }
        }
        close(f64::from(sums.threshold), want.threshold, 1e-3);
        close(f64::from(sums.leak), want.leak, 1e-3);
    }
}

proptest! {
    /// (W, v) → (c·W, c·v), c a power of two.
    #[test]
    fn scaling_currents_and_threshold_moves_no_spike(x in prop::collection::vec(-2f32..2.0, 60), leak in 0f32..=1.0, c in -6i32..6) {
        let neuron = Neuron { threshold: 0.7, leak };
        let c = 2f32.powi(c);
        let scaled = Neuron { threshold: c * neuron.threshold, leak };
        let y: Vec<f32> = x.iter().map(|x| c * x).collect();
        prop_assert_eq!(spikes(steps(6), neuron, &x), spikes(steps(6), scaled, &y));
    }

    /// A current that is computed once is the same as one computed in every step; spikes summed are the sum of spikes.
    #[test]
    fn a_constant_current_is_cached(x in prop::collection::vec(-2f32..2.0, 1..40), leak in 0f32..=1.0, t in 1usize..9) {
        let neuron = Neuron { threshold: 0.4, leak };
        let once = Steps { constant: true, ..steps(t) };
        let each = spikes(steps(t), neuron, &x.repeat(t));
        prop_assert_eq!(&spikes(once, neuron, &x), &each);
        let mut counts = vec![0f32; x.len()];
        each.iter().enumerate().for_each(|(i, s)| counts[i % x.len()] += s);
        prop_assert_eq!(spikes(Steps { count: true, ..once }, neuron, &x), counts);
    }

    /// One step, or no memory: a spike where the current is above the threshold. No current: no spike.
    #[test]
    fn without_memory_a_neuron_compares(x in prop::collection::vec(-2f32..2.0, 24), leak in 0f32..=1.0) {
        let above: Vec<f32> = x.iter().map(|&x| f32::from(u8::from(x > 0.5))).collect();
        prop_assert_eq!(&spikes(steps(1), Neuron { threshold: 0.5, leak }, &x), &above);
        prop_assert_eq!(&spikes(steps(8), Neuron { threshold: 0.5, leak: 0.0 }, &x), &above);
        prop_assert_eq!(spikes(steps(8), Neuron { threshold: 0.5, leak }, &[0.0; 24]), vec![0.0; 24]);
    }
}
