//! Dropout in front of full layers: what the masks are, and what they do to a product, its gradients and neurons over time.

mod common;

use common::pattern;
use graph::{Graph, IntegrateFire, Op, ValueId};
use tensor::{DType, Tensor};
use train::dropout::Dropout;
use train::exec::{Exec, Mode};
use train::program::ProgramOptions;

const BATCH: usize = 3;

fn gemm(graph: &mut Graph, x: ValueId, name: &str, [from, to]: [usize; 2]) -> ValueId {
    let values: Vec<f32> = pattern(from * to).iter().map(|v| v - 0.3).collect();
    let weight = graph.add_constant(
        &format!("{name}.weight"),
        Tensor::new(vec![to, from], values).unwrap(),
    );
    let op = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    graph.add_node(op, &[x, weight], name)
}

fn input(columns: usize) -> (Graph, ValueId) {
    let mut graph = Graph::new("dropout");
    let x = graph.add_value("x", Some(DType::F32), Some(vec![Some(BATCH), Some(columns)]));
    graph.inputs.push(x);
    (graph, x)
}

fn finished(mut graph: Graph, y: ValueId) -> Graph {
    graph.outputs.push(y);
    graph::shape::infer(&mut graph).unwrap();
    graph
}

fn options(dropout: bool) -> ProgramOptions {
    ProgramOptions {
        dropout,
        input_gradients: true,
        ..ProgramOptions::new(BATCH)
    }
}

/// Masks of a run at a step.
fn masks(cpu: &train::exec::Cpu, rate: f32, seed: u64, step: u64) -> Vec<Vec<f32>> {
    let mut dropout = Dropout::new(cpu.program(), rate, seed);
    dropout.draw(step);
    dropout.masks().map(<[f32]>::to_vec).collect()
}

#[test]
fn masks_are_zeros_of_the_rate_and_what_keeps_the_mean_and_follow_from_seed_and_step() {
    let (mut graph, x) = input(4000);
    let y = gemm(&mut graph, x, "full", [4000, 2]);
    let cpu = common::cpu(&finished(graph, y), &options(true), 1);
    let mask = |rate, seed, step| masks(&cpu, rate, seed, step).remove(0);
    for rate in [0.2f32, 0.5] {
        let m = mask(rate, 7, 3);
        assert_eq!(m.len(), BATCH * 4000);
        assert!(m.iter().all(|&v| v == 0.0 || v == 1.0 / (1.0 - rate)));
        let zeros = m.iter().filter(|v| **v == 0.0).count() as f32 / m.len() as f32;
        // Four standard deviations.
        assert!(
            (zeros - rate).abs() < 4.0 * (rate * (1.0 - rate) / m.len() as f32).sqrt(),
            "{zeros}"
        );
    }
    assert_eq!(mask(0.2, 7, 3), mask(0.2, 7, 3));
    assert!(mask(0.2, 7, 3) != mask(0.2, 7, 4) && mask(0.2, 7, 3) != mask(0.2, 8, 3));
    let mut off = Dropout::new(cpu.program(), 0.2, 7);
    off.draw(0);
    off.off();
    assert!(off.masks().flatten().all(|&v| v == 1.0));
}

/// y = W·(m ∘ x): the masked program on x gives the values and weight gradients of the plain one on m ∘ x, and m ∘ its input gradient.
#[test]
fn the_layer_sees_the_masked_input_forward_and_backward() {
    let (mut graph, x) = input(6);
    let y = gemm(&mut graph, x, "full", [6, 4]);
    let graph = finished(graph, y);
    let (mut plain, mut masked) = (
        common::cpu(&graph, &options(false), 1),
        common::cpu(&graph, &options(true), 1),
    );
    let mask = masks(&masked, 0.4, 1, 2).remove(0);
    assert!(mask.contains(&0.0));
    let x = pattern(BATCH * 6);
    let product: Vec<f32> = x.iter().zip(&mask).map(|(x, m)| x * m).collect();
    let run = |cpu: &mut train::exec::Cpu, inputs: &[&[f32]]| {
        let (mut outputs, mut dw, mut dx) = (Vec::new(), vec![0.0; 24], vec![0.0; BATCH * 6]);
        cpu.forward(inputs, Mode::Train, &mut outputs).unwrap();
        cpu.backward(&[pattern(BATCH * 4)]).unwrap();
        cpu.gradient(0, &mut dw).unwrap();
        cpu.input_gradient(0, &mut dx).unwrap();
        (outputs, dw, dx)
    };
    let (want, want_dw, want_dx) = run(&mut plain, &[&product]);
    let (have, dw, dx) = run(&mut masked, &[&x, &mask]);
    assert_eq!((have, dw), (want, want_dw));
    let back: Vec<f32> = want_dx.iter().zip(&mask).map(|(d, m)| d * m).collect();
    assert_eq!(dx, back);
}

/// Neurons over four steps, a layer, neurons that count: simulated with one mask a sample in all steps, which lie outermost.
#[test]
fn neurons_see_one_mask_in_all_steps() {
    const STEPS: usize = 4;
    const THRESHOLD: f32 = 0.2;
    let (mut graph, x) = input(5);
    let threshold = graph.add_constant("threshold", Tensor::scalar(THRESHOLD));
    let leak = graph.add_constant("leak", Tensor::scalar(1f32));
    let fire = |graph: &mut Graph, x: ValueId, name: &str, constant: bool| {
        let op = Op::IntegrateFire(IntegrateFire {
            steps: STEPS,
            constant,
            count: !constant,
        });
        graph.add_node(op, &[x, threshold, leak], name)
    };
    let currents = gemm(&mut graph, x, "one", [5, 6]);
    let spikes = fire(&mut graph, currents, "spikes", true);
    let currents = gemm(&mut graph, spikes, "two", [6, 2]);
    let counts = fire(&mut graph, currents, "counts", false);
    let mut cpu = common::cpu(&finished(graph, counts), &options(true), 1);
    let names: Vec<&str> = cpu.program().masks().iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["mask of one", "mask of two"]);
    let [first, second] = <[_; 2]>::try_from(masks(&cpu, 0.5, 3, 0)).unwrap();
    let x = pattern(BATCH * 5);
    let mut have = Vec::new();
    cpu.forward(&[&x, &first, &second], Mode::Train, &mut have)
        .unwrap();

    let weight = |n: usize| pattern(n).into_iter().map(|v| v - 0.3).collect::<Vec<f32>>();
    let (one, two) = (weight(30), weight(12));
    let dot =
        |w: &[f32], x: &[f32], mask: &[f32]| -> f32 { (0..w.len()).map(|i| w[i] * x[i] * mask[i]).sum() };
    let step = |u: &mut f32, current: f32| {
        *u += current;
        let fired = *u > THRESHOLD;
        *u -= if fired { THRESHOLD } else { 0.0 };
        f32::from(fired)
    };
    for sample in 0..BATCH {
        let part = |values: &[f32], n: usize| values[sample * n..(sample + 1) * n].to_vec();
        let (x, first, second) = (part(&x, 5), part(&first, 5), part(&second, 6));
        let (mut inner, mut outer, mut counts) = ([0f32; 6], [0f32; 2], [0f32; 2]);
        for _ in 0..STEPS {
            let spikes: Vec<f32> = (0..6)
                .map(|j| step(&mut inner[j], dot(&one[j * 5..j * 5 + 5], &x, &first)))
                .collect();
            for k in 0..2 {
                counts[k] += step(&mut outer[k], dot(&two[k * 6..k * 6 + 6], &spikes, &second));
            }
        }
        assert_eq!(have[0][sample * 2..sample * 2 + 2], counts, "sample {sample}");
    }
    assert!(have[0].iter().any(|&n| n > 0.0));
}
