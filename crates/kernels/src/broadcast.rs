//! Numpy broadcasting of two operands.

use crate::{Pool, split};

/// How two operands cover an output: runs of consecutive elements over outer loops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// (count, step in a, step in b), outermost first.
    pub(crate) outer: Vec<(usize, usize, usize)>,
    /// Elements of one run, and whether a and b advance in it.
    pub(crate) run: usize,
    pub(crate) a_moves: bool,
    pub(crate) b_moves: bool,
}

impl Broadcast {
    /// For operands of the same rank in channels-last order, where each axis is equal or 1 on one side;
    /// `None` when the shapes do not broadcast.
    pub fn new(a: &[usize], b: &[usize]) -> Option<Broadcast> {
        // (count, a moves, b moves) of merged axes, innermost first.
        let mut axes: Vec<(usize, bool, bool)> = Vec::new();
        if a.len() != b.len() || a.iter().zip(b).any(|(&m, &n)| m != n && m != 1 && n != 1) {
            return None;
        }
        for (&m, &n) in a.iter().zip(b).rev() {
            let axis = (if m == 1 { n } else { m }, m != 1, n != 1);
            match axes.last_mut() {
                _ if m == 1 && n == 1 => {}
                Some(last) if (last.1, last.2) == (axis.1, axis.2) => last.0 *= axis.0,
                _ => axes.push(axis),
            }
        }
        let (mut a_step, mut b_step) = (1, 1);
        let mut loops = Vec::with_capacity(axes.len());
        for (count, a_moves, b_moves) in axes {
            loops.push((
                count,
                if a_moves { a_step } else { 0 },
                if b_moves { b_step } else { 0 },
            ));
            a_step *= if a_moves { count } else { 1 };
            b_step *= if b_moves { count } else { 1 };
        }
        loops.reverse();
        let (run, a_inner, b_inner) = loops.pop().unwrap_or((1, 1, 1));
        Some(Broadcast {
            outer: loops,
            run,
            a_moves: a_inner != 0,
            b_moves: b_inner != 0,
        })
    }

    /// Elements of the output.
    pub fn len(&self) -> usize {
        self.run * self.outer.iter().map(|&(count, ..)| count).product::<usize>()
    }

    /// Elements of a, where it moves.
    #[cfg(feature = "cuda")]
    pub(crate) fn a_len(&self) -> usize {
        let outer = self.outer.iter().filter(|l| l.1 != 0).map(|l| l.0);
        outer.product::<usize>() * if self.a_moves { self.run } else { 1 }
    }

    /// Elements of b, where it moves.
    #[cfg(feature = "cuda")]
    pub(crate) fn b_len(&self) -> usize {
        let outer = self.outer.iter().filter(|l| l.2 != 0).map(|l| l.0);
        outer.product::<usize>() * if self.b_moves { self.run } else { 1 }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where run `i` starts in a and b.
    fn starts(&self, mut i: usize) -> (usize, usize) {
        let (mut a, mut b) = (0, 0);
        for &(count, a_step, b_step) in self.outer.iter().rev() {
            a += i % count * a_step;
            b += i % count * b_step;
            i /= count;
        }
        (a, b)
    }

    /// Calls `row(a, b, y)` on equally long slices that together cover the output.
    pub(crate) fn for_rows<T: Copy + Send + Sync>(
        &self,
        pool: &Pool,
        a: &[T],
        b: &[T],
        y: &mut [T],
        row: impl Fn(&[T], &[T], &mut [T]) + Sync,
    ) {
        assert_eq!(y.len(), self.len(), "output length");
        if self.run == 0 {
            return;
        }
        // One long run is split like many short ones; a run that is cut starts inside.
        let piece = self.run.min(1 << 14);
        let step = if self.outer.is_empty() { piece } else { self.run };
        split::chunks(pool, y, step, 1 << 14, |start, part| {
            let mut at = start;
            for y in part.chunks_mut(step) {
                let (mut a_at, mut b_at) = self.starts(at / self.run);
                let inside = at % self.run;
                a_at += if self.a_moves { inside } else { 0 };
                b_at += if self.b_moves { inside } else { 0 };
                at += y.len();
                match (self.a_moves, self.b_moves) {
                    (true, true) => row(&a[a_at..a_at + y.len()], &b[b_at..b_at + y.len()], y),
                    (true, false) => {
                        let same = [b[b_at]; 256];
                        for (a, y) in a[a_at..].chunks(256).zip(y.chunks_mut(256)) {
                            row(&a[..y.len()], &same[..y.len()], y);
                        }
                    }
                    _ => {
                        let same = [a[a_at]; 256];
                        for (b, y) in b[b_at..].chunks(256).zip(y.chunks_mut(256)) {
                            row(&same[..y.len()], &b[..y.len()], y);
                        }
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_covers_every_pattern() {
        let shapes: [(&[usize], &[usize]); 7] = [
            (&[2, 1, 3, 4, 5], &[2, 1, 3, 4, 5]),
            (&[2, 1, 3, 4, 5], &[2, 1, 1, 1, 5]),
            (&[2, 1, 1, 1, 5], &[2, 1, 3, 4, 5]),
            (&[2, 1, 3, 4, 5], &[1, 1, 1, 1, 1]),
            (&[2, 1, 3, 4, 1], &[2, 1, 1, 4, 5]),
            (&[1, 1, 1, 1, 1], &[1, 1, 1, 1, 1]),
            (&[1, 1, 3, 1, 300], &[1, 1, 3, 1, 1]),
        ];
        let pool = Pool::new(2);
        for (a, b) in shapes {
            let count = |s: &[usize]| s.iter().product::<usize>();
            let codes = |n: usize, k: usize| (0..n).map(|i| (i * k % 251) as u8).collect::<Vec<_>>();
            let (xa, xb) = (codes(count(a), 7), codes(count(b), 13));
            let shape = Broadcast::new(a, b).expect("shapes broadcast");
            let mut y = vec![0; shape.len()];
            shape.for_rows(&pool, &xa, &xb, &mut y, |a, b, y| {
                for (i, y) in y.iter_mut().enumerate() {
                    *y = a[i] ^ b[i];
                }
            });
            let dims: Vec<usize> = a.iter().zip(b).map(|(&m, &n)| m.max(n)).collect();
            for (i, &got) in y.iter().enumerate() {
                let (mut rest, mut at_a, mut at_b, mut step_a, mut step_b) = (i, 0, 0, 1, 1);
                for axis in (0..5).rev() {
                    let at = rest % dims[axis];
                    rest /= dims[axis];
                    at_a += if a[axis] == 1 { 0 } else { at } * step_a;
                    at_b += if b[axis] == 1 { 0 } else { at } * step_b;
                    step_a *= a[axis];
                    step_b *= b[axis];
                }
                assert_eq!(got, xa[at_a] ^ xb[at_b], "{a:?} {b:?} element {i}");
            }
        }
        assert_eq!(Broadcast::new(&[2, 3], &[2, 4]), None);
    }
}
