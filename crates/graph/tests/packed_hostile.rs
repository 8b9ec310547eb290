//! Packed files that are damaged, edited or made up: each is refused with the place and a sentence.

mod common;

use common::annotated;
use graph::onnx::{ErrorKind, Form, LoadError, ReadOptions, WriteOptions, read, write};
use sha2::{Digest, Sha256};

fn file() -> Vec<u8> {
    let options = WriteOptions {
        form: Form::Packed,
        producer_version: "test".into(),
    };
    write(&annotated::one_layer(3, 1), &options).unwrap()
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    let at = bytes.windows(what.len()).position(|w| w == what);
    at.unwrap_or_else(|| panic!("{what:?} is not in the file"))
}

/// Gives an edited file the digest that its bytes have.
fn reseal(bytes: &mut [u8]) {
    let at = find(bytes, b"lowbit.digest") + b"lowbit.digest".len() + 2;
    bytes[at..at + 64].fill(b'0');
    let digest = Sha256::digest(&*bytes);
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    bytes[at..at + 64].copy_from_slice(hex.as_bytes());
}

/// Reads the file after an edit and a new digest.
fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> LoadError {
    let mut bytes = file();
    edit(&mut bytes);
    reseal(&mut bytes);
    read(&bytes, &ReadOptions::default()).expect_err("the edit must be refused")
}

/// Replaces `from` by `to` of the same length, where it stands first.
fn replaced(from: &[u8], to: &[u8]) -> LoadError {
    assert_eq!(from.len(), to.len());
    edited(|bytes| {
        let at = find(bytes, from);
        bytes[at..at + to.len()].copy_from_slice(to);
    })
}

fn assert_says(e: &LoadError, kind: ErrorKind, node: Option<&str>, what: &str) {
    assert_eq!((e.kind(), e.node()), (kind, node), "{e}");
    assert!(e.to_string().contains(what), "{e}");
}

/// Length of the varint length at `at`, and the length.
fn length(bytes: &[u8], at: usize) -> (usize, usize) {
    let (low, high) = (usize::from(bytes[at]), usize::from(bytes[at + 1]));
    if low < 128 {
        (1, low)
    } else {
        (2, low & 127 | high << 7)
    }
}

#[test]
fn the_resealed_file_itself_is_read() {
    let mut bytes = file();
    reseal(&mut bytes);
    assert!(bytes == file());
    read(&bytes, &ReadOptions::default()).unwrap();
}

#[test]
fn no_flipped_bit_and_no_cut_goes_unseen() {
    let whole = file();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(
                read(&bytes, &ReadOptions::default()).is_err(),
                "bit {bit} of byte {at}"
            );
            bytes[at] ^= 1 << bit;
        }
        assert!(
            read(&whole[..at], &ReadOptions::default()).is_err(),
            "cut at {at}"
        );
    }
    let e = read(&[&whole[..], b"x"].concat(), &ReadOptions::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::BadInput);
}

#[test]
fn unknown_versions_are_refused_with_a_sentence() {
    let e = replaced(b"ai.lowbit\x10\x01", b"ai.lowbit\x10\x02");
    assert_says(
        &e,
        ErrorKind::Unsupported,
        None,
        "the packed form has version 2, this program knows 1 alone",
    );
    let e = replaced(b"\x07version\x18\x01", b"\x07version\x18\x02");
    assert_says(
        &e,
        ErrorKind::Unsupported,
        Some("w/decode"),
        "the packed form has version 2",
    );
}

#[test]
fn every_byte_has_a_meaning() {
    let e = edited(|b| b.extend(b"\x7a\x03abc"));
    assert_says(
        &e,
        ErrorKind::BadInput,
        None,
        "field 15 of message Model has no meaning",
    );
    let e = edited(|b| b.extend(b"\x08\x08"));
    assert_says(
        &e,
        ErrorKind::BadInput,
        None,
        "field 1 of message Model stands twice",
    );
    // A tensor that nothing reads, at the end of the graph.
    let e = edited(|b| {
        let extra = b"\x2a\x0a\x08\x01\x10\x02\x42\x01u\x4a\x01\x00";
        let graph = find(b, b"\x3a") + 1;
        assert_eq!(b[graph - 7], 0x1a, "producer_version stands before the graph");
        let (size, len) = length(b, graph);
        let end = graph + size + len;
        b.splice(end..end, *extra);
        let len = len + extra.len();
        b.splice(graph..graph + size, [len as u8 & 127 | 128, (len >> 7) as u8]);
    });
    assert_says(
        &e,
        ErrorKind::BadInput,
        None,
        "nothing reads the initializer \"u\"",
    );
}

#[test]
fn the_function_must_be_there_and_be_the_one() {
    let e = replaced(b"MatMulInteger", b"MatMulInteges");
    assert_says(
        &e,
        ErrorKind::BadInput,
        None,
        "function Decode is not that of version 1",
    );
    let e = edited(|b| {
        let at = find(b, b"\x0a\x06Decode\x22\x05codes") - 4;
        assert_eq!(b[at..at + 2], *b"\xca\x01");
        let (size, len) = length(b, at + 2);
        b.drain(at..at + 2 + size + len);
    });
    assert_says(
        &e,
        ErrorKind::BadInput,
        Some("w/decode"),
        "does not hold the function Decode",
    );
}

#[test]
fn wrong_numbers_are_refused_with_the_node() {
    let node = Some("w/decode");
    let e = replaced(b"\x04bits\x18\x03", b"\x04bits\x18\x04");
    assert_says(
        &e,
        ErrorKind::BadInput,
        node,
        "1665 codes of 4 bits take 833 bytes a point",
    );
    let e = replaced(b"\x04bits\x18\x03", b"\x04bits\x18\x09");
    assert_says(&e, ErrorKind::BadInput, node, "bits is 9");
    let e = replaced(b"\x04axis\x18\x00", b"\x04axis\x18\x07");
    assert_says(&e, ErrorKind::BadInput, node, "axis is 7, shape has 4 axes");
    let e = replaced(b"\x04axis\x18\x00", b"\x04axis\x18\x01");
    assert_says(&e, ErrorKind::BadInput, node, "does not run along axis 1");
    let e = replaced(b"\x05shape\x40\x25\x40\x05", b"\x05shape\x40\x25\x40\x04");
    assert_says(&e, ErrorKind::BadInput, node, "codes of 3 bits take");
    let e = replaced(b"\x04grid", b"\x04gird");
    assert_says(&e, ErrorKind::BadInput, node, "attribute grid is missing");
    for (bad, text) in [
        (f32::NAN, "NaN"),
        (0.0, "0"),
        (-1.0, "-1"),
        (f32::INFINITY, "inf"),
    ] {
        let e = edited(|b| {
            let at = find(b, b"w/scale\x4a\x94\x01") + 10;
            b[at..at + 4].copy_from_slice(&bad.to_le_bytes());
        });
        assert_says(&e, ErrorKind::BadInput, node, &format!("a scale is {text}"));
    }
    // 1665 codes of 3 bits leave 5 bits of the last byte.
    let e = edited(|b| {
        let at = find(b, b"w/codes\x4a\xf1\x04") + 10;
        b[at + 624] |= 0x80;
    });
    assert_says(&e, ErrorKind::BadInput, node, "bits beyond the last code");
}

#[test]
fn one_stream_under_many_nodes_stops_at_the_limit() {
    let options = ReadOptions {
        limits: graph::onnx::Limits {
            constant_bytes: 2000,
            ..Default::default()
        },
        ..ReadOptions::default()
    };
    let e = read(&file(), &options).unwrap_err();
    assert_says(
        &e,
        ErrorKind::Limit,
        Some("w/decode"),
        "constants take more than 2000 bytes",
    );
}
