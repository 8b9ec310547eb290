//! The shared detectors load.

mod common;

use graph::onnx::{ReadOptions, read_file};

#[test]
fn every_shared_model_loads() {
    let Some(models) = testing::models("every_shared_model_loads") else {
        return;
    };
    assert!(models.len() >= 12, "only {} models found", models.len());
    for path in models {
        let g = read_file(&path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        assert!(!g.nodes.is_empty() && !g.outputs.is_empty(), "{}", path.display());
        assert_eq!(
            g.inputs.len(),
            1,
            "{}: initializers are no inputs",
            path.display()
        );
    }
}

#[test]
fn the_batch_is_fixed_by_its_name_or_place() {
    let Some(models) = testing::models("the_batch_is_fixed_by_its_name_or_place") else {
        return;
    };
    let path = models
        .iter()
        .find(|p| p.ends_with("mbv2_yolov3_nano_voc.onnx"))
        .unwrap();
    for key in ["N", "images:0"] {
        let dimensions = [(key.to_string(), 4)].into();
        let g = read_file(
            path,
            &ReadOptions {
                dimensions,
                ..ReadOptions::default()
            },
        )
        .unwrap();
        let shape = g.value(g.inputs[0]).fixed_shape();
        assert_eq!(shape, Some(vec![4, 3, 320, 320]));
    }
    let dimensions = [("batch".to_string(), 4)].into();
    let e = read_file(
        path,
        &ReadOptions {
            dimensions,
            ..ReadOptions::default()
        },
    )
    .unwrap_err();
    assert!(
        e.to_string().contains("no dimension \"batch\"; its inputs are"),
        "{e}"
    );
}
