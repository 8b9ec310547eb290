//! Roles of layers in real detectors: rules such as `head=int8` must meet the layers that write boxes and scores.

use lowbit::quantize::dry_run;
use lowbit::{Choice, LoadOptions, Model, QuantizeOptions};

/// Number of convolutions (cifar: Gemm) that write raw outputs, read off each graph; YOLOX has boxes, objectness and classes at three strides.
const HEADS: [(&str, usize); 12] = [
    ("cifar_resnet20", 1),
    ("fastestdet_352", 3),
    ("mbv2_yolo_fastest_v2_voc", 2),
    ("mbv2_yolov3_nano_voc", 2),
    ("nanodet_m_416", 3),
    ("ultraface_rfb_320", 8),
    ("yolo_fastest_1_1_coco", 2),
    ("yolo_fastest_voc", 2),
    ("yolo_fastest_xl_voc", 2),
    ("yolov5n_640_f16", 3),
    ("yolov8n_320", 6),
    ("yolox_nano_416", 9),
];

#[test]
fn heads_are_the_layers_that_write_boxes_and_scores() {
    let Some(data) = testing::data("roles") else {
        return;
    };
    let mut faults = Vec::new();
    for (name, count) in HEADS {
        let path = data.join("models").join(format!("{name}.onnx"));
        let model = Model::load(&path, &LoadOptions::default()).unwrap();
        let rules = vec!["head=int8".parse().unwrap()];
        let options = QuantizeOptions {
            rules,
            ..QuantizeOptions::new(Choice::Grid("lbw4".parse().unwrap()), Vec::new())
        };
        let report = dry_run(&model, &options).unwrap();
        let heads: Vec<_> = report
            .layers
            .iter()
            .filter(|l| l.role.as_deref() == Some("head"))
            .collect();
        if heads.len() != count || heads.iter().any(|l| l.grid != "int8") {
            let names: Vec<&str> = heads.iter().map(|l| l.name.as_str()).collect();
            faults.push(format!("{name}: {names:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
