//! `quantize --effort`: what is tried, and on how many pictures.

mod common;

use std::path::Path;

use common::{Ran, detector, pictures, run};
use serde_json::Value;

/// Pictures of each test: more than `fast` looks at.
const PICTURES: usize = 40;

fn quantize(flags: &str, model: &Path, calib: &Path, out: &Path) -> Ran {
    let words = format!("quantize --threads 1 --json --grid int4 {flags} --calib");
    run(&words, &[calib, model, "-o".as_ref(), out])
}

fn setting<'a>(report: &'a Value, name: &str) -> &'a Value {
    &report["settings"][name]
}

#[test]
fn fast_decides_less_on_fewer_pictures_and_what_is_asked_for_is_done_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), PICTURES));
    let of = |flags: &str| {
        let out = dir.path().join(format!("{}.onnx", flags.replace(' ', "")));
        let report = quantize(flags, &model, &calib, &out).code(0).json();
        run("verify --threads 1", &[&out]).code(0);
        report
    };
    let fast = of("--effort fast");
    assert_eq!(setting(&fast, "rounding"), "nearest");
    assert_eq!(setting(&fast, "observer"), "mse");
    assert_eq!(setting(&fast, "equalization"), false);
    assert_eq!(setting(&fast, "correction"), true);
    assert_eq!(setting(&fast, "calibration_pictures"), 32);
    assert_eq!(setting(&fast, "correction_pictures"), 16);
    assert_eq!(fast["tried"].as_array().map(Vec::len), Some(0));

    let good = of("");
    assert_eq!(setting(&good, "rounding"), "feedback");
    assert_eq!(setting(&good, "learn"), "nothing");
    assert_eq!(setting(&good, "calibration_pictures"), PICTURES);
    assert_eq!(setting(&good, "correction_pictures"), PICTURES);
    assert!(good["tried"].as_array().is_some_and(|t| t.len() >= 4));

    let asked = of("--effort fast --rounding feedback --observer min-max");
    assert_eq!(setting(&asked, "rounding"), "feedback");
    assert_eq!(setting(&asked, "observer"), "min-max");
}

#[test]
fn an_effort_that_does_not_exist_is_told_with_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (detector(dir.path()), pictures(dir.path(), 2));
    let ran = quantize("--effort goood", &model, &calib, &dir.path().join("out.onnx")).code(2);
    assert!(ran.stderr.contains("did you mean \"good\"?"), "{}", ran.stderr);
    for (flags, want) in [
        ("--learn code", "did you mean \"codes\"?"),
        ("--learn gains --no-correction", "begins at corrected layers"),
    ] {
        let ran = quantize(flags, &model, &calib, &dir.path().join("out.onnx")).code(2);
        assert!(ran.stderr.contains(want), "{flags}: {}", ran.stderr);
    }
}
