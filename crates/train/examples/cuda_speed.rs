//! Time of training steps on a CUDA device and on all cores: `cuda_speed MODEL.onnx BATCH STEPS [DEVICE]`.
//!
//! A step is forward, loss = Σ mean(y²) / 2, backward, all gradients read, and plain descent on this side. Prints the median time of a step and the losses
//! of the first three, which are to agree.

use std::sync::Arc;
use std::time::Instant;

use kernels::cuda::Device;
use kernels::{Isa, Pool};
use train::exec::{Cpu, Cuda, Exec, Mode};
use train::program::{Program, ProgramOptions};

/// Median milliseconds of a step, and of its forward and backward, and the first losses.
fn time(exec: &mut dyn Exec, program: &Program, steps: usize) -> ([f64; 2], Vec<f64>) {
    let x: Vec<f32> = (0..program.inputs()[0].len() as u64)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8 & 0xff_ffff) as f32 / (1 << 24) as f32)
        .collect();
    let mut values: Vec<Vec<f32>> = program.parameters().iter().map(|p| p.initial.clone()).collect();
    let (mut outputs, mut losses) = (Vec::new(), Vec::new());
    let (mut whole, mut inner) = (Vec::new(), Vec::new());
    for step in 0..steps + 3 {
        let begin = Instant::now();
        exec.forward(&[&x], Mode::Train, &mut outputs).expect("forward");
        let scaled = |y: &Vec<f32>| y.iter().map(|v| v / y.len() as f32).collect();
        let gradients: Vec<Vec<f32>> = outputs.iter().map(scaled).collect();
        exec.backward(&gradients).expect("backward");
        let between = begin.elapsed();
        for (i, p) in program.parameters().iter().enumerate() {
            if p.kind.has_gradient() {
                let mut gradient = vec![0.0; p.len()];
                exec.gradient(i, &mut gradient).expect("gradient");
                values[i]
                    .iter_mut()
                    .zip(&gradient)
                    .for_each(|(v, g)| *v -= 1e-4 * g);
                exec.set_parameter(i, &values[i]).expect("parameter");
            }
        }
        let mean =
            |y: &Vec<f32>| y.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / (2 * y.len()) as f64;
        match step {
            0..3 => losses.push(outputs.iter().map(mean).sum()),
            _ => {
                whole.push(begin.elapsed().as_secs_f64() * 1e3);
                inner.push(between.as_secs_f64() * 1e3);
            }
        }
    }
    let median = |list: &mut Vec<f64>| {
        list.sort_by(f64::total_cmp);
        list[list.len() / 2]
    };
    ([median(&mut whole), median(&mut inner)], losses)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let path = arguments.first().expect("a model file");
    let (batch, steps) = (number(1, 16), number(2, 10).max(1));
    let mut graph = graph::onnx::read_file(path.as_ref(), &Default::default()).expect("a model");
    graph::passes::simplify_for_training(&mut graph, &graph::NoEvaluator, &Default::default())
        .expect("a graph");
    let program = Program::new(&graph, &ProgramOptions::new(batch)).expect("a trainable graph");
    let device = Device::cuda(number(3, 0)).expect("a CUDA device");
    let mut cuda = Cuda::new(program.clone(), device).expect("memory of the device");
    let ([whole, inner], losses) = time(&mut cuda, &program, steps);
    println!(
        "{path} batch {batch} on {}: step {whole:.2} ms, forward and backward {inner:.2} ms, {} MiB, losses {losses:?}",
        cuda.device(),
        cuda.device_bytes() >> 20
    );
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut cpu = Cpu::new(program.clone(), Arc::new(Pool::new(threads)), Isa::best()).expect("memory");
    let ([whole, inner], losses) = time(&mut cpu, &program, 3);
    println!(
        "{path} batch {batch} on {threads} threads: step {whole:.2} ms, forward and backward {inner:.2} ms, losses {losses:?}"
    );
}
