//! The two-linear-layer model of the BCGD theory (arXiv 1808.05240 §4): population quantities against the vectors, against finite
//! differences, and against samples drawn through our quantized ReLU.

use serde_json::Value;
use testing::SplitMix64;
use train::method::activation::{Fake, rule};
use train::program::Rounding;

const ROOT_2PI: f64 = 2.506_628_274_631_000_5;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

struct Model {
    v: Vec<f64>,
    w: Vec<f64>,
    v_star: Vec<f64>,
    w_star: Vec<f64>,
}

impl Model {
    fn angle(&self) -> f64 {
        (dot(&self.w, &self.w_star) / norm(&self.w) / norm(&self.w_star))
            .clamp(-1.0, 1.0)
            .acos()
    }

    /// xᵀ(c·I + 11ᵀ)y.
    fn form(x: &[f64], c: f64, y: &[f64]) -> f64 {
        c * dot(x, y) + x.iter().sum::<f64>() * y.iter().sum::<f64>()
    }

    fn loss(&self) -> f64 {
        let c = 1.0 - 2.0 * self.angle() / std::f64::consts::PI;
        let (v, s) = (&self.v, &self.v_star);
        (Self::form(v, 1.0, v) - 2.0 * Self::form(v, c, s) + Self::form(s, 1.0, s)) / 8.0
    }

    fn grad_v(&self) -> Vec<f64> {
        let c = 1.0 - 2.0 * self.angle() / std::f64::consts::PI;
        let (sum, sum_star): (f64, f64) = (self.v.iter().sum(), self.v_star.iter().sum());
        (self.v.iter().zip(&self.v_star))
            .map(|(v, s)| (v + sum - c * s - sum_star) / 4.0)
            .collect()
    }

    fn grad_w(&self) -> Vec<f64> {
        let n = norm(&self.w);
        let along = dot(&self.w, &self.w_star) / n;
        let e: Vec<f64> = (self.w_star.iter().zip(&self.w))
            .map(|(s, w)| s - along * w / n)
            .collect();
        let scale = -dot(&self.v, &self.v_star) / (2.0 * std::f64::consts::PI * n) / norm(&e);
        e.iter().map(|x| x * scale).collect()
    }

    fn h(&self) -> f64 {
        let (sum, sum_star): (f64, f64) = (self.v.iter().sum(), self.v_star.iter().sum());
        dot(&self.v, &self.v) + sum * sum - sum * sum_star + dot(&self.v, &self.v_star)
    }

    /// Expected coarse gradient with the ReLU proxy.
    fn coarse(&self) -> Vec<f64> {
        let n = norm(&self.w);
        let unit: Vec<f64> = self.w.iter().map(|w| w / n).collect();
        let bisector: Vec<f64> = unit.iter().zip(&self.w_star).map(|(a, b)| a + b).collect();
        let length = norm(&bisector);
        let second = (self.angle() / 2.0).cos() * dot(&self.v, &self.v_star) / ROOT_2PI / length;
        let first = self.h() / (2.0 * ROOT_2PI);
        (unit.iter().zip(&bisector))
            .map(|(u, b)| first * u - second * b)
            .collect()
    }
}

fn cases() -> Vec<(Value, Model)> {
    let all: Value = serde_json::from_str(include_str!("../vectors/bcgd.json")).unwrap();
    let of = |v: &Value| {
        v.as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect()
    };
    let cases = all["two_layer"].as_array().unwrap();
    (cases.iter().cloned())
        .map(|c| {
            let model = Model {
                v: of(&c["v"]),
                w: of(&c["w"]),
                v_star: of(&c["v_star"]),
                w_star: of(&c["w_star"]),
            };
            (c, model)
        })
        .collect()
}

#[test]
fn population_quantities_equal_the_vectors() {
    for (case, model) in cases() {
        let close = |a: f64, key: &str| {
            let b = case[key].as_f64().unwrap();
            assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{key}: {a} {b}");
        };
        close(model.angle(), "theta");
        close(model.h(), "h");
        close(model.loss(), "f");
        close(dot(&model.coarse(), &model.grad_w()), "inner_product");
        for (key, got) in [
            ("grad_v", model.grad_v()),
            ("grad_w", model.grad_w()),
            ("coarse_grad_w_relu", model.coarse()),
        ] {
            for (i, g) in got.iter().enumerate() {
                assert!((g - case[key][i].as_f64().unwrap()).abs() < 1e-9, "{key}[{i}]");
            }
        }
        let vv = dot(&model.v, &model.v_star);
        let formula = model.angle().sin() * vv * vv / (2.0 * ROOT_2PI.powi(3) * norm(&model.w));
        close(formula, "inner_product");
    }
}

#[test]
fn gradients_equal_differences_of_the_loss() {
    for (_, mut model) in cases() {
        let (gv, gw) = (model.grad_v(), model.grad_w());
        let eps = 1e-5;
        for (i, want) in gv.iter().enumerate() {
            let at = model.v[i];
            model.v[i] = at + eps;
            let high = model.loss();
            model.v[i] = at - eps;
            let slope = (high - model.loss()) / (2.0 * eps);
            model.v[i] = at;
            assert!((slope - want).abs() < 1e-8);
        }
        for (i, want) in gw.iter().enumerate() {
            let at = model.w[i];
            model.w[i] = at + eps;
            let high = model.loss();
            model.w[i] = at - eps;
            let slope = (high - model.loss()) / (2.0 * eps);
            model.w[i] = at;
            assert!((slope - want).abs() < 1e-8);
        }
    }
}

fn normal(rng: &mut SplitMix64) -> f64 {
    let (u, t) = (1.0 - rng.unit(), rng.unit());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * t).cos()
}

/// One bit with a step that no sample passes is σ(x) = 1{x > 0} in units of the step, and its coarse derivative the ReLU proxy.
#[test]
fn samples_through_the_quantized_relu_meet_the_expectations() {
    const STEP: f32 = 1024.0;
    let sigma = Fake {
        step: STEP,
        zero_point: 0,
        bits: 1,
        rounding: Rounding::Up,
    };
    let (_, model) = cases().remove(0);
    let (m, n) = (model.v.len(), model.w.len());
    let mut rng = SplitMix64(5);
    let samples = 40_000;
    let (mut loss, mut coarse) = (0.0, vec![0.0; n]);
    for _ in 0..samples {
        let z: Vec<Vec<f64>> = (0..m)
            .map(|_| (0..n).map(|_| normal(&mut rng)).collect())
            .collect();
        let y = |v: &[f64], w: &[f64]| -> f64 {
            (v.iter().zip(&z))
                .map(|(v, row)| v * f64::from(sigma.value(dot(row, w) as f32) / STEP))
                .sum()
        };
        let residual = y(&model.v, &model.w) - y(&model.v_star, &model.w_star);
        loss += residual * residual / 2.0;
        for (row, v) in z.iter().zip(&model.v) {
            let (slope, _) = sigma.derivatives(dot(row, &model.w) as f32, rule("bcgd-3").unwrap());
            for (c, z) in coarse.iter_mut().zip(row) {
                *c += residual * v * f64::from(slope) * z;
            }
        }
    }
    let samples = f64::from(samples);
    assert!((loss / samples - model.loss()).abs() < 0.05, "{}", loss / samples);
    for (got, want) in coarse.iter().zip(model.coarse()) {
        assert!((got / samples - want).abs() < 0.05, "{} {want}", got / samples);
    }
}

fn random_model(rng: &mut SplitMix64) -> Model {
    let mut draw = |k: usize| (0..k).map(|_| normal(rng)).collect::<Vec<f64>>();
    let (v, w, v_star, mut star) = (draw(4), draw(6), draw(4), draw(6));
    let length = norm(&star);
    star.iter_mut().for_each(|x| *x /= length);
    Model {
        v,
        w,
        v_star,
        w_star: star,
    }
}

/// Where both gradients vanish: the minimum, its opposite θ = π, and orthogonal v at one angle. (I + 11ᵀ)⁻¹ = I − 11ᵀ/(m + 1).
#[test]
fn stationary_points_are_the_three_of_the_theory() {
    let mut rng = SplitMix64(21);
    let mut third = 0;
    for _ in 0..200 {
        let mut model = random_model(&mut rng);
        let (m, star) = (model.v.len() as f64, model.v_star.clone());
        let total: f64 = star.iter().sum();
        // 1. The teacher itself.
        (model.v, model.w) = (star.clone(), model.w_star.clone());
        // acos loses half of the digits at its ends.
        assert!(model.loss().abs() < 1e-6);
        assert!((model.h() - 2.0 * dot(&star, &star)).abs() < 1e-9);
        assert!(norm(&model.grad_v()) + norm(&model.coarse()) < 1e-6);
        // 2. The opposite direction, v = (I + 11ᵀ)⁻¹(11ᵀ − I)v*: h = 0.
        model.v = star.iter().map(|s| 2.0 * total / (m + 1.0) - s).collect();
        model.w = model.w_star.iter().map(|w| -w).collect();
        assert!(norm(&model.grad_v()) < 1e-6 && model.h().abs() < 1e-9);
        // 3. vᵀv* = 0 at θ = (π/2)(m+1)‖v*‖²/((m+1)‖v*‖² − (1ᵀv*)²), where that is below π.
        let square = (m + 1.0) * dot(&star, &star);
        let angle = std::f64::consts::FRAC_PI_2 * square / (square - total * total);
        if angle < std::f64::consts::PI {
            third += 1;
            let mut side = random_model(&mut rng).w_star;
            let along = dot(&side, &model.w_star);
            side.iter_mut()
                .zip(&model.w_star)
                .for_each(|(s, w)| *s -= along * w);
            let length = norm(&side);
            model.w = (model.w_star.iter().zip(&side))
                .map(|(w, s)| angle.cos() * w + angle.sin() * s / length)
                .collect();
            // The v of ∇_v f = 0: (I + 11ᵀ)⁻¹(c·I + 11ᵀ)v*.
            let c = 1.0 - 2.0 * angle / std::f64::consts::PI;
            model.v = star
                .iter()
                .map(|s| c * s + (1.0 - c) * total / (m + 1.0))
                .collect();
            assert!(dot(&model.v, &star).abs() < 1e-9, "v is orthogonal to v*");
            assert!(norm(&model.grad_v()) < 1e-6 && model.h().abs() < 1e-9);
            assert!(norm(&model.coarse()) < 1e-6);
        }
    }
    assert!(third > 20, "{third}");
}

#[test]
fn population_coarse_descent_ends_at_the_minimum_or_at_the_opposite() {
    let mut rng = SplitMix64(9);
    let (mut minimum, mut opposite) = (0, 0);
    for _ in 0..40 {
        let mut model = random_model(&mut rng);
        for _ in 0..20_000 {
            let (gv, gw) = (model.grad_v(), model.coarse());
            if norm(&gv) + norm(&gw) < 1e-12 {
                break;
            }
            model.v.iter_mut().zip(gv).for_each(|(v, g)| *v -= 0.05 * g);
            model.w.iter_mut().zip(gw).for_each(|(w, g)| *w -= 0.05 * g);
        }
        if model.angle() < 0.05 {
            minimum += 1;
        } else if model.angle() > 3.0 {
            opposite += 1;
        }
    }
    assert_eq!(minimum + opposite, 40, "{minimum} at 0, {opposite} at π");
    assert!(minimum > 20);
}
