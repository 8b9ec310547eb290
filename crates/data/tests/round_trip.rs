//! What the writers write, the readers read: 1,000 random sets through all three formats.

#[allow(dead_code)]
mod common;

use std::fs;
use std::path::Path;

use data::read::{self, Dataset, Entry, Format, Notes, PictureId};
use data::{Picture, picture, write};
use tasks::detect::{BBox, Detection, Object, Status};
use testing::SplitMix64;

/// Names that a careless writer breaks on. No white space around them: VOC's reader trims.
const NAMES: [&str; 12] = [
    "dog",
    "a & b <c> \"d\" 'e'",
    "=1+1",
    "x\ny\tz",
    "\u{1b}[31mred\u{1b}[0m",
    "日本 ü é",
    "it's # not, a: comment",
    "[a, b]",
    "{0: c}",
    "\\u0041\\",
    "null",
    "\u{9b}31m\u{7f}",
];

/// XML 1.0 cannot hold these, not even as references.
fn in_xml(name: &str) -> String {
    name.replace('\u{1b}', "\u{fffd}")
}

fn random_set(rng: &mut SplitMix64, folder: &Path, statuses: &[Status]) -> Dataset {
    let classes = 1 + rng.below(NAMES.len());
    let mut names: Vec<String> = NAMES.iter().map(|n| (*n).to_owned()).collect();
    for k in (1..names.len()).rev() {
        names.swap(k, rng.below(k + 1));
    }
    names.truncate(classes);
    let pictures = (0..rng.below(4) + 1)
        .map(|k| {
            let (w, h) = rng.pick(&[(1, 1), (7, 1000), (640, 480), (333, 99)]);
            let mut objects = Vec::new();
            for _ in 0..rng.below(6) {
                let (x, y) = (rng.within(0.0, w as f64), rng.within(0.0, h as f64));
                let (x2, y2) = (rng.within(x, w as f64), rng.within(y, h as f64));
                let mut o = Object::new(rng.below(classes), BBox::new(x, y, x2, y2));
                if rng.below(3) == 0 {
                    o.bbox = BBox::new(x.floor(), y.floor(), x.floor() + 1.0, y.floor() + 1.0);
                }
                // YOLO's reader drops a line that stands there twice, as Ultralytics does.
                if !objects
                    .iter()
                    .any(|p: &Object| (p.class, p.bbox) == (o.class, o.bbox))
                {
                    o.status = rng.pick(statuses);
                    objects.push(o);
                }
            }
            Entry {
                path: folder.join("images").join(format!("{k}_{w}x{h}.png")),
                id: PictureId::Name(format!("{k}_{w}x{h}")),
                objects,
                width: Some(w),
                height: Some(h),
            }
        })
        .collect();
    Dataset {
        format: Format::Voc,
        category_ids: (0..classes as i64).map(|k| 3 * k + 7).collect(),
        names,
        pictures,
        notes: Notes::default(),
    }
}

/// Boxes, classes by name and statuses are the same.
fn assert_same(wrote: &Dataset, read: &Dataset, rename: fn(&str) -> String, with_status: bool) {
    assert_eq!(wrote.pictures.len(), read.pictures.len());
    for (a, b) in wrote.pictures.iter().zip(&read.pictures) {
        assert_eq!(a.path.file_name(), b.path.file_name());
        assert_eq!(a.objects.len(), b.objects.len(), "{:?}", read.notes.lines());
        for (x, y) in a.objects.iter().zip(&b.objects) {
            assert_eq!(rename(&wrote.names[x.class]), read.names[y.class]);
            for (p, q) in [
                (x.bbox.x1, y.bbox.x1),
                (x.bbox.y1, y.bbox.y1),
                (x.bbox.x2, y.bbox.x2),
                (x.bbox.y2, y.bbox.y2),
            ] {
                assert!((p - q).abs() < 1e-6, "{p} {q}");
            }
            assert!(!with_status || x.status == y.status);
        }
    }
}

#[test]
fn a_thousand_random_sets_survive_all_three_formats() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for sub in ["images", "labels", "Annotations", "annotations"] {
        fs::create_dir(root.join(sub)).unwrap();
    }
    let mut made = std::collections::HashSet::new();
    let mut rng = SplitMix64(7);
    let open =
        |path: &Path, split, format| read::open(path, split, Some(format), &Default::default()).unwrap();
    for round in 0..1000 {
        use Status::{Counted, Crowd, Difficult, Ignored};
        let set = random_set(&mut rng, root, &[Counted, Counted, Difficult, Crowd, Ignored]);
        let mut list = String::new();
        for e in &set.pictures {
            let size = (e.width.unwrap(), e.height.unwrap());
            if made.insert(e.path.clone()) {
                let p = Picture::filled(size.0, size.1, [1, 2, 3]);
                fs::write(&e.path, picture::encode_png(&p).unwrap()).unwrap();
            }
            let stem = e.path.file_stem().unwrap().to_str().unwrap();
            list += &format!("{stem}\r\n");
            let xml = write::voc_xml(&write::file_name(&e.path), size, &e.objects, &set.names);
            fs::write(root.join(format!("Annotations/{stem}.xml")), xml).unwrap();
            fs::write(
                root.join(format!("labels/{stem}.txt")),
                write::yolo_txt(size, &e.objects),
            )
            .unwrap();
        }
        fs::write(root.join("all.txt"), &list).unwrap();
        let paths: String = set
            .pictures
            .iter()
            .map(|e| format!("{}\n", e.path.display()))
            .collect();
        fs::write(root.join("yolo-list.lst"), paths).unwrap();
        fs::write(
            root.join("data.yaml"),
            write::yolo_yaml(&[("val", "yolo-list.lst")], &set.names),
        )
        .unwrap();
        fs::write(
            root.join("annotations/instances_all.json"),
            write::coco_dataset(&set),
        )
        .unwrap();

        let voc = open(root, Some("all"), Format::Voc);
        assert_same(&set, &voc, in_xml, false);
        let coco = open(root, Some("all"), Format::Coco);
        assert_same(&set, &coco, str::to_owned, true);
        assert_eq!(
            (&coco.names, &coco.category_ids),
            (&set.names, &set.category_ids),
            "round {round}"
        );
        let yolo = open(root, None, Format::Yolo);
        assert_same(&set, &yolo, str::to_owned, false);
        assert_eq!(yolo.names, set.names);
    }
}

#[test]
fn results_are_a_list_that_holds_every_finite_detection() {
    let ids = [PictureId::Number(6818), PictureId::Name("a\"\u{1b}b".into())];
    let d = |score, x| Detection {
        class: 1,
        score,
        bbox: BBox::new(x, 2.0, 10.5, 20.0),
    };
    let (a, b) = (vec![d(0.1 + 0.2, 1.0), d(f64::NAN, 1.0)], vec![d(0.5, 3.25)]);
    let text = write::coco_results([(&ids[0], &a[..]), (&ids[1], &b[..])], &[1, 90]);
    assert_eq!(
        text,
        "[\n{\"image_id\":6818,\"category_id\":90,\"bbox\":[1.0,2.0,9.5,18.0],\"score\":0.30000000000000004},\n\
         {\"image_id\":\"a\\\"\\u001bb\",\"category_id\":90,\"bbox\":[3.25,2.0,7.25,18.0],\"score\":0.5}\n]\n"
    );
    let none: [(&PictureId, &[Detection]); 0] = [];
    assert_eq!(write::coco_results(none, &[]), "[\n]\n");
}

#[test]
fn official_category_ids_are_used_for_cocos_names_alone() {
    let coco: Vec<String> = tasks::detect::names::COCO
        .iter()
        .map(|n| (*n).to_owned())
        .collect();
    let ids = write::category_ids(&coco);
    assert_eq!((ids.len(), ids[0], ids[79], ids[11]), (80, 1, 90, 13));
    assert_eq!(write::category_ids(&coco[..2]), [1, 2]);
}

#[test]
fn file_names_that_are_not_utf8_stay_different() {
    use std::os::unix::ffi::OsStrExt;
    let name = |b: &[u8]| write::file_name(Path::new(std::ffi::OsStr::from_bytes(b)));
    assert_eq!(name(b"d/a\xff.png"), "a\\xff.png");
    assert_ne!(name(b"a\xfe.png"), name(b"a\xff.png"));
    assert_eq!(name("ü.png".as_bytes()), "ü.png");
}
