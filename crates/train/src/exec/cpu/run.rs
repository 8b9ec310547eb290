//! One instruction.

use kernels::float;
use kernels::float::backward::{self as back, BatchNorm};
use kernels::float::spiking::{self, Neuron};
use kernels::{Broadcast, Isa, Out, Pixels, Pool, layout};

use super::Prepared;
use super::memory::{Memory, Views};
use crate::exchange::Ranks;
use crate::exec::{ExecError, Mode};
use crate::program::{Instr, Normalization, Program, Slot};

/// What all instructions of a step share.
pub(super) struct Step<'a> {
    pub(super) program: &'a Program,
    pub(super) pool: &'a Pool,
    pub(super) isa: Isa,
    pub(super) mode: Mode,
    pub(super) wide: &'a mut [f64],
    /// Whose batches together make the statistics of a batch.
    pub(super) ranks: Option<&'a Ranks>,
}

impl Step<'_> {
    pub(super) fn run(
        &mut self,
        instruction: &Instr,
        prepared: &mut Prepared,
        memory: &mut Memory,
    ) -> Result<(), ExecError> {
        if let Instr::BatchNorm {
            op,
            x,
            gamma,
            beta,
            mean,
            variance,
            saved,
            y,
        } = instruction
        {
            return self.batch_norm(
                memory,
                instruction,
                op,
                [*x, *gamma, *beta, *mean, *variance],
                *saved,
                *y,
            );
        }
        let (pool, isa) = (self.pool, self.isa);
        let mut v = memory.views(self.program, instruction);
        match instruction {
            Instr::Conv {
                shape,
                x,
                weight,
                bias,
                y,
                ..
            } => {
                let y = v.take(*y);
                if let Prepared::Conv(conv) = prepared {
                    conv.set(v.read(*weight), bias.map(|b| v.read(b)));
                    conv.run(
                        pool,
                        Pixels::dense(v.read(*x), shape.in_channels),
                        Out::dense(y, shape.out_channels),
                    );
                }
            }
            Instr::ConvWeightGradient {
                x, dy, scratch, dw, ..
            } => {
                let (scratch, dw) = (v.take(*scratch), v.take(*dw));
                if let Prepared::Gradient(gradient) = prepared {
                    gradient.run(pool, v.read(*x), v.read(*dy), scratch, dw);
                }
            }
            Instr::ChannelSum { dy, db } => {
                let db = v.take(*db);
                back::channel_sums(pool, isa, v.read(*dy), self.wide, db);
            }
            Instr::BatchNorm { .. } => {}
            Instr::BatchNormBackward {
                op,
                x,
                saved,
                dy,
                scratch,
                dx,
                dgamma,
                dbeta,
            } => {
                let (scratch, to, dgamma, dbeta) =
                    (v.take(*scratch), v.take(*dx), v.take(*dgamma), v.take(*dbeta));
                v.start_from(*dy, to);
                let (x, saved) = (v.read(*x), parts(v.read(*saved), op.channels));
                let (statistics, op) = (op.moving(self.mode).is_some(), kernel(op));
                back::batch_norm_backward_sums(pool, isa, &op, x, saved, to, self.wide);
                for (j, inverse) in saved[1].iter().enumerate() {
                    dbeta[j] = self.wide[j] as f32;
                    dgamma[j] = (self.wide[op.channels + j] * f64::from(*inverse)) as f32;
                }
                let statistics = match statistics {
                    true => Some(self.of_all_ranks(op.channels, op.pixels)?),
                    false => None,
                };
                let statistics = statistics.map(|n| (&*self.wide, n));
                back::batch_norm_backward(pool, isa, &op, statistics, x, saved, to, scratch);
            }
            Instr::Activation { function, x, y } => {
                let y = v.take(*y);
                v.start_from(*x, y);
                float::activate(pool, isa, *function, y);
            }
            Instr::ActivationBackward {
                function,
                from_output,
                value,
                dy,
                dx,
            } => {
                let to = v.take(*dx);
                v.start_from(*dy, to);
                back::activation_backward(pool, isa, *function, *from_output, v.read(*value), to);
            }
            Instr::Binary {
                op,
                a_shape,
                b_shape,
                a,
                b,
                y,
            } => {
                let y = v.take(*y);
                let shape = Broadcast::new(a_shape, b_shape).expect("operands broadcast");
                float::binary(pool, isa, *op, &shape, v.read(*a), v.read(*b), y);
            }
            Instr::Scale { gain, x, y } => {
                let y = v.take(*y);
                v.start_from(*x, y);
                if *gain != 1.0 {
                    back::scale(pool, isa, *gain, y);
                }
            }
            Instr::Sum { inputs, y } => {
                let y = v.take(*y);
                let Some((first, rest)) = inputs.split_first() else {
                    return Ok(());
                };
                v.start_from(*first, y);
                for x in rest {
                    back::add_into(pool, isa, v.read(*x), y);
                }
            }
            _ => self.moved(instruction, &mut v),
        }
        Ok(())
    }

    /// Makes the two sums of each channel those of all ranks; gives the number of their pixels.
    fn of_all_ranks(&mut self, channels: usize, pixels: usize) -> Result<usize, ExecError> {
        let Some(ranks) = self.ranks else {
            return Ok(pixels);
        };
        ranks.sum_wide(&mut self.wide[..2 * channels])?;
        Ok(pixels * ranks.size())
    }

    /// What moves elements, pools, and the rest.
    fn moved(&mut self, instruction: &Instr, v: &mut Views<'_>) {
        let (pool, isa) = (self.pool, self.isa);
        match instruction {
            Instr::Reduce { op, x, y } => {
                let y = v.take(*y);
                back::reduce(pool, op, v.read(*x), y);
            }
            Instr::Expand { op, dy, dx } => {
                let dx = v.take(*dx);
                back::expand(pool, op, v.read(*dy), dx);
            }
            Instr::Concat { parts, y, .. } => {
                let y = v.take(*y);
                let stride = parts.iter().map(|p| p.1).sum();
                let mut offset = 0;
                for &(x, len) in parts {
                    let out = Out {
                        data: &mut *y,
                        stride,
                        offset,
                    };
                    layout::copy_channels(pool, Pixels::dense(v.read(x), len), len, out);
                    offset += len;
                }
            }
            Instr::Slice {
                len,
                start,
                count,
                x,
                y,
                ..
            } => {
                let y = v.take(*y);
                let from = Pixels {
                    data: v.read(*x),
                    stride: *len,
                    offset: *start,
                };
                layout::copy_channels(pool, from, *count, Out::dense(y, *count));
            }
            Instr::Place {
                len,
                start,
                count,
                dy,
                dx,
                ..
            } => {
                let dx = v.take(*dx);
                dx.fill(0.0);
                let out = Out {
                    data: dx,
                    stride: *len,
                    offset: *start,
                };
                layout::copy_channels(pool, Pixels::dense(v.read(*dy), *count), *count, out);
            }
            Instr::Gather { op, fill, x, y } => {
                let y = v.take(*y);
                back::gather(pool, op, *fill, v.read(*x), y);
            }
            Instr::GatherBackward { op, dy, dx } => {
                let dx = v.take(*dx);
                back::gather_backward(pool, op, v.read(*dy), dx);
            }
            Instr::Permute { shape, axes, x, y } => {
                let y = v.take(*y);
                layout::transpose(pool, shape, axes, v.read(*x), y);
            }
            Instr::MaxPool { shape, x, y } => {
                let y = v.take(*y);
                float::max_pool(pool, isa, shape, v.read(*x), y);
            }
            Instr::MaxPoolBackward { shape, x, y, dy, dx } => {
                let dx = v.take(*dx);
                back::max_pool_backward(pool, shape, v.read(*x), v.read(*y), v.read(*dy), dx);
            }
            Instr::AveragePool { shape, divisor, x, y } => {
                let y = v.take(*y);
                float::average_pool(pool, isa, shape, *divisor, v.read(*x), y);
            }
            Instr::AveragePoolBackward {
                shape,
                divisor,
                dy,
                dx,
            } => {
                let dx = v.take(*dx);
                back::average_pool_backward(pool, shape, *divisor, v.read(*dy), dx);
            }
            Instr::ResizeLinear {
                op,
                batch,
                channels,
                x,
                y,
            } => {
                let y = v.take(*y);
                float::resize_linear(pool, isa, op, [*batch, *channels], v.read(*x), y);
            }
            Instr::ResizeLinearBackward {
                op,
                batch,
                channels,
                dy,
                dx,
            } => {
                let dx = v.take(*dx);
                back::resize_linear_backward(pool, op, [*batch, *channels], v.read(*dy), dx);
            }
            Instr::Softmax { len, x, y } => {
                let y = v.take(*y);
                v.start_from(*x, y);
                float::softmax(pool, isa, *len, y);
            }
            Instr::SoftmaxBackward { len, y, dy, dx } => {
                let dx = v.take(*dx);
                v.start_from(*dy, dx);
                back::softmax_backward(pool, *len, v.read(*y), dx);
            }
            Instr::MatMul { op, a, b, y } => {
                let y = v.take(*y);
                float::matmul(pool, isa, op, v.read(*a), v.read(*b), y);
            }
            Instr::FakeQuantize { op, x, step, y } => {
                let y = v.take(*y);
                back::fake_quantize(pool, isa, op.range, v.read(*step)[0], v.read(*x), y);
            }
            Instr::FakeQuantizeBackward {
                op,
                x,
                step,
                dy,
                dx,
                dstep,
            } => {
                let (to, dstep) = (v.take(*dx), v.take(*dstep));
                v.start_from(*dy, to);
                let s = v.read(*step)[0];
                dstep[0] = back::fake_quantize_backward(
                    pool,
                    isa,
                    op.range,
                    s,
                    op.gradient,
                    v.read(*x),
                    to,
                    self.wide,
                );
            }
            Instr::IntegrateFire {
                op,
                x,
                threshold,
                leak,
                y,
            } => {
                let (y, neuron) = (v.take(*y), neuron(v, *threshold, *leak));
                spiking::integrate_fire(pool, *op, neuron, v.read(*x), y);
            }
            Instr::IntegrateFireBackward {
                op,
                x,
                threshold,
                leak,
                dy,
                dx,
                dthreshold,
                dleak,
            } => {
                let (dx, dthreshold, dleak) = (v.take(*dx), v.take(*dthreshold), v.take(*dleak));
                let neuron = neuron(v, *threshold, *leak);
                let (x, dy) = (v.read(*x), v.read(*dy));
                let sums = spiking::integrate_fire_backward(pool, *op, neuron, x, dy, dx, self.wide);
                (dthreshold[0], dleak[0]) = (sums.threshold, sums.leak);
            }
            _ => unreachable!("{} is run above", instruction.name()),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn batch_norm(
        &mut self,
        memory: &mut Memory,
        instruction: &Instr,
        op: &Normalization,
        [x, gamma, beta, mean, variance]: [Slot; 5],
        saved: Slot,
        y: Slot,
    ) -> Result<(), ExecError> {
        let c = op.channels;
        let momentum = op.moving(self.mode);
        let mut pixels = op.pixels;
        {
            let mut v = memory.views(self.program, instruction);
            let (saved, y) = (v.take(saved), v.take(y));
            let [m, inverse, scale, shift] = parts_mut(saved, c);
            let (running, running_variance) = (v.read(mean), v.read(variance));
            // The variance lies where 1/σ will be.
            match momentum {
                Some(_) => {
                    back::batch_norm_sums(self.pool, self.isa, v.read(x), running, self.wide);
                    pixels = self.of_all_ranks(c, pixels)?;
                    back::batch_norm_moments(self.wide, running, pixels, m, inverse);
                }
                None => {
                    m.copy_from_slice(running);
                    inverse.copy_from_slice(running_variance);
                }
            }
            let (gamma, beta) = (v.read(gamma), v.read(beta));
            for j in 0..c {
                let i = 1.0 / (f64::from(inverse[j]) + f64::from(op.epsilon)).sqrt();
                let a = f64::from(gamma[j]) * i;
                scale[j] = a as f32;
                shift[j] = (f64::from(beta[j]) - f64::from(m[j]) * a) as f32;
                // Kept until the running variance has it.
                if momentum.is_none() {
                    inverse[j] = i as f32;
                }
            }
            back::batch_norm(self.pool, self.isa, &kernel(op), v.read(x), scale, shift, y);
        }
        let Some(momentum) = momentum else { return Ok(()) };
        let unbiased = pixels as f32 / (pixels.max(2) - 1) as f32;
        let mut running = [mean, variance].map(|s| (s, std::mem::take(&mut memory.values[s.index()])));
        let [(_, mean), (_, variance)] = &mut running;
        let [m, inverse, ..] = parts_mut(memory.temporary(self.program, saved), c);
        for j in 0..c {
            mean[j] += momentum * (m[j] - mean[j]);
            variance[j] += momentum * (inverse[j] * unbiased - variance[j]);
            inverse[j] = (1.0 / (f64::from(inverse[j]) + f64::from(op.epsilon)).sqrt()) as f32;
        }
        for (slot, list) in running {
            memory.values[slot.index()] = list;
        }
        Ok(())
    }
}

fn neuron(v: &Views<'_>, threshold: Slot, leak: Slot) -> Neuron<f32> {
    Neuron {
        threshold: v.read(threshold)[0],
        leak: v.read(leak)[0],
    }
}

fn kernel(op: &Normalization) -> BatchNorm {
    let Normalization {
        pixels,
        channels,
        activation,
        ..
    } = *op;
    BatchNorm {
        pixels,
        channels,
        activation,
    }
}

/// Four lists of `c` numbers.
fn parts(saved: &[f32], c: usize) -> [&[f32]; 4] {
    [
        &saved[..c],
        &saved[c..2 * c],
        &saved[2 * c..3 * c],
        &saved[3 * c..4 * c],
    ]
}

fn parts_mut(saved: &mut [f32], c: usize) -> [&mut [f32]; 4] {
    let (a, rest) = saved.split_at_mut(c);
    let (b, rest) = rest.split_at_mut(c);
    let (d, e) = rest.split_at_mut(c);
    [a, b, d, e]
}
