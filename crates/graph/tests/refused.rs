//! Models that do not load say what is wrong, where, and the way out. The texts are what users read: they are held here.

mod common;

use common::proto::{Graph, Message, graph, int, ints, string, tensor, value};
use graph::onnx::{ErrorKind, ReadOptions, read};

struct Case {
    name: &'static str,
    kind: ErrorKind,
    message: &'static str,
    model: Vec<u8>,
}

use ErrorKind::{BadInput, Limit, Unsupported};

fn x_to_y() -> Graph {
    Graph::x_to_y()
}

fn weight() -> Message {
    tensor("w", 1, &[4, 3, 1, 1], &[0; 48])
}

fn conv(attributes: &[Message]) -> Graph {
    x_to_y()
        .initializer(weight())
        .node("Conv", &["x", "w"], &["y"], attributes)
}

fn cases() -> Vec<Case> {
    let mut out = Vec::new();
    let mut case = |name, kind, model, message| {
        out.push(Case {
            name,
            kind,
            message,
            model,
        })
    };
    let relu = || x_to_y().node("Relu", &["x"], &["y"], &[]);

    case(
        "If",
        Unsupported,
        x_to_y()
            .node(
                "If",
                &["x"],
                &["y"],
                &[graph("then_branch", x_to_y()), graph("else_branch", x_to_y())],
            )
            .model(18),
        r#"node "the If" (If, opset 18): control flow is not supported (attribute "then_branch" holds a graph) (at byte 53); export the model without If, Loop and Scan: fixed shapes, no data-dependent branches"#,
    );
    case(
        "Loop",
        Unsupported,
        x_to_y()
            .node("Loop", &["", "", "x"], &["y"], &[graph("body", x_to_y())])
            .model(18),
        r#"node "the Loop" (Loop, opset 18): control flow is not supported (attribute "body" holds a graph) (at byte 52); export the model without If, Loop and Scan: fixed shapes, no data-dependent branches"#,
    );
    case(
        "LSTM",
        Unsupported,
        x_to_y()
            .node("LSTM", &["x", "x", "x"], &["y"], &[int("hidden_size", 4)])
            .model(18),
        r#"node "the LSTM" (LSTM, opset 18): operator "LSTM" is not supported (at byte 51); export the model without it, or cut the graph before it; `lowbit doctor` lists the operators"#,
    );
    case(
        "QLinearConv",
        Unsupported,
        x_to_y()
            .node(
                "QLinearConv",
                &["x", "x", "x", "x", "x", "x", "x", "x"],
                &["y"],
                &[],
            )
            .model(18),
        r#"node "the QLinearConv" (QLinearConv, opset 18): operator "QLinearConv" is not supported (at byte 51); quantize the model in the QDQ format (quant_format=QuantFormat.QDQ), which is read"#,
    );
    case(
        "unknown domain",
        Unsupported,
        x_to_y()
            .node("mmdeploy:TRTBatchedNMS", &["x"], &["y"], &[])
            .model(18),
        r#"node "the TRTBatchedNMS" (TRTBatchedNMS, opset 1): operator "TRTBatchedNMS" of "mmdeploy" is not supported (at byte 51); export the model without it, or cut the graph before it; `lowbit doctor` lists the operators"#,
    );
    case(
        "opset 6",
        Unsupported,
        relu().model(6),
        r#"opset 6 is older than 7, the oldest that is read; convert the model to a newer opset (onnx.version_converter)"#,
    );
    case(
        "opset 99",
        Unsupported,
        relu().model(99),
        r#"opset 99 is newer than 28, the newest that is known; export the model with an older opset, or use a newer lowbit"#,
    );
    case(
        "no opset",
        BadInput,
        Message::default().int(1, 8).message(7, relu().0).0,
        r#"the model (IR version 8) names no opset for the standard operators"#,
    );
    case(
        "no graph",
        BadInput,
        Message::default().int(1, 8).0,
        r#"the file holds no graph; is it an ONNX model, and was it downloaded completely?"#,
    );
    case(
        "not a model",
        BadInput,
        b"<html><body>404 Not Found</body></html>".to_vec(),
        r#"not an ONNX file: wire type 4 is not used (at byte 0)"#,
    );
    case(
        "cut off",
        BadInput,
        {
            let mut m = relu().model(18);
            m.truncate(40);
            m
        },
        r#"the file ends early: 71 bytes wanted, 36 left (at byte 4)"#,
    );
    case(
        "sparse initializer",
        Unsupported,
        Graph(relu().0.message(15, Message::default())).model(18),
        r#"sparse initializers are not supported; export the model with dense weights"#,
    );
    case(
        "string tensor",
        Unsupported,
        relu().initializer(tensor("names", 8, &[1], b"cat")).model(18),
        r#"tensor "names": element type string (code 8) is not supported (at byte 77); export the model with float32, float16 or bfloat16 weights"#,
    );
    case(
        "string input",
        Unsupported,
        relu().input(value("names", 8, &[1])).model(18),
        r#"graph input "names": element type string (code 8) is not supported (at byte 77); export the model with float32, float16 or bfloat16 weights"#,
    );
    case(
        "float8 weights",
        Unsupported,
        relu().initializer(tensor("w", 17, &[4], &[0; 4])).model(18),
        r#"tensor "w": element type float8 or float4 (code 17) is not supported (at byte 77); export the model with float32, float16 or bfloat16 weights"#,
    );
    case(
        "complex weights",
        Unsupported,
        relu().initializer(tensor("w", 14, &[1], &[0; 8])).model(18),
        r#"tensor "w": element type complex (code 14) is not supported (at byte 77); export the model with float32, float16 or bfloat16 weights"#,
    );
    case(
        "no such element type",
        BadInput,
        relu().initializer(tensor("w", 77, &[1], &[0; 8])).model(18),
        r#"tensor "w": there is no element type 77 (at byte 77)"#,
    );
    case(
        "short weight",
        BadInput,
        relu().initializer(tensor("w", 1, &[4, 3], &[0; 40])).model(18),
        r#"tensor "w": 12 elements take 48 bytes, the data holds 40 (at byte 77)"#,
    );
    case(
        "negative dimension",
        BadInput,
        relu().initializer(tensor("w", 1, &[-4, 3], &[0; 48])).model(18),
        r#"tensor "w": dimension -4 is negative (at byte 78)"#,
    );
    case(
        "huge dimensions",
        BadInput,
        relu()
            .initializer(tensor("w", 1, &[1 << 40, 1 << 40], &[]))
            .model(18),
        r#"tensor "w": shape [1099511627776, 1099511627776] has more elements than this machine can address (at byte 77)"#,
    );
    case(
        "larger than the limit",
        Limit,
        relu().initializer(tensor("w", 1, &[1 << 30, 1], &[])).model(18),
        r#"tensor "w": shape [1073741824, 1] takes more than 1073741824 bytes (at byte 77); raise the tensor limit when you trust the file"#,
    );
    case(
        "external weights of bytes",
        BadInput,
        relu().initializer(external("../../etc/passwd")).model(18),
        r#"tensor "w": the weights are in an external file, and no folder to look in is known (at byte 77); load the model from its path rather than from bytes"#,
    );
    case(
        "missing attribute",
        BadInput,
        x_to_y().node("Concat", &["x", "x"], &["y"], &[]).model(18),
        r#"node "the Concat" (Concat, opset 18): attribute axis is missing (at byte 51)"#,
    );
    case(
        "missing blocksize",
        BadInput,
        x_to_y().node("DepthToSpace", &["x"], &["y"], &[]).model(18),
        r#"node "the DepthToSpace" (DepthToSpace, opset 18): attribute blocksize is missing (at byte 51)"#,
    );
    case(
        "unknown attribute",
        Unsupported,
        conv(&[int("winograd", 1)]).model(18),
        r#"node "the Conv" (Conv, opset 18): attribute "winograd" is not known for this operator and opset (at byte 117); export the model with a standard opset, or remove the attribute if it has no effect"#,
    );
    case(
        "attribute of wrong type",
        BadInput,
        conv(&[int("strides", 1)]).model(18),
        r#"node "the Conv" (Conv, opset 18): attribute strides is of type Int, not Ints (at byte 117)"#,
    );
    case(
        "attribute twice",
        BadInput,
        conv(&[int("group", 1), int("group", 1)]).model(18),
        r#"node "the Conv" (Conv, opset 18): attribute "group" is given twice (at byte 117)"#,
    );
    case(
        "strides of wrong rank",
        BadInput,
        conv(&[ints("strides", &[1, 1, 1])]).model(18),
        r#"node "the Conv" (Conv, opset 18): attribute strides has 3 values, the kernel's rank wants 2 (at byte 117)"#,
    );
    case(
        "zero stride",
        BadInput,
        conv(&[ints("strides", &[0, 1])]).model(18),
        r#"node "the Conv" (Conv, opset 18): attribute strides holds 0; only 1 … 2^31 − 1 are possible (at byte 117)"#,
    );
    case(
        "kernel is not the weight's",
        BadInput,
        conv(&[ints("kernel_shape", &[3, 3])]).model(18),
        r#"node "the Conv" (Conv, opset 18): kernel_shape is [3, 3], the weight's kernel is [1, 1] (at byte 117)"#,
    );
    case(
        "kernel of an endless weight",
        BadInput,
        x_to_y()
            .input(value("endless", 1, &[1, 3, 1 << 40, 1]))
            .node("Conv", &["x", "endless"], &["y"], &[])
            .model(18),
        r#"node "the Conv" (Conv, opset 18): the weight's kernel is [1099511627776, 1] (at byte 91)"#,
    );
    case(
        "unknown auto_pad",
        Unsupported,
        conv(&[string("auto_pad", "SAME")]).model(18),
        r#"node "the Conv" (Conv, opset 18): attribute auto_pad is "SAME", supported are NOTSET, SAME_UPPER, SAME_LOWER, VALID (at byte 117); export the model with one of these"#,
    );
    case(
        "too few inputs",
        BadInput,
        x_to_y().node("Conv", &["x"], &["y"], &[]).model(18),
        r#"node "the Conv" (Conv, opset 18): 1 inputs are given, 2 to 3 are possible (at byte 51)"#,
    );
    case(
        "too many inputs",
        BadInput,
        x_to_y().node("Relu", &["x", "x"], &["y"], &[]).model(18),
        r#"node "the Relu" (Relu, opset 18): 2 inputs are given, 1 are possible (at byte 51)"#,
    );
    case(
        "input left out",
        BadInput,
        x_to_y().node("Add", &["", "x"], &["y"], &[]).model(18),
        r#"node "the Add" (Add, opset 18): input 0 is left out, but has no default (at byte 51)"#,
    );
    case(
        "second output of MaxPool",
        Unsupported,
        x_to_y()
            .node(
                "MaxPool",
                &["x"],
                &["y", "indices"],
                &[ints("kernel_shape", &[2, 2])],
            )
            .model(18),
        r#"node "the MaxPool" (MaxPool, opset 18): 2 outputs are asked for, 1 are supported (at byte 51); export the model without the others"#,
    );
    case(
        "cubic Resize",
        Unsupported,
        x_to_y()
            .initializer(tensor("s", 1, &[4], &[0; 16]))
            .node("Resize", &["x", "", "s"], &["y"], &[string("mode", "cubic")])
            .model(18),
        r#"node "the Resize" (Resize, opset 18): attribute mode is "cubic", supported are nearest, linear, bilinear (at byte 78); export the model with one of these"#,
    );
    case(
        "training Dropout",
        Unsupported,
        x_to_y()
            .initializer(tensor("r", 1, &[], &[0; 4]))
            .initializer(tensor("t", 9, &[], &[1]))
            .node("Dropout", &["x", "r", "t"], &["y"], &[])
            .model(18),
        r#"node "the Dropout" (Dropout, opset 18): this is the training form of Dropout (at byte 74); export the model in inference mode (model.eval())"#,
    );
    case(
        "undefined input",
        BadInput,
        x_to_y().node("Add", &["x", "z"], &["y"], &[]).model(18),
        r#"node "the Add" (Add, opset 18): input "z" is neither a graph input, a constant nor an output of any node (at byte 51)"#,
    );
    case(
        "cycle",
        BadInput,
        x_to_y()
            .node("Add", &["x", "y"], &["a"], &[])
            .node("Relu", &["a"], &["y"], &[])
            .model(18),
        r#"the graph has a cycle through node "the Add""#,
    );
    case(
        "written twice",
        BadInput,
        relu().node("Sigmoid", &["x"], &["y"], &[]).model(18),
        r#"node "the Sigmoid" (Sigmoid, opset 18): value "y" is defined twice (at byte 77)"#,
    );
    case(
        "output never computed",
        BadInput,
        relu().output(value("boxes", 1, &[])).model(18),
        r#"graph output "boxes" is never computed (at byte 77)"#,
    );
    case(
        "input twice",
        BadInput,
        relu().input(value("x", 1, &[1])).model(18),
        r#"value "x" is defined twice (at byte 77)"#,
    );
    out
}

/// A tensor whose data is said to lie in another file.
fn external(location: &str) -> Message {
    let entry = Message::default().bytes(1, "location").bytes(2, location);
    Message::default()
        .int(1, 12)
        .int(2, 1)
        .bytes(8, "w")
        .message(13, entry)
        .int(14, 1)
}

#[test]
fn every_refusal_names_its_place_and_the_way_out() {
    let mut faults = String::new();
    for case in cases() {
        let Err(e) = read(&case.model, &ReadOptions::default()) else {
            faults.push_str(&format!("{}: it loads\n", case.name));
            continue;
        };
        // Whoever meets a limit of lowbit learns what to do.
        let way_out = e.kind() != Unsupported || e.to_string().contains("; ");
        if e.kind() != case.kind || e.to_string() != case.message || !way_out {
            faults.push_str(&format!("{}: {:?}: {e}\n", case.name, e.kind()));
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
