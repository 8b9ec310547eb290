//! ENVI files: a text header `.hdr` beside a file of numbers, as instruments and the Python package `spectral` write them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::volume::npy::element;
use crate::volume::{Limits, Volume, VolumeError};

/// Largest header.
const HEADER: u64 = 1 << 22;

fn bad(what: String) -> VolumeError {
    VolumeError::Bad(format!("this is no ENVI header: {what}"))
}

/// Keys in lower case with their values; lists in braces may go over several lines.
fn keys(text: &str) -> Result<HashMap<String, String>, VolumeError> {
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("ENVI") {
        return Err(bad("it does not begin with ENVI".into()));
    }
    let mut all = HashMap::new();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(';')) else {
            continue;
        };
        let mut value = value.trim().to_string();
        while value.starts_with('{') && !value.contains('}') {
            let Some(more) = lines.next() else { break };
            value.push(' ');
            value.push_str(more.trim());
        }
        all.insert(key.trim().to_lowercase(), value);
    }
    Ok(all)
}

/// How the numbers of a header lie in their file.
#[derive(Debug, Clone, PartialEq)]
struct Layout {
    /// Rows, columns, bands.
    shape: [usize; 3],
    offset: usize,
    /// NumPy's name of the type.
    descr: String,
    /// Steps from row to row, column to column, band to band.
    steps: [usize; 3],
}

fn layout(text: &str, limits: &Limits) -> Result<Layout, VolumeError> {
    let keys = keys(text)?;
    let number = |key: &str, default: Option<usize>| match keys.get(key) {
        None => default.ok_or_else(|| bad(format!("it has no {key}"))),
        Some(text) => text.parse().map_err(|_| bad(format!("{key} = {text}"))),
    };
    let [rows, columns, bands] =
        [("lines", None), ("samples", None), ("bands", Some(1))].map(|(k, d)| number(k, d));
    let shape @ [rows, columns, bands] = [rows?, columns?, bands?];
    // Of no elements, billions of lines would still be walked.
    if shape.contains(&0) {
        return Err(bad(format!("{rows} lines, {columns} samples and {bands} bands")));
    }
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if elements.is_none_or(|n| n > limits.elements) {
        return Err(VolumeError::Limit(format!(
            "shape {shape:?} has more than {} elements",
            limits.elements
        )));
    }
    if number("file compression", Some(0))? != 0 {
        return Err(VolumeError::Unsupported(
            "compressed ENVI files are not read".into(),
        ));
    }
    let kind = match number("data type", None)? {
        1 => "u1",
        2 => "i2",
        3 => "i4",
        4 => "f4",
        5 => "f8",
        12 => "u2",
        13 => "u4",
        14 => "i8",
        15 => "u8",
        other => {
            return Err(VolumeError::Unsupported(format!(
                "data type {other} is not read; integers and floats are"
            )));
        }
    };
    let order = if number("byte order", Some(0))? == 1 {
        '>'
    } else {
        '<'
    };
    let steps = match keys.get("interleave").map(|i| i.to_lowercase()).as_deref() {
        Some("bip") => [columns * bands, bands, 1],
        Some("bil") => [columns * bands, 1, columns],
        Some("bsq") | None => [columns, 1, rows * columns],
        Some(other) => return Err(bad(format!("interleave = {other}"))),
    };
    Ok(Layout {
        shape,
        offset: number("header offset", Some(0))?,
        descr: format!("{order}{kind}"),
        steps,
    })
}

/// The numbers by a header.
fn decode(layout: &Layout, bytes: &[u8]) -> Result<Volume, VolumeError> {
    let element = element(&layout.descr).ok_or_else(|| bad("its data type is not known".into()))?;
    let [rows, columns, bands] = layout.shape;
    let need = (rows * columns * bands).checked_mul(element.bytes);
    let data = bytes
        .get(layout.offset..)
        .filter(|d| need.is_some_and(|n| n <= d.len()));
    let data = data.ok_or_else(|| {
        VolumeError::Bad(format!(
            "the file beside it has {} bytes, which hold no {rows} lines, {columns} samples and {bands} bands",
            bytes.len()
        ))
    })?;
    let at = |i: usize| (element.read)(&data[i * element.bytes..(i + 1) * element.bytes]);
    let [row, column, band] = layout.steps;
    let pixels = (0..rows).flat_map(|r| (0..columns).map(move |c| r * row + c * column));
    let values = pixels
        .flat_map(|p| (0..bands).map(move |b| p + b * band))
        .map(at)
        .collect();
    Ok(Volume {
        shape: layout.shape.to_vec(),
        values,
        geometry: None,
    })
}

/// The file of numbers that belongs to a header: `x.img.hdr` to `x.img`; `x.hdr` to `x`, or `x` with one of the usual endings.
fn data_file(header: &Path) -> Option<PathBuf> {
    let bare = header.with_extension("");
    let endings =
        ["img", "dat", "raw", "bsq", "bil", "bip", "IMG", "DAT"].map(|end| bare.with_extension(end));
    std::iter::once(bare).chain(endings).find(|path| path.is_file())
}

/// Reads a header and the file beside it.
pub(super) fn read(header: &Path, limits: &Limits) -> Result<Volume, VolumeError> {
    let small = Limits {
        bytes: limits.bytes.min(HEADER),
        ..*limits
    };
    let text = crate::volume::contents(header, &small)?;
    let layout = layout(&String::from_utf8_lossy(&text), limits)?;
    let data = data_file(header).ok_or_else(|| {
        VolumeError::Bad(
            "there is no file of numbers beside it: NAME, NAME.img, NAME.dat, NAME.raw, …".into(),
        )
    })?;
    decode(&layout, &crate::volume::contents(&data, limits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ENVI\ndescription = {\n  two lines}\nsamples = 3\nlines = 2\nbands = 2\nheader offset = 1\ndata type = 1\ninterleave = BIL\nbyte order = 0\n";

    #[test]
    fn numbers_lie_as_the_header_says() {
        let layout = layout(TEXT, &Limits::default()).unwrap();
        let bytes: Vec<u8> = (0..13).collect();
        let volume = decode(&layout, &bytes).unwrap();
        assert_eq!(volume.shape, [2, 3, 2]);
        assert_eq!(volume.values, [1., 4., 2., 5., 3., 6., 7., 10., 8., 11., 9., 12.]);
        assert!(
            decode(&layout, &bytes[..12])
                .unwrap_err()
                .to_string()
                .contains("12 bytes")
        );
    }

    #[test]
    fn no_bands_of_billions_of_samples_are_refused_at_once() {
        let text = TEXT
            .replace("samples = 3", "samples = 2147483647")
            .replace("bands = 2", "bands = 0");
        let error = layout(&text, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("0 bands"), "{error}");
    }

    #[test]
    fn headers_that_say_too_much_or_too_little_are_refused() {
        let limits = Limits {
            bytes: 1 << 20,
            elements: 100,
        };
        let refused =
            |from: &str, to: &str| layout(&TEXT.replace(from, to), &limits).unwrap_err().to_string();
        assert!(refused("ENVI", "JPEG").contains("begin with ENVI"));
        assert!(refused("samples = 3", "samples = three").contains("samples = three"));
        assert!(refused("lines = 2\n", "").contains("no lines"));
        assert!(refused("bands = 2", "bands = 99999999999999999").contains("more than 100"));
        assert!(refused("data type = 1", "data type = 6").contains("data type 6"));
        assert!(refused("BIL", "BIX").contains("bix"));
        assert!(refused("byte order = 0", "file compression = 1").contains("compressed"));
        // An open brace at the end of the file.
        assert!(layout("ENVI\nx = {", &limits).is_err());
    }
}
