//! CPU time of training steps: `step_speed MODEL.onnx BATCH STEPS [THREADS] [--profile] [--quantize]`. `tools/results/training_speed.py` runs it beside
//! PyTorch on the same graph.
//!
//! A step is forward, loss = Σ mean(y²) / 2, backward, and SGD with momentum 0.9 and weight decay 1e-4. Prints milliseconds of process
//! CPU time per step, the losses of the first three, and the peak memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use graph::{Binary, Op, Unary};
use kernels::{Isa, Pool};
use train::exec::{Cpu, Exec, Mode};
use train::program::{FakeQuantizer, Program, ProgramOptions, QuantizerGradient, Rounding};

/// CPU seconds of this process, all threads.
fn cpu_seconds() -> f64 {
    let mut all = 0.0;
    for task in std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        all += text
            .split_whitespace()
            .next()
            .and_then(|n| n.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 1e9;
    }
    all
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}

/// 8 bits, straight through, on the output of every activation and sum.
fn quantizers(graph: &graph::Graph) -> Vec<FakeQuantizer> {
    let zero_point = |op: &Op| match op {
        Op::Unary(Unary::Relu) | Op::Clip => Some(0),
        Op::Binary(Binary::Add) => Some(128),
        _ => None,
    };
    let of = |node: &graph::Node| {
        Some(FakeQuantizer {
            edge: graph.value(*node.outputs.first()?).name.clone(),
            bits: 8,
            step: 0.05,
            zero_point: zero_point(&node.op)?,
            rounding: Rounding::Nearest,
            gradient: QuantizerGradient::Fixed,
            step_of: None,
        })
    };
    graph.nodes.iter().filter_map(of).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let path = arguments.first().expect("a model file");
    let (batch, steps, threads) = (number(1, 16), number(2, 5), number(3, 1));
    let profile = arguments.iter().any(|a| a == "--profile");
    let mut graph = graph::onnx::read_file(path.as_ref(), &Default::default()).expect("a model");
    graph::passes::simplify_for_training(&mut graph, &graph::NoEvaluator, &Default::default())
        .expect("a graph");
    let mut options = ProgramOptions::new(batch);
    if arguments.iter().any(|a| a == "--quantize") {
        options.quantizers = quantizers(&graph);
    }
    let program = Program::new(&graph, &options).expect("a trainable graph");
    let mut cpu = Cpu::new(program, Arc::new(Pool::new(threads)), Isa::best()).expect("memory");
    let x: Vec<f32> = (0..cpu.program().inputs()[0].len() as u64)
        .map(|i| ((((i * 2_654_435_761 + 12_345) % (1 << 32)) >> 8) as f64 / f64::from(1 << 24)) as f32)
        .collect();
    let sizes: Vec<(usize, bool)> = cpu
        .program()
        .parameters()
        .iter()
        .map(|p| (p.len(), p.kind.has_gradient()))
        .collect();
    let mut values: Vec<Vec<f32>> = cpu
        .program()
        .parameters()
        .iter()
        .map(|p| p.initial.clone())
        .collect();
    let mut momenta: Vec<Vec<f32>> = sizes.iter().map(|s| vec![0.0; s.0]).collect();
    let mut gradient = vec![0f32; sizes.iter().map(|s| s.0).max().unwrap_or(0)];
    let (mut outputs, mut gradients): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (Vec::new(), Vec::new());
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    let mut walls = Vec::new();
    for step in 0..steps + 3 {
        if profile && step == 3 {
            cpu.profile(true);
        }
        let (start, wall) = (cpu_seconds(), Instant::now());
        cpu.forward(&[&x], Mode::Train, &mut outputs).expect("forward");
        gradients.resize_with(outputs.len(), Vec::new);
        let mut loss = 0.0;
        for (y, d) in outputs.iter().zip(&mut gradients) {
            let n = y.len() as f32;
            d.clear();
            d.extend(y.iter().map(|v| v / n));
            loss += y.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / f64::from(2.0 * n);
        }
        cpu.backward(&gradients).expect("backward");
        for (i, &(n, trained)) in sizes.iter().enumerate().filter(|(_, s)| s.1) {
            let _ = trained;
            cpu.gradient(i, &mut gradient[..n]).expect("gradient");
            for ((v, m), g) in values[i].iter_mut().zip(&mut momenta[i]).zip(&gradient) {
                *m = 0.9 * *m + g + 1e-4 * *v;
                *v -= 1e-4 * *m;
            }
            cpu.set_parameter(i, &values[i]).expect("parameter");
        }
        losses.push(loss);
        if step >= 3 {
            times.push((cpu_seconds() - start) * 1e3);
            walls.push(wall.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    walls.sort_by(f64::total_cmp);
    println!(
        "cpu_ms {:.2} wall_ms {:.2} peak_mib {:.0} losses {:?}",
        times[times.len() / 2],
        walls[walls.len() / 2],
        peak_mib(),
        &losses[..3]
    );
    if profile {
        let mut by: BTreeMap<&str, f64> = BTreeMap::new();
        for (instruction, seconds) in cpu.program().instructions().zip(cpu.seconds()) {
            *by.entry(instruction.name()).or_default() += seconds * 1e3 / steps as f64;
        }
        let mut by: Vec<_> = by.into_iter().collect();
        by.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (name, ms) in by {
            println!("{ms:9.2} {name}");
        }
        let mut each: Vec<_> = cpu.program().instructions().zip(cpu.seconds()).collect();
        each.sort_by(|a, b| b.1.total_cmp(a.1));
        for (instruction, seconds) in each.iter().take(25) {
            println!("{:9.2} {instruction}", *seconds * 1e3 / steps as f64);
        }
    }
}
