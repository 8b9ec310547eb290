//! Levels that are multiples of a power of two but for a few: what is held in digits is divided by it, sums are multiplied by it again, and the few are a
//! list. LBW 6 takes two digits of 8 bits so, instead of three: only the levels ±1, of weights 2¹⁵ times smaller than the largest, are odd.

use super::PANEL;
use super::row::PatchRow;

/// What an entry of the list costs, in lines of weights: for each pixel it is a load, a product and a sum of its own.
const ENTRY: usize = 4;

/// Most bits that are tried; wider levels than those of any grid.
const BITS: u32 = 16;

/// How a layer is divided.
#[derive(Debug, Default)]
pub(super) struct Low {
    /// Digits hold levels divided by 2^bits.
    pub(super) bits: u32,
    /// What that leaves out, panel after panel.
    rests: Vec<Rest>,
}

#[derive(Debug)]
struct Rest {
    panel: u32,
    lane: u32,
    segment: u32,
    /// Element of the segment.
    element: u32,
    level: i32,
}

/// One level of a list, where a call finds its input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Bytes from a pixel to the code or difference.
    pub(crate) shift: usize,
    /// Channel among those of the call.
    pub(crate) lane: usize,
    pub(crate) level: i32,
}

/// The part of a level that digits of 2^bits hold.
fn main(level: i32, bits: u32) -> i32 {
    (i64::from(level) / (1i64 << bits)) as i32
}

/// The part that they leave.
fn rest(level: i32, bits: u32) -> i32 {
    (i64::from(level) % (1i64 << bits)) as i32
}

impl Low {
    /// What costs least for levels, given with their largest magnitude, of which each digit takes `lines` lines of weights; nothing where one digit is enough. Depthwise layers take no list.
    pub(super) fn of(row: &PatchRow, (levels, largest): (&[i32], u32), lines: usize, depthwise: bool) -> Low {
        if row.planes(largest) == 1 {
            return Low::default();
        }
        let cost = |bits: u32| {
            let left = levels.iter().filter(|&&l| rest(l, bits) != 0).count();
            let listed = if depthwise && left > 0 {
                usize::MAX
            } else {
                ENTRY * left
            };
            (row.planes(largest >> bits) as usize * lines).saturating_add(listed)
        };
        // The fewest bits of those that cost as little.
        Low {
            bits: (0..=BITS).min_by_key(|&bits| cost(bits)).unwrap_or(0),
            rests: Vec::new(),
        }
    }

    /// The levels to hold in digits, and what they leave to the list, of one channel, whose weights lie in segments of `len`.
    pub(super) fn divide(&mut self, levels: &[i32], len: usize, (panel, lane): (usize, usize)) -> Vec<i32> {
        for (i, &level) in levels.iter().enumerate() {
            let level = rest(level, self.bits);
            if level != 0 {
                self.rests.push(Rest {
                    panel: panel as u32,
                    lane: lane as u32,
                    segment: (i / len) as u32,
                    element: (i % len) as u32,
                    level,
                });
            }
        }
        levels.iter().map(|&l| main(l, self.bits)).collect()
    }

    /// Bytes of the list.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.rests[..])
    }

    /// The list of some panels, for segments at these shifts and elements of `unit` bytes.
    pub(super) fn entries(
        &self,
        panels: std::ops::Range<usize>,
        shifts: &[usize],
        unit: usize,
    ) -> Vec<Entry> {
        let first = self.rests.partition_point(|r| (r.panel as usize) < panels.start);
        let rests = self.rests[first..].iter();
        rests
            .take_while(|r| (r.panel as usize) < panels.end)
            .map(|r| Entry {
                shift: shifts[r.segment as usize] + r.element as usize * unit,
                lane: (r.panel as usize - panels.start) * PANEL + r.lane as usize,
                level: r.level,
            })
            .collect()
    }
}

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use super::*;
    use crate::int::conv::most;
    use crate::int::simd;

    #[test]
    fn digits_and_list_are_the_level() {
        for bits in 0..=BITS {
            for level in (-70_000..70_000).chain([i32::MIN, i32::MAX]) {
                let sum = i64::from(main(level, bits)) * (1 << bits) + i64::from(rest(level, bits));
                assert_eq!(sum, i64::from(level));
            }
        }
    }

    #[test]
    fn lbw_6_takes_a_digit_less_and_what_does_not_pay_stays() {
        let bytes = &simd::lines512::PATCH;
        let powers = |few: i32, each: usize| -> Vec<i32> {
            let level = |i: usize| match i % each {
                0 => few,
                _ => -32_768 >> (i % 15),
            };
            (0..10_000).map(level).collect()
        };
        // Levels of 2 … 2¹⁵, a few of them 1: three digits of a byte without dividing, two of 16 bits.
        for (row, digits) in [(bytes, 3), (&simd::lines::PATCH, 2)] {
            let levels = powers(1, 1000);
            let mut low = Low::of(row, (&levels, most(&levels)), 10_000 / 64, false);
            let held = low.divide(&levels, 100, (0, 0));
            assert_eq!((low.bits, row.planes(most(&levels))), (1, digits));
            assert_eq!(row.planes(most(&held)), digits - 1);
            assert_eq!(low.rests.len(), 10);
            // A list that is longer than the digit's lines is not worth it; a depthwise layer takes none at all.
            assert_eq!(Low::of(row, (&powers(1, 2), 1 << 15), 10_000 / 64, false).bits, 0);
            assert_eq!(Low::of(row, (&levels, most(&levels)), 10_000 / 64, true).bits, 0);
            assert_eq!(
                Low::of(row, (&powers(2, 1000), 1 << 15), 10_000 / 64, true).bits,
                1
            );
        }
        assert_eq!(Low::of(bytes, (&[127, -4, 2], 127), 1, false).bits, 0);
    }
}
