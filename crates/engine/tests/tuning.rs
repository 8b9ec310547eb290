//! Kernels chosen by measurement, or as measured before, move time and nothing else.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Kind, random_graph};
use engine::{Choices, Options, Plan, Tuning, compile};
use graph::Graph;
use kernels::int::registry;
use kernels::{Isa, Pool};

fn with(graph: &Graph, tuning: Tuning) -> Plan {
    let options = Options {
        tuning,
        ..Options::default()
    };
    compile(graph, &options).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn measured_and_kept_choices_give_the_bytes_of_the_rules() {
    let pool = Arc::new(Pool::new(2));
    let (mut layers, mut moved) = (0, 0);
    for seed in 0..60 {
        let (g, input) = random_graph(seed, Kind::Quantized, 8);
        let run = |plan: &Plan| plan.run(&pool, &[("x", &input)]).unwrap();
        let rules = with(&g, Tuning::Rules);
        assert_eq!(rules.choices(), &Choices::default());
        let want = run(&rules);
        let measured = with(&g, Tuning::Measured(pool.clone()));
        let choices = measured.choices().clone();
        layers += choices.rows.len();
        assert_eq!(run(&measured), want, "seed {seed}");
        let kept = with(&g, Tuning::Chosen(choices.clone()));
        assert_eq!(
            kept.to_string(),
            measured.to_string(),
            "seed {seed}: the kernels that were measured"
        );
        // Any row at all: those that a layer cannot take are no choice.
        for row in registry() {
            let mut any = choices.clone();
            any.rows
                .values_mut()
                .for_each(|name| *name = row.name.to_string());
            let plan = with(&g, Tuning::Chosen(any));
            moved += usize::from(plan.to_string() != rules.to_string());
            assert_eq!(run(&plan), want, "seed {seed}, {}", row.name);
        }
    }
    assert!(layers > 60, "{layers}");
    assert!(
        moved > 0 || Isa::best() == Isa::Scalar,
        "no choice was ever taken"
    );
}

#[test]
fn choices_are_rows_that_the_plan_runs() {
    let (g, _) = random_graph(3, Kind::Quantized, 16);
    let plan = with(&g, Tuning::Measured(Arc::new(Pool::new(1))));
    let names: BTreeSet<&str> = registry().map(|k| k.name).collect();
    let products = plan.layers().iter().filter(|l| l.product).count();
    assert!(plan.choices().rows.len() <= products, "{plan}");
    for row in plan.choices().rows.values() {
        assert!(names.contains(row.as_str()), "{row}");
        assert!(
            plan.to_string().contains(row.as_str()),
            "{row} was chosen\n{plan}"
        );
    }
}

#[test]
fn a_limit_of_memory_holds_while_measuring() {
    let (g, input) = random_graph(3, Kind::Quantized, 16);
    let pool = Arc::new(Pool::new(1));
    let rules = with(&g, Tuning::Rules);
    let options = Options {
        limit_bytes: Some(rules.memory().total()),
        tuning: Tuning::Measured(pool.clone()),
        ..Options::default()
    };
    let plan = compile(&g, &options).unwrap_or_else(|e| panic!("{e}"));
    let run = |plan: &Plan| plan.run(&pool, &[("x", &input)]).unwrap();
    assert_eq!(run(&plan), run(&rules));
    let options = Options {
        limit_bytes: Some(0),
        ..options
    };
    assert!(matches!(
        compile(&g, &options),
        Err(engine::CompileError::Memory { .. })
    ));
}
