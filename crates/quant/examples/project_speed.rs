//! Time to project 10 million weights on one core: `cargo run --release -p lowbit-quant --example project_speed`.

use std::time::Instant;

use quant::grid::Grid;
use quant::{Granularity, ProjectOptions, ScaleKind, project};

fn main() {
    const COUNT: usize = 10_000_000;
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    };
    let weights: Vec<f32> = (0..COUNT).map(|_| next() * next() * next()).collect();
    println!(
        "{:<10} {:<8} {:<13} seconds for {COUNT} weights",
        "grid", "scale", "kind"
    );
    for name in [
        "lbw2", "lbw4", "lbw6", "pow2-4", "ternary", "int4", "int8", "affine8", "apot4",
    ] {
        for scale_kind in [ScaleKind::PowerOfTwo, ScaleKind::Real] {
            for (granularity, channels) in [(Granularity::Tensor, 1), (Granularity::Channel, 10_000)] {
                let options = ProjectOptions {
                    granularity,
                    scale_kind,
                    ..ProjectOptions::default()
                };
                let grid: Grid = match name.parse() {
                    Ok(grid) => grid,
                    Err(error) => return eprintln!("{error}"),
                };
                let start = Instant::now();
                let done = project(&grid, &weights, channels, &options);
                let seconds = start.elapsed().as_secs_f64();
                let error = done.map_or(f64::NAN, |p| 100.0 * p.relative_error());
                println!("{name:<10} {granularity:<8} {scale_kind:<13} {seconds:.3}   (error {error:.3} %)");
            }
        }
    }
}
