//! The detectors inside the program: our own small one in float and at 6, 4 and 2 bits, trained by the recipes that the manifest names.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::output::Folder;
use crate::{Error, LoadOptions, Model, Result};

/// The manifest, TOML.
pub const MANIFEST: &str = include_str!("../../models/manifest.toml");

/// Bytes of the files that the manifest names, in its order.
const FILES: [&[u8]; 4] = [
    include_bytes!("../../models/float.onnx"),
    include_bytes!("../../models/lbw6.onnx"),
    include_bytes!("../../models/lbw4.onnx"),
    include_bytes!("../../models/lbw2.onnx"),
];

/// What the models are and how they were made.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// On what the scores were measured.
    pub protocol: String,
    /// The float model first.
    pub models: Vec<Entry>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// In tables.
    pub name: String,
    /// In `crates/lowbit/models/`.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// In `recipes/`.
    pub recipe: String,
    /// SHA-256 of the recipe.
    pub recipe_sha256: String,
    /// What made it.
    pub command: String,
    /// mAP50 by the manifest's protocol.
    pub map50: f64,
}

/// Reads the manifest.
///
/// # Errors
/// Never with the file as it is; a test reads it.
pub fn manifest() -> Result<Manifest> {
    toml::from_str(MANIFEST).map_err(|e| Error::bad(e.to_string()).at("manifest.toml"))
}

/// Each entry with the bytes of its file.
///
/// # Errors
/// As [`manifest()`].
pub fn files() -> Result<Vec<(Entry, &'static [u8])>> {
    Ok(manifest()?.models.into_iter().zip(FILES).collect())
}

/// The models, ready to run.
///
/// ```
/// let models = lowbit::demo::models().unwrap();
/// assert_eq!(models[0].1.head().unwrap().classes.len(), 8);
/// assert!(models[1..].iter().all(|(_, m)| m.is_quantized()));
/// ```
///
/// # Errors
/// Never with the files as they are; a test loads them.
pub fn models() -> Result<Vec<(Entry, Model)>> {
    let load = |(entry, bytes): (Entry, &[u8])| {
        let model = Model::from_bytes(bytes, &LoadOptions::default()).map_err(|e| e.at(&entry.file))?;
        Ok((entry, model))
    };
    files()?.into_iter().map(load).collect()
}

/// Writes the models and their manifest into a folder; gives the files.
///
/// # Errors
/// A folder that holds files (unless `exist_ok`) or cannot be written.
pub fn write(folder: &Path, exist_ok: bool) -> Result<Vec<PathBuf>> {
    let folder = Folder::create(folder, exist_ok)?;
    let mut written = vec![folder.write("manifest.toml", MANIFEST.as_bytes(), &[])?];
    for (entry, bytes) in files()? {
        written.push(folder.write(&entry.file, bytes, &[])?);
    }
    Ok(written)
}
