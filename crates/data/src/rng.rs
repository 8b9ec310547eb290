//! Random numbers by counter: what is drawn depends on a key, never on what was drawn before or by whom.

/// SplitMix64 (Steele, Lea, Flood, 2014) from a key of some parts: seed, index, purpose …
pub(crate) struct Rng(u64);

/// The finalizer of SplitMix64: a bijection that spreads every bit.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    pub(crate) fn new<const N: usize>(parts: [u64; N]) -> Self {
        let key = parts.into_iter().fold(0, |key: u64, part| {
            mix(key.wrapping_add(GOLDEN) ^ mix(part.wrapping_add(GOLDEN)))
        });
        Rng(key)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// 0 ≤ x < 1, 24 bits.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    pub(crate) fn within(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// 0 … n − 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }

    pub(crate) fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// A direction: cosine and sine of an angle.
    pub(crate) fn direction(&mut self) -> [f32; 2] {
        let angle = self.within(0.0, std::f32::consts::TAU);
        [libm::cosf(angle), libm::sinf(angle)]
    }

    /// A colour by hue, saturation and value.
    pub(crate) fn color(&mut self, saturation: (f32, f32), value: (f32, f32)) -> [f32; 3] {
        let hue = self.within(0.0, 6.0);
        let (s, v) = (
            self.within(saturation.0, saturation.1),
            self.within(value.0, value.1),
        );
        // Distance from each primary around the circle of hues.
        std::array::from_fn(|k| {
            let turn = (hue + [5.0, 3.0, 1.0][k]) % 6.0;
            v - v * s * turn.min(4.0 - turn).clamp(0.0, 1.0)
        })
    }
}
