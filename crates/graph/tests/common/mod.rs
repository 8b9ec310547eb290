//! Shared data of the project, found by the environment alone.

use std::path::PathBuf;

/// The folder `LOWBIT_DATA`; prints SKIPPED without it, fails where `LOWBIT_REQUIRE` lists `data`.
pub fn data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LOWBIT_DATA").map(PathBuf::from);
    if folder.is_none() {
        let required = std::env::var("LOWBIT_REQUIRE").is_ok_and(|r| r.split(',').any(|x| x == "data"));
        assert!(
            !required,
            "{test}: LOWBIT_REQUIRE lists data, but LOWBIT_DATA is not set"
        );
        println!("SKIPPED {test}: LOWBIT_DATA is not set");
    }
    folder
}

/// All shared models, sorted.
pub fn models(test: &str) -> Option<Vec<PathBuf>> {
    let folder = data(test)?.join("models");
    let mut out: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    out.sort();
    Some(out)
}
