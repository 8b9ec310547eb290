//! The packed form and its sisters: what is written comes back, takes the bytes it must, and runs elsewhere.

mod common;

use std::ffi::OsStr;
use std::path::PathBuf;

use common::annotated::{self, Random};
use graph::onnx::{Form, ReadOptions, WriteOptions, read, write};
use graph::{Graph, Op};
use tensor::{DType, Tensor};

fn bytes(g: &Graph, form: Form) -> Vec<u8> {
    let options = WriteOptions {
        form,
        producer_version: "test".into(),
    };
    write(g, &options).unwrap_or_else(|e| panic!("{e}"))
}

fn back(bytes: &[u8]) -> Graph {
    read(bytes, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn assert_same(a: &Graph, b: &Graph, what: &str) {
    let (a, b) = (common::canonical(a), common::canonical(b));
    if let Some((a, b)) = a.iter().zip(&b).find(|(a, b)| a != b) {
        panic!("{what}:\n{a:.3000}\n{b:.3000}");
    }
    assert_eq!(a.len(), b.len(), "{what}");
}

#[test]
fn random_annotated_graphs_come_back() {
    for seed in 0..300 {
        let g = annotated::graph(seed);
        g.check().unwrap();
        let file = bytes(&g, Form::Packed);
        let again = back(&file);
        assert_same(&g, &again, &format!("seed {seed}"));
        assert!(bytes(&again, Form::Packed) == file, "seed {seed}");
    }
}

#[test]
fn qdq_files_come_back_with_equal_edges_and_equal_weights_in_int8() {
    for seed in 0..100 {
        let g = annotated::graph(seed);
        let again = back(&bytes(&g, Form::Qdq));
        assert_eq!(g.metadata, again.metadata);
        for (v, w) in &g.weights {
            let name = &g.value(*v).name;
            let id = again.find(name).unwrap();
            let wide =
                w.levels.iter().any(|l| l.abs() > 255) && w.integer_levels(0).iter().any(|l| l.abs() > 127);
            if name == "last.w" || wide {
                // Three points and levels beyond int8 have no standard form.
                assert_eq!(
                    again.constants[&id].as_f32().unwrap(),
                    w.decode(),
                    "seed {seed} {name}"
                );
                continue;
            }
            let other = &again.weights[&id];
            assert_eq!(
                (other.axis, &other.shape),
                (w.axis, &w.shape),
                "seed {seed} {name}"
            );
            assert_eq!(other.integer_levels(0), w.integer_levels(0), "seed {seed} {name}");
            assert_eq!(other.decode(), w.decode(), "seed {seed} {name}");
        }
        let edges = |g: &Graph| {
            g.edges
                .iter()
                .map(|(&v, &q)| (g.value(v).name.clone(), format!("{q:?}")))
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        assert_eq!(edges(&g), edges(&again), "seed {seed}");
    }
}

#[test]
fn the_float_form_holds_the_decoded_weights() {
    let g = annotated::graph(1);
    let float = back(&bytes(&g, Form::Float));
    assert!(float.weights.is_empty() && float.edges.is_empty());
    for (v, w) in &g.weights {
        let id = float.find(&g.value(*v).name).unwrap();
        assert_eq!(float.constants[&id].as_f32().unwrap(), w.decode());
    }
}

/// One convolution of N = 37·5·3·3 weights.
fn one_layer(bits: u32, points: usize) -> Graph {
    let mut g = Graph::new("one");
    let x = g.add_value("x", Some(DType::F32), Some([1, 5, 4, 4].map(Some).to_vec()));
    g.inputs.push(x);
    let shape = [37, 5, 3, 3];
    let w = g.add_value("w", Some(DType::F32), Some(shape.map(Some).to_vec()));
    let mut w0 = annotated::weight(&mut Random(7), &shape, 0, bits, points);
    w0.zero_points = None;
    for p in &mut w0.points {
        p.scales = (0..37).map(|c| 0.25 + c as f32).collect();
    }
    g.weights.insert(w, w0);
    let op = Op::Conv(graph::Conv {
        kernel: vec![3; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        padding: graph::Padding::Valid,
        group: 1,
    });
    let y = g.add_node(op, &[x, w], "y");
    g.value_mut(y).dtype = Some(DType::F32);
    g.value_mut(y).shape = Some([1, 37, 2, 2].map(Some).to_vec());
    g.outputs.push(y);
    g
}

#[test]
fn a_layer_takes_its_bits_and_its_scales() {
    let count = 37 * 5 * 3 * 3usize;
    for bits in 1..=8 {
        for points in [1, 2] {
            let g = one_layer(bits, points);
            let file = bytes(&g, Form::Packed);
            let payload = points * ((count * bits as usize).div_ceil(8) + 37 * 4);
            // The codes stand in the file as they are packed, once.
            let w = g.weights.values().next().unwrap();
            assert_eq!(w.stored_bits(), payload * 8);
            for p in &w.points {
                let stream = tensor::bits::pack(&p.codes, bits);
                assert_eq!(stream.len(), (count * bits as usize).div_ceil(8));
                assert_eq!(file.windows(stream.len()).filter(|w| *w == stream).count(), 1);
            }
            // The rest: the function, the table of 2^b levels, names. No expanded copy would fit.
            let rest = file.len() - payload - (4 << bits);
            assert!(
                rest < 2500,
                "{bits} bits, {points} points: {rest} bytes beside codes, scales and levels"
            );
        }
    }
}

/// The same graph with its weights decoded: what the packed file must compute.
fn decoded(g: &Graph) -> Graph {
    let mut out = g.clone();
    for (v, w) in std::mem::take(&mut out.weights) {
        out.constants
            .insert(v, Tensor::new(w.shape.clone(), w.decode()).unwrap());
    }
    // The edge before a clamp stays, so that both files quantize in the same places.
    out
}

#[test]
fn any_runtime_computes_what_the_file_says() {
    let test = "any_runtime_computes_what_the_file_says";
    let folder = common::scratch(test);
    let mut pairs: Vec<PathBuf> = Vec::new();
    let mut put = |name: String, bytes: Vec<u8>| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        pairs.push(path);
    };
    for bits in 1..=8 {
        let g = one_layer(bits, 1 + bits as usize % 3);
        put(format!("float{bits}.onnx"), bytes(&g, Form::Float));
        put(format!("packed{bits}.onnx"), bytes(&g, Form::Packed));
    }
    for seed in 0..12 {
        let mut g = annotated::graph(seed);
        // Without quantizers only the weights differ in form.
        let edges = std::mem::take(&mut g.edges);
        put(format!("float_{seed}.onnx"), bytes(&g, Form::Float));
        put(format!("packed_{seed}.onnx"), bytes(&g, Form::Packed));
        g.edges = edges;
        put(
            format!("edges_float_{seed}.onnx"),
            bytes(&decoded(&g), Form::Packed),
        );
        put(format!("edges_packed_{seed}.onnx"), bytes(&g, Form::Packed));
    }
    let mut arguments = vec![OsStr::new("0")];
    arguments.extend(pairs.iter().map(|p| p.as_os_str()));
    common::python(test, "tests/python/same_outputs.py", &arguments);
}
