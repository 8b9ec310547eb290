//! Time from raw outputs to candidates: `cargo run --release -p lowbit-tasks --example decode_speed`.
//!
//! Logits as a trained detector gives them: background nearly everywhere, one cell in 500 with an object.

use std::time::Instant;

use serde_json::{Value, json};
use tasks::detect::Head;
use tensor::Tensor;
use testing::SplitMix64;

const STRIDES: [usize; 3] = [8, 16, 32];

/// A head of `family` with an output at each stride, `more` in each of its descriptions.
fn head(family: &str, size: usize, classes: usize, more: &Value) -> Head {
    let heads = STRIDES.map(|stride| {
        let mut head = json!({"output": format!("o{stride}"), "stride": stride});
        for (key, value) in more.as_object().into_iter().flatten() {
            head[key] = value.clone();
        }
        head
    });
    let input = json!({"name": "images", "width": size, "height": size, "color": "RGB", "scale": 1.0 / 255.0,
        "mean": [0, 0, 0], "std": [1, 1, 1], "resize": "stretch"});
    let names: Vec<String> = (0..classes).map(|c| format!("class {c}")).collect();
    let mut description =
        json!({"name": family, "family": family, "input": input, "heads": heads, "classes": names});
    if family == "yolov8" {
        description["reg_max"] = json!(16);
    }
    serde_json::from_value(description).expect("a head of the format in README")
}

fn outputs(size: usize, channels: usize) -> Vec<(String, Tensor)> {
    let mut rng = SplitMix64(1);
    let one = |stride: usize| {
        let cells = (size / stride) * (size / stride);
        let object: Vec<bool> = (0..cells).map(|_| rng.below(500) == 0).collect();
        let logit = |i: usize| match object[i % cells] {
            true => 4.0 * rng.unit_f32() - 1.0,
            false => rng.unit_f32() - 8.0,
        };
        let values: Vec<f32> = (0..channels * cells).map(logit).collect();
        let shape = vec![1, channels, size / stride, size / stride];
        (
            format!("o{stride}"),
            Tensor::new(shape, values).expect("as many values as the shape says"),
        )
    };
    STRIDES.map(one).into()
}

fn main() {
    let anchors = json!({"anchors": [[10, 13], [16, 30], [33, 23]]});
    println!(
        "{:<14} {:>5} {:>8} {:>6} {:>6} {:>10}",
        "head", "size", "classes", "conf", "found", "least µs"
    );
    for (family, size, classes, more, channels) in [
        ("yolov8", 640, 80, json!({}), 64 + 80),
        ("yolov5", 640, 80, anchors.clone(), 3 * 85),
        ("yolov3", 320, 20, anchors, 3 * 25),
    ] {
        let head = head(family, size, classes, &more);
        let outputs = outputs(size, channels);
        let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        for conf in [0.25, 0.001] {
            let (mut least, mut found) = (f64::INFINITY, 0);
            for _ in 0..40 {
                let start = Instant::now();
                found = head
                    .decode(&outputs, conf)
                    .expect("outputs as the head says")
                    .len();
                least = least.min(start.elapsed().as_secs_f64());
            }
            println!(
                "{family:<14} {size:>5} {classes:>8} {conf:>6} {found:>6} {:>10.0}",
                1e6 * least
            );
        }
    }
}
