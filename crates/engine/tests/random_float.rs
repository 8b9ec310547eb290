//! Random float graphs: every node's output equals the oracle's, bit for bit.

mod common;

use common::{Kind, float_values, random_graph};
use engine::{Held, Options, RunControl, compile};
use kernels::{Isa, Pool};
use tensor::Tensor;

fn same(a: &Tensor, b: &Tensor) -> bool {
    let pairs = || a.as_f32().unwrap().iter().zip(b.as_f32().unwrap());
    a.shape() == b.shape() && pairs().all(|(x, y)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()))
}

#[test]
fn random_float_graphs_equal_the_oracle() {
    let pools = [Pool::new(1), Pool::new(3)];
    for seed in 0..250 {
        let (g, input) = random_graph(seed, Kind::Float, 4 + (seed % 14) as usize);
        let want = float_values(&g, &input);
        for isa in Isa::usable() {
            for keep_all in [true, false] {
                let options = Options {
                    isa,
                    keep_all,
                    ..Options::default()
                };
                let plan = compile(&g, &options).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                let mut seen = 0;
                let out = plan.run_with(
                    &pools[usize::from(keep_all)],
                    &[("x", &input)],
                    &RunControl::default(),
                    &mut |n, v, held| {
                        let Held::Real(t) = held else {
                            panic!("seed {seed}: codes in a float graph");
                        };
                        seen += 1;
                        assert!(
                            same(t, &want[&v]),
                            "seed {seed}, {isa:?}, keep {keep_all}: node {} ({})\n{plan}",
                            g.nodes[n].name,
                            g.nodes[n].op.name()
                        );
                    },
                );
                let out = out.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                if keep_all {
                    let all: usize = g.nodes.iter().map(|n| n.outputs.len()).sum();
                    assert_eq!(seen, all, "seed {seed}: every output is seen\n{plan}");
                }
                for ((name, t), v) in out.iter().zip(&g.outputs) {
                    assert!(same(t, &want[v]), "seed {seed}, {isa:?}: output {name}\n{plan}");
                }
            }
        }
    }
}
