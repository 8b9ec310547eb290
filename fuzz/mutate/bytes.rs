//! Mutations that know nothing of the format but a list of its words.

use super::{EXTREMES, Rng};

/// A changed copy of `seed`; pieces of `other` and words of `dictionary` may be put in.
pub fn mutate(rng: &mut Rng, seed: &[u8], other: &[u8], dictionary: &[&str]) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..1 + rng.below(4) {
        step(rng, &mut out, other, dictionary);
    }
    out
}

fn step(rng: &mut Rng, out: &mut Vec<u8>, other: &[u8], dictionary: &[&str]) {
    let at = rng.below(out.len() + 1);
    let end = (at + 1 + rng.below(16)).min(out.len());
    match rng.below(9) {
        0 if at < out.len() => out[at] ^= 1 << rng.below(8),
        1 if at < out.len() => out[at] = rng.next() as u8,
        2 => drop(out.drain(at.min(end)..end)),
        3 => {
            let copy = out[at.min(end)..end].to_vec();
            out.splice(at..at, copy);
        }
        4 => out.truncate(at),
        5 if !other.is_empty() => {
            let from = rng.below(other.len());
            let to = (from + 1 + rng.below(64)).min(other.len());
            out.splice(at..at, other[from..to].iter().copied());
        }
        6 if !dictionary.is_empty() => {
            let word = rng.pick(dictionary).as_bytes().to_vec();
            let cut = if rng.below(2) == 0 {
                at..at
            } else {
                at.min(end)..end
            };
            out.splice(cut, word);
        }
        7 => {
            let number = rng.pick(EXTREMES).to_le_bytes();
            let width = 1 << rng.below(4);
            for (o, n) in out[at..].iter_mut().zip(&number[..width]) {
                *o = *n;
            }
        }
        _ => {
            // A number written in digits becomes another one.
            if let Some(from) = (at..out.len()).find(|&i| out[i].is_ascii_digit()) {
                let to = (from..out.len())
                    .find(|&i| !out[i].is_ascii_digit())
                    .unwrap_or(out.len());
                let number = (*rng.pick(EXTREMES) as i64).to_string();
                out.splice(from..to, number.into_bytes());
            }
        }
    }
}
