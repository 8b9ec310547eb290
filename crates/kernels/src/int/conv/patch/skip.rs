//! Lines of weights that are all zeros are neither stored nor read: groups of 16 output × 4 input channels of a tap, or wider ones, that were pruned. A row that
//! takes panels in pairs skips the lines that are zeros in both.

use std::ops::Range;

use super::pack::Line;
use super::{Body, Patched};

/// The lines that are left, block after block of one or two panels.
pub(super) struct Kept {
    /// Panels of a block; the last block of a layer may have one.
    together: usize,
    /// Segment of a line, and its bytes from there on.
    lines: Vec<(u32, u32)>,
    blocks: Vec<Block>,
}

/// Lines of a block, which its panels share, and where its weights begin: [panel][line].
struct Block {
    lines: Range<usize>,
    weights: usize,
}

/// A layer skips if this part of its lines can go: below it, reading the list takes what it saves.
const WORTH: f64 = 0.125;

impl Kept {
    /// Bytes of the lists.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.lines[..]) + size_of_val(&self.blocks[..])
    }

    /// Bytes to each line's input, where those to the segments are given.
    pub(super) fn shifts(&self, segments: &[usize]) -> Vec<usize> {
        let place = |&(segment, bytes): &(u32, u32)| segments[segment as usize] + bytes as usize;
        self.lines.iter().map(place).collect()
    }

    /// Panels of a block.
    pub(super) fn together(&self) -> usize {
        self.together
    }

    /// Number of the first weight of the block that begins with a panel, and its shifts.
    pub(super) fn block<'s>(&self, panel: usize, shifts: &'s [usize]) -> (usize, &'s [usize]) {
        let block = &self.blocks[panel / self.together];
        (block.weights, &shifts[block.lines.clone()])
    }
}

impl Patched {
    /// Drops lines of zeros where there are enough of them, from a layer of one digit whose row takes lists of lines.
    pub(super) fn without_zeros(mut self) -> Patched {
        let Body::Dense {
            panels,
            segments,
            quads,
            ..
        } = self.body
        else {
            return self;
        };
        let each = segments * quads;
        let Some(listed) = self.row.listed.filter(|_| self.planes == 1 && each > 0) else {
            return self;
        };
        // Pairs are the same wherever a task begins.
        let pairs = listed.pair.is_some() && (self.shape.groups == 1 || panels % 2 == 0);
        let together = if pairs && panels > 1 { 2 } else { 1 };
        let used =
            |block: &[Line], at: usize| block.iter().skip(at).step_by(each).any(|line| !line.is_zero());
        // Looked at first: most layers keep all their lines, and what is left is a copy.
        let blocks = || self.weights.chunks(together * each);
        let gone: usize = blocks()
            .map(|block| (0..each).filter(|&at| !used(block, at)).count() * (block.len() / each))
            .sum();
        if gone == 0 || (gone as f64) < WORTH * self.weights.len() as f64 {
            return self;
        }
        let mut kept = Kept {
            together,
            lines: Vec::new(),
            blocks: Vec::new(),
        };
        let mut weights: Vec<Line> = Vec::with_capacity(self.weights.len() - gone);
        for block in blocks() {
            let left: Vec<usize> = (0..each).filter(|&at| used(block, at)).collect();
            let first = kept.lines.len();
            kept.blocks.push(Block {
                lines: first..first + left.len(),
                weights: weights.len(),
            });
            let line = |&at: &usize| ((at / quads) as u32, (at % quads * 4) as u32);
            kept.lines.extend(left.iter().map(line));
            for panel in block.chunks(each) {
                weights.extend(left.iter().map(|&at| panel[at]));
            }
        }
        self.weights = weights;
        self.kept = Some(kept);
        self
    }
}
