//! The messages of `onnx.proto`, borrowed from the file: only the fields that a detector can need.
//!
//! Field numbers stand in comments where they are not obvious from the match. Unknown fields (documentation, device
//! placement, training) are skipped. Lists of nodes and tensors stay unparsed slices until they are needed, so that a
//! file of a million empty nodes costs 24 bytes each before the node limit refuses it.

use super::error::{Load, LoadError, quoted};
use super::wire::{Bytes, Payload, Reader};
use super::{Limits, io};

/// Appends to a list that must stay below a limit.
fn push<T>(list: &mut Vec<T>, item: T, most: usize, what: &str) -> Load<()> {
    if list.len() >= most {
        return Err(LoadError::limit(format!("the model has more than {most} {what}"))
            .help("raise the node limit when you trust the file"));
    }
    list.push(item);
    Ok(())
}

/// `OperatorSetIdProto`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpsetId<'a> {
    pub domain: &'a str,
    pub version: i64,
}

impl<'a> OpsetId<'a> {
    fn parse(message: Bytes<'a>) -> Load<Self> {
        let mut out = OpsetId {
            domain: "",
            version: 0,
        };
        let mut r = Reader::new(message);
        while let Some(f) = r.next()? {
            match f.number {
                1 => out.domain = normal_domain(f.string()?),
                2 => out.version = f.int()?,
                _ => {}
            }
        }
        Ok(out)
    }
}

/// `ai.onnx` is a second name of the default domain.
pub(crate) fn normal_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// `StringStringEntryProto`.
pub(crate) fn string_pair<'a>(message: Bytes<'a>) -> Load<(&'a str, &'a str)> {
    let (mut key, mut value) = ("", "");
    let mut r = Reader::new(message);
    while let Some(f) = r.next()? {
        match f.number {
            1 => key = f.string()?,
            2 => value = f.string()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// `ModelProto`.
#[derive(Debug, Default)]
pub(crate) struct Model<'a> {
    pub ir_version: i64,
    pub opsets: Vec<OpsetId<'a>>,
    pub graph: Option<Bytes<'a>>,
    pub metadata: Vec<(&'a str, &'a str)>,
    pub functions: Vec<Function<'a>>,
}

impl<'a> Model<'a> {
    pub(crate) fn parse(bytes: &'a [u8], limits: &Limits) -> Load<Self> {
        let mut out = Model::default();
        let mut r = Reader::new(Bytes { bytes, at: 0 });
        while let Some(f) = r.next()? {
            match f.number {
                1 => out.ir_version = f.int()?,
                7 if out.graph.is_some() => {
                    return Err(LoadError::bad("the model holds two graphs").at_byte(f.at));
                }
                7 => out.graph = Some(f.bytes()?),
                8 => push(&mut out.opsets, OpsetId::parse(f.bytes()?)?, 256, "opset imports")?,
                14 => push(
                    &mut out.metadata,
                    string_pair(f.bytes()?)?,
                    limits.nodes,
                    "metadata entries",
                )?,
                25 => push(
                    &mut out.functions,
                    Function::parse(f.bytes()?, limits)?,
                    limits.nodes.min(10_000),
                    "functions",
                )?,
                _ => {}
            }
        }
        Ok(out)
    }
}

/// `GraphProto`; `sparse` tells that sparse initializers are present.
#[derive(Debug, Default)]
pub(crate) struct GraphProto<'a> {
    pub name: &'a str,
    pub nodes: Vec<Bytes<'a>>,
    pub initializers: Vec<Bytes<'a>>,
    pub inputs: Vec<Bytes<'a>>,
    pub outputs: Vec<Bytes<'a>>,
    pub value_infos: Vec<Bytes<'a>>,
    pub sparse: bool,
}

impl<'a> GraphProto<'a> {
    pub(crate) fn parse(message: Bytes<'a>, limits: &Limits) -> Load<Self> {
        let mut out = GraphProto::default();
        // Every node may bring a few constants and one declared value.
        let values = limits.nodes.saturating_mul(8);
        let mut r = Reader::new(message);
        while let Some(f) = r.next()? {
            match f.number {
                1 => push(&mut out.nodes, f.bytes()?, limits.nodes, "nodes")?,
                2 => out.name = f.string()?,
                5 => push(&mut out.initializers, f.bytes()?, values, "initializers")?,
                11 => push(&mut out.inputs, f.bytes()?, values, "inputs")?,
                12 => push(&mut out.outputs, f.bytes()?, values, "outputs")?,
                13 => push(&mut out.value_infos, f.bytes()?, values, "declared values")?,
                15 => out.sparse = true,
                _ => {}
            }
        }
        Ok(out)
    }
}

/// `FunctionProto`.
#[derive(Debug, Default)]
pub(crate) struct Function<'a> {
    pub message: Bytes<'a>,
    pub name: &'a str,
    pub domain: &'a str,
    pub overload: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub nodes: Vec<Bytes<'a>>,
    pub opsets: Vec<OpsetId<'a>>,
    /// Attributes with a default value.
    pub defaults: Vec<Attribute<'a>>,
}

impl<'a> Function<'a> {
    fn parse(message: Bytes<'a>, limits: &Limits) -> Load<Self> {
        let mut out = Function {
            message,
            ..Function::default()
        };
        let mut r = Reader::new(message);
        while let Some(f) = r.next()? {
            match f.number {
                1 => out.name = f.string()?,
                4 => push(&mut out.inputs, f.string()?, limits.nodes, "function inputs")?,
                5 => push(&mut out.outputs, f.string()?, limits.nodes, "function outputs")?,
                7 => push(&mut out.nodes, f.bytes()?, limits.nodes, "function nodes")?,
                9 => push(&mut out.opsets, OpsetId::parse(f.bytes()?)?, 256, "opset imports")?,
                10 => out.domain = normal_domain(f.string()?),
                11 => push(
                    &mut out.defaults,
                    Attribute::parse(f.bytes()?)?,
                    256,
                    "attributes",
                )?,
                13 => out.overload = f.string()?,
                _ => {}
            }
        }
        Ok(out)
    }
}

/// `NodeProto`. An input or output named "" is left out.
#[derive(Debug, Default)]
pub(crate) struct NodeProto<'a> {
    pub name: &'a str,
    pub op_type: &'a str,
    pub domain: &'a str,
    pub overload: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub attributes: Vec<Attribute<'a>>,
}

impl<'a> NodeProto<'a> {
    pub(crate) fn parse(message: Bytes<'a>, limits: &Limits) -> Load<Self> {
        let mut out = NodeProto::default();
        let mut r = Reader::new(message);
        while let Some(f) = r.next()? {
            match f.number {
                1 => push(
                    &mut out.inputs,
                    limits.string(f.string()?)?,
                    limits.nodes,
                    "inputs of one node",
                )?,
                2 => push(
                    &mut out.outputs,
                    limits.string(f.string()?)?,
                    limits.nodes,
                    "outputs of one node",
                )?,
                3 => out.name = limits.string(f.string()?)?,
                4 => out.op_type = limits.string(f.string()?)?,
                5 => push(
                    &mut out.attributes,
                    Attribute::parse(f.bytes()?)?,
                    256,
                    "attributes of one node",
                )?,
                7 => out.domain = normal_domain(limits.string(f.string()?)?),
                8 => out.overload = limits.string(f.string()?)?,
                _ => {}
            }
        }
        Ok(out)
    }
}

/// `AttributeProto.AttributeType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum Kind {
    Undefined,
    Float,
    Int,
    String,
    Tensor,
    Floats,
    Ints,
    Strings,
    /// A graph, a list of tensors, a sparse tensor or a type.
    Other,
}

impl Kind {
    fn from_code(code: i64) -> Self {
        match code {
            0 => Kind::Undefined,
            1 => Kind::Float,
            2 => Kind::Int,
            3 => Kind::String,
            4 => Kind::Tensor,
            6 => Kind::Floats,
            7 => Kind::Ints,
            8 => Kind::Strings,
            _ => Kind::Other,
        }
    }
}

/// `AttributeProto`.
#[derive(Debug, Clone)]
pub(crate) struct Attribute<'a> {
    pub name: &'a str,
    /// Inside a function: takes the value of the caller's attribute of this name.
    pub refers_to: &'a str,
    pub kind: Kind,
    pub float: f32,
    pub int: i64,
    pub string: &'a [u8],
    pub tensor: Option<Bytes<'a>>,
    pub floats: Vec<f32>,
    pub ints: Vec<i64>,
    pub subgraph: bool,
}

impl<'a> Attribute<'a> {
    pub(crate) fn parse(message: Bytes<'a>) -> Load<Self> {
        let mut out = Attribute {
            name: "",
            refers_to: "",
            kind: Kind::Undefined,
            float: 0.0,
            int: 0,
            string: &[],
            tensor: None,
            floats: Vec::new(),
            ints: Vec::new(),
            subgraph: false,
        };
        // Files of IR version 1 carry no type; the field that is present then tells it.
        let mut seen = Kind::Undefined;
        let mut r = Reader::new(message);
        while let Some(f) = r.next()? {
            let kind = match f.number {
                1 => {
                    out.name = f.string()?;
                    continue;
                }
                21 => {
                    out.refers_to = f.string()?;
                    continue;
                }
                20 => {
                    out.kind = Kind::from_code(f.int()?);
                    continue;
                }
                2 => {
                    out.float = f.float()?;
                    Kind::Float
                }
                3 => {
                    out.int = f.int()?;
                    Kind::Int
                }
                4 => {
                    out.string = f.bytes()?.bytes;
                    Kind::String
                }
                5 => {
                    out.tensor = Some(f.bytes()?);
                    Kind::Tensor
                }
                6 | 11 => {
                    out.subgraph = true;
                    Kind::Other
                }
                7 => {
                    f.floats(&mut out.floats)?;
                    Kind::Floats
                }
                8 => {
                    f.ints(&mut out.ints)?;
                    Kind::Ints
                }
                9 => Kind::Strings,
                _ => continue,
            };
            seen = kind;
        }
        if out.kind == Kind::Undefined {
            out.kind = seen;
        }
        Ok(out)
    }
}

/// `TensorProto` with its payload still in the file's form.
#[derive(Debug, Default)]
pub(crate) struct TensorProto<'a> {
    pub name: &'a str,
    pub at: usize,
    pub dims: Vec<i64>,
    pub data_type: i64,
    pub raw: Option<Bytes<'a>>,
    pub floats: Option<Vec<f32>>,
    pub int32s: Option<Vec<i64>>,
    pub int64s: Option<Vec<i64>>,
    pub uint64s: Option<Vec<i64>>,
    pub doubles: Option<Vec<f64>>,
    pub strings: bool,
    pub segment: bool,
    pub external: bool,
    pub location: Vec<(&'a str, &'a str)>,
}

impl<'a> TensorProto<'a> {
    pub(crate) fn parse(message: Bytes<'a>) -> Load<Self> {
        let mut out = TensorProto {
            at: message.at,
            ..TensorProto::default()
        };
        let mut r = Reader::new(message);
        while let Some(f) = r.next()? {
            match f.number {
                1 => f.ints(&mut out.dims)?,
                2 => out.data_type = f.int()?,
                3 => out.segment = true,
                4 => f.floats(out.floats.get_or_insert_default())?,
                5 => f.ints(out.int32s.get_or_insert_default())?,
                6 => out.strings = true,
                7 => f.ints(out.int64s.get_or_insert_default())?,
                8 => out.name = f.string()?,
                9 => out.raw = Some(f.bytes()?),
                10 => f.doubles(out.doubles.get_or_insert_default())?,
                11 => f.ints(out.uint64s.get_or_insert_default())?,
                13 => push(
                    &mut out.location,
                    string_pair(f.bytes()?)?,
                    64,
                    "external data entries",
                )?,
                14 => out.external = f.int()? == 1,
                _ => {}
            }
        }
        if out.dims.len() > io::MAX_RANK {
            let (rank, most) = (out.dims.len(), io::MAX_RANK);
            return Err(LoadError::limit(format!(
                "tensor {} has {rank} dimensions, at most {most} are supported",
                quoted(out.name)
            ))
            .at_byte(out.at));
        }
        Ok(out)
    }
}

/// One dimension of a declared shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dim<'a> {
    Fixed(usize),
    Named(&'a str),
    Unknown,
}

/// `ValueInfoProto` of a dense tensor: its element type and, when declared, its shape.
#[derive(Debug)]
pub(crate) struct ValueInfo<'a> {
    pub name: &'a str,
    pub at: usize,
    /// 0 when the type is missing or not a dense tensor.
    pub elem_type: i64,
    pub not_a_tensor: bool,
    pub shape: Option<Vec<Dim<'a>>>,
}

impl<'a> ValueInfo<'a> {
    pub(crate) fn parse(message: Bytes<'a>) -> Load<Self> {
        let mut out = ValueInfo {
            name: "",
            at: message.at,
            elem_type: 0,
            not_a_tensor: false,
            shape: None,
        };
        let mut r = Reader::new(message);
        while let Some(f) = r.next()? {
            match f.number {
                1 => out.name = f.string()?,
                2 => out.parse_type(f.bytes()?)?,
                _ => {}
            }
        }
        Ok(out)
    }

    fn parse_type(&mut self, message: Bytes<'a>) -> Load<()> {
        let mut r = Reader::new(message);
        while let Some(f) = r.next()? {
            match f.number {
                1 => {
                    let mut tensor = Reader::new(f.bytes()?);
                    while let Some(f) = tensor.next()? {
                        match f.number {
                            1 => self.elem_type = f.int()?,
                            2 => self.shape = Some(parse_shape(f.bytes()?)?),
                            _ => {}
                        }
                    }
                }
                6 => {}
                _ => self.not_a_tensor = true,
            }
        }
        Ok(())
    }
}

fn parse_shape(message: Bytes<'_>) -> Load<Vec<Dim<'_>>> {
    let mut out = Vec::new();
    let mut r = Reader::new(message);
    while let Some(f) = r.next()? {
        if f.number != 1 {
            continue;
        }
        let mut dim = Dim::Unknown;
        let mut inner = Reader::new(f.bytes()?);
        while let Some(f) = inner.next()? {
            match (f.number, f.payload) {
                // Exporters write 0 or −1 for a dimension they do not know.
                (1, Payload::Varint(v)) => {
                    dim = match usize::try_from(v as i64) {
                        Ok(0) | Err(_) => Dim::Unknown,
                        Ok(n) => Dim::Fixed(n),
                    }
                }
                (2, _) => dim = Dim::Named(f.string()?),
                _ => {}
            }
        }
        push(&mut out, dim, io::MAX_RANK, "dimensions in one shape")?;
    }
    Ok(out)
}
