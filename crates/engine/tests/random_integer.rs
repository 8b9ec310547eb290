//! Random quantized graphs: every node's codes and values equal the oracle's program, bit for bit.

mod common;

use std::collections::HashMap;

use common::{Kind, random_graph};
use engine::{Held, Numbers, Options, RunControl, compile};
use graph::ValueId;
use kernels::{Isa, Pool};
use oracle::Program;
use tensor::Tensor;

fn same(a: &Tensor, b: &Tensor) -> bool {
    match (a.as_f32(), b.as_f32()) {
        (Some(x), Some(y)) => {
            a.shape() == b.shape()
                && x.iter()
                    .zip(y)
                    .all(|(x, y)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()))
        }
        _ => a == b,
    }
}

fn equal(engine: &Held, oracle: &Held) -> bool {
    match (engine, oracle) {
        (Held::Codes(a), Held::Codes(b)) | (Held::Real(a), Held::Real(b)) => same(a, b),
        _ => false,
    }
}

#[test]
fn random_quantized_graphs_equal_the_program() {
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3)];
    let (mut integer, mut float) = (0, 0);
    for seed in 0..300 {
        let (g, input) = random_graph(seed, Kind::Quantized, 4 + (seed % 16) as usize);
        let program = Program::new(&g).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let mut want: HashMap<ValueId, Held> = HashMap::new();
        let results = program.run(&[("x", &input)], &mut |_, v, held| {
            drop(want.insert(v, held.clone()))
        });
        let results = results.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        for isa in Isa::usable() {
            for keep_all in [true, false] {
                let options = Options {
                    isa,
                    keep_all,
                    ..Options::default()
                };
                let plan = compile(&g, &options).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                for (n, layer) in plan.layers().iter().enumerate() {
                    let ours = layer.numbers == Numbers::Integer;
                    let theirs = program.is_integer(n);
                    assert_eq!(
                        ours,
                        theirs.is_ok(),
                        "seed {seed}: {} ({}): engine {:?}, oracle {theirs:?}\n{plan}",
                        layer.name,
                        layer.op,
                        layer.numbers
                    );
                    *(if ours { &mut integer } else { &mut float }) += 1;
                }
                let pool = &pools[(seed as usize + usize::from(keep_all)) % 3];
                let out = plan.run_with(
                    pool,
                    &[("x", &input)],
                    &RunControl::default(),
                    &mut |n, v, held| {
                        assert!(
                            equal(held, &want[&v]),
                            "seed {seed}, {isa:?}, keep {keep_all}: node {} ({})\n{plan}",
                            g.nodes[n].name,
                            g.nodes[n].op.name()
                        );
                    },
                );
                let out = out.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{plan}"));
                for ((name, t), (other, u)) in out.iter().zip(&results) {
                    assert_eq!(name, other);
                    assert!(
                        same(t, u),
                        "seed {seed}, {isa:?}, keep {keep_all}: output {name}\n{plan}"
                    );
                }
            }
        }
    }
    println!("{integer} integer nodes, {float} float ones");
    assert!(integer > 2 * float, "{integer} integer nodes, {float} float ones");
}
