//! Shared data of the project, found by the environment alone.

#[allow(dead_code)]
pub(crate) mod annotated;
pub(crate) mod proto;

use std::path::PathBuf;

/// The folder `LOWBIT_DATA`; prints SKIPPED without it, fails where `LOWBIT_REQUIRE` lists `data`.
#[allow(dead_code)]
pub(crate) fn data(test: &str) -> Option<PathBuf> {
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
#[allow(dead_code)]
pub(crate) fn models(test: &str) -> Option<Vec<PathBuf>> {
    let folder = data(test)?.join("models");
    let mut out: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    out.sort();
    Some(out)
}

/// What a graph says, without the order in which its values were made: equal texts mean equal graphs.
#[allow(dead_code)]
pub(crate) fn canonical(g: &graph::Graph) -> Vec<String> {
    let name = |v: graph::ValueId| g.value(v).name.clone();
    let list = |vs: &[graph::ValueId]| vs.iter().map(|&v| name(v)).collect::<Vec<_>>();
    let read: std::collections::BTreeSet<graph::ValueId> = g
        .nodes
        .iter()
        .flat_map(|n| n.inputs.iter().flatten())
        .chain(&g.outputs)
        .copied()
        .collect();
    let mut out = vec![g.name.clone(), format!("{:?}", g.metadata)];
    for n in &g.nodes {
        let inputs: Vec<_> = n.inputs.iter().map(|v| v.map(name)).collect();
        out.push(format!(
            "{} {:?} {inputs:?} -> {:?}",
            n.name,
            n.op,
            list(&n.outputs)
        ));
    }
    for (what, ends) in [("input", &g.inputs), ("output", &g.outputs)] {
        out.extend(ends.iter().map(|&v| format!("{what} {:?}", g.value(v))));
    }
    let mut rest = Vec::new();
    // Bits, so that NaN equals itself and 0 is not −0.
    for (&v, t) in g.constants.iter().filter(|(v, _)| read.contains(v)) {
        let data = match t.data() {
            tensor::Data::F32(v) => format!("{:?}", v.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
            other => format!("{other:?}"),
        };
        rest.push(format!("constant {} {:?} {data}", name(v), t.shape()));
    }
    rest.extend(
        g.weights
            .iter()
            .map(|(&v, w)| format!("weight {} {w:?}", name(v))),
    );
    rest.extend(g.edges.iter().map(|(&v, q)| format!("edge {} {q:?}", name(v))));
    rest.sort();
    out.extend(rest);
    out
}

/// Runs a script of `tests/python`; prints SKIPPED without `LOWBIT_PYTHON`, fails where `LOWBIT_REQUIRE` lists `python`.
#[allow(dead_code)]
pub(crate) fn python(test: &str, script: &str, arguments: &[&std::ffi::OsStr]) -> Option<String> {
    let Some(python) = std::env::var_os("LOWBIT_PYTHON") else {
        let required = std::env::var("LOWBIT_REQUIRE").is_ok_and(|r| r.split(',').any(|x| x == "python"));
        assert!(
            !required,
            "{test}: LOWBIT_REQUIRE lists python, but LOWBIT_PYTHON is not set"
        );
        println!("SKIPPED {test}: LOWBIT_PYTHON is not set");
        return None;
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = std::process::Command::new(python)
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{test}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// An empty folder for this test's files.
#[allow(dead_code)]
pub(crate) fn scratch(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
