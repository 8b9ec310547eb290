//! Programs on the CPU: channels-last f32 kernels over the thread pool.

mod memory;
mod run;

use std::sync::Arc;
use std::time::Instant;

use kernels::float::backward::{WeightGradient, sums_scratch};
use kernels::{Isa, Pool, float};

use super::{Exec, ExecError, Mode, check_inputs, check_output_gradients, check_parameter, length};
use crate::exchange::Ranks;
use crate::program::{Instr, Program};
use memory::Memory;

/// Runs a program on threads of this machine. A step takes no memory for numbers: all of it is had when this is made.
#[derive(Debug)]
pub struct Cpu {
    program: Program,
    pool: Arc<Pool>,
    isa: Isa,
    memory: Memory,
    /// By instruction.
    prepared: Vec<Prepared>,
    /// Sums in f64.
    wide: Vec<f64>,
    /// Whose batches together make the statistics of a batch; `None`: this one's.
    ranks: Option<Ranks>,
    /// A forward in training mode has run, and parameters are what they were then.
    /// How backward would run; `None` where no forward in a training mode is before it.
    back: Option<Mode>,
    /// Wall seconds of each instruction, where they are wanted.
    seconds: Option<Vec<f64>>,
}

/// What is made of an instruction once.
#[derive(Debug)]
enum Prepared {
    Nothing,
    Conv(float::Conv),
    Gradient(WeightGradient),
}

impl Cpu {
    /// Takes all memory that the program needs, and gives the parameters the numbers of its graph.
    ///
    /// # Errors
    /// When the memory cannot be had.
    pub fn new(program: Program, pool: Arc<Pool>, isa: Isa) -> Result<Cpu, ExecError> {
        let memory = Memory::new(&program)?;
        // Neurons sum two gradients.
        let mut most = 2;
        let prepared = program.instructions().map(|instruction| match instruction {
            Instr::Conv {
                shape,
                transposed,
                activation,
                weight,
                ..
            } => {
                let zeros = vec![0.0; program.slots[weight.index()].len];
                let build = if *transposed {
                    float::Conv::transposed
                } else {
                    float::Conv::new
                };
                build(shape, &zeros, None, *activation, isa).map_or(Prepared::Nothing, Prepared::Conv)
            }
            Instr::ConvWeightGradient { shape, .. } => Prepared::Gradient(WeightGradient::new(shape, isa)),
            Instr::BatchNorm { op, .. } | Instr::BatchNormBackward { op, .. } => {
                most = most.max(2 * op.channels);
                Prepared::Nothing
            }
            Instr::ChannelSum { db, .. } => {
                most = most.max(program.slots[db.index()].len);
                Prepared::Nothing
            }
            _ => Prepared::Nothing,
        });
        let prepared = prepared.collect();
        Ok(Cpu {
            memory,
            prepared,
            wide: vec![0.0; sums_scratch(most)],
            program,
            pool,
            isa,
            ranks: None,
            back: None,
            seconds: None,
        })
    }

    /// With the statistics of BatchNormalization taken over the batches of all ranks: they all run forward and backward together, in
    /// [`Mode::Train`]. An exchange of 2 · channels numbers for each normalization, forward and backward.
    pub fn synchronized(mut self, ranks: &Ranks) -> Cpu {
        self.ranks = (ranks.size() > 1).then(|| ranks.clone());
        self
    }

    /// The program that runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Gradient of an input after [`Exec::backward`], where the program has it
    /// ([`ProgramOptions::input_gradients`](crate::program::ProgramOptions::input_gradients)): zero where no output depends on it.
    ///
    /// # Errors
    /// A wrong number of elements, or no such input.
    pub fn input_gradient(&mut self, index: usize, into: &mut [f32]) -> Result<(), ExecError> {
        let slots = &self.program.input_gradient_slots;
        let slot = *slots.get(index).ok_or(ExecError::NoParameter { index })?;
        let port = &self.program.inputs()[index];
        length(format!("input \"{}\"", port.name), into.len(), port.len())?;
        match slot {
            Some(slot) => into.copy_from_slice(self.memory.temporary(&self.program, slot)),
            None => into.fill(0.0),
        }
        Ok(())
    }

    /// Starts, or ends, adding up the time of each instruction.
    pub fn profile(&mut self, on: bool) {
        self.seconds = on.then(|| vec![0.0; self.prepared.len()]);
    }

    /// Wall seconds of each instruction since [`Cpu::profile`], in the program's order; empty without it.
    pub fn seconds(&self) -> &[f64] {
        self.seconds.as_deref().unwrap_or_default()
    }

    fn run(&mut self, backward: bool, mode: Mode) -> Result<(), ExecError> {
        let Cpu {
            program,
            pool,
            isa,
            memory,
            prepared,
            wide,
            ranks,
            seconds,
            ..
        } = self;
        let (list, first) = match backward {
            false => (&program.forward, 0),
            true => (&program.backward, program.forward.len()),
        };
        for (i, instruction) in list.iter().enumerate() {
            let start = seconds.is_some().then(Instant::now);
            let mut step = run::Step {
                program,
                pool,
                isa: *isa,
                mode,
                wide,
                ranks: ranks.as_ref(),
            };
            step.run(instruction, &mut prepared[first + i], memory)?;
            if let (Some(seconds), Some(start)) = (seconds.as_mut(), start) {
                seconds[first + i] += start.elapsed().as_secs_f64();
            }
        }
        Ok(())
    }
}

impl Exec for Cpu {
    fn set_parameter(&mut self, index: usize, values: &[f32]) -> Result<(), ExecError> {
        check_parameter(&self.program, index, values.len())?;
        self.memory.values[self.program.parameter_slots[index].index()].copy_from_slice(values);
        self.back = None;
        Ok(())
    }

    fn parameter(&self, index: usize, into: &mut [f32]) -> Result<(), ExecError> {
        check_parameter(&self.program, index, into.len())?;
        into.copy_from_slice(&self.memory.values[self.program.parameter_slots[index].index()]);
        Ok(())
    }

    fn forward(
        &mut self,
        inputs: &[&[f32]],
        mode: Mode,
        outputs: &mut Vec<Vec<f32>>,
    ) -> Result<(), ExecError> {
        check_inputs(&self.program, inputs)?;
        for (&slot, x) in self.program.input_slots.iter().zip(inputs) {
            let to = self.memory.temporary(&self.program, slot);
            if !to.is_empty() {
                to.copy_from_slice(x);
            }
        }
        self.run(false, mode)?;
        outputs.resize_with(self.program.outputs().len(), Vec::new);
        for (&slot, y) in self.program.output_slots.iter().zip(outputs) {
            y.clear();
            y.extend_from_slice(self.memory.temporary(&self.program, slot));
        }
        self.back = mode.goes_back();
        Ok(())
    }

    fn backward(&mut self, output_gradients: &[Vec<f32>]) -> Result<(), ExecError> {
        check_output_gradients(&self.program, output_gradients)?;
        let mode = self.back.take().ok_or(ExecError::NoForward)?;
        for (&slot, d) in self.program.output_gradient_slots.iter().zip(output_gradients) {
            self.memory.temporary(&self.program, slot).copy_from_slice(d);
        }
        self.run(true, mode)
    }

    fn gradient(&self, index: usize, into: &mut [f32]) -> Result<(), ExecError> {
        check_parameter(&self.program, index, into.len())?;
        match self.program.gradient_slots[index] {
            Some(slot) => into.copy_from_slice(&self.memory.gradients[slot.index()]),
            None => into.fill(0.0),
        }
        Ok(())
    }
}
