//! Programs on a CUDA device, by the kernels of [`kernels::cuda`]: the meaning of each instruction is that of the executor on the CPU.

mod layout;
mod run;

use kernels::cuda::{CudaError, Device, Memory, Span};

use super::{Exec, ExecError, Mode, check_inputs, check_output_gradients, check_parameter, length};
use crate::exchange::Ranks;
use crate::program::{Program, SlotKind};
use layout::Layout;

/// Runs a program on a CUDA device. All memory of the device is had when this is made.
///
/// Parameters that are set wait on this side for the next forward, which copies them in one piece; gradients come back in one piece after backward.
#[derive(Debug)]
pub struct Cuda {
    program: Program,
    memory: Memory,
    layout: Layout,
    /// What the parameters were last set to, as they lie on the device.
    parameters: Vec<f32>,
    /// By parameter: set, and not yet copied.
    waiting: Vec<bool>,
    /// As they lie on the device.
    gradients: Vec<f32>,
    /// Whose batches together make the statistics of a batch; `None`: this one's.
    ranks: Option<Ranks>,
    /// Sums that ranks exchange.
    wide: Vec<f64>,
    /// A forward in training mode has run, and parameters are what they were then.
    /// How backward would run; `None` where no forward in a training mode is before it.
    back: Option<Mode>,
}

impl From<CudaError> for ExecError {
    fn from(e: CudaError) -> ExecError {
        match e {
            CudaError::Memory { bytes } => ExecError::Memory { bytes },
            e => ExecError::Device { what: e.to_string() },
        }
    }
}

impl Cuda {
    /// Takes all memory that the program needs, and gives the parameters the numbers of its graph.
    ///
    /// # Errors
    /// When the memory cannot be had, or a value has more than 2³⁰ elements.
    pub fn new(program: Program, device: Device) -> Result<Cuda, ExecError> {
        let (layout, lists) = Layout::new(&program)?;
        let mut memory = device.memory(layout.words, &lists)?;
        let mut parameters = vec![0.0; layout.parameters.len];
        for (slot, &span) in program.slots.iter().zip(&layout.slots) {
            match &slot.kind {
                SlotKind::Constant(values) => memory.write(span, values)?,
                SlotKind::Parameter(i) => parameters[within(span, layout.parameters)]
                    .copy_from_slice(&program.parameters()[*i].initial),
                _ => {}
            }
        }
        memory.write(layout.parameters, &parameters)?;
        Ok(Cuda {
            waiting: vec![false; program.parameters().len()],
            gradients: vec![0.0; layout.gradients.len],
            program,
            memory,
            layout,
            parameters,
            ranks: None,
            wide: Vec::new(),
            back: None,
        })
    }

    /// With the statistics of BatchNormalization taken over the batches of all ranks: they all run forward and backward together, in
    /// [`Mode::Train`]. The sums go through this side's memory.
    pub fn synchronized(mut self, ranks: &Ranks) -> Cuda {
        self.ranks = (ranks.size() > 1).then(|| ranks.clone());
        self
    }

    /// The program that runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What the vendor calls the device.
    pub fn device(&self) -> String {
        self.memory.device()
    }

    /// Bytes of the device's memory that are taken.
    pub fn device_bytes(&self) -> usize {
        4 * self.layout.words
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
            Some(slot) => self.memory.read(self.layout.slots[slot.index()], into)?,
            None => into.fill(0.0),
        }
        Ok(())
    }

    fn parameter_span(&self, index: usize) -> Span {
        self.layout.slots[self.program.parameter_slots[index].index()]
    }

    /// Copies the parameters that wait: those side by side together.
    fn copy_parameters(&mut self) -> Result<(), ExecError> {
        let mut spans: Vec<Span> = (0..self.waiting.len())
            .filter(|&i| self.waiting[i])
            .map(|i| self.parameter_span(i))
            .collect();
        spans.sort_unstable_by_key(|s| s.start);
        let mut rest = spans.as_slice();
        while let Some(&first) = rest.first() {
            // What lies between two is the end of a cache line.
            let joined = rest
                .windows(2)
                .take_while(|w| w[1].start < w[0].start + w[0].len + 16);
            let count = 1 + joined.count();
            let last = rest[count - 1];
            let span = Span::new(first.start, last.start + last.len - first.start);
            self.memory
                .write(span, &self.parameters[within(span, self.layout.parameters)])?;
            rest = &rest[count..];
        }
        self.waiting.fill(false);
        Ok(())
    }
}

/// Where a span lies in a larger one.
fn within(span: Span, whole: Span) -> std::ops::Range<usize> {
    span.start - whole.start..span.start - whole.start + span.len
}

impl Exec for Cuda {
    fn set_parameter(&mut self, index: usize, values: &[f32]) -> Result<(), ExecError> {
        check_parameter(&self.program, index, values.len())?;
        let at = within(self.parameter_span(index), self.layout.parameters);
        self.parameters[at].copy_from_slice(values);
        self.waiting[index] = true;
        self.back = None;
        Ok(())
    }

    fn parameter(&self, index: usize, into: &mut [f32]) -> Result<(), ExecError> {
        check_parameter(&self.program, index, into.len())?;
        let span = self.parameter_span(index);
        match self.waiting[index] {
            true => into.copy_from_slice(&self.parameters[within(span, self.layout.parameters)]),
            false => self.memory.read(span, into)?,
        }
        Ok(())
    }

    fn forward(
        &mut self,
        inputs: &[&[f32]],
        mode: Mode,
        outputs: &mut Vec<Vec<f32>>,
    ) -> Result<(), ExecError> {
        check_inputs(&self.program, inputs)?;
        self.copy_parameters()?;
        for (&slot, x) in self.program.input_slots.iter().zip(inputs) {
            let span = self.layout.slots[slot.index()];
            if span.len > 0 {
                self.memory.write(span, x)?;
            }
        }
        self.run(false, mode)?;
        outputs.resize_with(self.program.outputs().len(), Vec::new);
        for (&slot, y) in self.program.output_slots.iter().zip(outputs) {
            let span = self.layout.slots[slot.index()];
            y.resize(span.len, 0.0);
            self.memory.read(span, y)?;
        }
        self.back = mode.goes_back();
        Ok(())
    }

    fn backward(&mut self, output_gradients: &[Vec<f32>]) -> Result<(), ExecError> {
        check_output_gradients(&self.program, output_gradients)?;
        let mode = self.back.take().ok_or(ExecError::NoForward)?;
        for (&slot, d) in self.program.output_gradient_slots.iter().zip(output_gradients) {
            self.memory.write(self.layout.slots[slot.index()], d)?;
        }
        self.run(true, mode)?;
        Ok(self.memory.read(self.layout.gradients, &mut self.gradients)?)
    }

    fn gradient(&self, index: usize, into: &mut [f32]) -> Result<(), ExecError> {
        check_parameter(&self.program, index, into.len())?;
        match self.program.gradient_slots[index] {
            Some(slot) => {
                let span = self.layout.slots[slot.index()];
                into.copy_from_slice(&self.gradients[within(span, self.layout.gradients)]);
            }
            None => into.fill(0.0),
        }
        Ok(())
    }
}
