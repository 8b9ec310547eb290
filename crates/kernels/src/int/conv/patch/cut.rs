//! How a layer is cut into tasks: by what its patches hold, and by how many threads wait.

use super::lay::Lay;
use super::{Body, Patched};

/// Bytes of a patch, about: of a layer of kernel 1, whose panels all read it while it is in the first cache, and of others.
const SMALL: usize = 16 << 10;
const LARGE: usize = 48 << 10;
/// A chunk of a line has no fewer pixels than this, if the line has.
const COLUMNS: usize = 24;
/// … and no fewer lines than this, if the layer has, only for the sake of more tasks.
const LINES: usize = 4;
/// Tasks that a thread finds: with fewer, one more or less is a large part of the time.
const TASKS: usize = 4;
/// Multiplications that are worth a task of their own; those of depthwise layers take several times as long.
const WORTH: u64 = 1 << 19;
const DEPTHWISE: usize = 8;

impl Patched {
    /// Lines and pixels of a line of a task: what a patch may hold, in parts of nearly the same size, and for several threads so many that these end together.
    pub(super) fn chunk(&self, threads: usize) -> (usize, usize) {
        let s = &self.shape;
        let budget = if s.kernel == [1; 3] { SMALL } else { LARGE };
        let [depth, height, width] = s.output;
        let mut columns = width;
        while columns > COLUMNS && Lay::new(s, self.row.unit(), 1, columns).bytes() > budget {
            columns = columns.div_ceil(2).next_multiple_of(12);
        }
        let each = self.body.lines();
        let mut lines = each;
        while lines < height && Lay::new(s, self.row.unit(), lines + each, columns).bytes() <= budget {
            lines += each;
        }
        let others = s.batch * depth * width.div_ceil(columns);
        let tasks = self.tasks(threads).div_ceil(others);
        // Every part lays out the lines that the kernel reaches over: few lines would be mostly those.
        let parts = tasks.min(height / LINES).max(height.div_ceil(lines));
        let parts = match parts >= threads && !others.is_multiple_of(threads) {
            true => parts.next_multiple_of(threads),
            false => parts,
        };
        let lines = height.div_ceil(parts).next_multiple_of(each);
        if height > 1 || threads == 1 {
            return (lines, columns);
        }
        // A layer of kernel 1 is one line.
        let parts = (tasks * others).min(width / COLUMNS);
        (
            lines,
            columns.min(width.div_ceil(parts.max(1)).next_multiple_of(12)),
        )
    }

    /// Tasks that a layer is worth.
    fn tasks(&self, threads: usize) -> usize {
        if threads == 1 {
            return 1;
        }
        let s = &self.shape;
        let pixels = s.batch * s.output.iter().product::<usize>();
        let each = s.kernel.iter().product::<usize>() * s.in_channels / s.groups;
        let weight = match self.body {
            Body::Depthwise { .. } => DEPTHWISE,
            Body::Dense { .. } => 1,
        };
        let work = pixels as u64 * s.out_channels as u64 * (each * weight) as u64;
        ((work / WORTH) as usize).clamp(threads, TASKS * threads)
    }

    /// Parts that the panels of a task are split into where there are too few chunks for the threads. Each of them lays out the whole patch again, if there is one.
    pub(super) fn splits(&self, threads: usize, chunks: usize) -> usize {
        let want = match self.body {
            Body::Depthwise { flat: true, .. } => 1,
            Body::Depthwise { .. } => threads,
            Body::Dense { .. } => self.tasks(threads),
        };
        if threads == 1 { 1 } else { want.div_ceil(chunks) }
    }
}
