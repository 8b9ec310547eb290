//! Spiking networks: the engine, the scalar program and a float simulation; files; other runtimes.

use graph::{Conv, EdgeQuantizer, Graph, IntegrateFire, Op, Padding, Point, ValueId, WeightAnnotation};
use kernels::{Isa, Pool};
use oracle::{Held, Program};
use tensor::{DType, Tensor};
use testing::SplitMix64;

struct Net {
    graph: Graph,
    random: SplitMix64,
}

impl Net {
    fn new(seed: u64, input: &[usize], edge: EdgeQuantizer) -> (Net, ValueId) {
        let mut graph = Graph::new("spiking");
        let dims = input.iter().copied().map(Some).collect();
        let x = graph.add_value("x", Some(DType::F32), Some(dims));
        graph.inputs.push(x);
        graph.edges.insert(x, edge);
        (
            Net {
                graph,
                random: SplitMix64(seed),
            },
            x,
        )
    }

    /// Six bits, one scale or one per output channel.
    fn weight(&mut self, name: &str, shape: &[usize], scales: Vec<f32>) -> ValueId {
        let count = shape.iter().product();
        let codes = (0..count)
            .map(|_| (self.random.below(63) as i32 - 31) as u8 & 63)
            .collect();
        let dims = shape.iter().copied().map(Some).collect();
        let id = self.graph.add_value(name, Some(DType::F32), Some(dims));
        let annotation = WeightAnnotation {
            grid: "int6".into(),
            bits: 6,
            shape: shape.to_vec(),
            axis: 0,
            levels: (0..64)
                .map(|c| if c > 31 { c - 64 } else { c })
                .map(|l| if l == -32 { 0 } else { l })
                .collect(),
            zero_points: None,
            points: vec![Point::whole(codes, scales)],
        };
        self.graph.weights.insert(id, annotation);
        id
    }

    fn conv(&mut self, x: ValueId, name: &str, shape: &[usize], scales: Vec<f32>) -> ValueId {
        let weight = self.weight(&format!("{name}.weight"), shape, scales);
        let axes = shape.len() - 2;
        let conv = Conv {
            kernel: shape[2..].to_vec(),
            strides: vec![1; axes],
            dilations: vec![1; axes],
            padding: Padding::Explicit(vec![0; 2 * axes]),
            group: 1,
        };
        self.graph.add_node(Op::Conv(conv), &[x, weight], name)
    }

    fn gemm(&mut self, x: ValueId, name: &str, shape: &[usize]) -> ValueId {
        let weight = self.weight(&format!("{name}.weight"), shape, vec![0.03125]);
        let op = Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        self.graph.add_node(op, &[x, weight], name)
    }

    fn fire(&mut self, x: ValueId, name: &str, op: IntegrateFire, threshold: f32, leak: f32) -> ValueId {
        let threshold = self
            .graph
            .add_constant(&format!("{name}.threshold"), Tensor::scalar(threshold));
        let leak = self
            .graph
            .add_constant(&format!("{name}.leak"), Tensor::scalar(leak));
        let y = self
            .graph
            .add_node(Op::IntegrateFire(op), &[x, threshold, leak], name);
        let edge = EdgeQuantizer {
            scale: 1.0,
            zero_point: 0,
            bits: op.bits(),
        };
        self.graph.edges.insert(y, edge);
        y
    }

    fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.graph.add_constant("shape", Tensor::vector(shape.to_vec()));
        let y = self
            .graph
            .add_node(Op::Reshape { allow_zero: false }, &[x, shape], "reshape");
        let edge = self.graph.edges[&x];
        self.graph.edges.insert(y, edge);
        y
    }

    fn finish(mut self, y: ValueId) -> Graph {
        self.graph.outputs.push(y);
        graph::shape::infer(&mut self.graph).unwrap();
        self.graph
    }
}

/// 3D, then 2D over merged bands, then a layer that counts, then one that only accumulates. All numbers are multiples of powers of two, so that the
/// float simulation is exact where leaks are 1.
fn network(seed: u64, steps: usize, leaks: [f32; 3], per_channel: bool) -> (Graph, Tensor) {
    let edge = EdgeQuantizer {
        scale: 0.0625,
        zero_point: 128,
        bits: 8,
    };
    let (mut net, x) = Net::new(seed, &[2, 1, 7, 5, 5], edge);
    let scales = match per_channel {
        true => vec![0.03125, 0.015625, 0.0625, 0.03125],
        false => vec![0.03125],
    };
    let each = IntegrateFire {
        steps,
        constant: false,
        count: false,
    };
    let x = net.conv(x, "c1", &[4, 1, 3, 3, 3], scales);
    let x = net.fire(
        x,
        "f1",
        IntegrateFire {
            constant: true,
            ..each
        },
        1.5,
        leaks[0],
    );
    let x = net.conv(x, "c2", &[6, 4, 3, 1, 1], vec![0.03125]);
    let x = net.fire(x, "f2", each, 0.75, leaks[1]);
    let x = net.reshape(x, &[-1, 18, 3, 3]);
    let x = net.conv(x, "c3", &[8, 18, 3, 3], vec![0.03125]);
    let x = net.fire(x, "f3", IntegrateFire { count: true, ..each }, 1.25, leaks[2]);
    let x = net.reshape(x, &[-1, 8]);
    let y = net.gemm(x, "logits", &[5, 8]);
    let mut random = SplitMix64(seed + 100);
    let input: Vec<f32> = (0..2 * 7 * 25)
        .map(|_| (random.unit() * 8.0 - 4.0) as f32)
        .collect();
    (net.finish(y), Tensor::new(vec![2, 1, 7, 5, 5], input).unwrap())
}

/// Everything that the engine shows and the program computes, byte for byte; the values by name.
fn both(graph: &Graph, input: &Tensor, isa: Isa) -> Vec<(String, Held)> {
    let program = Program::new(graph).unwrap();
    for (n, node) in graph.nodes.iter().enumerate() {
        assert_eq!(program.is_integer(n), Ok(()), "{}", node.name);
    }
    let mut want = Vec::new();
    let outputs = program
        .run(&[("x", input)], &mut |_, v, held| {
            want.push((graph.value(v).name.clone(), held.clone()))
        })
        .unwrap();
    let options = engine::Options {
        isa,
        deny_float: true,
        keep_all: true,
        ..engine::Options::default()
    };
    let plan = engine::compile(graph, &options).unwrap();
    let mut seen = 0;
    let have = plan
        .run_with(
            &Pool::new(2),
            &[("x", input)],
            &engine::RunControl::default(),
            &mut |_, v, held| {
                let name = &graph.value(v).name;
                let want = want.iter().find(|w| w.0 == *name);
                assert_eq!(Some(held), want.map(|w| &w.1), "{} {name}", isa.name());
                seen += 1;
            },
        )
        .unwrap();
    assert_eq!((have, seen), (outputs, want.len()), "{}", isa.name());
    want
}

#[test]
fn engine_and_program_agree_byte_for_byte() {
    for isa in Isa::usable() {
        for (seed, steps) in [(1, 5), (2, 1), (3, 12)] {
            for per_channel in [false, true] {
                let (graph, input) = network(seed, steps, [1.0, 0.875, 0.71], per_channel);
                let all = both(&graph, &input, isa);
                let sums = all.iter().filter(|v| matches!(v.1, Held::Sums(_))).count();
                assert_eq!(sums, 3, "sums of three layers reach neurons");
                // Something fires, and not everything.
                for (name, held) in all.iter().filter(|v| v.0.starts_with('f')) {
                    let Held::Codes(codes) = held else {
                        panic!("{name} holds no codes")
                    };
                    let codes = codes.as_u8().unwrap();
                    assert!(codes.contains(&0) && codes.iter().any(|&q| q > 0), "{name}");
                }
            }
        }
    }
}

/// Leak 1 and thresholds that are whole in units of the sums: integers and the float simulation fire alike.
#[test]
fn without_leak_integers_are_the_float_simulation() {
    for seed in 0..6 {
        let (graph, input) = network(10 + seed, 5, [1.0; 3], false);
        let integer = both(&graph, &input, Isa::best());
        let codes = graph.edges[&graph.inputs[0]];
        let rounded: Vec<f32> = input
            .as_f32()
            .unwrap()
            .iter()
            .map(|&x| codes.dequantize(codes.quantize(x)))
            .collect();
        let rounded = Tensor::new(input.shape().to_vec(), rounded).unwrap();
        let mut plain = graph.clone();
        plain.edges.clear();
        let mut seen = 0;
        let logits = Program::new(&plain)
            .unwrap()
            .run(&[("x", &rounded)], &mut |_, v, held| {
                let name = &plain.value(v).name;
                if let (true, Held::Real(t)) = (name.starts_with('f'), held) {
                    let want = integer.iter().find(|w| w.0 == *name).map(|w| &w.1);
                    let Some(Held::Codes(codes)) = want else {
                        panic!("{name}")
                    };
                    let codes: Vec<f32> = codes.as_u8().unwrap().iter().map(|&q| f32::from(q)).collect();
                    assert_eq!(t.as_f32().unwrap(), codes, "{name}");
                    seen += 1;
                }
            })
            .unwrap();
        assert_eq!(seen, 3);
        let want = integer.iter().find(|w| w.0 == "logits").map(|w| &w.1);
        assert_eq!(Some(&Held::Real(logits[0].1.clone())), want);
    }
}

fn vectors() -> serde_json::Value {
    serde_json::from_str(testing::SNN_VECTORS).unwrap()
}

fn integers(v: &serde_json::Value) -> Vec<i64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_i64().unwrap())
        .collect()
}

/// What neurons of integer weights `[out, in]`, leak 1, do with the spikes `[steps, in]`, on every instruction set.
fn layer(weights: &[i64], threshold: i64, op: IntegrateFire, input: &[i64]) -> Vec<u8> {
    let rows = if op.constant { 1 } else { op.steps };
    let (inputs, spikes) = (
        input.len() / rows,
        EdgeQuantizer {
            scale: 1.0,
            zero_point: 0,
            bits: 1,
        },
    );
    let (mut net, x) = Net::new(0, &[rows, inputs], spikes);
    let y = net.gemm(x, "layer", &[weights.len() / inputs, inputs]);
    let weight = net.graph.find("layer.weight").unwrap();
    let codes = weights.iter().map(|&p| p as u8 & 63).collect();
    net.graph.weights.get_mut(&weight).unwrap().points = vec![Point::whole(codes, vec![1.0])];
    let y = net.fire(y, "neurons", op, threshold as f32, 1.0);
    let graph = net.finish(y);
    let input: Vec<f32> = input.iter().map(|&s| s as f32).collect();
    let input = Tensor::new(vec![rows, inputs], input).unwrap();
    let mut fired = Isa::usable().into_iter().map(|isa| {
        let all = both(&graph, &input, isa);
        let Some(Held::Codes(fired)) = all.iter().find(|v| v.0 == "neurons").map(|v| &v.1) else {
            panic!("no spikes");
        };
        fired.as_u8().unwrap().to_vec()
    });
    let first = fired.next().unwrap();
    assert!(fired.all(|other| other == first));
    first
}

/// Integer weights, spikes in, spikes out: the numbers of an independent program. What is left in the membranes shows in one step more, whose current
/// brings each just to its threshold, and then one above it.
#[test]
fn a_layer_fires_and_keeps_what_is_published() {
    let all = vectors();
    let case = &all["int_layer"];
    let [p, spikes, left] = ["p", "spikes_in", "u_final"].map(|k| integers(&case[k]));
    let number = |k: &str| case[k].as_u64().unwrap() as usize;
    let (steps, inputs, threshold) = (number("T"), number("cols"), case["v_int"].as_i64().unwrap());
    let want: Vec<u8> = case["spikes_out"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(integers)
        .map(|s| s as u8)
        .collect();
    let op = IntegrateFire {
        steps,
        constant: false,
        count: false,
    };
    assert_eq!(layer(&p, threshold, op, &spikes), want);
    for (more, fires) in [(0, 0), (1, 1)] {
        // Two inputs that are active in the last step alone: weights have six bits.
        let mut weights = Vec::new();
        for (row, u) in p.chunks(inputs).zip(&left) {
            let missing = threshold - u + more;
            weights.extend([row, &[missing / 2, missing - missing / 2]].concat());
        }
        let mut input: Vec<i64> = spikes
            .chunks(inputs)
            .flat_map(|s| [s, &[0, 0]].concat())
            .collect();
        input.extend([vec![0; inputs], vec![1, 1]].concat());
        let op = IntegrateFire {
            steps: steps + 1,
            ..op
        };
        let have = layer(&weights, threshold, op, &input);
        assert_eq!(have, [&want[..], &vec![fires; left.len()]].concat());
    }
}

#[test]
fn constant_currents_fire_as_often_as_published() {
    for case in vectors()["constant_current"].as_array().unwrap() {
        let [steps, current, threshold, want] = ["T", "I", "v", "spikes"].map(|k| case[k].as_i64().unwrap());
        let op = IntegrateFire {
            steps: steps as usize,
            constant: true,
            count: true,
        };
        assert_eq!(layer(&[current], threshold, op, &[1]), [want as u8], "{case}");
    }
}

#[test]
fn the_packed_file_comes_back_and_onnxruntime_fires_alike() {
    let (graph, input) = network(20, 5, [1.0, 0.875, 0.75], false);
    let bytes = graph::onnx::write(&graph, &Default::default()).unwrap();
    let back = graph::onnx::read(&bytes, &Default::default()).unwrap();
    let mut back = back;
    graph::shape::infer(&mut back).unwrap();
    let names = |g: &Graph| {
        g.nodes
            .iter()
            .map(|n| (n.name.clone(), n.op.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&back), names(&graph));
    let own = both(&back, &input, Isa::best());
    assert_eq!(own.len(), both(&graph, &input, Isa::best()).len());
    let refused = graph::onnx::write(
        &graph,
        &graph::onnx::WriteOptions {
            form: graph::onnx::Form::Qdq,
            ..Default::default()
        },
    );
    assert!(refused.unwrap_err().to_string().contains("f1"));
    let test = "spiking_onnxruntime";
    let Some(python) = testing::python(test) else {
        return;
    };
    let folder = testing::scratch(test);
    let [model, x, y] = ["model.onnx", "x.f32", "y.bin"].map(|name| folder.join(name));
    std::fs::write(&model, &bytes).unwrap();
    let raw: Vec<u8> = input
        .as_f32()
        .unwrap()
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    std::fs::write(&x, raw).unwrap();
    testing::run_script(&python, "tools/goldens/run_onnx.py", &[&model, &x, &y]);
    let Some(Held::Real(want)) = own.iter().find(|w| w.0 == "logits").map(|w| w.1.clone()) else {
        panic!("no logits");
    };
    let want: Vec<u8> = want
        .as_f32()
        .unwrap()
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    // The file ends with the elements of its only tensor.
    assert!(std::fs::read(&y).unwrap().ends_with(&want));
}
