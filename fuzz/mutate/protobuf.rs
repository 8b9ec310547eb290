//! Mutations of ONNX models field by field: what survives is a well-formed file that says something strange.

use super::{EXTREMES, Rng, mutate_bytes};

/// What a message is, as far as its children are concerned.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dim,
    Opset,
    Function,
    Entry,
}

#[derive(Clone)]
enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Kind, Vec<Field>),
}

#[derive(Clone)]
struct Field {
    number: u64,
    value: Value,
}

/// The message that a field of a message is (onnx.proto).
fn child(kind: Kind, field: u64) -> Option<Kind> {
    use Kind::*;
    Some(match (kind, field) {
        (Model, 7) | (Attribute, 6) => Graph,
        (Model, 8) | (Function, 9) => Opset,
        (Model, 14) | (Graph, 16) | (Tensor, 13) => Entry,
        (Model, 25) => Function,
        (Graph, 1) | (Function, 7) => Node,
        (Graph, 5) | (Attribute, 5 | 10) => Tensor,
        (Graph, 11..=13) => ValueInfo,
        (Node, 5) | (Function, 11) => Attribute,
        (ValueInfo, 2) => Type,
        (Type, 1) => TensorType,
        (TensorType, 2) => Shape,
        (Shape, 1) => Dim,
        _ => return None,
    })
}

/// A changed copy of a model; messages of `other` may be put in. Falls back to bytes where `seed` is no protobuf.
pub fn mutate(rng: &mut Rng, seed: &[u8], other: &[u8], operators: &[&str]) -> Vec<u8> {
    let Some(mut fields) = parse(Kind::Model, seed).filter(|f| !f.is_empty()) else {
        return mutate_bytes(rng, seed, other, operators);
    };
    let mut names = Vec::new();
    collect_names(&fields, &mut names);
    let donor = parse(Kind::Model, other).unwrap_or_default();
    for _ in 0..1 + rng.below(3) {
        let total = count(&fields);
        if total == 0 {
            break;
        }
        let mut n = rng.below(total);
        change(
            rng,
            &mut fields,
            Kind::Model,
            &mut n,
            &Material {
                names: &names,
                donor: &donor,
                operators,
            },
        );
    }
    let mut out = Vec::new();
    write(&fields, &mut out);
    if rng.below(16) == 0 {
        mutate_bytes(rng, &out, other, operators)
    } else {
        out
    }
}

struct Material<'a> {
    names: &'a [Vec<u8>],
    donor: &'a [Field],
    operators: &'a [&'a str],
}

fn count(fields: &[Field]) -> usize {
    fields
        .iter()
        .map(|f| match &f.value {
            Value::Message(_, inner) => 1 + count(inner),
            _ => 1,
        })
        .sum()
}

/// Walks to the n-th field and changes it, or its place among its siblings.
fn change(
    rng: &mut Rng,
    fields: &mut Vec<Field>,
    kind: Kind,
    n: &mut usize,
    material: &Material<'_>,
) -> bool {
    for i in 0..fields.len() {
        if *n == 0 {
            at(rng, fields, i, kind, material);
            return true;
        }
        *n -= 1;
        if let Value::Message(inner_kind, inner) = &mut fields[i].value
            && change(rng, inner, *inner_kind, n, material)
        {
            return true;
        }
    }
    false
}

fn at(rng: &mut Rng, fields: &mut Vec<Field>, i: usize, kind: Kind, material: &Material<'_>) {
    match rng.below(12) {
        0 => drop(fields.remove(i)),
        1 => {
            let copy = fields[i].clone();
            fields.insert(i, copy);
        }
        2 => {
            let j = rng.below(fields.len());
            fields.swap(i, j);
        }
        3 => fields[i].number = 1 + rng.below(26) as u64,
        4 => {
            let number = fields[i].number;
            let value = Value::Varint(*rng.pick(EXTREMES));
            fields.insert(i, Field { number, value });
        }
        _ => value(rng, &mut fields[i], kind, material),
    }
}

fn value(rng: &mut Rng, field: &mut Field, kind: Kind, material: &Material<'_>) {
    let number = field.number;
    match &mut field.value {
        Value::Varint(v) => {
            *v = match rng.below(4) {
                0 => v.wrapping_add(1),
                1 => v.wrapping_sub(1),
                2 => rng.below(9) as u64,
                _ => *rng.pick(EXTREMES),
            }
        }
        Value::Fixed64(b) => *b = rng.pick(EXTREMES).to_le_bytes(),
        Value::Fixed32(b) => {
            const FLOATS: &[f32] = &[
                0.0,
                -0.0,
                1.0,
                -1.0,
                0.5,
                1e-45,
                1e30,
                -1e30,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::NAN,
            ];
            *b = rng.pick(FLOATS).to_le_bytes();
        }
        Value::Bytes(b) => match (kind, number, rng.below(4)) {
            (Kind::Node, 4, _) if !material.operators.is_empty() => {
                *b = rng.pick(material.operators).as_bytes().to_vec()
            }
            (_, _, 0 | 1) if !material.names.is_empty() => *b = rng.pick(material.names).clone(),
            (_, _, 2) => {
                // Perhaps packed numbers: others in their place.
                b.clear();
                for _ in 0..rng.below(6) {
                    varint(*rng.pick(EXTREMES), b);
                }
            }
            _ => *b = mutate_bytes(rng, b, &[], material.operators),
        },
        Value::Message(inner_kind, inner) => {
            let mut donors = Vec::new();
            collect(material.donor, *inner_kind, &mut donors);
            match donors.is_empty() {
                false => inner.clone_from(donors[rng.below(donors.len())]),
                true => inner.clear(),
            }
        }
    }
}

/// All messages of a kind.
fn collect<'a>(fields: &'a [Field], kind: Kind, out: &mut Vec<&'a Vec<Field>>) {
    for field in fields {
        if let Value::Message(k, inner) = &field.value {
            if *k == kind {
                out.push(inner);
            }
            collect(inner, kind, out);
        }
    }
}

fn collect_names(fields: &[Field], out: &mut Vec<Vec<u8>>) {
    for field in fields {
        match &field.value {
            Value::Bytes(b) if b.len() < 64 => out.push(b.clone()),
            Value::Message(_, inner) => collect_names(inner, out),
            _ => {}
        }
    }
}

fn parse(kind: Kind, mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = read_varint(&mut bytes)?;
        let number = key >> 3;
        let value = match key & 7 {
            0 => Value::Varint(read_varint(&mut bytes)?),
            1 => Value::Fixed64(take(&mut bytes, 8)?.try_into().ok()?),
            5 => Value::Fixed32(take(&mut bytes, 4)?.try_into().ok()?),
            2 => {
                let n = usize::try_from(read_varint(&mut bytes)?).ok()?;
                let inner = take(&mut bytes, n)?;
                child(kind, number)
                    .and_then(|k| Some(Value::Message(k, parse(k, inner)?)))
                    .unwrap_or_else(|| Value::Bytes(inner.to_vec()))
            }
            _ => return None,
        };
        out.push(Field { number, value });
    }
    Some(out)
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(head)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut out = 0u64;
    for shift in 0..10 {
        let byte = take(bytes, 1)?[0];
        out |= u64::from(byte & 0x7f) << (7 * shift).min(63);
        if byte < 0x80 {
            return Some(out);
        }
    }
    None
}

fn varint(mut v: u64, out: &mut Vec<u8>) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

fn write(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        let mut put = |wire: u64, body: &[u8]| {
            varint(field.number << 3 | wire, out);
            if wire == 2 {
                varint(body.len() as u64, out);
            }
            out.extend_from_slice(body);
        };
        match &field.value {
            Value::Varint(v) => {
                let mut body = Vec::new();
                varint(*v, &mut body);
                put(0, &body);
            }
            Value::Fixed64(b) => put(1, b),
            Value::Fixed32(b) => put(5, b),
            Value::Bytes(b) => put(2, b),
            Value::Message(_, inner) => {
                let mut body = Vec::new();
                write(inner, &mut body);
                put(2, &body);
            }
        }
    }
}
