//! Small ONNX models, written field by field: what a file may say, right or wrong.
#![allow(dead_code, unreachable_pub)]

/// A protobuf message under construction.
#[derive(Clone, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.0.push(v as u8);
    }

    /// A number.
    pub fn int(mut self, field: u64, v: i64) -> Self {
        self.varint(field << 3);
        self.varint(v as u64);
        self
    }

    /// A string, bytes or a message.
    pub fn bytes(mut self, field: u64, v: impl AsRef<[u8]>) -> Self {
        let v = v.as_ref();
        self.varint(field << 3 | 2);
        self.varint(v.len() as u64);
        self.0.extend_from_slice(v);
        self
    }

    /// A message in a field.
    pub fn message(self, field: u64, v: Message) -> Self {
        self.bytes(field, v.0)
    }
}

fn message() -> Message {
    Message::default()
}

/// `ValueInfoProto` of a tensor.
pub fn value(name: &str, elem_type: i64, shape: &[i64]) -> Message {
    let dims = shape
        .iter()
        .fold(message(), |m, &d| m.message(1, message().int(1, d)));
    let tensor = message().int(1, elem_type).message(2, dims);
    message().bytes(1, name).message(2, message().message(1, tensor))
}

/// `TensorProto` over raw data.
pub fn tensor(name: &str, elem_type: i64, shape: &[i64], raw: &[u8]) -> Message {
    let m = shape.iter().fold(message(), |m, &d| m.int(1, d));
    m.int(2, elem_type).bytes(8, name).bytes(9, raw)
}

/// `AttributeProto` of one integer.
pub fn int(name: &str, v: i64) -> Message {
    message().bytes(1, name).int(3, v).int(20, 2)
}

/// `AttributeProto` of integers.
pub fn ints(name: &str, v: &[i64]) -> Message {
    let m = v.iter().fold(message().bytes(1, name), |m, &v| m.int(8, v));
    m.int(20, 7)
}

/// `AttributeProto` of a string.
pub fn string(name: &str, v: &str) -> Message {
    message().bytes(1, name).bytes(4, v).int(20, 3)
}

/// `AttributeProto` of a graph.
pub fn graph(name: &str, v: Graph) -> Message {
    message().bytes(1, name).message(6, v.0).int(20, 5)
}

/// `NodeProto`; a name `domain:Operator` has its own domain.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    let (domain, op) = op.rsplit_once(':').unwrap_or(("", op));
    let m = inputs.iter().fold(message(), |m, i| m.bytes(1, i));
    let m = outputs.iter().fold(m, |m, o| m.bytes(2, o));
    let m = m.bytes(3, format!("the {op}")).bytes(4, op).bytes(7, domain);
    attributes.iter().fold(m, |m, a| m.message(5, a.clone()))
}

/// `GraphProto` under construction.
#[derive(Clone, Default)]
pub struct Graph(pub Message);

impl Graph {
    /// A graph with input x: float [1, 3, 8, 8] and output y.
    pub fn x_to_y() -> Self {
        Graph(message().bytes(2, "g"))
            .input(value("x", 1, &[1, 3, 8, 8]))
            .output(value("y", 1, &[]))
    }

    /// One more node.
    pub fn node(self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Self {
        Graph(self.0.message(1, node(op, inputs, outputs, attributes)))
    }

    /// One more initializer.
    pub fn initializer(self, t: Message) -> Self {
        Graph(self.0.message(5, t))
    }

    /// One more input.
    pub fn input(self, v: Message) -> Self {
        Graph(self.0.message(11, v))
    }

    /// One more output.
    pub fn output(self, v: Message) -> Self {
        Graph(self.0.message(12, v))
    }

    /// The file, under an opset.
    pub fn model(self, opset: i64) -> Vec<u8> {
        message()
            .int(1, 8)
            .message(7, self.0)
            .message(8, message().bytes(1, "").int(2, opset))
            .0
    }
}
