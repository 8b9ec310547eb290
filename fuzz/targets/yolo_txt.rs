//! A YOLO label file; what stands behind a line of dashes is the YAML file with the names.

use data::read::{Format, open};

#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "0 0.5 0.5 0.2 0.2\n", "1 nan 0.5 0.5 0.5\n", "-1 ", "1e300 ", "\n---\n", "names:", "nc: 2\n", "path: .\n", "val: images\n", "- cat\n",
    "0: cat\n", "[a, b]", "\t", "\r\n", "&a", "*a", "#", "'",
];

const YAML: &[u8] = b"path: .\nval: images\nnames:\n  0: cat\n  1: dog\n";

pub fn target(bytes: &[u8]) {
    let cut = bytes.windows(5).position(|w| w == b"\n---\n");
    let (labels, yaml) = cut.map_or((bytes, YAML), |at| (&bytes[..=at], &bytes[at + 5..]));
    let files = [
        ("images/a.jpg", b"".as_slice()),
        ("labels/a.txt", labels),
        ("data.yaml", yaml),
    ];
    let root = super::folder("yolo", &files);
    for path in [root.join("data.yaml"), root] {
        if let Ok(set) = open(&path, None, Some(Format::Yolo), &super::LIMITS) {
            super::check(&set);
        }
    }
}
