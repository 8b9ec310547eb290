//! COCO.

use super::*;

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
