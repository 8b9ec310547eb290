//! The packed form (FORMAT.md, part 2): codes of b bits in the file, a node `ai.lowbit.Decode` that makes the weight of
//! them, and the same operator as a function of standard ones, so that any runtime can open the file.

mod decode;
mod digest;
mod function;
mod strict;

use super::error::{Load, LoadError};
use super::proto::Model;

pub(super) use decode::decode;
pub(super) use digest::{KEY as DIGEST_KEY, seal};
pub(super) use function::decode_function;

/// Domain of the operator.
pub(super) const DOMAIN: &str = "ai.lowbit";
/// The operator.
pub(super) const DECODE: &str = "Decode";
/// Version of domain, operator and file rules, all in one.
pub(super) const VERSION: i64 = 1;

pub(super) fn unknown_version(version: i64) -> LoadError {
    LoadError::unsupported(format!(
        "the packed form has version {version}, this program knows {VERSION} alone"
    ))
    .help("read the file with the lowbit that wrote it, or a newer one")
}

/// Holds a packed file to its rules: digest, known version, no byte without a meaning, the function as it must be.
/// Other files pass.
pub(super) fn check(bytes: &[u8], model: &Model<'_>) -> Load<()> {
    let import = model.opsets.iter().find(|o| o.domain == DOMAIN);
    let sealed = model.metadata.iter().any(|(key, _)| *key == DIGEST_KEY);
    if let Some(o) = import.filter(|o| o.version != VERSION) {
        return Err(unknown_version(o.version));
    }
    if import.is_none() && !sealed {
        return Ok(());
    }
    digest::verify(bytes)?;
    if import.is_none() {
        return Err(LoadError::bad(format!(
            "the file has a {DIGEST_KEY}, but does not import {DOMAIN}"
        )));
    }
    strict::walk(bytes)?;
    for f in &model.functions {
        if (f.domain, f.name, f.overload) != (DOMAIN, DECODE, "") {
            return Err(LoadError::bad(format!(
                "a packed file holds no function but {DECODE}, this one holds {:?}",
                f.name
            ))
            .at_byte(f.message.at));
        }
        if f.message.bytes != decode_function() {
            return Err(LoadError::bad(format!(
                "the file's function {DECODE} is not that of version {VERSION}"
            ))
            .at_byte(f.message.at));
        }
    }
    Ok(())
}
