//! MATLAB's MAT-files, level 5 (MathWorks, "MAT-File Format"): what `save -v7` and `scipy.io.savemat` write.
//!
//! A header of 128 bytes, then elements of type, size and data; an array is an element of elements: flags, lengths of the axes, name, numbers with the
//! first axis fastest. Numeric arrays are read, cells, structures, texts and sparse matrices passed over.

use std::io::Read;

use crate::volume::npy::{Element, element, reversed};
use crate::volume::{Limits, Volume, VolumeError};

const HEADER: usize = 128;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Bit of the flags of complex arrays.
const COMPLEX: u32 = 0x800;

fn bad(what: &str) -> VolumeError {
    VolumeError::Bad(format!("this is no MAT-file of level 5: {what}"))
}

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    rest: &'a [u8],
    big: bool,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], VolumeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| bad("it is cut off"))?;
        self.rest = rest;
        Ok(head)
    }

    fn word(self, b: &[u8]) -> u32 {
        let word = b.try_into().unwrap_or_default();
        if self.big {
            u32::from_be_bytes(word)
        } else {
            u32::from_le_bytes(word)
        }
    }

    /// Type and data of the next element, its padding passed over.
    fn element(&mut self) -> Result<(u32, &'a [u8]), VolumeError> {
        let first = self.take(4)?;
        let tag = self.word(first);
        // Up to four bytes lie in the tag itself.
        if tag >> 16 != 0 {
            let data = self.take(4)?.get(..(tag >> 16) as usize);
            return Ok((
                tag & 0xffff,
                data.ok_or_else(|| bad("a small element is too long"))?,
            ));
        }
        let size = self.take(4)?;
        let size = self.word(size) as usize;
        let data = self.take(size)?;
        if tag != COMPRESSED {
            let pad = (size.next_multiple_of(8) - size).min(self.rest.len());
            self.take(pad)?;
        }
        Ok((tag, data))
    }

    /// Numbers of an element's type.
    fn numbers(self, kind: u32) -> Option<Element> {
        let name = match kind {
            1 => "i1",
            2 => "u1",
            3 => "i2",
            4 => "u2",
            5 => "i4",
            6 => "u4",
            7 => "f4",
            9 => "f8",
            12 => "i8",
            13 => "u8",
            _ => return None,
        };
        element(&format!("{}{name}", if self.big { '>' } else { '<' }))
    }
}

/// All numeric arrays by name.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Vec<(String, Volume)>, VolumeError> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Err(bad("it has no header"));
    };
    if header.starts_with(b"MATLAB 7.3") {
        return Err(VolumeError::Unsupported(
            "MAT-files of version 7.3 (HDF5) are not read; save it with -v7".into(),
        ));
    }
    let big = match &header[124..] {
        [0, 1, b'I', b'M'] => false,
        [1, 0, b'M', b'I'] => true,
        _ => return Err(bad("its header names another version")),
    };
    let mut all = Vec::new();
    // What all elements inflate to.
    let mut left = limits.bytes;
    let mut file = Bytes { rest, big };
    while !file.rest.is_empty() {
        let (kind, data) = file.element()?;
        let mut inflated = Vec::new();
        let (kind, data) = match kind {
            COMPRESSED => {
                let stream = flate2::read::ZlibDecoder::new(data).take(left.saturating_add(1));
                let read = { stream }.read_to_end(&mut inflated);
                read.map_err(|e| bad(&format!("a compressed element is damaged: {e}")))?;
                left = left.checked_sub(inflated.len() as u64).ok_or_else(|| {
                    VolumeError::Limit(format!("it inflates to more than {} bytes", limits.bytes))
                })?;
                Bytes { rest: &inflated, big }.element()?
            }
            _ => (kind, data),
        };
        if kind == MATRIX
            && let Some(array) = matrix(Bytes { rest: data, big }, limits)?
        {
            all.push(array);
        }
    }
    Ok(all)
}

/// A numeric array; `None` for what is no such.
fn matrix(mut b: Bytes<'_>, limits: &Limits) -> Result<Option<(String, Volume)>, VolumeError> {
    if b.rest.is_empty() {
        return Ok(None);
    }
    let flags = b
        .element()?
        .1
        .get(..4)
        .map(|f| b.word(f))
        .ok_or_else(|| bad("an array has no flags"))?;
    // Classes double, single and the integers.
    if !(6..=15).contains(&(flags & 0xff)) {
        return Ok(None);
    }
    let lengths = b.element()?.1.chunks_exact(4);
    let shape: Vec<usize> = lengths.map(|l| b.word(l) as usize).collect();
    let name = String::from_utf8_lossy(b.element()?.1).into_owned();
    if flags & COMPLEX != 0 {
        return Err(VolumeError::Unsupported(format!(
            "array {name:?} is complex; real ones are read"
        )));
    }
    let (kind, data) = b.element()?;
    let element = b
        .numbers(kind)
        .ok_or_else(|| bad(&format!("array {name:?} has elements of type {kind}")))?;
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let count = count.filter(|&n| n <= limits.elements).ok_or_else(|| {
        VolumeError::Limit(format!(
            "array {name:?} of shape {shape:?} has more than {} elements",
            limits.elements
        ))
    })?;
    if data.len() / element.bytes != count || data.len() % element.bytes != 0 {
        return Err(bad(&format!(
            "array {name:?} of shape {shape:?} has {} bytes",
            data.len()
        )));
    }
    let values: Vec<f32> = data.chunks_exact(element.bytes).map(element.read).collect();
    let volume = Volume {
        values: reversed(&values, &shape),
        shape,
        geometry: None,
    };
    Ok(Some((name, volume)))
}
