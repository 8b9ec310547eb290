//! VOC.

use super::*;

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
