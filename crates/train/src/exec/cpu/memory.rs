//! The memory of a program, and the parts of it that one instruction sees.

use crate::exec::ExecError;
use crate::program::{Instr, Place, Program, Slot, SlotKind};

/// f32 of a cache line.
const LINE: usize = 16;

/// All numbers of a program.
#[derive(Debug)]
pub(super) struct Memory {
    words: Vec<f32>,
    /// First word on a cache line.
    start: usize,
    /// By slot: parameters and constants, which instructions read.
    pub(super) values: Vec<Vec<f32>>,
    /// By slot: gradients of parameters, which instructions write.
    pub(super) gradients: Vec<Vec<f32>>,
}

impl Memory {
    pub(super) fn new(program: &Program) -> Result<Memory, ExecError> {
        let want = program.arena + LINE;
        let mut words: Vec<f32> = Vec::new();
        words
            .try_reserve_exact(want)
            .map_err(|_| ExecError::Memory { bytes: want * 4 })?;
        words.resize(want, 0.0);
        let start = words.as_ptr().align_offset(4 * LINE).min(LINE);
        let values = program.slots.iter().map(|s| match &s.kind {
            SlotKind::Parameter(i) => program.parameters()[*i].initial.clone(),
            SlotKind::Constant(values) => values.clone(),
            _ => Vec::new(),
        });
        let gradients = program.slots.iter().map(|s| match s.kind {
            SlotKind::Gradient(_) => vec![0.0; s.len],
            _ => Vec::new(),
        });
        Ok(Memory {
            words,
            start,
            values: values.collect(),
            gradients: gradients.collect(),
        })
    }

    /// A temporary, between instructions.
    pub(super) fn temporary(&mut self, program: &Program, slot: Slot) -> &mut [f32] {
        match &program.places[slot.index()] {
            Place::Arena(range) => &mut self.words[self.start + range.start..self.start + range.end],
            _ => &mut [],
        }
    }

    /// What an instruction reads and writes.
    pub(super) fn views<'a>(&'a mut self, program: &Program, instruction: &Instr) -> Views<'a> {
        let (reads, writes) = (instruction.reads(), instruction.writes());
        let mut ranges: Vec<(usize, usize, Slot)> = Vec::with_capacity(reads.len() + writes.len());
        // Of a read and a written slot in the same place the written one stays: the kernel works in place.
        for &s in writes.iter().chain(&reads) {
            if let Place::Arena(range) = &program.places[s.index()]
                && !range.is_empty()
                && ranges.iter().all(|r| r.0 != range.start)
            {
                ranges.push((range.start, range.end, s));
            }
        }
        ranges.sort_unstable_by_key(|r| r.0);
        let mut list = Vec::with_capacity(ranges.len() + 2);
        let mut rest = &mut self.words[self.start..];
        let mut at = 0;
        for (from, to, s) in ranges {
            let (_, tail) = rest.split_at_mut(from - at);
            let (here, tail) = tail.split_at_mut(to - from);
            list.push((s, Some(here)));
            (rest, at) = (tail, to);
        }
        let held = |s: &&Slot| matches!(program.slots[s.index()].kind, SlotKind::Gradient(_));
        let mut held = writes.iter().filter(held).map(|s| s.index());
        match (held.next(), held.next()) {
            (Some(a), Some(b)) => {
                if let Ok([first, second]) = self.gradients.get_disjoint_mut([a, b]) {
                    list.push((Slot(a as u32), Some(first)));
                    list.push((Slot(b as u32), Some(second)));
                }
            }
            (Some(a), None) => list.push((Slot(a as u32), Some(&mut self.gradients[a]))),
            _ => {}
        }
        Views {
            list,
            values: &self.values,
        }
    }
}

/// The slots of one instruction.
pub(super) struct Views<'a> {
    list: Vec<(Slot, Option<&'a mut [f32]>)>,
    values: &'a [Vec<f32>],
}

impl<'a> Views<'a> {
    /// A written slot; each is taken once.
    pub(super) fn take(&mut self, s: Slot) -> &'a mut [f32] {
        let found = self.list.iter_mut().find(|v| v.0 == s);
        found.and_then(|v| v.1.take()).unwrap_or_default()
    }

    /// A read slot; `None` where it is in the place of a written one.
    pub(super) fn get(&self, s: Slot) -> Option<&[f32]> {
        match self.list.iter().find(|v| v.0 == s) {
            Some(v) => v.1.as_deref(),
            None => Some(self.values[s.index()].as_slice()).filter(|v| !v.is_empty()),
        }
    }

    /// A read slot that no written one takes the place of.
    pub(super) fn read(&self, s: Slot) -> &[f32] {
        self.get(s).unwrap_or_default()
    }

    /// Gives `y` what `x` holds, unless they are one: for kernels that work in place.
    pub(super) fn start_from(&self, x: Slot, y: &mut [f32]) {
        if let Some(x) = self.get(x) {
            y.copy_from_slice(x);
        }
    }
}
