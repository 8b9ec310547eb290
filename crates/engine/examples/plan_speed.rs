//! Time of models by turns, and of the first one's layers:
//! `cargo run --release -p lowbit-engine --example plan_speed -- THREADS RUNS ROWS MODEL.onnx…`.

use std::error::Error;
use std::time::{Duration, Instant};

use engine::Plan;
use graph::onnx::{ReadOptions, read_file};
use kernels::Pool;
use tensor::Tensor;

struct Case {
    plan: Plan,
    input: (String, Tensor),
    best: Vec<Duration>,
    whole: Vec<Duration>,
    outside: Duration,
}

fn case(path: &str) -> Result<Case, Box<dyn Error>> {
    let mut g = read_file(path.as_ref(), &ReadOptions::default())?;
    for v in g.inputs.clone() {
        if let Some(shape) = &mut g.value_mut(v).shape {
            shape.iter_mut().for_each(|d| *d = Some(d.unwrap_or(1)));
        }
    }
    graph::passes::simplify(&mut g, &oracle::Reference, &Default::default())?;
    let plan = engine::compile(&g, &engine::Options::default())?;
    let (name, _, shape) = plan.inputs().next().ok_or("no input")?;
    let (name, shape) = (name.to_string(), shape.to_vec());
    let values = (0..shape.iter().product())
        .map(|i: usize| (i * 7919 % 1000) as f32 / 1000.0)
        .collect::<Vec<f32>>();
    Ok(Case {
        input: (name, Tensor::new(shape, values)?),
        best: vec![Duration::MAX; plan.layers().len()],
        whole: Vec::new(),
        outside: Duration::MAX,
        plan,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = || args.next().and_then(|n| n.parse::<usize>().ok());
    let usage = "THREADS RUNS ROWS MODEL.onnx…";
    let (threads, runs, rows) = (
        number().ok_or(usage)?,
        number().ok_or(usage)?,
        number().ok_or(usage)?,
    );
    let pool = Pool::new(threads);
    let paths: Vec<String> = args.collect();
    let mut cases = paths.iter().map(|p| case(p)).collect::<Result<Vec<Case>, _>>()?;
    for _ in 0..runs {
        for c in &mut cases {
            let start = Instant::now();
            let (_, times) = c.plan.run_timed(&pool, &[(&c.input.0, &c.input.1)])?;
            let whole = start.elapsed();
            c.whole.push(whole);
            c.outside = c.outside.min(whole.saturating_sub(times.iter().sum()));
            c.best.iter_mut().zip(times).for_each(|(b, t)| *b = (*b).min(t));
        }
    }
    for c in cases.iter().take(1) {
        let mut order: Vec<usize> = (0..c.best.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(c.best[i]));
        for &i in order.iter().take(rows) {
            let layer = &c.plan.layers()[i];
            let us = c.best[i].as_secs_f64() * 1e6;
            println!(
                "{us:>9.0} us {:>8.2} GMAC/s  {:<10} {:<16} {}",
                layer.macs as f64 / us / 1e3,
                layer.op,
                layer.name,
                layer.kernel
            );
        }
    }
    for (path, c) in paths.iter().zip(&mut cases) {
        c.whole.sort();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let layers: Duration = c.best.iter().sum();
        println!(
            "best {:>8.3}  quarter {:>8.3}  median {:>8.3}  layers' best {:>8.3}  outside {:>7.3} ms  {path}",
            ms(c.whole[0]),
            ms(c.whole[c.whole.len() / 4]),
            ms(c.whole[c.whole.len() / 2]),
            ms(layers),
            ms(c.outside)
        );
    }
    Ok(())
}
