//! Values of many pictures in a fixed amount of memory: what is beyond it lies in a temporary file without a name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use tensor::Tensor;

use crate::{Error, ErrorKind, Result};

/// Holds tensors for others; what it is given back frees its place.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Bytes that may still lie in memory.
    room: usize,
    file: Option<File>,
    end: u64,
    /// Places in the file that are free again, by their length in bytes.
    free: BTreeMap<usize, Vec<u64>>,
}

/// A tensor on a shelf.
#[derive(Debug)]
pub(super) enum Kept {
    Here(Tensor),
    /// f32 elements at this place of the file.
    There {
        shape: Vec<usize>,
        at: u64,
    },
}

impl Shelf {
    /// With room for `bytes` in memory.
    pub(super) fn new(bytes: usize) -> Self {
        Shelf {
            room: bytes,
            file: None,
            end: 0,
            free: BTreeMap::new(),
        }
    }

    /// Bytes in the file.
    #[cfg(test)]
    pub(super) fn spilled(&self) -> u64 {
        self.end
    }

    /// # Errors
    /// A full disk.
    pub(super) fn keep(&mut self, tensor: Tensor) -> Result<Kept> {
        let bytes = tensor.bytes();
        if bytes <= self.room {
            self.room -= bytes;
            return Ok(Kept::Here(tensor));
        }
        // Shapes and indices are small, and few.
        let Some(values) = tensor.as_f32() else {
            self.room = self.room.saturating_sub(bytes);
            return Ok(Kept::Here(tensor));
        };
        let at = match self.free.get_mut(&bytes).and_then(Vec::pop) {
            Some(at) => at,
            None => {
                self.end += bytes as u64;
                self.end - bytes as u64
            }
        };
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile().map_err(fault)?);
        }
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(at)).map_err(fault)?;
            file.write_all(bytemuck::cast_slice(values)).map_err(fault)?;
        }
        Ok(Kept::There {
            shape: tensor.shape().to_vec(),
            at,
        })
    }

    /// The tensor, which stays where it is.
    pub(super) fn look<'k>(&self, kept: &'k Kept) -> Result<Cow<'k, Tensor>> {
        match kept {
            Kept::Here(t) => Ok(Cow::Borrowed(t)),
            Kept::There { shape, at } => self.read(shape, *at).map(Cow::Owned),
        }
    }

    /// The tensor, which leaves the shelf.
    pub(super) fn take(&mut self, kept: Kept) -> Result<Tensor> {
        let tensor = match kept {
            Kept::There { ref shape, at } => {
                let tensor = self.read(shape, at)?;
                self.give_back(kept);
                return Ok(tensor);
            }
            Kept::Here(t) => t,
        };
        self.room += tensor.bytes();
        Ok(tensor)
    }

    /// Frees the place of a tensor that nobody needs any more.
    pub(super) fn give_back(&mut self, kept: Kept) {
        match kept {
            Kept::Here(t) => self.room += t.bytes(),
            Kept::There { shape, at } => {
                let bytes = shape.iter().product::<usize>() * size_of::<f32>();
                self.free.entry(bytes).or_default().push(at);
            }
        }
    }

    fn read(&self, shape: &[usize], at: u64) -> Result<Tensor> {
        let mut values = vec![0f32; shape.iter().product()];
        if let Some(mut file) = self.file.as_ref() {
            file.seek(SeekFrom::Start(at)).map_err(fault)?;
            file.read_exact(bytemuck::cast_slice_mut(&mut values))
                .map_err(fault)?;
        }
        Tensor::new(shape.to_vec(), values).map_err(|e| Error::bad(e.to_string()))
    }
}

fn fault(e: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Io,
        format!("the temporary file of calibration values: {e}"),
    )
    .help("raise --limit-mem, or let TMPDIR name a folder with more space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_its_place_is_used_again() {
        let tensor = |k: usize| {
            let values: Vec<f32> = (0..100).map(|i| (i * k) as f32 - 0.5).collect();
            Tensor::new(vec![10, 10], values).unwrap()
        };
        let mut shelf = Shelf::new(900);
        let mut kept: Vec<Kept> = (0..8).map(|k| shelf.keep(tensor(k)).unwrap()).collect();
        assert_eq!(shelf.spilled(), 6 * 400);
        for (k, kept) in kept.iter().enumerate() {
            assert_eq!(*shelf.look(kept).unwrap(), tensor(k));
        }
        let first = kept.remove(0);
        let last = kept.pop().unwrap();
        shelf.give_back(first);
        assert_eq!(shelf.take(last).unwrap(), tensor(7));
        // One place in memory and one in the file are free.
        let again: Vec<Kept> = (8..10).map(|k| shelf.keep(tensor(k)).unwrap()).collect();
        assert_eq!(shelf.spilled(), 6 * 400);
        for (k, kept) in again.iter().enumerate() {
            assert_eq!(*shelf.look(kept).unwrap(), tensor(k + 8));
        }
    }
}
