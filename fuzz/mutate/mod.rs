//! A seeded mutator: bytes for every format, protobuf fields for models. The same seed gives the same cases on every machine.
#![allow(unreachable_pub)]

mod bytes;
mod protobuf;

use bytes::mutate as mutate_bytes;
use protobuf::mutate as mutate_model;

/// One case from two seeds: models field by field where the words are `operators`, everything else by bytes.
pub fn case(rng: &mut Rng, model: bool, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let (seed, other) = (rng.pick(seeds), rng.pick(seeds));
    if model {
        mutate_model(rng, seed, other, words)
    } else {
        mutate_bytes(rng, seed, other, words)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Numbers at which arithmetic breaks.
pub const EXTREMES: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    16,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    i32::MAX as u64,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    1 << 40,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
    u64::MAX - 1,
];
