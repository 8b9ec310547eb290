//! Running a plan: inputs in, instructions one after the other, outputs out.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use graph::{NodeId, ValueId};
use kernels::Pool;
use tensor::Tensor;

use crate::error::RunError;
use crate::memory::{Buffer, Kind, Scratch, passed};
use crate::plan::{Plan, Port};
use crate::view::BufferId;
use crate::{Held, copy};

/// When to stop, and what to show.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunControl<'a> {
    /// The run ends with [`RunError::Cancelled`] before the next node once this is true.
    pub cancel: Option<&'a AtomicBool>,
    /// The run ends with [`RunError::Deadline`] before the next node once this is past.
    pub deadline: Option<Instant>,
    /// Values to show; `None` shows all that the plan keeps.
    pub watch: Option<&'a BTreeSet<ValueId>>,
}

/// Sees each node's output: node, value, what it holds.
pub type Observe<'a> = dyn FnMut(NodeId, ValueId, &Held) + 'a;

/// What an instruction reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slice<'a> {
    Codes(&'a [u8]),
    Reals(&'a [f32]),
    Tensor(Option<&'a Tensor>),
}

/// What an instruction writes.
#[derive(Debug)]
pub(crate) enum SliceMut<'a> {
    Codes(&'a mut [u8]),
    Reals(&'a mut [f32]),
    Tensor(&'a mut Option<Tensor>),
}

/// An instruction's buffers.
#[derive(Debug)]
pub(crate) struct Io<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) reads: Vec<Slice<'a>>,
    pub(crate) writes: Vec<SliceMut<'a>>,
}

impl<'a> Io<'a> {
    /// Codes of read `i`; the compiler gave it that type.
    pub(crate) fn codes(&self, i: usize) -> &'a [u8] {
        match self.reads[i] {
            Slice::Codes(x) => x,
            _ => unreachable!("the compiler reads codes here"),
        }
    }

    /// f32 of read `i`.
    pub(crate) fn reals(&self, i: usize) -> &'a [f32] {
        match self.reads[i] {
            Slice::Reals(x) => x,
            _ => unreachable!("the compiler reads f32 here"),
        }
    }

    /// Codes to write.
    pub(crate) fn out_codes(&mut self) -> &mut [u8] {
        match &mut self.writes[0] {
            SliceMut::Codes(y) => y,
            _ => unreachable!("the compiler writes codes here"),
        }
    }

    /// f32 to write.
    pub(crate) fn out_reals(&mut self) -> &mut [f32] {
        match &mut self.writes[0] {
            SliceMut::Reals(y) => y,
            _ => unreachable!("the compiler writes f32 here"),
        }
    }
}

/// What an instruction does; an error is a fault of the data (an index out of range), named by the caller.
pub(crate) type Action = Box<dyn Fn(Io<'_>) -> Result<(), String> + Send + Sync>;

/// One call of a kernel.
pub(crate) struct Instruction {
    /// Index of its layer.
    pub(crate) layer: usize,
    pub(crate) reads: Vec<BufferId>,
    pub(crate) writes: Vec<BufferId>,
    pub(crate) action: Action,
}

/// Outputs by name, and the time that each layer took.
pub type Timed = (Vec<(String, Tensor)>, Vec<Duration>);

impl Plan {
    /// Computes the graph's outputs, in ONNX order; an output with a quantizer is dequantized.
    ///
    /// # Errors
    /// Inputs that do not fit, memory that cannot be had, a fault of the data in a node.
    pub fn run(&self, pool: &Pool, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, RunError> {
        self.execute(pool, inputs, &RunControl::default(), None, None)
    }

    /// The same with a way to stop it.
    ///
    /// # Errors
    /// As [`Plan::run`]; [`RunError::Cancelled`], [`RunError::Deadline`].
    pub fn run_until(
        &self,
        pool: &Pool,
        inputs: &[(&str, &Tensor)],
        control: &RunControl<'_>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        self.execute(pool, inputs, control, None, None)
    }

    /// The same; `observe` sees each node's output as soon as it is there: codes where the edge
    /// carries a quantizer, f32 elsewhere, in ONNX order. Values that were fused away are not seen
    /// ([`Options::keep_all`](crate::Options::keep_all)); those that are neither f32 nor codes never.
    ///
    /// # Errors
    /// As [`Plan::run_until`].
    pub fn run_with(
        &self,
        pool: &Pool,
        inputs: &[(&str, &Tensor)],
        control: &RunControl<'_>,
        observe: &mut Observe<'_>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        self.execute(pool, inputs, control, Some(observe), None)
    }

    /// The same as [`Plan::run`], with the time of each layer in the order of [`Plan::layers`].
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run_timed(&self, pool: &Pool, inputs: &[(&str, &Tensor)]) -> Result<Timed, RunError> {
        let mut times = vec![Duration::ZERO; self.layers.len()];
        let control = RunControl::default();
        let outputs = self.execute(pool, inputs, &control, None, Some(&mut times))?;
        Ok((outputs, times))
    }

    fn execute(
        &self,
        pool: &Pool,
        inputs: &[(&str, &Tensor)],
        control: &RunControl<'_>,
        mut observe: Option<&mut Observe<'_>>,
        mut times: Option<&mut [Duration]>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        let given = self.check(inputs)?;
        let mut scratch = self.scratch(control)?;
        for (port, tensor) in self.inputs.iter().zip(given) {
            self.load(port, tensor, scratch.get());
        }
        let mut sights = self.sights.iter().peekable();
        for at in 0..=self.instructions.len() {
            if let Some(observe) = observe.as_mut() {
                while let Some(sight) = sights.next_if(|s| s.after == at) {
                    if control.watch.is_none_or(|w| w.contains(&sight.port.value))
                        && let Some(held) = self.held(pool, &sight.port, scratch.get())
                    {
                        observe(sight.node, sight.port.value, &held);
                    }
                }
            }
            let Some(instruction) = self.instructions.get(at) else {
                break;
            };
            if let Some(error) = self.stop(control, instruction.layer) {
                return Err(error);
            }
            let start = times.is_some().then(Instant::now);
            self.step(pool, instruction, scratch.get()).map_err(|reason| {
                let layer = &self.layers[instruction.layer];
                RunError::Node {
                    node: layer.name.clone(),
                    op: layer.op,
                    reason,
                }
            })?;
            if let (Some(times), Some(start)) = (times.as_mut(), start) {
                times[instruction.layer] += start.elapsed();
            }
        }
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for port in &self.outputs {
            let tensor = match self.held(pool, port, scratch.get()) {
                Some(Held::Real(tensor) | Held::Sums(tensor)) => tensor,
                Some(Held::Codes(tensor)) => dequantized(port, &tensor),
                None => scratch.get().tensors[port.buffer.0]
                    .clone()
                    .ok_or_else(|| RunError::Node {
                        node: port.name.clone(),
                        op: "output",
                        reason: "was not computed".into(),
                    })?,
            };
            outputs.push((port.name.clone(), tensor));
        }
        Ok(outputs)
    }

    fn stop(&self, control: &RunControl<'_>, layer: usize) -> Option<RunError> {
        let node = || self.layers[layer].name.clone();
        if control.cancel.is_some_and(|c| c.load(Ordering::Relaxed)) {
            return Some(RunError::Cancelled { node: node() });
        }
        passed(control.deadline).then(|| RunError::Deadline { node: node() })
    }

    /// The tensors in the order of the plan's inputs.
    fn check<'t>(&self, inputs: &[(&str, &'t Tensor)]) -> Result<Vec<&'t Tensor>, RunError> {
        let names = || {
            let names: Vec<String> = self.inputs.iter().map(|p| format!("\"{}\"", p.name)).collect();
            names.join(", ")
        };
        if let Some((name, _)) = inputs
            .iter()
            .find(|(name, _)| self.inputs.iter().all(|p| p.name != *name))
        {
            return Err(RunError::UnknownInput {
                input: (*name).into(),
                inputs: names(),
            });
        }
        let find = |port: &Port| {
            let found = inputs.iter().find(|(name, _)| *name == port.name);
            let Some(&(_, tensor)) = found else {
                return Err(RunError::MissingInput {
                    input: port.name.clone(),
                    inputs: names(),
                });
            };
            let shape = port.view.as_ref().map(|v| v.shape.as_slice());
            if tensor.dtype() != port.dtype || shape.is_some_and(|s| s != tensor.shape()) {
                return Err(RunError::InputType {
                    input: port.name.clone(),
                    have: tensor.dtype(),
                    have_shape: tensor.shape().to_vec(),
                    want: port.dtype,
                    want_shape: shape.unwrap_or_default().to_vec(),
                });
            }
            Ok(tensor)
        };
        self.inputs.iter().map(find).collect()
    }

    fn scratch(&self, control: &RunControl<'_>) -> Result<Borrowed<'_>, RunError> {
        let bytes = self.scratches.words * 4;
        let no_memory = || RunError::Memory { bytes };
        let stop = || match self.layers.is_empty() {
            true => None,
            false => self.stop(control, 0),
        };
        let scratch = self.scratches.take(no_memory, stop)?;
        Ok(Borrowed {
            plan: self,
            scratch: Some(scratch),
        })
    }

    /// Puts an input where the first instruction reads it.
    fn load(&self, port: &Port, tensor: &Tensor, scratch: &mut Scratch) {
        let buffer = &self.buffers[port.buffer.0];
        match (&buffer.kind, tensor.as_f32()) {
            (Kind::Reals, Some(x)) if !buffer.words.is_empty() => {
                let at = buffer.words.start;
                scratch.parts().0[at..at + x.len()].copy_from_slice(x);
            }
            (Kind::Reals, _) => {}
            _ => scratch.tensors[port.buffer.0] = Some(tensor.clone()),
        }
    }

    /// A value in ONNX order; `None` for tensors of other types.
    fn held(&self, pool: &Pool, port: &Port, scratch: &mut Scratch) -> Option<Held> {
        let view = port.view.as_ref()?;
        let buffer = &self.buffers[view.buffer.0];
        let words = &scratch.parts().0[buffer.words.clone()];
        Some(match &buffer.kind {
            Kind::Codes => {
                let codes: &[u8] = &bytemuck::cast_slice(words)[..buffer.len];
                Held::Codes(copy::gather(pool, codes, view))
            }
            Kind::Reals if port.sums => {
                let whole: Vec<i64> = words[..buffer.len].iter().map(|&sum| sum as i64).collect();
                Held::Sums(copy::gather(pool, &whole, view))
            }
            Kind::Reals => Held::Real(copy::gather(pool, &words[..buffer.len], view)),
            Kind::Constant(values) => Held::Real(copy::gather(pool, values, view)),
            Kind::Tensor => return None,
        })
    }

    fn step(&self, pool: &Pool, instruction: &Instruction, scratch: &mut Scratch) -> Result<(), String> {
        let (arena, tensors) = scratch.parts();
        // Tensors that are written leave the table, so that those which are read can be borrowed.
        let mut taken: Vec<Option<Tensor>> = instruction
            .writes
            .iter()
            .filter(|b| self.buffers[b.0].kind == Kind::Tensor)
            .map(|_| None)
            .collect();
        let (pieces, mut written) = split(arena, &self.buffers, &instruction.writes);
        let mut slots = taken.iter_mut();
        let mut writes = Vec::with_capacity(instruction.writes.len());
        for id in &instruction.writes {
            let buffer = &self.buffers[id.0];
            let mut words = || written.remove(&id.0).unwrap_or_default();
            writes.push(match buffer.kind {
                Kind::Codes => SliceMut::Codes(&mut bytemuck::cast_slice_mut(words())[..buffer.len]),
                Kind::Reals => SliceMut::Reals(&mut words()[..buffer.len]),
                Kind::Tensor => SliceMut::Tensor(slots.next().ok_or("a slot per tensor")?),
                Kind::Constant(_) => return Err("a constant is written".into()),
            });
        }
        let mut reads = Vec::with_capacity(instruction.reads.len());
        for id in &instruction.reads {
            let buffer = &self.buffers[id.0];
            let words = || {
                let at = pieces.partition_point(|(start, _)| *start <= buffer.words.start);
                let (start, piece) = pieces[at - 1];
                &piece[buffer.words.start - start..buffer.words.end - start]
            };
            reads.push(match &buffer.kind {
                Kind::Constant(values) => Slice::Reals(values),
                Kind::Tensor => Slice::Tensor(tensors[id.0].as_ref()),
                Kind::Codes if buffer.len == 0 => Slice::Codes(&[]),
                Kind::Reals if buffer.len == 0 => Slice::Reals(&[]),
                Kind::Codes => Slice::Codes(&bytemuck::cast_slice(words())[..buffer.len]),
                Kind::Reals => Slice::Reals(&words()[..buffer.len]),
            });
        }
        (instruction.action)(Io { pool, reads, writes })?;
        let tensor_writes = instruction
            .writes
            .iter()
            .filter(|b| self.buffers[b.0].kind == Kind::Tensor);
        for (id, tensor) in tensor_writes.zip(taken) {
            tensors[id.0] = tensor;
        }
        Ok(())
    }
}

type Pieces<'a> = Vec<(usize, &'a [f32])>;
type Written<'a> = std::collections::BTreeMap<usize, &'a mut [f32]>;

/// Takes the written buffers out of the arena; what is left is (first word, words).
fn split<'a>(arena: &'a mut [f32], buffers: &[Buffer], writes: &[BufferId]) -> (Pieces<'a>, Written<'a>) {
    let mut order: Vec<usize> = writes.iter().map(|b| b.0).collect();
    order.retain(|&b| !buffers[b].words.is_empty());
    order.sort_by_key(|&b| buffers[b].words.start);
    order.dedup();
    let (mut pieces, mut written) = (Pieces::new(), Written::new());
    let (mut rest, mut at) = (arena, 0);
    for b in order {
        let words = &buffers[b].words;
        let (before, tail) = rest.split_at_mut(words.start - at);
        let (own, tail) = tail.split_at_mut(words.len());
        pieces.push((at, &*before));
        written.insert(b, own);
        (rest, at) = (tail, words.end);
    }
    pieces.push((at, &*rest));
    (pieces, written)
}

fn dequantized(port: &Port, codes: &Tensor) -> Tensor {
    let edge = port.edge.expect("a value of codes has a quantizer");
    let codes_of = codes.as_u8().unwrap_or_default();
    let mut out = vec![0f32; codes_of.len()];
    kernels::int::dequantize(&Pool::new(1), kernels::Isa::best(), edge, codes_of, &mut out);
    Tensor::new(codes.shape().to_vec(), out).expect("as many elements as before")
}

/// Scratch memory that goes back when the run ends, however it ends.
struct Borrowed<'p> {
    plan: &'p Plan,
    scratch: Option<Scratch>,
}

impl Borrowed<'_> {
    fn get(&mut self) -> &mut Scratch {
        self.scratch.as_mut().expect("held until dropped")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(mut scratch) = self.scratch.take() {
            scratch.tensors.iter_mut().for_each(|t| *t = None);
            self.plan.scratches.give(scratch);
        }
    }
}
