//! Losses of YOLOv5, YOLOv8, NanoDet, SSD and FastestDet heads: slopes against differences, objects found by descent, steps of the shared detectors.

mod common;

use std::collections::BTreeMap;

use common::{cpu, model, pattern};
use tasks::detect::{AnchorHead, Family, Head, PairHead, SsdBoxes, priors};
use testing::SplitMix64;
use train::exchange::Ranks;
use train::loss::decoded::Decoded;
use train::loss::fastestdet::FastestDet;
use train::loss::nanodet::NanoDet;
use train::loss::ssd::Ssd;
use train::loss::yolo_v5::YoloV5;
use train::loss::{AssignedLoss, Loss, Output, Target};
use train::optimizer::Optimizer;
use train::optimizer::adamw::AdamW;
use train::optimizer::schedule::{Schedule, Shape};
use train::program::ProgramOptions;
use train::trainer::{Settings, Trainer};

const SIZE: usize = 64;
const CLASSES: usize = 3;

/// What a graph does to raw numbers before its output: groups of positions that share a softmax, and single ones with a sigmoid.
struct Tensor {
    name: &'static str,
    shape: Vec<usize>,
    sigmoid: Vec<usize>,
    softmax: Vec<Vec<usize>>,
    /// Boxes that the graph decodes to pixels: centre 24 + 12·z, size 20·e^z.
    boxes: Vec<[usize; 4]>,
}

impl Tensor {
    fn raw(name: &'static str, shape: &[usize]) -> Tensor {
        Tensor {
            name,
            shape: shape.to_vec(),
            sigmoid: Vec::new(),
            softmax: Vec::new(),
            boxes: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn forward(&self, z: &[f32]) -> Vec<f32> {
        let mut y = z.to_vec();
        for &i in &self.sigmoid {
            y[i] = 1.0 / (1.0 + (-z[i]).exp());
        }
        for group in &self.softmax {
            let sum: f32 = group.iter().map(|&i| z[i].exp()).sum();
            group.iter().for_each(|&i| y[i] = z[i].exp() / sum);
        }
        for &[cx, cy, w, h] in &self.boxes {
            (y[cx], y[cy]) = (24.0 + 12.0 * z[cx], 24.0 + 12.0 * z[cy]);
            (y[w], y[h]) = (20.0 * z[w].exp(), 20.0 * z[h].exp());
        }
        y
    }

    fn backward(&self, y: &[f32], g: &[f32]) -> Vec<f32> {
        let mut d = g.to_vec();
        for &i in &self.sigmoid {
            d[i] *= y[i] * (1.0 - y[i]);
        }
        for group in &self.softmax {
            let dot: f32 = group.iter().map(|&i| g[i] * y[i]).sum();
            group.iter().for_each(|&i| d[i] = y[i] * (g[i] - dot));
        }
        for &[cx, cy, w, h] in &self.boxes {
            (d[cx], d[cy]) = (12.0 * g[cx], 12.0 * g[cy]);
            (d[w], d[h]) = (y[w] * g[w], y[h] * g[h]);
        }
        d
    }
}

fn outputs<'a>(tensors: &'a [Tensor], values: &'a [Vec<f32>]) -> Vec<Output<'a>> {
    let one = |(t, v): (&'a Tensor, &'a Vec<f32>)| Output {
        name: t.name,
        shape: &t.shape,
        values: v,
    };
    tensors.iter().zip(values).map(one).collect()
}

fn forward(tensors: &[Tensor], z: &[Vec<f32>]) -> Vec<Vec<f32>> {
    tensors.iter().zip(z).map(|(t, z)| t.forward(z)).collect()
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64(seed);
    let one = |rng: &mut SplitMix64| (0..4).map(|_| rng.unit() - 0.5).sum::<f64>() as f32 * 2.0;
    (0..n).map(|_| one(&mut rng)).collect()
}

fn head(family: Family) -> Head {
    let text = r#"{"name": "t", "family": "classifier",
        "input": {"name": "x", "width": 64, "height": 64, "color": "RGB", "scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1],
                  "resize": "stretch"},
        "output": "y", "classes": ["a", "b", "c"]}"#;
    let mut head = Head::from_json(text).unwrap();
    head.family = family;
    head
}

/// One object alone in a picture, another picture without: slopes are those of differences, and descent on the raw numbers ends in that object.
fn check<L: AssignedLoss + Loss>(mut loss: L, tensors: &[Tensor], family: Family, rate: f32) {
    let object = Target {
        class: 1,
        corners: [10.0, 14.0, 36.0, 48.0],
    };
    let targets = [vec![object], vec![]];
    let mut z: Vec<Vec<f32>> = (tensors.iter().enumerate())
        .map(|(k, t)| random(t.len(), 7 + k as u64))
        .collect();
    let mut gradients = Vec::new();
    let y = forward(tensors, &z);
    let assignment = loss.assign(&outputs(tensors, &y), &targets).unwrap();
    let weight = loss.weight(&assignment).max(1.0);
    let total = |z: &[Vec<f32>], gradients: &mut Vec<Vec<f32>>| {
        let y = forward(tensors, z);
        let parts = loss.of_assignment(&outputs(tensors, &y), &targets, &assignment, weight, gradients);
        parts.unwrap().total()
    };
    assert!(total(&z, &mut gradients) > 0.0);
    let (mut scratch, mut moved) = (Vec::new(), 0);
    for (k, t) in tensors.iter().enumerate() {
        let slopes = t.backward(&y[k], &gradients[k]);
        for i in 0..t.len() {
            let eps = 1.0 / 512.0;
            let mut at = |by: f32| {
                let mut near = z.clone();
                near[k][i] += by;
                total(&near, &mut scratch)
            };
            let slope = (at(eps) - at(-eps)) / f64::from(2.0 * eps);
            let got = f64::from(slopes[i]);
            assert!(
                (got - slope).abs() < 3e-4 + 1e-2 * slope.abs(),
                "{}[{i}]: {got} {slope}",
                t.name
            );
            moved += usize::from(slope.abs() > 1e-3);
        }
    }
    assert!(moved > 8, "only {moved} numbers matter");

    for _ in 0..4000 {
        let y = forward(tensors, &z);
        loss.evaluate(&outputs(tensors, &y), &targets, &Ranks::default(), &mut gradients)
            .unwrap();
        for (k, t) in tensors.iter().enumerate() {
            for (z, g) in z[k].iter_mut().zip(t.backward(&y[k], &gradients[k])) {
                *z -= rate * g;
            }
        }
    }
    let y = forward(tensors, &z);
    let all: Vec<(&str, tensor::Tensor)> = (tensors.iter().zip(y))
        .map(|(t, y)| (t.name, tensor::Tensor::new(t.shape.clone(), y).unwrap()))
        .collect();
    let all: Vec<(&str, &tensor::Tensor)> = all.iter().map(|(n, t)| (*n, t)).collect();
    let head = head(family);
    let mut found = head.decode_picture(&all, 0, 0.3).unwrap();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    assert_eq!(found[0].class, 1, "{found:?}");
    for (got, want) in found[0].corners.iter().zip(object.corners) {
        assert!((got - want).abs() < 2.0, "{:?}", found[0]);
    }
    let other = head.decode_picture(&all, 1, 0.3).unwrap();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn yolo_v5() {
    let heads: Vec<AnchorHead> = [
        ("a", 8.0, [[10.0, 13.0], [16.0, 30.0]]),
        ("b", 16.0, [[30.0, 40.0], [62.0, 45.0]]),
    ]
    .map(|(output, stride, anchors)| AnchorHead {
        output: output.into(),
        stride,
        anchors: anchors.to_vec(),
        scale_xy: 1.0,
    })
    .to_vec();
    let tensors = [Tensor::raw("a", &[2, 16, 8, 8]), Tensor::raw("b", &[2, 16, 4, 4])];
    check(
        YoloV5::new(heads.clone(), CLASSES),
        &tensors,
        Family::Yolov5(heads),
        0.5,
    );
}

#[test]
fn nanodet() {
    let (bins, mut tensors, mut heads) = (8, Vec::new(), Vec::new());
    for (stride, cls, boxes) in [(8, "c8", "d8"), (16, "c16", "d16")] {
        let cells = (SIZE / stride) * (SIZE / stride);
        let mut scores = Tensor::raw(cls, &[2, cells, CLASSES]);
        scores.sigmoid = (0..scores.len()).collect();
        tensors.extend([scores, Tensor::raw(boxes, &[2, cells, 4 * bins])]);
        heads.push(PairHead {
            stride,
            cls: cls.into(),
            boxes: boxes.into(),
        });
    }
    let loss = NanoDet {
        heads: heads.clone(),
        bins,
        offset: 0.5,
        size: [SIZE; 2],
        classes: CLASSES,
    };
    let family = Family::Nanodet {
        heads,
        reg_max: bins - 1,
        cell_offset: 0.5,
    };
    check(loss, &tensors, family, 0.5);
}

#[test]
fn ssd() {
    let (strides, sizes) = (vec![16, 32], vec![vec![12.0, 20.0], vec![32.0, 50.0]]);
    let all = priors(SIZE, SIZE, &strides, &sizes);
    let n = all.len();
    let mut scores = Tensor::raw("s", &[2, n, 1 + CLASSES]);
    scores.softmax = (0..2 * n)
        .map(|r| (r * (1 + CLASSES)..(r + 1) * (1 + CLASSES)).collect())
        .collect();
    let loss = Ssd {
        boxes: "b".into(),
        scores: "s".into(),
        priors: all,
        variances: [0.1, 0.2],
        size: [SIZE; 2],
        classes: CLASSES,
    };
    let family = Family::Ssd {
        boxes: "b".into(),
        scores: "s".into(),
        format: SsdBoxes::Offsets {
            strides,
            min_sizes: sizes,
            variances: [0.1, 0.2],
        },
    };
    // What the loss calls a box is what the decoder does.
    let t = [0.3, -0.4, 0.5, -0.6];
    let mut offsets = vec![0f32; n * 4];
    offsets[20..24].copy_from_slice(&t);
    let mut p = vec![0f32; n * (1 + CLASSES)];
    p[5 * (1 + CLASSES) + 2] = 1.0;
    let offsets = tensor::Tensor::new(vec![1, n, 4], offsets).unwrap();
    let p = tensor::Tensor::new(vec![1, n, 1 + CLASSES], p).unwrap();
    let found = head(family.clone())
        .decode(&[("b", &offsets), ("s", &p)], 0.5)
        .unwrap();
    assert_eq!((found[0].corners, found[0].class), (loss.predicted(5, t), 1));
    check(loss, &[Tensor::raw("b", &[2, n, 4]), scores], family, 0.5);
}

#[test]
fn fastestdet() {
    let (channels, cells) = (5 + CLASSES, 16);
    let mut output = Tensor::raw("y", &[2, channels, 4, 4]);
    for picture in 0..2 {
        for cell in 0..cells {
            let at = |c: usize| (picture * channels + c) * cells + cell;
            output.sigmoid.push(at(0));
            output.softmax.push((5..channels).map(at).collect());
        }
    }
    let loss = FastestDet {
        output: "y".into(),
        size: [SIZE; 2],
        classes: CLASSES,
    };
    check(loss, &[output], Family::Fastestdet("y".into()), 0.03);
}

#[test]
fn decoded() {
    for objectness in [true, false] {
        let (n, channels) = (24, CLASSES + if objectness { 5 } else { 4 });
        let shape = if objectness {
            [2, n, channels]
        } else {
            [2, channels, n]
        };
        let mut output = Tensor::raw("y", &shape);
        for i in 0..2 * n {
            let at = |c: usize| match objectness {
                true => i * channels + c,
                false => (i / n * channels + c) * n + i % n,
            };
            output.sigmoid.extend((4..channels).map(at));
            output.boxes.push([0, 1, 2, 3].map(at));
        }
        let loss = Decoded {
            output: "y".into(),
            classes: CLASSES,
            objectness,
        };
        let family = if objectness {
            Family::Yolov5Decoded
        } else {
            Family::Yolov8
        };
        check(loss, &[output], family("y".into()), 0.03);
    }
}

/// Objects that overlap, lie outside or have no area; pictures without any.
#[test]
fn odd_objects_are_harmless() {
    let object = |corners| Target { class: 0, corners };
    let targets = [
        vec![
            object([4.0, 4.0, 30.0, 30.0]),
            object([4.0, 4.0, 30.0, 30.0]),
            object([-900.0, 70.0, -880.0, 600.0]),
            object([0.0, 0.0, 5000.0, 0.5]),
            object([9.0, 9.0, 9.0, 9.0]),
            object([f32::NAN, 0.0, 9.0, 9.0]),
        ],
        vec![],
    ];
    let y = random(2 * 8 * 64, 3);
    let half = |y: &[f32]| {
        y.iter()
            .map(|v| (v / 8.0 + 0.5).clamp(0.0, 1.0))
            .collect::<Vec<f32>>()
    };
    let run = |loss: &mut dyn Loss, tensors: &[Tensor], squash: bool| {
        let values: Vec<Vec<f32>> = (tensors.iter())
            .map(|t| {
                if squash {
                    half(&y[..t.len()])
                } else {
                    y[..t.len()].to_vec()
                }
            })
            .collect();
        let mut gradients = Vec::new();
        let all = outputs(tensors, &values);
        let parts = loss
            .evaluate(&all, &targets, &Ranks::default(), &mut gradients)
            .unwrap();
        assert!(parts.total().is_finite() && gradients.iter().flatten().all(|g| g.is_finite()));
    };
    let anchors = AnchorHead {
        output: "y".into(),
        stride: 8.0,
        anchors: vec![[8.0, 8.0]],
        scale_xy: 1.0,
    };
    let square = [Tensor::raw("y", &[2, 8, 8, 8])];
    run(&mut YoloV5::new(vec![anchors], CLASSES), &square, false);
    let mut fastest = FastestDet {
        output: "y".into(),
        size: [SIZE; 2],
        classes: CLASSES,
    };
    run(&mut fastest, &square, true);
    let mut ssd = Ssd {
        boxes: "b".into(),
        scores: "s".into(),
        priors: priors(SIZE, SIZE, &[32], &[vec![20.0]]),
        variances: [0.1, 0.2],
        size: [SIZE; 2],
        classes: CLASSES,
    };
    run(
        &mut ssd,
        &[Tensor::raw("b", &[2, 4, 4]), Tensor::raw("s", &[2, 4, 4])],
        true,
    );
    let pair = PairHead {
        stride: 16,
        cls: "c".into(),
        boxes: "d".into(),
    };
    let mut nanodet = NanoDet {
        heads: vec![pair],
        bins: 4,
        offset: 0.5,
        size: [SIZE; 2],
        classes: CLASSES,
    };
    run(
        &mut nanodet,
        &[Tensor::raw("c", &[2, 16, 3]), Tensor::raw("d", &[2, 16, 16])],
        true,
    );
}

/// A few steps of a shared detector on one picture with two objects.
fn learns(name: &str, of_head: impl Fn(&Head) -> (Vec<String>, Box<dyn Loss>)) {
    let Some(data) = testing::data(name) else { return };
    let text = std::fs::read_to_string(data.join(format!("models/{name}.json"))).unwrap();
    let head = Head::from_json(&text).unwrap();
    let (names, mut loss) = of_head(&head);
    let options = ProgramOptions {
        outputs: names,
        ..ProgramOptions::new(1)
    };
    let cpu = cpu(&model(&data.join(format!("models/{name}.onnx"))), &options, 2);
    let (parameters, ports) = (
        cpu.program().parameters().to_vec(),
        cpu.program().outputs().to_vec(),
    );
    let x = pattern(cpu.program().inputs()[0].len());
    let [w, h] = [head.input.width, head.input.height].map(|s| s as f32);
    let object = |class: usize, c: [f32; 4]| Target {
        class: class % head.classes.len(),
        corners: [c[0] * w, c[1] * h, c[2] * w, c[3] * h],
    };
    let targets = [vec![
        object(0, [0.1, 0.2, 0.45, 0.7]),
        object(2, [0.5, 0.5, 0.9, 0.85]),
    ]];
    let settings = Settings {
        steps: 8,
        optimizer: Optimizer::AdamW(AdamW::default()),
        schedule: Schedule {
            base: 5e-4,
            warmup: 0,
            shape: Shape::Constant,
        },
        decay: 0.0,
        clip: 10.0,
        relative: false,
        ema: None,
        train_affine: true,
        frozen_from: u64::MAX,
    };
    let none = (BTreeMap::new(), BTreeMap::new());
    let mut trainer = Trainer::new(Box::new(cpu), &parameters, &ports, settings, none.0, &none.1);
    let mut losses = Vec::new();
    while !trainer.is_done() {
        let mut objective = |outputs: &[Output], gradients: &mut Vec<Vec<f32>>| {
            Ok(loss.evaluate(outputs, &targets, &Ranks::default(), gradients)?)
        };
        losses.push(trainer.step(&[&x], &mut objective).unwrap().loss.total());
    }
    println!("{name}: {losses:?}");
    assert!(losses[7] < 0.9 * losses[0], "{name}: {losses:?}");
}

fn names(head: &Head) -> Vec<String> {
    head.outputs().into_iter().map(String::from).collect()
}

#[test]
fn nanodet_learns() {
    learns("nanodet_m_416", |head| match &head.family {
        Family::Nanodet { heads, reg_max, .. } => {
            let loss = NanoDet {
                heads: heads.clone(),
                bins: reg_max + 1,
                offset: 0.5,
                size: [head.input.width, head.input.height],
                classes: head.classes.len(),
            };
            (names(head), Box::new(loss))
        }
        _ => unreachable!(),
    });
}

#[test]
fn ultraface_learns() {
    learns("ultraface_rfb_320", |head| match &head.family {
        Family::Ssd {
            boxes,
            scores,
            format:
                SsdBoxes::Offsets {
                    strides,
                    min_sizes,
                    variances,
                },
        } => {
            let size = [head.input.width, head.input.height];
            let loss = Ssd {
                boxes: boxes.clone(),
                scores: scores.clone(),
                priors: priors(size[0], size[1], strides, min_sizes),
                variances: *variances,
                size,
                classes: head.classes.len(),
            };
            (names(head), Box::new(loss))
        }
        _ => unreachable!(),
    });
}

#[test]
fn fastestdet_learns() {
    learns("fastestdet_352", |head| {
        let loss = FastestDet {
            output: names(head)[0].clone(),
            size: [head.input.width, head.input.height],
            classes: head.classes.len(),
        };
        (names(head), Box::new(loss))
    });
}

#[test]
fn yolo_v8n_learns() {
    learns("yolov8n_320", |head| {
        let loss = Decoded {
            output: names(head)[0].clone(),
            classes: head.classes.len(),
            objectness: false,
        };
        (names(head), Box::new(loss))
    });
}

/// The raw heads of YOLOv5n, before the graph decodes them; its published anchors.
#[test]
fn yolo_v5n_learns() {
    let anchors = [
        [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
        [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
        [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
    ];
    learns("yolov5n_640_f16", |head| {
        let heads: Vec<AnchorHead> = (anchors.iter().enumerate())
            .map(|(k, anchors)| AnchorHead {
                output: format!("/model.24/m.{k}/Conv_output_0"),
                stride: (8 << k) as f32,
                anchors: anchors.to_vec(),
                scale_xy: 1.0,
            })
            .collect();
        let names = heads.iter().map(|h| h.output.clone()).collect();
        (names, Box::new(YoloV5::new(heads, head.classes.len())))
    });
}
