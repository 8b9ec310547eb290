//! Awkward, broken and hostile annotation files: each has a rule that is counted, or an error with its place.

mod any;
mod coco;
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;
mod voc;
mod yolo;

use std::fs;
use std::path::{Path, PathBuf};

use data::read::{self, Dataset, Format, Limits, PictureId, ReadError, ReadFault, Rule};
use data::{Picture, picture};
use tasks::detect::{BBox, Status};

/// A folder with pictures `a.png` (100×80) and `b.png` where each format looks for them.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        for sub in ["JPEGImages", "Annotations", "annotations", "images", "labels"] {
            fs::create_dir(folder.path().join(sub)).unwrap();
        }
        let png = picture::encode_png(&Picture::filled(100, 80, [7; 3])).unwrap();
        for name in [
            "JPEGImages/a.png",
            "JPEGImages/b.png",
            "images/a.png",
            "images/b.png",
        ] {
            fs::write(folder.path().join(name), &png).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn open(&self, format: Format) -> Result<Dataset, ReadError> {
        let split = (format != Format::Yolo).then_some("val");
        read::open(self.path(), split, Some(format), &Limits::default())
    }

    /// Reads one VOC file.
    pub(crate) fn voc(&self, objects: &str) -> Result<Dataset, ReadError> {
        self.write("val.txt", "a\n");
        let size = "<size><width>100</width><height>80</height></size>";
        self.write(
            "Annotations/a.xml",
            format!("<annotation>\n{size}\n{objects}</annotation>"),
        );
        self.open(Format::Voc)
    }

    /// Reads one COCO file with pictures 1 and 2 and classes 3 `cat` and 5 `dog`.
    pub(crate) fn coco(&self, annotations: &str) -> Result<Dataset, ReadError> {
        self.write(
            "annotations/instances_val.json",
            format!(
                r#"{{"info": {{}}, "annotations": [{annotations}],
                "images": [{{"id": 2, "file_name": "a.png", "width": 100, "height": 80}}, {{"id": 1, "file_name": "b.png"}}],
                "categories": [{{"id": 5, "name": "dog"}}, {{"id": 3, "name": "cat"}}]}}"#
            ),
        );
        self.open(Format::Coco)
    }

    /// Reads one YOLO label file.
    pub(crate) fn yolo(&self, labels: &str) -> Result<Dataset, ReadError> {
        self.write("data.yaml", "val: images\nnames: [cat, dog]\n");
        self.write("labels/a.txt", labels);
        self.open(Format::Yolo)
    }
}

pub(crate) fn voc_object(name: &str, [x1, y1, x2, y2]: [&str; 4], more: &str) -> String {
    format!(
        "<object><name>{name}</name>{more}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>\
         <ymax>{y2}</ymax></bndbox></object>\n"
    )
}

pub(crate) fn counts(set: &Dataset) -> Vec<(Rule, usize)> {
    set.notes.iter().map(|(rule, note)| (rule, note.count)).collect()
}
