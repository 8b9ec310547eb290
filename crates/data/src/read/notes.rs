//! Odd things in annotation files: each has a rule, and each use of a rule is counted.

use std::collections::BTreeMap;

use crate::plain::plain;

/// What was found and what is done about it.
///
/// *Kept* objects enter the evaluation as pycocotools and the VOC development kit would take them; *skipped* ones do
/// not exist for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A listed picture without a file: the picture is skipped.
    MissingPicture,
    /// A YOLO picture whose size, which its labels are relative to, cannot be read: the picture is skipped.
    BrokenPicture,
    /// A picture path that leaves the folder of the data set: the picture is skipped.
    PictureOutside,
    /// A listed VOC picture without its XML file: the picture is skipped.
    MissingAnnotation,
    /// A picture listed twice, or an image id used twice: the first is kept.
    DuplicatePicture,
    /// A box that reaches beyond the picture by more than a pixel: kept as it is.
    BoxOutside,
    /// A box without area: kept; no detection can match it.
    ZeroArea,
    /// A box whose right or lower side comes first: skipped.
    NegativeSize,
    /// A box with a coordinate that is not a finite number: skipped.
    NotFinite,
    /// An annotation id used twice: both kept (pycocotools takes the second one twice).
    DuplicateId,
    /// Annotation id 0: kept (pycocotools takes its detections for unmatched: see the evaluation's mode).
    IdZero,
    /// A category that the file does not declare: the object is skipped.
    UnknownClass,
    /// A category id declared twice: the first name is kept.
    DuplicateCategory,
    /// An annotation of an image that the file does not declare: skipped.
    UnknownPicture,
    /// The same YOLO line twice: the second is skipped, as Ultralytics does.
    DuplicateLine,
    /// COCO's `iscrowd`: kept as crowd, which may hide any number of detections.
    Crowd,
    /// VOC's `difficult`: kept, neither helps nor hurts.
    Difficult,
    /// COCO's `ignore` field: kept, see the evaluation's mode.
    Ignored,
    /// An object without a box (only parts or a segment): skipped.
    NoBox,
    /// A picture without objects: kept; what is found there is wrong.
    Empty,
    /// The folder holds several formats: the first of VOC, COCO, YOLO is read.
    SeveralFormats,
}

impl Rule {
    /// One object or picture, many of them, and what is done.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Rule::MissingPicture => ("listed picture has", "listed pictures have", "no file: skipped"),
            Rule::BrokenPicture => (
                "labelled picture has",
                "labelled pictures have",
                "no readable size: skipped",
            ),
            Rule::PictureOutside => (
                "picture path leaves",
                "picture paths leave",
                "the data set's folder: skipped",
            ),
            Rule::MissingAnnotation => (
                "listed picture has",
                "listed pictures have",
                "no annotation file: skipped",
            ),
            Rule::DuplicatePicture => ("picture is", "pictures are", "listed twice: first kept"),
            Rule::BoxOutside => (
                "box reaches",
                "boxes reach",
                "beyond the picture: kept as they are",
            ),
            Rule::ZeroArea => ("box has", "boxes have", "no area: kept, nothing can match"),
            Rule::NegativeSize => ("box has", "boxes have", "swapped corners: skipped"),
            Rule::NotFinite => (
                "box has",
                "boxes have",
                "coordinates that are not finite: skipped",
            ),
            Rule::DuplicateId => ("annotation id is", "annotation ids are", "used twice: both kept"),
            Rule::IdZero => ("annotation has", "annotations have", "id 0: kept"),
            Rule::UnknownClass => (
                "object has",
                "objects have",
                "a class that is not declared: skipped",
            ),
            Rule::DuplicateCategory => ("class is", "classes are", "declared twice: first kept"),
            Rule::UnknownPicture => (
                "annotation belongs",
                "annotations belong",
                "to no declared picture: skipped",
            ),
            Rule::DuplicateLine => ("line stands", "lines stand", "there twice: second skipped"),
            Rule::Crowd => (
                "object is a crowd:",
                "objects are crowds:",
                "neither help nor hurt",
            ),
            Rule::Difficult => (
                "object is difficult:",
                "objects are difficult:",
                "neither help nor hurt",
            ),
            Rule::Ignored => ("object is", "objects are", "marked `ignore`"),
            Rule::NoBox => ("object has", "objects have", "no box: skipped"),
            Rule::Empty => ("picture is", "pictures are", "without objects: kept"),
            Rule::SeveralFormats => (
                "other format is",
                "other formats are",
                "in this folder too: not read",
            ),
        }
    }
}

/// How often a rule was used, and where first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// Times.
    pub count: usize,
    /// File and line (or id) of the first time.
    pub first: String,
}

/// All rules used, in the order of [`Rule`].
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Notes(BTreeMap<Rule, Note>);

impl Notes {
    /// Counts one use.
    pub(super) fn add(&mut self, rule: Rule, place: impl FnOnce() -> String) {
        self.0
            .entry(rule)
            .or_insert_with(|| Note {
                count: 0,
                first: place(),
            })
            .count += 1;
    }

    /// Uses of a rule.
    pub fn count(&self, rule: Rule) -> usize {
        self.0.get(&rule).map_or(0, |n| n.count)
    }

    /// The rules used.
    pub fn iter(&self) -> impl Iterator<Item = (Rule, &Note)> {
        self.0.iter().map(|(r, n)| (*r, n))
    }

    /// Pictures that the list names and the evaluation will not see.
    pub fn skipped_pictures(&self) -> usize {
        [
            Rule::MissingPicture,
            Rule::BrokenPicture,
            Rule::PictureOutside,
            Rule::MissingAnnotation,
        ]
        .iter()
        .map(|r| self.count(*r))
        .sum()
    }

    /// One sentence for each rule used.
    pub fn lines(&self) -> Vec<String> {
        self.iter()
            .map(|(rule, note)| {
                let (one, many, done) = rule.words();
                let subject = if note.count == 1 { one } else { many };
                format!(
                    "{} {subject} {done} (first: {})",
                    note.count,
                    plain(&note.first, 4096)
                )
            })
            .collect()
    }
}
