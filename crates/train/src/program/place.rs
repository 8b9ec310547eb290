//! Where slots lie in one arena: two share memory when no instruction needs both.

use std::ops::Range;

use super::build::{SlotInfo, SlotKind};
use super::instr::{Instr, Slot};

/// f32 of a cache line.
const LINE: usize = 16;

/// A slot's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Elements of the arena.
    Arena(Range<usize>),
    /// Memory of its own.
    Held,
    /// None: nothing reads or writes it.
    Nowhere,
}

/// First and last instruction that needs a slot.
type Life = Option<(usize, usize)>;

/// Gives every temporary its place. `alive` are slots that the caller reads or writes at an instruction's index. Returns the places
/// and the arena's length.
pub(super) fn place(
    slots: &[SlotInfo],
    instructions: &[Instr],
    alive: &[(Slot, usize)],
) -> (Vec<Place>, usize) {
    let mut lives: Vec<Life> = vec![None; slots.len()];
    let mut touch = |s: Slot, at: usize| {
        let life = &mut lives[s.index()];
        *life = Some(life.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    };
    for (at, instruction) in instructions.iter().enumerate() {
        for s in instruction.reads().into_iter().chain(instruction.writes()) {
            touch(s, at);
        }
    }
    for &(s, at) in alive {
        touch(s, at);
    }
    let temporary = |s: Slot| slots[s.index()].kind == SlotKind::Temporary;
    // A slot that is read for the last time where another is written in place becomes one with it.
    let mut owner: Vec<usize> = (0..slots.len()).collect();
    for (at, instruction) in instructions.iter().enumerate() {
        if let Some((from, to)) = instruction.in_place()
            && temporary(from)
            && temporary(to)
            && slots[from.index()].len == slots[to.index()].len
            && instruction.reads().iter().filter(|&&s| s == from).count() == 1
        {
            let root = owner[from.index()];
            if let (Some((first, last)), Some((_, end))) = (lives[root], lives[to.index()])
                && last == at
                && owner[to.index()] == to.index()
            {
                owner[to.index()] = root;
                lives[root] = Some((first, end));
                lives[to.index()] = None;
            }
        }
    }
    let size = |i: usize| slots[i].len.next_multiple_of(LINE);
    let mut order: Vec<usize> = (0..slots.len())
        .filter(|&i| lives[i].is_some() && temporary(Slot(i as u32)) && size(i) > 0)
        .collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(size(i)), i));
    let mut starts: Vec<usize> = vec![0; slots.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut arena = 0;
    for i in order {
        let mut at = 0;
        // `placed` is sorted by start.
        for &other in &placed {
            let (Some((first, last)), Some((from, to))) = (lives[i], lives[other]) else {
                continue;
            };
            if from > last || to < first {
                continue;
            }
            if starts[other] >= at + size(i) {
                break;
            }
            at = at.max(starts[other] + size(other));
        }
        starts[i] = at;
        arena = arena.max(at + size(i));
        let slot = placed.partition_point(|&p| starts[p] <= at);
        placed.insert(slot, i);
    }
    let places = (0..slots.len()).map(|i| match slots[i].kind {
        SlotKind::Temporary => match lives[owner[i]] {
            Some(_) => Place::Arena(starts[owner[i]]..starts[owner[i]] + slots[i].len),
            None => Place::Nowhere,
        },
        _ => Place::Held,
    });
    (places.collect(), arena)
}
