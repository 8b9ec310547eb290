//! What tests of readers share.

use testing::SplitMix64;

/// The check sum of PNG chunks and of zlib.
#[allow(dead_code)]
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| {
            if c & 1 == 1 {
                0xedb8_8320 ^ (c >> 1)
            } else {
                c >> 1
            }
        })
    })
}

/// A hostile variant of some bytes: flips, cuts, repeats, inserted tokens.
#[allow(dead_code)]
pub(crate) fn mutate(rng: &mut SplitMix64, seed: &[u8], tokens: &[&[u8]]) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(out.len() + 1);
        match rng.below(6) {
            0 if at < out.len() => out[at] ^= 1 << rng.below(8),
            1 if at < out.len() => out[at] = rng.next() as u8,
            2 => out.truncate(at),
            3 => {
                let n = rng.below(40).min(out.len() - at);
                let copy = out[at..at + n].to_vec();
                let to = rng.below(out.len() + 1);
                out.splice(to..to, copy);
            }
            4 => {
                let n = rng.below(20).min(out.len() - at);
                out.drain(at..at + n);
            }
            _ if !tokens.is_empty() => {
                let token = rng.pick(tokens);
                let end = (at + rng.below(2) * token.len()).min(out.len());
                out.splice(at..end, token.iter().copied());
            }
            _ => {}
        }
    }
    out
}
