//! Detections and data sets as text. Nothing here writes a file.
//!
//! Numbers are written with as many digits as reading back the same f64 takes. Names come from untrusted files: each
//! format's own escapes are used, and control characters never come through raw.

mod coco;
mod csv;
mod voc;
mod yolo;

use std::ffi::OsStr;
use std::path::Path;

pub use coco::{category_ids, coco_dataset, coco_results};
pub use csv::csv;
pub use voc::voc_xml;
pub use yolo::{yolo_txt, yolo_yaml};

/// The file name of a path for text that must be UTF-8; bytes that are not become `\xNN`, so that two names stay two.
pub fn file_name(path: &Path) -> String {
    utf8(path.file_name().unwrap_or_default())
}

/// The same for a path below a folder, with `/` between its parts whatever the system writes there.
///
/// ```
/// assert_eq!(data::write::relative_name("a/b/x.jpg".as_ref()), "a/b/x.jpg");
/// ```
pub fn relative_name(path: &Path) -> String {
    let parts: Vec<String> = path.components().map(|c| utf8(c.as_os_str())).collect();
    parts.join("/")
}

fn utf8(name: &OsStr) -> String {
    name.as_encoded_bytes()
        .utf8_chunks()
        .map(|chunk| {
            let bad: String = chunk.invalid().iter().map(|b| format!("\\x{b:02x}")).collect();
            format!("{}{bad}", chunk.valid())
        })
        .collect()
}

/// Class name by index; a class without a name (a model with more outputs than names) is its number.
pub(crate) fn class_name(names: &[String], class: usize) -> std::borrow::Cow<'_, str> {
    match names.get(class) {
        Some(name) => name.as_str().into(),
        None => class.to_string().into(),
    }
}

/// JSON, with the control characters that JSON allows raw (delete and U+0080…U+009F) escaped as well.
fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).expect("numbers, strings and structs are always JSON");
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| {
            if c.is_control() {
                format!("\\u{:04x}", u32::from(c))
            } else {
                c.to_string()
            }
        })
        .collect()
}
