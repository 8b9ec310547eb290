//! Base-L packing: signed codes −n … n as digits of words in base L = 2n + 1.
//!
//! The bit stream of [`bits`](crate::bits) spends ⌈log₂ L⌉ bits on a code. Words in base L come closer to log₂ L: 1.6 bits for
//! ternary in bytes, 3.2 for the nine levels of LBW-4. Unpacking costs a division per code, so files use bits and this
//! is for archives and for the size tables.

/// Codes that fit one word of `word_bits` bits: the largest k with (2n + 1)^k ≤ 2^word_bits.
///
/// ```
/// assert_eq!(tensor::radix::per_word(1, 8), 5); // 3^5 = 243
/// assert_eq!(tensor::radix::per_word(4, 16), 5); // 9^5 = 59 049
/// ```
pub fn per_word(n: u32, word_bits: u32) -> usize {
    let base = u128::from(2 * n + 1);
    let limit = 1u128 << word_bits.min(64);
    let (mut power, mut count) = (base, 0);
    while base > 1 && power <= limit {
        power *= base;
        count += 1;
    }
    count
}

/// Packs codes in −n … n: `word = Σ_j (code_j + n)·L^j`, the first code in the lowest digit; the last word is filled
/// with digit 0. `None` when a code lies outside, n is 0 or a word holds no code.
///
/// ```
/// assert_eq!(tensor::radix::pack(&[-1, 1, 1, 0, 1, -1], 1, 8), Some(vec![0 + 2 * 3 + 2 * 9 + 27 + 2 * 81, 0]));
/// ```
pub fn pack(codes: &[i32], n: u32, word_bits: u32) -> Option<Vec<u64>> {
    let per_word = per_word(n, word_bits);
    if per_word == 0 || codes.iter().any(|c| c.unsigned_abs() > n) {
        return None;
    }
    let base = u64::from(2 * n + 1);
    let digit = |&c: &i32| (i64::from(c) + i64::from(n)) as u64;
    let word = |chunk: &[i32]| chunk.iter().rev().fold(0u64, |word, c| word * base + digit(c));
    Some(codes.chunks(per_word).map(word).collect())
}

/// Reads `count` codes back; `None` when the number of words is wrong, a word holds more than its digits, or the
/// filling is not zero.
pub fn unpack(words: &[u64], count: usize, n: u32, word_bits: u32) -> Option<Vec<i32>> {
    let per_word = per_word(n, word_bits);
    if per_word == 0 || words.len() != count.div_ceil(per_word) {
        return None;
    }
    let base = u64::from(2 * n + 1);
    let mut codes = Vec::with_capacity(count);
    for &word in words {
        let mut rest = word;
        for _ in 0..per_word.min(count - codes.len()) {
            codes.push((rest % base) as i32 - n as i32);
            rest /= base;
        }
        if rest != 0 {
            return None;
        }
    }
    Some(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_word_and_tail_comes_back() {
        for n in [1, 2, 3, 4, 7, 8, 16] {
            for word_bits in [8, 16, 32, 64] {
                for count in 0..90usize {
                    let codes: Vec<i32> = (0..count).map(|i| (i as i32 * 29) % (2 * n + 1) - n).collect();
                    let words = pack(&codes, n as u32, word_bits).unwrap();
                    assert!(words.iter().all(|&w| word_bits == 64 || w >> word_bits == 0));
                    assert_eq!(unpack(&words, count, n as u32, word_bits), Some(codes));
                }
            }
        }
    }

    #[test]
    fn bad_codes_and_dirty_words_are_refused() {
        assert_eq!(pack(&[2], 1, 8), None);
        assert_eq!(pack(&[300], 300, 8), None);
        assert_eq!(unpack(&[3], 1, 1, 8), None);
        assert_eq!(unpack(&[0, 0], 3, 1, 8), None);
    }
}
