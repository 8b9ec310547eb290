//! Losses against PyTorch's autograd (`tools/goldens/losses.py`, written from the papers) and against finite differences.

use serde_json::Value;
use tasks::detect::{AnchorHead, DflHead, Family, Head};
use testing::SplitMix64;
use train::exchange::Ranks;
use train::loss::classify::{CrossEntropy, Follow};
use train::loss::distill::{Distill, Measure};
use train::loss::yolo_v3::{Options, YoloV3};
use train::loss::yolo_v8::{self, YoloV8};
use train::loss::yolox::YoloX;
use train::loss::{AssignedLoss, Loss, LossError, LossParts, Output, Role, Target, ciou};

fn goldens() -> Value {
    serde_json::from_str(include_str!("vectors/losses.json")).unwrap()
}

fn floats(v: &Value) -> Vec<f32> {
    (v.as_array().unwrap().iter())
        .map(|x| x.as_f64().unwrap() as f32)
        .collect()
}

fn targets(v: &Value) -> Vec<Vec<Target>> {
    let one = |t: &Value| Target {
        class: t["class"].as_u64().unwrap() as usize,
        corners: floats(&t["corners"]).try_into().unwrap(),
    };
    (v.as_array().unwrap().iter())
        .map(|p| p.as_array().unwrap().iter().map(one).collect())
        .collect()
}

fn compare(case: &Value, parts: &LossParts, gradients: &[Vec<f32>]) {
    for ((name, got), want) in parts.parts.iter().zip(case["parts"].as_array().unwrap()) {
        let want = want.as_f64().unwrap();
        assert!(
            (got - want).abs() < 1e-5 * want.abs().max(1.0),
            "{name}: {got} {want}"
        );
    }
    let want = case["gradients"].as_array().unwrap();
    assert_eq!(gradients.len(), want.len());
    for (output, (got, want)) in gradients.iter().zip(want).enumerate() {
        for (i, (got, want)) in got.iter().zip(floats(want)).enumerate() {
            assert!(
                (got - want).abs() < 2e-5 + 1e-4 * want.abs(),
                "output {output}[{i}]: {got} {want}"
            );
        }
    }
}

fn strides(case: &Value) -> Vec<usize> {
    floats(&case["strides"]).iter().map(|&s| s as usize).collect()
}

#[test]
fn anchor_loss_equals_autograd() {
    let all = goldens();
    let case = &all["yolo_v3"];
    let heads: Vec<AnchorHead> = (case["heads"].as_array().unwrap().iter().enumerate())
        .map(|(i, h)| AnchorHead {
            output: format!("head{i}"),
            stride: h["stride"].as_f64().unwrap() as f32,
            anchors: (h["anchors"].as_array().unwrap().iter())
                .map(|a| floats(a).try_into().unwrap())
                .collect(),
            scale_xy: h["scale_xy"].as_f64().unwrap(),
        })
        .collect();
    let raw: Vec<Vec<f32>> = case["raw"].as_array().unwrap().iter().map(floats).collect();
    let shapes = [[2, 16, 8, 8], [2, 16, 4, 4]];
    let names = ["head0", "head1"];
    let outputs: Vec<Output> = (0..2)
        .map(|i| Output {
            name: names[i],
            shape: &shapes[i],
            values: &raw[i],
        })
        .collect();
    let mut loss = YoloV3::new(heads, 3, Options::default());
    let targets = targets(&case["targets"]);
    let roles = loss.assign(&outputs, &targets).unwrap();
    let mut positives = 0;
    for (got, want) in roles.iter().zip(case["roles"].as_array().unwrap()) {
        for (got, want) in got.iter().zip(floats(want)) {
            let wanted = match want as i32 {
                -1 => Role::Negative,
                -2 => Role::Ignored,
                k => Role::Positive(k as usize),
            };
            assert_eq!(*got, wanted);
            positives += usize::from(want >= 0.0);
        }
    }
    assert!(positives > 4);
    let mut gradients = Vec::new();
    let parts = loss
        .evaluate(&outputs, &targets, &Ranks::default(), &mut gradients)
        .unwrap();
    compare(case, &parts, &gradients);
}

#[test]
fn sim_ota_loss_equals_autograd() {
    let all = goldens();
    let case = &all["yolox"];
    let raw = floats(&case["raw"]);
    let mut loss = YoloX::new("out".into(), strides(case), [64, 64], 3);
    loss.probabilities = false;
    let output = [Output {
        name: "out",
        shape: &[2, 80, 8],
        values: &raw,
    }];
    let targets = targets(&case["targets"]);
    let roles = loss.assign(&output, &targets).unwrap();
    for (got, want) in roles.iter().zip(case["roles"].as_array().unwrap()) {
        let got: Vec<f32> = got.iter().map(|r| r.map_or(-1.0, |r| r.0 as f32)).collect();
        assert_eq!(got, floats(want));
    }
    let mut gradients = Vec::new();
    let parts = loss
        .evaluate(&output, &targets, &Ranks::default(), &mut gradients)
        .unwrap();
    compare(case, &parts, &gradients);

    // Behind a sigmoid in the graph: the same parts, and the chain rule gives the same gradients.
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let is_score = |i: usize| i % 8 >= 4;
    let probabilities: Vec<f32> = (raw.iter().enumerate())
        .map(|(i, &x)| if is_score(i) { sigmoid(x) } else { x })
        .collect();
    loss.probabilities = true;
    let output = [Output {
        values: &probabilities,
        ..output[0]
    }];
    let parts = loss
        .evaluate(&output, &targets, &Ranks::default(), &mut gradients)
        .unwrap();
    for (i, g) in gradients[0].iter_mut().enumerate().filter(|(i, _)| is_score(*i)) {
        *g *= probabilities[i] * (1.0 - probabilities[i]);
    }
    compare(case, &parts, &gradients);
}

#[test]
fn task_aligned_loss_equals_autograd() {
    let all = goldens();
    let case = &all["yolo_v8"];
    let raw: Vec<Vec<f32>> = case["raw"].as_array().unwrap().iter().map(floats).collect();
    let names = ["a", "b"];
    let shapes = [[2, 27, 8, 8], [2, 27, 4, 4]];
    let outputs: Vec<Output> = (0..2)
        .map(|i| Output {
            name: names[i],
            shape: &shapes[i],
            values: &raw[i],
        })
        .collect();
    let heads = (names.iter().zip(strides(case)))
        .map(|(n, stride)| DflHead {
            output: n.to_string(),
            stride,
        })
        .collect();
    let mut loss = YoloV8::new(heads, 6, 3, yolo_v8::Options::default());
    let targets = targets(&case["targets"]);
    let roles = loss.assign(&outputs, &targets).unwrap();
    for (picture, got) in roles.iter().enumerate() {
        let (want, weights) = (floats(&case["roles"][picture]), floats(&case["weights"][picture]));
        for (i, got) in got.iter().enumerate() {
            assert_eq!(got.map_or(-1.0, |g| g.0 as f32), want[i]);
            assert!((got.map_or(0.0, |g| g.1 as f32) - weights[i]).abs() < 1e-5);
        }
    }
    let mut gradients = Vec::new();
    let parts = loss
        .evaluate(&outputs, &targets, &Ranks::default(), &mut gradients)
        .unwrap();
    compare(case, &parts, &gradients);
}

#[test]
fn classification_equals_autograd() {
    let all = goldens();
    let case = &all["classify"];
    let (z, teacher) = (floats(&case["z"]), floats(&case["teacher"]));
    let output = |values| {
        [Output {
            name: "logits",
            shape: &[4, 5],
            values,
        }]
    };
    let targets: Vec<Vec<Target>> = (floats(&case["classes"]).iter())
        .map(|&c| {
            vec![Target {
                class: c as usize,
                ..Target::default()
            }]
        })
        .collect();
    let mut loss = CrossEntropy {
        output: "logits".into(),
        classes: 5,
        smoothing: 0.1,
    };
    let mut gradients = Vec::new();
    let parts = loss
        .evaluate(&output(&z), &targets, &Ranks::default(), &mut gradients)
        .unwrap();
    assert!((parts.total() - case["loss"].as_f64().unwrap()).abs() < 1e-6);
    for (got, want) in gradients[0].iter().zip(floats(&case["gradient"])) {
        assert!((got - want).abs() < 1e-6);
    }
    let follow = Follow {
        output: "logits".into(),
        classes: 5,
        temperature: 3.0,
        weight: 0.5,
    };
    let before = gradients.clone();
    let soft = follow
        .add(&output(&z), &output(&teacher), &Ranks::default(), &mut gradients)
        .unwrap();
    assert!((soft - case["soft"].as_f64().unwrap()).abs() < 1e-6);
    for ((got, before), want) in gradients[0]
        .iter()
        .zip(&before[0])
        .zip(floats(&case["soft_gradient"]))
    {
        assert!((got - before - want).abs() < 1e-6);
    }
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64(seed);
    let one = |rng: &mut SplitMix64| (0..4).map(|_| rng.unit() - 0.5).sum::<f64>() as f32 * 2.0;
    (0..n).map(|_| one(&mut rng)).collect()
}

/// Gradient against central differences at every `stride`-th number.
fn differences(values: &[f32], gradient: &[f32], stride: usize, mut total: impl FnMut(&[f32]) -> f64) {
    let eps = 1.0 / 512.0;
    let mut moved = values.to_vec();
    for i in (0..values.len()).step_by(stride) {
        moved[i] = values[i] + eps;
        let high = total(&moved);
        moved[i] = values[i] - eps;
        let slope = (high - total(&moved)) / f64::from(2.0 * eps);
        moved[i] = values[i];
        let got = f64::from(gradient[i]);
        assert!(
            (got - slope).abs() < 2e-4 + 1e-2 * slope.abs(),
            "[{i}]: {got} {slope}"
        );
    }
}

#[test]
fn ciou_slopes_equal_differences() {
    let mut rng = SplitMix64(4);
    for _ in 0..300 {
        let mut draw = || {
            let (x, y) = (rng.unit() * 10.0, rng.unit() * 10.0);
            [x, y, x + 0.5 + rng.unit() * 8.0, y + 0.5 + rng.unit() * 8.0]
        };
        let (p, t) = (draw(), draw());
        let (_, slopes) = ciou(p, t);
        for k in 0..4 {
            let at = |e: f64| {
                let mut q = p;
                q[k] += e;
                ciou(q, t).0
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!(
                (slope - slopes[k]).abs() < 1e-6,
                "{p:?} {t:?} {k}: {slope} {}",
                slopes[k]
            );
        }
    }
}

fn head(family: Family, classes: usize) -> Head {
    let text = r#"{"name": "t", "family": "classifier",
        "input": {"name": "x", "width": 32, "height": 32, "color": "RGB", "scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1],
                  "resize": "stretch"},
        "output": "y", "classes": ["a"]}"#;
    let mut head = Head::from_json(text).unwrap();
    head.classes = (0..classes).map(|c| c.to_string()).collect();
    head.family = family;
    head
}

#[test]
fn distillation_has_the_slopes_of_differences_for_every_layout() {
    let anchors = |output: &str| AnchorHead {
        output: output.into(),
        stride: 8.0,
        anchors: vec![[8.0, 8.0]; 2],
        scale_xy: 1.0,
    };
    let dfl = DflHead {
        output: "y".into(),
        stride: 8,
    };
    let cases: Vec<(Family, Vec<usize>)> = vec![
        (Family::Yolov3(vec![anchors("y")]), vec![2, 16, 3, 2]),
        (
            Family::Yolov8Raw {
                heads: vec![dfl],
                reg_max: 4,
            },
            vec![2, 19, 3, 2],
        ),
        (Family::Yolov5Decoded("y".into()), vec![2, 6, 8]),
        (Family::Yolov8("y".into()), vec![2, 7, 6]),
        (Family::Fastestdet("y".into()), vec![2, 8, 3, 2]),
    ];
    let both = [Measure::Squares, Measure::Divergence];
    for ((family, shape), measure) in cases.into_iter().flat_map(|case| both.map(|m| (case.clone(), m))) {
        let n = shape.iter().product();
        let decoded = matches!(family, Family::Yolov5Decoded(_) | Family::Yolov8(_));
        let loss = Distill::new(&head(family, 3), vec!["f".into()], [1.0, 3.0], measure);
        assert_eq!(loss.names(), ["y", "f"]);
        let (mut y, mut t) = (random(n, 1), random(n, 2));
        if decoded {
            // Probabilities, and boxes of some pixels.
            for v in y.iter_mut().chain(&mut t) {
                *v = v.abs().clamp(0.05, 0.95);
            }
        }
        let (f, g) = (random(10, 3), random(10, 4));
        fn at<'a>(name: &'a str, shape: &'a [usize], values: &'a [f32]) -> Output<'a> {
            Output { name, shape, values }
        }
        let feature = [1, 10];
        let teacher = [at("f", &feature, &g), at("y", &shape, &t)];
        let student = [at("y", &shape, &y), at("f", &feature, &f)];
        let mut gradients = Vec::new();
        let parts = loss
            .evaluate(&student, &teacher, &Ranks::default(), &mut gradients)
            .unwrap();
        assert!(parts.total() > 0.0);
        let mut scratch = Vec::new();
        differences(&y, &gradients[0], 1, |v| {
            let student = [at("y", &shape, v), at("f", &feature, &f)];
            loss.evaluate(&student, &teacher, &Ranks::default(), &mut scratch)
                .unwrap()
                .total()
        });
        differences(&f, &gradients[1], 1, |v| {
            let student = [at("y", &shape, &y), at("f", &feature, v)];
            loss.evaluate(&student, &teacher, &Ranks::default(), &mut scratch)
                .unwrap()
                .total()
        });
        let same = [at("f", &feature, &g), at("y", &shape, &t)];
        assert_eq!(
            loss.evaluate(&same, &teacher, &Ranks::default(), &mut gradients)
                .unwrap()
                .total(),
            0.0
        );
    }
}

/// A head of one anchor and one class.
fn one_anchor() -> Head {
    let anchors = AnchorHead {
        output: "y".into(),
        stride: 8.0,
        anchors: vec![[8.0, 8.0]],
        scale_xy: 1.0,
    };
    head(Family::Yolov3(vec![anchors]), 1)
}

/// Where the teacher is sure that nothing is, its boxes do not matter; where it sees something, they do.
#[test]
fn boxes_weigh_as_much_as_the_teacher_sees() {
    let head = one_anchor();
    let loss = Distill::new(&head, vec![], [1.0, 0.0], Measure::Squares);
    let shape = [1, 6, 1, 2];
    let mut teacher = vec![0.0; 12];
    (teacher[8], teacher[9]) = (-30.0, 5.0);
    let mut student = teacher.clone();
    (student[0], student[1]) = (1.0, 1.0);
    let output = |values| {
        [Output {
            name: "y",
            shape: &shape,
            values,
        }]
    };
    let mut gradients = Vec::new();
    loss.evaluate(
        &output(&student),
        &output(&teacher),
        &Ranks::default(),
        &mut gradients,
    )
    .unwrap();
    assert!(
        gradients[0][0] < 1e-6 && gradients[0][1] > 0.1,
        "{:?}",
        gradients[0]
    );
}

/// Background that both are sure of costs nothing as a probability; an object that is missed does.
#[test]
fn as_probabilities_certain_background_costs_nothing() {
    let head = one_anchor();
    let shape = [1, 6, 1, 2];
    let mut teacher = vec![0.0; 12];
    (teacher[8], teacher[9]) = (-14.0, 3.0);
    let slopes = |measure, logits: [f32; 2]| {
        let mut student = teacher.clone();
        student[8..10].copy_from_slice(&logits);
        let output = |values| {
            [Output {
                name: "y",
                shape: &shape,
                values,
            }]
        };
        let (mut gradients, loss) = (Vec::new(), Distill::new(&head, vec![], [1.0, 0.0], measure));
        loss.evaluate(
            &output(&student),
            &output(&teacher),
            &Ranks::default(),
            &mut gradients,
        )
        .unwrap();
        [gradients[0][8].abs(), gradients[0][9].abs()]
    };
    let [background, object] = slopes(Measure::Divergence, [-10.0, 1.0]);
    assert!(background < 1e-4 && object > 0.01, "{background} {object}");
    let [background, object] = slopes(Measure::Squares, [-10.0, 1.0]);
    assert!(background > object, "{background} {object}");
}

/// One object alone in the picture: descent on the raw numbers finds it.
#[test]
fn descent_on_the_raw_numbers_finds_the_object() {
    let object = Target {
        class: 1,
        corners: [10.0, 14.0, 34.0, 50.0],
    };
    let shape = [1, 27, 8, 8];
    let head = DflHead {
        output: "y".into(),
        stride: 8,
    };
    let mut loss = YoloV8::new(vec![head.clone()], 6, 3, yolo_v8::Options::default());
    let mut y = random(27 * 64, 8);
    let mut gradients = Vec::new();
    for _ in 0..1500 {
        let output = [Output {
            name: "y",
            shape: &shape,
            values: &y,
        }];
        loss.evaluate(&output, &[vec![object]], &Ranks::default(), &mut gradients)
            .unwrap();
        for (y, g) in y.iter_mut().zip(&gradients[0]) {
            *y -= 0.5 * g;
        }
    }
    let tensor = tensor::Tensor::new(shape.to_vec(), y).unwrap();
    let family = Family::Yolov8Raw {
        heads: vec![head],
        reg_max: 6,
    };
    let mut head = self::head(family, 3);
    (head.input.width, head.input.height) = (64, 64);
    let mut found = head.decode(&[("y", &tensor)], 0.3).unwrap();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    assert_eq!(found[0].class, 1);
    for (got, want) in found[0].corners.iter().zip(object.corners) {
        assert!((got - want).abs() < 1.5, "{:?}", found[0]);
    }
}

#[test]
fn pictures_without_objects_and_odd_boxes_are_harmless() {
    let bad = |corners| Target { class: 0, corners };
    let targets = vec![
        vec![],
        vec![bad([5.0, 5.0, 5.0, 9.0]), bad([f32::NAN, 0.0, 9.0, 9.0])],
    ];
    let anchors = AnchorHead {
        output: "y".into(),
        stride: 8.0,
        anchors: vec![[8.0, 8.0]],
        scale_xy: 1.0,
    };
    let y = random(2 * 8 * 16, 5);
    let shape = [2, 8, 4, 4];
    let output = [Output {
        name: "y",
        shape: &shape,
        values: &y,
    }];
    let mut gradients = Vec::new();
    let mut loss = YoloV3::new(vec![anchors], 3, Options::default());
    let parts = loss
        .evaluate(&output, &targets, &Ranks::default(), &mut gradients)
        .unwrap();
    assert!(parts.total().is_finite() && parts.parts[0].1 == 0.0);
    // Only objectness is pushed.
    for (i, g) in gradients[0].iter().enumerate() {
        assert_eq!(*g != 0.0, i / 16 % 8 == 4);
    }
    // An object whose centre lies outside goes to the nearest cell.
    let outside = Target {
        class: 2,
        corners: [500.0, -90.0, 540.0, -60.0],
    };
    let roles = loss.assign(&output, &[vec![outside], vec![]]).unwrap();
    assert_eq!(roles[0][3], Role::Positive(0));
}

#[test]
fn outputs_and_targets_that_do_not_fit_are_named() {
    let anchors = AnchorHead {
        output: "y".into(),
        stride: 8.0,
        anchors: vec![[8.0, 8.0]],
        scale_xy: 1.0,
    };
    let mut loss = YoloV3::new(vec![anchors], 3, Options::default());
    let mut run = |name, shape: &[usize], targets: &[Vec<Target>]| {
        let values = vec![0.0; shape.iter().product()];
        let output = [Output {
            name,
            shape,
            values: &values,
        }];
        loss.evaluate(&output, targets, &Ranks::default(), &mut Vec::new())
            .unwrap_err()
    };
    let none = vec![vec![]];
    assert!(matches!(
        run("z", &[1, 8, 2, 2], &none),
        LossError::Missing { .. }
    ));
    let error = run("y", &[1, 9, 2, 2], &none);
    assert!(error.to_string().contains("[*, 8, *, *]"), "{error}");
    assert!(matches!(
        run("y", &[2, 8, 2, 2], &none),
        LossError::Pictures { have: 1, want: 2 }
    ));
    let wrong = vec![vec![Target {
        class: 3,
        corners: [0.0, 0.0, 4.0, 4.0],
    }]];
    assert!(matches!(
        run("y", &[1, 8, 2, 2], &wrong),
        LossError::Class { class: 3, .. }
    ));
}
