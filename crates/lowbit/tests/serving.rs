//! Many requests at once: rows 19, 23 and 24 of `docs/robustness.md`, and inputs of any size.

use std::path::{Path, PathBuf};

use lowbit::{Control, DynamicRunner, ErrorKind, LoadOptions, Model, RunOptions, Runner, Tensor};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../graph/tests/models/{name}.onnx"))
}

fn tensor(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|i: usize| ((i + seed) * 37 % 256) as f32 / 255.0)
        .collect();
    Tensor::new(shape.to_vec(), values).unwrap()
}

fn bits(outputs: &[(String, Tensor)]) -> Vec<u32> {
    let values = outputs.iter().flat_map(|(_, t)| t.as_f32().unwrap());
    values.map(|v| v.to_bits()).collect()
}

/// MiB that Linux says of this process.
fn status_mib(key: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

#[test]
fn everything_that_serves_is_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Runner>();
    check::<DynamicRunner>();
    check::<lowbit::Detector>();
}

/// The model with its dynamic batch at `batch`: activations grow with it.
fn batched(batch: usize, control: Control) -> (Model, RunOptions) {
    let load = LoadOptions {
        dimensions: [("images:0".to_string(), batch)].into(),
        control: control.clone(),
        ..LoadOptions::default()
    };
    let run = RunOptions {
        threads: 2,
        control,
        ..RunOptions::default()
    };
    (Model::load(&path("dynamo_dynamic_batch"), &load).unwrap(), run)
}

#[test]
fn sixty_four_callers_keep_within_the_limit_and_get_the_serial_bytes() {
    const BATCH: usize = 48;
    let (model, run) = batched(BATCH, Control::default());
    let need = Runner::new(&model, &run).unwrap().memory();
    assert!(need.activations > 1 << 20, "{need:?}");
    // Three runs at a time fit; 64 at a time would take twenty times as much.
    let limit = need.weights + 3 * (need.activations + need.temporaries);
    let (model, run) = batched(BATCH, Control::default().with_memory(limit));
    let runner = Runner::new(&model, &run).unwrap();
    let inputs: Vec<Tensor> = (0..4).map(|i| tensor(&[BATCH, 3, 32, 32], i)).collect();
    let want: Vec<Vec<u32>> = inputs
        .iter()
        .map(|x| bits(&runner.run(&[("images", x)]).unwrap()))
        .collect();
    let output_mib = want[0].len() as f64 * 4.0 / 1048576.0;
    let serve = |rounds: usize| {
        std::thread::scope(|scope| {
            for caller in 0..64 {
                let (runner, inputs, want) = (&runner, &inputs, &want);
                scope.spawn(move || {
                    for i in 0..rounds {
                        let i = (i + caller) % inputs.len();
                        assert!(bits(&runner.run(&[("images", &inputs[i])]).unwrap()) == want[i]);
                    }
                });
            }
        });
    };
    let before = status_mib("VmRSS:");
    serve(3);
    let warm = status_mib("VmHWM:");
    serve(6);
    let (Some(before), Some(warm), Some(after)) = (before, warm, status_mib("VmHWM:")) else {
        eprintln!("SKIPPED memory: the system does not tell");
        return;
    };
    // Beyond the limit: results in the hands of 64 callers (twice: as tensors and as bits), their stacks.
    let slack = 64.0 * (2.0 * output_mib + 0.1) + 8.0;
    let most = limit as f64 / 1048576.0 + slack;
    assert!(after - before < most, "{before} {after}: at most {most}");
    assert!(after - warm < slack, "{warm} {after}: memory grows");
    let unlimited = 64.0 * need.activations as f64 / 1048576.0;
    assert!(most < unlimited, "the limit must be seen: {most} {unlimited}");
}

#[test]
fn several_models_and_callers_share_one_pool() {
    let names = [
        "torchscript_yolov8",
        "torchscript_conv_bn_silu",
        "qdq_u8_per_channel",
    ];
    let run = RunOptions {
        threads: 2,
        ..RunOptions::default()
    };
    let model = Model::load(&path(names[0]), &LoadOptions::default()).unwrap();
    let first = Runner::new(&model, &run).unwrap();
    let served: Vec<(Runner, String, Tensor, Vec<u32>)> = names
        .iter()
        .map(|name| {
            let model = Model::load(&path(name), &LoadOptions::default()).unwrap();
            let (input, _, shape) = model.inputs().unwrap().remove(0);
            let runner = Runner::beside(&first, &model, &run).unwrap();
            let x = tensor(&shape, 5);
            let want = bits(&runner.run(&[(&input, &x)]).unwrap());
            (runner, input, x, want)
        })
        .collect();
    std::thread::scope(|scope| {
        for caller in 0..24 {
            let served = &served;
            scope.spawn(move || {
                for i in 0..40 {
                    let (runner, input, x, want) = &served[(i + caller) % served.len()];
                    assert!(bits(&runner.run(&[(input, x)]).unwrap()) == *want);
                }
            });
        }
    });
}

#[test]
fn any_batch_runs_with_a_plan_of_its_own_and_few_are_kept() {
    let load = LoadOptions::default();
    let run = RunOptions {
        threads: 2,
        ..RunOptions::default()
    };
    let runner = DynamicRunner::load(&path("dynamo_dynamic_batch"), &load, &run, 2).unwrap();
    let one = |seed| tensor(&[1, 3, 32, 32], seed);
    let alone: Vec<Vec<u32>> = (0..5)
        .map(|i| bits(&runner.run(&[("images", &one(i))]).unwrap()))
        .collect();
    for batch in [2usize, 5, 3, 2, 1] {
        let values: Vec<f32> = (0..batch)
            .flat_map(|i| one(i).as_f32().unwrap().to_vec())
            .collect();
        let x = Tensor::new(vec![batch, 3, 32, 32], values).unwrap();
        let outputs = runner.run(&[("images", &x)]).unwrap();
        assert_eq!(outputs[0].1.shape()[0], batch);
        assert!(bits(&outputs) == alone[..batch].concat(), "batch {batch}");
        let sizes = runner.sizes();
        assert!(
            sizes.len() <= 2 && sizes.last().unwrap()["images:0"] == batch,
            "{sizes:?}"
        );
    }
    // Callers with four sizes take turns at two plans.
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let (runner, alone) = (&runner, &alone);
            scope.spawn(move || {
                for i in 0..8 {
                    let batch = 1 + (i + caller) % 4;
                    let values: Vec<f32> = (0..batch)
                        .flat_map(|i| one(i).as_f32().unwrap().to_vec())
                        .collect();
                    let x = Tensor::new(vec![batch, 3, 32, 32], values).unwrap();
                    assert!(bits(&runner.run(&[("images", &x)]).unwrap()) == alone[..batch].concat());
                }
            });
        }
    });
    assert!(runner.sizes().len() <= 2);
}

#[test]
fn a_size_that_does_not_fit_is_refused_and_the_others_still_run() {
    let load = LoadOptions::default();
    let run = |limit| RunOptions {
        threads: 1,
        control: Control::default().with_memory(limit),
        ..RunOptions::default()
    };
    let name = path("dynamo_dynamic_batch");
    let runner = DynamicRunner::load(&name, &load, &run(1 << 20), 2).unwrap();
    let small = tensor(&[1, 3, 32, 32], 0);
    let want = bits(&runner.run(&[("images", &small)]).unwrap());
    let e = runner
        .run(&[("images", &tensor(&[200, 3, 32, 32], 0))])
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit, "{e}");
    let e = runner.run(&[("pictures", &small)]).unwrap_err();
    assert!(e.to_string().contains("\"images\" is missing"), "{e}");
    let e = runner
        .run(&[("images", &tensor(&[1, 3, 16, 32], 0))])
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::BadInput, "{e}");
    assert!(bits(&runner.run(&[("images", &small)]).unwrap()) == want);
    assert!(DynamicRunner::load(&name, &load, &run(1 << 20), 0).is_err());
}
