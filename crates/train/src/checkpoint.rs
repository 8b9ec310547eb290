//! The whole state of a run as bytes: a *safetensors* file, which other programs open, too.
//!
//! ```text
//! 8 bytes   length of the header, little endian
//! header    JSON: {"__metadata__": {key: text}, NAME: {"dtype": "F32", "shape": [n], "data_offsets": [from, to]}, …}
//! data      f32, little endian, one tensor after the other in the order of their names
//! ```
//! Tensors are flat, in ONNX's order: a checkpoint knows neither devices nor layouts. Names are `param/…`, `moment/…` and so on; see
//! [`trainer`](crate::trainer). Writing it to a file whole or not at all is the caller's.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Named vectors and texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// Step, recipe, digests.
    pub meta: BTreeMap<String, String>,
    /// All numbers.
    pub tensors: BTreeMap<String, Vec<f32>>,
}

/// Why bytes are no checkpoint, or not one of this run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CheckpointError {
    #[error("this is no checkpoint: {0}")]
    Format(String),
    #[error("the checkpoint has no \"{0}\"; it belongs to another recipe")]
    Missing(String),
    #[error(
        "\"{name}\" has {have} numbers in the checkpoint, the run wants {want}; it belongs to another recipe"
    )]
    Length { name: String, have: usize, want: usize },
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
        header.insert("__metadata__".into(), json!(self.meta));
        let mut at = 0;
        for (name, values) in &self.tensors {
            let end = at + 4 * values.len();
            let entry = json!({"dtype": "F32", "shape": [values.len()], "data_offsets": [at, end]});
            header.insert(name.clone(), entry);
            at = end;
        }
        let mut text = Value::Object(header).to_string();
        // Data begins at a multiple of 8, as readers that map the file like it.
        while !text.len().is_multiple_of(8) {
            text.push(' ');
        }
        let mut out = Vec::with_capacity(8 + text.len() + at);
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
        for values in self.tensors.values() {
            out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// Anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let bad = |what: &str| CheckpointError::Format(what.to_string());
        let (length, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| bad("it is cut off"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > rest.len() {
            return Err(bad("its header is cut off"));
        }
        let (header, data) = rest.split_at(length);
        let header: Map<String, Value> =
            serde_json::from_slice(header).map_err(|e| bad(&format!("its header is no JSON: {e}")))?;
        let mut out = Checkpoint::default();
        for (name, entry) in header {
            if name == "__metadata__" {
                let all = entry.as_object().into_iter().flatten();
                out.meta = all
                    .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_string())))
                    .collect();
                continue;
            }
            let offset = |i: usize| {
                entry["data_offsets"][i]
                    .as_u64()
                    .and_then(|v| usize::try_from(v).ok())
            };
            let values = match (entry["dtype"].as_str(), offset(0), offset(1)) {
                (Some("F32"), Some(from), Some(to)) if from <= to && (to - from).is_multiple_of(4) => {
                    data.get(from..to)
                }
                _ => None,
            };
            let values = values.ok_or_else(|| bad(&format!("tensor \"{name}\" is cut off, or not f32")))?;
            let (values, _) = values.as_chunks::<4>();
            out.tensors
                .insert(name, values.iter().map(|b| f32::from_le_bytes(*b)).collect());
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
            .map_err(|_| CheckpointError::Format(format!("\"{key}\" is {text:?}, not a number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let mut c = Checkpoint::default();
        c.meta.insert("recipe".into(), "steps = 3\n\"ä\"".into());
        c.tensors.insert("a".into(), vec![]);
        c.tensors.insert("b/é".into(), vec![-0.0, 1e-42, f32::INFINITY]);
        c
    }

    #[test]
    fn bytes_come_back_and_no_damage_panics() {
        let c = sample();
        let bytes = c.to_bytes();
        let back = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(back, c);
        assert_eq!(back.to_bytes(), bytes);
        for n in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..n]).is_err());
            let mut bad = bytes.clone();
            bad[n] ^= 0x11;
            let _ = Checkpoint::from_bytes(&bad);
        }
    }

    #[test]
    fn what_is_missing_or_of_another_length_is_named() {
        let c = sample();
        let missing = c.read("w", &mut []).unwrap_err().to_string();
        assert!(missing.contains("\"w\""), "{missing}");
        let length = c.read("b/é", &mut [0.0; 2]).unwrap_err().to_string();
        assert!(length.contains("3 numbers"), "{length}");
    }
}
