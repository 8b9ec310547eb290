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

/// The steps lie outermost: a sample's mask is the same in all of them.
#[test]
fn neurons_see_one_mask_in_all_steps() {
    const STEPS: usize = 4;
    let (mut graph, x) = input(5);
    let currents = gemm(&mut graph, x, "one", [5, 6]);
    let number = |graph: &mut Graph, name: &str, v: f32| graph.add_constant(name, Tensor::scalar(v));
    let (threshold, leak) = (
        number(&mut graph, "threshold", 0.2),
        number(&mut graph, "leak", 1.0),
    );
    let op = Op::IntegrateFire(IntegrateFire {
        steps: STEPS,
        constant: true,
        count: false,
    });
    let spikes = graph.add_node(op, &[currents, threshold, leak], "neurons");
    let y = gemm(&mut graph, spikes, "two", [6, 2]);
    let graph = finished(graph, y);
    let spikes_of = {
        let mut outputs = ProgramOptions::new(BATCH);
        outputs.outputs = vec!["neurons".into()];
        let mut cpu = common::cpu(&graph, &outputs, 1);
        let mut all = Vec::new();
        cpu.forward(&[&pattern(BATCH * 5)], Mode::Evaluate, &mut all)
            .unwrap();
        all.remove(0)
    };
    let mut cpu = common::cpu(&graph, &options(true), 1);
    let names: Vec<&str> = cpu.program().masks().iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["mask of one", "mask of two"]);
    // All ones for the first layer, so that the spikes are those above.
    let second = masks(&cpu, 0.5, 3, 0).remove(1);
    let mut have = Vec::new();
    let ones = vec![1.0; BATCH * 5];
    cpu.forward(&[&pattern(BATCH * 5), &ones, &second], Mode::Train, &mut have)
        .unwrap();
    let weight: Vec<f32> = pattern(12).iter().map(|v| v - 0.3).collect();
    for step in 0..STEPS {
        for sample in 0..BATCH {
            for output in 0..2 {
                let at = |i: usize| (step * BATCH + sample) * 6 + i;
                let terms =
                    (0..6).map(|i| weight[output * 6 + i] * spikes_of[at(i)] * second[sample * 6 + i]);
                let want: f32 = terms.sum();
                let got = have[0][(step * BATCH + sample) * 2 + output];
                assert!((got - want).abs() < 1e-5, "step {step}: {got} instead of {want}");
            }
        }
    }
}
