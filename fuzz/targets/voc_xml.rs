//! One VOC annotation.

use data::read::{Format, open};

#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "<annotation>", "</annotation>", "<object>", "</object>", "<bndbox>", "</bndbox>", "<xmin>", "</xmin>", "<name>", "</name>",
    "<size>", "<width>", "<difficult>1</difficult>", "<!DOCTYPE a [<!ENTITY b \"b\">]>", "&b;", "<![CDATA[", "]]>", "<!--", "-->",
    "NaN", "inf", "-1", "1e309", "\u{feff}", "<part>", "&#x0;", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>",
];

pub fn target(bytes: &[u8]) {
    let files: [(&str, &[u8]); 3] = [
        ("ImageSets/Main/all.txt", b"a\n"),
        ("JPEGImages/a.jpg", b""),
        ("Annotations/a.xml", bytes),
    ];
    let root = super::folder("voc", &files);
    if let Ok(set) = open(&root, Some("all"), Some(Format::Voc), &super::LIMITS) {
        super::check(&set);
    }
}
