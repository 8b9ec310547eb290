//! Levels as digits of a power of two, for weights wider than what instructions multiply.

/// Digit p of a level in base 2^bits, each in −2^(bits − 1) … 2^(bits − 1) − 1.
pub(super) fn digit(mut level: i64, p: u32, bits: u32) -> i64 {
    let half = 1 << (bits - 1);
    for _ in 0..p {
        level = (level + half) >> bits;
    }
    (level + half).rem_euclid(2 * half) - half
}

/// Digits that levels up to `max` take.
pub(super) fn count(max: u32, bits: u32) -> u32 {
    let (base, largest) = (1i128 << bits, (1i128 << (bits - 1)) - 1);
    let mut digits = 1;
    // The largest value of n digits is largest · (base^n − 1) / (base − 1).
    while i128::from(max) > largest * (base.pow(digits) - 1) / (base - 1) {
        digits += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_rebuild_every_level() {
        for bits in [7, 8, 16] {
            for level in (-40_000..40_000).chain([i32::MAX, i32::MIN, 1 << 20]) {
                let digits = count(level.unsigned_abs(), bits);
                let sum: i64 = (0..digits)
                    .map(|p| digit(i64::from(level), p, bits) << (bits * p))
                    .sum();
                assert_eq!(sum, i64::from(level));
            }
        }
        assert_eq!((count(63, 7), count(128, 7), count(32_768, 7)), (1, 2, 3));
        assert_eq!((count(127, 8), count(32_639, 8), count(32_768, 8)), (1, 2, 3));
        assert_eq!((count(32_767, 16), count(32_768, 16)), (1, 2));
    }
}
