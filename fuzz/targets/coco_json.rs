//! One COCO annotation file.

use data::read::{Format, open};

#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "\"images\":", "\"annotations\":", "\"categories\":", "\"id\":", "\"image_id\":", "\"category_id\":", "\"bbox\":", "\"iscrowd\":1",
    "\"file_name\":", "[", "]", "{", "}", ",", "null", "true", "1e400", "-0.0", "9223372036854775808", "\"\\ud800\"", "\"../a.jpg\"",
    "\"/etc/passwd\"", "[[[[[[[[",
];

pub fn target(bytes: &[u8]) {
    let files: [(&str, &[u8]); 2] = [("a.jpg", b""), ("annotations/instances_val.json", bytes)];
    let root = super::folder("coco", &files);
    for path in [root.join("annotations/instances_val.json"), root] {
        if let Ok(set) = open(&path, None, Some(Format::Coco), &super::LIMITS) {
            super::check(&set);
        }
    }
}
