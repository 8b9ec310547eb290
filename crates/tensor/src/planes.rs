//! Power-of-two levels as a sum of i8 planes.
//!
//! Entries of ±64 at most are exact in i8 and safe for the saturating pair sums of u8 × i8 instructions
//! (2 · 255 · 64 = 32 640 ≤ 32 767), so a plane holds seven exponents.

/// Exponents that one plane holds.
pub const EXPONENTS: u32 = 7;

/// One plane: the levels are `Σ_planes entry · 2^shift`, and every level is non-zero in one plane only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    /// Weight of the plane as a power of two.
    pub shift: u32,
    /// 0 or ±2^k with k < 7, in the order of the levels.
    pub entries: Vec<i8>,
}

/// Splits levels 0, ±1, ±2, ±4 … into planes; as many as the largest level needs, one at least. `None` when a magnitude is not a
/// power of two.
///
/// ```
/// let planes = tensor::planes::split(&[-128, 64, 0, 1]).unwrap();
/// assert_eq!(planes[0].entries, [0, 64, 0, 1]);
/// assert_eq!((planes[1].shift, &planes[1].entries[..]), (7, &[-1i8, 0, 0, 0][..]));
/// ```
pub fn split(levels: &[i32]) -> Option<Vec<Plane>> {
    if levels
        .iter()
        .any(|l| *l != 0 && !l.unsigned_abs().is_power_of_two())
    {
        return None;
    }
    let exponent = |l: i32| l.unsigned_abs().trailing_zeros();
    let top = levels.iter().filter(|&&l| l != 0).map(|&l| exponent(l)).max();
    let entry = |l: i32, p: u32| {
        if l != 0 && exponent(l) / EXPONENTS == p {
            (l.signum() << (exponent(l) % EXPONENTS)) as i8
        } else {
            0
        }
    };
    Some(
        (0..=top.unwrap_or(0) / EXPONENTS)
            .map(|p| Plane {
                shift: p * EXPONENTS,
                entries: levels.iter().map(|&l| entry(l, p)).collect(),
            })
            .collect(),
    )
}
