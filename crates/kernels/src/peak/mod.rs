//! What this machine can do at most: multiply-accumulates per second of the instructions that kernels are made of, and bytes per
//! second from caches and memory. Measured, not read from a table.

#[cfg(target_arch = "x86_64")]
mod x86;

use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::{Isa, Pool};

/// Instructions that multiply and add, as inner loops use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arithmetic {
    /// f32: fused multiply-add.
    Float,
    /// 16-bit operands, pairs added to 32 bits (`vpmaddwd`): exact for every code and level.
    Words,
    /// Bytes, pairs added to 16 bits and those to 32 (`vpmaddubsw`, `vpmaddwd`): exact where a pair stays in 16 bits.
    Bytes,
    /// Bytes, [`SHORT_SUM`] pairs added in 16 bits before those are added to 32: exact for small levels.
    ShortSums,
    /// Bytes, four products added to 32 bits at once (`vpdpbusd`).
    Dot,
    /// Bytes, tiles of 16 × 64 by 64 × 16 (`tdpbusd`).
    Tiles,
}

/// Sums of [`Arithmetic::ShortSums`] that stay in 16 bits before they are widened.
pub const SHORT_SUM: usize = crate::int::RUN;

impl Arithmetic {
    /// All.
    pub const ALL: [Arithmetic; 6] = [
        Arithmetic::Float,
        Arithmetic::Words,
        Arithmetic::Bytes,
        Arithmetic::ShortSums,
        Arithmetic::Dot,
        Arithmetic::Tiles,
    ];

    /// What a table calls it: the instructions of x86-64.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Float => "vfmadd f32",
            Arithmetic::Words => "vpmaddwd",
            Arithmetic::Bytes => "vpmaddubsw + vpmaddwd",
            Arithmetic::ShortSums => "vpmaddubsw, sums in 16 bits",
            Arithmetic::Dot => "vpdpbusd",
            Arithmetic::Tiles => "tdpbusd",
        }
    }
}

/// Shortest burst that is timed, and how many of them; the best one counts.
const BURST: Duration = Duration::from_millis(2);
const BURSTS: usize = 8;

/// Multiply-accumulates per second of all threads of the pool, with operands in registers; `None` where the instruction set has no
/// such instruction, or has no peak that means anything (scalar code).
pub fn macs_per_second(pool: &Pool, isa: Isa, arithmetic: Arithmetic) -> Option<f64> {
    if !isa.is_available() {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    {
        let kernel = x86::kernel(isa, arithmetic)?;
        // SAFETY: the CPU has the instruction set.
        let once = move |rounds: usize| unsafe { (kernel.run)(rounds) };
        Some(rate(pool, |_| (), move |(), rounds| once(rounds)) * kernel.macs as f64)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (pool, arithmetic);
        None
    }
}

/// Bytes per second that all threads of the pool read together from `bytes` bytes, each from its own share, again and again.
pub fn bytes_per_second(pool: &Pool, bytes: usize) -> f64 {
    let words = (bytes / pool.threads() / 8).max(512).next_multiple_of(64);
    let memory = |i: usize| vec![i as u64; words];
    let read = |memory: &mut Vec<u64>, rounds: usize| {
        for _ in 0..rounds {
            black_box(sum(black_box(memory)));
        }
    };
    rate(pool, memory, read) * (words * 8) as f64
}

/// Reads all words.
fn sum(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if Isa::Avx2.is_available() {
        // SAFETY: the CPU has AVX2.
        return unsafe { x86::sum(words) };
    }
    words.iter().fold(0, |a, b| a ^ b)
}

/// Rounds per second of all threads together: each works on its own state.
fn rate<S: Send>(pool: &Pool, make: impl Fn(usize) -> S, run: impl Fn(&mut S, usize) + Sync) -> f64 {
    let states: Vec<Mutex<S>> = (0..pool.threads()).map(|i| Mutex::new(make(i))).collect();
    let burst = |rounds: usize| {
        let start = Instant::now();
        pool.run(states.len(), &|i| {
            // Each index is handed out once: nobody waits, nobody panicked.
            if let Ok(mut state) = states[i].lock() {
                run(&mut state, rounds);
            }
        });
        start.elapsed()
    };
    let mut rounds = 1;
    while burst(rounds) < BURST && rounds < usize::MAX / 4 {
        rounds *= 2;
    }
    let best = (0..BURSTS).map(|_| burst(rounds)).min().unwrap_or(BURST);
    (rounds * states.len()) as f64 / best.as_secs_f64().max(1e-9)
}
