//! Which weights are a group.

use std::fmt;
use std::str::FromStr;

use crate::names::{did_you_mean, nearest};

/// Extent of a group: output channels × input channels × taps of the kernel, `None` all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupShape {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Taps: one, or the whole kernel.
    pub taps: Option<usize>,
}

impl GroupShape {
    /// 16 input channels of one output channel and tap: one load of neighbouring codes.
    pub const LANE: GroupShape = GroupShape {
        outputs: 1,
        inputs: 16,
        taps: Some(1),
    };
    /// 8 input channels of one output channel, whole kernels.
    pub const KERNEL: GroupShape = GroupShape {
        outputs: 1,
        inputs: 8,
        taps: None,
    };
    /// 8 output × 16 input channels of one tap: a tile of a blocked product.
    pub const TILE: GroupShape = GroupShape {
        outputs: 8,
        inputs: 16,
        taps: Some(1),
    };

    /// 16 output × 4 input channels of one tap: a line of weights of the integer kernels, which skip it; those of AVX-512 take two at a time, 32x4x1.
    pub const PANEL: GroupShape = GroupShape {
        outputs: 16,
        inputs: 4,
        taps: Some(1),
    };

    const NAMED: [(&'static str, GroupShape); 4] = [
        ("lane", GroupShape::LANE),
        ("kernel", GroupShape::KERNEL),
        ("tile", GroupShape::TILE),
        ("panel", GroupShape::PANEL),
    ];
}

impl fmt::Display for GroupShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = GroupShape::NAMED.iter().find(|(_, shape)| shape == self) {
            return f.write_str(name);
        }
        write!(f, "{}x{}x", self.outputs, self.inputs)?;
        match self.taps {
            Some(taps) => write!(f, "{taps}"),
            None => f.write_str("k"),
        }
    }
}

impl FromStr for GroupShape {
    type Err = String;

    /// `lane`, `kernel`, `tile`, `panel`, or OUTPUTSxINPUTSxTAPS such as `1x32x1`, `1x8xk` (k: the whole kernel).
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, shape)) = GroupShape::NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*shape);
        }
        let parts: Vec<&str> = text.split('x').collect();
        let number = |text: &str| text.parse::<usize>().ok().filter(|&n| n > 0);
        if let [outputs, inputs, taps] = parts[..]
            && let (Some(outputs), Some(inputs)) = (number(outputs), number(inputs))
            && (taps == "k" || number(taps) == Some(1))
        {
            let taps = (taps != "k").then_some(1);
            return Ok(GroupShape {
                outputs,
                inputs,
                taps,
            });
        }
        let names = GroupShape::NAMED.map(|(name, _)| name);
        let near = did_you_mean(nearest(text, names));
        Err(format!(
            "\"{text}\" is no group: lane, kernel, tile, panel, or outputs x inputs x taps such as 1x16x1, 1x8xk{near}"
        ))
    }
}

/// The groups of a weight [outputs, inputs, taps…], in the order [block of outputs][block of inputs][block of taps]. Where an extent does not divide its
/// axis the last group is short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    shape: GroupShape,
    /// Output channels, input channels, taps of the weight.
    extent: [usize; 3],
    /// Of a group, and how many there are along each axis.
    size: [usize; 3],
    count: [usize; 3],
}

impl Groups {
    /// The groups of a weight in ONNX order; `None` for fewer than two axes or no elements.
    pub fn new(shape: GroupShape, weight: &[usize]) -> Option<Groups> {
        let [outputs, inputs, kernel @ ..] = weight else {
            return None;
        };
        let taps = tensor::numel(kernel).ok()?;
        let extent = [*outputs, *inputs, taps];
        if extent.contains(&0) || tensor::numel(weight).is_err() {
            return None;
        }
        let size = [shape.outputs, shape.inputs, shape.taps.unwrap_or(taps)];
        let size = [0, 1, 2].map(|i| size[i].clamp(1, extent[i]));
        Some(Groups {
            shape,
            extent,
            size,
            count: [0, 1, 2].map(|i| extent[i].div_ceil(size[i])),
        })
    }

    /// What they were asked to be.
    pub fn shape(&self) -> GroupShape {
        self.shape
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count.iter().product()
    }

    /// Never: a weight has elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Weights of a whole group.
    pub fn full(&self) -> usize {
        self.size.iter().product()
    }

    fn blocks(&self, group: usize) -> [usize; 3] {
        let [_, inputs, taps] = self.count;
        [group / (inputs * taps), group / taps % inputs, group % taps]
    }

    /// Output channels of a group.
    pub fn outputs(&self, group: usize) -> std::ops::Range<usize> {
        let first = self.blocks(group)[0] * self.size[0];
        first..self.extent[0].min(first + self.size[0])
    }

    /// Indices of a group's weights, rising.
    pub fn weights(&self, group: usize) -> impl Iterator<Item = usize> {
        let at = self.blocks(group);
        let range = |axis: usize| {
            let first = at[axis] * self.size[axis];
            first..self.extent[axis].min(first + self.size[axis])
        };
        let (inputs, taps, [_, wide, deep]) = (range(1), range(2), self.extent);
        range(0).flat_map(move |o| {
            let taps = taps.clone();
            inputs.clone().flat_map(move |i| {
                let start = (o * wide + i) * deep;
                taps.clone().map(move |t| start + t)
            })
        })
    }

    /// ‖w_g‖ of each group.
    pub fn norms(&self, w: &[f32]) -> Vec<f64> {
        let square = |i: usize| f64::from(w[i]) * f64::from(w[i]);
        (0..self.len())
            .map(|g| self.weights(g).map(square).sum::<f64>().sqrt())
            .collect()
    }

    /// The same, as if short groups were whole: ‖w_g‖·√(full / weights), for comparisons.
    pub fn comparable_norms(&self, w: &[f32]) -> Vec<f64> {
        let mut norms = self.norms(w);
        for (g, norm) in norms.iter_mut().enumerate() {
            *norm *= (self.full() as f64 / self.weights(g).count() as f64).sqrt();
        }
        norms
    }

    /// One value per weight from one per group.
    pub fn spread<T: Copy + Default>(&self, of_group: &[T]) -> Vec<T> {
        let mut all = vec![T::default(); self.extent.iter().product()];
        for (g, &value) in of_group.iter().enumerate() {
            self.weights(g).for_each(|i| all[i] = value);
        }
        all
    }
}
