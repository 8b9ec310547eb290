//! Average precision equals pycocotools and the independent VOC script on 10,000 data sets, to 1e-9.
//!
//! `tools/goldens/ap.py` made `goldens/ap.bin`; the data sets are made here again from their index, by the same steps.
//! They contain crowds (VOC: difficult), equal scores, equal overlaps, annotation, category and picture ids from 0,
//! pictures without objects or detections, and more than 100 detections in a picture.

use tasks::detect::eval::{Kind, Mode, Protocol, Scene, evaluate};
use tasks::detect::{BBox, Detection, Object, Status};
use testing::SplitMix64;

fn snap(b: [f64; 4]) -> [f64; 4] {
    let grid = |v: f64| (v / 8.0).trunc() * 8.0;
    [grid(b[0]), grid(b[1]), grid(b[2]) + 8.0, grid(b[3]) + 8.0]
}

fn random_box(r: &mut SplitMix64, grid: bool) -> [f64; 4] {
    let w = 4.0 + 180.0 * r.unit() * r.unit();
    let h = 4.0 + 180.0 * r.unit() * r.unit();
    let b = [300.0 * r.unit(), 300.0 * r.unit(), w, h];
    if grid { snap(b) } else { b }
}

/// Step for step `data_set` of tools/goldens/ap.py.
fn data_set(index: u64) -> (Vec<Scene>, Vec<String>) {
    let mut r = SplitMix64(index);
    let pictures = 1 + r.below(4);
    let classes = 1 + r.below(3);
    let ties = r.below(4) == 0;
    let first = if r.below(4) == 0 { 0 } else { 1 };
    let many = r.below(100) == 0;
    let grid = r.below(2) == 0;
    let mut next_id = first;
    let mut scenes = Vec::new();
    for _ in 0..pictures {
        let mut scene = Scene::default();
        let mut boxes = Vec::new();
        for _ in 0..r.below(7) {
            let class = r.below(classes);
            let crowd = r.below(8) == 0;
            let [x, y, w, h] = random_box(&mut r, grid);
            let mut area = w * h;
            if r.below(4) == 0 {
                area *= r.unit();
            }
            boxes.push((class, [x, y, w, h]));
            scene.objects.push(Object {
                class,
                bbox: BBox::from_xywh(x, y, w, h),
                status: if crowd { Status::Crowd } else { Status::Counted },
                area: Some(area),
                id: Some(next_id),
            });
            next_id += 1;
        }
        let count = if many { 90 + r.below(70) } else { r.below(10) };
        for _ in 0..count {
            let (class, b) = if !boxes.is_empty() && r.below(4) != 0 {
                let (class, b) = boxes[r.below(boxes.len())];
                let class = if r.below(8) != 0 { class } else { r.below(classes) };
                let x = b[0] + (r.unit() - 0.5) * b[2] * 0.4;
                let y = b[1] + (r.unit() - 0.5) * b[3] * 0.4;
                let moved = [x, y, b[2] * (0.7 + 0.6 * r.unit()), b[3] * (0.7 + 0.6 * r.unit())];
                (class, if grid { snap(moved.map(f64::abs)) } else { moved })
            } else {
                (r.below(classes), random_box(&mut r, grid))
            };
            let mut score = r.unit();
            if ties {
                score = (score * 8.0).trunc() / 8.0;
            }
            let bbox = BBox::from_xywh(b[0], b[1], b[2], b[3]);
            scene.detections.push(Detection { class, score, bbox });
        }
        scenes.push(scene);
    }
    (scenes, (0..classes).map(|c| c.to_string()).collect())
}

/// The fifteen numbers of each record; absent ones are `None`.
fn expected() -> Vec<[Option<f64>; 15]> {
    let mut bytes: &[u8] = include_bytes!("goldens/ap.bin");
    let mut take = |n: usize| -> Option<&[u8]> {
        let (head, tail) = bytes.split_at_checked(n)?;
        bytes = tail;
        Some(head)
    };
    let mut records = Vec::new();
    while let Some(mask) = take(2) {
        let mask = u16::from_le_bytes(mask.try_into().unwrap());
        records.push(std::array::from_fn(|k| {
            (mask >> k & 1 == 1).then(|| f64::from_le_bytes(take(8).unwrap().try_into().unwrap()))
        }));
    }
    records
}

#[test]
fn equals_pycocotools_and_the_voc_script_on_ten_thousand_sets() {
    let records = expected();
    assert_eq!(records.len(), 10_000);
    let mut worst = 0.0f64;
    for (index, want) in records.iter().enumerate() {
        let (scenes, names) = data_set(index as u64);
        let coco = evaluate(&scenes, &names, &Protocol::new(Kind::Coco)).report;
        let voc = evaluate(&scenes, &names, &Protocol::new(Kind::Voc10)).report;
        let got = coco.coco.unwrap().to_array();
        let got = got.into_iter().chain([voc.map50, voc.map50_voc07, voc.map50_95]);
        for (k, (got, want)) in got.zip(want).enumerate() {
            match (got, want) {
                (Some(g), Some(w)) => {
                    assert!(
                        (g - w).abs() <= 1e-9,
                        "set {index}, number {k}: {g} but reference {w}"
                    );
                    worst = worst.max((g - w).abs());
                }
                (None, None) => {}
                _ => panic!("set {index}, number {k}: {got:?} but reference {want:?}"),
            }
        }
    }
    println!("largest difference {worst:e}");
}

#[test]
fn fixed_mode_mends_id_zero() {
    let bbox = BBox::new(0.0, 0.0, 50.0, 50.0);
    let mut object = Object::new(0, bbox);
    object.id = Some(0);
    let scene = Scene {
        objects: vec![object],
        detections: vec![Detection {
            class: 0,
            score: 0.5,
            bbox,
        }],
    };
    let mut p = Protocol::new(Kind::Coco);
    let ap = |p: &Protocol| {
        evaluate(std::slice::from_ref(&scene), &["a".into()], p)
            .report
            .map50_95
            .unwrap()
    };
    assert_eq!(ap(&p), 0.0);
    p.mode = Mode::Fixed;
    assert_eq!(ap(&p), 1.0);
    p.max_det = 10;
    assert_eq!(ap(&p), 1.0, "another max_det keeps AP");
}

#[test]
fn bootstrap_is_seeded_and_brackets_the_estimate() {
    use tasks::detect::eval::{Metric, paired_interval};
    let mut scenes = Vec::new();
    for index in 0..60 {
        scenes.extend(data_set(index).0);
    }
    let names: Vec<String> = (0..3).map(|c| c.to_string()).collect();
    let e = evaluate(&scenes, &names, &Protocol::new(Kind::Voc10));
    let i = e.interval(Metric::Map50, 200, 7).unwrap();
    assert_eq!(Some(i), e.interval(Metric::Map50, 200, 7));
    assert_ne!(Some(i), e.interval(Metric::Map50, 200, 8));
    let map = e.report.map50.unwrap();
    assert!(i.low < map && map < i.high, "{i:?} {map}");
    let same = paired_interval(&e, &e, Metric::Map50, 50, 1).unwrap();
    assert_eq!((same.low, same.high), (0.0, 0.0));
}
