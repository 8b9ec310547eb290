//! Several points a weight: from the command line to the engine.

mod common;

use std::path::Path;

use common::{detector, pictures, run};
use serde_json::Value;

fn quantize(flags: &str, model: &Path, calib: &Path, out: &Path) -> Value {
    let words = format!("quantize --threads 1 --json {flags} --calib");
    run(&words, &[calib, model, "-o".as_ref(), out]).code(0).json()
}

/// The engine's bytes are those of the program of FORMAT.md.
fn verified(out: &Path) {
    run("verify --threads 1", &[out]).code(0);
}

#[test]
fn grids_of_two_points_run_in_integers_and_equal_the_oracle() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 6));
    let (mut errors, mut shares) = (Vec::new(), Vec::new());
    for grid in ["ternary", "ternaryx2", "int3x2", "pow2-4x2", "ternaryx3"] {
        let out = dir.path().join(format!("{grid}.onnx"));
        let report = quantize(&format!("--integer-only --grid {grid}"), &model, &calib, &out);
        let layers = report["layers"].as_array().unwrap().iter();
        let weights: u64 = layers
            .filter(|l| l["grid"] == *grid)
            .map(|l| l["weights"].as_u64().unwrap())
            .sum();
        let points: u64 = grid.rsplit_once('x').map_or(1, |(_, p)| p.parse().unwrap());
        let extra = report["size"]["extra_codes"].as_u64().unwrap();
        assert!(
            weights > 0 && extra == (points - 1) * weights,
            "{grid}: {extra} {weights}"
        );
        errors.push(report["output_error"].as_f64().unwrap());
        verified(&out);
        let inspected = run("inspect --json", &[&out]).code(0).json();
        shares.push(inspected["integer_mac_share"].as_f64().unwrap());
    }
    assert!(errors[1] < 0.5 * errors[0], "{errors:?}");
    // Points make no layer float that one point leaves in integers.
    assert!(shares.iter().all(|&s| s == shares[0] && s > 0.5), "{shares:?}");
}

#[test]
fn extra_rows_keep_to_their_budget_and_lower_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 6));
    let out = dir.path().join("out.onnx");
    let plain = quantize("--grid int3", &model, &calib, &out);
    std::fs::remove_file(&out).unwrap();
    let more = quantize("--grid int3 --extra-rows 60%", &model, &calib, &out);
    // Chosen exactly, and as well as by gain for the bits at least.
    let extended = &more["extended"];
    assert_eq!(extended["exact"], true);
    assert!(extended["error"][1].as_f64() <= extended["error_by_gain"].as_f64());
    let size = |key: &str| more["size"][key].as_u64().unwrap();
    let rows: u64 = (more["layers"].as_array().unwrap().iter())
        .map(|l| l["extra_rows"].as_u64().unwrap())
        .sum();
    // Codes of 3 bits, and 64 bits of scale and number a row: at most three fifths of the bits of all codes.
    let bits = 3 * size("extra_codes") + 64 * rows;
    assert!(
        rows > 0 && bits * 5 <= 3 * 3 * size("weights"),
        "{bits} bits in {rows} rows"
    );
    let error = |report: &Value| report["output_error"].as_f64().unwrap();
    assert!(
        error(&more) < 0.85 * error(&plain),
        "{} {}",
        error(&more),
        error(&plain)
    );
    // Each layer that got rows follows its float outputs better than without them.
    let layers = |report: &Value| report["layers"].as_array().unwrap().clone();
    for (more, plain) in layers(&more).iter().zip(layers(&plain)) {
        let sqnr = |layer: &Value| layer["sqnr_db"].as_f64().unwrap();
        if more["extra_rows"].as_u64().unwrap() > 1 {
            assert!(sqnr(more) > 1.0 + sqnr(&plain), "{more} {plain}");
        }
    }
    verified(&out);
    // The file means the same to this program and to any runtime that executes its functions.
    let again = dir.path().join("qdq.onnx");
    run("export --as qdq", &[&out, "-o".as_ref(), &again]).code(0);
}

/// The paper's rule: points for each channel until its output is as near as was asked.
#[test]
fn channels_get_rows_until_they_are_as_near_as_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 6));
    let out = dir.path().join("out.onnx");
    let rows = |report: &Value| -> u64 {
        let layers = report["layers"].as_array().unwrap().iter();
        layers.map(|l| l["extra_rows"].as_u64().unwrap()).sum()
    };
    let mut last = (0, f64::INFINITY);
    for decibels in ["5", "20dB", "40"] {
        let report = quantize(
            &format!("--grid int3 --extra-rows-until {decibels}"),
            &model,
            &calib,
            &out,
        );
        let (rows, error) = (rows(&report), report["output_error"].as_f64().unwrap());
        assert!(rows > last.0 || decibels == "5", "{decibels}: {rows}");
        assert!(error < last.1, "{decibels}: {error}");
        let extended = &report["extended"];
        assert!(extended["error"][1].as_f64() <= extended["error"][0].as_f64());
        let channels = extended["channels"].as_u64().unwrap();
        assert!(channels <= rows && rows <= 3 * channels, "{extended}");
        assert_eq!(
            report["settings"]["extra_rows_until"].as_f64(),
            decibels.trim_end_matches("dB").parse().ok()
        );
        verified(&out);
        std::fs::remove_file(&out).unwrap();
        last = (rows, error);
    }
    // A third point comes where two are not enough.
    let most = quantize("--grid int3 --extra-rows-until 40", &model, &calib, &out);
    let channels = most["extended"]["channels"].as_u64().unwrap();
    assert!(rows(&most) > channels, "{channels}");
    // Analyze asks for the same again.
    let next = run("analyze --quiet --emit config --data", &[&calib, &model, &out])
        .code(0)
        .stdout;
    assert!(next.contains("extra-rows-until = 40"), "{next}");
}

#[test]
fn points_that_make_no_sense_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 2));
    let out = dir.path().join("out.onnx");
    for (flags, code, want) in [
        ("--grid int8x2", 2, "there is no grid \"int8x2\""),
        ("--grid int3 --extra-rows 120", 2, "expected a number in 0…100"),
        ("--grid int3 --extra-rows-until -3", 2, "a number of dB"),
        ("--grid int3 --extra-rows-until near", 2, "a number of dB"),
        (
            "--grid int3 --extra-rows 10 --extra-rows-until 20",
            2,
            "cannot be used with",
        ),
        (
            "--average-bits 4 --extra-rows-until 20",
            2,
            "extra rows would add",
        ),
        ("--grid int3 --extra-rows 10 --no-correction", 2, "error feedback"),
        ("--grid lbw3x2 --solver semi-analytic", 2, "it has several points"),
    ] {
        let words = format!("quantize --threads 1 {flags} --calib");
        let ran = run(&words, &[&calib, &model, "-o".as_ref(), &out]).code(code);
        assert!(ran.stderr.contains(want), "{flags}: {}", ran.stderr);
        assert!(!out.exists());
    }
    let recipe = dir.path().join("r.toml");
    let text = "model = \"model.onnx\"\nsteps = 1\nbatch = 1\n[data]\nkind = \"synth\"\ncount = 4\n[loss]\nkind = \"distill\"\n[method]\nname = \"lbw\"\ngrid = \"pow2-4x2\"\n";
    std::fs::write(&recipe, text).unwrap();
    let set = format!("train --set model={}", model.display());
    let ran = run(&set, &[&recipe]).code(4);
    assert!(ran.stderr.contains("has several points"), "{}", ran.stderr);
}
