//! The float meaning of the shared detectors, against onnxruntime. The models are small because the oracle is slow; the engine's
//! tests compare all of them.

mod common;
#[path = "node_cases/golden.rs"]
mod golden;
mod node_cases;

use common::Detector;
use oracle::Program;

fn check(name: &str) {
    let Some(d) = Detector::open(name, name) else {
        return;
    };
    let input = &d.graph.value(d.graph.inputs[0]).name;
    // Without annotations every node is a float operator.
    let program = Program::new(&d.graph).unwrap_or_else(|e| panic!("{name}: {e}"));
    let outputs = program
        .run(&[(input, &d.input)], &mut |_, _, _| {})
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    golden::assert_close(name, &outputs, &d.outputs, 100.0);
}

#[test]
fn cifar_resnet20() {
    check("cifar_resnet20");
}

#[test]
fn ultraface_rfb_320() {
    check("ultraface_rfb_320");
}

#[test]
fn yolo_fastest_1_1_coco() {
    check("yolo_fastest_1_1_coco");
}
