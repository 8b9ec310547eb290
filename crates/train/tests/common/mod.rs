//! What tests of programs share.
#![allow(dead_code)]

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod quantizers;
pub(crate) mod reference;

use std::path::Path;
use std::sync::Arc;

use graph::Graph;
use kernels::{Isa, Pool};
use train::exec::{Cpu, Exec, Mode};
use train::program::{ParameterKind, Program, ProgramOptions};

/// Numbers in 0..1 that `tools/goldens/train_torch.py` makes in the same way.
pub(crate) fn pattern(n: usize) -> Vec<f32> {
    let at = |i: u64| {
        (((i.wrapping_mul(2_654_435_761).wrapping_add(12_345)) % (1 << 32)) >> 8) as f64 / (1u64 << 24) as f64
    };
    (0..n as u64).map(|i| at(i) as f32).collect()
}

/// ±1, of the same script.
pub(crate) fn sign(i: usize) -> f64 {
    let bits = ((i as u64).wrapping_mul(2_246_822_519).wrapping_add(7) % (1 << 32)) >> 16;
    1.0 - 2.0 * (bits & 1) as f64
}

/// A model, simplified with BatchNormalization left.
pub(crate) fn model(path: &Path) -> Graph {
    let mut graph = graph::onnx::read_file(path, &Default::default()).unwrap();
    graph::passes::simplify_for_training(&mut graph, &oracle::Reference, &Default::default()).unwrap();
    graph
}

pub(crate) fn cpu(graph: &Graph, options: &ProgramOptions, threads: usize) -> Cpu {
    let program = Program::new(graph, options).unwrap();
    Cpu::new(program, Arc::new(Pool::new(threads)), Isa::best()).unwrap()
}

/// Loss = Σ over outputs of mean(y²) / 2, and its gradients.
pub(crate) fn square_loss(outputs: &[Vec<f32>]) -> (f64, Vec<Vec<f32>>) {
    let loss = outputs
        .iter()
        .map(|y| y.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / (2 * y.len()) as f64)
        .sum();
    let gradients = outputs
        .iter()
        .map(|y| y.iter().map(|&v| v / y.len() as f32).collect())
        .collect();
    (loss, gradients)
}

/// A training step on one input; gives the loss.
pub(crate) fn step(cpu: &mut Cpu, x: &[f32], rate: f32) -> f64 {
    let mut outputs = Vec::new();
    cpu.forward(&[x], Mode::Train, &mut outputs).unwrap();
    let (loss, gradients) = square_loss(&outputs);
    cpu.backward(&gradients).unwrap();
    for i in 0..cpu.program().parameters().len() {
        let p = &cpu.program().parameters()[i];
        if !p.kind.has_gradient() || rate == 0.0 {
            continue;
        }
        let (mut value, mut gradient) = (vec![0.0; p.len()], vec![0.0; p.len()]);
        cpu.parameter(i, &mut value).unwrap();
        cpu.gradient(i, &mut gradient).unwrap();
        for (v, g) in value.iter_mut().zip(&gradient) {
            *v -= rate * g;
        }
        cpu.set_parameter(i, &value).unwrap();
    }
    loss
}

/// Name of a parameter in the golden files.
pub(crate) fn golden_name(kind: &ParameterKind) -> String {
    match kind {
        ParameterKind::Weight { node } => format!("{node}:weight"),
        ParameterKind::Bias { node } => format!("{node}:bias"),
        ParameterKind::Scale { node } => format!("{node}:scale"),
        ParameterKind::Shift { node } => format!("{node}:shift"),
        other => format!("{other:?}"),
    }
}
