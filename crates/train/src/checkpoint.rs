//! The whole state of a run as bytes: a *safetensors* file, which other programs open, too.
//!
//! ```text
//! 8 bytes   length of the header, little endian; at most 100 000 000, as other readers of safetensors have it
//! header    JSON: {"__metadata__": {"lowbit.checkpoint": "1", key: text, …}, "sha256": {"dtype": "U8", "shape": [32], "data_offsets": [end - 32, end]},
//!                  NAME: {"dtype": "F32", "shape": [n], "data_offsets": [from, to]}, …}
//! data      f32, little endian, one tensor after the other in the order of their names, without gaps
//! 32 bytes  the tensor "sha256": SHA-256 of every byte before it
//! ```
//! `lowbit.checkpoint` is the version of what the tensors mean; the checksum stays the last 32 bytes in every version, so that a file of another
//! version and a damaged one are told apart. Checkpoints from before there were versions have neither and are refused: a run is short, its recipe gives
//! it again. Tensors are flat, in ONNX's order: a checkpoint knows neither devices nor layouts. Names are `param/…`, `moment/…` and so on; see
//! [`trainer`](crate::trainer). Writing it to a file whole or not at all is the caller's.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The version that is written and read.
const VERSION: &str = "1";
/// Where the metadata has it.
const VERSION_KEY: &str = "lowbit.checkpoint";
/// The tensor that is the checksum.
const CHECKSUM: &str = "sha256";
const METADATA: &str = "__metadata__";
/// Most bytes of a header.
const HEADER_BYTES: u64 = 100_000_000;

/// Named vectors and texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// Step, recipe, digests; `lowbit.checkpoint` is the file's own.
    pub meta: BTreeMap<String, String>,
    /// All numbers; `sha256` is the file's own.
    pub tensors: BTreeMap<String, Vec<f32>>,
}

/// Why bytes are no checkpoint, or not one of this run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CheckpointError {
    /// Cut, altered, or never a checkpoint.
    #[error("this is no whole checkpoint: {0}")]
    Damaged(String),
    #[error("this is a checkpoint of version {0:?}, and this program reads version {known:?}", known = VERSION)]
    Version(String),
    #[error("this is a checkpoint from before they had a version and a checksum")]
    Unversioned,
    #[error("the checkpoint has no \"{0}\"; it belongs to another recipe")]
    Missing(String),
    #[error(
        "\"{name}\" has {have} numbers in the checkpoint, the run wants {want}; it belongs to another recipe"
    )]
    Length { name: String, have: usize, want: usize },
}

fn damaged(why: impl Into<String>) -> CheckpointError {
    CheckpointError::Damaged(why.into())
}

impl Checkpoint {
    /// The file's bytes: equal for equal contents.
    ///
    /// ```
    /// use train::checkpoint::Checkpoint;
    /// let mut c = Checkpoint::default();
    /// c.meta.insert("step".into(), "7".into());
    /// c.tensors.insert("param/w".into(), vec![1.0, f32::NAN]);
    /// let back = Checkpoint::from_bytes(&c.to_bytes()).unwrap();
    /// assert_eq!(back.meta["step"], "7");
    /// assert!(back.tensors["param/w"][1].is_nan());
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = Map::new();
        let mut meta = self.meta.clone();
        meta.insert(VERSION_KEY.into(), VERSION.into());
        header.insert(METADATA.into(), json!(meta));
        let mut at = 0;
        for (name, values) in &self.tensors {
            header.insert(
                name.clone(),
                entry("F32", values.len(), at, at + 4 * values.len()),
            );
            at += 4 * values.len();
        }
        header.insert(CHECKSUM.into(), entry("U8", 32, at, at + 32));
        let mut text = Value::Object(header).to_string();
        // Data begins at a multiple of 8, as readers that map the file like it.
        while !text.len().is_multiple_of(8) {
            text.push(' ');
        }
        let mut out = Vec::with_capacity(8 + text.len() + at + 32);
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
        for values in self.tensors.values() {
            out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        let checksum = Sha256::digest(&out);
        out.extend(checksum);
        out
    }

    /// Reads a file of `length` bytes: the data only where the header speaks of as many.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes); a file that cannot be read is damaged.
    pub fn read_from(file: &mut dyn Read, length: u64) -> Result<Checkpoint, CheckpointError> {
        let mut bytes = Vec::new();
        let mut up_to = |end: u64, bytes: &mut Vec<u8>| {
            let more = end.saturating_sub(bytes.len() as u64);
            let read = file.take(more).read_to_end(bytes);
            read.map_err(|e| damaged(format!("reading it: {e}")))
        };
        up_to(length.min(8), &mut bytes)?;
        up_to(data_begin(&bytes, length)?, &mut bytes)?;
        header(&bytes, length)?;
        up_to(length, &mut bytes)?;
        Checkpoint::from_bytes(&bytes)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// Anything else: [`Damaged`](CheckpointError::Damaged), with the place, also where one bit is another;
    /// [`Version`](CheckpointError::Version) and [`Unversioned`](CheckpointError::Unversioned) where the file is whole.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let (begin, mut header) = header(bytes, bytes.len() as u64)?;
        let mut meta = metadata(header.remove(METADATA))?;
        let (version, checksum) = (meta.remove(VERSION_KEY), header.remove(CHECKSUM));
        if version.is_none() && checksum.is_none() {
            return Err(CheckpointError::Unversioned);
        }
        let whole = bytes
            .split_last_chunk::<32>()
            .is_some_and(|(body, sum)| Sha256::digest(body)[..] == sum[..]);
        if !whole {
            let end = bytes.len().saturating_sub(32);
            return Err(damaged(format!(
                "bytes 0 to {end} do not have the SHA-256 that follows them, so that some were altered"
            )));
        }
        if version.as_deref() != Some(VERSION) {
            return Err(CheckpointError::Version(version.unwrap_or_default()));
        }
        let mut out = Checkpoint {
            meta,
            ..Checkpoint::default()
        };
        // Each byte belongs to one tensor: no file makes more numbers than it holds.
        let mut at = 0;
        let data = &bytes[begin..];
        for (name, found) in BTreeMap::from_iter(header) {
            let end = found["data_offsets"][1].as_u64().unwrap_or_default() as usize;
            let values = data.get(at..end).unwrap_or_default();
            let (numbers, rest) = values.as_chunks::<4>();
            if !rest.is_empty() || found != entry("F32", numbers.len(), at, end) {
                return Err(damaged(format!(
                    "tensor \"{name}\" is not f32 from byte {at} of the data on"
                )));
            }
            let numbers = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
            out.tensors.insert(name, numbers);
            at = end;
        }
        if checksum != Some(entry("U8", 32, at, at + 32)) {
            return Err(damaged(format!(
                "\"{CHECKSUM}\" is not 32 bytes from byte {at} of the data on"
            )));
        }
        Ok(out)
    }

    /// Copies a tensor of a known length.
    ///
    /// # Errors
    /// When it is not there, or of another length.
    pub fn read(&self, name: &str, into: &mut [f32]) -> Result<(), CheckpointError> {
        let values = self
            .tensors
            .get(name)
            .ok_or_else(|| CheckpointError::Missing(name.into()))?;
        if values.len() != into.len() {
            return Err(CheckpointError::Length {
                name: name.into(),
                have: values.len(),
                want: into.len(),
            });
        }
        into.copy_from_slice(values);
        Ok(())
    }

    /// A number of the metadata.
    ///
    /// # Errors
    /// When it is not there or no number.
    pub fn number(&self, key: &str) -> Result<u64, CheckpointError> {
        let text = self
            .meta
            .get(key)
            .ok_or_else(|| CheckpointError::Missing(key.into()))?;
        text.parse()
            .map_err(|_| damaged(format!("\"{key}\" is {text:?}, not a number")))
    }
}

/// What the header says of a flat tensor.
fn entry(dtype: &str, length: usize, from: usize, to: usize) -> Value {
    json!({"dtype": dtype, "shape": [length], "data_offsets": [from, to]})
}

/// Where the data begins in a file of `length` bytes, by its first 8.
fn data_begin(first: &[u8], length: u64) -> Result<u64, CheckpointError> {
    let Some(header) = first.first_chunk::<8>() else {
        return Err(damaged(format!("it is cut off after {} bytes", first.len())));
    };
    let header = u64::from_le_bytes(*header);
    if header > HEADER_BYTES.min(length - 8) {
        return Err(damaged(format!(
            "its first 8 bytes speak of a header of {header} bytes, the file has {length} in all"
        )));
    }
    Ok(8 + header)
}

/// Where the data begins in a file of `length` bytes, and the header before it, which speaks of as many bytes as the file has.
fn header(bytes: &[u8], length: u64) -> Result<(usize, Map<String, Value>), CheckpointError> {
    let begin = data_begin(bytes, length)? as usize;
    let text = bytes.get(8..begin);
    let text = text.ok_or_else(|| damaged(format!("its header is cut off at byte {}", bytes.len())))?;
    let header: Map<String, Value> = serde_json::from_slice(text)
        .map_err(|e| damaged(format!("its header, bytes 8 to {begin}, is no JSON object: {e}")))?;
    let ends = header.values().filter_map(|t| t["data_offsets"][1].as_u64());
    let promised = ends.max().unwrap_or(0).saturating_add(begin as u64);
    match promised == length {
        true => Ok((begin, header)),
        false => Err(damaged(format!(
            "its header speaks of {promised} bytes, the file has {length}"
        ))),
    }
}

fn metadata(found: Option<Value>) -> Result<BTreeMap<String, String>, CheckpointError> {
    let Some(Value::Object(all)) = found else {
        return Err(damaged(format!("its header has no \"{METADATA}\"")));
    };
    let text = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        _ => Err(damaged(format!("\"{key}\" of \"{METADATA}\" is no text"))),
    };
    all.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_of_another_length_is_named() {
        let mut c = Checkpoint::default();
        c.tensors.insert("b".into(), vec![0.0; 3]);
        let missing = c.read("w", &mut []).unwrap_err().to_string();
        assert!(missing.contains("\"w\""), "{missing}");
        let length = c.read("b", &mut [0.0; 2]).unwrap_err().to_string();
        assert!(length.contains("3 numbers"), "{length}");
    }
}
