//! Kernels that are measured at the first load and kept in the cache folder.

mod common;

use std::path::{Path, PathBuf};

use common::{detector, lowbit, pictures, run};

fn quantized(folder: &Path) -> PathBuf {
    let (model, out) = (detector(folder), folder.join("low.onnx"));
    let pictures = pictures(folder, 4);
    run(
        "quantize --quiet --force --grid int8 --effort fast --calib",
        &[&pictures, "-o".as_ref(), &out, &model],
    )
    .code(0);
    out
}

fn bench(model: &Path, cache: &Path, flags: &[&str]) -> serde_json::Value {
    let mut command = lowbit();
    command
        .args(["bench", "--quiet", "--json", "--runs", "2", "--warmup", "1"])
        .args(flags)
        .arg(model)
        .env("LOWBIT_CACHE", cache);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut all: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn the_first_load_measures_and_the_next_one_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (model, cache) = (quantized(dir.path()), dir.path().join("cache/of/tests"));
    let result = bench(&model, &cache, &["--no-tune"]);
    assert!(files(&cache).is_empty(), "--no-tune leaves nothing");
    bench(&model, &cache, &[]);
    let [file] = files(&cache).try_into().expect("one file for one model");
    let text = std::fs::read(&file).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(kept["model_sha256"], result["a"]["sha256"]);
    assert_eq!(kept["isa"], result["isa"]);
    let rows = kept["rows"].as_object().unwrap();
    assert!(!rows.is_empty(), "{kept}");
    let written = std::fs::metadata(&file).unwrap().modified().unwrap();
    bench(&model, &cache, &[]);
    assert_eq!(
        std::fs::metadata(&file).unwrap().modified().unwrap(),
        written,
        "it was read, not measured"
    );
    bench(&model, &cache, &["--threads", "1"]);
    bench(&model, &cache, &["--threads", "2"]);
    let kept = files(&cache).len();
    assert_eq!(
        kept,
        if result["threads"] == 1 || result["threads"] == 2 {
            2
        } else {
            3
        },
        "one more for each number of threads"
    );
}

#[test]
fn a_spoilt_or_closed_cache_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (model, cache) = (quantized(dir.path()), dir.path().join("cache"));
    bench(&model, &cache, &[]);
    let [file] = files(&cache).try_into().unwrap();
    let good: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let of_another_cpu = {
        let mut other = good.clone();
        other["cpu"] = "another".into();
        serde_json::to_vec(&other).unwrap()
    };
    for spoilt in [b"{".to_vec(), Vec::new(), vec![b' '; 2 << 20], of_another_cpu] {
        std::fs::write(&file, spoilt).unwrap();
        bench(&model, &cache, &[]);
        let again: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(again["cpu"], good["cpu"], "it is measured anew");
    }
    let blocked = dir.path().join("a file");
    std::fs::write(&blocked, "not a folder").unwrap();
    bench(&model, &blocked, &[]);
    bench(&model, &blocked.join("below"), &[]);
    assert_eq!(std::fs::read(&blocked).unwrap(), b"not a folder");
}
