//! Every format.

use testing::SplitMix64;

use super::*;

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
        let mut rng = SplitMix64(k as u64);
        for _ in 0..500 {
            f.write(name, common::mutate(&mut rng, text.as_bytes(), &tokens));
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
