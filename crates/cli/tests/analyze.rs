//! `analyze`: keys of its JSON, the page, the settings it hands to `quantize`, arguments that make no sense.

mod common;

use std::path::{Path, PathBuf};

use common::{detector, left_over, pictures, run, small_model, yolo_data};

/// A float detector, its low-bit model and pictures.
fn pair(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let (float, calib) = (detector(folder), pictures(folder, 4));
    let low = folder.join("low.onnx");
    run(
        "quantize --threads 1 --quiet --json --grid pow2-4 --calib",
        &[&calib, &float, "-o".as_ref(), &low],
    )
    .code(0);
    (float, low, calib)
}

#[test]
fn every_place_is_ranked_and_the_page_needs_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (float, low, data) = pair(dir.path());
    let page = dir.path().join("page.html");
    let words = "analyze --quiet --threads 1 --json --data";
    let found = run(words, &[&data, &float, &low, "--html".as_ref(), &page])
        .code(0)
        .json();
    for key in [
        "schema_version",
        "model_sha256",
        "data_sha256",
        "float_sha256",
        "pictures",
        "output_error",
        "layers",
        "command",
        "config",
    ] {
        assert!(!found[key].is_null(), "{key}");
    }
    let ranking = found["ranking"].as_array().unwrap();
    let score = |i: usize| ranking[i]["score"].as_f64().unwrap();
    assert!(ranking.len() > 10 && (1..ranking.len()).all(|i| score(i) <= score(i - 1)));
    let inspected = run("inspect --json", &[&float]).code(0).json();
    let layers = inspected["layers"].as_array().unwrap();
    let known = |name: &serde_json::Value| layers.iter().any(|l| l["name"] == *name);
    for place in ranking.iter().filter(|r| r["op"] != "input" && r["op"] != "Mul") {
        assert!(known(&place["layer"]), "{place}");
        assert!(place["own_sqnr_db"].as_f64().unwrap() > 5.0, "{place}");
    }
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("class=\"map\"") && html.contains("<svg") && html.contains("lowbit quantize"));
    for outside in ["http:", "https:", "url(", "<script", "<link"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let table = run(
        "analyze --quiet --threads 2 --top 3 --data",
        &[&data, &float, &low],
    )
    .code(0)
    .stdout;
    assert!(
        table.contains("next     lowbit quantize") && table.contains("finding"),
        "{table}"
    );
    // Results do not depend on threads.
    let again = run(
        "analyze --quiet --threads 2 --json --data",
        &[&data, &float, &low],
    )
    .code(0)
    .json();
    assert_eq!(again["ranking"], found["ranking"]);
    assert_eq!(left_over(dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn quantize_takes_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let (float, low, data) = pair(dir.path());
    let config = run("analyze --quiet --emit config --data", &[&data, &float, &low])
        .code(0)
        .stdout;
    assert!(
        config.contains("grid = \"pow2-4\"") && config.contains("tensor-type = ["),
        "{config}"
    );
    let file = dir.path().join("next.toml");
    std::fs::write(&file, &config).unwrap();
    let report = run("quantize --dry-run --json --config", &[&file, &float])
        .code(0)
        .json();
    let rules = report["settings"]["rules"].as_array().unwrap();
    assert!(
        !rules.is_empty() && report["settings"]["grid"] == "pow2-4",
        "{report}"
    );
}

#[test]
fn models_that_do_not_belong_together_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (float, low, data) = pair(dir.path());
    let analyze = |paths: &[&Path], code: i32, want: &str| {
        let mut all: Vec<&Path> = vec![&data];
        all.extend(paths);
        let ran = run("analyze --quiet --data", &all).code(code);
        assert!(ran.stderr.contains(want), "{}", ran.stderr);
    };
    analyze(&[&low, &float], 2, "the float model first");
    analyze(&[&float, &float], 2, "not quantized");
    let other = small_model("torchscript_conv_bn_silu");
    analyze(&[&other, &low], 3, "different inputs");
    analyze(&[&float, &low, "--html".as_ref(), &low], 2, "never overwritten");
    analyze(
        &[
            &float,
            &low,
            "--emit".as_ref(),
            "config".as_ref(),
            "--json".as_ref(),
        ],
        2,
        "cannot be used with",
    );
    analyze(
        &[&float, &low, "--subset-size".as_ref(), "0".as_ref()],
        2,
        "from 1 on",
    );
}

#[test]
fn memory_is_limited_and_the_result_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (float, low, data) = pair(dir.path());
    let analyze = |flags: &str| {
        run(
            &format!("analyze --quiet --threads 2 --json {flags} --data"),
            &[&data, &float, &low],
        )
    };
    let all = analyze("").code(0).json();
    let little = analyze("--limit-mem 8MiB").code(0).json();
    assert_eq!(little["ranking"], all["ranking"]);
    assert_eq!(little["layers"], all["layers"]);
    let ran = analyze("--limit-mem 200KiB").code(6);
    assert!(ran.stderr.contains("raise --limit-mem"), "{}", ran.stderr);
}

#[test]
fn with_ground_truth_the_loss_of_map_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (float, low, data) = pair(dir.path());
    let labelled = yolo_data(dir.path(), 4);
    let words = "analyze --quiet --threads 1 --json --split val --data";
    let found = run(words, &[&labelled, &float, &low]).code(0).json();
    let eval = |model: &Path| {
        let words = "eval --threads 1 --json --split val --data";
        let result = run(words, &[&labelled, model]).code(0).json();
        result["metrics"]["map50"].as_f64().unwrap()
    };
    assert_eq!(found["accuracy"]["pictures"], 4);
    assert_eq!(found["accuracy"]["float_map"].as_f64(), Some(eval(&float)));
    assert_eq!(found["accuracy"]["low_map"].as_f64(), Some(eval(&low)));
    let words = "analyze --quiet --threads 1 --split val --data";
    let table = run(words, &[&labelled, &float, &low]).code(0).stdout;
    assert!(
        table.contains("mAP loss") && table.contains("agreement"),
        "{table}"
    );
    assert!(
        table.contains("mAP      ") && table.contains(" points on 4 pictures"),
        "{table}"
    );
    // Without objects there is nothing to tell.
    let found = run("analyze --quiet --json --data", &[&data, &float, &low])
        .code(0)
        .json();
    assert!(found["accuracy"].is_null() && found["ranking"][0]["map"].is_null());
}

/// A detector that finds something, at few bits without any correction: with some of its places alone rounded it loses mAP, with most nearly nothing.
#[test]
fn with_ground_truth_map_is_told_of_each_place_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (models, scenes) = (dir.path().join("models"), dir.path().join("scenes"));
    run("demo --write-models", &[&models]).code(0);
    run("synth --quiet --count 6 --seed 800000 -o", &[&scenes]).code(0);
    let (float, low) = (models.join("float.onnx"), dir.path().join("low.onnx"));
    let words =
        "quantize --threads 1 --quiet --json --grid int3 --effort fast --no-correction --force --calib";
    run(words, &[&scenes, &float, "-o".as_ref(), &low]).code(0);
    let page = dir.path().join("page.html");
    let words = "analyze --quiet --threads 1 --json --split all --data";
    let found = run(words, &[&scenes, &float, &low, "--html".as_ref(), &page])
        .code(0)
        .json();
    let ranking = found["ranking"].as_array().unwrap();
    // So little work that all of them are tried.
    assert_eq!(found["accuracy"]["places_alone"], ranking.len());
    let [float_map, low_map] = ["float_map", "low_map"].map(|key| found["accuracy"][key].as_f64().unwrap());
    let losses: Vec<f64> = ranking
        .iter()
        .map(|r| float_map - r["map"].as_f64().unwrap())
        .collect();
    let small = losses.iter().filter(|l| l.abs() < 0.005).count();
    assert!(2 * small > losses.len(), "{losses:?}");
    let most = losses.iter().copied().fold(0.0, f64::max);
    assert!(most > 0.3 * (float_map - low_map), "{losses:?} {low_map}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<th>mAP loss</th>") && html.contains("6 labelled pictures"));
    let words = "analyze --quiet --threads 2 --split all --data";
    let table = run(words, &[&scenes, &float, &low]).code(0).stdout;
    let header = table.lines().next().unwrap();
    assert!(
        header.contains("agreement") && header.contains("mAP loss"),
        "{table}"
    );
}
