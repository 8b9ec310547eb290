//! Lines of weights that are all zeros are neither stored nor read: groups of 16 output × 4 input channels of a tap, or wider ones, that were pruned.

use super::pack::Line;
use super::{Body, Patched};

/// The lines that are left, panel after panel.
pub(super) struct Kept {
    /// Segment of a line, and its bytes from there on.
    lines: Vec<(u32, u32)>,
    /// Where the lines of each panel begin, and the end.
    first: Vec<usize>,
}

/// A layer skips from this share of zero lines on, in eighths: below it, reading the list of lines takes what it saves.
const WORTH: usize = 1;

impl Kept {
    /// Bytes of the lists.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.lines[..]) + size_of_val(&self.first[..])
    }

    /// Number of a panel's first line.
    pub(super) fn first(&self, panel: usize) -> usize {
        self.first[panel]
    }

    /// Bytes to each line's input, panels together, where those to the segments are given.
    pub(super) fn shifts(&self, segments: &[usize]) -> Vec<usize> {
        let place = |&(segment, bytes): &(u32, u32)| segments[segment as usize] + bytes as usize;
        self.lines.iter().map(place).collect()
    }

    /// Of those the ones of a panel.
    pub(super) fn of_panel<'s>(&self, shifts: &'s [usize], panel: usize) -> &'s [usize] {
        &shifts[self.first[panel]..self.first[panel + 1]]
    }
}

impl Patched {
    /// Drops lines of zeros where there are enough of them, from a layer of one digit whose row takes lines one by one.
    pub(super) fn without_zeros(mut self) -> Patched {
        let Body::Dense { segments, quads, .. } = self.body else {
            return self;
        };
        let zeros = self.weights.iter().filter(|l| l.is_zero()).count();
        if self.planes != 1 || self.row.tiles.is_some() || 8 * zeros < WORTH * self.weights.len().max(1) {
            return self;
        }
        let each = segments * quads;
        let mut kept = Kept {
            lines: Vec::with_capacity(self.weights.len() - zeros),
            first: vec![0],
        };
        let mut weights: Vec<Line> = Vec::with_capacity(self.weights.len() - zeros);
        for panel in self.weights.chunks(each) {
            for (at, line) in panel.iter().enumerate().filter(|(_, line)| !line.is_zero()) {
                kept.lines.push(((at / quads) as u32, (at % quads * 4) as u32));
                weights.push(*line);
            }
            kept.first.push(weights.len());
        }
        self.weights = weights;
        self.kept = Some(kept);
        self
    }
}
