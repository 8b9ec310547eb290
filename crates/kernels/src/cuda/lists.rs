//! Lists of elements by position, in the device's memory: what Gather and linear Resize read.

use super::{Given, Memory};
use crate::float::Linear;
use crate::float::backward::Gather;

/// For each position of a result the elements that it is the sum of, weighted or not; made once for an operator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lists {
    /// Axis after axis: where each position's list begins, and the end.
    first: Vec<i32>,
    source: Vec<i32>,
    weight: Vec<f64>,
    /// Positions of each axis, and of the axis that they name.
    positions: [usize; 3],
    sources: [usize; 3],
}

impl Lists {
    /// Those of [`Memory::gather`], and turned around those of [`Memory::gather_backward`].
    pub fn gather(op: &Gather) -> [Lists; 2] {
        let lists: Vec<Vec<(usize, f64)>> = (op.indices.iter())
            .map(|i| i.iter().map(|&i| (i, 1.0)).collect())
            .collect();
        both(
            [lists, vec![vec![(0, 1.0)]], vec![vec![(0, 1.0)]]],
            [op.len, 1, 1],
        )
    }

    /// Those of [`Memory::resize_linear`], and turned around those of [`Memory::resize_linear_backward`].
    pub fn resize_linear(op: &Linear) -> [Lists; 2] {
        let axis = |i: usize| match &op.axes[i] {
            None => (0..op.input[i]).map(|at| vec![(at, 1.0)]).collect(),
            Some(axis) => (axis.taps.iter())
                .map(|&(left, right, t)| vec![(left, 1.0 - t), (right, t)])
                .collect(),
        };
        both([0, 1, 2].map(axis), op.input)
    }

    /// Appends the words to `all`, which lie behind `start`.
    pub(super) fn place(&self, start: usize, all: &mut Vec<f32>) -> Placed {
        let mut append = |words: &[f32]| {
            all.resize(all.len().next_multiple_of(16), 0.0);
            let at = start + all.len();
            all.extend_from_slice(words);
            at
        };
        // Words are only copied, whatever they mean.
        Placed {
            first: append(bytemuck::cast_slice(&self.first)),
            source: append(bytemuck::cast_slice(&self.source)),
            weight: append(bytemuck::cast_slice(&self.weight)),
            positions: self.positions,
            sources: self.sources,
        }
    }
}

/// [`Lists`] in the memory: first words, behind all that operators write.
#[derive(Debug)]
pub(super) struct Placed {
    first: usize,
    source: usize,
    weight: usize,
    pub(super) positions: [usize; 3],
    pub(super) sources: [usize; 3],
}

impl Memory {
    /// First, source and weight as arguments.
    pub(super) fn addresses(&self, lists: &Placed) -> [Given; 3] {
        [lists.first, lists.source, lists.weight].map(|at| Given::Address(self.base + 4 * at as u64))
    }
}

/// Lists by position of each axis, and by source.
fn both(axes: [Vec<Vec<(usize, f64)>>; 3], sources: [usize; 3]) -> [Lists; 2] {
    let mut turned = sources.map(|n| vec![Vec::new(); n]);
    for (lists, turned) in axes.iter().zip(&mut turned) {
        for (position, list) in lists.iter().enumerate() {
            for &(source, weight) in list {
                turned[source].push((position, weight));
            }
        }
    }
    let positions = [0, 1, 2].map(|i| axes[i].len());
    [flat(&axes, positions, sources), flat(&turned, sources, positions)]
}

fn flat(axes: &[Vec<Vec<(usize, f64)>>; 3], positions: [usize; 3], sources: [usize; 3]) -> Lists {
    let mut lists = Lists {
        positions,
        sources,
        ..Lists::default()
    };
    for axis in axes {
        lists.first.push(lists.source.len() as i32);
        for list in axis {
            lists.source.extend(list.iter().map(|e| e.0 as i32));
            lists.weight.extend(list.iter().map(|e| e.1));
            lists.first.push(lists.source.len() as i32);
        }
    }
    lists
}
