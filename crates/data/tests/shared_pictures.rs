//! The shared data sets are read as `SOURCES.md` describes them.

use data::picture::{self, Limits};
use data::read::{self, Format, Rule};
use tasks::detect::{BBox, Status};

#[test]
fn voc_coco_and_blood_cells_have_the_counts_of_their_notes() {
    let Some(root) = testing::data("shared_pictures") else {
        return;
    };
    let open = |folder: &str, split: &str| {
        read::open(
            &root.join("pictures").join(folder),
            Some(split),
            Some(Format::Voc),
            &Default::default(),
        )
        .unwrap()
    };
    let test07 = open("voc", "test07");
    assert_eq!((test07.pictures.len(), test07.names.len()), (52, 20));
    let counted = |d: &read::Dataset| {
        d.pictures
            .iter()
            .flat_map(|p| &p.objects)
            .filter(|o| o.status == Status::Counted)
            .count()
    };
    assert_eq!(counted(&test07), 126);
    assert_eq!(test07.notes.skipped_pictures(), 0, "{:?}", test07.notes.lines());
    assert_eq!(open("voc", "val").pictures.len(), 240);
    let coco = open("coco", "val");
    assert_eq!((coco.pictures.len(), coco.names.len()), (50, 48));
    let first = coco
        .pictures
        .iter()
        .find(|p| p.path.ends_with("000000006818.jpg"))
        .unwrap();
    assert_eq!(first.id, read::PictureId::Number(6818));
    assert_eq!((first.width, first.height), (Some(427), Some(640)));
    assert_eq!(first.objects[0].bbox, BBox::new(186.97, 471.83, 287.64, 527.92));
    let cells = open("bccd", "train");
    assert_eq!(cells.names, ["Platelets", "RBC", "WBC"]);
    println!("bccd: {:?}", cells.notes.lines());
    let err = read::open(
        &root.join("pictures/voc"),
        Some("vall"),
        None,
        &Default::default(),
    )
    .unwrap_err();
    assert!(
        err.to_string()
            .ends_with("no split \"vall\" here; there are: test07, train, train_more, val"),
        "{err}"
    );
}

#[test]
fn every_shared_picture_has_the_size_that_its_annotation_states() {
    let Some(root) = testing::data("shared_pictures") else {
        return;
    };
    for (folder, split) in [("voc", "test07"), ("coco", "val"), ("bccd", "val")] {
        let set = read::open(
            &root.join("pictures").join(folder),
            Some(split),
            None,
            &Default::default(),
        )
        .unwrap();
        for entry in &set.pictures {
            let p = picture::load(&entry.path, &Limits::default()).unwrap();
            assert_eq!(
                (Some(p.width()), Some(p.height())),
                (entry.width, entry.height),
                "{}",
                entry.path.display()
            );
        }
        assert_eq!(set.notes.count(Rule::MissingPicture), 0);
    }
}
