//! A model through the writers for other runtimes: int8, int4 and int2 codes of standard operators, and decoded floats.

use graph::Graph;
use graph::onnx::{Form, Limits, ReadOptions, WriteOptions, read, write};

pub const WORDS: &[&str] = &[];

pub fn target(bytes: &[u8]) {
    let limits = Limits {
        model_bytes: 1 << 20,
        tensor_bytes: 4 << 20,
        constant_bytes: 16 << 20,
        nodes: 1_000,
        ..Limits::default()
    };
    let options = ReadOptions {
        limits,
        ..ReadOptions::default()
    };
    let Ok(mut graph) = read(bytes, &options) else {
        return;
    };
    if graph::shape::infer(&mut graph).is_err() {
        return;
    }
    for form in [Form::Qdq, Form::Qdq4, Form::Qdq2, Form::Float] {
        match write_in(&graph, form) {
            Ok(file) => check(&graph, form, &file),
            Err(e) => assert!(!e.to_string().is_empty()),
        }
    }
}

fn write_in(graph: &Graph, form: Form) -> Result<Vec<u8>, graph::onnx::WriteError> {
    let options = WriteOptions {
        form,
        ..WriteOptions::default()
    };
    write(graph, &options)
}

/// What is written reads back with the same ends, and is written again.
fn check(graph: &Graph, form: Form, file: &[u8]) {
    let mut again = match read(file, &ReadOptions::default()) {
        Ok(g) => g,
        Err(e) => panic!("{form:?}: what is written is not read: {e}"),
    };
    if let Err(e) = graph::shape::infer(&mut again) {
        panic!("{form:?}: what is written has no shapes: {e}");
    }
    let ends = |g: &Graph| -> Vec<String> {
        let ids = g.inputs.iter().chain(&g.outputs);
        ids.map(|&v| g.value(v).name.clone()).collect()
    };
    assert_eq!(ends(graph), ends(&again), "{form:?}");
    if let Err(e) = write_in(&again, form) {
        panic!("{form:?}: what was read back is not written: {e}");
    }
}
