//! Seeded random numbers for tests.

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

#[allow(dead_code)]
impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 … n − 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// low … high.
    pub(crate) fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A hostile variant of some bytes: flips, cuts, repeats, inserted tokens.
    pub(crate) fn mutate(&mut self, seed: &[u8], tokens: &[&[u8]]) -> Vec<u8> {
        let mut out = seed.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(out.len() + 1);
            match self.below(6) {
                0 if at < out.len() => out[at] ^= 1 << self.below(8),
                1 if at < out.len() => out[at] = self.next() as u8,
                2 => out.truncate(at),
                3 => {
                    let n = self.below(40).min(out.len() - at);
                    let copy = out[at..at + n].to_vec();
                    let to = self.below(out.len() + 1);
                    out.splice(to..to, copy);
                }
                4 => {
                    let n = self.below(20).min(out.len() - at);
                    out.drain(at..at + n);
                }
                _ if !tokens.is_empty() => {
                    let token = *self.pick(tokens);
                    let end = (at + self.below(2) * token.len()).min(out.len());
                    out.splice(at..end, token.iter().copied());
                }
                _ => {}
            }
        }
        out
    }
}
