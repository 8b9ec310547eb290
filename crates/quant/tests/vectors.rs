//! Published vectors: exact optima by exhaustive search in rational arithmetic (`vectors/*.json` say how each was made).

use quant::grid::Grid;
use quant::methods::{lbw_optimum, lbw_semi_analytic, lbw_ternary};
use quant::{Granularity, ProjectOptions, ScaleKind, Solver, project};
use serde_json::Value;

fn load(text: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(text).unwrap();
    value["cases"].as_array().unwrap().clone()
}

fn floats(v: &Value) -> Vec<f32> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap() as f32)
        .collect()
}

fn ints(v: &Value) -> Vec<i32> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_i64().unwrap() as i32)
        .collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

/// `project`'s own way to the same numbers, where scales are normal f32.
fn through_project(case: &Value, grid: Grid, solver: Solver, want: &Value) {
    let w = floats(&case["w"]);
    let options = ProjectOptions {
        granularity: Granularity::Tensor,
        scale_kind: ScaleKind::PowerOfTwo,
        solver,
        ..ProjectOptions::default()
    };
    let p = project(&grid, &w, 1, &options).unwrap();
    let codes: Vec<u8> = ints(&want["codes"]).iter().map(|&c| grid.code(c)).collect();
    assert_eq!(p.codes, codes, "{grid} {case}");
    assert!(close(p.error, want["err"].as_f64().unwrap()), "{grid} {case}");
}

fn subnormal(case: &Value) -> bool {
    case["name"].as_str().is_some_and(|n| n.contains("subnormal"))
}

#[test]
fn optimum_equals_exhaustive_search() {
    for (file, full) in [
        (include_str!("vectors/lbw_projection.json"), false),
        (include_str!("vectors/lbw_projection_full.json"), true),
    ] {
        let cases = load(file);
        assert!(cases.len() >= 24);
        for case in &cases {
            let (w, n) = (floats(&case["w"]), case["n"].as_u64().unwrap() as u32);
            let best = lbw_optimum::solve(&w, n);
            assert_eq!(best.s, case["s"].as_i64().unwrap() as i32, "{case}");
            assert_eq!(best.codes, ints(&case["codes"]), "{case}");
            assert!(close(
                lbw_optimum::error(&w, best.s, n),
                case["err"].as_f64().unwrap()
            ));
            for (s, e) in case["err_by_s"].as_object().unwrap() {
                let direct = lbw_optimum::error(&w, s.parse().unwrap(), n);
                assert!(close(direct, e.as_f64().unwrap()), "s = {s}: {direct} {case}");
            }
            let bits = case["b"].as_u64().unwrap();
            let name = if full {
                format!("pow2-{bits}")
            } else {
                format!("lbw{bits}")
            };
            if let Ok(grid) = name.parse::<Grid>()
                && !subnormal(case)
            {
                through_project(case, grid, Solver::Optimum, case);
                let levels = ints(&case["level_ints"]);
                let of_codes: Vec<i32> = best
                    .codes
                    .iter()
                    .map(|&c| grid.levels()[usize::from(grid.code(c))])
                    .collect();
                assert_eq!(of_codes, levels, "{case}");
            }
        }
    }
}

#[test]
fn the_papers_own_solvers() {
    for case in load(include_str!("vectors/lbw_projection.json")) {
        let (w, n) = (floats(&case["w"]), case["n"].as_u64().unwrap() as u32);
        let (found, want, solver) = match n {
            1 => (
                lbw_ternary::solve(&w),
                &case["paper_ternary"],
                Solver::PaperTernary,
            ),
            _ => (
                lbw_semi_analytic::solve(&w, n, 0.75),
                &case["paper_heuristic"],
                Solver::SemiAnalytic,
            ),
        };
        assert_eq!(found.s, want["s"].as_i64().unwrap() as i32, "{case}");
        assert_eq!(found.codes, ints(&want["codes"]), "{case}");
        if !subnormal(&case) {
            through_project(&case, format!("lbw{}", case["b"]).parse().unwrap(), solver, want);
        }
    }
}

#[test]
fn planes_sum_to_the_levels_and_to_the_dot_product() {
    for case in load(include_str!("vectors/lbw_planes.json")) {
        let levels = ints(&case["level_ints"]);
        let planes = tensor::planes::split(&levels).unwrap();
        let want = case["planes"].as_array().unwrap();
        assert_eq!(planes.len(), want.len());
        let x = ints(&case["x_u8"]);
        let mut dot = 0i64;
        for ((plane, want), plane_dot) in planes.iter().zip(want).zip(ints(&case["plane_dots"])) {
            assert_eq!(u64::from(plane.shift), want["shift"].as_u64().unwrap());
            let entries: Vec<i32> = plane.entries.iter().map(|&e| e.into()).collect();
            assert_eq!(entries, ints(&want["i8"]));
            let sum: i32 = entries.iter().zip(&x).map(|(e, x)| e * x).sum();
            assert_eq!(sum, plane_dot);
            dot += i64::from(sum) << plane.shift;
        }
        assert_eq!(dot, case["dot"].as_i64().unwrap());
    }
}

#[test]
fn base_l_words() {
    for case in load(include_str!("vectors/lbw_packing.json")) {
        let n = (case["levels"].as_u64().unwrap() as u32 - 1) / 2;
        let word_bits = case["word_bits"].as_u64().unwrap() as u32;
        let codes = ints(&case["codes"]);
        let words: Vec<u64> = case["words"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| w.as_u64().unwrap())
            .collect();
        assert_eq!(
            tensor::radix::per_word(n, word_bits) as u64,
            case["per_word"].as_u64().unwrap()
        );
        assert_eq!(tensor::radix::pack(&codes, n, word_bits).unwrap(), words);
        assert_eq!(
            tensor::radix::unpack(&words, codes.len(), n, word_bits).unwrap(),
            codes
        );
    }
}
