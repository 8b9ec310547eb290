//! Shared data of the project, found by the environment alone.

use std::path::PathBuf;

pub(crate) mod rng;

/// The folder `LOWBIT_DATA`; prints SKIPPED without it, fails where `LOWBIT_REQUIRE` lists `data`.
#[allow(dead_code)]
pub(crate) fn data(test: &str) -> Option<PathBuf> {
    required(test, "LOWBIT_DATA", "data")
}

/// The Python of `LOWBIT_PYTHON`; prints SKIPPED without it, fails where `LOWBIT_REQUIRE` lists `python`.
#[allow(dead_code)]
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    required(test, "LOWBIT_PYTHON", "python")
}

fn required(test: &str, variable: &str, name: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        let required = std::env::var("LOWBIT_REQUIRE").is_ok_and(|r| r.split(',').any(|x| x == name));
        assert!(
            !required,
            "{test}: LOWBIT_REQUIRE lists {name}, but {variable} is not set"
        );
        println!("SKIPPED {test}: {variable} is not set");
    }
    found
}

/// The check sum of PNG chunks and of zlib.
#[allow(dead_code)]
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| {
            if c & 1 == 1 {
                0xedb8_8320 ^ (c >> 1)
            } else {
                c >> 1
            }
        })
    })
}
