//! `lowbit train`: the smoke recipe, faults of recipes, and runs that are killed.

mod common;

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use common::training::{finish, same, start};

/// The unbroken run is another process; the broken ones are killed at fifty moments in all, also while they write.
#[test]
fn killed_runs_go_on_and_end_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let begin = Instant::now();
    finish(start(&whole, &[])).code(0);
    let length = begin.elapsed();
    let (mut kills, mut rng) = (0, testing::SplitMix64(7));
    for round in 0.. {
        let broken = folder.path().join(format!("broken{round}"));
        let ran = loop {
            let child = start(&broken, &["--resume"]);
            match killed(child, length.mul_f64(0.05 + 0.6 * rng.unit())) {
                Some(child) => break finish(child),
                None => kills += 1,
            }
        };
        ran.code(0);
        same(&whole, &broken, &format!("round {round} after {kills} kills"));
        if kills >= 50 {
            break;
        }
    }
}

/// The start is made anew when a run goes on, and gives the same.
#[test]
fn killed_runs_from_a_corrected_start_end_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let corrected = [
        "--set",
        "method.start=corrected",
        "--set",
        "method.every=0",
        "--set",
        "batch_norm.mode=frozen",
    ];
    let begin = Instant::now();
    finish(start(&whole, &corrected)).code(0);
    let length = begin.elapsed();
    let resumed = [&corrected[..], &["--resume"]].concat();
    for part in [0.5, 0.8] {
        // One that was fast enough to end is as good.
        if killed(start(&broken, &resumed), length.mul_f64(part)).is_some() {
            break;
        }
    }
    finish(start(&broken, &resumed)).code(0);
    for name in ["model.onnx", "checkpoint.safetensors", "results.csv"] {
        let read = |f: &Path| std::fs::read(f.join(name)).unwrap();
        assert!(read(&whole) == read(&broken), "{name}");
    }
    let other = ["--set", "method.start=corrected", "--set", "method.name=bcgd"];
    let refused = finish(start(&folder.path().join("bcgd"), &other)).code(2);
    assert!(refused.stderr.contains("method.start"), "{}", refused.stderr);
}

/// The process where it ended by itself within the time, `None` where it was killed.
fn killed(mut child: Child, after: Duration) -> Option<Child> {
    let begin = Instant::now();
    while begin.elapsed() < after {
        if child.try_wait().unwrap().is_some() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn a_network_whose_normalizations_are_folded_is_trained_with_gains_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let model = format!("model={}", common::detector(folder.path()).display());
    let settings = |more: &[&'static str]| -> Vec<String> {
        let all = [
            "loss.kind=distill",
            "eval.kind=",
            "method.start=corrected",
            "method.every=0",
            "batch_norm.add=true",
        ];
        all.iter()
            .chain(more)
            .flat_map(|s| ["--set".to_string(), s.to_string()])
            .chain(["--set".into(), model.clone()])
            .collect()
    };
    let begin = |name: &str, more: &[&'static str]| {
        let all = settings(more);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        finish(start(&folder.path().join(name), &all))
    };
    let made = begin("run", &["batch_norm.mode=frozen"]).code(0).json();
    assert!(made["quantized_layers"].as_u64().unwrap() >= 8, "{made}");
    let run = folder.path().join("run");
    let state = std::fs::read(run.join("checkpoint.safetensors")).unwrap();
    // Names of parameters lie in the file's header.
    let header = String::from_utf8_lossy(&state[..state.len().min(1 << 16)]).into_owned();
    assert!(header.contains(".gamma"), "{header}");
    common::run("verify", &[&run.join("model.onnx")]).code(0);
    let refused = begin("wrong", &["batch_norm.mode=batch"]).code(2);
    assert!(refused.stderr.contains("batch_norm.add"), "{}", refused.stderr);
}

#[test]
fn a_pruned_run_has_empty_groups_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let pruning = [
        "--set",
        "method.grid=ternary",
        "--set",
        "method.rules=[]",
        "--set",
        "prune.groups=1x4xk",
        "--set",
        "prune.share=0.5",
    ];
    let made = finish(start(&run, &pruning)).code(0).json();
    let number = |key: &str| {
        made["pruned"][key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key} in {made}"))
    };
    // Channels keep one group, so that fewer than half may go, and codes may leave more empty.
    let (groups, empty) = (number("groups"), number("empty"));
    assert!(
        groups >= 20.0 && (0.25 * groups..groups).contains(&empty),
        "{made}"
    );
    assert!(number("compression") > 1.0, "{made}");
    let model = run.join("model.onnx");
    common::run("verify", &[&model]).code(0);
    // The file leaves the groups out, and an array of such groups skips them.
    let inspected = common::run("inspect --json --pe 1x4", &[&model]).code(0).json();
    let layers = inspected["layers"].as_array().unwrap();
    assert!(
        layers
            .iter()
            .any(|l| l["pruned"]["share"].as_f64().is_some_and(|s| s > 0.2)),
        "{inspected}"
    );
    assert!(
        inspected["compression"]["pruned_layers"].as_f64().unwrap() > 16.0,
        "{inspected}"
    );
    let cycles = |key: &str| inspected["array"]["total"][key].as_u64().unwrap();
    assert!(cycles("cycles") < cycles("dense_cycles"), "{inspected}");
    let text = common::run("inspect --pe 16x4", &[&model]).code(0).stdout;
    assert!(
        text.contains("pruned") && text.contains("array of 16 output x 4 input channels"),
        "{text}"
    );
    common::run("inspect --pe 16", &[&model]).code(2);
    // Scales and biases in 16 bits, of this file or from a run that rounds them itself: the same bits are stored.
    let half = folder.path().join("half.onnx");
    let size = |model: &Path| common::run("inspect --json", &[model]).code(0).json()["compression"].clone();
    common::run("export --as float --half -o", &[&half, &model]).code(2);
    let halves = common::run("export --as packed --half --json -o", &[&half, &model])
        .code(0)
        .json();
    assert!(halves["halves"].as_u64().unwrap() > 10, "{halves}");
    common::run("verify", &[&half]).code(0);
    let (before, after) = (size(&model), size(&half));
    assert!(
        after["bytes"].as_u64() < before["bytes"].as_u64() && after["all"].as_f64() > before["all"].as_f64(),
        "{before} {after}"
    );
    let rounded = folder.path().join("rounded");
    let settings = [&pruning[..], &["--set", "method.half=true"]].concat();
    finish(start(&rounded, &settings)).code(0);
    assert_eq!(size(&rounded.join("model.onnx")), after);
    for (wrong, about) in [
        ("prune.groups=lanes", "did you mean \"lane\"?"),
        ("prune.share=2", "prune.share"),
        ("method.grid=binary", "no zero"),
    ] {
        let mut settings = pruning.to_vec();
        settings.extend(["--set", wrong]);
        let refused = finish(start(&folder.path().join("wrong"), &settings)).code(2);
        assert!(refused.stderr.contains(about), "{wrong}: {}", refused.stderr);
    }
}

#[test]
fn the_model_of_a_run_is_packed_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let made = finish(start(&run, &[])).code(0).json();
    assert!(made["quantized_layers"].as_u64().unwrap() >= 9, "{made}");
    let model = run.join("model.onnx");
    common::run("verify", &[&model]).code(0);
    let results = std::fs::read_to_string(run.join("results.csv")).unwrap();
    assert!(
        results.starts_with("step,rate,norm,box,class,dfl,score\n"),
        "{results}"
    );
    // One page that loads nothing, one record for programs.
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    for part in [
        "<svg",
        "polyline",
        "pow2-4",
        "data:image/jpeg;base64,",
        "schedule.warmup",
        "boxes that differ from the f32 training forward",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Pictures in base64 may spell anything.
    let text: String = page
        .split("data:image/jpeg;base64,")
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "+/=".contains(c)))
        .collect();
    for unwanted in ["NaN", "http:", "<script"] {
        let at = text
            .find(unwanted)
            .map(|at| text[at..].chars().take(60).collect::<String>());
        assert_eq!(at, None);
    }
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("results.json")).unwrap()).unwrap();
    assert_eq!(record["run"]["model_sha256"], made["model_sha256"]);
    assert_eq!(made["agreement"]["what"], "boxes");
    assert_eq!(record["history"]["rows"].as_array().unwrap().len(), 2);
    // A second run does not walk over the first.
    let refused = finish(start(&run, &[])).code(2);
    assert!(refused.stderr.contains("--resume"), "{}", refused.stderr);
}

#[test]
fn mistakes_in_recipes_are_usage_errors_with_the_nearest_key() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    for (setting, want) in [
        ("optimizer.rat=1", "optimizer.rate"),
        ("method.grid=lbw9", "lbw"),
        ("method.rules=[\"depthwis=int8\"]", "depthwise"),
        ("activation.rule=lsp", "lsq"),
        ("steps=0", "at least 1"),
    ] {
        let ran = finish(start(&output, &["--set", setting])).code(2);
        assert!(ran.stderr.contains(want), "{setting}: {}", ran.stderr);
    }
    assert!(!output.exists());
    let keys = common::run("train --keys", &[]).code(0).stdout;
    assert!(keys.contains("method.grid") && keys.contains("schedule.warmup"));
}

/// Without the feature `cuda`, a driver or such a device: a sentence and the way out.
#[test]
fn a_device_that_cannot_be_used_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    let ran = finish(start(&output, &["--set", "device=cuda:4096"])).code(4);
    assert!(
        ran.stderr.contains("CUDA") || ran.stderr.contains("NVIDIA"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("--set device=cpu"), "{}", ran.stderr);
    assert!(!output.exists());
    finish(start(&output, &["--set", "device=gpu"])).code(2);
}

#[test]
fn a_run_that_leaves_for_infinity_stops_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        "--set",
        "optimizer.name=sgd",
        "--set",
        "optimizer.rate=1000",
        "--set",
        "optimizer.clip=0",
    ];
    let ran = finish(start(&folder.path().join("run"), &settings)).code(1);
    assert!(
        ran.stderr.contains("diverged") && ran.stderr.contains("optimizer.rate"),
        "{}",
        ran.stderr
    );
}
