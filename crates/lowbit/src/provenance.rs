//! What a number needs to be reproduced: program, CPU, settings, hashes.

use std::io::Read;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Control, Error, Result};

/// Version of the JSON results; it grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// Version of the tool.
pub const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit that the tool was built from; `unknown` outside a checkout.
pub const GIT: &str = env!("LOWBIT_COMMIT");

/// Head of every JSON result.
///
/// ```
/// let p = lowbit::Provenance::new(2, 7);
/// assert_eq!((p.threads, p.seed, p.schema_version), (2, 7, lowbit::SCHEMA_VERSION));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Provenance {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// [`TOOL_VERSION`].
    pub tool_version: &'static str,
    /// [`GIT`].
    pub git: &'static str,
    /// The processor's own name.
    pub cpu: String,
    /// Instruction set in use.
    pub isa: &'static str,
    /// Threads in use.
    pub threads: usize,
    /// Seed of everything that draws.
    pub seed: u64,
    /// SHA-256 of the model file.
    pub model_sha256: Option<String>,
    /// SHA-256 over names and bytes of the pictures and annotations, in order.
    pub data_sha256: Option<String>,
}

impl Provenance {
    /// This program on this machine.
    pub fn new(threads: usize, seed: u64) -> Self {
        Provenance {
            schema_version: SCHEMA_VERSION,
            tool_version: TOOL_VERSION,
            git: GIT,
            cpu: cpu_name(),
            isa: kernels::Isa::best().name(),
            threads,
            seed,
            model_sha256: None,
            data_sha256: None,
        }
    }
}

/// The processor's name where the system tells it.
pub fn cpu_name() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|l| l.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_string())
}

/// SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The same, computed beside other work on the bytes, on a core of its own where the system has one to give.
pub(crate) fn sha256_beside<T>(bytes: &[u8], work: impl FnOnce() -> T) -> (T, String) {
    // A thread has memory of its own: not worth it for the millisecond that small files take.
    if bytes.len() < 4 << 20 {
        return (work(), sha256(bytes));
    }
    std::thread::scope(|scope| {
        let hash = std::thread::Builder::new().spawn_scoped(scope, || sha256(bytes));
        let done = work();
        let hash = hash.ok().and_then(|thread| thread.join().ok());
        (done, hash.unwrap_or_else(|| sha256(bytes)))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A running hash over several files.
#[derive(Debug, Clone, Default)]
pub(crate) struct DataHash(Sha256);

impl DataHash {
    /// Adds a file under a name; the length goes in first, so that no two sequences collide.
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name.as_bytes());
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The hash so far, in hexadecimal.
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Reads a whole file of at most `most` bytes.
pub(crate) fn read_capped(path: &Path, most: u64, control: &Control) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let file = std::fs::File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let refuse = || {
        Error::limit(format!("the file has more than {most} bytes"))
            .at(path.display())
            .help("raise --limit-mem, or check that it is the right file")
    };
    if length > most {
        return Err(refuse());
    }
    control.admit(usize::try_from(length).unwrap_or(usize::MAX), "the file")?;
    let mut bytes = Vec::new();
    // One byte more: the end is found without growing.
    let room = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
    let none = |_| io(std::io::ErrorKind::OutOfMemory.into());
    bytes.try_reserve_exact(room).map_err(none)?;
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > most {
        return Err(refuse());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_where_a_file_ends() {
        let of = |parts: &[(&str, &str)]| {
            let mut h = DataHash::default();
            parts.iter().for_each(|(n, b)| h.add(n, b.as_bytes()));
            h.finish()
        };
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
        assert_ne!(of(&[("a", "b"), ("c", "d")]), of(&[("c", "d"), ("a", "b")]));
        assert_eq!(
            sha256(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
