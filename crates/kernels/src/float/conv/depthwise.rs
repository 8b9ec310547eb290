//! Depthwise layers: a run of pixels of a line × all channels, one multiply-add per tap and register.

use std::ops::Range;

use super::{Clamp, Finish};
use crate::geometry::{Geometry, Line, Phase, Row};
use crate::split::Parts;
use crate::{Out, Pixels, Pool};

/// Multiply-accumulates of a task, about.
const TASK: usize = 1 << 18;

/// Consecutive pixels of a line, all channels.
pub(crate) struct RunCall {
    pub(crate) tap: *const Tap,
    pub(crate) taps: usize,
    pub(crate) pixels: usize,
    /// At least a register.
    pub(crate) channels: usize,
    /// Per block of two registers of channels: bias, then the taps.
    pub(crate) weights: *const f32,
    pub(crate) out: *mut f32,
    /// Elements from pixel to pixel.
    pub(crate) out_step: usize,
    pub(crate) clamp: Option<Clamp>,
}

/// Where a tap reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    pub(crate) pointer: *const f32,
    /// Elements from pixel to pixel; 0 outside of the picture.
    pub(crate) step: usize,
}

/// The depthwise row of an instruction set.
pub(crate) struct DepthwiseRow {
    pub(crate) name: &'static str,
    /// Elements of a register; a block is two.
    pub(crate) lanes: usize,
    pub(crate) run: unsafe fn(&RunCall),
    pub(crate) activate: unsafe fn(crate::float::Activation, &mut [f32]),
}

/// A packed depthwise layer.
pub(crate) struct Depthwise {
    row: &'static DepthwiseRow,
    /// Per phase, as [`RunCall::weights`].
    weights: Vec<Vec<f32>>,
    finish: Finish,
    /// A pixel outside of the picture.
    outside: Vec<f32>,
}

impl std::fmt::Debug for Depthwise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Depthwise")
            .field("row", &self.row.name)
            .finish_non_exhaustive()
    }
}

/// Blocks of channels as the kernel goes: two registers, then single ones, the last moved left to end where the channels end.
fn blocks(channels: usize, lanes: usize) -> impl Iterator<Item = Range<usize>> {
    let mut channel = 0;
    std::iter::from_fn(move || {
        let left = channels.checked_sub(channel).filter(|&left| left > 0)?;
        let width = if left >= 2 * lanes { 2 * lanes } else { lanes };
        let at = channel.min(channels - width);
        channel = at + width;
        Some(at..at + width)
    })
}

impl Depthwise {
    /// Makes room for a layer's weights, all zero; there are at least `row.lanes` channels.
    pub(crate) fn new(row: &'static DepthwiseRow, geometry: &Geometry, finish: Finish) -> Depthwise {
        let channels = geometry.shape.out_channels;
        let blocks = blocks(channels, row.lanes).count();
        let room = |phase: &Phase| vec![0.0; blocks * (phase.taps.len() + 1) * 2 * row.lanes];
        Depthwise {
            row,
            weights: geometry.phases.iter().map(room).collect(),
            finish,
            outside: vec![0.0; channels],
        }
    }

    /// Packs `weights` [channel][tap].
    pub(crate) fn set(&mut self, geometry: &Geometry, weights: &[f32], bias: Option<&[f32]>) {
        let (channels, taps, lanes) = (geometry.shape.out_channels, geometry.taps(), self.row.lanes);
        for (phase, packed) in geometry.phases.iter().zip(&mut self.weights) {
            let mut rows = packed.chunks_exact_mut(2 * lanes);
            for block in blocks(channels, lanes) {
                let mut put = |of: &dyn Fn(usize) -> f32| {
                    for (to, c) in rows.next().into_iter().flatten().zip(block.clone()) {
                        *to = of(c);
                    }
                };
                put(&|c| bias.map_or(0.0, |b| b[c]));
                for &tap in &phase.taps {
                    put(&|c| weights[c * taps + tap]);
                }
            }
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.row.name
    }

    pub(crate) fn packed_bytes(&self) -> usize {
        self.weights.iter().map(|w| w.len() * 4).sum::<usize>() + self.outside.len() * 4
    }

    pub(crate) fn run(&self, pool: &Pool, geometry: &Geometry, x: Pixels<'_, f32>, y: &mut Out<'_, f32>) {
        let channels = geometry.shape.out_channels;
        let (stride, offset) = (y.stride, y.offset);
        let parts = Parts::new(y.data);
        for (phase, weights) in geometry.phases.iter().zip(&self.weights) {
            let row = geometry.row(phase);
            let lines = geometry.shape.batch * phase.pixels() / row.width;
            let each = TASK / (row.width * channels * phase.taps.len()).max(1);
            let each = each.clamp(1, lines);
            pool.run(lines.div_ceil(each), &|task| {
                let mut taps = Vec::with_capacity(phase.taps.len());
                for l in task * each..lines.min((task + 1) * each) {
                    let line = geometry.line(phase, l);
                    let mut at = 0;
                    while at < row.width {
                        let pixels = self.taps(geometry, phase, &row, line, at, x, &mut taps);
                        let output = line.output + at * row.output_step;
                        let step = row.output_step * stride;
                        let len = (pixels - 1) * step + channels;
                        // SAFETY: every output pixel belongs to one phase and one task. Within a phase's line the pixels of
                        // other phases lie between, but only own channels of own pixels are written.
                        let out = unsafe { parts.pointer(output * stride + offset, len) };
                        let call = RunCall {
                            tap: taps.as_ptr(),
                            taps: taps.len(),
                            pixels,
                            channels,
                            weights: weights.as_ptr(),
                            out,
                            out_step: step,
                            clamp: self.finish.clamp,
                        };
                        // SAFETY: the row was chosen for this CPU and has no more lanes than there are channels; every tap
                        // reads pixels inside of the picture, or `outside`; weights are packed by the same blocks.
                        unsafe { (self.row.run)(&call) };
                        if let Some(activation) = self.finish.activation {
                            for p in 0..pixels {
                                let at = (output + p * row.output_step) * stride + offset;
                                // SAFETY: as above; the row was chosen for this CPU.
                                unsafe { (self.row.activate)(activation, parts.part(at, channels)) };
                            }
                        }
                        at += pixels;
                    }
                }
            });
        }
    }

    /// Where the taps of a run that starts at `at` read; returns the run's pixels.
    #[allow(clippy::too_many_arguments)]
    fn taps(
        &self,
        geometry: &Geometry,
        phase: &Phase,
        row: &Row,
        line: Line,
        at: usize,
        x: Pixels<'_, f32>,
        taps: &mut Vec<Tap>,
    ) -> usize {
        taps.clear();
        let run = row.inside.contains(&at);
        for t in 0..phase.taps.len() {
            let input = geometry.input_line(phase, line, t);
            taps.push(match (input, geometry.input_x(phase, at, t)) {
                (Some(base), Some(i)) => Tap {
                    pointer: x.data[(base + i) * x.stride + x.offset..].as_ptr(),
                    step: if run { row.input_step * x.stride } else { 0 },
                },
                _ => Tap {
                    pointer: self.outside.as_ptr(),
                    step: 0,
                },
            });
        }
        if run { row.inside.end - at } else { 1 }
    }
}
