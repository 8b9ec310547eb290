//! Which input pixels an output pixel reads.

use std::borrow::Cow;
use std::ops::Range;

use crate::ConvShape;

/// The geometry of a convolution or a transposed one, by phases.
///
/// A convolution has one phase. A transposed convolution with strides has one per residue of the output coordinates: within
/// a phase every output pixel meets the same kernel taps, so no tap that misses the picture's grid is multiplied.
#[derive(Debug)]
pub(crate) struct Geometry {
    pub(crate) shape: ConvShape,
    pub(crate) transposed: bool,
    pub(crate) phases: Vec<Phase>,
}

/// Output pixels with the same taps.
#[derive(Debug)]
pub(crate) struct Phase {
    axes: [Axis; 3],
    /// Row-major index in the kernel of each tap that is met.
    pub(crate) taps: Vec<usize>,
    /// Index along each axis of each tap that is met.
    taps_by_axis: Vec<[usize; 3]>,
}

#[derive(Debug)]
struct Axis {
    /// Output coordinates of the phase.
    outputs: Vec<usize>,
    /// Kernel taps of the phase.
    taps: Vec<usize>,
    /// Input coordinate of [output][tap].
    inputs: Vec<Option<usize>>,
    /// Whether all taps of an output lie inside the picture.
    inside: Vec<bool>,
    /// Input coordinate of a tap, less that of the first tap.
    shifts: Vec<isize>,
}

/// An output pixel, found by its number in a phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    batch: usize,
    at: [usize; 3],
}

impl Geometry {
    pub(crate) fn new(shape: &ConvShape, transposed: bool) -> Geometry {
        let phases_of = |axis: usize| if transposed { shape.stride[axis] } else { 1 };
        let mut phases = Vec::new();
        for z in 0..phases_of(0) {
            for y in 0..phases_of(1) {
                for x in 0..phases_of(2) {
                    let axes = [(0, z), (1, y), (2, x)].map(|(i, r)| Axis::new(shape, transposed, i, r));
                    phases.push(Phase::new(axes, shape.kernel));
                }
            }
        }
        phases.retain(|p| p.pixels() > 0);
        Geometry {
            shape: shape.clone(),
            transposed,
            phases,
        }
    }

    /// Kernel taps.
    pub(crate) fn taps(&self) -> usize {
        self.shape.kernel.iter().product()
    }

    /// Where the taps of an output channel and an input channel of its group begin, in ONNX order.
    pub(crate) fn weight_at(&self, out_channel: usize, in_channel: usize) -> usize {
        let s = &self.shape;
        let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let (g, m) = (out_channel / cout, out_channel % cout);
        let at = match self.transposed {
            true => (g * cin + in_channel) * cout + m,
            false => out_channel * cin + in_channel,
        };
        at * self.taps()
    }

    /// Weights from ONNX order to [out channel][tap][in channel of the group]: often the same.
    pub(crate) fn by_output<'a, T: Copy>(&self, levels: &'a [T]) -> Cow<'a, [T]> {
        let s = &self.shape;
        let (taps, cin, cout) = (self.taps(), s.in_channels / s.groups, s.out_channels / s.groups);
        if !self.transposed && (taps == 1 || cin == 1) {
            return Cow::Borrowed(levels);
        }
        if !self.transposed && !levels.is_empty() {
            // A channel's weights as a matrix of [in channel][tap], turned around.
            let mut out = Vec::with_capacity(levels.len());
            for channel in levels.chunks_exact(cin * taps) {
                for t in 0..taps {
                    out.extend(channel.chunks_exact(taps).map(|from| from[t]));
                }
            }
            return Cow::Owned(out);
        }
        let mut out = Vec::with_capacity(levels.len());
        for o in 0..s.out_channels {
            let (g, m) = (o / cout, o % cout);
            for t in 0..taps {
                for i in 0..cin {
                    out.push(levels[((g * cin + i) * cout + m) * taps + t]);
                }
            }
        }
        Cow::Owned(out)
    }

    /// Index of a place's output pixel.
    pub(crate) fn output(&self, phase: &Phase, place: Place) -> usize {
        let o: [usize; 3] = std::array::from_fn(|i| phase.axes[i].outputs[place.at[i]]);
        ((place.batch * self.shape.output[0] + o[0]) * self.shape.output[1] + o[1]) * self.shape.output[2]
            + o[2]
    }

    /// Index of the input pixel under tap `t` of the phase, if it is inside the picture.
    pub(crate) fn input(&self, phase: &Phase, place: Place, t: usize) -> Option<usize> {
        let mut p = place.batch;
        for (i, axis) in phase.axes.iter().enumerate() {
            p = p * self.shape.input[i]
                + axis.inputs[place.at[i] * axis.taps.len() + phase.taps_by_axis[t][i]]?;
        }
        Some(p)
    }

    /// Whether all taps lie inside the picture: then tap t reads [`Geometry::input`] of tap 0 plus [`Geometry::shift`].
    pub(crate) fn inside(&self, phase: &Phase, place: Place) -> bool {
        (0..3).all(|i| phase.axes[i].inside[place.at[i]])
    }

    /// Input pixels from tap 0 to tap `t` where all taps are inside.
    pub(crate) fn shift(&self, phase: &Phase, t: usize) -> isize {
        let axes = phase.axes.iter().zip(self.shape.input).zip(phase.taps_by_axis[t]);
        axes.fold(0, |p, ((axis, len), tap)| p * len as isize + axis.shifts[tap])
    }
}

/// A row of output pixels of one phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Output pixel of x = 0; pixel x is at `output + x · `[`Row::output_step`].
    pub(crate) output: usize,
    batch: usize,
    at: [usize; 2],
}

/// What all lines of a phase share along x.
#[derive(Debug)]
pub(crate) struct Row {
    /// Pixels of a line.
    pub(crate) width: usize,
    pub(crate) output_step: usize,
    /// Those whose taps all lie inside along x; pixel x reads tap 0 at `input + (x − inside.start) · input_step`.
    pub(crate) inside: Range<usize>,
    pub(crate) input: usize,
    pub(crate) input_step: usize,
}

impl Geometry {
    /// What all lines of a phase share.
    pub(crate) fn row(&self, phase: &Phase) -> Row {
        let x = &phase.axes[2];
        let first = x.inside.iter().position(|&i| i).unwrap_or(0);
        let count = x.inside[first..].iter().take_while(|&&i| i).count();
        let stride = self.shape.stride[2];
        Row {
            width: x.outputs.len(),
            output_step: if self.transposed { stride } else { 1 },
            inside: first..first + count,
            input: x.inputs.get(first * x.taps.len()).copied().flatten().unwrap_or(0),
            input_step: if self.transposed { 1 } else { stride },
        }
    }

    /// Line number `n` of a phase (planes and pictures follow each other).
    pub(crate) fn line(&self, phase: &Phase, n: usize) -> Line {
        let [z, y, x] = &phase.axes;
        let at = [n / y.outputs.len() % z.outputs.len(), n % y.outputs.len()];
        let batch = n / (y.outputs.len() * z.outputs.len());
        let [depth, height, width] = self.shape.output;
        let plane = batch * depth + z.outputs[at[0]];
        Line {
            output: (plane * height + y.outputs[at[1]]) * width + x.outputs[0],
            batch,
            at,
        }
    }

    /// First pixel of the input line under tap `t` of the phase, if that line is inside the picture.
    pub(crate) fn input_line(&self, phase: &Phase, line: Line, t: usize) -> Option<usize> {
        let [z, y, _] = &phase.axes;
        let tap = phase.taps_by_axis[t];
        let plane = line.batch * self.shape.input[0] + z.inputs[line.at[0] * z.taps.len() + tap[0]]?;
        let y = y.inputs[line.at[1] * y.taps.len() + tap[1]]?;
        Some((plane * self.shape.input[1] + y) * self.shape.input[2])
    }

    /// Input x under tap `t` of pixel `x` of a line, if inside.
    pub(crate) fn input_x(&self, phase: &Phase, x: usize, t: usize) -> Option<usize> {
        let axis = &phase.axes[2];
        axis.inputs[x * axis.taps.len() + phase.taps_by_axis[t][2]]
    }

    /// Whether all taps' lines lie inside the picture.
    pub(crate) fn line_inside(&self, phase: &Phase, line: Line) -> bool {
        phase.axes[0].inside[line.at[0]] && phase.axes[1].inside[line.at[1]]
    }

    /// Taps along x that follow each other in memory when pixels have no gaps; 1 when they do not.
    pub(crate) fn joined_taps(&self) -> usize {
        if self.transposed || self.shape.dilation[2] != 1 {
            1
        } else {
            self.shape.kernel[2]
        }
    }
}

impl Phase {
    fn new(axes: [Axis; 3], kernel: [usize; 3]) -> Phase {
        let (mut taps, mut taps_by_axis) = (Vec::new(), Vec::new());
        for (z, &kz) in axes[0].taps.iter().enumerate() {
            for (y, &ky) in axes[1].taps.iter().enumerate() {
                for (x, &kx) in axes[2].taps.iter().enumerate() {
                    taps.push((kz * kernel[1] + ky) * kernel[2] + kx);
                    taps_by_axis.push([z, y, x]);
                }
            }
        }
        Phase {
            axes,
            taps,
            taps_by_axis,
        }
    }

    /// Output pixels of one picture in this phase.
    pub(crate) fn pixels(&self) -> usize {
        self.axes.iter().map(|a| a.outputs.len()).product()
    }

    /// The place of pixel number `p` (pictures follow each other).
    pub(crate) fn place(&self, p: usize) -> Place {
        let [_, h, w] = std::array::from_fn(|i| self.axes[i].outputs.len());
        let d = self.axes[0].outputs.len();
        Place {
            batch: p / (d * h * w),
            at: [p / (h * w) % d, p / w % h, p % w],
        }
    }

    /// Moves a place to the next pixel number.
    pub(crate) fn advance(&self, place: &mut Place) {
        for i in (0..3).rev() {
            place.at[i] += 1;
            if place.at[i] < self.axes[i].outputs.len() {
                return;
            }
            place.at[i] = 0;
        }
        place.batch += 1;
    }
}

impl Axis {
    fn new(shape: &ConvShape, transposed: bool, axis: usize, residue: usize) -> Axis {
        let (stride, dilation) = (shape.stride[axis], shape.dilation[axis]);
        let (pad, len) = (shape.pad[axis], shape.input[axis]);
        let kernel = 0..shape.kernel[axis];
        let outputs = 0..shape.output[axis];
        let (outputs, taps): (Vec<usize>, Vec<usize>) = if transposed {
            (
                outputs.filter(|o| (o + pad) % stride == residue).collect(),
                kernel.filter(|k| k * dilation % stride == residue).collect(),
            )
        } else {
            (outputs.collect(), kernel.collect())
        };
        let place = |o: usize, k: usize| -> Option<usize> {
            let i = if transposed {
                (o + pad).checked_sub(k * dilation)? / stride
            } else {
                (o * stride + k * dilation).checked_sub(pad)?
            };
            (i < len).then_some(i)
        };
        let inputs: Vec<_> = outputs
            .iter()
            .flat_map(|&o| taps.iter().map(move |&k| (o, k)))
            .map(|(o, k)| place(o, k))
            .collect();
        let inside = if taps.is_empty() {
            vec![true; outputs.len()]
        } else {
            inputs
                .chunks(taps.len())
                .map(|i| i.iter().all(Option::is_some))
                .collect()
        };
        let first = taps.first().copied().unwrap_or(0);
        let shifts = taps
            .iter()
            .map(|&k| {
                let shift = ((k - first) * dilation) as isize;
                if transposed {
                    -(shift / stride as isize)
                } else {
                    shift
                }
            })
            .collect();
        Axis {
            outputs,
            taps,
            inputs,
            inside,
            shifts,
        }
    }
}
