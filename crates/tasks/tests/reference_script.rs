//! Fed with the raw outputs that the independent script `data/check/evaluate.py` sees, decoding, NMS and average
//! precision give its own boxes and numbers (`tools/goldens/reference.py` writes both).

use std::path::Path;

use serde::Deserialize;
use tasks::detect::eval::{Kind, Protocol, Scene, evaluate};
use tasks::detect::names::{ClassMap, canonical};
use tasks::detect::{BBox, Detection, Head, NmsOptions, Object, Placement, Status, postprocess};
use tensor::Tensor;

#[derive(Deserialize)]
struct Index {
    pictures: Vec<Picture>,
    ap: std::collections::BTreeMap<String, [f64; 3]>,
    mean: [f64; 3],
}

#[derive(Deserialize)]
struct Picture {
    name: String,
    size: [f32; 2],
    scale: [f64; 2],
    offset: [f32; 2],
    outputs: Vec<Output>,
    detections: Vec<(f64, usize, f64, f64, f64, f64)>,
    objects: Vec<(String, f64, f64, f64, f64, bool)>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    shape: Vec<usize>,
    at: usize,
}

/// Models with the pictures to judge them on; the last two leave thousands of faint boxes, which the script's NMS
/// takes seconds for.
const CASES: [(&str, &str, &str, usize); 10] = [
    ("mbv2_yolov3_nano_voc", "voc", "test07", 52),
    ("mbv2_yolo_fastest_v2_voc", "voc", "test07", 20),
    ("yolo_fastest_voc", "voc", "test07", 20),
    ("yolo_fastest_xl_voc", "voc", "test07", 20),
    ("yolo_fastest_1_1_coco", "coco", "val", 20),
    ("yolov5n_640_f16", "coco", "val", 4),
    ("yolov8n_320", "coco", "val", 10),
    ("yolox_nano_416", "coco", "val", 10),
    ("nanodet_m_416", "coco", "val", 2),
    ("fastestdet_352", "coco", "val", 2),
];

#[test]
fn boxes_and_precisions_are_those_of_the_independent_script() {
    let test = "boxes_and_precisions_are_those_of_the_independent_script";
    let (Some(data), Some(python)) = (testing::data(test), testing::python(test)) else {
        return;
    };
    for (model, folder, list, limit) in CASES {
        let out = testing::scratch(&format!("reference-{model}"));
        let limit = format!("--limit={limit}");
        let arguments = [
            data.as_os_str(),
            model.as_ref(),
            folder.as_ref(),
            list.as_ref(),
            out.as_os_str(),
            limit.as_ref(),
        ];
        testing::run_script(&python, "tools/goldens/reference.py", &arguments);
        compare(&data.join("models").join(format!("{model}.json")), &out);
    }
}

fn compare(head: &Path, folder: &Path) {
    let read = |path: &Path| std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let head = Head::from_json(std::str::from_utf8(&read(head)).unwrap()).unwrap();
    let index: Index = serde_json::from_slice(&read(&folder.join("index.json"))).unwrap();
    let tensors: Vec<f32> = read(&folder.join("tensors.bin"))
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    let data_names: Vec<String> = {
        let mut names: Vec<String> = index
            .pictures
            .iter()
            .flat_map(|p| p.objects.iter().map(|o| o.0.clone()))
            .collect();
        names.sort();
        names.dedup();
        names
    };
    let classes = ClassMap::new(&head.classes, &data_names);
    let mut scenes = Vec::new();
    for picture in &index.pictures {
        let outputs: Vec<(String, Tensor)> = picture
            .outputs
            .iter()
            .map(|o| {
                let len: usize = o.shape.iter().product();
                let values = tensors[o.at..o.at + len].to_vec();
                (o.name.clone(), Tensor::new(o.shape.clone(), values).unwrap())
            })
            .collect();
        let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let placement = Placement {
            scale: picture.scale.map(|s| s as f32),
            offset: picture.offset,
            size: picture.size,
        };
        let found = postprocess(&head, &outputs, 0, &placement, &NmsOptions::default()).unwrap();
        same_boxes(&head.name, picture, &found);
        let objects = picture
            .objects
            .iter()
            .filter_map(|(class, x1, y1, x2, y2, hard)| {
                let mut object = Object::new(
                    classes.common.iter().position(|c| c == canonical(class))?,
                    BBox::new(*x1, *y1, *x2, *y2),
                );
                object.status = if *hard { Status::Difficult } else { Status::Counted };
                Some(object)
            });
        let detections = found
            .iter()
            .filter_map(|d| classes.model[d.class].map(|class| Detection { class, ..*d }));
        scenes.push(Scene {
            objects: objects.collect(),
            detections: detections.collect(),
        });
    }
    let result = evaluate(&scenes, &classes.common, &Protocol::new(Kind::Voc10)).report;
    for class in &result.classes {
        let want = index.ap.get(&class.name);
        assert_eq!(class.counted, want.is_some(), "{}: {}", head.name, class.name);
        for (ours, theirs) in [class.ap50, class.ap50_voc07, class.ap50_95]
            .iter()
            .zip(want.unwrap_or(&[0.0; 3]))
        {
            assert!(
                !class.counted || (ours - theirs).abs() <= 1e-6,
                "{}: AP of {}: ours {ours}, the script's {theirs}",
                head.name,
                class.name
            );
        }
    }
    let ours = [result.map50, result.map50_voc07, result.map50_95];
    for (ours, theirs) in ours.iter().zip(index.mean) {
        assert!((ours.unwrap() - theirs).abs() <= 1e-6, "{}: mAP", head.name);
    }
}

/// The same boxes, pair by pair: scores to 10⁻⁶, corners to a hundredth of a pixel. A score within 10⁻⁶ of the
/// confidence floor, where the exponential functions of numpy and ours differ, may fall on either side.
fn same_boxes(model: &str, picture: &Picture, ours: &[Detection]) {
    let mut left: Vec<&Detection> = ours.iter().collect();
    for &(score, class, x1, y1, x2, y2) in &picture.detections {
        let want = [x1, y1, x2, y2];
        let same = |d: &&Detection| {
            let have = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2];
            d.class == class
                && (d.score - score).abs() <= 1e-6
                && have.iter().zip(want).all(|(a, b)| (a - b).abs() <= 1e-2)
        };
        match left.iter().position(same) {
            Some(at) => drop(left.swap_remove(at)),
            None => assert!(
                score - 0.005 < 1e-6 || ours.len() == 300,
                "{model}, {}: class {class} score {score} at {want:?} is missing",
                picture.name
            ),
        }
    }
    for extra in left {
        assert!(
            extra.score - 0.005 < 1e-6 || ours.len() == 300,
            "{model}, {}: {extra:?} is ours alone",
            picture.name
        );
    }
}
