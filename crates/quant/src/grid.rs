//! Weight grids by name: the integer levels a weight may take, and the stored code of each.
//!
//! | name | levels | codes used of 2^b |
//! |---|---|---|
//! | `lbw2` … `lbw6` | 0, ±1, ±2 … ±2^(n−1), n = 2^(b−2) (LBW-Net, arXiv 1612.06052) | 2n + 1 |
//! | `lbw5-i8` | `lbw5` with ±127 in place of ±128: one i8 plane | 17 |
//! | `pow2-3`, `pow2-4` | the same with n = 3, 7: all codes used | 2^b − 1 |
//! | `ternary` | 0, ±1 | 3 |
//! | `binary` | ±1 | 2 |
//! | `int2` … `int8` | 0, ±1 … ±(2^(b−1) − 1) | 2^b − 1 |
//! | `affine2` … `affine8` | 0 … 2^b − 1 less a zero point per scale | 2^b |
//! | `apot3` … `apot8` | sums of two or more powers of two (APoT, arXiv 1909.13144) | 2^b − 1 |
//! | `pow2-4x2`, `int3x2` … | a symmetric grid with 0, two to four points a weight ([`crate::multipoint`]), b · points ≤ 12 | those of the grid |
//!
//! A symmetric grid stores code c ∈ −P … P (the index of the magnitude with the sign of the weight) in two's complement of
//! b bits; for LBW this is the paper's exponent code. `binary` stores 0 for −1 and 1 for +1; an affine grid stores the level.

use std::fmt;
use std::str::FromStr;

use crate::names::{did_you_mean, nearest};

/// What kind of levels a grid has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// The paper's power-of-two set with n = 2^(b−2) magnitudes.
    Lbw,
    /// `lbw5` with 127 for 128.
    LbwI8,
    /// Power-of-two set with n = 2^(b−1) − 1 magnitudes.
    Pow2,
    /// 0, ±1.
    Ternary,
    /// ±1.
    Binary,
    /// Uniform, symmetric.
    Int,
    /// Uniform with a zero point.
    Affine,
    /// Additive powers of two.
    Apot,
}

/// A set of levels with a name and a width. Cheap to copy; equal when the names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grid {
    bits: u32,
    family: Family,
    points: u32,
}

/// Bits of all points of a weight together.
const MOST_BITS: u32 = 12;
/// Most points of a weight.
const MOST_POINTS: u32 = 4;

/// A grid name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no grid \"{name}\"{} (`lowbit quantize --list` prints all)", did_you_mean(.nearest.as_deref()))]
pub struct UnknownGrid {
    /// As given.
    pub name: String,
    /// The existing name that it is near to.
    pub nearest: Option<String>,
}

impl Grid {
    /// Every grid of one point, narrowest first.
    pub fn all() -> Vec<Grid> {
        let mut all: Vec<Grid> = [
            (Family::Binary, 1..=1),
            (Family::Ternary, 2..=2),
            (Family::Lbw, 2..=6),
            (Family::LbwI8, 5..=5),
            (Family::Pow2, 3..=4),
            (Family::Int, 2..=8),
            (Family::Affine, 2..=8),
            (Family::Apot, 3..=8),
        ]
        .into_iter()
        .flat_map(|(family, bits)| {
            bits.map(move |bits| Grid {
                bits,
                family,
                points: 1,
            })
        })
        .collect();
        all.sort();
        all
    }

    /// Bits of a stored code, 1…8.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Codes a weight: 1, or more for the grids of several points.
    pub fn points(&self) -> u32 {
        self.points
    }

    /// The same levels with so many points a weight; `None` for grids that cannot: without 0, with zero points, or with more than 12 bits in all.
    ///
    /// ```
    /// let grid: quant::grid::Grid = "pow2-4".parse().unwrap();
    /// assert_eq!(grid.with_points(2).unwrap().to_string(), "pow2-4x2");
    /// assert_eq!(grid.with_points(4), None);
    /// ```
    pub fn with_points(&self, points: u32) -> Option<Grid> {
        let sums = self.has_zero() && !self.is_affine() && self.bits * points <= MOST_BITS;
        (points == 1 || points > 1 && points <= MOST_POINTS && sums).then_some(Grid { points, ..*self })
    }

    /// The kind of levels.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether weights carry a zero point per scale.
    pub fn is_affine(&self) -> bool {
        self.family == Family::Affine
    }

    /// Whether 0 is a level.
    pub fn has_zero(&self) -> bool {
        self.family != Family::Binary
    }

    /// Number n of power-of-two magnitudes, for the grids whose magnitudes are 1, 2, 4 … (`lbw5-i8`: up to the last one).
    pub fn pow2_magnitudes(&self) -> Option<u32> {
        match self.family {
            Family::Lbw | Family::LbwI8 => Some(1 << (self.bits - 2)),
            Family::Pow2 => Some((1 << (self.bits - 1)) - 1),
            Family::Ternary => Some(1),
            Family::Int if self.bits == 2 => Some(1),
            _ => None,
        }
    }

    /// Positive integer levels in ascending order; of an affine grid all levels but 0.
    ///
    /// ```
    /// let levels = |name: &str| name.parse::<quant::grid::Grid>().unwrap().magnitudes();
    /// assert_eq!(levels("lbw4"), [1, 2, 4, 8]);
    /// assert_eq!(levels("pow2-3"), [1, 2, 4]);
    /// assert_eq!(levels("apot4"), [1, 2, 3, 4, 6, 8, 10]);
    /// assert_eq!(levels("lbw5-i8").last(), Some(&127));
    /// ```
    pub fn magnitudes(&self) -> Vec<i32> {
        match self.family {
            Family::Binary | Family::Ternary => vec![1],
            Family::Int => (1..1 << (self.bits - 1)).collect(),
            Family::Affine => (1..1 << self.bits).collect(),
            Family::Apot => apot_magnitudes(self.bits),
            Family::Lbw | Family::LbwI8 | Family::Pow2 => {
                let n = self.pow2_magnitudes().unwrap_or(1);
                let mut levels: Vec<i32> = (0..n).map(|k| 1 << k).collect();
                if self.family == Family::LbwI8
                    && let Some(top) = levels.last_mut()
                {
                    *top = 127;
                }
                levels
            }
        }
    }

    /// Integer level of each of the 2^bits codes; unused codes are 0.
    ///
    /// ```
    /// let grid: quant::grid::Grid = "lbw3".parse().unwrap();
    /// assert_eq!(grid.levels(), [0, 1, 2, 0, 0, 0, -2, -1]);
    /// ```
    pub fn levels(&self) -> Vec<i32> {
        match self.family {
            Family::Binary => vec![-1, 1],
            Family::Affine => (0..1 << self.bits).collect(),
            _ => {
                let mut levels = vec![0; 1 << self.bits];
                for (i, level) in self.magnitudes().into_iter().enumerate() {
                    let index = i as i32 + 1;
                    levels[usize::from(self.code(index))] = level;
                    levels[usize::from(self.code(-index))] = -level;
                }
                levels
            }
        }
    }

    /// Stored code of a signed magnitude index c ∈ −P … P of a symmetric grid, 0 meaning level 0.
    pub fn code(&self, index: i32) -> u8 {
        if self.family == Family::Binary {
            u8::from(index > 0)
        } else {
            (index & ((1 << self.bits) - 1)) as u8
        }
    }
}

/// APoT (Li, Dong, Wang, arXiv 1909.13144, eq. 5 and its published code), as integers. B = b − 1 magnitude bits are n = ⌊B/2⌋ terms of
/// two bits, p_j ∈ {0, 2^(−j−1), 2^(−n−j−1), 2^(−2n−j−1)}; an odd B adds a term {0, 2^(−2n−1)} and moves the last powers one down.
fn apot_magnitudes(bits: u32) -> Vec<i32> {
    let (terms, odd) = ((bits - 1) / 2, (bits - 1) % 2);
    let top = 3 * terms + odd; // 2^-top is the unit
    let mut sums = vec![0i32];
    let mut add = |term: Vec<u32>| {
        sums = sums
            .iter()
            .flat_map(|&s| std::iter::once(s).chain(term.iter().map(move |&e| s + (1 << (top - e)))))
            .collect();
    };
    for j in 0..terms {
        add(vec![j + 1, terms + j + 1, 2 * terms + odd + j + 1]);
    }
    if odd == 1 {
        add(vec![2 * terms + 1]);
    }
    sums.sort_unstable();
    sums.split_off(1)
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.bits;
        match self.family {
            Family::Lbw => write!(f, "lbw{b}"),
            Family::LbwI8 => write!(f, "lbw{b}-i8"),
            Family::Pow2 => write!(f, "pow2-{b}"),
            Family::Ternary => f.write_str("ternary"),
            Family::Binary => f.write_str("binary"),
            Family::Int => write!(f, "int{b}"),
            Family::Affine => write!(f, "affine{b}"),
            Family::Apot => write!(f, "apot{b}"),
        }?;
        match self.points {
            1 => Ok(()),
            points => write!(f, "x{points}"),
        }
    }
}

impl FromStr for Grid {
    type Err = UnknownGrid;

    fn from_str(name: &str) -> Result<Self, UnknownGrid> {
        let all = Grid::all();
        let find = |name: &str| all.iter().find(|g| g.to_string() == name);
        if let Some(grid) = find(name) {
            return Ok(*grid);
        }
        let several = name.rsplit_once('x').and_then(|(base, points)| {
            let points = points.parse().ok().filter(|&p| p > 1)?;
            find(base)?.with_points(points)
        });
        if let Some(grid) = several.filter(|g| g.to_string() == name) {
            return Ok(grid);
        }
        let names: Vec<String> = all.iter().map(Grid::to_string).collect();
        Err(UnknownGrid {
            name: name.to_string(),
            nearest: nearest(name, names.iter().map(String::as_str)).map(str::to_string),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_codes_are_consistent() {
        for grid in Grid::all() {
            assert_eq!(grid.to_string().parse(), Ok(grid));
            let levels = grid.levels();
            assert_eq!(levels.len(), 1 << grid.bits());
            if grid.is_affine() || !grid.has_zero() {
                continue;
            }
            assert_eq!(levels[0], 0);
            for (i, &m) in grid.magnitudes().iter().enumerate() {
                assert_eq!(levels[usize::from(grid.code(i as i32 + 1))], m, "{grid}");
                assert_eq!(levels[usize::from(grid.code(-(i as i32) - 1))], -m, "{grid}");
            }
        }
    }

    #[test]
    fn grids_of_several_points_are_those_whose_sums_have_a_meaning() {
        for name in [
            "pow2-4x2",
            "ternaryx4",
            "int4x3",
            "lbw3x2",
            "apot6x2",
            "lbw5-i8x2",
        ] {
            assert_eq!(name.parse::<Grid>().map(|g| g.to_string()), Ok(name.into()));
        }
        for name in [
            "int8x2",
            "pow2-4x1",
            "pow2-4x02",
            "binaryx2",
            "affine4x2",
            "ternaryx5",
            "x2",
            "int4x",
        ] {
            assert!(name.parse::<Grid>().is_err(), "{name}");
        }
    }

    #[test]
    fn apot_sets_have_all_codes_and_the_published_values() {
        for bits in 3..=8 {
            let levels = apot_magnitudes(bits);
            assert_eq!(levels.len(), (1 << (bits - 1)) - 1, "apot{bits}");
            assert!(levels.windows(2).all(|w| w[0] < w[1]), "apot{bits}");
        }
        assert_eq!(apot_magnitudes(3), [1, 2, 4]);
        assert_eq!(
            apot_magnitudes(5),
            [1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48]
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_a_near_one() {
        let error = "lbw7".parse::<Grid>().unwrap_err();
        assert!(error.to_string().contains("did you mean \"lbw"), "{error}");
        let error = "fp16".parse::<Grid>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no grid \"fp16\" (`lowbit quantize --list` prints all)"
        );
    }
}
