//! YOLO.

use super::*;

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
