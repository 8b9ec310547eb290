//! `quantize --max-drop`: a model that loses no more, or exit code 1 with the best one.

mod common;

use std::path::Path;

use common::{detector, pictures, run, yolo_data};
use serde_json::Value;

/// As in the reports.
fn drops(report: &Value) -> Vec<f64> {
    let tries = report["search"]["tries"].as_array().unwrap();
    tries.iter().map(|t| t["drop"].as_f64().unwrap()).collect()
}

#[test]
fn a_wish_that_is_good_enough_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 4));
    let (plain, out) = (dir.path().join("plain.onnx"), dir.path().join("out.onnx"));
    run(
        "quantize --threads 1 --quiet --grid int4 --calib",
        &[&calib, &model, "-o".as_ref(), &plain],
    )
    .code(0);
    let report = run(
        "quantize --threads 1 --json --grid int4 --max-drop 1 --calib",
        &[&calib, &model, "-o".as_ref(), &out],
    )
    .code(0)
    .json();
    assert_eq!(drops(&report).len(), 1);
    assert_eq!(report["search"]["measure"], "agreement");
    assert_eq!(std::fs::read(&plain).unwrap(), std::fs::read(&out).unwrap());
}

#[test]
fn wider_grids_are_tried_until_one_is_good_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 6));
    let out = dir.path().join("out.onnx");
    let lost = |grid: &str| {
        let words = format!("quantize --threads 1 --json --force --grid {grid} --calib");
        let report = run(&words, &[&calib, &model, "-o".as_ref(), &out]).code(0).json();
        1.0 - report["agreement"].as_f64().unwrap()
    };
    let (narrow, wide) = (lost("lbw2"), lost("int8"));
    assert!(wide < narrow, "{wide} {narrow}");
    let most = (narrow + 2.0 * wide) / 3.0;
    let words = format!("quantize --threads 1 --json --grid lbw2 --max-drop {most} --calib");
    let report = run(&words, &[&calib, &model, "-o".as_ref(), &out]).code(0).json();
    let drops = drops(&report);
    let drop = report["search"]["drop"].as_f64().unwrap();
    assert!(drops.len() > 2 && drops[0] > most && drop <= most, "{drops:?}");
    assert!(report["search"]["reason"].is_null());
    // The file is the narrowest that was good enough.
    let tries = report["search"]["tries"].as_array().unwrap();
    let bits = |t: &Value| t["bits_per_weight"].as_f64().unwrap();
    let good = tries.iter().filter(|t| t["drop"].as_f64().unwrap() <= most);
    let narrowest = good.map(bits).fold(f64::INFINITY, f64::min);
    assert_eq!(report["size"]["bits_per_weight"].as_f64(), Some(narrowest));
    assert_eq!(report["agreement"].as_f64(), Some(1.0 - drop));
    run("verify --threads 1", &[&out]).code(0);
}

#[test]
fn a_drop_that_nothing_keeps_to_is_told_with_the_best_model() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 3));
    let out = dir.path().join("out.onnx");
    let words = "quantize --threads 1 --grid int4 --max-drop 0 --calib";
    let paths: [&Path; 4] = [&calib, &model, "-o".as_ref(), &out];
    let ran = run(words, &paths).code(1);
    for part in [
        "no model that loses 0.00 points",
        "even eight bits in every layer",
        "the best one",
        "--force writes it",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert!(!out.exists());
    let ran = run(&words.replace("--calib", "--force --json --calib"), &paths).code(1);
    let report = ran.json();
    let least = drops(&report).into_iter().fold(f64::INFINITY, f64::min);
    assert_eq!(report["search"]["drop"].as_f64(), Some(least));
    assert!(out.exists());
}

#[test]
fn with_ground_truth_the_drop_is_one_of_map() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib, data) = (
        detector(dir.path()),
        pictures(dir.path(), 3),
        yolo_data(dir.path(), 3),
    );
    let out = dir.path().join("out.onnx");
    let words = "quantize --threads 1 --json --grid int8 --max-drop 0.5 --split val --data";
    let report = run(
        words,
        &[&data, "--calib".as_ref(), &calib, &model, "-o".as_ref(), &out],
    )
    .code(0)
    .json();
    assert_eq!(report["search"]["measure"], "map");
    let eval = |model: &Path| {
        let result = run("eval --threads 1 --json --split val --data", &[&data, model])
            .code(0)
            .json();
        result["metrics"]["map50"].as_f64().unwrap()
    };
    let want = eval(&model) - eval(&out);
    assert!((report["search"]["drop"].as_f64().unwrap() - want).abs() < 1e-12);
}

#[test]
fn what_makes_no_sense_is_told_before_work_begins() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 2));
    for (words, want) in [
        ("--grid int4 --max-drop 2", "a number in 0…1"),
        ("--grid int4 --max-drop nan", "a number in 0…1"),
        ("--max-drop 0.1", "give --grid NAME"),
        (
            "--grid int4 --data pictures",
            "--data is what --max-drop measures on",
        ),
        ("--grid int4 --max-drop 0.1 --extra-rows 10", "not extra rows"),
    ] {
        let words = format!("quantize {words} --calib");
        let ran = run(&words, &[&calib, &model]).code(2);
        assert!(ran.stderr.contains(want), "{words}: {}", ran.stderr);
        assert!(!ran.stderr.contains("equalize"), "{}", ran.stderr);
    }
}
