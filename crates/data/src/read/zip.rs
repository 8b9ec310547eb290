//! Zip archives: of stored (uncompressed) files, as pictures are kept because JPEGs do not get smaller, and of deflated ones, as arrays are (`.npz`).

use std::path::Path;

use super::{ReadError, ReadFault};

/// Name and bytes of every file of an archive, in the order of its directory.
///
/// # Errors
/// When it is larger than `most` bytes, no archive, damaged, compressed, encrypted, or in several parts.
pub(super) fn stored(path: &Path, most: u64) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
    use std::io::Read;
    let io = |e: std::io::Error| ReadError::io(path, &e);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > most {
        let what = format!("the archive is larger than {most} bytes");
        return Err(ReadError::new(path, ReadFault::Limit(what)));
    }
    files(&bytes, None).map_err(|what| ReadError::new(path, ReadFault::Syntax(what)))
}

/// Name and bytes of every file of an archive, deflated ones inflated, all together at most `most` bytes.
///
/// # Errors
/// As [`stored`], but for compression by deflate; a sentence.
pub(crate) fn unpacked(bytes: &[u8], most: u64) -> Result<Vec<(String, Vec<u8>)>, String> {
    files(bytes, Some(most))
}

fn number(bytes: &[u8], at: usize, width: usize) -> Result<usize, String> {
    let field = at.checked_add(width).and_then(|end| bytes.get(at..end));
    let field = field.ok_or_else(|| format!("the archive ends within a field at byte {at}"))?;
    Ok(field.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
}

/// Inflates what must become `size` bytes.
fn inflate(data: &[u8], size: usize) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut out = Vec::new();
    let mut stream = flate2::read::DeflateDecoder::new(data).take(size as u64 + 1);
    stream.read_to_end(&mut out).ok()?;
    (out.len() == size).then_some(out)
}

/// `inflated`: most bytes of all files together, where deflated ones are taken.
fn files(bytes: &[u8], inflated: Option<u64>) -> Result<Vec<(String, Vec<u8>)>, String> {
    const END: &[u8] = b"PK\x05\x06";
    const ENTRY: &[u8] = b"PK\x01\x02";
    const LOCAL: &[u8] = b"PK\x03\x04";
    // The end record has 22 bytes and a comment of up to 65535.
    let from = bytes.len().saturating_sub(22 + 65_535);
    let end = (from..bytes.len().saturating_sub(21))
        .rev()
        .find(|&i| bytes[i..].starts_with(END));
    let end = end.ok_or("this is no zip archive: it has no end record")?;
    let count = number(bytes, end + 10, 2)?;
    let mut at = number(bytes, end + 16, 4)?;
    let mut out = Vec::new();
    let mut left = inflated.unwrap_or(u64::MAX);
    for entry in 0..count {
        if !bytes.get(at..).is_some_and(|b| b.starts_with(ENTRY)) {
            return Err(format!("entry {entry} of the directory is not at byte {at}"));
        }
        let field = |offset, width| number(bytes, at + offset, width);
        let (flags, method) = (field(8, 2)?, field(10, 2)?);
        let (packed, size, name_length) = (field(20, 4)?, field(24, 4)?, field(28, 2)?);
        let (extra, comment, local) = (field(30, 2)?, field(32, 2)?, field(42, 4)?);
        let name = bytes
            .get(at + 46..at + 46 + name_length)
            .ok_or("a name is cut off")?;
        let name = String::from_utf8_lossy(name).into_owned();
        let deflated = method == 8 && inflated.is_some();
        if !(method == 0 || deflated) || flags & 1 != 0 {
            return Err(format!(
                "{name:?} is compressed or encrypted; only stored files are read (zip -0), or unpack the archive"
            ));
        }
        left = left.checked_sub(size as u64).ok_or_else(|| {
            format!(
                "its files are larger than {} bytes together",
                inflated.unwrap_or(0)
            )
        })?;
        if !bytes.get(local..).is_some_and(|b| b.starts_with(LOCAL)) {
            return Err(format!("{name:?} is not at byte {local}"));
        }
        let start = local + 30 + number(bytes, local + 26, 2)? + number(bytes, local + 28, 2)?;
        let length = if deflated { packed } else { size };
        let data = start.checked_add(length).and_then(|end| bytes.get(start..end));
        let data = data.ok_or_else(|| format!("{name:?} is cut off"))?;
        if !name.ends_with('/') {
            let data = match deflated {
                true => inflate(data, size)
                    .ok_or_else(|| format!("{name:?} does not inflate to its {size} bytes"))?,
                false => data.to_vec(),
            };
            out.push((name, data));
        }
        at += 46 + name_length + extra + comment;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One stored file `a/b` with the bytes `xyz`.
    fn archive() -> Vec<u8> {
        let mut out =
            b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x03\0\0\0\x03\0\0\0a/bxyz".to_vec();
        let directory = out.len() as u32;
        out.extend(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x03\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a/b");
        let length = out.len() as u32 - directory;
        out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        out.extend(length.to_le_bytes());
        out.extend(directory.to_le_bytes());
        out.extend([0, 0]);
        out
    }

    #[test]
    fn a_stored_file_comes_out_and_no_byte_makes_it_panic() {
        let whole = archive();
        assert_eq!(
            files(&whole, None).unwrap(),
            [("a/b".to_string(), b"xyz".to_vec())]
        );
        for n in 0..whole.len() {
            let _ = files(&whole[..n], Some(1 << 20));
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[n] ^= 1 << bit;
                let _ = files(&bad, Some(1 << 20));
            }
        }
        assert!(
            files(b"no archive at all, but long enough", None)
                .unwrap_err()
                .contains("no zip")
        );
    }
}
