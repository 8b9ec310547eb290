//! In a packed file every field has a meaning that is read: nothing can hide in it.

use std::collections::HashSet;

use super::super::error::{Load, LoadError, quoted};
use super::super::wire::{Bytes, Reader};

/// Messages of a packed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
    OpsetId,
    Pair,
}

/// What a field is: a leaf, or a message of its own.
enum Meaning {
    Leaf,
    Inner(Message),
}

fn meaning(message: Message, field: u32) -> Option<Meaning> {
    use Message::*;
    Some(match (message, field) {
        // The function is compared as a whole.
        (Model, 1 | 2 | 3 | 25) => Meaning::Leaf,
        (Model, 7) => Meaning::Inner(Graph),
        (Model, 8) => Meaning::Inner(OpsetId),
        (Model, 14) => Meaning::Inner(Pair),
        (Graph, 1) => Meaning::Inner(Node),
        (Graph, 2) => Meaning::Leaf,
        (Graph, 5) => Meaning::Inner(Tensor),
        (Graph, 11 | 12) => Meaning::Inner(ValueInfo),
        (Node, 1..=4 | 7) => Meaning::Leaf,
        (Node, 5) => Meaning::Inner(Attribute),
        (Attribute, 1..=4 | 7 | 8 | 20) => Meaning::Leaf,
        (Attribute, 5) => Meaning::Inner(Tensor),
        (Tensor, 1 | 2 | 8 | 9) => Meaning::Leaf,
        (ValueInfo, 1) => Meaning::Leaf,
        (ValueInfo, 2) => Meaning::Inner(Type),
        (Type, 1) => Meaning::Inner(TensorType),
        (TensorType, 1) => Meaning::Leaf,
        (TensorType, 2) => Meaning::Inner(Shape),
        (Shape, 1) => Meaning::Inner(Dimension),
        (Dimension, 1) => Meaning::Leaf,
        (OpsetId | Pair, 1 | 2) => Meaning::Leaf,
        _ => return None,
    })
}

/// Fields that are lists; any other may stand once in a message.
fn repeats(message: Message, field: u32) -> bool {
    use Message::*;
    matches!(
        (message, field),
        (Model, 8 | 14 | 25)
            | (Graph, 1 | 5 | 11 | 12)
            | (Node, 1 | 2 | 5)
            | (Attribute, 7 | 8)
            | (Tensor | Shape, 1)
    )
}

/// Walks all messages, with a list of what is left rather than by recursion.
pub(super) fn walk(file: &[u8]) -> Load<()> {
    let mut left = vec![(Message::Model, Bytes { bytes: file, at: 0 })];
    let (mut initializers, mut read) = (Vec::new(), HashSet::new());
    while let Some((message, bytes)) = left.pop() {
        let mut seen = 0u64;
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next()? {
            let number = field.number;
            let Some(meaning) = meaning(message, number) else {
                return Err(LoadError::bad(format!(
                    "field {number} of message {message:?} has no meaning in a packed file"
                ))
                .at_byte(field.at));
            };
            if !repeats(message, number) && seen >> number & 1 == 1 {
                return Err(
                    LoadError::bad(format!("field {number} of message {message:?} stands twice"))
                        .at_byte(field.at),
                );
            }
            // No number above has more than two digits.
            seen |= 1 << number;
            match (message, number) {
                (Message::Graph, 5) => initializers.push(field.bytes()?),
                (Message::Node, 1) => {
                    read.insert(field.bytes()?.bytes);
                }
                (Message::Graph, 12) => read.extend(first_string(field.bytes()?, 1)?),
                _ => {}
            }
            if let Meaning::Inner(inner) = meaning {
                left.push((inner, field.bytes()?));
            }
        }
    }
    for tensor in initializers {
        let name = first_string(tensor, 8)?.unwrap_or_default();
        if !read.contains(name) {
            let name = quoted(&String::from_utf8_lossy(name));
            return Err(LoadError::bad(format!("nothing reads the initializer {name}")).at_byte(tensor.at));
        }
    }
    Ok(())
}

fn first_string(message: Bytes<'_>, number: u32) -> Load<Option<&[u8]>> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        if field.number == number {
            return Ok(Some(field.bytes()?.bytes));
        }
    }
    Ok(None)
}
