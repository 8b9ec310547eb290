//! What tests of graphs share.

#[allow(dead_code)]
pub(crate) mod annotated;
pub(crate) mod proto;

use std::path::PathBuf;

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

/// Runs a script of this crate; `None`, and SKIPPED, without Python.
#[allow(dead_code)]
pub(crate) fn python(test: &str, script: &str, arguments: &[&std::ffi::OsStr]) -> Option<String> {
    let python = testing::python(test)?;
    Some(testing::run_script(
        &python,
        &format!("crates/graph/{script}"),
        arguments,
    ))
}

/// An empty folder for this test's files.
#[allow(dead_code)]
pub(crate) fn scratch(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
