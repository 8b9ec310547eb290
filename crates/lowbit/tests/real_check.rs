//! Real detectors on real pictures: the mAPs that an independent script measured (`data/SOURCES.md`), reached from its
//! own resized tensors to 10⁻⁴ and from the JPEG files to 0.01 (decoders differ by a level here and there).

use std::path::Path;

use lowbit::{DataSource, EvalOptions, LoadOptions, Model, RunOptions, Runner};
use serde::Deserialize;
use tasks::detect::eval::{Kind, Protocol, Scene, evaluate};
use tasks::detect::names::{ClassMap, canonical};
use tasks::detect::{BBox, Detection, NmsOptions, Object, Placement, Status, postprocess};
use tensor::Tensor;

/// Model, folder, list, and what `SOURCES.md` says: mAP50 area, 11-point, mAP50-95.
const MEASURED: [(&str, &str, &str, [f64; 3]); 9] = [
    ("mbv2_yolov3_nano_voc", "voc", "test07", [0.5678, 0.5710, 0.2656]),
    ("yolo_fastest_voc", "voc", "test07", [0.6015, 0.6003, 0.3243]),
    ("yolo_fastest_xl_voc", "voc", "test07", [0.6647, 0.6613, 0.3445]),
    (
        "mbv2_yolo_fastest_v2_voc",
        "voc",
        "test07",
        [0.3840, 0.3881, 0.1751],
    ),
    ("yolov8n_320", "coco", "val", [0.4981, 0.5052, 0.3289]),
    ("yolox_nano_416", "coco", "val", [0.4831, 0.4896, 0.3309]),
    ("nanodet_m_416", "coco", "val", [0.4761, 0.4838, 0.2895]),
    ("fastestdet_352", "coco", "val", [0.3204, 0.3298, 0.1879]),
    ("yolo_fastest_1_1_coco", "coco", "val", [0.3117, 0.3202, 0.1529]),
];

#[derive(Deserialize)]
struct Index {
    pictures: Vec<Picture>,
}

#[derive(Deserialize)]
struct Picture {
    size: [f32; 2],
    scale: [f64; 2],
    offset: [f32; 2],
    input: Input,
    objects: Vec<(String, f64, f64, f64, f64, bool)>,
}

#[derive(Deserialize)]
struct Input {
    shape: Vec<usize>,
    at: usize,
}

fn load(data: &Path, name: &str) -> Model {
    let models = data.join("models");
    let options = LoadOptions {
        head: Some(models.join(format!("{name}.json"))),
        ..LoadOptions::default()
    };
    Model::load(&models.join(format!("{name}.onnx")), &options).unwrap()
}

#[test]
fn the_scripts_tensors_give_the_scripts_map() {
    let test = "the_scripts_tensors_give_the_scripts_map";
    let (Some(data), Some(python)) = (testing::data(test), testing::python(test)) else {
        return;
    };
    for (name, folder, list, want) in MEASURED {
        let out = testing::scratch(&format!("tensors-{name}"));
        let arguments = [
            data.as_os_str(),
            name.as_ref(),
            folder.as_ref(),
            list.as_ref(),
            out.as_os_str(),
            "--inputs-only".as_ref(),
        ];
        testing::run_script(&python, "tools/goldens/reference.py", &arguments);
        let have = map_of_tensors(&load(&data, name), &out);
        for (have, want) in have.into_iter().zip(want) {
            // SOURCES.md has four digits.
            assert!(
                (have - want).abs() <= 1.5e-4,
                "{name}: mAP {have:.5}, the script's {want}"
            );
        }
        std::fs::remove_dir_all(out).unwrap();
    }
}

/// mAP50 area, 11-point, mAP50-95 of a model fed with the tensors in a folder.
fn map_of_tensors(model: &Model, folder: &Path) -> [f64; 3] {
    let index: Index = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let tensors = std::fs::read(folder.join("tensors.bin")).unwrap();
    let head = model.head().unwrap();
    let runner = Runner::new(model, &RunOptions::default()).unwrap();
    let mut names: Vec<String> = index
        .pictures
        .iter()
        .flat_map(|p| p.objects.iter().map(|o| o.0.clone()))
        .collect();
    names.sort();
    names.dedup();
    let classes = ClassMap::new(&head.classes, &names);
    let scene = |picture: &Picture| {
        let len: usize = picture.input.shape.iter().product();
        let bytes = &tensors[4 * picture.input.at..4 * (picture.input.at + len)];
        let values: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let input = Tensor::new(picture.input.shape.clone(), values).unwrap();
        let outputs = runner.run(&[(head.input.name.as_str(), &input)]).unwrap();
        let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let placement = Placement {
            scale: picture.scale.map(|s| s as f32),
            offset: picture.offset,
            size: picture.size,
        };
        let found = postprocess(head, &outputs, 0, &placement, &NmsOptions::default()).unwrap();
        let objects = picture
            .objects
            .iter()
            .filter_map(|(class, x1, y1, x2, y2, hard)| {
                let class = classes.common.iter().position(|c| c == canonical(class))?;
                let mut object = Object::new(class, BBox::new(*x1, *y1, *x2, *y2));
                object.status = if *hard { Status::Difficult } else { Status::Counted };
                Some(object)
            });
        Scene {
            objects: objects.collect(),
            detections: found
                .iter()
                .filter_map(|d| classes.model[d.class].map(|class| Detection { class, ..*d }))
                .collect(),
        }
    };
    let scenes: Vec<Scene> = index.pictures.iter().map(scene).collect();
    let r = evaluate(&scenes, &classes.common, &Protocol::new(Kind::Voc10)).report;
    [r.map50, r.map50_voc07, r.map50_95].map(Option::unwrap)
}

#[test]
fn the_jpeg_files_give_it_within_a_point() {
    let test = "the_jpeg_files_give_it_within_a_point";
    let Some(data) = testing::data(test) else {
        return;
    };
    for (name, folder, list, want) in MEASURED {
        let source = DataSource {
            path: data.join("pictures").join(folder),
            split: Some(list.into()),
            format: None,
        };
        let options = EvalOptions {
            resamples: 0,
            ..EvalOptions::default()
        };
        let m = lowbit::evaluate(&load(&data, name), &source, &options, &mut |_: &str, _, _| {})
            .unwrap()
            .metrics;
        let have = [m.map50, m.map50_voc07, m.map50_95].map(Option::unwrap);
        for (have, want) in have.into_iter().zip(want) {
            assert!(
                (have - want).abs() <= 0.01,
                "{name}: mAP {have:.4}, measured {want}"
            );
        }
    }
}
