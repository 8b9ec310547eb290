//! A spiking network as a training program: the published two-layer network, and what its parts are.

mod common;

use graph::{Graph, IntegrateFire, Op, ValueId};
use tensor::{DType, Tensor};
use train::exec::{Exec, Mode};
use train::method::symmetric::Symmetric;
use train::method::{Layout, Progress, WeightMethod};
use train::program::{ParameterKind, ProgramOptions};

fn vectors() -> serde_json::Value {
    serde_json::from_str(testing::SNN_VECTORS).unwrap()
}

fn reals(v: &serde_json::Value) -> Vec<f64> {
    match v.as_array() {
        Some(list) => list.iter().flat_map(reals).collect(),
        None => vec![v.as_f64().unwrap()],
    }
}

fn narrow(v: &serde_json::Value) -> Vec<f32> {
    reals(v).into_iter().map(|x| x as f32).collect()
}

fn gemm(graph: &mut Graph, x: ValueId, name: &str, weight: &serde_json::Value) -> ValueId {
    let weight = Tensor::new(vec![2, 2], narrow(weight)).unwrap();
    let weight = graph.add_constant(&format!("{name}.weight"), weight);
    let op = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    graph.add_node(op, &[x, weight], name)
}

/// Counted spikes ahead of the last layer are its outputs summed over the steps: loss and gradients are the published ones.
#[test]
fn gradients_of_the_program_are_the_published_ones() {
    let all = vectors();
    let case = &all["bptt"];
    let mut graph = Graph::new("published");
    let x = graph.add_value("x", Some(DType::F32), Some(vec![Some(1), Some(2)]));
    graph.inputs.push(x);
    let currents = gemm(&mut graph, x, "one", &case["W1"]);
    let number = |graph: &mut Graph, name: &str, value: &serde_json::Value| {
        graph.add_constant(name, Tensor::scalar(value.as_f64().unwrap() as f32))
    };
    let threshold = number(&mut graph, "threshold", &case["v"]);
    let leak = number(&mut graph, "leak", &case["leak"]);
    let op = Op::IntegrateFire(IntegrateFire {
        steps: 5,
        constant: true,
        count: true,
    });
    let counts = graph.add_node(op, &[currents, threshold, leak], "neurons");
    let y = gemm(&mut graph, counts, "two", &case["W2"]);
    graph.outputs.push(y);
    graph::shape::infer(&mut graph).unwrap();
    let mut cpu = common::cpu(&graph, &ProgramOptions::new(1), 2);
    let mut outputs = Vec::new();
    cpu.forward(&[&narrow(&case["x"])], Mode::Train, &mut outputs)
        .unwrap();
    let want = narrow(&case["out"]);
    assert!(outputs[0].iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5));
    let exp: Vec<f64> = reals(&case["out"]).iter().map(|z| z.exp()).collect();
    let total: f64 = exp.iter().sum();
    let label = case["label"].as_u64().unwrap() as usize;
    let p = (0..2).map(|c| (exp[c] / total - f64::from(u8::from(c == label))) as f32);
    cpu.backward(&[p.collect()]).unwrap();
    let parameters = cpu.program().parameters().to_vec();
    for (index, parameter) in parameters.iter().enumerate() {
        let want = match (&parameter.kind, parameter.name.as_str()) {
            (ParameterKind::Threshold { .. }, _) => reals(&case["dv"]),
            (ParameterKind::Leak { .. }, _) => reals(&case["dleak"]),
            (_, "one.weight") => reals(&case["dW1"]),
            _ => reals(&case["dW2"]),
        };
        let mut have = vec![0.0; parameter.len()];
        cpu.gradient(index, &mut have).unwrap();
        for (have, want) in have.iter().zip(want) {
            assert!(
                (f64::from(*have) - want).abs() < 1e-5,
                "{}: {have} instead of {want}",
                parameter.name
            );
        }
    }
    assert_eq!(parameters.len(), 4);
}

#[test]
fn six_bits_are_the_published_codes() {
    let all = vectors();
    let case = &all["wq6"];
    let w = narrow(&case["w"]);
    let layout = Layout {
        shape: vec![1, w.len()],
        axis: 0,
    };
    let grid = format!("int{}", case["bits"]).parse().unwrap();
    let mut method = Symmetric::new(grid, quant::Granularity::Tensor, layout).unwrap();
    let mut projected = vec![0.0; w.len()];
    method
        .project(&w, &Progress { step: 0, steps: 1 }, &mut projected)
        .unwrap();
    let annotation = method.annotation().unwrap();
    annotation.check().unwrap();
    let want: Vec<i32> = reals(&case["q"]).into_iter().map(|q| q as i32).collect();
    assert_eq!(annotation.integer_levels(0), want);
    assert!((f64::from(annotation.points[0].scales[0]) - case["scale"].as_f64().unwrap()).abs() < 1e-9);
    assert_eq!(annotation.decode(), projected);
    // Straight through: the gradient stays as it is.
    let mut gradient = vec![0.5; w.len()];
    method.gradient(&w, &projected, &mut gradient);
    assert_eq!(gradient, vec![0.5; w.len()]);
    assert!(
        Symmetric::new(
            "lbw4".parse().unwrap(),
            quant::Granularity::Tensor,
            Layout {
                shape: vec![1],
                axis: 0
            }
        )
        .is_none()
    );
}
