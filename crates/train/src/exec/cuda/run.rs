//! One instruction after the other.

use kernels::Broadcast;
use kernels::cuda::{BatchStatistics, CudaError, Span};
use kernels::float::backward::BatchNorm;

use super::Cuda;
use crate::exec::{ExecError, Mode};
use crate::program::{Instr, Normalization, Slot};

impl Cuda {
    /// Begins all instructions of a direction; what reads the memory waits for them.
    pub(super) fn run(&mut self, backward: bool, mode: Mode) -> Result<(), ExecError> {
        let (count, first) = match backward {
            false => (self.program.forward.len(), 0),
            true => (self.program.backward.len(), self.program.forward.len()),
        };
        for i in 0..count {
            let list = match backward {
                false => &self.program.forward,
                true => &self.program.backward,
            };
            match &list[i] {
                Instr::BatchNorm { .. } | Instr::BatchNormBackward { .. } => {
                    let instruction = list[i].clone();
                    self.normalize(&instruction, mode)?;
                }
                instruction => self.one(instruction, self.layout.lists_of[first + i])?,
            }
        }
        Ok(())
    }

    fn at(&self, slot: &Slot) -> Span {
        self.layout.slots[slot.index()]
    }

    /// Makes the sums of each channel those of all ranks; gives the number of their pixels.
    fn of_all_ranks(&mut self, op: &Normalization) -> Result<usize, ExecError> {
        let Some(ranks) = &self.ranks else {
            return Ok(op.pixels);
        };
        self.wide.resize(2 * op.channels, 0.0);
        self.memory.read_sums(self.layout.scratch, &mut self.wide)?;
        ranks.sum_wide(&mut self.wide)?;
        self.memory.write_sums(self.layout.scratch, &self.wide)?;
        Ok(op.pixels * ranks.size())
    }

    fn normalize(&mut self, instruction: &Instr, mode: Mode) -> Result<(), ExecError> {
        let scratch = self.layout.scratch;
        match instruction {
            Instr::BatchNorm {
                op,
                x,
                gamma,
                beta,
                mean,
                variance,
                saved,
                y,
            } => {
                let parameters = [gamma, beta, mean, variance].map(|s| self.at(s));
                let (x, saved, y) = (self.at(x), self.at(saved), self.at(y));
                let batch = match op.moving(mode) {
                    None => None,
                    Some(momentum) => {
                        self.memory.batch_norm_sums(x, parameters[2], scratch)?;
                        let pixels = self.of_all_ranks(op)?;
                        Some(BatchStatistics { pixels, momentum })
                    }
                };
                let memory = &self.memory;
                memory.batch_norm_statistics(batch, op.epsilon, parameters, saved, scratch)?;
                memory.batch_norm(&kernel(op), x, saved, y)?;
            }
            Instr::BatchNormBackward {
                op,
                x,
                saved,
                dy,
                scratch: factors,
                dx,
                dgamma,
                dbeta,
            } => {
                let [x, saved, dy, dx, factors] = [x, saved, dy, dx, factors].map(|s| self.at(s));
                let (dgamma, dbeta) = (self.at(dgamma), self.at(dbeta));
                self.memory
                    .batch_norm_backward_sums(&kernel(op), x, saved, dy, dgamma, dbeta, scratch)?;
                let statistics = match op.moving(mode) {
                    Some(_) => Some(self.of_all_ranks(op)?),
                    None => None,
                };
                self.memory.batch_norm_backward(
                    &kernel(op),
                    statistics,
                    x,
                    saved,
                    dy,
                    dx,
                    factors,
                    scratch,
                )?;
            }
            _ => unreachable!("{} is no normalization", instruction.name()),
        }
        Ok(())
    }

    fn one(&self, instruction: &Instr, lists: usize) -> Result<(), CudaError> {
        let (memory, scratch) = (&self.memory, self.layout.scratch);
        let at = |slot: &Slot| self.at(slot);
        match instruction {
            Instr::Conv {
                shape,
                transposed,
                activation,
                x,
                weight,
                bias,
                y,
            } => {
                let bias = bias.as_ref().map(at);
                memory.convolve(
                    shape,
                    *transposed,
                    *activation,
                    at(x),
                    at(weight),
                    bias,
                    at(y),
                    scratch,
                )
            }
            Instr::ConvWeightGradient { shape, x, dy, dw, .. } => {
                memory.weight_gradient(shape, at(x), at(dy), at(dw), scratch)
            }
            Instr::ChannelSum { dy, db } => memory.channel_sums(at(dy), at(db), scratch),
            Instr::Activation { function, x, y } => memory.activate(*function, at(x), at(y)),
            Instr::ActivationBackward {
                function,
                from_output,
                value,
                dy,
                dx,
            } => memory.activation_backward(*function, *from_output, at(value), at(dy), at(dx)),
            Instr::Binary {
                op,
                a_shape,
                b_shape,
                a,
                b,
                y,
            } => {
                let shape = Broadcast::new(a_shape, b_shape).expect("operands broadcast");
                memory.binary(*op, &shape, at(a), at(b), at(y))
            }
            Instr::Scale { gain, x, y } => memory.scale(*gain, at(x), at(y)),
            Instr::Sum { inputs, y } => match inputs.as_slice() {
                [] => Ok(()),
                [x] => memory.scale(1.0, at(x), at(y)),
                [a, b, rest @ ..] => {
                    memory.add(at(a), at(b), at(y))?;
                    rest.iter().try_for_each(|x| memory.add(at(y), at(x), at(y)))
                }
            },
            _ => self.moved(instruction, lists),
        }
    }

    /// What moves elements, pools, and the rest.
    fn moved(&self, instruction: &Instr, lists: usize) -> Result<(), CudaError> {
        let (memory, scratch) = (&self.memory, self.layout.scratch);
        let at = |slot: &Slot| self.at(slot);
        match instruction {
            Instr::Reduce { op, x, y } => memory.reduce(op, at(x), at(y)),
            Instr::Expand { op, dy, dx } => memory.expand(op, at(dy), at(dx)),
            Instr::Concat { outer, parts, y } => {
                let wide = parts.iter().map(|p| p.1).sum();
                let mut start = 0;
                for (x, len) in parts {
                    memory.copy_rows([*outer, *len], at(x), (*len, 0), at(y), (wide, start))?;
                    start += len;
                }
                Ok(())
            }
            Instr::Slice {
                outer,
                len,
                start,
                count,
                x,
                y,
            } => memory.copy_rows([*outer, *count], at(x), (*len, *start), at(y), (*count, 0)),
            Instr::Place {
                outer,
                len,
                start,
                count,
                dy,
                dx,
            } => {
                memory.fill(0.0, at(dx))?;
                memory.copy_rows([*outer, *count], at(dy), (*count, 0), at(dx), (*len, *start))
            }
            Instr::Gather { op, fill, x, y } => memory.gather(op, lists, *fill, at(x), at(y)),
            Instr::GatherBackward { op, dy, dx } => memory.gather_backward(op, lists, at(dy), at(dx)),
            Instr::Permute { shape, axes, x, y } => memory.transpose(shape, axes, at(x), at(y)),
            Instr::MaxPool { shape, x, y } => memory.max_pool(shape, at(x), at(y)),
            Instr::MaxPoolBackward { shape, x, y, dy, dx } => {
                memory.max_pool_backward(shape, at(x), at(y), at(dy), at(dx), scratch)
            }
            Instr::AveragePool { shape, divisor, x, y } => memory.average_pool(shape, *divisor, at(x), at(y)),
            Instr::AveragePoolBackward {
                shape,
                divisor,
                dy,
                dx,
            } => memory.average_pool_backward(shape, *divisor, at(dy), at(dx)),
            Instr::ResizeLinear {
                op,
                batch,
                channels,
                x,
                y,
            } => memory.resize_linear(op, lists, [*batch, *channels], at(x), at(y)),
            Instr::ResizeLinearBackward {
                op,
                batch,
                channels,
                dy,
                dx,
            } => memory.resize_linear_backward(op, lists, [*batch, *channels], at(dy), at(dx)),
            Instr::Softmax { len, x, y } => memory.softmax(*len, at(x), at(y)),
            Instr::SoftmaxBackward { len, y, dy, dx } => memory.softmax_backward(*len, at(y), at(dy), at(dx)),
            Instr::MatMul { op, a, b, y } => memory.matmul(op, at(a), at(b), at(y)),
            Instr::FakeQuantize { op, x, step, y } => memory.fake_quantize(op.range, at(x), at(step), at(y)),
            Instr::FakeQuantizeBackward {
                op,
                x,
                step,
                dy,
                dx,
                dstep,
            } => memory.fake_quantize_backward(
                op.range,
                op.gradient,
                at(x),
                at(step),
                at(dy),
                at(dx),
                at(dstep),
                scratch,
            ),
            _ => unreachable!("{} is run above", instruction.name()),
        }
    }
}

fn kernel(op: &Normalization) -> BatchNorm {
    BatchNorm {
        pixels: op.pixels,
        channels: op.channels,
        activation: op.activation,
    }
}
