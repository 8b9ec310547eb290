//! The executor on a CUDA device: whole nets, quantizers, repeated steps, ranks, and what is missing. The instructions one by one are compared by
//! `differences/` when it is built with the feature `cuda`.
#![cfg(feature = "cuda")]

mod common;

use common::cuda::{compare, devices, results};
use common::{cpu, model, pattern};
use kernels::cuda::{CudaError, Device};
use train::exchange::threads;
use train::exec::{Cuda, Exec, ExecError, Mode};
use train::program::{BatchNormMode, Program, ProgramOptions};
use train::zoo;

fn tiny(size: usize) -> graph::Graph {
    let mut graph = zoo::small(&["a".into(), "b".into()], 4, [size, size], 3);
    graph::passes::simplify_for_training(&mut graph, &oracle::Reference, &Default::default()).unwrap();
    graph
}

#[test]
fn our_small_detector() {
    for batch_norm in [BatchNormMode::Batch { momentum: 0.1 }, BatchNormMode::Frozen] {
        for device in devices() {
            let options = ProgramOptions {
                batch_norm,
                ..ProgramOptions::new(3)
            };
            let mut cpu = cpu(&tiny(64), &options, 1);
            let x = pattern(cpu.program().inputs()[0].len());
            let far = compare("small", &mut cpu, device, &options, &[x], [1e-4, 0.0]);
            println!("small, {batch_norm:?}: {far:e}");
        }
    }
}

/// Shared detectors: all on a CUDA device, the two lightest on the host.
#[test]
fn shared_detectors() {
    let names = [
        "cifar_resnet20",
        "ultraface_rfb_320",
        "fastestdet_352",
        "mbv2_yolov3_nano_voc",
        "nanodet_m_416",
        "yolox_nano_416",
        "yolov8n_320",
    ];
    let Some(data) = testing::data("shared detectors") else {
        return;
    };
    for name in names {
        for device in devices() {
            if device.is_host() && !names[..2].contains(&name) {
                continue;
            }
            let graph = model(&data.join(format!("models/{name}.onnx")));
            // The files of FastestDet and NanoDet reshape and resize to a batch of one.
            let four = !device.is_host() && Program::new(&graph, &ProgramOptions::new(4)).is_ok();
            let options = ProgramOptions::new(if four { 4 } else { 1 });
            let mut cpu = cpu(&graph, &options, 2);
            let x = pattern(cpu.program().inputs()[0].len());
            // Maxima of pools and corners of activations that rounding decides otherwise move single gradients: on an H200 the bias before
            // one of UltraFace's ReLUs by 2 %.
            let far = compare(name, &mut cpu, device, &options, &[x], [5e-2, 0.0]);
            println!("{name}: {far:e}");
        }
    }
}

#[test]
fn quantizers() {
    let (graph, cases) = common::quantizers::cases(&[1, 2, 4, 8]);
    for case in cases {
        for device in devices() {
            let mut cpu = cpu(&graph, &case.options, 1);
            let inputs = std::slice::from_ref(&case.x);
            compare(&case.what, &mut cpu, device, &case.options, inputs, [1e-5, 0.0]);
        }
    }
}

/// Two executors give the same bits, and so does a second step after parameters were set.
#[test]
fn the_same_bits_again() {
    let options = ProgramOptions::new(2);
    let program = Program::new(&tiny(64), &options).unwrap();
    let x = vec![pattern(program.inputs()[0].len())];
    let run = || -> Vec<Vec<(String, Vec<f32>)>> {
        (devices().into_iter())
            .map(|device| {
                let mut cuda = Cuda::new(program.clone(), device).unwrap();
                let mut all = results(&mut cuda, &program, &x);
                for (i, p) in program.parameters().iter().enumerate() {
                    let changed: Vec<f32> = p.initial.iter().map(|v| v * 0.75).collect();
                    if p.kind.has_gradient() {
                        cuda.set_parameter(i, &changed).unwrap();
                    }
                }
                all.extend(results(&mut cuda, &program, &x));
                all
            })
            .collect()
    };
    let bits = |all: Vec<Vec<(String, Vec<f32>)>>| -> Vec<u32> {
        all.iter()
            .flatten()
            .flat_map(|(_, v)| v.iter().map(|x| x.to_bits()))
            .collect()
    };
    let first = bits(run());
    assert_eq!(first, bits(run()));
}

/// Two ranks with half of the batch each have the statistics of the whole.
#[test]
fn ranks_share_statistics() {
    let graph = tiny(32);
    let whole = ProgramOptions::new(4);
    let half = ProgramOptions::new(2);
    if devices().is_empty() {
        return;
    }
    let mut cpu = cpu(&graph, &whole, 1);
    let x = pattern(cpu.program().inputs()[0].len());
    let mut want = Vec::new();
    cpu.forward(&[&x], Mode::Train, &mut want).unwrap();
    let handles: Vec<_> = (threads::ranks(2).into_iter().enumerate())
        .map(|(r, ranks)| {
            let (graph, half) = (graph.clone(), half.clone());
            let x = x[r * x.len() / 2..(r + 1) * x.len() / 2].to_vec();
            std::thread::spawn(move || {
                let program = Program::new(&graph, &half).unwrap();
                let device = devices().remove(0);
                let mut cuda = Cuda::new(program, device).unwrap().synchronized(&ranks);
                let mut outputs = Vec::new();
                cuda.forward(&[&x], Mode::Train, &mut outputs).unwrap();
                outputs
            })
        })
        .collect();
    let parts: Vec<Vec<Vec<f32>>> = handles.into_iter().map(|h| h.join().unwrap()).collect();
    for (i, want) in want.iter().enumerate() {
        let have: Vec<f32> = parts.iter().flat_map(|p| p[i].iter().copied()).collect();
        let size = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (h, w) in have.iter().zip(want) {
            assert!((h - w).abs() <= 1e-4 * size, "{h} for {w}");
        }
    }
}

#[test]
fn faults_are_errors() {
    let graph = tiny(32);
    for device in devices() {
        let program = Program::new(&graph, &ProgramOptions::new(1)).unwrap();
        let mut cuda = Cuda::new(program, device).unwrap();
        assert!(matches!(cuda.backward(&[]), Err(ExecError::Count { .. })));
        assert!(matches!(
            cuda.set_parameter(0, &[0.0]),
            Err(ExecError::Length { .. })
        ));
        let mut none = [0.0];
        assert!(matches!(
            cuda.gradient(usize::MAX, &mut none),
            Err(ExecError::NoParameter { .. })
        ));
        let outputs: Vec<Vec<f32>> = (cuda.program().outputs().iter())
            .map(|p| vec![0.0; p.len()])
            .collect();
        assert_eq!(cuda.backward(&outputs), Err(ExecError::NoForward));
    }
}

/// Never a panic: what is missing, or that there is no such device.
#[test]
fn a_device_that_is_not_there_is_an_error() {
    let refused = Device::cuda(4096).unwrap_err();
    println!("{refused}");
    assert!(matches!(
        refused,
        CudaError::Library { .. } | CudaError::NoDevice { .. } | CudaError::Driver { .. }
    ));
}

/// Machine code for each generation that NVRTC knows.
#[test]
fn the_kernels_compile() {
    for architecture in ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90"] {
        match kernels::cuda::compile(architecture) {
            Ok(code) => println!("{architecture}: {} bytes", code.len()),
            Err(e @ CudaError::Library { .. }) => {
                return testing::skip("the_kernels_compile", "nvrtc", &e.to_string());
            }
            Err(e) => panic!("{e}"),
        }
    }
}
