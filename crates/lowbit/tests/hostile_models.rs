//! Models that no exporter writes, through everything that a model goes through: read, simplified, compiled, run. None may
//! panic, and each refusal is one line with its place. Rows 1 to 9 and 11 of `docs/robustness.md`.

#[path = "../../graph/tests/common/proto.rs"]
mod proto;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use lowbit::{Control, Error, ErrorKind, LoadOptions, Model, RunOptions, Runner, Tensor};
use proto::{Graph, Message, graph, int, ints, string, tensor, value};
use tensor::DType;

const MEMORY: usize = 64 << 20;

fn options() -> LoadOptions {
    LoadOptions {
        control: Control::default().with_memory(MEMORY),
        ..LoadOptions::default()
    }
}

fn load(bytes: &[u8]) -> lowbit::Result<Model> {
    Model::from_bytes(bytes, &options())
}

/// What the model does, to its end; an error may come at any step.
fn live(bytes: &[u8]) -> lowbit::Result<()> {
    let model = load(bytes)?;
    let control = Control::default().with_memory(MEMORY);
    let runner = Runner::new(
        &model,
        &RunOptions {
            threads: 1,
            control,
            ..RunOptions::default()
        },
    )?;
    let mut inputs = Vec::new();
    for (name, dtype, shape) in model.inputs()? {
        let count = tensor::numel(&shape).unwrap_or(usize::MAX);
        if count > 1 << 14 {
            return Ok(());
        }
        let x = match dtype {
            DType::F32 => Tensor::new(shape, (0..count).map(|i| i as f32 - 7.5).collect::<Vec<_>>()),
            DType::I64 => Tensor::new(shape, vec![1i64; count]),
            _ => return Ok(()),
        };
        inputs.push((name, x.expect("the length is the shape's")));
    }
    let inputs: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    runner.run(&inputs).map(|_| ())
}

/// Runs many models; panics and shapeless errors are collected by name.
#[derive(Default)]
struct Sweep {
    cases: usize,
    loaded: usize,
    faults: Vec<String>,
}

impl Sweep {
    fn case(&mut self, name: impl Fn() -> String, bytes: &[u8]) -> Option<Error> {
        self.cases += 1;
        let result = catch_unwind(AssertUnwindSafe(|| live(bytes)));
        let fault = match &result {
            Err(_) => "panics".to_string(),
            Ok(Err(e)) => {
                let text = e.to_string();
                let kind = matches!(
                    e.kind(),
                    ErrorKind::BadInput | ErrorKind::Unsupported | ErrorKind::Limit
                );
                let line = !text.is_empty() && !text.contains(char::is_control) && text.len() < 2000;
                if kind && line {
                    return Some(e.clone());
                }
                format!("says {:?} {text:?}", e.kind())
            }
            Ok(Ok(())) => {
                self.loaded += 1;
                return None;
            }
        };
        self.faults.push(format!("{}: {fault}", name()));
        None
    }

    #[track_caller]
    fn end(self, cases: usize) {
        println!("{} models, {} of them run", self.cases, self.loaded);
        let some: Vec<&String> = self.faults.iter().take(40).collect();
        assert!(self.faults.is_empty(), "{} faults: {some:#?}", self.faults.len());
        assert!(self.cases >= cases, "{} cases only", self.cases);
    }
}

fn i64s(name: &str, values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, 7, &[values.len() as i64], &raw)
}

fn f32s(name: &str, shape: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, 1, shape, &raw)
}

/// x [1, 3, 8, 8], a weight, integers, a scalar, a vector.
fn base() -> Graph {
    let weight: Vec<f32> = (0..4 * 3 * 3 * 3).map(|i| (i % 7) as f32 - 3.0).collect();
    Graph::x_to_y()
        .initializer(f32s("w", &[4, 3, 3, 3], &weight))
        .initializer(i64s("i", &[1, 3, 8, 8]))
        .initializer(f32s("s", &[], &[0.5]))
        .initializer(f32s("v", &[3], &[1.0, 2.0, 0.5]))
}

/// The attributes without which an operator is refused at once.
fn needed(op: &str) -> Vec<Message> {
    match op {
        "AveragePool" | "MaxPool" => vec![ints("kernel_shape", &[2, 2])],
        "Cast" => vec![int("to", 1)],
        "Concat" => vec![int("axis", 1)],
        "DepthToSpace" | "SpaceToDepth" => vec![int("blocksize", 2)],
        _ => Vec::new(),
    }
}

#[test]
fn any_number_of_inputs_and_outputs() {
    let mut sweep = Sweep::default();
    let kinds: [&[&str]; 6] = [
        &["x"],
        &["w"],
        &["i"],
        &["x", "w", "v"],
        &["x", "i", "i"],
        &["x", "s", ""],
    ];
    for op in graph::onnx::operators() {
        for kind in kinds {
            for inputs in 0..=8 {
                for outputs in 0..=4 {
                    if outputs > 2 && inputs > 3 {
                        continue;
                    }
                    for attributes in [needed(op), Vec::new()] {
                        let names: Vec<&str> = (0..inputs).map(|k| kind[k % kind.len()]).collect();
                        let made: Vec<String> = (0..outputs)
                            .map(|k| if k == 0 { "y".into() } else { format!("y{k}") })
                            .collect();
                        let made: Vec<&str> = made.iter().map(String::as_str).collect();
                        for opset in [11, 18] {
                            let model = base().node(op, &names, &made, &attributes).model(opset);
                            sweep.case(
                                || format!("{op} {names:?} {outputs} outputs, opset {opset}"),
                                &model,
                            );
                        }
                    }
                }
            }
        }
    }
    sweep.end(20_000);
}

const WINDOWED: [&str; 4] = ["Conv", "ConvTranspose", "MaxPool", "AveragePool"];
const LISTS: [&str; 6] = [
    "kernel_shape",
    "strides",
    "pads",
    "dilations",
    "output_padding",
    "output_shape",
];
const EDGES: [i64; 11] = [
    i64::MIN,
    -(1 << 31),
    -2,
    -1,
    0,
    1,
    2,
    7,
    1 << 31,
    1 << 40,
    i64::MAX,
];

#[test]
fn lists_of_any_length_and_value_for_windows() {
    let mut sweep = Sweep::default();
    for op in WINDOWED {
        let inputs: &[&str] = if op.starts_with("Conv") {
            &["x", "w"]
        } else {
            &["x"]
        };
        for name in LISTS {
            for length in 0..=8 {
                for v in EDGES {
                    for auto in ["NOTSET", "SAME_UPPER", "VALID"] {
                        let mut attributes = needed(op);
                        attributes.retain(|_| name != "kernel_shape");
                        attributes.push(ints(name, &vec![v; length]));
                        if auto != "NOTSET" {
                            attributes.push(string("auto_pad", auto));
                        }
                        let model = base().node(op, inputs, &["y"], &attributes).model(18);
                        let said = sweep.case(|| format!("{op} {name} {length} × {v} {auto}"), &model);
                        // A list that fits no rank is refused with the node's name.
                        if let Some(e) = said.filter(|e| e.kind() == ErrorKind::BadInput) {
                            assert!(e.to_string().contains(&format!("the {op}")), "{e}");
                        } else if [0, 3, 5, 7].contains(&length) && name == "strides" && length > 0 {
                            panic!("{op} loads with {length} strides");
                        }
                    }
                }
            }
        }
    }
    sweep.end(7_000);
}

#[test]
fn attributes_at_the_ends_of_their_range() {
    let mut sweep = Sweep::default();
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("Conv", &["x", "w"], &["group"]),
        ("ConvTranspose", &["x", "w"], &["group"]),
        ("MaxPool", &["x"], &["ceil_mode", "storage_order"]),
        ("AveragePool", &["x"], &["ceil_mode", "count_include_pad"]),
        ("DepthToSpace", &["x"], &["blocksize"]),
        ("SpaceToDepth", &["x"], &["blocksize"]),
        ("Concat", &["x", "x"], &["axis"]),
        ("Split", &["x"], &["axis", "num_outputs"]),
        ("Gather", &["x", "i"], &["axis"]),
        ("GatherElements", &["x", "i"], &["axis"]),
        ("GatherND", &["x", "i"], &["batch_dims"]),
        ("Flatten", &["x"], &["axis"]),
        ("Softmax", &["x"], &["axis"]),
        ("LogSoftmax", &["x"], &["axis"]),
        ("ArgMax", &["x"], &["axis", "keepdims", "select_last_index"]),
        ("TopK", &["x", "i"], &["axis", "largest", "sorted"]),
        ("CumSum", &["x", "i"], &["exclusive", "reverse"]),
        ("Cast", &["x"], &["to"]),
        ("Gemm", &["v", "v"], &["transA", "transB"]),
        ("ReduceMean", &["x"], &["keepdims", "noop_with_empty_axes"]),
        ("Shape", &["x"], &["start", "end"]),
        ("OneHot", &["i", "i", "v"], &["axis"]),
        ("Reshape", &["x", "i"], &["allowzero"]),
        ("QuantizeLinear", &["x", "v"], &["axis"]),
        ("DequantizeLinear", &["i", "v"], &["axis"]),
        (
            "BatchNormalization",
            &["x", "v", "v", "v", "v"],
            &["training_mode"],
        ),
        ("InstanceNormalization", &["x", "v", "v"], &["epsilon"]),
        ("LayerNormalization", &["x", "v"], &["axis", "stash_type"]),
        ("EyeLike", &["x"], &["k", "dtype"]),
        ("Trilu", &["x", "i"], &["upper"]),
    ];
    for (op, inputs, names) in cases {
        for name in *names {
            for v in (-20..20).chain(EDGES).chain([64, 255, 65_536, 1 << 20]) {
                for opset in [11, 13, 21] {
                    let model = base().node(op, inputs, &["y"], &[int(name, v)]).model(opset);
                    sweep.case(|| format!("{op} {name}={v} opset {opset}"), &model);
                }
            }
        }
    }
    let lists: &[(&str, &str)] = &[
        ("Transpose", "perm"),
        ("Squeeze", "axes"),
        ("Unsqueeze", "axes"),
        ("ReduceMean", "axes"),
        ("ReduceMax", "axes"),
        ("ReduceSum", "axes"),
        ("Split", "split"),
        ("Slice", "starts"),
        ("Pad", "pads"),
        ("Upsample", "scales"),
    ];
    for (op, name) in lists {
        for length in 0..=9 {
            for v in EDGES {
                let model = base()
                    .node(op, &["x"], &["y"], &[ints(name, &vec![v; length])])
                    .model(11);
                sweep.case(|| format!("{op} {name} {length} × {v}"), &model);
            }
        }
    }
    sweep.end(6_000);
}

#[test]
fn operators_driven_by_hostile_integers() {
    let mut sweep = Sweep::default();
    // h is the hostile constant.
    let cases: &[(&str, &[&str])] = &[
        ("Reshape", &["x", "h"]),
        ("Expand", &["x", "h"]),
        ("Expand", &["s", "h"]),
        ("Tile", &["x", "h"]),
        ("Tile", &["s", "h"]),
        ("ConstantOfShape", &["h"]),
        ("Range", &["h", "h", "h"]),
        ("Range", &["zero", "h", "one"]),
        ("Slice", &["x", "h", "h"]),
        ("Slice", &["x", "zero", "h", "h", "h"]),
        ("Slice", &["x", "zero", "one", "zero", "h"]),
        ("Pad", &["x", "h"]),
        ("Pad", &["s", "h"]),
        ("Resize", &["x", "", "", "h"]),
        ("Resize", &["x", "", "h"]),
        ("Gather", &["x", "h"]),
        ("Gather", &["h", "h"]),
        ("GatherElements", &["x", "h"]),
        ("GatherND", &["x", "h"]),
        ("ScatterND", &["x", "h", "x"]),
        ("ScatterElements", &["x", "h", "x"]),
        ("TopK", &["x", "h"]),
        ("OneHot", &["zero", "h", "v"]),
        ("OneHot", &["h", "one", "v"]),
        ("Split", &["x", "h"]),
        ("Squeeze", &["x", "h"]),
        ("Unsqueeze", &["x", "h"]),
        ("CumSum", &["x", "h"]),
        ("ReduceSum", &["x", "h"]),
        ("ReduceMean", &["x", "h"]),
        ("NonMaxSuppression", &["x", "x", "h", "s", "s"]),
        ("Div", &["h", "h"]),
        ("Div", &["h", "minus"]),
        ("Mod", &["h", "h"]),
        ("Mod", &["h", "minus"]),
        ("Pow", &["h", "h"]),
        ("Mul", &["h", "h"]),
        ("Add", &["h", "h"]),
        ("Sub", &["minus", "h"]),
        ("Neg", &["h"]),
        ("Abs", &["h"]),
        ("Cast", &["h"]),
        ("Trilu", &["x", "h"]),
        ("Clip", &["h", "h", "zero"]),
        ("DequantizeLinear", &["h", "s"]),
    ];
    for (op, inputs) in cases {
        for length in [0, 1, 2, 4, 8] {
            for v in EDGES.into_iter().chain([3, 1 << 13, 1 << 62]) {
                for turn in 0..2 {
                    let mut h = vec![v; length];
                    if let (1, Some(last)) = (turn, h.last_mut()) {
                        *last = 1;
                    }
                    for scalar in [false, true] {
                        if scalar && length != 1 {
                            continue;
                        }
                        let shape: &[i64] = if scalar { &[] } else { &[length as i64] };
                        let raw: Vec<u8> = h.iter().flat_map(|v| v.to_le_bytes()).collect();
                        let model = base()
                            .initializer(tensor("h", 7, shape, &raw))
                            .initializer(tensor("zero", 7, &[], &0i64.to_le_bytes()))
                            .initializer(tensor("one", 7, &[], &1i64.to_le_bytes()))
                            .initializer(tensor("minus", 7, &[], &(-1i64).to_le_bytes()))
                            .node(op, inputs, &["z"], &needed(op))
                            .node("Cast", &["z"], &["y"], &[int("to", 1)])
                            .model(18);
                        sweep.case(|| format!("{op} {inputs:?} h = {h:?} scalar {scalar}"), &model);
                    }
                }
            }
        }
    }
    sweep.end(4_000);
}

#[test]
fn a_chain_of_doublings_is_refused_or_stays_small() {
    let mut sweep = Sweep::default();
    for op in ["Concat", "Tile", "Expand", "Add"] {
        for depth in [10, 30, 60, 200] {
            let mut g = base()
                .initializer(i64s("two", &[2]))
                .initializer(f32s("a0", &[2], &[1.0, 2.0]));
            for k in 0..depth {
                let (from, to) = (format!("a{k}"), format!("a{}", k + 1));
                g = match op {
                    "Concat" => g.node(op, &[&from, &from], &[&to], &[int("axis", 0)]),
                    "Tile" => g.node(op, &[&from, "two"], &[&to], &[]),
                    "Expand" => g.node(op, &[&from, "i"], &[&to], &[]),
                    _ => g.node(op, &[&from, &from], &[&to], &[]),
                };
            }
            let g = g
                .node(
                    "ReduceMax",
                    &[&format!("a{depth}")],
                    &["m"],
                    &[int("keepdims", 0)],
                )
                .node("Add", &["x", "m"], &["y"], &[]);
            sweep.case(|| format!("{op} {depth} times"), &g.model(13));
        }
    }
    sweep.end(16);
}

#[test]
fn data_must_have_exactly_the_length_of_the_shape() {
    // Element type and bits.
    let types = [
        (1, 32),
        (2, 8),
        (3, 8),
        (4, 16),
        (5, 16),
        (6, 32),
        (7, 64),
        (9, 8),
        (10, 16),
        (11, 64),
        (16, 16),
        (21, 4),
        (22, 4),
    ];
    for (code, bits) in types {
        for shape in [&[3i64, 5][..], &[7], &[], &[0, 4], &[1, 1, 1]] {
            let want = (shape.iter().product::<i64>() as usize * bits).div_ceil(8);
            for length in 0..=want + 9 {
                // Bools are 0 or 1, spare bits of the last byte are 0: zero bytes are right everywhere.
                let model = base().initializer(tensor("t", code, shape, &vec![0; length]));
                let model = model.node("Relu", &["x"], &["y"], &[]).model(21);
                match load(&model) {
                    Ok(_) => assert_eq!(length, want, "type {code} {shape:?} loads"),
                    // Types that no operator of ours takes are refused whatever their length.
                    Err(e) if e.kind() == ErrorKind::Unsupported => {}
                    Err(e) => {
                        assert_ne!(length, want, "type {code} {shape:?}: {e}");
                        assert_eq!(e.kind(), ErrorKind::BadInput, "{e}");
                        assert!(e.to_string().contains("tensor \"t\""), "{e}");
                    }
                }
            }
        }
    }
}

#[test]
fn two_fields_of_data_are_refused() {
    let both = tensor("t", 1, &[1], &[0; 4]).bytes(4, 1f32.to_le_bytes());
    let e = load(
        &base()
            .initializer(both)
            .node("Relu", &["x"], &["y"], &[])
            .model(18),
    )
    .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::BadInput, "{e}");
    assert!(e.to_string().contains("tensor \"t\""), "{e}");
}

#[test]
fn every_cut_of_small_models_is_an_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/models");
    let (mut cuts, mut whole) = (0, 0);
    for name in [
        "float16",
        "bfloat16_weights",
        "torchscript_conv_bn_silu",
        "dynamo_conv_bn_silu",
        "tensorflow_ssd",
        "qdq_i8",
    ] {
        let bytes = std::fs::read(folder.join(format!("{name}.onnx"))).unwrap();
        for end in 0..bytes.len() {
            cuts += 1;
            // A cut between the last fields leaves a model without opset or metadata: it is judged by what is left.
            match Model::from_bytes(&bytes[..end], &options()) {
                Ok(_) => whole += 1,
                Err(e) => assert!(
                    matches!(e.kind(), ErrorKind::BadInput | ErrorKind::Unsupported)
                        && !e.to_string().contains('\n'),
                    "{name} cut at {end}: {e}"
                ),
            }
        }
    }
    println!("{cuts} cuts, {whole} of them leave a model");
    assert!(cuts > 30_000 && whole < 200);
}

/// A message nested `depth` times in a field, from the inside out.
fn nested(field: u8, depth: usize) -> Vec<u8> {
    let mut reversed: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let mut length = reversed.len();
        let mut head = vec![field << 3 | 2];
        loop {
            let low = (length & 0x7f) as u8;
            length >>= 7;
            head.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        reversed.extend(head.iter().rev());
    }
    reversed.reverse();
    reversed
}

#[test]
fn nesting_of_any_depth_is_refused_without_a_deep_stack() {
    for depth in [1, 2, 31, 32, 33, 100, 1_000, 10_000, 100_000] {
        // Types of sequences of sequences (field 4 of TypeProto, 1 of Sequence): two levels of messages each.
        let ty = Message(nested(4, depth));
        let odd = Message::default().bytes(1, "odd").message(2, ty);
        let model = Graph::x_to_y()
            .input(odd)
            .node("Relu", &["x"], &["y"], &[])
            .model(18);
        assert!(load(&model).is_err(), "sequences {depth} deep load");
        // Any message in itself: graph → graph → …, model → …
        for field in 1..=15 {
            let bytes = nested(field, depth);
            assert!(load(&bytes).is_err(), "field {field}, {depth} deep");
        }
    }
    // Graphs in attributes of nodes of graphs.
    for depth in [1, 2, 31, 33, 300] {
        let mut inner = Graph::x_to_y().node("Relu", &["x"], &["y"], &[]);
        for _ in 0..depth {
            inner = Graph::x_to_y().node("If", &["x"], &["y"], &[graph("then_branch", inner)]);
        }
        let e = load(&inner.model(18)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
    }
}

#[test]
fn functions_that_call_each_other_end() {
    let call = |name: &str, to: &str, times: usize| {
        let mut f = Message::default()
            .bytes(1, name)
            .bytes(4, "a")
            .bytes(5, "b")
            .bytes(10, "own");
        for k in 0..times {
            let from = if k == 0 { "a".to_string() } else { format!("t{k}") };
            let out = if k + 1 == times {
                "b".to_string()
            } else {
                format!("t{}", k + 1)
            };
            f = f.message(7, proto::node(to, &[&from], &[&out], &[]));
        }
        let opset = |domain: &str| Message::default().bytes(1, domain).int(2, 1);
        f.message(9, opset("own"))
            .message(9, Message::default().bytes(1, "").int(2, 18))
    };
    let model = |functions: Vec<Message>| {
        let mut m = Message(Graph::x_to_y().node("own:f0", &["x"], &["y"], &[]).model(18));
        m = m.message(8, Message::default().bytes(1, "own").int(2, 1));
        functions.into_iter().fold(m, |m, f| m.message(25, f)).0
    };
    // Itself, in a circle, and 2^k calls in k functions.
    let itself = model(vec![call("f0", "own:f0", 1)]);
    let circle = model(vec![call("f0", "own:f1", 1), call("f1", "own:f0", 1)]);
    for bytes in [itself, circle] {
        let e = load(&bytes).unwrap_err();
        assert!(
            matches!(
                e.kind(),
                ErrorKind::BadInput | ErrorKind::Unsupported | ErrorKind::Limit
            ),
            "{e}"
        );
    }
    for depth in [8, 40, 400] {
        let mut all: Vec<Message> = (0..depth)
            .map(|k| call(&format!("f{k}"), &format!("own:f{}", k + 1), 2))
            .collect();
        all.push(call(&format!("f{depth}"), "Relu", 1));
        match load(&model(all)) {
            Ok(_) => assert_eq!(depth, 8),
            Err(e) => assert!(
                depth > 8
                    && matches!(
                        e.kind(),
                        ErrorKind::Limit | ErrorKind::Unsupported | ErrorKind::BadInput
                    ),
                "{e}"
            ),
        }
    }
}

#[test]
fn graphs_of_random_edges_have_no_cycle_that_loads() {
    let mut sweep = Sweep::default();
    let mut state = 7u64;
    let mut below = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for case in 0..3_000 {
        let nodes = 1 + below(6);
        let mut g = Graph::x_to_y();
        for _ in 0..nodes {
            // Names collide, dangle and run in circles.
            let names = ["x", "y", "a", "b", "c", "", "lost", "a"];
            let mut name = || names[below(8) as usize];
            let (p, q, out) = (name(), name(), name());
            g = g.node("Add", &[p, q], &[out], &[]);
        }
        if below(4) == 0 {
            g = g.input(value("a", 1, &[1])).output(value("c", 1, &[]));
        }
        sweep.case(|| format!("graph {case}"), &g.model(18));
    }
    sweep.end(3_000);
}

#[test]
fn a_hundred_thousand_nodes_load_and_one_more_is_a_limit() {
    let chain = |nodes: usize| {
        let mut g = Vec::new();
        for k in 0..nodes {
            let from = if k == 0 { "x".to_string() } else { format!("t{k}") };
            let to = if k + 1 == nodes {
                "y".to_string()
            } else {
                format!("t{}", k + 1)
            };
            let node = Message::default().message(1, proto::node("Exp", &[&from], &[&to], &[]));
            g.extend(node.0);
        }
        let mut all = Graph::x_to_y();
        all.0.0.extend(g);
        all.model(18)
    };
    let control = Control::default().with_time(std::time::Duration::from_secs(600));
    let options = LoadOptions {
        control,
        ..LoadOptions::default()
    };
    let model = Model::from_bytes(&chain(100_000), &options).unwrap();
    assert_eq!(model.graph().nodes.len(), 100_000);
    let e = Model::from_bytes(&chain(100_001), &options).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit, "{e}");
}

#[test]
fn scales_and_zero_points_that_mean_nothing_are_refused() {
    let mut faults = Vec::new();
    for op in ["QuantizeLinear", "DequantizeLinear"] {
        for bad in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for constant in [true, false] {
                let codes = tensor("q", 3, &[2, 3], &[1, 2, 3, 4, 5, 6]);
                let from = match (op, constant) {
                    ("DequantizeLinear", true) => "q",
                    ("DequantizeLinear", false) => "k",
                    (_, true) => "v",
                    (_, false) => "x",
                };
                let g = base()
                    .initializer(codes)
                    .initializer(f32s("bad", &[], &[bad]))
                    .input(value("k", 3, &[1, 3, 8, 8]));
                let g = g
                    .node(op, &[from, "bad"], &["z"], &[])
                    .node("Cast", &["z"], &["y"], &[int("to", 1)]);
                match live(&g.model(13)) {
                    Err(e) if e.kind() == ErrorKind::BadInput && e.to_string().contains(op) => {}
                    other => faults.push(format!("{op} of {from} by {bad}: {other:?}")),
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[cfg(unix)]
mod side_files {
    use super::*;
    use std::os::unix::fs::symlink;

    fn external(location: &str, offset: Option<&str>, length: Option<&str>) -> Vec<u8> {
        let mut t = Message::default().int(1, 12).int(2, 1).bytes(8, "w2");
        for (key, v) in [
            ("location", Some(location)),
            ("offset", offset),
            ("length", length),
        ] {
            if let Some(v) = v {
                t = t.message(13, Message::default().bytes(1, key).bytes(2, v));
            }
        }
        let t = t.int(14, 1);
        base().initializer(t).node("Relu", &["x"], &["y"], &[]).model(18)
    }

    #[test]
    fn paths_of_weights_never_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("model");
        std::fs::create_dir_all(inside.join("sub")).unwrap();
        let secret = dir.path().join("secret");
        for file in [
            secret.clone(),
            inside.join("good"),
            inside.join("sub/good"),
            inside.join("日本 ü"),
        ] {
            std::fs::write(file, [0; 48]).unwrap();
        }
        symlink(&secret, inside.join("link")).unwrap();
        symlink(dir.path(), inside.join("up")).unwrap();
        symlink("good", inside.join("near")).unwrap();
        std::fs::hard_link(&secret, inside.join("hard")).unwrap();
        std::fs::write(inside.join("short"), [0; 47]).unwrap();
        let fifo = std::process::Command::new("mkfifo")
            .arg(inside.join("fifo"))
            .status();
        assert!(fifo.unwrap().success());
        let path = inside.join("m.onnx");
        let try_one = |location: &str, offset: Option<&str>, length: Option<&str>| {
            std::fs::write(&path, external(location, offset, length)).unwrap();
            Model::load(&path, &options())
        };
        for good in ["good", "./good", "sub/good", "sub/./good", "日本 ü"] {
            try_one(good, None, None).unwrap_or_else(|e| panic!("{good}: {e}"));
            try_one(good, Some("0"), Some("48")).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        let secret = secret.to_str().unwrap();
        let long = "x".repeat(5_000);
        let bad = [
            "../secret",
            "sub/../../secret",
            "sub/../good",
            "./../secret",
            "/etc/passwd",
            secret,
            "//etc/passwd",
            "link",
            "up/secret",
            "near",
            "hard",
            "fifo",
            "short",
            "sub",
            ".",
            "",
            "missing",
            "C:good",
            "C:\\good",
            "..\\secret",
            "\\\\?\\C:\\x",
            "file:///etc/passwd",
            "/dev/zero",
            "/dev/stdin",
            "/proc/self/mem",
            "good\0",
            "good/",
            "good/x",
            &long,
            "a\nb",
            "\x1b[2J",
        ];
        for location in bad {
            match try_one(location, None, None) {
                // A trailing slash is not a path component.
                Ok(_) if location == "good/" => {}
                Ok(_) => panic!("{location:?} loads"),
                Err(e) => {
                    let text = e.to_string();
                    assert!(
                        matches!(e.kind(), ErrorKind::BadInput | ErrorKind::Io | ErrorKind::Limit),
                        "{location:?}: {text}"
                    );
                    assert!(
                        text.contains("w2") && !text.contains(char::is_control),
                        "{location:?}: {text}"
                    );
                }
            }
        }
        let numbers = [
            (Some("1"), None),
            (Some("-1"), None),
            (Some("18446744073709551615"), None),
            (Some("99999999999999999999"), None),
            (Some(""), None),
            (None, Some("47")),
            (None, Some("49")),
            (None, Some("-48")),
            (Some("9223372036854775807"), Some("48")),
        ];
        for (offset, length) in numbers {
            let e = try_one("good", offset, length).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::BadInput, "{offset:?} {length:?}: {e}");
        }
    }

    /// A name that is now the file, now a link to the secret, by renames, which are atomic.
    #[test]
    fn a_race_of_links_gives_the_file_or_an_error_never_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("model");
        std::fs::create_dir(&inside).unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, [0x42; 48]).unwrap();
        let path = inside.join("m.onnx");
        // The weight is the graph's output, so that its values show.
        let entry = Message::default().bytes(1, "location").bytes(2, "w.bin");
        let t = Message::default()
            .int(1, 12)
            .int(2, 1)
            .bytes(8, "w2")
            .message(13, entry)
            .int(14, 1);
        let model = base()
            .initializer(t)
            .node("Add", &["w2", "s"], &["y"], &[])
            .model(18);
        std::fs::write(&path, model).unwrap();
        let name = inside.join("w.bin");
        std::fs::write(&name, [0; 48]).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (mut good, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for k in 0.. {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let temp = inside.join(format!("t{}", k % 2));
                    match k % 2 {
                        0 => symlink(&secret, &temp).unwrap(),
                        _ => std::fs::write(&temp, [0; 48]).unwrap(),
                    }
                    std::fs::rename(&temp, &name).unwrap();
                }
            });
            for _ in 0..2_000 {
                match graph::onnx::read_file(&path, &graph::onnx::ReadOptions::default()) {
                    Ok(g) => {
                        good += 1;
                        let w = &g.constants[&g.find("w2").unwrap()];
                        assert!(
                            w.as_f32().unwrap().iter().all(|v| *v == 0.0),
                            "the secret was read"
                        );
                    }
                    Err(_) => refused += 1,
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        println!("{good} read, {refused} refused");
        assert!(good > 0 && refused > 0);
    }
}
