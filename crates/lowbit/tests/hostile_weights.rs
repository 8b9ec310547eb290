//! Weights that no training ends with, through quantization: row 10 of `docs/robustness.md`. What is not a number is refused with
//! the place it stands; whatever is accepted gives a file of finite numbers, and a network that runs.

use std::path::{Path, PathBuf};

use graph::onnx::{ReadOptions, WriteOptions, read_file, write};
use graph::{Graph, Op, ValueId};
use lowbit::{
    Choice, ErrorKind, Form, LoadOptions, Model, Picture, QuantizeOptions, RunOptions, Runner, Tensor,
};
use tensor::Data;

/// Weights of the convolutions, and their biases.
fn constants(graph: &Graph, input: usize) -> Vec<ValueId> {
    let of = |n: &graph::Node| {
        matches!(n.op, Op::Conv(_))
            .then(|| n.inputs.get(input).copied().flatten())
            .flatten()
    };
    graph
        .nodes
        .iter()
        .filter_map(of)
        .filter(|v| graph.constants.contains_key(v))
        .collect()
}

fn planted(graph: &Graph, at: ValueId, plant: &dyn Fn(&mut [f32])) -> Vec<u8> {
    let mut graph = graph.clone();
    if let Some(Data::F32(values)) = graph.constants.get_mut(&at).map(Tensor::data_mut) {
        plant(values);
    }
    let options = WriteOptions {
        form: Form::Float,
        producer_version: "test".into(),
    };
    write(&graph, &options).unwrap()
}

fn assert_finite(graph: &Graph, what: &str) {
    for (v, t) in &graph.constants {
        let finite = t.as_f32().is_none_or(|all| all.iter().all(|x| x.is_finite()));
        assert!(finite, "{what}: constant \"{}\"", graph.value(*v).name);
    }
    for (v, w) in &graph.weights {
        let all = w.points.iter().flat_map(|p| &p.scales);
        assert!(
            all.clone().all(|s| s.is_finite() && *s > 0.0),
            "{what}: scales of \"{}\"",
            graph.value(*v).name
        );
    }
    for (v, e) in &graph.edges {
        assert!(
            e.scale.is_finite() && e.scale > 0.0,
            "{what}: edge \"{}\"",
            graph.value(*v).name
        );
    }
}

#[test]
fn no_number_that_is_none_reaches_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/models/torchscript_yolov8.onnx");
    let dimensions = [("batch".to_string(), 1)].into();
    let read = ReadOptions {
        dimensions,
        ..ReadOptions::default()
    };
    let graph = read_file(&path, &read).unwrap();
    let head = dir.path().join("head.json");
    let template = Model::load(&path, &LoadOptions::default())
        .unwrap()
        .guess()
        .template
        .clone();
    std::fs::write(&head, template).unwrap();
    let picture: PathBuf = dir.path().join("p.png");
    let rgb = (0..64 * 64 * 3).map(|i| (i * 7 % 251) as u8).collect();
    std::fs::write(
        &picture,
        lowbit::encode_png(&Picture::new(64, 64, rgb).unwrap()).unwrap(),
    )
    .unwrap();

    type Plant = (&'static str, bool, fn(&mut [f32]));
    let plants: [Plant; 12] = [
        ("NaN first", true, |w| w[0] = f32::NAN),
        ("NaN last", true, |w| *w.last_mut().unwrap() = -f32::NAN),
        ("all NaN", true, |w| w.fill(f32::NAN)),
        ("infinite", true, |w| w[w.len() / 2] = f32::INFINITY),
        ("minus infinite", true, |w| w[0] = f32::NEG_INFINITY),
        ("one subnormal", false, |w| w[0] = 1e-45),
        ("all subnormal", false, |w| w.fill(-1e-45)),
        ("small", false, |w| w.iter_mut().for_each(|x| *x *= 1e-37)),
        ("a channel of zeros", false, |w| {
            let channel = (w.len() / 4).max(1);
            w[..channel].fill(0.0);
        }),
        ("all zeros", false, |w| w.fill(0.0)),
        ("minus zeros", false, |w| w.fill(-0.0)),
        ("large", false, |w| w.iter_mut().for_each(|x| *x *= 1e30)),
    ];
    let weights = constants(&graph, 1);
    let biases = constants(&graph, 2);
    let places = [
        weights[0],
        weights[weights.len() / 2],
        *weights.last().unwrap(),
        biases[0],
        *biases.last().unwrap(),
    ];
    let (mut refused, mut written) = (0, 0);
    for (k, (name, wrong, plant)) in plants.iter().enumerate() {
        for (p, &place) in places.iter().enumerate() {
            let grid = ["int8", "lbw4", "pow2-4", "ternary", "affine4"][(k + p) % 5];
            let what = format!("{name} in \"{}\", {grid}", graph.value(place).name);
            let options = LoadOptions {
                head: Some(head.clone()),
                ..LoadOptions::default()
            };
            let model = Model::from_bytes(&planted(&graph, place, plant), &options).unwrap();
            let mut settings =
                QuantizeOptions::new(Choice::Grid(grid.parse().unwrap()), vec![picture.clone()]);
            settings.threads = 1;
            match lowbit::quantize(&model, &settings, &mut |_: &str, _, _| {}) {
                Err(e) => {
                    refused += 1;
                    let text = e.to_string();
                    // Large weights may overflow activations: then the edge is what is named.
                    assert!(*wrong || *name == "large", "{what}: {text}");
                    assert_eq!(e.kind(), ErrorKind::BadInput, "{what}: {text}");
                    assert!(
                        text.contains('"') || text.contains("edge "),
                        "{what}: no place is named: {text}"
                    );
                }
                Ok(q) => {
                    written += 1;
                    assert!(!wrong, "{what} is accepted");
                    assert_finite(q.model.graph(), &what);
                    let again =
                        Model::from_bytes(&q.model.to_onnx(Form::Packed).unwrap(), &LoadOptions::default())
                            .unwrap();
                    assert_finite(again.graph(), &what);
                    let runner = Runner::new(
                        &again,
                        &RunOptions {
                            threads: 1,
                            ..RunOptions::default()
                        },
                    )
                    .unwrap();
                    let x = Tensor::new(vec![1, 3, 64, 64], vec![0.5f32; 3 * 64 * 64]).unwrap();
                    runner
                        .run(&[("images", &x)])
                        .unwrap_or_else(|e| panic!("{what}: {e}"));
                }
            }
        }
    }
    println!("{refused} refused, {written} written");
    assert!(refused >= 25 && written >= 25);
}
