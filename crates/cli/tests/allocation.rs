//! Budgets of `quantize`: a grid for each layer.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{detector, pictures, run};
use serde_json::Value;

fn quantize(flags: &str, model: &Path, calib: &Path, out: &Path) -> Value {
    let words = format!("quantize --threads 1 --json {flags} --calib");
    run(&words, &[calib, model, "-o".as_ref(), out]).code(0).json()
}

#[test]
fn all_layers_together_keep_to_the_average_and_the_file_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 6));
    let mut last = f64::INFINITY;
    for bits in [6.0, 7.0, 9.0] {
        let out = dir.path().join(format!("{bits}.onnx"));
        let report = quantize(
            &format!("--average-bits {bits} --keep none"),
            &model,
            &calib,
            &out,
        );
        let size = report["size"]["bits_per_weight"].as_f64().unwrap();
        assert!(size <= bits, "{size} of {bits}");
        // What the layers were promised falls with the budget.
        let layers = report["allocation"].as_array().unwrap();
        let promised: f64 = layers
            .iter()
            .map(|l| {
                let offers = l["offers"].as_array().unwrap().iter();
                let mut chosen = offers.filter(|o| o["grid"] == l["grid"]);
                chosen.next().unwrap()["error"].as_f64().unwrap()
            })
            .sum();
        assert!(promised <= last, "{bits}: {promised} {last}");
        last = promised;
        let grids: BTreeSet<&str> = layers.iter().map(|l| l["grid"].as_str().unwrap()).collect();
        assert!(grids.len() > 1 || bits > 8.0, "{bits}: {grids:?}");
        run("verify --threads 1", &[&out]).code(0);
    }
}

#[test]
fn overrides_stay_and_the_grids_are_those_named() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 4));
    let out = dir.path().join("out.onnx");
    let flags = "--average-bits 8 --among lbw3,int4,pow2-4x2 --tensor-type first=int6";
    let report = quantize(flags, &model, &calib, &out);
    for layer in report["layers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| l["grid"] != "float")
    {
        let grid = layer["grid"].as_str().unwrap();
        match layer["role"].as_str() {
            Some("first") => assert_eq!(grid, "int6"),
            Some("head") => assert_eq!(grid, "int8"),
            _ => assert!(["lbw3", "int4", "pow2-4x2"].contains(&grid), "{grid}"),
        }
    }
}

#[test]
fn budgets_that_nothing_fits_are_told_with_the_least() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 3));
    let out = dir.path().join("out.onnx");
    let words = "quantize --threads 1 --average-bits 1 --keep none --calib";
    let ran = run(words, &[&calib, &model, "-o".as_ref(), &out]).code(2);
    assert!(ran.stderr.contains("the least is "), "{}", ran.stderr);
    assert!(!out.exists());
    let ran = run("quantize --grid int4 --among int4 --dry-run", &[&model]).code(2);
    assert!(ran.stderr.contains("go with --average-bits"), "{}", ran.stderr);
    for (budget, least) in [
        ("--budget-size 10", "KiB"),
        ("--budget-bitops 1%", "bit operations"),
        ("--budget-bitops 7", "bit operations"),
        ("--budget-time 0.000001ms", " ms"),
    ] {
        let words = format!("quantize --threads 1 {budget} --calib");
        let ran = run(&words, &[&calib, &model, "-o".as_ref(), &out]).code(2);
        let told = ran.stderr.split("the least is ").nth(1);
        assert!(
            told.is_some_and(|t| t.contains(least)),
            "{budget}: {}",
            ran.stderr
        );
        // Before the layers are surveyed.
        assert!(!ran.stderr.contains("sensitivity"), "{}", ran.stderr);
    }
    for (words, want) in [
        ("--budget-size 0", "above 0"),
        ("--budget-bitops 0%", "such as 60%"),
        ("--budget-bitops many", "such as 60%"),
        ("--budget-time soon", "such as 90s"),
        ("--budget-time 0", "a number above 0"),
        ("--budget-size 1MiB --average-bits 4", "cannot be used with"),
        ("--budget-time 3ms --grid int4", "cannot be used with"),
        ("--budget-size 1MiB --extra-rows 10", "extra rows would add"),
    ] {
        let words = format!("quantize {words} --calib");
        let ran = run(&words, &[&calib, &model, "-o".as_ref(), &out]).code(2);
        assert!(ran.stderr.contains(want), "{words}: {}", ran.stderr);
    }
    assert!(!out.exists());
    let ran = run("quantize --average-bits 4 --keep heads --dry-run", &[&model]).code(2);
    assert!(ran.stderr.contains("did you mean"), "{}", ran.stderr);
    let ran = run("quantize --average-bits 4 --dry-run", &[&model]).code(2);
    assert!(ran.stderr.contains("a dry run sees none"), "{}", ran.stderr);
}

/// What is counted, where that is known beforehand, is what the whole model then has.
#[test]
fn files_and_bit_operations_keep_to_their_budgets() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 4));
    let out = dir.path().join("out.onnx");
    let at = |grid: &str| {
        let report = quantize(&format!("--grid {grid}"), &model, &calib, &out);
        report["output_bytes"].as_u64().unwrap()
    };
    let (narrow, wide) = (at("pow2-3"), at("int8"));
    for budget in [(narrow + 2 * wide) / 3, (narrow + 4 * wide) / 5] {
        let report = quantize(
            &format!("--budget-size {budget} --keep none"),
            &model,
            &calib,
            &out,
        );
        let file = std::fs::metadata(&out).unwrap().len();
        let spent = &report["spent"];
        assert!(file <= budget, "{file} of {budget}");
        assert_eq!(spent["measured"].as_f64(), Some(file as f64));
        assert_eq!(spent["unit"], "bytes");
        let predicted = spent["predicted"].as_f64().unwrap();
        assert!((predicted / file as f64 - 1.0).abs() < 0.02, "{predicted} {file}");
        assert!(file as f64 > 0.9 * budget as f64, "{file} of {budget}");
        run("verify --threads 1", &[&out]).code(0);
    }
    let report = quantize("--budget-bitops 60% --keep none", &model, &calib, &out);
    let spent = &report["spent"];
    let number = |key: &str| spent[key].as_f64().unwrap();
    assert!(number("measured") == number("predicted") && number("measured") <= number("limit"));
    assert!(number("measured") > 0.8 * number("limit") && number("least") < number("measured"));
    // A share is one of the int8 model's.
    let all = run("inspect --json", &[&model]).code(0).json()["macs"]
        .as_f64()
        .unwrap();
    assert!((number("limit") - 0.6 * 64.0 * all).abs() <= 1.0);
    assert_eq!(report["settings"]["budget"][0], "budget-bitops");
    assert_eq!(report["settings"]["budget"][1], "60%");
}

/// No time is asserted: what a machine needs is its own affair. That it was measured is.
#[test]
fn a_budget_of_time_is_predicted_and_measured() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 4));
    let out = dir.path().join("out.onnx");
    let report = quantize("--budget-time 10s --among int4,int8,lbw6", &model, &calib, &out);
    let spent = &report["spent"];
    let number = |key: &str| spent[key].as_f64().unwrap();
    assert_eq!(spent["unit"], "milliseconds");
    assert!(number("least") > 0.0 && number("least") <= number("predicted"));
    assert!(number("measured") > 0.0 && number("limit") == 10_000.0);
    // With all the time there is, each layer has its best grid.
    for layer in report["allocation"].as_array().unwrap() {
        let offers = layer["offers"].as_array().unwrap();
        let error = |o: &Value| o["error"].as_f64().unwrap();
        let least = offers.iter().map(error).fold(f64::INFINITY, f64::min);
        let mut chosen = offers.iter().filter(|o| o["grid"] == layer["grid"]);
        assert_eq!(error(chosen.next().unwrap()), least, "{layer}");
    }
    let words = "quantize --threads 1 --budget-time 10s --calib";
    let ran = run(words, &[&calib, &model, "-o".as_ref(), &out]).code(0);
    assert!(
        ran.stdout.contains("budget   10000 ms a picture: predicted "),
        "{}",
        ran.stdout
    );
}

#[test]
fn the_next_command_asks_for_the_same_budget() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 3));
    let out = dir.path().join("out.onnx");
    quantize("--budget-bitops 80% --keep none", &model, &calib, &out);
    let config = run("analyze --quiet --emit config --data", &[&calib, &model, &out])
        .code(0)
        .stdout;
    assert!(config.contains("budget-bitops = \"80%\""), "{config}");
}
