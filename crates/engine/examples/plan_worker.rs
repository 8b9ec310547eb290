//! Times one model for a harness that runs several engines by turns:
//! `plan_worker MODEL.onnx THREADS INPUT.bin OUTPUT.bin`.
//!
//! Writes the outputs (f32, little-endian) and one line of JSON; then, for each number of runs read from stdin, one line with the
//! milliseconds of each.

use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

use graph::onnx::{ReadOptions, read_file};
use kernels::Pool;
use tensor::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, threads, input, output] = args.as_slice() else {
        return Err("MODEL.onnx THREADS INPUT.bin OUTPUT.bin".into());
    };
    let pool = Pool::new(threads.parse()?);
    let start = Instant::now();
    let mut g = read_file(model.as_ref(), &ReadOptions::default())?;
    graph::passes::simplify(&mut g, &oracle::Reference, &Default::default())?;
    let plan = engine::compile(&g, &engine::Options::default())?;
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let load = ms(start);
    let (name, _, shape) = plan.inputs().next().ok_or("no input")?;
    let (name, shape) = (name.to_string(), shape.to_vec());
    let bytes = std::fs::read(input)?;
    let values = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let x = Tensor::new(shape, values.collect::<Vec<f32>>())?;
    let outputs = plan.run(&pool, &[(&name, &x)])?;
    let first = ms(start);
    let values = outputs.iter().flat_map(|(_, t)| t.as_f32().unwrap_or_default());
    std::fs::write(output, values.flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
    println!("{{\"load_ms\":{load},\"first_ms\":{first},\"rss_mb\":0}}");
    for line in std::io::stdin().lock().lines() {
        let mut times = Vec::new();
        for _ in 0..line?.trim().parse::<usize>()? {
            let start = Instant::now();
            plan.run(&pool, &[(&name, &x)])?;
            times.push(ms(start));
        }
        println!("{{\"ms\":{times:?},\"rss_mb\":0}}");
    }
    Ok(())
}
