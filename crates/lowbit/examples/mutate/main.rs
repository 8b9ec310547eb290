//! Runs the fuzz targets of `fuzz/targets` with a seeded mutator, on stable Rust.
//!
//! ```text
//! cargo run --release -p lowbit --example mutate -- --seconds 60 [--target NAME] [--seed N] [--seeds DIR] [--out DIR]
//! cargo run --release -p lowbit --example mutate -- --target NAME FILE…        replay files
//! ```
//!
//! A case that panics, takes more than 10 seconds or more than 1 GiB is a finding: its bytes are written to the folder
//! `--out` (target/findings), and the exit code is 1. Case k of seed s is the same everywhere.

#[path = "../../../../fuzz/mutate/mod.rs"]
mod mutate;
mod seeds;
#[path = "../../../../fuzz/targets/mod.rs"]
mod targets;
mod watch;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mutate::Rng;
use targets::{TARGETS, Target};
use watch::Watch;

struct Options {
    seconds: u64,
    target: Option<String>,
    seed: u64,
    seeds: Option<PathBuf>,
    out: PathBuf,
    files: Vec<PathBuf>,
}

fn options() -> Options {
    let mut o = Options {
        seconds: 60,
        target: None,
        seed: 1,
        seeds: None,
        out: "target/findings".into(),
        files: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(a) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{a} wants a value"));
        match a.as_str() {
            "--seconds" => o.seconds = value().parse().expect("a number of seconds"),
            "--target" => o.target = Some(value()),
            "--seed" => o.seed = value().parse().expect("a number"),
            "--seeds" => o.seeds = Some(value().into()),
            "--out" => o.out = value().into(),
            _ => o.files.push(a.into()),
        }
    }
    o
}

fn main() {
    let o = options();
    let chosen: Vec<&Target> = TARGETS
        .iter()
        .filter(|t| o.target.as_deref().is_none_or(|name| name == t.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|t| t.name).collect();
        eprintln!("no such target; there are {}", names.join(", "));
        std::process::exit(2);
    }
    let watch = Watch::start(o.out.clone());
    let mut findings = 0;
    for target in &chosen {
        if !o.files.is_empty() {
            for file in &o.files {
                let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                findings += usize::from(!watch.run(target, &bytes));
            }
            continue;
        }
        let seeds = seeds::of(target.name, o.seeds.as_deref());
        let end = Instant::now() + Duration::from_secs(o.seconds) / chosen.len() as u32;
        let (mut cases, mut rng) = (0u64, Rng(o.seed));
        // The seeds as they are come first.
        for seed in &seeds {
            findings += usize::from(!watch.run(target, seed));
        }
        while Instant::now() < end && findings < 100 {
            let case = mutate::case(&mut rng, target.is_model(), &seeds, target.words());
            findings += usize::from(!watch.run(target, &case));
            cases += 1;
        }
        println!(
            "{}: {} seeds, {cases} cases, {findings} findings so far",
            target.name,
            seeds.len()
        );
    }
    std::process::exit(i32::from(findings > 0));
}
