//! The digest that seals a packed file: SHA-256 of all its bytes, those of the digest itself taken as zeros.

use sha2::{Digest, Sha256};

use super::super::error::{Load, LoadError};
use super::super::wire::{Bytes, Reader};

/// Metadata key. The value is 64 lower-case hexadecimal digits.
pub(in super::super) const KEY: &str = "lowbit.digest";
const DIGITS: usize = 64;

/// Fields of the metadata entry, the digest still zeros.
fn entry() -> Vec<u8> {
    let mut out = vec![10, KEY.len() as u8];
    out.extend(KEY.as_bytes());
    out.extend([18, DIGITS as u8]);
    out.extend([b'0'; DIGITS]);
    out
}

/// Appends the entry to a model's bytes and fills in the digest.
pub(in super::super) fn seal(model: &mut Vec<u8>) {
    let entry = entry();
    model.extend([14 << 3 | 2, entry.len() as u8]);
    model.extend(entry);
    let digest = hex(&Sha256::digest(&model));
    let from = model.len() - DIGITS;
    model.truncate(from);
    model.extend(digest.bytes());
}

/// Computes the digest of a file again.
pub(super) fn verify(file: &[u8]) -> Load<()> {
    let Some(place) = find(file)? else {
        return Err(damaged(format!("its {KEY} is missing")));
    };
    let (before, rest) = file.split_at(place.at);
    let (value, after) = rest.split_at(place.bytes.len());
    if value.len() != DIGITS {
        return Err(damaged(format!("its {KEY} does not have {DIGITS} digits")).at_byte(place.at));
    }
    let mut sha = Sha256::new();
    sha.update(before);
    sha.update([b'0'; DIGITS]);
    sha.update(after);
    if hex(&sha.finalize()).as_bytes() != value {
        return Err(damaged(format!(
            "its bytes do not have the digest that {KEY} says"
        )));
    }
    Ok(())
}

fn damaged(why: String) -> LoadError {
    LoadError::bad(format!("the packed file is damaged or was changed: {why}"))
        .help("copy it again; to change a model, change the float model and quantize that")
}

fn find(file: &[u8]) -> Load<Option<Bytes<'_>>> {
    let mut model = Reader::new(Bytes { bytes: file, at: 0 });
    while let Some(field) = model.next()? {
        if field.number != 14 {
            continue;
        }
        let (mut key, mut value) = (&[][..], None);
        let mut pair = Reader::new(field.bytes()?);
        while let Some(f) = pair.next()? {
            match f.number {
                1 => key = f.bytes()?.bytes,
                2 => value = Some(f.bytes()?),
                _ => {}
            }
        }
        if key == KEY.as_bytes() {
            return Ok(value);
        }
    }
    Ok(None)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
