//! Time of a float model per layer: `cargo run --release -p lowbit-engine --example plan_speed -- MODEL.onnx [THREADS]`.

use std::error::Error;
use std::time::{Duration, Instant};

use graph::onnx::{ReadOptions, read_file};
use kernels::Pool;
use tensor::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("MODEL.onnx [THREADS]")?;
    let pool = Pool::new(args.next().map_or(Ok(1), |n| n.parse())?);
    let mut g = read_file(path.as_ref(), &ReadOptions::default())?;
    for v in g.inputs.clone() {
        if let Some(shape) = &mut g.value_mut(v).shape {
            shape.iter_mut().for_each(|d| *d = Some(d.unwrap_or(1)));
        }
    }
    graph::passes::simplify(&mut g, &oracle::Reference, &Default::default())?;
    let start = Instant::now();
    let plan = engine::compile(&g, &engine::Options::default())?;
    println!("{plan}compiled in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let (name, _, shape) = plan.inputs().next().ok_or("no input")?;
    let (name, shape) = (name.to_string(), shape.to_vec());
    let values = (0..shape.iter().product())
        .map(|i: usize| (i * 7919 % 1000) as f32 / 1000.0)
        .collect::<Vec<f32>>();
    let input = Tensor::new(shape, values)?;
    let mut best = vec![Duration::MAX; plan.layers().len()];
    let mut whole: Vec<Duration> = Vec::new();
    for _ in 0..15 {
        let start = Instant::now();
        let (_, times) = plan.run_timed(&pool, &[(&name, &input)])?;
        whole.push(start.elapsed());
        best.iter_mut().zip(times).for_each(|(b, t)| *b = (*b).min(t));
    }
    whole.sort();
    let mut order: Vec<usize> = (0..best.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(best[i]));
    for &i in order.iter().take(25) {
        let layer = &plan.layers()[i];
        let us = best[i].as_secs_f64() * 1e6;
        println!(
            "{us:>9.0} us {:>8.2} GMAC/s  {:<10} {}",
            layer.macs as f64 / us / 1e3,
            layer.op,
            layer.kernel
        );
    }
    println!(
        "median {:.2} ms, best {:.2} ms",
        whole[7].as_secs_f64() * 1e3,
        whole[0].as_secs_f64() * 1e3
    );
    Ok(())
}
