//! Numbers of inputs and outputs, and attributes out of range: rows 1 to 5 and 6b.

use super::*;

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
