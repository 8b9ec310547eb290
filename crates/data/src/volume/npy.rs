//! NumPy's array files (NEP 1): magic, version, a header that is a Python dictionary, elements.

use super::{Limits, Volume, VolumeError};

const MAGIC: &[u8] = b"\x93NUMPY";

fn bad(what: &str) -> VolumeError {
    VolumeError::Bad(format!("this is no NumPy array: {what}"))
}

/// An element type: its bytes, and how they become f32.
pub(crate) struct Element {
    pub(crate) bytes: usize,
    pub(crate) read: fn(&[u8]) -> f32,
}

macro_rules! element {
    ($type:ty, $from:ident) => {
        Element {
            bytes: size_of::<$type>(),
            read: |b| b.try_into().map_or(f32::NAN, |b| <$type>::$from(b) as f32),
        }
    };
}

/// The type that `descr` names; values beyond f32's 24 bits are rounded.
pub(crate) fn element(descr: &str) -> Option<Element> {
    let big = descr.starts_with('>');
    let kind = descr.strip_prefix(['<', '>', '|', '=']).unwrap_or(descr);
    Some(match (kind, big) {
        ("b1" | "u1", _) => element!(u8, from_le_bytes),
        ("i1", _) => element!(i8, from_le_bytes),
        ("u2", false) => element!(u16, from_le_bytes),
        ("u2", true) => element!(u16, from_be_bytes),
        ("i2", false) => element!(i16, from_le_bytes),
        ("i2", true) => element!(i16, from_be_bytes),
        ("u4", false) => element!(u32, from_le_bytes),
        ("u4", true) => element!(u32, from_be_bytes),
        ("i4", false) => element!(i32, from_le_bytes),
        ("i4", true) => element!(i32, from_be_bytes),
        ("u8", false) => element!(u64, from_le_bytes),
        ("u8", true) => element!(u64, from_be_bytes),
        ("i8", false) => element!(i64, from_le_bytes),
        ("i8", true) => element!(i64, from_be_bytes),
        ("f4", false) => element!(f32, from_le_bytes),
        ("f4", true) => element!(f32, from_be_bytes),
        ("f8", false) => element!(f64, from_le_bytes),
        ("f8", true) => element!(f64, from_be_bytes),
        _ => return None,
    })
}

/// What follows `'key':` in the header.
fn entry<'a>(header: &'a str, key: &str) -> Result<&'a str, VolumeError> {
    let found = ['\'', '"'].iter().find_map(|quote| {
        let at = header.find(&format!("{quote}{key}{quote}"))?;
        Some(
            header[at + key.len() + 2..]
                .trim_start()
                .strip_prefix(':')?
                .trim_start(),
        )
    });
    found.ok_or_else(|| bad(&format!("its header has no {key}")))
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Volume, VolumeError> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| bad("it does not begin as one"))?;
    let (length, start) = match rest {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 4usize),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 6),
        [version, ..] => {
            return Err(VolumeError::Unsupported(format!(
                "version {version} of NumPy's format is not known"
            )));
        }
        [] => return Err(bad("it ends after its first bytes")),
    };
    let end = start.checked_add(length).filter(|&end| end <= rest.len());
    let end = end.ok_or_else(|| bad("its header is cut off"))?;
    let header = std::str::from_utf8(&rest[start..end]).map_err(|_| bad("its header is no text"))?;
    let descr = entry(header, "descr")?;
    let descr = descr
        .split(['\'', '"'])
        .nth(1)
        .filter(|_| descr.starts_with(['\'', '"']));
    let descr = descr.ok_or_else(|| VolumeError::Unsupported("arrays of records are not read".into()))?;
    let element = element(descr).ok_or_else(|| {
        VolumeError::Unsupported(format!(
            "elements of type {descr:?} are not read; integers, floats and booleans are"
        ))
    })?;
    let fortran = entry(header, "fortran_order")?.starts_with("True");
    let shape = entry(header, "shape")?;
    let shape = shape
        .strip_prefix('(')
        .and_then(|s| s.split_once(')'))
        .map(|s| s.0);
    let lengths = shape
        .into_iter()
        .flat_map(|s| s.split(','))
        .map(str::trim)
        .filter(|s| !s.is_empty());
    let shape: Vec<usize> = lengths
        .map(|s| {
            s.parse()
                .map_err(|_| bad(&format!("{s:?} is no length of an axis")))
        })
        .collect::<Result<_, _>>()?;
    let data = &rest[end..];
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let count = count.filter(|&n| n <= limits.elements);
    let count = count.ok_or_else(|| {
        VolumeError::Limit(format!(
            "shape {shape:?} has more than {} elements",
            limits.elements
        ))
    })?;
    if data.len() != count * element.bytes {
        let have = data.len();
        return Err(bad(&format!(
            "{have} bytes follow its header, shape {shape:?} of {descr} takes {}",
            count * element.bytes
        )));
    }
    let values: Vec<f32> = data.chunks_exact(element.bytes).map(element.read).collect();
    let values = if fortran {
        reversed(&values, &shape)
    } else {
        values
    };
    Ok(Volume {
        shape,
        values,
        geometry: None,
    })
}

/// Elements stored with the first axis fastest, the last one fastest: and the other way around with the axes reversed.
pub(crate) fn reversed<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut steps = Vec::with_capacity(shape.len());
    let mut step = 1;
    for &d in shape {
        steps.push(step);
        step *= d;
    }
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += steps[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= index[axis] * steps[axis];
            index[axis] = 0;
        }
    }
    out
}

/// Labels as an array, version 1.0 as NumPy writes it.
pub(super) fn encode(shape: &[usize], mask: &[u8]) -> Vec<u8> {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if axes.len() == 1 { "," } else { "" };
    let mut header = format!(
        "{{'descr': '|u1', 'fortran_order': False, 'shape': ({}{comma}), }}",
        axes.join(", ")
    );
    let length = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    header.push_str(&" ".repeat(length - 1 - header.len()));
    header.push('\n');
    let mut out = [MAGIC, &[1, 0]].concat();
    out.extend((length as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(mask);
    out
}

/// A zip with one stored file.
pub(super) fn archive(name: &str, data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    let size = (data.len() as u32).to_le_bytes();
    // Version 2.0, no flags, stored, 1 January 1980; checksum, sizes, lengths of name and extra field.
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    common.extend(crc.sum().to_le_bytes());
    common.extend(size);
    common.extend(size);
    common.extend((name.len() as u16).to_le_bytes());
    common.extend([0, 0]);
    let mut out = [b"PK\x03\x04", common.as_slice(), name.as_bytes(), data].concat();
    let directory = out.len() as u32;
    out.extend([b"PK\x01\x02\x14\0", common.as_slice(), &[0; 14], name.as_bytes()].concat());
    let length = out.len() as u32 - directory;
    out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    out.extend(length.to_le_bytes());
    out.extend(directory.to_le_bytes());
    out.extend([0, 0]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_turn_around_and_back() {
        let values: Vec<u32> = (0..24).collect();
        let turned = reversed(&values, &[2, 3, 4]);
        assert_eq!(turned[..4], [0, 6, 12, 18]);
        assert_eq!(reversed(&turned, &[4, 3, 2]), values);
    }

    #[test]
    fn a_mask_comes_back_and_no_byte_makes_the_reader_panic() {
        let limits = Limits {
            bytes: 1 << 16,
            elements: 1 << 10,
        };
        let mask: Vec<u8> = (0..24).collect();
        let array = encode(&[2, 3, 4], &mask);
        assert_eq!(array.len() % 64, 24);
        let zip = archive("mask.npy", &array);
        let read = decode(&array, &limits).unwrap();
        assert_eq!(
            (read.shape.as_slice(), read.labels().unwrap()),
            (&[2, 3, 4][..], mask)
        );
        let all = super::super::arrays(&zip, &limits).unwrap();
        assert_eq!(all, [("mask".to_string(), read)]);
        for n in 0..zip.len() {
            let _ = super::super::arrays(&zip[..n], &limits);
            let _ = decode(&array[..n.min(array.len())], &limits);
            for bit in 0..8 {
                let (mut bad, mut zipped) = (array.clone(), zip.clone());
                bad[n % array.len()] ^= 1 << bit;
                zipped[n] ^= 1 << bit;
                let _ = (decode(&bad, &limits), super::super::arrays(&zipped, &limits));
            }
        }
    }

    #[test]
    fn shapes_that_the_file_does_not_hold_are_refused_before_anything_is_made() {
        let claim = |shape: &str| {
            let mut file = encode(&[1], &[0]);
            let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
            file.truncate(MAGIC.len() + 4);
            file[8..10].copy_from_slice(&(text.len() as u16).to_le_bytes());
            file.extend(text.as_bytes());
            decode(&file, &Limits::default()).unwrap_err()
        };
        assert!(matches!(
            claim("(4294967296, 4294967296, 16)"),
            VolumeError::Limit(_)
        ));
        assert!(matches!(claim("(1000, 1000)"), VolumeError::Bad(_)));
        assert!(claim("(-3,)").to_string().contains("\"-3\""));
    }
}
