//! `Decode`, `DecodePlanes`, `AddRows` and `IntegrateFire` in standard operators, for runtimes that have never heard of them.

use tensor::{DType, Tensor};

use super::super::wire::Writer;
use super::super::write::{NodeWriter, tensor_message, value_info};
use super::{ADD_ROWS, DECODE, DECODE_PLANES, DOMAIN, INTEGRATE_FIRE};

/// Operators of this opset suffice.
const OPSET: i64 = 18;

/// The `FunctionProto`, always the same bytes. Shapes: P points, B bytes each, N weights of b bits, weight shape S.
pub(in super::super) fn decode_function() -> Vec<u8> {
    let inputs = ["codes", "levels", "scale", "zero_point"];
    let attributes = ["version", "grid", "bits", "axis", "shape"];
    function(DECODE, &inputs, "weight", &attributes, decode_body)
}

fn function(
    name: &str,
    inputs: &[&str],
    output: &str,
    attributes: &[&str],
    body: fn(&mut Body<'_>),
) -> Vec<u8> {
    let mut f = Writer::default();
    f.string(1, name);
    inputs.iter().for_each(|name| f.string(4, name));
    f.string(5, output);
    attributes.iter().for_each(|name| f.string(6, name));
    body(&mut Body { nodes: &mut f });
    f.message(9, |o| {
        o.string(1, "");
        o.int(2, OPSET);
    });
    f.string(10, DOMAIN);
    f.into_bytes()
}

fn decode_body(b: &mut Body<'_>) {
    b.constant("eight", &Tensor::vector((0..8).collect::<Vec<u8>>()));
    b.constant("one", &Tensor::scalar(1u8));
    b.constant(
        "powers",
        &Tensor::vector((0..8).map(|k| 1u8 << k).collect::<Vec<u8>>()),
    );
    b.constant("at0", &Tensor::vector(vec![0i64]));
    b.constant("at1", &Tensor::vector(vec![1i64]));
    b.constant("at2", &Tensor::vector(vec![2i64]));
    b.constant("rest", &Tensor::vector(vec![-1i64]));
    b.attribute("width", "value_int", "bits", 2);
    b.attribute("dims", "value_ints", "shape", 7);
    b.node("Unsqueeze", &["width", "at0"], "b", |_| ());
    b.node("ReduceProd", &["dims"], "n", |n| n.int("keepdims", 1));
    b.node("Mul", &["n", "b"], "length", |_| ());
    // The bits of every byte, lowest first: [P, B, 8].
    b.node("Unsqueeze", &["codes", "at2"], "bytes", |_| ());
    b.node("BitShift", &["bytes", "eight"], "shifted", |n| {
        n.string("direction", "RIGHT")
    });
    b.node("BitwiseAnd", &["shifted", "one"], "bits8", |_| ());
    // One stream per point, cut to N·b bits, b to a code: [P, N, b].
    b.node("Concat", &["at0", "rest"], "to_stream", |n| n.int("axis", 0));
    b.node("Reshape", &["bits8", "to_stream"], "stream", |_| ());
    b.node("Slice", &["stream", "at0", "length", "at1"], "used", |_| ());
    b.node("Concat", &["at0", "rest", "b"], "to_digits", |n| n.int("axis", 0));
    b.node("Reshape", &["used", "to_digits"], "digits", |_| ());
    // Code = Σ digit_k · 2^k: [P, N, 1].
    b.node("Slice", &["powers", "at0", "b"], "places", |_| ());
    b.node("Unsqueeze", &["places", "at1"], "column", |_| ());
    b.node("MatMulInteger", &["digits", "column"], "code", |_| ());
    b.node("Gather", &["levels", "code"], "level", |n| n.int("axis", 0));
    b.node("Concat", &["at0", "dims"], "to_points", |n| n.int("axis", 0));
    b.node("Reshape", &["level", "to_points"], "point", |_| ());
    // Σ_points scale · (level − zero_point).
    b.node("Sub", &["point", "zero_point"], "integer", |_| ());
    b.node("Cast", &["integer"], "real", |n| n.int("to", 1));
    b.node("Mul", &["real", "scale"], "term", |_| ());
    b.node("ReduceSum", &["term", "at0"], "weight", |n| n.int("keepdims", 0));
}

/// The `FunctionProto` of weights in planes, always the same bytes. G groups, N weights of extent [first axis, second, rest], B bytes a plane.
pub(in super::super) fn decode_planes_function() -> Vec<u8> {
    let inputs = ["mask", "planes", "scale"];
    let attributes = ["version", "grid", "axis", "shape", "group"];
    function(DECODE_PLANES, &inputs, "weight", &attributes, decode_planes_body)
}

fn decode_planes_body(b: &mut Body<'_>) {
    b.constant("eight", &Tensor::vector((0..8).collect::<Vec<u8>>()));
    b.constant("one", &Tensor::scalar(1u8));
    b.constant("one32", &Tensor::scalar(1i32));
    b.constant("first", &Tensor::scalar(0i64));
    b.constant("second", &Tensor::scalar(1i64));
    b.constant("at0", &Tensor::vector(vec![0i64]));
    b.constant("at1", &Tensor::vector(vec![1i64]));
    b.constant("at2", &Tensor::vector(vec![2i64]));
    b.constant("rest", &Tensor::vector(vec![-1i64]));
    b.constant("starts", &Tensor::vector(vec![0i64; 3]));
    b.constant("ones", &Tensor::vector(vec![1i64; 3]));
    b.attribute("dims", "value_ints", "shape", 7);
    b.attribute("size", "value_ints", "group", 7);
    // The extent and the groups along each axis: [3].
    b.node("ReduceProd", &["dims"], "n", |n| n.int("keepdims", 1));
    b.node("Slice", &["dims", "at0", "at2"], "two", |_| ());
    b.node("ReduceProd", &["two"], "area", |n| n.int("keepdims", 1));
    b.node("Div", &["n", "area"], "taps", |_| ());
    b.node("Concat", &["two", "taps"], "extent", |n| n.int("axis", 0));
    b.node("Sub", &["size", "ones"], "less", |_| ());
    b.node("Add", &["extent", "less"], "more", |_| ());
    b.node("Div", &["more", "size"], "count", |_| ());
    b.node("Mul", &["count", "size"], "padded", |_| ());
    // The mask's bits, lowest first: [G].
    b.node("ReduceProd", &["count"], "groups", |n| n.int("keepdims", 1));
    b.node("Unsqueeze", &["mask", "at1"], "mask_bytes", |_| ());
    b.node("BitShift", &["mask_bytes", "eight"], "mask_shifted", |n| {
        n.string("direction", "RIGHT")
    });
    b.node("BitwiseAnd", &["mask_shifted", "one"], "mask8", |_| ());
    b.node("Reshape", &["mask8", "rest"], "mask_bits", |_| ());
    b.node("Slice", &["mask_bits", "at0", "groups"], "mask_used", |_| ());
    b.node("Cast", &["mask_used"], "mask32", |n| n.int("to", 6));
    // Spread over the weights of each group, cut to the extent: [N].
    b.node("Unsqueeze", &["count", "at1"], "count_column", |_| ());
    b.node("Unsqueeze", &["ones", "at1"], "ones_column", |_| ());
    b.node("Unsqueeze", &["size", "at1"], "size_column", |_| ());
    b.node("Concat", &["count_column", "ones_column"], "count_one", |n| {
        n.int("axis", 1)
    });
    b.node("Reshape", &["count_one", "rest"], "to_blocks", |_| ());
    b.node("Concat", &["ones_column", "size_column"], "one_size", |n| {
        n.int("axis", 1)
    });
    b.node("Reshape", &["one_size", "rest"], "to_groups", |_| ());
    b.node("Reshape", &["mask32", "to_blocks"], "blocks", |_| ());
    b.node("Expand", &["blocks", "to_groups"], "spread", |_| ());
    b.node("Reshape", &["spread", "padded"], "whole", |_| ());
    b.node("Slice", &["whole", "starts", "extent"], "inside", |_| ());
    b.node("Reshape", &["inside", "rest"], "kept", |_| ());
    // Of each kept weight its place among these, 0 of others: [N].
    b.node("CumSum", &["kept", "first"], "behind", |_| ());
    b.node("Sub", &["behind", "one32"], "before", |_| ());
    b.node("Mul", &["before", "kept"], "place", |_| ());
    // +1, −1 or 0 of each kept weight: [8·B].
    b.node("Unsqueeze", &["planes", "at2"], "bytes", |_| ());
    b.node("BitShift", &["bytes", "eight"], "shifted", |n| {
        n.string("direction", "RIGHT")
    });
    b.node("BitwiseAnd", &["shifted", "one"], "bits8", |_| ());
    b.node("Cast", &["bits8"], "bits32", |n| n.int("to", 6));
    b.node("Concat", &["at0", "rest"], "to_streams", |n| n.int("axis", 0));
    b.node("Reshape", &["bits32", "to_streams"], "streams", |_| ());
    b.node("Gather", &["streams", "first"], "plus", |n| n.int("axis", 0));
    b.node("Gather", &["streams", "second"], "minus", |n| n.int("axis", 0));
    b.node("Sub", &["plus", "minus"], "signs", |_| ());
    // Scale · level.
    b.node("Gather", &["signs", "place"], "sign", |n| n.int("axis", 0));
    b.node("Mul", &["sign", "kept"], "levels", |_| ());
    b.node("Reshape", &["levels", "dims"], "level", |_| ());
    b.node("Cast", &["level"], "real", |n| n.int("to", 1));
    b.node("Mul", &["real", "scale"], "weight", |_| ());
}

/// The other `FunctionProto`, always the same bytes. E rows of the C output channels are added to.
pub(in super::super) fn add_rows_function() -> Vec<u8> {
    let inputs = ["weight", "rows", "channels"];
    function(ADD_ROWS, &inputs, "sum", &["version", "axis"], add_rows_body)
}

fn add_rows_body(b: &mut Body<'_>) {
    b.constant("zero", &Tensor::scalar(0i64));
    b.constant("one", &Tensor::scalar(1i64));
    b.constant("at0", &Tensor::vector(vec![0i64]));
    b.attribute("along", "value_int", "axis", 2);
    // Of each output channel the row that is added, E where there is none: [C].
    b.node("Shape", &["weight"], "dims", |_| ());
    b.node("Gather", &["dims", "along"], "c", |n| n.int("axis", 0));
    b.node("Unsqueeze", &["c", "at0"], "to_channels", |_| ());
    b.node("Shape", &["channels"], "e", |_| ());
    b.node("Expand", &["e", "to_channels"], "none", |_| ());
    b.node("Squeeze", &["e", "at0"], "end", |_| ());
    b.node("Range", &["zero", "end", "one"], "numbers", |_| ());
    b.node("Cast", &["channels"], "places", |n| n.int("to", 7));
    b.node("ScatterElements", &["none", "places", "numbers"], "row_of", |n| {
        n.int("axis", 0)
    });
    // A row of zeros behind the E rows.
    b.node("Gather", &["rows", "at0"], "first", |n| {
        n.int_of_caller("axis", "axis")
    });
    b.node("Sub", &["first", "first"], "zeros", |_| ());
    b.node("Concat", &["rows", "zeros"], "padded", |n| {
        n.int_of_caller("axis", "axis")
    });
    b.node("Gather", &["padded", "row_of"], "spread", |n| {
        n.int_of_caller("axis", "axis")
    });
    b.node("Add", &["weight", "spread"], "sum", |_| ());
}

/// The third `FunctionProto`, always the same bytes: neurons whose steps a Scan walks through.
pub(in super::super) fn integrate_fire_function() -> Vec<u8> {
    let inputs = ["x", "threshold", "leak"];
    let attributes = ["version", "steps", "input_steps", "output_steps"];
    function(
        INTEGRATE_FIRE,
        &inputs,
        "spikes",
        &attributes,
        integrate_fire_body,
    )
}

fn integrate_fire_body(b: &mut Body<'_>) {
    b.constant("at0", &Tensor::vector(vec![0i64]));
    b.constant("at1", &Tensor::vector(vec![1i64]));
    b.constant("rest", &Tensor::vector(vec![-1i64]));
    for (name, attribute) in [("t", "steps"), ("from", "input_steps"), ("to", "output_steps")] {
        b.attribute(&format!("{name}_number"), "value_int", attribute, 2);
        b.node("Unsqueeze", &[&format!("{name}_number"), "at0"], name, |_| ());
    }
    // [from, N, …], then [T, N, …].
    b.node("Shape", &["x"], "behind", |n| n.int("start", 1));
    b.node("Concat", &["from", "rest", "behind"], "to_steps", |n| {
        n.int("axis", 0)
    });
    b.node("Reshape", &["x", "to_steps"], "given", |_| ());
    b.node("Shape", &["given"], "one", |n| n.int("start", 1));
    b.node("Concat", &["t", "one"], "all", |n| n.int("axis", 0));
    b.node("Expand", &["given", "all"], "currents", |_| ());
    b.node("ConstantOfShape", &["one"], "quiet", |_| ());
    b.scan(&["quiet", "currents"], ["last", "each"]);
    // The steps that are left are summed: none, or all.
    b.node("Div", &["t", "to"], "together", |_| ());
    b.node("Concat", &["to", "together", "one"], "to_sums", |n| {
        n.int("axis", 0)
    });
    b.node("Reshape", &["each", "to_sums"], "apart", |_| ());
    b.node("ReduceSum", &["apart", "at1"], "sums", |n| n.int("keepdims", 0));
    b.node("Concat", &["rest", "behind"], "to_spikes", |n| n.int("axis", 0));
    b.node("Reshape", &["sums", "to_spikes"], "spikes", |_| ());
}

/// One step: (u, x) → (u after the reset, spikes).
fn step(g: &mut Writer) {
    let mut node = |op: &str, inputs: &[&str], output: &str, to: i64| {
        let mut opset = OPSET;
        let mut list = NodeWriter::new(inputs.len(), 1, &mut opset);
        if op == "Cast" {
            list.int("to", to);
        }
        let list = list.into_attributes();
        g.message(1, |n| {
            inputs.iter().for_each(|i| n.string(1, i));
            n.string(2, output);
            n.string(4, op);
            n.append(list);
        });
    };
    node("Mul", &["leak", "u"], "kept", 0);
    node("Add", &["kept", "current"], "before", 0);
    node("Greater", &["before", "threshold"], "fires", 0);
    node("Cast", &["fires"], "spike", 1);
    node("Mul", &["threshold", "spike"], "reset", 0);
    node("Sub", &["before", "reset"], "left", 0);
    g.string(2, "step");
    for (field, names) in [(11, ["u", "current"]), (12, ["left", "spike"])] {
        for name in names {
            g.message(field, |m| value_info(name, DType::F32, None, m));
        }
    }
}

struct Body<'w> {
    nodes: &'w mut Writer,
}

impl Body<'_> {
    fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: impl FnOnce(&mut NodeWriter<'_>),
    ) {
        let mut opset = OPSET;
        let mut list = NodeWriter::new(inputs.len(), 1, &mut opset);
        attributes(&mut list);
        let list = list.into_attributes();
        self.nodes.message(7, |n| {
            inputs.iter().for_each(|i| n.string(1, i));
            n.string(2, output);
            n.string(4, op);
            n.append(list);
        });
    }

    /// A Scan over the first axis with one state: see [`step`].
    fn scan(&mut self, inputs: &[&str], outputs: [&str; 2]) {
        self.nodes.message(7, |n| {
            inputs.iter().for_each(|i| n.string(1, i));
            outputs.iter().for_each(|o| n.string(2, o));
            n.string(4, "Scan");
            n.message(5, |a| {
                a.string(1, "body");
                a.message(6, step);
                a.int(20, 5);
            });
            n.message(5, |a| {
                a.string(1, "num_scan_inputs");
                a.int(3, 1);
                a.int(20, 2);
            });
        });
    }

    fn constant(&mut self, name: &str, value: &Tensor) {
        self.nodes.message(7, |n| {
            n.string(2, name);
            n.string(4, "Constant");
            n.message(5, |a| {
                a.string(1, "value");
                a.message(5, |t| tensor_message("", value, t));
                a.int(20, 4);
            });
        });
    }

    /// A constant that is an attribute of the caller; `kind` is its `AttributeType`.
    fn attribute(&mut self, name: &str, field: &str, attribute: &str, kind: i64) {
        self.nodes.message(7, |n| {
            n.string(2, name);
            n.string(4, "Constant");
            n.message(5, |a| {
                a.string(1, field);
                a.int(20, kind);
                a.string(21, attribute);
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    #[test]
    fn the_functions_are_those_that_the_format_names() {
        let format = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../FORMAT.md");
        let text = std::fs::read_to_string(format).unwrap();
        for function in [
            super::decode_function(),
            super::decode_planes_function(),
            super::add_rows_function(),
            super::integrate_fire_function(),
        ] {
            let digest = Sha256::digest(function);
            let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
            assert!(text.contains(&hex), "FORMAT.md does not name {hex}");
        }
    }
}
