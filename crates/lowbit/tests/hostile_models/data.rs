//! Data of tensors, whole files cut short, quantizers: rows 6 and 11.

use super::*;

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
