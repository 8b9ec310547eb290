//! Damaged checkpoints: every bit and every length of a small one, lies under a right checksum, other versions.

use std::io::Read;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testing::SplitMix64;
use train::checkpoint::{Checkpoint, CheckpointError};

fn sample() -> Checkpoint {
    let mut c = Checkpoint::default();
    c.meta.insert("recipe".into(), "steps = 3\n\"ä\"".into());
    c.meta.insert("step".into(), "2".into());
    c.tensors.insert("moment/é/0".into(), vec![]);
    c.tensors
        .insert("param/é".into(), vec![-0.0, 1e-42, f32::INFINITY]);
    c.tensors
        .insert("running/m".into(), (0..40).map(|k| k as f32).collect());
    c
}

/// By both doors, which agree.
fn load(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let loaded = Checkpoint::from_bytes(bytes);
    let read = Checkpoint::read_from(&mut &bytes[..], bytes.len() as u64);
    assert_eq!(loaded.is_ok(), read.is_ok(), "{loaded:?} {read:?}");
    loaded
}

#[track_caller]
fn damaged(bytes: &[u8]) -> String {
    let error = load(bytes).unwrap_err();
    assert!(matches!(error, CheckpointError::Damaged(_)), "{error:?}");
    error.to_string()
}

/// The file of a header and data, with the right length and checksum: `change` has altered the header of the sample.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = sample().to_bytes();
    let begin = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..begin]).unwrap();
    change(&mut header);
    let header = header.to_string();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(&bytes[begin..bytes.len() - 32]);
    let sum = Sha256::digest(&out);
    out.extend(sum);
    out
}

#[test]
fn what_is_written_comes_back() {
    let bytes = sample().to_bytes();
    assert_eq!(load(&bytes), Ok(sample()));
    assert_eq!(load(&bytes).unwrap().to_bytes(), bytes);
    assert_eq!(
        load(&with_header(|_| ())),
        Ok(sample()),
        "the padding means nothing"
    );
    let empty = Checkpoint::default();
    assert_eq!(load(&empty.to_bytes()), Ok(empty));
}

#[test]
fn every_flipped_bit_is_seen() {
    let mut bytes = sample().to_bytes();
    assert!(bytes.len() > 500);
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        damaged(&bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_cut_and_every_excess_is_seen() {
    let bytes = sample().to_bytes();
    for length in 0..bytes.len() {
        damaged(&bytes[..length]);
    }
    for more in [1, 4, 32, 1000] {
        let why = damaged(&[&bytes[..], &vec![0; more]].concat());
        let (speaks, has) = (bytes.len(), bytes.len() + more);
        assert!(
            why.contains(&format!("{speaks} bytes, the file has {has}")),
            "{why}"
        );
    }
    assert!(damaged(&[]).contains("cut off after 0 bytes"));
}

#[test]
fn random_bytes_are_no_checkpoint() {
    let mut rng = SplitMix64(5);
    for case in 0..5_000 {
        let length = rng.below(200);
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
        // Half of them with a header's length that fits.
        if let (Some(first), 0) = (bytes.first_chunk_mut(), case % 2) {
            *first = (rng.below(length) as u64).to_le_bytes();
        }
        damaged(&bytes);
    }
    for length in [0, 1, 599, 100_000_001, 1 << 32, u64::MAX - 8, u64::MAX] {
        let mut bytes = sample().to_bytes();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        damaged(&bytes);
    }
}

/// A checksum is no seal: anyone can compute one.
#[test]
fn a_header_that_lies_is_refused_under_a_right_checksum() {
    let huge = json!({"dtype": "F32", "shape": [u64::MAX / 4], "data_offsets": [0, u64::MAX]});
    let again = json!({"dtype": "F32", "shape": [3], "data_offsets": [0, 12]});
    let lies: [(&str, &str, Value); 13] = [
        ("param/é", "/dtype", json!("F16")),
        ("param/é", "/shape", json!([4])),
        ("param/é", "/shape", json!([1, 3])),
        ("param/é", "/data_offsets", json!([0, 8])),
        ("param/é", "/data_offsets", json!([4, 12])),
        ("param/é", "/data_offsets", json!([12, 0])),
        ("param/é", "/data_offsets", json!([0, -12])),
        ("param/é", "/data_offsets", json!([0, 11])),
        ("param/é", "", json!(null)),
        ("running/m", "", huge),
        ("sha256", "/dtype", json!("F32")),
        ("__metadata__", "/step", json!(2)),
        ("__metadata__", "", json!([])),
    ];
    for (name, place, lie) in lies {
        damaged(&with_header(|header| {
            *header[name].pointer_mut(place).unwrap() = lie.clone();
        }));
    }
    // Many tensors over the same bytes would be more numbers than the file holds.
    damaged(&with_header(|header| {
        (0..1000).for_each(|k| header[format!("param/{k:04}")] = again.clone());
    }));
    damaged(&with_header(|header| {
        header.as_object_mut().unwrap().remove("param/é");
    }));
    damaged(&with_header(|header| *header = json!([])));
}

#[test]
fn other_versions_are_told_from_damage() {
    let tomorrow = with_header(|h| h["__metadata__"]["lowbit.checkpoint"] = json!("2"));
    let error = load(&tomorrow).unwrap_err();
    assert_eq!(error, CheckpointError::Version("2".into()));
    assert!(error.to_string().contains("reads version \"1\""), "{error}");
    // Tensors of other types are for the next version to say.
    let other = with_header(|h| {
        h["__metadata__"]["lowbit.checkpoint"] = json!("2");
        h["param/é"]["dtype"] = json!("F64");
    });
    assert_eq!(load(&other), Err(CheckpointError::Version("2".into())));
    let without = with_header(|h| {
        h["__metadata__"]
            .as_object_mut()
            .unwrap()
            .remove("lowbit.checkpoint");
    });
    assert_eq!(load(&without), Err(CheckpointError::Version(String::new())));
    // As they were before: neither version nor checksum.
    let mut old = with_header(|h| {
        h["__metadata__"]
            .as_object_mut()
            .unwrap()
            .remove("lowbit.checkpoint");
        h.as_object_mut().unwrap().remove("sha256");
    });
    old.truncate(old.len() - 32);
    assert_eq!(load(&old), Err(CheckpointError::Unversioned));
}

/// A file of a terabyte with a small header costs its header.
#[test]
fn data_is_read_only_where_the_header_speaks_of_as_much() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0 += into.len() as u64;
            assert!(self.0 < 1 << 20, "the data was read");
            into.fill(0);
            Ok(into.len())
        }
    }
    let bytes = sample().to_bytes();
    let mut file = bytes.chain(Endless(0));
    let error = Checkpoint::read_from(&mut file, 1 << 40).unwrap_err();
    assert!(
        error.to_string().contains("the file has 1099511627776"),
        "{error}"
    );
    let first = (1u64 << 39).to_le_bytes();
    let mut file = first.chain(Endless(0));
    let error = Checkpoint::read_from(&mut file, 1 << 40).unwrap_err();
    assert!(error.to_string().contains("549755813888"), "{error}");
    // Shorter than the system said.
    let bytes = sample().to_bytes();
    for length in 0..bytes.len() {
        assert!(Checkpoint::read_from(&mut &bytes[..length], bytes.len() as u64).is_err());
    }
}
