//! ONNX tensors to [`Tensor`] and back: element types, exact lengths, narrow integers, half floats.

use half::{bf16, f16};
use tensor::{DType, Data, Tensor, numel};

use super::error::{Load, LoadError, quoted};
use super::external;
use super::proto::TensorProto;
use super::{Limits, Source};

/// Most dimensions of a tensor.
pub(crate) const MAX_RANK: usize = 32;

/// `TensorProto.DataType` as far as lowbit reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElemType {
    Plain(DType),
    F16,
    BF16,
    /// int4, uint4, int2, uint2: (signed, bits).
    Narrow(bool, u32),
}

impl std::fmt::Display for ElemType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ElemType::Narrow(true, bits) => write!(f, "I{bits}"),
            ElemType::Narrow(false, bits) => write!(f, "U{bits}"),
            other => write!(f, "{:?}", other.dtype()),
        }
    }
}

impl ElemType {
    /// The type a code names.
    pub(crate) fn from_code(code: i64) -> Load<Self> {
        Ok(ElemType::Plain(match code {
            1 => DType::F32,
            2 => DType::U8,
            3 => DType::I8,
            4 => DType::U16,
            5 => DType::I16,
            6 => DType::I32,
            7 => DType::I64,
            9 => DType::Bool,
            10 => return Ok(ElemType::F16),
            11 => DType::F64,
            12 => DType::U32,
            13 => DType::U64,
            16 => return Ok(ElemType::BF16),
            21 => return Ok(ElemType::Narrow(false, 4)),
            22 => return Ok(ElemType::Narrow(true, 4)),
            25 => return Ok(ElemType::Narrow(false, 2)),
            26 => return Ok(ElemType::Narrow(true, 2)),
            0 => return Err(LoadError::bad("an element type is missing")),
            8 | 14 | 15 | 17..=20 | 23 | 24 | 27 | 28 => {
                let name = match code {
                    8 => "string",
                    14 | 15 => "complex",
                    _ => "float8 or float4",
                };
                return Err(LoadError::unsupported(format!(
                    "element type {name} (code {code}) is not supported"
                ))
                .help("export the model with float32, float16 or bfloat16 weights"));
            }
            _ => return Err(LoadError::bad(format!("there is no element type {code}"))),
        }))
    }

    /// What it becomes in a [`Tensor`].
    pub(crate) fn dtype(self) -> DType {
        match self {
            ElemType::Plain(d) => d,
            ElemType::F16 | ElemType::BF16 => DType::F32,
            ElemType::Narrow(true, _) => DType::I8,
            ElemType::Narrow(false, _) => DType::U8,
        }
    }

    fn bits(self) -> usize {
        match self {
            ElemType::Plain(d) => d.size() * 8,
            ElemType::F16 | ElemType::BF16 => 16,
            ElemType::Narrow(_, bits) => bits as usize,
        }
    }

    /// Bytes of `count` elements in a file.
    fn file_len(self, count: usize) -> Option<usize> {
        Some(count.checked_mul(self.bits())?.div_ceil(8))
    }
}

/// ONNX's code of an element type.
pub(crate) fn type_code(dtype: DType) -> i64 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bool => 9,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
    }
}

/// A tensor read from a file; `bits` of an element there: below 8 it remembers int4, uint4, int2 and uint2.
#[derive(Debug)]
pub(crate) struct Loaded<'a> {
    pub name: &'a str,
    pub tensor: Tensor,
    pub bits: u32,
}

/// Decodes one tensor; `left` bytes may still be taken by constants.
pub(crate) fn tensor<'a>(
    proto: TensorProto<'a>,
    source: &Source<'_>,
    limits: &Limits,
    left: usize,
) -> Load<Loaded<'a>> {
    let (name, at) = (proto.name, proto.at);
    decode(proto, source, limits, left).map_err(|e| {
        let message = format!("tensor {}: {}", quoted(name), e.message());
        let e = e.with_message(message);
        if e.kind() == super::ErrorKind::Io {
            e
        } else {
            e.at_byte(at)
        }
    })
}

fn decode<'a>(proto: TensorProto<'a>, source: &Source<'_>, limits: &Limits, left: usize) -> Load<Loaded<'a>> {
    let name = proto.name;
    let elem = ElemType::from_code(proto.data_type)?;
    let shape: Vec<usize> = proto
        .dims
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| LoadError::bad(format!("dimension {d} is negative"))))
        .collect::<Load<_>>()?;
    let count = numel(&shape).map_err(|e| LoadError::bad(e.to_string()))?;
    let bytes = count.checked_mul(elem.dtype().size());
    if bytes.is_none_or(|b| b > limits.tensor_bytes) {
        let most = limits.tensor_bytes;
        return Err(
            LoadError::limit(format!("shape {shape:?} takes more than {most} bytes"))
                .help("raise the tensor limit when you trust the file"),
        );
    }
    if bytes.is_some_and(|b| b > left) {
        let most = limits.constant_bytes;
        return Err(LoadError::limit(format!(
            "the model's constants take more than {most} bytes in all"
        )));
    }
    if proto.segment {
        return Err(LoadError::unsupported("segmented tensors are not supported"));
    }
    let present = [
        proto.raw.is_some(),
        proto.floats.is_some(),
        proto.int32s.is_some(),
        proto.int64s.is_some(),
        proto.uint64s.is_some(),
        proto.doubles.is_some(),
        proto.strings,
        proto.external,
    ];
    let fields = present.iter().filter(|&&p| p).count();
    if fields > 1 {
        return Err(LoadError::bad("more than one data field is set"));
    }
    if fields == 0 && count != 0 {
        return Err(LoadError::bad(format!(
            "shape {shape:?} wants {count} elements, no data field is set"
        )));
    }
    if !proto.external && !proto.location.is_empty() {
        return Err(LoadError::bad(
            "external data is named, but the data location is not EXTERNAL",
        ));
    }
    let data = if proto.external {
        let want = elem
            .file_len(count)
            .ok_or_else(|| LoadError::bad("the shape overflows"))?;
        from_raw(elem, count, &external::read(&proto.location, want, source)?)?
    } else if let Some(raw) = proto.raw {
        from_raw(elem, count, raw.bytes)?
    } else {
        from_fields(elem, count, proto)?
    };
    let bits = elem.bits() as u32;
    let tensor = Tensor::new(shape, data).map_err(|e| LoadError::bad(e.to_string()))?;
    Ok(Loaded { name, tensor, bits })
}

fn wrong_length(count: usize, want: usize, have: usize) -> LoadError {
    LoadError::bad(format!(
        "{count} elements take {want} bytes, the data holds {have}"
    ))
}

fn words<const N: usize, T>(raw: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|w| convert(*w)).collect()
}

fn from_raw(elem: ElemType, count: usize, raw: &[u8]) -> Load<Data> {
    let want = elem
        .file_len(count)
        .ok_or_else(|| LoadError::bad("the shape overflows"))?;
    if raw.len() != want {
        return Err(wrong_length(count, want, raw.len()));
    }
    Ok(match elem {
        ElemType::F16 => Data::F32(words(raw, |w| f16::from_le_bytes(w).to_f32())),
        ElemType::BF16 => Data::F32(words(raw, |w| bf16::from_le_bytes(w).to_f32())),
        ElemType::Narrow(signed, bits) => narrow(raw, count, signed, bits),
        ElemType::Plain(dtype) => match dtype {
            DType::F32 => Data::F32(words(raw, f32::from_le_bytes)),
            DType::F64 => Data::F64(words(raw, f64::from_le_bytes)),
            DType::I8 => Data::I8(words(raw, i8::from_le_bytes)),
            DType::U8 => Data::U8(raw.to_vec()),
            DType::I16 => Data::I16(words(raw, i16::from_le_bytes)),
            DType::U16 => Data::U16(words(raw, u16::from_le_bytes)),
            DType::I32 => Data::I32(words(raw, i32::from_le_bytes)),
            DType::U32 => Data::U32(words(raw, u32::from_le_bytes)),
            DType::I64 => Data::I64(words(raw, i64::from_le_bytes)),
            DType::U64 => Data::U64(words(raw, u64::from_le_bytes)),
            DType::Bool => Data::Bool(raw.iter().map(|&b| b != 0).collect()),
        },
    })
}

/// int4 and int2 elements, low bits first; ONNX leaves the padding of the last byte open, so it is not checked.
fn narrow(raw: &[u8], count: usize, signed: bool, bits: u32) -> Data {
    let per_byte = 8 / bits as usize;
    let codes = raw
        .iter()
        .flat_map(|&byte| (0..per_byte).map(move |i| (byte >> (i as u32 * bits)) & ((1 << bits) - 1)))
        .take(count);
    if signed {
        let shift = 8 - bits;
        Data::I8(codes.map(|c| ((c << shift) as i8) >> shift).collect())
    } else {
        Data::U8(codes.collect())
    }
}

fn from_fields(elem: ElemType, count: usize, proto: TensorProto<'_>) -> Load<Data> {
    fn exact<T>(list: Option<Vec<T>>, count: usize, field: &str) -> Load<Vec<T>> {
        match list {
            Some(list) if list.len() == count => Ok(list),
            None if count == 0 => Ok(Vec::new()),
            Some(list) => {
                let have = list.len();
                Err(LoadError::bad(format!(
                    "the shape wants {count} elements, {field} holds {have}"
                )))
            }
            None => Err(LoadError::bad(format!(
                "this element type is stored in {field}, which is empty"
            ))),
        }
    }
    fn cast<T: TryFrom<i64>>(list: Vec<i64>) -> Load<Vec<T>> {
        list.into_iter()
            .map(|v| {
                T::try_from(v).map_err(|_| LoadError::bad(format!("value {v} is outside its element type")))
            })
            .collect()
    }
    Ok(match elem {
        ElemType::Plain(DType::F32) => Data::F32(exact(proto.floats, count, "float_data")?),
        ElemType::Plain(DType::F64) => Data::F64(exact(proto.doubles, count, "double_data")?),
        ElemType::Plain(DType::I64) => Data::I64(exact(proto.int64s, count, "int64_data")?),
        ElemType::Plain(DType::U64) => {
            let list = exact(proto.uint64s, count, "uint64_data")?;
            Data::U64(list.into_iter().map(|v| v as u64).collect())
        }
        ElemType::Plain(DType::U32) => Data::U32(cast(exact(proto.uint64s, count, "uint64_data")?)?),
        ElemType::Narrow(signed, bits) => {
            // Packed two or four to a byte, one byte in each int32.
            let want = elem
                .file_len(count)
                .ok_or_else(|| LoadError::bad("the shape overflows"))?;
            let bytes = exact(proto.int32s, want, "int32_data")?;
            let bytes: Vec<u8> = bytes.into_iter().map(|v| v as u8).collect();
            narrow(&bytes, count, signed, bits)
        }
        ElemType::F16 | ElemType::BF16 => {
            let list: Vec<u16> = cast(exact(proto.int32s, count, "int32_data")?)?;
            let convert = |v: u16| match elem {
                ElemType::F16 => f16::from_bits(v).to_f32(),
                _ => bf16::from_bits(v).to_f32(),
            };
            Data::F32(list.into_iter().map(convert).collect())
        }
        ElemType::Plain(dtype) => {
            let list = exact(proto.int32s, count, "int32_data")?;
            match dtype {
                DType::I8 => Data::I8(cast(list)?),
                DType::U8 => Data::U8(cast(list)?),
                DType::I16 => Data::I16(cast(list)?),
                DType::U16 => Data::U16(cast(list)?),
                DType::I32 => Data::I32(cast(list)?),
                _ => Data::Bool(list.into_iter().map(|v| v != 0).collect()),
            }
        }
    })
}

/// Elements as ONNX's raw little-endian bytes.
pub(crate) fn raw_bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::U8(v) => v.clone(),
        Data::Bool(v) => v.iter().map(|&b| b.into()).collect(),
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I8(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}
