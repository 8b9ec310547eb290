//! The packed form and its sisters: what is written comes back, takes the bytes it must, and runs elsewhere.

mod common;

use std::ffi::OsStr;
use std::path::PathBuf;

use common::annotated;
use graph::Graph;
use graph::onnx::{Form, ReadOptions, WriteOptions, read, write};
use tensor::Tensor;

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
    for seed in 0..600 {
        let mut g = annotated::graph(seed / 2);
        if seed % 2 == 1 {
            g = annotated::with_rows(g, seed);
        }
        g.check().unwrap();
        let file = bytes(&g, Form::Packed);
        let again = back(&file);
        assert_same(&g, &again, &format!("seed {seed}"));
        assert!(bytes(&again, Form::Packed) == file, "seed {seed}");
    }
}

#[test]
fn qdq_files_come_back_with_equal_edges_and_equal_weights() {
    for (seed, form) in (0..100).flat_map(|s| [Form::Qdq, Form::Qdq4, Form::Qdq2].map(|f| (s, f))) {
        let g = annotated::with_rows(annotated::graph(seed), seed);
        let again = back(&bytes(&g, form));
        assert_eq!(g.metadata, again.metadata);
        for (v, w) in &g.weights {
            let name = &g.value(*v).name;
            let id = again.find(name).unwrap();
            let wide =
                w.levels.iter().any(|l| l.abs() > 255) && w.integer_levels(0).iter().any(|l| l.abs() > 127);
            let merged = w
                .merged()
                .filter(|m| w.points.len() == 1 || m.levels.iter().all(|l| l.abs() <= 127));
            let Some(merged) = merged.filter(|_| !wide) else {
                // Points without a common unit and levels beyond int8 have no standard form.
                assert_eq!(
                    again.constants[&id].as_f32().unwrap(),
                    w.decode(),
                    "seed {seed} {name}"
                );
                continue;
            };
            let other = &again.weights[&id];
            assert_eq!(
                (other.axis, &other.shape),
                (w.axis, &w.shape),
                "seed {seed} {name}"
            );
            assert_eq!(other.integer_levels(0), merged.levels, "seed {seed} {name}");
            assert_eq!(other.points[0].scales, merged.scales, "seed {seed} {name}");
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

#[test]
fn a_layer_takes_its_bits_and_its_scales() {
    let count = 37 * 5 * 3 * 3usize;
    for bits in 1..=8 {
        for points in [1, 2] {
            let g = annotated::one_layer(bits, points);
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
        let g = annotated::one_layer(bits, 1 + bits as usize % 3);
        put(format!("float{bits}.onnx"), bytes(&g, Form::Float));
        put(format!("packed{bits}.onnx"), bytes(&g, Form::Packed));
    }
    for seed in 0..12 {
        let mut g = annotated::with_rows(annotated::graph(seed), seed);
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

/// Guards the format: files of version 1 must load for ever. `LOWBIT_BLESS=1` writes the file anew.
#[test]
fn the_golden_files_are_read_and_written() {
    let seed = 20_261_126;
    let plain = annotated::graph(seed);
    let rows = annotated::with_rows(plain.clone(), seed);
    for (name, g) in [("packed_v1.onnx", plain), ("packed_v1_rows.onnx", rows)] {
        golden(name, &g);
    }
}

fn golden(name: &str, g: &Graph) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let path = folder.join(name);
    if std::env::var_os("LOWBIT_BLESS").is_some() {
        std::fs::write(&path, bytes(g, Form::Packed)).unwrap();
    }
    let file = std::fs::read(&path).unwrap();
    assert_same(g, &back(&file), name);
    assert!(bytes(g, Form::Packed) == file, "the writer gives other bytes");
}

#[test]
fn a_page_of_python_decodes_the_same_weights() {
    use sha2::{Digest, Sha256};
    let test = "a_page_of_python_decodes_the_same_weights";
    let script = "../../docs/read_lowbit.py";
    let text =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).unwrap();
    assert!(text.lines().count() <= 80);
    let folder = common::scratch(test);
    for seed in [3, 4, 5, 20_261_126] {
        let g = annotated::with_rows(annotated::graph(seed), seed);
        let path = folder.join(format!("{seed}.onnx"));
        std::fs::write(&path, bytes(&g, Form::Packed)).unwrap();
        let Some(report) = common::python(test, script, &[path.as_os_str()]) else {
            return;
        };
        let mut want: Vec<String> = g
            .weights
            .iter()
            .map(|(&v, w)| {
                let raw: Vec<u8> = w.decode().iter().flat_map(|x| x.to_le_bytes()).collect();
                let hash: String = Sha256::digest(raw).iter().map(|b| format!("{b:02x}")).collect();
                let shape: Vec<String> = w.shape.iter().map(ToString::to_string).collect();
                format!(
                    "{} {} {}x{} {hash}",
                    g.value(v).name,
                    w.grid,
                    shape.join("x"),
                    w.points.len()
                )
            })
            .collect();
        want.sort();
        let mut have: Vec<&str> = report.lines().collect();
        have.sort_unstable();
        assert_eq!(have, want, "seed {seed}");
    }
}

/// onnxruntime's quantizer, per tensor and per channel, u8 and i8: nothing stays a quantizer node, and the packed
/// file computes the same.
#[test]
fn files_of_other_quantizers_become_annotated_graphs() {
    let test = "files_of_other_quantizers_become_annotated_graphs";
    let folder = common::scratch(test);
    let mut pairs: Vec<PathBuf> = Vec::new();
    for name in [
        "qdq_i8",
        "qdq_u8_per_channel",
        "qdq_u8_per_tensor",
        "qdq_yolov5_raw",
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/models/{name}.onnx"));
        let g = graph::onnx::read_file(&path, &ReadOptions::default()).unwrap();
        let left = g
            .nodes
            .iter()
            .filter(|n| n.op.name().ends_with("zeLinear"))
            .count();
        let convolutions = g.nodes.iter().filter(|n| n.op.name() == "Conv").count();
        println!(
            "{name}: {} weights, {} edges, {left} quantizer nodes",
            g.weights.len(),
            g.edges.len()
        );
        assert_eq!((left, g.weights.len()), (0, convolutions), "{name}");
        let packed = bytes(&g, Form::Packed);
        assert_same(&g, &back(&packed), name);
        let copy = folder.join(format!("{name}.onnx"));
        std::fs::write(&copy, packed).unwrap();
        pairs.extend([path, copy]);
    }
    // Without its optimizer onnxruntime computes both in float, quantizer by quantizer.
    let mut arguments = vec![OsStr::new("1e-6:plain")];
    arguments.extend(pairs.iter().map(|p| p.as_os_str()));
    common::python(test, "tests/python/same_outputs.py", &arguments);
}

/// Codes of 4 and 2 bits mean what those of 8 bits mean, in onnxruntime too, and take less.
#[test]
fn narrow_qdq_forms_compute_what_int8_does() {
    let test = "narrow_qdq_forms_compute_what_int8_does";
    let folder = common::scratch(test);
    for (form, opset) in [(Form::Qdq4, 21), (Form::Qdq2, 25)] {
        let mut arguments = vec!["0:plain".into()];
        let mut smaller = 0;
        for seed in 0..40 {
            let g = annotated::graph(seed);
            let (wide, narrow) = (bytes(&g, Form::Qdq), bytes(&g, form));
            assert!(narrow.len() <= wide.len() + 1);
            smaller += usize::from(narrow.len() < wide.len());
            for (name, bytes) in [("int8", wide), ("narrow", narrow)] {
                let path = folder.join(format!("{name}_{opset}_{seed}.onnx"));
                std::fs::write(&path, bytes).unwrap();
                arguments.push(path.into_os_string());
            }
        }
        assert!(smaller > 5, "{form:?}: {smaller} files are smaller");
        let arguments: Vec<&OsStr> = arguments.iter().map(|a| a.as_os_str()).collect();
        common::python(test, "tests/python/same_outputs.py", &arguments);
    }
}

/// What a QDQ file computes is what its annotations say: the packed file of the graph that is read back gives equal bytes.
#[test]
fn the_qdq_form_means_what_is_read_back() {
    let test = "the_qdq_form_means_what_is_read_back";
    let folder = common::scratch(test);
    let mut pairs: Vec<PathBuf> = Vec::new();
    for seed in 0..12 {
        let qdq = bytes(&annotated::graph(seed), Form::Qdq);
        let packed = bytes(&back(&qdq), Form::Packed);
        for (name, bytes) in [("qdq", qdq), ("packed", packed)] {
            let path = folder.join(format!("{name}_{seed}.onnx"));
            std::fs::write(&path, bytes).unwrap();
            pairs.push(path);
        }
    }
    let mut arguments = vec![OsStr::new("0:plain")];
    arguments.extend(pairs.iter().map(|p| p.as_os_str()));
    common::python(test, "tests/python/same_outputs.py", &arguments);
}

/// Every convolution of a shared detector in four bits: the file shrinks, onnxruntime's outputs are those of the
/// decoded weights.
#[test]
fn shared_detectors_run_packed_in_onnxruntime() {
    let test = "shared_detectors_run_packed_in_onnxruntime";
    let Some(models) = testing::models(test) else {
        return;
    };
    let folder = common::scratch(test);
    let mut pairs: Vec<PathBuf> = Vec::new();
    for path in models.iter().filter(|p| {
        let name = p.file_stem().unwrap().to_str().unwrap();
        ["cifar_resnet20", "mbv2_yolov3_nano_voc", "yolox_nano_416"].contains(&name)
    }) {
        let mut g = graph::onnx::read_file(path, &ReadOptions::default()).unwrap();
        let convolutions = g.nodes.iter().filter(|n| n.op.name() == "Conv");
        let weights: std::collections::BTreeSet<_> = convolutions.filter_map(|n| n.inputs[1]).collect();
        let mut saved = 0;
        for v in weights {
            let Some(t) = g.constants.remove(&v) else { continue };
            let values = t.as_f32().unwrap();
            let top = values.iter().fold(1e-9f32, |m, x| m.max(x.abs()));
            let code = |x: &f32| (x / top * 7.0).round() as i32 as u8 & 15;
            let w = graph::WeightAnnotation {
                grid: "int4".into(),
                bits: 4,
                shape: t.shape().to_vec(),
                axis: 0,
                levels: (0..16)
                    .map(|c| {
                        if c < 8 {
                            c
                        } else if c == 8 {
                            0
                        } else {
                            c - 16
                        }
                    })
                    .collect(),
                zero_points: None,
                points: vec![graph::Point::whole(
                    values.iter().map(code).collect(),
                    vec![top / 7.0; t.shape()[0]],
                )],
            };
            saved += values.len() * 4 - w.stored_bits() / 8;
            g.weights.insert(v, w);
        }
        let (float, packed) = (bytes(&g, Form::Float), bytes(&g, Form::Packed));
        assert_same(&g, &back(&packed), &path.display().to_string());
        let overhead = packed.len() as i64 - (float.len() - saved) as i64;
        println!(
            "{}: {} → {} bytes, {overhead} of them names",
            path.display(),
            float.len(),
            packed.len()
        );
        assert!(overhead < 3000 + 300 * g.weights.len() as i64);
        for (form, bytes) in [("float", float), ("packed", packed)] {
            let copy = folder.join(format!("{form}_{}", path.file_name().unwrap().to_str().unwrap()));
            std::fs::write(&copy, bytes).unwrap();
            pairs.push(copy);
        }
    }
    let mut arguments = vec![OsStr::new("0")];
    arguments.extend(pairs.iter().map(|p| p.as_os_str()));
    common::python(test, "tests/python/same_outputs.py", &arguments);
}
