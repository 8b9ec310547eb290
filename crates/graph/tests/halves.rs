//! Scales and biases of 16 bits: rounded once, stored end to end, read by every reader as the same numbers.

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;

use common::annotated;
use graph::onnx::{Form, ReadOptions, WriteOptions, read, write};
use graph::{Graph, halves};

fn file(g: &Graph, form: Form) -> Vec<u8> {
    let options = WriteOptions {
        form,
        producer_version: "test".into(),
    };
    write(g, &options).unwrap()
}

fn back(bytes: &[u8]) -> Graph {
    read(bytes, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn marked(g: &Graph) -> BTreeSet<&str> {
    g.halves.iter().map(|v| g.value(*v).name.as_str()).collect()
}

/// Random networks of every grid, and of ternary weights in planes, both rounded.
fn rounded() -> impl Iterator<Item = (u64, Graph)> {
    let planes = |seed| annotated::pruned(seed, [24, 20, 3, 3], [16, 4, 1], 0.4);
    let all = (0..60).flat_map(move |seed| [(seed, annotated::graph(seed)), (seed, planes(seed))]);
    all.map(|(seed, mut g)| {
        halves::round(&mut g);
        (seed, g)
    })
}

#[test]
fn they_come_back_as_the_same_numbers_and_marks() {
    let mut most = 0;
    for (seed, g) in rounded() {
        let packed = file(&g, Form::Packed);
        let again = back(&packed);
        assert_eq!(common::canonical(&again), common::canonical(&g), "seed {seed}");
        assert_eq!(marked(&again), marked(&g), "seed {seed}");
        assert!(file(&again, Form::Packed) == packed, "seed {seed}");
        most = most.max(g.halves.len());
    }
    assert!(most > 3, "{most} tensors of one graph are stored so");
}

#[test]
fn rounding_changes_a_number_by_half_a_unit_at_most_and_no_second_time() {
    for seed in 0..60 {
        let before = annotated::graph(seed);
        let mut once = before.clone();
        halves::round(&mut once);
        for (v, w) in &before.weights {
            let pairs = |a: &[f32], b: &[f32]| a.iter().copied().zip(b.to_vec()).collect::<Vec<_>>();
            for (p, q) in w.points.iter().zip(&once.weights[v].points) {
                assert_eq!(p.codes, q.codes);
                for (x, y) in pairs(&p.scales, &q.scales) {
                    assert!((x - y).abs() <= x / 2048.0, "seed {seed}: {x} became {y}");
                }
            }
        }
        let mut twice = once.clone();
        halves::round(&mut twice);
        assert_eq!(once, twice, "seed {seed}");
    }
}

#[test]
fn a_number_takes_two_bytes() {
    let mut g = annotated::one_layer(2, 1);
    let bits = |g: &Graph| -> usize { g.weights.keys().map(|v| g.stored_bits(*v).unwrap()).sum() };
    let (bits_before, bytes_before) = (bits(&g), file(&g, Form::Packed).len());
    assert_eq!(halves::round(&mut g), 1);
    assert_eq!(bits_before - bits(&g), 37 * 16);
    // Two nodes and the names of three values stand against 74 bytes here; they are the same for any number of channels and layers.
    let grown = file(&g, Form::Packed).len() as i64 - bytes_before as i64;
    assert!((-74..150).contains(&grown), "{grown} bytes more");
    let points = annotated::one_layer(2, 2);
    let mut two = points.clone();
    assert_eq!(halves::round(&mut two), 0);
    assert_eq!(two, points, "weights of two points stay");
}

#[test]
fn a_mark_on_numbers_that_need_more_bits_changes_nothing() {
    let mut g = annotated::one_layer(2, 1);
    let plain = file(&g, Form::Packed);
    let weight = *g.weights.keys().next().unwrap();
    g.weights.get_mut(&weight).unwrap().points[0].scales[0] = 0.1;
    let unmarked = file(&g, Form::Packed);
    g.halves.insert(weight);
    assert!(file(&g, Form::Packed) == unmarked && unmarked != plain);
    assert_eq!(g.stored_bits(weight), Some(g.weights[&weight].stored_bits()));
}

#[test]
fn onnxruntime_and_python_read_the_same_numbers() {
    let test = "onnxruntime_and_python_read_the_same_numbers";
    let folder = common::scratch(test);
    let mut files = Vec::new();
    for (i, (_, mut g)) in rounded().step_by(3).enumerate() {
        // Without quantizers only the form of the constants differs.
        g.edges.clear();
        let put = |form: Form| {
            let path = folder.join(format!("{form:?}{i}.onnx"));
            std::fs::write(&path, file(&g, form)).unwrap();
            path
        };
        let packed = put(Form::Packed);
        let Some(report) = common::python(test, "../../docs/read_lowbit.py", &[packed.as_os_str()]) else {
            return;
        };
        assert_eq!(report.lines().count(), g.weights.len());
        for w in g.weights.values() {
            use sha2::{Digest, Sha256};
            let raw: Vec<u8> = w.decode().iter().flat_map(|x| x.to_le_bytes()).collect();
            let hash: String = Sha256::digest(raw).iter().map(|b| format!("{b:02x}")).collect();
            assert!(report.contains(&hash), "{report}");
        }
        files.extend([put(Form::Float), packed]);
    }
    let mut arguments = vec![OsStr::new("0")];
    arguments.extend(files.iter().map(|p| p.as_os_str()));
    common::python(test, "tests/python/same_outputs.py", &arguments);
}

/// Guards the format: files of version 1 must load for ever. `LOWBIT_BLESS=1` writes the file anew.
#[test]
fn the_golden_file_is_read_and_written() {
    let mut g = annotated::graph(20_261_128);
    halves::round(&mut g);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/packed_v1_halves.onnx");
    if std::env::var_os("LOWBIT_BLESS").is_some() {
        std::fs::write(&path, file(&g, Form::Packed)).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(file(&g, Form::Packed) == golden, "the writer gives other bytes");
    assert_eq!(marked(&back(&golden)), marked(&g));
}
