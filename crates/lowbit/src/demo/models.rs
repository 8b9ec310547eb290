//! The models inside the program, trained by the recipes that the manifest names: our own small detector in float and at 6, 4 and 2 bits, and one network of each
//! other system.

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

/// Bytes of the files of the other systems, in the manifest's order.
const SYSTEMS: [&[u8]; 3] = [
    include_bytes!("../../models/wpc.onnx"),
    include_bytes!("../../models/unet-w4a4.onnx"),
    include_bytes!("../../models/snn.onnx"),
];

/// What the models are and how they were made.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// On what the scores were measured.
    pub protocol: String,
    /// The float model first.
    pub models: Vec<Entry>,
    /// The other systems.
    pub systems: Vec<System>,
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

/// What a network is for, and with that what its inputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Boxes on pictures.
    Boxes,
    /// Masks of volumes.
    Volumes,
    /// Classes of a hyperspectral scene's pixels.
    Scene,
}

/// A network of another system.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// In tables.
    pub name: String,
    /// What it is for.
    pub task: Task,
    /// In `crates/lowbit/models/`.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The recipe of the float network that it starts from, and its own, in `recipes/`, each with its SHA-256.
    pub recipes: [(String, String); 2],
    /// What made it.
    pub command: String,
    /// What the run measured: mAP50, mean dice or overall accuracy.
    pub score: f64,
    /// On what.
    pub protocol: String,
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

/// Each other system with the bytes of its file.
///
/// # Errors
/// As [`manifest()`].
pub fn system_files() -> Result<Vec<(System, &'static [u8])>> {
    Ok(manifest()?.systems.into_iter().zip(SYSTEMS).collect())
}

/// The networks of the other systems, ready to run.
///
/// # Errors
/// Never with the files as they are; a test loads them.
pub fn systems() -> Result<Vec<(System, Model)>> {
    let load = |(system, bytes): (System, &[u8])| {
        let model = Model::from_bytes(bytes, &LoadOptions::default()).map_err(|e| e.at(&system.file))?;
        Ok((system, model))
    };
    system_files()?.into_iter().map(load).collect()
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
    for (system, bytes) in system_files()? {
        written.push(folder.write(&system.file, bytes, &[])?);
    }
    Ok(written)
}
