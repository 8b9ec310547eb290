//! `quantize --average-bits`: a grid for each layer.

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
    let ran = run("quantize --average-bits 4 --keep heads --dry-run", &[&model]).code(2);
    assert!(ran.stderr.contains("did you mean"), "{}", ran.stderr);
    let ran = run("quantize --average-bits 4 --dry-run", &[&model]).code(2);
    assert!(ran.stderr.contains("a dry run sees none"), "{}", ran.stderr);
}
