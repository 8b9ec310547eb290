//! Whole nets against losses and gradients that PyTorch computed in float64 (`tools/goldens/train_torch.py`).

mod common;

use common::{cpu, golden_name, model, pattern, sign, step};
use serde_json::Value;
use train::exec::Exec;
use train::program::ProgramOptions;

/// `third`: relative tolerance of the third loss; deep nets with BatchNormalization amplify rounding.
fn compare(name: &str, first: f64, gradients: f64, third: f64) {
    let Some(data) = testing::data(name) else { return };
    let golden =
        std::fs::read_to_string(testing::root().join(format!("crates/train/tests/goldens/{name}.json")))
            .unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let graph = model(&data.join(format!("models/{name}.onnx")));
    let batch = golden["batch"].as_u64().unwrap() as usize;
    let mut cpu = cpu(&graph, &ProgramOptions::new(batch), 2);
    let x = pattern(cpu.program().inputs()[0].len());
    let rate = golden["rate"].as_f64().unwrap() as f32;
    let losses: Vec<f64> = golden["losses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l.as_f64().unwrap())
        .collect();
    let mut have = vec![step(&mut cpu, &x, 0.0)];
    let close = |a: f64, b: f64, tolerance: f64| (a - b).abs() <= tolerance * b.abs();
    assert!(
        close(have[0], losses[0], first),
        "{name}: first loss {} for {}",
        have[0],
        losses[0]
    );
    // As far from float64 as PyTorch's own float32 is, but for a factor.
    let gradients = gradients.max(4.0 * golden["deviation_float32"].as_f64().unwrap());
    let floor = golden["floor"].as_f64().unwrap();
    let (mut met, mut faults) = (0, Vec::new());
    for i in 0..cpu.program().parameters().len() {
        let p = &cpu.program().parameters()[i];
        let key = golden_name(&p.kind);
        let Some(want) = golden["gradients"].get(&key) else {
            continue;
        };
        let (norm, product) = (want[0].as_f64().unwrap(), want[1].as_f64().unwrap());
        let mut g = vec![0.0; p.len()];
        cpu.gradient(i, &mut g).unwrap();
        let own: f64 = g.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        let with_signs: f64 = g.iter().enumerate().map(|(i, &g)| f64::from(g) * sign(i)).sum();
        let allowed = gradients * norm.max(floor);
        let fits = |norm: f64, product: f64| {
            (own - norm).abs() <= allowed && (with_signs - product).abs() <= allowed
        };
        let tie = golden["ties"]
            .get(&key)
            .map(|w| (w[0].as_f64().unwrap(), w[1].as_f64().unwrap()));
        if !fits(norm, product) && !tie.is_some_and(|(norm, product)| fits(norm, product)) {
            faults.push(format!(
                "{key}: norm {own} for {norm}, product {with_signs} for {product}, tie {tie:?}, allowed {allowed}"
            ));
        }
        met += 1;
    }
    assert!(faults.is_empty(), "{name}: {}", faults.join("\n"));
    let all = golden["gradients"].as_object().unwrap().len();
    assert!(
        met * 10 >= all * 9,
        "{name}: only {met} of {all} gradients are compared"
    );
    step(&mut cpu, &x, rate);
    have.push(step(&mut cpu, &x, rate));
    have.push(step(&mut cpu, &x, rate));
    let own = golden["losses_float32"][2].as_f64().unwrap();
    let third = third.max(4.0 * (own - losses[2]).abs() / losses[2]);
    assert!(
        close(have[2], losses[2], third),
        "{name}: losses {have:?} for {losses:?}"
    );
    println!("{name}: {met} gradients, losses {have:?} for {losses:?}");
}

#[test]
fn cifar_resnet20() {
    compare("cifar_resnet20", 1e-5, 1e-3, 1e-3);
}

#[test]
fn mbv2_yolov3_nano_voc() {
    compare("mbv2_yolov3_nano_voc", 1e-5, 1e-3, 1e-2);
}

#[test]
fn mbv2_yolo_fastest_v2_voc() {
    compare("mbv2_yolo_fastest_v2_voc", 1e-5, 1e-3, 1e-2);
}

#[test]
fn yolo_fastest_xl_voc() {
    compare("yolo_fastest_xl_voc", 1e-5, 1e-3, 1e-2);
}

#[test]
fn nanodet_m_416() {
    compare("nanodet_m_416", 1e-5, 1e-3, 1e-3);
}

#[test]
fn ultraface_rfb_320() {
    compare("ultraface_rfb_320", 1e-5, 1e-3, 1e-2);
}

#[test]
fn fastestdet_352() {
    compare("fastestdet_352", 1e-5, 1e-3, 1e-3);
}

#[test]
fn yolox_nano_416() {
    // Under its three large maximum pools many pairs of values are equal but for rounding: of the 64896 windows PyTorch's float32 has other winners than
    // its float64 in 63, this executor, as near to float64 (2.8e-6 of the values' size; PyTorch 2.6e-6), in 91. PyTorch's float64 with these 91 winners
    // gives our gradient of Conv_41, the layer before, to 1e-5. One pair in channel 16, 1.7e-6 apart, makes nearly all of the difference: with the
    // other winner there, that gradient and no other moves by more than 1e-3 of its norm. The golden file holds both.
    compare("yolox_nano_416", 1e-5, 1e-3, 1e-3);
}

#[test]
fn yolov8n_320() {
    compare("yolov8n_320", 1e-5, 1e-3, 1e-3);
}

#[test]
fn yolov5n_640() {
    compare("yolov5n_640_f16", 1e-5, 1e-3, 1e-3);
}
