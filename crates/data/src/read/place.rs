//! What the readers share: lists, picture files, checks of boxes and counts.

use std::path::{Path, PathBuf};

use tasks::detect::BBox;

use super::{Limits, Notes, ReadError, ReadFault, Rule, text};
use crate::picture::EXTENSIONS;

/// The file of a split among those found.
pub(super) fn choose_split(
    root: &Path,
    split: Option<&str>,
    found: Vec<(String, PathBuf)>,
    what: &str,
) -> Result<PathBuf, ReadError> {
    let names = || {
        found
            .iter()
            .map(|(n, _)| n.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let missing = |what: String| ReadError::new(root, ReadFault::Missing(what));
    match (split, &found[..]) {
        (_, []) => Err(missing(format!("no {what} here"))),
        (None, [(_, only)]) => Ok(only.clone()),
        (None, _) => Err(missing(format!(
            "several splits here: choose one with --split: {}",
            names()
        ))),
        (Some(split), _) => match found.iter().find(|(name, _)| name == split) {
            Some((_, path)) => Ok(path.clone()),
            None => Err(missing(format!(
                "no split {} here; there are: {}",
                text::quoted(split),
                names()
            ))),
        },
    }
}

/// The picture of a name with or without ending, in the first folder that has it.
pub(super) fn find_picture(folders: impl Iterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    for folder in folders {
        let plain = folder.join(name);
        if crate::picture::has_picture_name(&plain) && plain.is_file() {
            return Some(plain);
        }
        for ending in EXTENSIONS {
            for ending in [ending.to_owned(), ending.to_uppercase()] {
                // Not `set_extension`: a name may itself contain a dot.
                let path = folder.join(format!("{name}.{ending}"));
                if path.is_file() {
                    return Some(path);
                }
            }
        }
    }
    None
}

/// A name of a list that may carry a picture's ending.
pub(super) fn without_picture_ending(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, ending)) if EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(ending)) => stem,
        _ => name,
    }
}

/// Whether a box is kept; what is odd about it is noted.
pub(super) fn check_box(
    bbox: &BBox,
    width: Option<usize>,
    height: Option<usize>,
    notes: &mut Notes,
    here: impl Fn() -> String,
) -> bool {
    if !bbox.is_finite() {
        notes.add(Rule::NotFinite, here);
        return false;
    }
    let (w, h) = (bbox.width(), bbox.height());
    if w < 0.0 || h < 0.0 {
        notes.add(Rule::NegativeSize, here);
        return false;
    }
    if w == 0.0 || h == 0.0 {
        notes.add(Rule::ZeroArea, &here);
    }
    let beyond = |high: f64, side: Option<usize>| side.is_some_and(|s| s > 0 && high > s as f64 + 1.0);
    if bbox.x1 < -1.0 || bbox.y1 < -1.0 || beyond(bbox.x2, width) || beyond(bbox.y2, height) {
        notes.add(Rule::BoxOutside, here);
    }
    true
}

/// Whether the data set still fits its limits.
pub(super) fn check_counts(
    path: &Path,
    pictures: usize,
    objects: usize,
    limits: &Limits,
) -> Result<(), ReadError> {
    let over = |what: &str, n: usize| {
        ReadError::new(
            path,
            ReadFault::Limit(format!("the data set has more than {n} {what}")),
        )
    };
    if pictures > limits.pictures {
        return Err(over("pictures", limits.pictures));
    }
    if objects > limits.objects {
        return Err(over("objects", limits.objects));
    }
    Ok(())
}
