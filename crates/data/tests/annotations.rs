//! Awkward, broken and hostile annotation files: each has a rule that is counted, or an error with its place.

#[allow(dead_code)]
mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::rng::Rng;
use data::read::{self, Dataset, Format, Limits, PictureId, ReadError, ReadFault, Rule};
use data::{Picture, picture};
use tasks::detect::{BBox, Status};

/// A folder with pictures `a.png` (100×80) and `b.png` where each format looks for them.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
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

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn open(&self, format: Format) -> Result<Dataset, ReadError> {
        let split = (format != Format::Yolo).then_some("val");
        read::open(self.path(), split, Some(format), &Limits::default())
    }

    /// Reads one VOC file.
    fn voc(&self, objects: &str) -> Result<Dataset, ReadError> {
        self.write("val.txt", "a\n");
        let size = "<size><width>100</width><height>80</height></size>";
        self.write(
            "Annotations/a.xml",
            format!("<annotation>\n{size}\n{objects}</annotation>"),
        );
        self.open(Format::Voc)
    }

    /// Reads one COCO file with pictures 1 and 2 and classes 3 `cat` and 5 `dog`.
    fn coco(&self, annotations: &str) -> Result<Dataset, ReadError> {
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
    fn yolo(&self, labels: &str) -> Result<Dataset, ReadError> {
        self.write("data.yaml", "val: images\nnames: [cat, dog]\n");
        self.write("labels/a.txt", labels);
        self.open(Format::Yolo)
    }
}

fn voc_object(name: &str, [x1, y1, x2, y2]: [&str; 4], more: &str) -> String {
    format!(
        "<object><name>{name}</name>{more}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>\
         <ymax>{y2}</ymax></bndbox></object>\n"
    )
}

fn counts(set: &Dataset) -> Vec<(Rule, usize)> {
    set.notes.iter().map(|(rule, note)| (rule, note.count)).collect()
}

#[test]
fn voc_oddities_have_their_rules() {
    let f = Folder::new();
    let objects = [
        voc_object("dog", ["1", "1", "1", "1"], ""),
        voc_object(" dog ", ["1", "1", "100", "80"], "<difficult>1</difficult>"),
        voc_object(
            "cat",
            ["5", "5", "120", "30"],
            "<difficult>0</difficult><truncated>1</truncated>",
        ),
        voc_object("cat", ["5", "5", "4", "30"], ""),
        voc_object("cat", ["9", "5", "4", "30"], ""),
        voc_object("cat", ["nan", "5", "4", "30"], ""),
        voc_object("cat", ["1", "5", "inf", "30"], ""),
        "<object><name>part</name></object>".into(),
        "<object><name>dog</name><part><name>head</name><bndbox/></part></object>".into(),
    ];
    let set = f.voc(&objects.concat()).unwrap();
    assert_eq!(
        counts(&set),
        [
            (Rule::BoxOutside, 1),
            (Rule::ZeroArea, 1),
            (Rule::NegativeSize, 1),
            (Rule::NotFinite, 2),
            (Rule::Difficult, 1),
            (Rule::NoBox, 2)
        ]
    );
    assert_eq!(set.names, ["cat", "dog"]);
    let kept: Vec<_> = set.pictures[0]
        .objects
        .iter()
        .map(|o| (o.class, o.bbox, o.status))
        .collect();
    assert_eq!(
        kept,
        [
            (1, BBox::new(0.0, 0.0, 1.0, 1.0), Status::Counted),
            (1, BBox::new(0.0, 0.0, 100.0, 80.0), Status::Difficult),
            (0, BBox::new(4.0, 4.0, 120.0, 30.0), Status::Counted),
            (0, BBox::new(4.0, 4.0, 4.0, 30.0), Status::Counted),
        ]
    );
    let lines = set.notes.lines();
    let file = f.path().join("Annotations/a.xml");
    assert_eq!(
        lines[0],
        format!(
            "1 box reaches beyond the picture: kept as they are (first: {}:5)",
            file.display()
        )
    );
}

#[test]
fn voc_errors_name_file_and_line() {
    let f = Folder::new();
    let says = |objects: &str, line: usize, what: &str| {
        let e = f.voc(objects).unwrap_err();
        assert_eq!(
            (e.line, e.path.clone()),
            (Some(line), f.path().join("Annotations/a.xml")),
            "{e}"
        );
        assert!(e.to_string().contains(what), "{e}");
    };
    says(
        &voc_object("dog", ["1", "x", "1", "1"], ""),
        3,
        "<ymin> of \"dog\" is \"x\", not a number",
    );
    says("<object><bndbox/></object>", 3, "an <object> without <name>");
    says("<object>\n<name>dog</nam>", 4, "not well-formed XML");
    says("&undefined;", 3, "not well-formed XML");
    f.write("Annotations/a.xml", "");
    assert!(
        f.open(Format::Voc)
            .unwrap_err()
            .to_string()
            .ends_with("the file is empty")
    );
    f.write("Annotations/a.xml", b"\xff\xfe<\0a\0");
    assert!(f.open(Format::Voc).unwrap_err().to_string().contains("UTF-16"));
    f.write("Annotations/a.xml", b"<annotation>\n\xe4</annotation>");
    let e = f.open(Format::Voc).unwrap_err();
    assert!(
        e.to_string()
            .ends_with("a.xml:2: byte 13 is not UTF-8; save the file as UTF-8"),
        "{e}"
    );
}

#[test]
fn a_bomb_of_entities_and_a_tower_of_tags_end_with_an_error() {
    let f = Folder::new();
    f.write("val.txt", "a\n");
    let mut bomb = String::from("<!DOCTYPE a [<!ENTITY e0 \"0123456789\">");
    for k in 1..30 {
        bomb += &format!("<!ENTITY e{k} \"{}\">", format!("&e{};", k - 1).repeat(10));
    }
    bomb += "]><annotation>&e29;</annotation>";
    f.write("Annotations/a.xml", bomb);
    assert!(matches!(
        f.open(Format::Voc).unwrap_err().fault,
        ReadFault::Syntax(_)
    ));
    let n = 200_000;
    f.write(
        "Annotations/a.xml",
        format!("{}{}", "<a>".repeat(n), "</a>".repeat(n)),
    );
    // A deep tree is odd and harmless, if it is read without recursion: no object in it.
    match f.open(Format::Voc) {
        Ok(set) => assert_eq!(set.notes.count(Rule::Empty), 1),
        Err(e) => assert!(matches!(e.fault, ReadFault::Syntax(_)), "{e}"),
    }
    f.write("annotations/instances_val.json", "[".repeat(n));
    assert!(matches!(
        f.open(Format::Coco).unwrap_err().fault,
        ReadFault::Syntax(_)
    ));
    f.write(
        "annotations/instances_val.json",
        format!("{{\"x\": {}", "[".repeat(n)),
    );
    assert!(matches!(
        f.open(Format::Coco).unwrap_err().fault,
        ReadFault::Syntax(_)
    ));
}

#[test]
fn lists_may_have_any_line_ends_and_do_not_leave_the_folder() {
    let f = Folder::new();
    f.voc(&voc_object("dog", ["1", "1", "9", "9"], "")).unwrap();
    f.write("Annotations/b.xml", "\u{feff}<annotation/>");
    f.write(
        "val.txt",
        "\u{feff}a\r\n\r\n  b.png  \r\na\nmissing\n../a\n/etc/passwd\n",
    );
    let set = f.open(Format::Voc).unwrap();
    assert_eq!(
        counts(&set),
        [
            (Rule::MissingPicture, 1),
            (Rule::PictureOutside, 2),
            (Rule::DuplicatePicture, 1),
            (Rule::Empty, 1)
        ]
    );
    assert_eq!(set.notes.skipped_pictures(), 3);
    assert_eq!(
        set.pictures.iter().map(|p| p.id.to_string()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(
        set.notes.lines()[0].ends_with("val.txt:5)"),
        "{:?}",
        set.notes.lines()
    );
    fs::remove_file(f.path().join("Annotations/b.xml")).unwrap();
    assert_eq!(
        f.open(Format::Voc).unwrap().notes.count(Rule::MissingAnnotation),
        1
    );
    // ImageSets/Main, and no list at all.
    fs::create_dir_all(f.path().join("ImageSets/Main")).unwrap();
    fs::rename(f.path().join("val.txt"), f.path().join("ImageSets/Main/val.txt")).unwrap();
    assert_eq!(f.open(Format::Voc).unwrap().pictures.len(), 1);
    fs::remove_dir_all(f.path().join("ImageSets")).unwrap();
    let set = read::open(f.path(), None, Some(Format::Voc), &Limits::default()).unwrap();
    assert_eq!(set.pictures.len(), 1);
}

#[test]
fn coco_oddities_have_their_rules() {
    let f = Folder::new();
    let set = f
        .coco(
            r#"{"id": 0, "image_id": 2, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 6.5, "iscrowd": 0},
            {"id": 7, "image_id": 2, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1, "segmentation": {"counts": [1]}},
            {"id": 7, "image_id": 2, "category_id": 3, "bbox": [50, 2, 300, 4], "ignore": 1},
            {"id": 8, "image_id": 2, "category_id": 3, "bbox": [1, 2, 0, 4]},
            {"id": 9, "image_id": 2, "category_id": 3, "bbox": [1, 2, -1, 4]},
            {"id": 10, "image_id": 2, "category_id": 4, "bbox": [1, 2, 3, 4]},
            {"id": 11, "image_id": 3, "category_id": 5, "bbox": [1, 2, 3, 4]},
            {"id": 12, "image_id": 2, "category_id": 5, "bbox": []},
            {"image_id": 2, "category_id": 5, "keypoints": [1, 2, 2]}"#,
        )
        .unwrap();
    assert_eq!(
        counts(&set),
        [
            (Rule::BoxOutside, 1),
            (Rule::ZeroArea, 1),
            (Rule::NegativeSize, 1),
            (Rule::DuplicateId, 1),
            (Rule::IdZero, 1),
            (Rule::UnknownClass, 1),
            (Rule::UnknownPicture, 1),
            (Rule::Crowd, 1),
            (Rule::Ignored, 1),
            (Rule::NoBox, 2),
            (Rule::Empty, 1)
        ]
    );
    // Classes by id, pictures by id.
    assert_eq!(
        (set.names.join(" "), &set.category_ids[..]),
        ("cat dog".into(), &[3, 5][..])
    );
    assert_eq!(
        (&set.pictures[0].id, &set.pictures[1].id),
        (&PictureId::Number(1), &PictureId::Number(2))
    );
    let o = &set.pictures[1].objects;
    assert_eq!(
        (o[0].class, o[0].bbox, o[0].area, o[0].id),
        (1, BBox::new(1.0, 2.0, 4.0, 6.0), Some(6.5), Some(0))
    );
    assert_eq!(
        (o[1].status, o[2].status, o.len()),
        (Status::Crowd, Status::Ignored, 4)
    );
}

#[test]
fn coco_errors_name_the_line_and_what_was_expected() {
    let f = Folder::new();
    for (annotations, line, what) in [
        (
            r#"{"id": 1, "image_id": 2, "category_id": 5, "bbox": [1, 2, 3]}"#,
            1,
            "a box [x, y, width, height]",
        ),
        (
            "\n\n{\"id\": 1, \"image_id\": 2, \"category_id\": 5, \"bbox\": [NaN, 2, 3, 4]}",
            3,
            "expected value",
        ),
        (
            r#"{"id": 1, "image_id": 2, "bbox": [1, 2, 3, 4]}"#,
            1,
            "missing field `category_id`",
        ),
        (
            r#"{"id": 1, "image_id": "\u001b[31m", "category_id": 1, "bbox": [1, 2, 3, 4]}"#,
            1,
            "invalid type",
        ),
        ("{", 1, "key must be a string"),
    ] {
        let e = f.coco(annotations).unwrap_err();
        assert_eq!(e.line, Some(line), "{e}");
        assert!(
            e.to_string().contains(what) && !e.to_string().contains('\u{1b}'),
            "{e}"
        );
    }
    for (text, what) in [
        ("", "the file is empty"),
        ("[]", "an object with images, annotations and categories"),
        ("{}", "declares no images"),
        (r#"{"images": [], "images": []}"#, "stands there twice"),
        (
            r#"{"images": [{"id": 1, "file_name": "x.png"}]}"#,
            "none of its 1 pictures was found in",
        ),
        (
            r#"{"images": [{"id": 1, "file_name": "a.png"}]} x"#,
            "trailing characters",
        ),
    ] {
        f.write("annotations/instances_val.json", text);
        let e = f.open(Format::Coco).unwrap_err();
        assert!(e.to_string().contains(what), "{e}");
    }
    let outside = r#"{"images": [{"id": 1, "file_name": "../../etc/passwd"}, {"id": 2, "file_name": "a.png"},
        {"id": 2, "file_name": "b.png"}], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}"#;
    f.write("annotations/instances_val.json", format!("\u{feff}{outside}"));
    let set = f.open(Format::Coco).unwrap();
    assert_eq!(
        counts(&set),
        [
            (Rule::PictureOutside, 1),
            (Rule::DuplicatePicture, 1),
            (Rule::DuplicateCategory, 1),
            (Rule::Empty, 1)
        ]
    );
    assert_eq!(set.names, ["a"]);
}

#[test]
fn a_coco_file_is_found_by_a_part_of_its_name() {
    let f = Folder::new();
    f.coco("").unwrap();
    let annotations = f.path().join("annotations");
    fs::rename(
        annotations.join("instances_val.json"),
        annotations.join("instances_val2017.json"),
    )
    .unwrap();
    f.write("annotations/captions_val2017.json", "{}");
    assert_eq!(f.open(Format::Coco).unwrap().pictures.len(), 2);
    let file = annotations.join("instances_val2017.json");
    assert_eq!(
        read::open(&file, None, None, &Limits::default())
            .unwrap()
            .pictures
            .len(),
        2
    );
    let e = read::open(f.path(), Some("train"), Some(Format::Coco), &Limits::default()).unwrap_err();
    assert!(
        e.to_string()
            .ends_with("no split \"train\" here; there are: captions_val2017, val2017"),
        "{e}"
    );
}

#[test]
fn yolo_oddities_have_their_rules() {
    let f = Folder::new();
    let labels = "0 0.5 0.5 0.2 0.5\r\n\r\n0 0.5 0.5 0.2 0.5\n1 0.5 0.5 1.5 0.5\n2 0.5 0.5 0.1 0.1\n-1 0 0 0 0\n\
                  0.5 0.5 0.5 0.1 0.1\n1.0 0.5 0.5 -0.1 0.1\n1 nan 0.5 0.1 0.1\n1 0.1 0.2 0.9 0.4 0.5 0.75\n1 0.5 0.5 0 0";
    let set = f.yolo(labels).unwrap();
    assert_eq!(
        counts(&set),
        [
            (Rule::BoxOutside, 1),
            (Rule::ZeroArea, 1),
            (Rule::NegativeSize, 1),
            (Rule::NotFinite, 1),
            (Rule::UnknownClass, 3),
            (Rule::DuplicateLine, 1),
            (Rule::Empty, 1)
        ]
    );
    let boxes: Vec<_> = set.pictures[0]
        .objects
        .iter()
        .map(|o| (o.class, o.bbox))
        .collect();
    assert_eq!(boxes[0], (0, BBox::new(40.0, 20.0, 60.0, 60.0)));
    assert_eq!(boxes[2], (1, BBox::new(10.0, 16.0, 90.0, 60.0)));
    for (line, what) in [
        ("0 0.5 0.5 0.1", "a.txt:1: 4 numbers"),
        ("\n0 0.5 0.5 0.1 0.1 0.9", "a.txt:2: 6 numbers"),
        ("dog 1 1 1 1", "\"dog\" is not a number"),
    ] {
        let e = f.yolo(line).unwrap_err();
        assert!(e.to_string().contains(what), "{e}");
    }
    assert_eq!(f.yolo("\u{feff}").unwrap().notes.count(Rule::Empty), 2);
}

#[test]
fn data_files_come_in_many_forms_of_yaml() {
    let f = Folder::new();
    f.write("labels/a.txt", "1 0.5 0.5 0.1 0.1");
    let nested = f.path().display().to_string();
    for text in [
        "val: images\nnames: [cat, 'd''og', \"x\\ty\"]\n".to_owned(),
        "# comment\npath: .  # here\nval:\n  - images\nnc: 3\nnames:\n  0: cat\n  1: \"d'og\" # the dog\n  2: \"x\\ty\"\n".into(),
        "train: ../train/images\nval: ../images\n\nnames:\n- cat\n- d'og\n- \"x\\ty\"\nroboflow:\n  license: MIT\n  url: http://x\n".into(),
        format!("path: {nested}\nval: images\nnames: {{0: cat, 1: 'd''og', 2: \"x\\ty\"}}\ndownload: |\n  rm: -rf\n  [a\n"),
        "---\nval: list.lst\nnames: ['cat',\n        'd''og',\n \"x\\ty\",\n]\nkpt_shape: [17, 3]\n".into(),
        "path: ../nowhere\nval: images\nnames: [cat,\n\"d'og\",\n\"x\\ty\"]\n".into(),
    ] {
        f.write("list.lst", "./images/b.png\nimages/a.png\nimages/c.png\n");
        f.write("data.yaml", text.replace('\n', "\r\n"));
        let set = f.open(Format::Yolo).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(set.names, ["cat", "d'og", "x\ty"], "{text}");
        assert_eq!(set.pictures.len(), 2);
        assert_eq!(set.pictures.iter().map(|p| p.objects.len()).sum::<usize>(), 1);
    }
    for (text, line, what) in [
        ("val: images\n", Some(1), "no class names"),
        ("names: [a, b\nval: images\n", Some(1), "`[` without `]`"),
        (
            "val: images\nnames:\n  0: a\n  0: b\n",
            Some(4),
            "class 0 is named twice",
        ),
        ("val: images\nnames:\n  0: a\n  5: b\n", Some(4), "class 5 of 2"),
        ("val: images\nnames: 'a\n", Some(2), "neither a list nor a map"),
        ("val: images\nnames: ['a]\n", Some(2), "is not closed"),
        ("  val: images\n", Some(1), "before the first key"),
        ("val images\n", Some(1), "is not `key: value`"),
        ("val: nowhere\nnames: [a]\n", None, "none of these exists"),
        (
            "train: images\nnames: [a]\n",
            None,
            "no split \"val\" in this file; there are: train",
        ),
    ] {
        f.write("data.yaml", text);
        let e = f.open(Format::Yolo).unwrap_err();
        assert_eq!(e.line, line, "{e}");
        assert!(e.to_string().contains(what), "{e}");
    }
}

#[test]
fn the_format_is_told_by_what_is_there() {
    let f = Folder::new();
    let open = |split| read::open(f.path(), split, None, &Limits::default());
    fs::remove_dir(f.path().join("Annotations")).unwrap();
    let e = open(None).unwrap_err();
    assert!(
        e.to_string().contains("no data set here (VOC: Annotations/*.xml"),
        "{e}"
    );
    f.yolo("").unwrap();
    assert_eq!(open(None).unwrap().format, Format::Yolo);
    f.coco("").unwrap();
    let set = open(Some("val")).unwrap();
    assert_eq!(
        (set.format, set.notes.count(Rule::SeveralFormats)),
        (Format::Coco, 1)
    );
    fs::create_dir(f.path().join("Annotations")).unwrap();
    f.voc("").unwrap();
    assert_eq!(open(Some("val")).unwrap().format, Format::Voc);
    fs::rename(f.path().join("val.txt"), f.path().join("other.txt")).unwrap();
    assert_eq!(open(Some("val")).unwrap().format, Format::Coco);
    let e = read::open(&f.path().join("nowhere"), None, None, &Limits::default()).unwrap_err();
    assert!(matches!(e.fault, ReadFault::Io(_)), "{e}");
}

#[test]
fn limits_end_reading_early() {
    let f = Folder::new();
    let row = r#"{"id": 1, "image_id": 2, "category_id": 5, "bbox": [1, 2, 3, 4]}"#;
    f.coco(&vec![row; 50].join(",")).unwrap();
    let open = |limits: Limits| read::open(f.path(), Some("val"), Some(Format::Coco), &limits).unwrap_err();
    for limits in [
        Limits {
            objects: 49,
            ..Limits::default()
        },
        Limits {
            pictures: 1,
            ..Limits::default()
        },
        Limits {
            file_bytes: 100,
            ..Limits::default()
        },
    ] {
        let e = open(limits);
        assert!(matches!(e.fault, ReadFault::Limit(_)), "{e}");
    }
    f.voc(&voc_object("a", ["1", "1", "2", "2"], "").repeat(50))
        .unwrap();
    let limits = Limits {
        objects: 49,
        ..Limits::default()
    };
    let e = read::open(f.path(), Some("val"), Some(Format::Voc), &limits).unwrap_err();
    assert!(matches!(e.fault, ReadFault::Limit(_)), "{e}");
}

/// Two hundred thousand boxes in one file of each kind: seconds would mean that something is quadratic.
#[test]
fn large_files_are_read_in_linear_time() {
    let f = Folder::new();
    let n = 200_000;
    let row =
        r#"{"id": 1, "image_id": 2, "category_id": 5, "segmentation": [[1, 2, 3, 4]], "bbox": [1, 2, 3, 4]}"#;
    let set = f.coco(&vec![row; n].join(",\n")).unwrap();
    assert_eq!(
        (set.pictures[1].objects.len(), set.notes.count(Rule::DuplicateId)),
        (n, n - 1)
    );
    let set = f
        .voc(&voc_object("a", ["1", "1", "900", "2"], "").repeat(n / 10))
        .unwrap();
    assert_eq!(
        (set.pictures[0].objects.len(), set.notes.count(Rule::BoxOutside)),
        (n / 10, n / 10)
    );
    let set = f.yolo(&"0 0.5 0.5 0.1 0.1\n".repeat(n)).unwrap();
    assert_eq!(set.notes.count(Rule::DuplicateLine), n - 1);
}

#[test]
fn mutated_annotations_never_panic_and_errors_are_one_line() {
    let f = Folder::new();
    let tokens: [&[u8]; 16] = [
        b"<object>",
        b"</",
        b"&#0;",
        b"<![CDATA[",
        b"NaN",
        b"1e999",
        b"-1",
        b"\"",
        b"[",
        b"{",
        b": ",
        b"\n- ",
        b"\x1b[31m",
        b"\xef\xbb\xbf",
        b"null",
        b"18446744073709551616",
    ];
    let xml = format!(
        "<annotation><size><width>100</width></size>{}</annotation>",
        voc_object("dog", ["1", "2", "30", "40"], "<difficult>1</difficult>")
    );
    let json = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 100}], "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 3}]}"#;
    let yaml = "path: .\nval:\n  - images\nnames:\n  0: cat\n  1: 'dog' # x\n";
    f.write("val.txt", "a\n");
    let seeds = [
        (Format::Voc, "Annotations/a.xml", xml.as_str()),
        (Format::Coco, "annotations/instances_val.json", json),
        (Format::Yolo, "data.yaml", yaml),
        (
            Format::Yolo,
            "labels/a.txt",
            "0 0.5 0.5 0.1 0.2\n1 0.1 0.1 0.2 0.1 0.2 0.3\n",
        ),
    ];
    for (_, name, text) in &seeds {
        f.write(name, text);
    }
    let mut good = 0;
    for (k, (format, name, text)) in seeds.iter().enumerate() {
        let mut rng = Rng(k as u64);
        for _ in 0..500 {
            f.write(name, rng.mutate(text.as_bytes(), &tokens));
            match f.open(*format) {
                Ok(set) => {
                    good += 1;
                    let known = set
                        .pictures
                        .iter()
                        .flat_map(|p| &p.objects)
                        .all(|o| o.class < set.names.len());
                    assert!(known && set.names.len() == set.category_ids.len());
                }
                Err(e) => assert!(!e.to_string().contains(|c: char| c.is_control()), "{e:?}"),
            }
        }
        f.write(name, text);
    }
    assert!(good > 100, "{good} mutants are read");
}

#[test]
fn pictures_of_a_folder_are_sorted_and_counted() {
    let f = Folder::new();
    let found = read::pictures_in(f.path()).unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|p| p.strip_prefix(f.path()).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "JPEGImages/a.png",
            "JPEGImages/b.png",
            "images/a.png",
            "images/b.png"
        ]
    );
    assert_eq!(read::pictures_in(&found[1]).unwrap(), found[1..2]);
    let e = read::pictures_in(&f.path().join("labels")).unwrap_err();
    assert!(
        e.to_string()
            .contains("no picture in this folder (looked for .jpg"),
        "{e}"
    );
    // A link that points back at the folder is not entered.
    std::os::unix::fs::symlink(f.path(), f.path().join("images/loop")).unwrap();
    assert_eq!(read::pictures_in(f.path()).unwrap().len(), 4);
}

#[test]
fn any_name_of_a_folder_or_picture_will_do() {
    use std::os::unix::ffi::OsStrExt;
    let f = Folder::new();
    let png = fs::read(f.path().join("images/a.png")).unwrap();
    let odd = f.path().join("日本 ü & ' \" .d");
    fs::create_dir_all(odd.join("JPEGImages")).unwrap();
    fs::create_dir(odd.join("Annotations")).unwrap();
    for name in ["bild ü.v2", "日本", "-rf", "a.b."] {
        fs::write(odd.join(format!("JPEGImages/{name}.PNG")), &png).unwrap();
        fs::write(odd.join(format!("Annotations/{name}.xml")), "<annotation/>").unwrap();
    }
    fs::write(odd.join("val.txt"), "bild ü.v2\n日本\n-rf\na.b.\n").unwrap();
    let set = read::open(&odd, Some("val"), None, &Limits::default()).unwrap();
    assert_eq!(
        (set.pictures.len(), set.notes.skipped_pictures()),
        (4, 0),
        "{:?}",
        set.notes.lines()
    );
    assert_eq!(set.pictures[0].id, PictureId::Name("bild ü.v2".into()));
    // A name that is no UTF-8.
    let raw = f
        .path()
        .join("images")
        .join(std::ffi::OsStr::from_bytes(b"x\xff.png"));
    fs::write(&raw, &png).unwrap();
    assert!(
        read::pictures_in(&f.path().join("images"))
            .unwrap()
            .contains(&raw)
    );
    assert_eq!(f.yolo("").unwrap().pictures.len(), 3);
}
