//! Random numbers by counter.

/// SplitMix64 from a key of three parts.
pub(super) struct Rng(u64);

/// The finalizer of SplitMix64: a bijection that spreads every bit.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    pub(super) fn new(seed: u64, index: u64, stream: u64) -> Self {
        let key = [seed, index, stream].into_iter().fold(0, |key: u64, part| {
            mix(key.wrapping_add(GOLDEN) ^ mix(part.wrapping_add(GOLDEN)))
        });
        Rng(key)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// 0 ≤ x < 1, 24 bits.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    pub(super) fn within(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// 0 … n − 1.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }

    pub(super) fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// A direction: cosine and sine of an angle.
    pub(super) fn direction(&mut self) -> [f32; 2] {
        let angle = self.within(0.0, std::f32::consts::TAU);
        [libm::cosf(angle), libm::sinf(angle)]
    }

    /// A colour by hue, saturation and value.
    pub(super) fn color(&mut self, saturation: (f32, f32), value: (f32, f32)) -> [f32; 3] {
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
