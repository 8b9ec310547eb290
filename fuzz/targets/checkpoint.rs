//! A training run's checkpoint: with the bytes as they are, and with their last 32 made the right checksum, so that what lies behind it is reached.

use sha2::{Digest, Sha256};
use train::checkpoint::Checkpoint;

#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "\"__metadata__\"", "\"lowbit.checkpoint\"", "\"sha256\"", "\"dtype\"", "\"shape\"", "\"data_offsets\"", "\"F32\"", "\"U8\"", "\"1\"", "\"2\"",
    "{", "}", "[0,4]", "[", "]", ",", ":", "null", "-1", "1e400", "18446744073709551615", "9223372036854775807", "\\u0000", "[[[[[[[[",
];

pub fn target(bytes: &[u8]) {
    check(bytes);
    if let Some((body, _)) = bytes.split_last_chunk::<32>() {
        check(&[body, &Sha256::digest(body)].concat());
    }
}

fn check(bytes: &[u8]) {
    let read = Checkpoint::read_from(&mut &bytes[..], bytes.len() as u64);
    match Checkpoint::from_bytes(bytes) {
        Err(e) => {
            assert_eq!(read, Err(e.clone()));
            assert!(!e.to_string().is_empty());
        }
        Ok(found) => {
            // Compared as bytes: NaN is not equal to itself.
            let again = found.to_bytes();
            assert_eq!(read.map(|c| c.to_bytes()).as_ref(), Ok(&again));
            let back = Checkpoint::from_bytes(&again).map(|c| c.to_bytes());
            assert_eq!(back.as_ref(), Ok(&again));
            let numbers: usize = found.tensors.values().map(Vec::len).sum();
            assert!(4 * numbers <= bytes.len(), "more numbers than the file holds");
        }
    }
}
