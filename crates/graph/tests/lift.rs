//! Quantizers in files of other programs: which become annotations, which stay nodes.

mod common;

use common::proto::{Graph as File, int, ints, tensor, value};
use graph::onnx::{ErrorKind, ReadOptions, read};
use graph::{EdgeQuantizer, Graph};

const F32: i64 = 1;
const U8: i64 = 2;
const I8: i64 = 3;
const U16: i64 = 4;
const I32: i64 = 6;
const U4: i64 = 21;
const I4: i64 = 22;

fn f32s(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn load(file: File) -> Graph {
    read(&file.model(21), &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn quantizers(g: &Graph) -> usize {
    g.nodes
        .iter()
        .filter(|n| n.op.name().ends_with("zeLinear"))
        .count()
}

/// Conv of x with the value `w`, whose tensors the caller adds.
fn conv() -> File {
    File::x_to_y().node("Conv", &["x", "w"], &["y"], &[ints("kernel_shape", &[1, 1])])
}

fn dequantized(file: File, axis: i64, zero: &str) -> File {
    let inputs: &[&str] = if zero.is_empty() {
        &["q", "s"]
    } else {
        &["q", "s", zero]
    };
    file.node("DequantizeLinear", inputs, &["w"], &[int("axis", axis)])
}

#[test]
fn int4_weights_per_channel() {
    // Codes 1 −2 3 | −4 5 −6, two to a byte, the first in the low half.
    let file = dequantized(conv(), 0, "")
        .initializer(tensor("q", I4, &[2, 3, 1, 1], &[0xe1, 0xc3, 0xa5]))
        .initializer(tensor("s", F32, &[2], &f32s(&[0.5, 2.0])));
    let g = load(file);
    let w = &g.weights[&g.find("w").unwrap()];
    assert_eq!(
        (w.grid.as_str(), w.bits, w.axis, &w.zero_points),
        ("int4", 4, 0, &None)
    );
    assert_eq!(w.levels, [0, 1, 2, 3, 4, 5, 6, 7, 0, -7, -6, -5, -4, -3, -2, -1]);
    assert_eq!(w.decode(), [0.5, -1.0, 1.5, -8.0, 10.0, -12.0]);
    assert!(g.constants.is_empty() && quantizers(&g) == 0);
}

#[test]
fn uint8_weights_keep_their_zero_point_and_the_most_negative_int8_is_a_level() {
    let file = |kind, zero: u8| {
        dequantized(conv(), 0, "z")
            .initializer(tensor("q", kind, &[2, 3, 1, 1], &[0x80, 0, 1, 2, 3, 255]))
            .initializer(tensor("s", F32, &[], &f32s(&[0.5])))
            .initializer(tensor("z", kind, &[], &[zero]))
    };
    let g = load(file(U8, 3));
    let w = &g.weights[&g.find("w").unwrap()];
    assert_eq!(
        (w.grid.as_str(), w.zero_points.as_deref()),
        ("affine8", Some(&[3][..]))
    );
    assert_eq!(w.integer_levels(0), [125, -3, -2, -1, 0, 252]);
    let g = load(file(I8, 0));
    let w = &g.weights[&g.find("w").unwrap()];
    assert_eq!((w.grid.as_str(), w.zero_points.as_deref()), ("int8", None));
    assert_eq!(w.integer_levels(0), [-128, 0, 1, 2, 3, -1]);
}

#[test]
fn fake_quantized_weights_are_quantized_weights() {
    let file = dequantized(conv(), 0, "z")
        .node("QuantizeLinear", &["f", "s", "z"], &["q"], &[int("axis", 0)])
        .initializer(tensor(
            "f",
            F32,
            &[2, 3, 1, 1],
            &f32s(&[0.25, 0.75, -99.0, 99.0, -1.0, 0.0]),
        ))
        .initializer(tensor("s", F32, &[2], &f32s(&[0.5, 1.0])))
        .initializer(tensor("z", I8, &[2], &[0, 0]));
    let g = load(file);
    let w = &g.weights[&g.find("w").unwrap()];
    assert_eq!(w.integer_levels(0), [0, 2, -128, 99, -1, 0]);
}

#[test]
fn constants_that_are_no_weight_along_the_output_channel_are_float() {
    let bias = File::x_to_y()
        .node("Conv", &["x", "w", "b"], &["y"], &[])
        .node("DequantizeLinear", &["q", "s"], &["b"], &[int("axis", 0)])
        .initializer(tensor("w", F32, &[2, 3, 1, 1], &f32s(&[0.0; 6])))
        .initializer(tensor("q", I32, &[2], &[7, 0, 0, 0, 254, 255, 255, 255]))
        .initializer(tensor("s", F32, &[2], &f32s(&[0.5, 2.0])));
    let g = load(bias);
    assert_eq!(g.constants[&g.find("b").unwrap()].as_f32().unwrap(), [3.5, -4.0]);
    // Scales along the input channel.
    let across = dequantized(conv(), 1, "")
        .initializer(tensor("q", U8, &[2, 3, 1, 1], &[1; 6]))
        .initializer(tensor("s", F32, &[3], &f32s(&[1.0, 2.0, 3.0])));
    let g = load(across);
    assert!(g.weights.is_empty());
    assert_eq!(
        g.constants[&g.find("w").unwrap()].as_f32().unwrap(),
        [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    );
    // A scale of 0 has no meaning in codes: the file is refused.
    let zero = dequantized(conv(), 0, "")
        .initializer(tensor("q", U8, &[2, 3, 1, 1], &[1; 6]))
        .initializer(tensor("s", F32, &[], &f32s(&[0.0])));
    let e = read(&zero.model(21), &ReadOptions::default()).unwrap_err();
    assert_eq!(
        (e.kind(), e.node()),
        (ErrorKind::BadInput, Some("the DequantizeLinear")),
        "{e}"
    );
}

/// x → Relu → r → (quantizers the caller adds) → d → Sigmoid → y.
fn edge(kind: i64, scale: f32, zero: &[u8]) -> File {
    File::x_to_y()
        .node("Relu", &["x"], &["r"], &[])
        .node("Sigmoid", &["d"], &["y"], &[])
        .initializer(tensor("s", F32, &[], &f32s(&[scale])))
        .initializer(tensor("z", kind, &[], zero))
}

fn pair(file: File) -> File {
    file.node("QuantizeLinear", &["r", "s", "z"], &["q"], &[]).node(
        "DequantizeLinear",
        &["q", "s", "z"],
        &["d"],
        &[],
    )
}

#[test]
fn pairs_on_an_edge_are_its_quantizer() {
    for (kind, zero, zero_point, bits) in [(U8, 7, 7, 8), (I8, 0xff, 127, 8), (U4, 7, 7, 4), (I4, 0x0f, 7, 4)]
    {
        let g = load(pair(edge(kind, 0.25, &[zero])));
        let want = EdgeQuantizer {
            scale: 0.25,
            zero_point,
            bits,
        };
        assert_eq!(g.edges[&g.find("r").unwrap()], want, "element type {kind}");
        assert_eq!((g.nodes.len(), quantizers(&g)), (2, 0));
    }
    // Each reader with a pair of its own.
    let twice = pair(edge(U8, 0.25, &[7]))
        .node("QuantizeLinear", &["r", "s", "z"], &["q2"], &[])
        .node("DequantizeLinear", &["q2", "s", "z"], &["d2"], &[])
        .node("Tanh", &["d2"], &["unread"], &[]);
    let g = load(twice);
    assert_eq!((g.edges.len(), quantizers(&g)), (1, 0));
}

#[test]
fn graph_inputs_and_outputs_keep_their_names() {
    let file = File::x_to_y()
        .node("QuantizeLinear", &["x", "s", "z"], &["xq"], &[])
        .node("DequantizeLinear", &["xq", "s", "z"], &["xd"], &[])
        .node("Relu", &["xd"], &["r"], &[])
        .node("QuantizeLinear", &["r", "s", "z"], &["rq"], &[])
        .node("DequantizeLinear", &["rq", "s", "z"], &["y"], &[])
        .initializer(tensor("s", F32, &[], &f32s(&[0.5])))
        .initializer(tensor("z", U8, &[], &[9]));
    let g = load(file);
    let edges: Vec<&str> = g.edges.keys().map(|&v| g.value(v).name.as_str()).collect();
    assert_eq!((edges, g.nodes.len()), (vec!["x", "y"], 1));
    assert_eq!(g.nodes[0].outputs, g.outputs);
}

#[test]
fn what_no_annotation_can_say_stays_a_node() {
    // Someone reads the value before its quantizer.
    let raw = pair(edge(U8, 0.25, &[7])).node("Tanh", &["r"], &["unread"], &[]);
    // Sixteen bits.
    let wide = pair(edge(U16, 0.25, &[7, 0]));
    // Two scales.
    let rescaled = edge(U8, 0.25, &[7])
        .node("QuantizeLinear", &["r", "s", "z"], &["q"], &[])
        .node("DequantizeLinear", &["q", "s2", "z"], &["d"], &[])
        .initializer(tensor("s2", F32, &[], &f32s(&[0.5])));
    for (what, file) in [("raw", raw), ("wide", wide), ("rescaled", rescaled)] {
        let g = load(file);
        assert_eq!((g.edges.len(), quantizers(&g)), (0, 2), "{what}");
    }
    let narrow = pair(edge(U4, 0.25, &[7])).node("Tanh", &["r"], &["unread"], &[]);
    let e = read(&narrow.model(21), &ReadOptions::default()).unwrap_err();
    assert_eq!(
        (e.kind(), e.node()),
        (ErrorKind::Unsupported, Some("the QuantizeLinear"))
    );
    assert!(e.to_string().contains("a quantizer below 8 bits"), "{e}");
}

#[test]
fn a_width_below_8_bits_is_never_lost() {
    let x = || File::x_to_y().initializer(tensor("s", F32, &[], &f32s(&[0.5])));
    let cast = |g: File| g.node("Cast", &["q"], &["y"], &[int("to", 1)]);
    // The zero point comes from a reshaped constant, from an input, or only the attribute says the type.
    let reshaped = x()
        .initializer(tensor("z4", U4, &[1], &[7]))
        .initializer(tensor("none", 7, &[0], &[]))
        .node("Reshape", &["z4", "none"], &["z"], &[])
        .node("QuantizeLinear", &["x", "s", "z"], &["q"], &[]);
    let given = x()
        .input(value("z", U4, &[]))
        .node("QuantizeLinear", &["x", "s", "z"], &["q"], &[]);
    let said = x().node("QuantizeLinear", &["x", "s"], &["q"], &[int("output_dtype", U4)]);
    for (what, file) in [("reshaped", reshaped), ("given", given), ("said", said)] {
        let e = read(&cast(file).model(21), &ReadOptions::default()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{what}: {e}");
        assert!(e.to_string().contains(';'), "{what} has a way out: {e}");
    }
}
