//! Blended steps on quadratics: the published iterates, the descent that is proved, and the two ends of blending.

use quant::Granularity;
use testing::SplitMix64;
use train::method::bcgd::{Bcgd, Quantizer, blend};
use train::method::{Progress, WeightMethod};

use super::{doubles, floats, one_row, project, vectors};

fn multiply(h: &[Vec<f64>], x: &[f32]) -> Vec<f64> {
    h.iter()
        .map(|row| row.iter().zip(x).map(|(a, &b)| a * f64::from(b)).sum())
        .collect()
}

#[test]
fn blended_steps_follow_the_vectors_and_never_rise() {
    for case in vectors("blended") {
        let h: Vec<Vec<f64>> = case["H"].as_array().unwrap().iter().map(doubles).collect();
        let (lin, rho, eta) = (
            doubles(&case["lin"]),
            case["rho"].as_f64().unwrap(),
            case["eta"].as_f64().unwrap(),
        );
        let iterates = case["iterates"].as_array().unwrap();
        let mut wf = floats(&iterates[0]["wf"]);
        let mut last = f64::INFINITY;
        for want in iterates {
            for (got, want) in wf.iter().zip(doubles(&want["wf"])) {
                assert!((f64::from(*got) - want).abs() < 2e-6, "{got} {want}");
            }
            let w = project(1, Quantizer::Exact, &wf);
            let hw = multiply(&h, &w);
            let f: f64 = (0..w.len())
                .map(|i| f64::from(w[i]) * (0.5 * hw[i] - lin[i]))
                .sum();
            assert!((f - want["f"].as_f64().unwrap()).abs() < 1e-4 * f.abs());
            assert!(f <= last, "the loss rose from {last} to {f}");
            last = f;
            blend(&mut wf, &w, rho as f32);
            for i in 0..w.len() {
                wf[i] -= (eta * (hw[i] - lin[i])) as f32;
            }
        }
    }
}

/// f(w) = ½ wᵀHw − ⟨lin, w⟩ with H = AᵀA, and a bound of its curvature: the trace.
struct Quadratic {
    h: Vec<Vec<f64>>,
    lin: Vec<f64>,
}

impl Quadratic {
    fn random(n: usize, random: &mut SplitMix64) -> Quadratic {
        let mut draw = || random.unit() * 2.0 - 1.0;
        let a: Vec<Vec<f64>> = (0..n).map(|_| (0..n).map(|_| draw()).collect()).collect();
        let entry = |i: usize, j: usize| a.iter().map(|row| row[i] * row[j]).sum();
        Quadratic {
            h: (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect(),
            lin: (0..n).map(|_| draw()).collect(),
        }
    }

    fn value(&self, w: &[f32]) -> f64 {
        let hw = multiply(&self.h, w);
        (0..w.len())
            .map(|i| f64::from(w[i]) * (0.5 * hw[i] - self.lin[i]))
            .sum()
    }

    fn gradient(&self, w: &[f32]) -> Vec<f64> {
        let hw = multiply(&self.h, w);
        hw.iter().zip(&self.lin).map(|(a, b)| a - b).collect()
    }

    fn curvature(&self) -> f64 {
        (0..self.h.len()).map(|i| self.h[i][i]).sum()
    }
}

fn start(n: usize, random: &mut SplitMix64) -> Vec<f32> {
    (0..n).map(|_| (random.unit() * 2.0 - 1.0) as f32).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum()
}

/// The method's own steps, plain gradient descent as optimizer: shadow weights and projected ones after each.
fn run(q: &Quadratic, wf: &[f32], bits: u32, rho: f32, eta: f64, steps: usize) -> Vec<[Vec<f32>; 2]> {
    let mut method = Bcgd::new(
        bits,
        Quantizer::Exact,
        Granularity::Tensor,
        rho,
        one_row(wf.len()),
        1,
    );
    let (mut wf, mut all) = (wf.to_vec(), Vec::new());
    for step in 0..steps as u64 {
        let mut w = vec![0.0; wf.len()];
        let at = Progress {
            step,
            steps: steps as u64,
        };
        method.project(&wf, &at, &mut w).unwrap();
        let mut g: Vec<f32> = q.gradient(&w).iter().map(|&g| g as f32).collect();
        method.gradient(&wf, &w, &mut g);
        all.push([wf.clone(), w.clone()]);
        method.before_update(&mut wf, &w);
        wf.iter_mut().zip(&g).for_each(|(x, g)| *x -= eta as f32 * g);
        method.after_update(&mut wf);
    }
    all
}

/// ρ = 0 is BinaryConnect, w_f − η·g; ρ = 1 is projected gradient descent, proj(w) − η·g: no memory but the projected weights.
#[test]
fn blending_of_nothing_and_of_all_are_the_two_known_methods() {
    let mut random = SplitMix64(11);
    for bits in [1, 2, 4] {
        for _ in 0..10 {
            let q = Quadratic::random(6, &mut random);
            let (begin, eta) = (start(6, &mut random), 0.3 / q.curvature());
            for (rho, keeps_shadow) in [(0.0, true), (1.0, false)] {
                let mut wf = begin.clone();
                for [shadow, projected] in run(&q, &begin, bits, rho, eta, 20) {
                    for (have, want) in shadow.iter().zip(&wf) {
                        assert!(
                            (have - want).abs() < 1e-5,
                            "{bits} bits, rho {rho}: {have} {want}"
                        );
                    }
                    // From the method's own numbers on, so that rounding does not add up.
                    let from = if keeps_shadow { &shadow } else { &projected };
                    let w = project(bits, Quantizer::Exact, &shadow);
                    assert_eq!(w, projected);
                    let g = q.gradient(&w);
                    wf = from.iter().zip(g).map(|(x, g)| x - (eta * g) as f32).collect();
                }
            }
        }
    }
}

/// Projected gradient descent stalls: three weights hold the scale, and the step of the fourth, whose sign is wrong, is smaller than its way to zero and
/// forgotten each time. Without blending the steps add up.
#[test]
fn blending_of_all_stalls_at_small_steps_and_nothing_does_not() {
    let row = |i: usize| (0..4).map(|j| f64::from(u8::from(i == j))).collect();
    let q = Quadratic {
        h: (0..4).map(row).collect(),
        lin: vec![1.0, 1.0, 1.0, -1.0],
    };
    let last = |rho: f32| run(&q, &[0.5; 4], 1, rho, 0.02, 200).pop().unwrap()[1].clone();
    let [stalled, moved] = [1.0, 0.0].map(last);
    assert!(stalled[3] > 0.0 && moved[3] < 0.0, "{stalled:?} {moved:?}");
    assert!(q.value(&moved) < q.value(&stalled));
}

/// `methods/bcgd.md` §3.1 with an exact projection:
/// f(w⁺) − f(w) ≤ −((1−ρ)/2η)·(‖w⁺−w_f‖² − ‖w−w_f‖²) − ½(ρ/η − L)·‖w⁺−w‖², so that f never rises for η ≤ ρ/L. Without blending it may.
#[test]
fn blended_steps_descend_as_proved() {
    let mut random = SplitMix64(12);
    let mut rose_without = 0;
    for round in 0..600 {
        let bits = [1, 2, 3][round % 3];
        let q = Quadratic::random(5, &mut random);
        let (begin, most) = (start(5, &mut random), q.curvature());
        let rho = 0.05 + 0.9 * random.unit();
        let eta = rho / most;
        let blended = run(&q, &begin, bits, rho as f32, eta, 6);
        for pair in blended.windows(2) {
            let ([wf, w], [_, next]) = (&pair[0], &pair[1]);
            let change = q.value(next) - q.value(w);
            let bound = -((1.0 - rho) / (2.0 * eta)) * (distance(next, wf) - distance(w, wf))
                - 0.5 * (rho / eta - most) * distance(next, w);
            assert!(change <= bound + 1e-5, "{bits} bits: {change} above {bound}");
            assert!(change <= 1e-5, "the loss rose by {change}");
        }
        let plain = run(&q, &begin, bits, 0.0, eta, 6);
        let rises = |pair: &[[Vec<f32>; 2]]| q.value(&pair[1][1]) > q.value(&pair[0][1]) + 1e-5;
        rose_without += plain.windows(2).filter(|pair| rises(pair)).count();
    }
    assert!(rose_without > 0, "without blending some steps rise");
}
