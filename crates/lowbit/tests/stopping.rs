//! Stopping at any moment and errors of callers leave a plan as it was: rows 25 and 29 of `docs/robustness.md`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lowbit::{
    Choice, Control, Detector, ErrorKind, LoadOptions, Model, NmsOptions, Picture, QuantizeOptions,
    RunOptions, Runner, Tensor, VerifyOptions,
};

/// The small detector, with the head that its shapes suggest.
fn model(folder: &Path) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/models/torchscript_yolov8.onnx");
    let template = Model::load(&path, &LoadOptions::default())
        .unwrap()
        .guess()
        .template
        .clone();
    let head = folder.join("head.json");
    std::fs::write(&head, template).unwrap();
    let options = LoadOptions {
        head: Some(head),
        ..LoadOptions::default()
    };
    Model::load(&path, &options).unwrap()
}

fn input(model: &Model) -> (String, Tensor) {
    let (name, _, shape) = model.inputs().unwrap().remove(0);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i: usize| (i * 37 % 256) as f32 / 255.0).collect();
    (name, Tensor::new(shape, values).unwrap())
}

fn bytes(outputs: &[(String, Tensor)]) -> Vec<u32> {
    outputs
        .iter()
        .flat_map(|(_, t)| t.as_f32().unwrap())
        .map(|v| v.to_bits())
        .collect()
}

/// The small detector in int8, made from pictures of stripes.
fn quantized(folder: &Path) -> Model {
    let paths: Vec<PathBuf> = (0..2).map(|k| folder.join(format!("{k}.png"))).collect();
    for (k, path) in paths.iter().enumerate() {
        let rgb = (0..64 * 64 * 3).map(|i| (i * (k + 3) % 251) as u8).collect();
        let png = lowbit::encode_png(&Picture::new(64, 64, rgb).unwrap()).unwrap();
        std::fs::write(path, png).unwrap();
    }
    let options = QuantizeOptions::new(Choice::Grid("int8".parse().unwrap()), paths);
    lowbit::quantize(&model(folder), &options, &mut |_: &str, _, _| {})
        .unwrap()
        .model
}

#[test]
fn a_run_cancelled_at_any_moment_runs_again_with_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for model in [model(dir.path()), quantized(dir.path())] {
        let control = Control::default();
        let options = RunOptions {
            threads: 2,
            control: control.clone(),
            ..RunOptions::default()
        };
        let runner = Runner::new(&model, &options).unwrap();
        let (name, x) = input(&model);
        let start = Instant::now();
        let want = bytes(&runner.run(&[(&name, &x)]).unwrap());
        let whole = start.elapsed();
        let (mut cancelled, mut done) = (0, 0);
        for k in 0..200u32 {
            let wait = whole * k / 160;
            // Both begin together, however long a thread takes to start.
            let (ready, go) = (AtomicBool::new(false), AtomicBool::new(false));
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    ready.store(true, Ordering::Release);
                    while !go.load(Ordering::Acquire) {
                        std::hint::spin_loop();
                    }
                    let from = Instant::now();
                    while from.elapsed() < wait {
                        std::hint::spin_loop();
                    }
                    control.cancel();
                });
                while !ready.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                go.store(true, Ordering::Release);
                runner.run(&[(&name, &x)])
            });
            match result {
                Ok(y) => {
                    done += 1;
                    assert_eq!(bytes(&y), want, "try {k}");
                }
                Err(e) => {
                    cancelled += 1;
                    assert_eq!(e.kind(), ErrorKind::Interrupted, "{e}");
                }
            }
            control.flag().store(false, Ordering::Relaxed);
            assert_eq!(bytes(&runner.run(&[(&name, &x)]).unwrap()), want, "after try {k}");
        }
        println!("{cancelled} cancelled, {done} done");
        assert!(cancelled > 0);
    }
}

#[test]
fn a_deadline_that_is_over_stops_everything_that_takes_long() {
    let dir = tempfile::tempdir().unwrap();
    let control = Control::default().with_time(Duration::ZERO);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/models/torchscript_yolov8.onnx");
    let late = LoadOptions {
        control: control.clone(),
        ..LoadOptions::default()
    };
    assert_eq!(Model::load(&path, &late).unwrap_err().kind(), ErrorKind::Limit);
    let model = model(dir.path());
    let run = RunOptions {
        control: control.clone(),
        ..RunOptions::default()
    };
    assert_eq!(Runner::new(&model, &run).unwrap_err().kind(), ErrorKind::Limit);
    let mut options = QuantizeOptions::new(Choice::Bits(4), vec![dir.path().join("none.png")]);
    options.control = control;
    let e = lowbit::quantize(&model, &options, &mut |_: &str, _, _| {}).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit, "{e}");
}

/// The scalar program takes minutes for a large model: it stops before the next layer, not after the picture.
#[test]
fn verify_stops_between_layers() {
    let dir = tempfile::tempdir().unwrap();
    let model = quantized(dir.path());
    let layers = model.graph().nodes.len();
    for moment in [1, layers / 2, layers - 1] {
        let options = VerifyOptions::default();
        let mut last = 0;
        let e = lowbit::verify(&model, &options, &mut |_: &str, done, total| {
            assert_eq!(total, layers);
            last = done;
            if done >= moment {
                options.run.control.cancel();
            }
        })
        .unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Interrupted, "{e}");
        assert_eq!(last, moment, "layers were run after the flag was set");
    }
}

#[test]
fn a_plan_is_as_good_as_new_after_each_error_of_its_caller() {
    let dir = tempfile::tempdir().unwrap();
    for model in [model(dir.path()), quantized(dir.path())] {
        let runner = Runner::new(
            &model,
            &RunOptions {
                threads: 2,
                ..RunOptions::default()
            },
        )
        .unwrap();
        let (name, x) = input(&model);
        let want = bytes(&runner.run(&[(&name, &x)]).unwrap());
        let shape = x.shape().to_vec();
        let count: usize = shape.iter().product();
        let wrong: Vec<Tensor> = vec![
            Tensor::new(vec![1], vec![0f32]).unwrap(),
            Tensor::new(vec![], vec![0f32]).unwrap(),
            Tensor::new(vec![0, 3, 64, 64], Vec::<f32>::new()).unwrap(),
            Tensor::new(shape.iter().rev().copied().collect(), vec![0f32; count]).unwrap(),
            Tensor::new(shape.clone(), vec![0u8; count]).unwrap(),
            Tensor::new(shape.clone(), vec![0i64; count]).unwrap(),
        ];
        for bad in &wrong {
            let e = runner.run(&[(&name, bad)]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::BadInput, "{e}");
            assert!(e.to_string().contains(&name), "{e}");
        }
        for inputs in [
            vec![],
            vec![("nobody", &x)],
            vec![(name.as_str(), &x), ("nobody", &x)],
        ] {
            let e = runner.run(&inputs).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::BadInput, "{e}");
        }
        // Values that no picture has are data, not a fault.
        for value in [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            -f32::MAX,
            1e-45,
        ] {
            let odd = Tensor::new(shape.clone(), vec![value; count]).unwrap();
            let _ = runner.run(&[(&name, &odd)]);
        }
        assert_eq!(bytes(&runner.run(&[(&name, &x)]).unwrap()), want);
    }
}

/// NaN from a network is no box, and no panic in sorting.
#[test]
fn pictures_of_any_size_and_settings_of_any_value_give_boxes_or_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let detector = Detector::new(
        &model(dir.path()),
        &RunOptions {
            threads: 1,
            ..RunOptions::default()
        },
    )
    .unwrap();
    for (w, h) in [(1, 1), (1, 5000), (5000, 1), (63, 65), (640, 2)] {
        let picture = Picture::filled(w, h, [255, 0, 7]);
        for conf in [0.0, 0.5, 1.0, -1.0, f32::NAN, f32::INFINITY] {
            for iou in [0.0, 1.0, f32::NAN] {
                for top in [0, 1, usize::MAX] {
                    if let Ok(found) = detector.detect(&picture, &NmsOptions { conf, iou, top }) {
                        assert!(found.len() <= top);
                        assert!(found.iter().all(|d| d.score.is_finite() && d.bbox.is_finite()));
                    }
                }
            }
        }
    }
}
