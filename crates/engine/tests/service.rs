//! A plan as a service: many callers, cancellation, limits, refusals.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Kind, normals, random_graph};
use engine::{CompileError, Numbers, Options, Plan, RunControl, RunError, Step, compile};
use graph::Graph;
use kernels::Pool;
use tensor::Tensor;
use testing::SplitMix64;

fn plan(g: &Graph) -> Plan {
    compile(g, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn sixty_four_callers_get_the_same_bytes() {
    let (g, input) = random_graph(77, Kind::Quantized, 14);
    let plan = plan(&g);
    let pool = Pool::new(2);
    let mut rng = SplitMix64(1);
    let inputs: Vec<Tensor> = (0..4).map(|_| normals(&mut rng, input.shape())).collect();
    let want: Vec<_> = inputs
        .iter()
        .map(|x| plan.run(&pool, &[("x", x)]).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for caller in 0..64 {
            let (plan, pool, inputs, want) = (&plan, &pool, &inputs, &want);
            scope.spawn(move || {
                for i in 0..20 {
                    let i = (i + caller) % inputs.len();
                    assert!(plan.run(pool, &[("x", &inputs[i])]).unwrap() == want[i]);
                }
            });
        }
    });
}

#[test]
fn a_cancelled_run_stops_before_the_next_node_and_the_plan_stays_usable() {
    let (g, input) = random_graph(5, Kind::Float, 16);
    let options = Options {
        keep_all: true,
        ..Options::default()
    };
    let plan = compile(&g, &options).unwrap();
    let pool = Pool::new(2);
    let want = plan.run(&pool, &[("x", &input)]).unwrap();
    for stop_after in 1..6 {
        let cancel = AtomicBool::new(false);
        let control = RunControl {
            cancel: Some(&cancel),
            ..RunControl::default()
        };
        let mut seen = 0;
        let result = plan.run_with(&pool, &[("x", &input)], &control, &mut |_, _, _| {
            seen += 1;
            if seen == stop_after {
                cancel.store(true, Ordering::Relaxed);
            }
        });
        assert!(matches!(result, Err(RunError::Cancelled { .. })), "{result:?}");
        assert!(plan.run(&pool, &[("x", &input)]).unwrap() == want);
    }
    let past = RunControl {
        deadline: Some(Instant::now()),
        ..RunControl::default()
    };
    let late = plan.run_until(&pool, &[("x", &input)], &past);
    assert!(matches!(late, Err(RunError::Deadline { .. })), "{late:?}");
    let future = RunControl {
        deadline: Some(Instant::now() + Duration::from_secs(600)),
        ..RunControl::default()
    };
    assert!(
        plan.run_with(&pool, &[("x", &input)], &future, &mut |_, _, _| {})
            .unwrap()
            == want
    );
}

#[test]
fn a_limit_is_kept_before_anything_is_allocated() {
    let (g, input) = random_graph(9, Kind::Quantized, 14);
    let need = plan(&g).memory().total();
    let limited = |limit_bytes| {
        let options = Options {
            limit_bytes: Some(limit_bytes),
            ..Options::default()
        };
        compile(&g, &options)
    };
    let error = limited(need - 1).unwrap_err();
    assert!(
        matches!(error, CompileError::Memory { need: n, limit, .. } if n == need && limit == need - 1),
        "{error}"
    );
    assert!(error.to_string().contains("--limit-mem"), "{error}");
    // One scratch memory fits: callers take turns, and all of them are served.
    let plan = limited(need).unwrap();
    let pool = Pool::new(1);
    let want = plan.run(&pool, &[("x", &input)]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert!(plan.run(&pool, &[("x", &input)]).unwrap() == want);
                }
            });
        }
    });
}

#[test]
fn float_products_are_refused_by_name() {
    let strict = Options {
        deny_float: true,
        ..Options::default()
    };
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..60 {
        let (g, _) = random_graph(seed, Kind::Quantized, 8);
        let plan = plan(&g);
        let float: Vec<&str> = plan
            .layers()
            .iter()
            .filter(|l| l.product && l.numbers != Numbers::Integer)
            .map(|l| l.name.as_str())
            .collect();
        match compile(&g, &strict) {
            Ok(plan) => {
                accepted += 1;
                assert!(float.is_empty());
                assert!(plan.layers().iter().all(|l| !l.product) || plan.integer_mac_share() == 1.0);
            }
            Err(CompileError::FloatProducts { nodes }) => {
                refused += 1;
                assert_eq!(nodes.iter().map(|n| n.0.as_str()).collect::<Vec<_>>(), float);
                assert!(nodes.iter().all(|(_, reason)| !reason.is_empty()));
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert!(
        refused > 5 && accepted > 5,
        "{refused} refused, {accepted} accepted"
    );
}

#[test]
fn wrong_inputs_get_a_sentence() {
    let (g, input) = random_graph(3, Kind::Float, 6);
    let plan = plan(&g);
    let pool = Pool::new(1);
    let message = |inputs: &[(&str, &Tensor)]| plan.run(&pool, inputs).unwrap_err().to_string();
    assert_eq!(
        message(&[]),
        "input \"x\" is missing; the plan's inputs are \"x\""
    );
    let unknown = message(&[("x", &input), ("y", &input)]);
    assert_eq!(unknown, "there is no input \"y\"; the plan's inputs are \"x\"");
    let flat = Tensor::vector(vec![0u8; 3]);
    let wrong = message(&[("x", &flat)]);
    assert!(
        wrong.starts_with("input \"x\" is U8 [3], the plan was compiled for F32 ["),
        "{wrong}"
    );
}

#[test]
fn a_dynamic_input_is_refused_with_the_way_out() {
    let (mut g, _) = random_graph(3, Kind::Float, 6);
    let x = g.inputs[0];
    g.value_mut(x).shape = Some(vec![None, Some(3), Some(8), Some(8)]);
    let error = compile(&g, &Options::default()).unwrap_err().to_string();
    assert!(
        error.starts_with("input \"x\": its shape is not fixed; give every dimension"),
        "{error}"
    );
}

#[test]
fn one_node_alone_gives_what_it_gives_in_the_graph() {
    let pool = Pool::new(2);
    let mut steps = 0;
    for seed in 0..30 {
        let (g, input) = random_graph(seed, Kind::Float, 8);
        let values = common::float_values(&g, &input);
        for (n, node) in g.nodes.iter().enumerate() {
            let mut given: Vec<&Tensor> = Vec::new();
            let mut names = Vec::new();
            for v in node.inputs.iter().flatten() {
                if !g.is_constant(*v) && !names.contains(v) {
                    names.push(*v);
                    given.push(&values[v]);
                }
            }
            let step = Step::new(&g, n, kernels::Isa::best()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let out = step.run(&pool, &given).unwrap();
            for (t, v) in out.iter().zip(&node.outputs) {
                let bits = |t: &Tensor| {
                    t.as_f32()
                        .unwrap()
                        .iter()
                        .map(|x| x.to_bits())
                        .collect::<Vec<_>>()
                };
                assert_eq!(bits(t), bits(&values[v]), "seed {seed}: {}", node.name);
            }
            steps += 1;
        }
    }
    assert!(steps > 200, "{steps}");
}

#[test]
fn times_are_given_per_layer() {
    let (g, input) = random_graph(12, Kind::Quantized, 10);
    let plan = plan(&g);
    let (outputs, times) = plan.run_timed(&Pool::new(1), &[("x", &input)]).unwrap();
    assert_eq!(times.len(), plan.layers().len());
    assert!(outputs == plan.run(&Pool::new(1), &[("x", &input)]).unwrap());
}

/// A plan is shared between threads as it is.
#[test]
fn plans_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Plan>();
    check::<Step>();
}

/// What a roofline counts: values between fused nodes are not moved.
#[test]
fn moved_bytes_are_those_that_enter_and_leave() {
    let (g, _) = random_graph(12, Kind::Float, 10);
    let fused = plan(&g);
    let apart = compile(
        &g,
        &Options {
            keep_all: true,
            ..Options::default()
        },
    )
    .unwrap();
    let total = |p: &Plan| p.layers().iter().map(|l| l.moved_bytes).sum::<usize>();
    assert!(total(&fused) > 0 && total(&fused) <= total(&apart));
    for (n, layer) in apart.layers().iter().enumerate() {
        let size = |v: &graph::ValueId| {
            g.value(*v)
                .fixed_shape()
                .map_or(0, |s| 4 * s.iter().product::<usize>())
        };
        let inputs: std::collections::BTreeSet<graph::ValueId> = g.nodes[n]
            .inputs
            .iter()
            .flatten()
            .copied()
            .filter(|v| !g.is_constant(*v))
            .collect();
        let want: usize = inputs.iter().chain(&g.nodes[n].outputs).map(size).sum();
        match layer.kernel.as_str() {
            "view" | "fused" => assert_eq!(layer.moved_bytes, 0, "{layer:?}"),
            _ => assert!(
                layer.moved_bytes <= want && layer.moved_bytes > 0,
                "{layer:?} {want}"
            ),
        }
    }
}
