//! Permitted relative error ‖w − ŵ‖²/‖w‖² in % for each grid on Gaussian and Laplacian weights, real scale per tensor.
//!
//! Upper ends are measured values with 3 % of slack; a method that gets worse fails here, one that gets better by a tenth should lower its
//! row. The figures of `lbw*`, `pow2-*` and `int*` agree with the literature's simulation for 2^17 weights.

use quant::grid::Grid;
use quant::{Granularity, ProjectOptions, ScaleKind, Solver, project};

const COUNT: usize = 1 << 15;

/// Grid, Gauss real, Gauss 2^s, Laplace real, Laplace 2^s; 2^s averaged over 8 phases of the scale.
const TABLE: &[(&str, [f64; 4])] = &[
    ("binary", [36.6743, 39.0868, 50.2353, 52.1088]),
    ("lbw2", [19.2151, 21.1846, 26.4304, 27.9035]),
    ("ternary", [19.2151, 21.1846, 26.4304, 27.9035]),
    ("int2", [19.2151, 21.1846, 26.4304, 27.9035]),
    ("affine2", [15.1557, 27.8496, 20.6292, 42.0769]),
    ("lbw3", [8.3051, 9.6177, 13.3673, 14.5094]),
    ("pow2-3", [4.8177, 5.3568, 7.1730, 7.8755]),
    ("int3", [4.7603, 5.6472, 8.4010, 9.3469]),
    ("affine3", [4.0965, 6.0978, 7.2572, 12.8980]),
    ("apot3", [4.8177, 5.3568, 7.1730, 7.8755]),
    ("lbw4", [4.0460, 4.1655, 4.8699, 5.1202]),
    ("pow2-4", [3.7714, 3.8221, 3.7594, 3.8330]),
    ("int4", [1.3437, 1.6852, 2.8590, 3.3019]),
    ("affine4", [1.2344, 1.6201, 2.6239, 3.6482]),
    ("apot4", [1.2395, 1.4380, 2.0976, 2.3952]),
    ("lbw5", [3.7702, 3.8204, 3.7537, 3.8218]),
    ("lbw5-i8", [3.7524, 3.8058, 3.7380, 3.8131]),
    ("int5", [0.3916, 0.5170, 0.9593, 1.1463]),
    ("affine5", [0.3753, 0.4973, 0.9256, 1.1163]),
    ("apot5", [0.6012, 0.6236, 0.6793, 0.7301]),
    ("lbw6", [3.7700, 3.8202, 3.7528, 3.8198]),
    ("int6", [0.1173, 0.1584, 0.3091, 0.3900]),
    ("affine6", [0.1144, 0.1544, 0.3007, 0.3806]),
    ("apot6", [0.1891, 0.1994, 0.2160, 0.2299]),
    ("int7", [0.0337, 0.0497, 0.0911, 0.1270]),
    ("affine7", [0.0339, 0.0489, 0.0894, 0.1254]),
    ("apot7", [0.1149, 0.1168, 0.1158, 0.1195]),
    ("int8", [0.0093, 0.0147, 0.0256, 0.0393]),
    ("affine8", [0.0093, 0.0200, 0.0249, 0.0451]),
    ("apot8", [0.0623, 0.0608, 0.0531, 0.0537]),
];

fn samples(laplace: bool) -> Vec<f32> {
    let mut state = 20_161_219u64;
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let one = |_| {
        let (u, v) = (uniform(), uniform());
        let x = if laplace {
            u.ln().copysign(v - 0.5)
        } else {
            (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        x as f32
    };
    (0..COUNT).map(one).collect()
}

fn percent(grid: Grid, w: &[f32], scale_kind: ScaleKind, solver: Solver) -> f64 {
    let options = ProjectOptions {
        granularity: Granularity::Tensor,
        scale_kind,
        solver,
        ..ProjectOptions::default()
    };
    let phases = if scale_kind == ScaleKind::PowerOfTwo { 8 } else { 1 };
    let at = |phase: i32| {
        let scaled: Vec<f32> = w.iter().map(|x| x * (phase as f32 / 8.0).exp2()).collect();
        project(&grid, &scaled, 1, &options).unwrap().relative_error()
    };
    100.0 * (0..phases).map(at).sum::<f64>() / f64::from(phases)
}

#[test]
fn every_grid_stays_below_its_permitted_error() {
    let data = [samples(false), samples(true)];
    let mut failures = Vec::new();
    let mut missing: Vec<Grid> = Grid::all();
    for (name, permitted) in TABLE {
        let grid: Grid = name.parse().unwrap();
        missing.retain(|g| *g != grid);
        let measured: Vec<f64> = data
            .iter()
            .flat_map(|w| {
                [ScaleKind::Real, ScaleKind::PowerOfTwo].map(|kind| percent(grid, w, kind, Solver::Optimum))
            })
            .collect();
        let row = || {
            measured
                .iter()
                .map(|m| format!("{:.4}", m))
                .collect::<Vec<_>>()
                .join(", ")
        };
        if measured.iter().zip(permitted).any(|(m, p)| *m > p * 1.03) {
            failures.push(format!("    (\"{name}\", [{}]),", row()));
        }
    }
    for grid in missing {
        let measured: Vec<String> = data
            .iter()
            .flat_map(|w| {
                [ScaleKind::Real, ScaleKind::PowerOfTwo].map(|kind| percent(grid, w, kind, Solver::Optimum))
            })
            .map(|m| format!("{m:.4}"))
            .collect();
        failures.push(format!("    (\"{grid}\", [{}]),", measured.join(", ")));
    }
    assert!(
        failures.is_empty(),
        "above the table, or not in it:\n{}",
        failures.join("\n")
    );
}

/// The paper's thresholds at μ = ¾·max|w| cost about twice the optimum at 4 and 5 bits; users compare with these.
#[test]
fn the_papers_thresholds_are_worse_than_the_optimum() {
    let gauss = samples(false);
    for bits in 3..=6 {
        let grid: Grid = format!("lbw{bits}").parse().unwrap();
        let optimum = percent(grid, &gauss, ScaleKind::PowerOfTwo, Solver::Optimum);
        let paper = percent(grid, &gauss, ScaleKind::PowerOfTwo, Solver::SemiAnalytic);
        assert!(
            paper > 1.3 * optimum,
            "lbw{bits}: {paper:.2} % against {optimum:.2} %"
        );
    }
}
