//! Buffers of a plan, and where they lie in one arena: two buffers share bytes when no instruction needs both.

use std::ops::Range;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tensor::Tensor;

/// What a buffer holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Codes in the arena.
    Codes,
    /// f32 in the arena.
    Reals,
    /// A tensor of another type, or of a shape known only when it is computed.
    Tensor,
    /// f32 of the plan itself.
    Constant(Vec<f32>),
}

/// Memory of one or several values.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    pub(crate) kind: Kind,
    /// Elements.
    pub(crate) len: usize,
    /// First and last instruction that needs it.
    pub(crate) life: Option<(usize, usize)>,
    /// Arena words (f32), once [`place`] has run.
    pub(crate) words: Range<usize>,
}

impl Buffer {
    pub(crate) fn new(kind: Kind, len: usize) -> Buffer {
        Buffer {
            kind,
            len,
            life: None,
            words: 0..0,
        }
    }

    /// Says that instruction `at` needs it.
    pub(crate) fn touch(&mut self, at: usize) {
        self.life = Some(match self.life {
            None => (at, at),
            Some((first, last)) => (first.min(at), last.max(at)),
        });
    }

    fn size(&self) -> usize {
        let words = match self.kind {
            Kind::Codes => self.len.div_ceil(4),
            Kind::Reals => self.len,
            Kind::Tensor | Kind::Constant(_) => 0,
        };
        words.next_multiple_of(LINE)
    }
}

/// Words of a cache line.
const LINE: usize = 16;

/// Bytes of all buffers side by side; `None` where they exceed what a machine can address.
pub(crate) fn upper_bytes(buffers: &[Buffer]) -> Option<usize> {
    let fits = |n: &usize| *n <= isize::MAX as usize / 8;
    buffers.iter().try_fold(0usize, |n, b| {
        let len = Some(b.len).filter(fits)?;
        n.checked_add(len * 4 + 4 * LINE).filter(fits)
    })
}

/// Gives every buffer its words, largest first, each into the lowest gap among those alive at the same time. Returns the
/// arena's words.
pub(crate) fn place(buffers: &mut [Buffer]) -> usize {
    let mut order: Vec<usize> = (0..buffers.len())
        .filter(|&i| buffers[i].life.is_some() && buffers[i].size() > 0)
        .collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].size()), i));
    let mut placed: Vec<usize> = Vec::new();
    let mut arena = 0;
    for i in order {
        let (size, life) = (buffers[i].size(), buffers[i].life);
        let mut at = 0;
        // `placed` is sorted by start.
        for &other in &placed {
            let other = &buffers[other];
            let (Some((first, last)), Some((from, to))) = (life, other.life) else {
                continue;
            };
            if from > last || to < first {
                continue;
            }
            if other.words.start >= at + size {
                break;
            }
            at = at.max(other.words.end);
        }
        buffers[i].words = at..at + size;
        arena = arena.max(at + size);
        let slot = placed.partition_point(|&p| buffers[p].words.start <= at);
        placed.insert(slot, i);
    }
    arena
}

/// Memory of one run.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    words: Vec<f32>,
    /// First word on a cache line.
    start: usize,
    /// Tensors by buffer.
    pub(crate) tensors: Vec<Option<Tensor>>,
}

impl Scratch {
    fn new(words: usize, tensors: usize) -> Option<Scratch> {
        let mut memory: Vec<f32> = Vec::new();
        memory.try_reserve_exact(words + LINE).ok()?;
        memory.resize(words + LINE, 0.0);
        let start = memory.as_ptr().align_offset(4 * LINE).min(LINE);
        Some(Scratch {
            words: memory,
            start,
            tensors: vec![None; tensors],
        })
    }

    /// The arena, and the tensors.
    pub(crate) fn parts(&mut self) -> (&mut [f32], &mut Vec<Option<Tensor>>) {
        (&mut self.words[self.start..], &mut self.tensors)
    }
}

/// Scratch memories that wait for the next run: as many as there were runs at the same time, and no more than the limit
/// allows, beyond which runs wait.
#[derive(Debug)]
pub(crate) struct Scratches {
    idle: Mutex<(Vec<Scratch>, usize)>,
    returned: Condvar,
    pub(crate) words: usize,
    pub(crate) tensors: usize,
    pub(crate) most: usize,
}

impl Scratches {
    pub(crate) fn new(words: usize, tensors: usize, most: usize) -> Scratches {
        Scratches {
            idle: Mutex::new((Vec::new(), 0)),
            returned: Condvar::new(),
            words,
            tensors,
            most: most.max(1),
        }
    }

    /// An idle scratch memory or a new one; waits while all that the limit allows are in use and `stop` says nothing.
    pub(crate) fn take<E>(
        &self,
        no_memory: impl Fn() -> E,
        mut stop: impl FnMut() -> Option<E>,
    ) -> Result<Scratch, E> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(scratch) = idle.0.pop() {
                return Ok(scratch);
            }
            if idle.1 < self.most {
                idle.1 += 1;
                drop(idle);
                return Scratch::new(self.words, self.tensors).ok_or_else(|| {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
                    no_memory()
                });
            }
            if let Some(error) = stop() {
                return Err(error);
            }
            let wait = Duration::from_millis(10);
            idle = self
                .returned
                .wait_timeout(idle, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Gives a scratch memory back.
    pub(crate) fn give(&self, scratch: Scratch) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.0.push(scratch);
        drop(idle);
        self.returned.notify_one();
    }
}

/// Whether a deadline has passed.
pub(crate) fn passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|d| Instant::now() >= d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_meet_do_not_overlap() {
        let mut state = 7u64;
        let mut next = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        let mut buffers: Vec<Buffer> = (0..200)
            .map(|_| {
                let kind = if next(2) == 0 { Kind::Codes } else { Kind::Reals };
                let mut b = Buffer::new(kind, next(1000) as usize);
                let first = next(100) as usize;
                b.touch(first);
                b.touch(first + next(20) as usize);
                b
            })
            .collect();
        let arena = place(&mut buffers);
        let all: usize = buffers.iter().map(Buffer::size).sum();
        assert!(arena < all / 3, "{arena} of {all} words");
        for (i, a) in buffers.iter().enumerate() {
            assert!(a.words.end <= arena && a.words.len() == a.size());
            for b in &buffers[..i] {
                let (Some(la), Some(lb)) = (a.life, b.life) else {
                    unreachable!()
                };
                let meet = la.0 <= lb.1 && lb.0 <= la.1;
                let overlap = a.words.start < b.words.end && b.words.start < a.words.end;
                assert!(!(meet && overlap), "{a:?} {b:?}");
            }
        }
    }
}
