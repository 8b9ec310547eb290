//! A model that stays loaded and is run on demand, for harnesses that time several engines by turns.

use std::path::Path;
use std::time::{Duration, Instant};

use tensor::{DType, Data, Tensor};

use crate::provenance::read_capped;
use crate::runtime::{Outputs, RunOptions, Runner, borrowed, cast_input, noise};
use crate::{Error, LoadOptions, Model, Result};

/// A loaded model that has run once.
#[derive(Debug)]
pub struct Worker {
    runner: Runner,
    inputs: Outputs,
    outputs: Vec<f32>,
    load: Duration,
    first: Duration,
    memory: Memory,
}

/// What an input is made from.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A file of raw little-endian f32: all inputs one after the other, in the order of the graph.
    Raw(&'a Path),
    /// Numbers of this seed.
    Seed(u64),
}

impl Worker {
    /// Loads a model and runs it once.
    ///
    /// # Errors
    /// What loading and running refuse; a file that holds more or less than the inputs.
    pub fn start(path: &Path, load: &LoadOptions, run: &RunOptions, input: Input<'_>) -> Result<Worker> {
        // Read before the clock and the memory count: they are not the model's.
        let raw = match input {
            Input::Raw(file) => Some((file, read_capped(file, load.limits.model_bytes, &load.control)?)),
            Input::Seed(_) => None,
        };
        let mut memory = Memory::now();
        let start = Instant::now();
        let model = Model::load(path, load)?;
        let runner = Runner::new(&model, run)?;
        let shapes = model.inputs()?;
        drop(model);
        let load = start.elapsed();
        let inputs = match (&raw, input) {
            (Some((file, bytes)), _) => from_raw(&shapes, bytes).map_err(|e| e.at(file.display()))?,
            (None, Input::Seed(seed)) => noise(&shapes, seed)?,
            (None, Input::Raw(_)) => unreachable!("a file was read"),
        };
        drop(raw);
        let start = Instant::now();
        let found = runner.run(&borrowed(&inputs))?;
        let first = load + start.elapsed();
        memory.grew();
        let outputs = found.iter().flat_map(|(_, t)| reals(t)).collect();
        Ok(Worker {
            runner,
            inputs,
            outputs,
            load,
            first,
            memory,
        })
    }

    /// Runs it so many times; milliseconds of each.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn burst(&mut self, runs: usize) -> Result<Vec<f64>> {
        let inputs = borrowed(&self.inputs);
        let mut times = Vec::new();
        for _ in 0..runs {
            let start = Instant::now();
            let outputs = self.runner.run(&inputs)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            drop(outputs);
        }
        self.memory.grew();
        Ok(times)
    }

    /// Time from the file to a plan.
    pub fn load(&self) -> Duration {
        self.load
    }

    /// Time from the file to the first result.
    pub fn first(&self) -> Duration {
        self.first
    }

    /// All outputs one after the other, as f32.
    pub fn outputs(&self) -> &[f32] {
        &self.outputs
    }

    /// Most MiB of the process so far beyond what it had before loading; `None` where the system does not tell.
    pub fn memory_mib(&self) -> Option<f64> {
        self.memory.most.zip(self.memory.before).map(|(most, before)| {
            // The system counts in pages and KiB.
            most.saturating_sub(before) as f64 / 1024.0
        })
    }
}

/// The inputs from raw f32.
fn from_raw(shapes: &[(String, DType, Vec<usize>)], bytes: &[u8]) -> Result<Outputs> {
    let counts: Result<Vec<usize>> = shapes
        .iter()
        .map(|(_, _, shape)| tensor::numel(shape).map_err(|e| Error::bad(e.to_string())))
        .collect();
    let counts = counts?;
    let want = counts
        .iter()
        .fold(0usize, |n, c| n.saturating_add(c.saturating_mul(4)));
    if bytes.len() != want {
        return Err(Error::bad(format!(
            "the file has {} bytes, the model's inputs take {want}: 4 for each number of {}",
            bytes.len(),
            describe(shapes)
        ))
        .help("give raw little-endian float32, all inputs one after the other"));
    }
    let mut rest = bytes;
    let each = |((name, dtype, shape), count): (&(String, DType, Vec<usize>), &usize)| {
        let (own, after) = rest.split_at(count * 4);
        rest = after;
        let values: Vec<f32> = own
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let tensor = Tensor::new(shape.clone(), values).map_err(|e| Error::bad(e.to_string()))?;
        Ok((name.clone(), cast_input(tensor, *dtype)?))
    };
    shapes.iter().zip(&counts).map(each).collect()
}

/// `images F32 [1, 3, 320, 320]`.
pub(super) fn describe(shapes: &[(String, DType, Vec<usize>)]) -> String {
    let each = |(name, dtype, shape): &(String, DType, Vec<usize>)| format!("{name} {dtype:?} {shape:?}");
    shapes.iter().map(each).collect::<Vec<_>>().join(", ")
}

fn reals(tensor: &Tensor) -> Vec<f32> {
    match tensor.data() {
        Data::Bool(v) => v.iter().map(|&b| f32::from(u8::from(b))).collect(),
        Data::F32(v) => v.clone(),
        Data::F64(v) => v.iter().map(|&x| x as f32).collect(),
        Data::I8(v) => v.iter().map(|&x| f32::from(x)).collect(),
        Data::U8(v) => v.iter().map(|&x| f32::from(x)).collect(),
        Data::I16(v) => v.iter().map(|&x| f32::from(x)).collect(),
        Data::U16(v) => v.iter().map(|&x| f32::from(x)).collect(),
        Data::I32(v) => v.iter().map(|&x| x as f32).collect(),
        Data::U32(v) => v.iter().map(|&x| x as f32).collect(),
        Data::I64(v) => v.iter().map(|&x| x as f32).collect(),
        Data::U64(v) => v.iter().map(|&x| x as f32).collect(),
    }
}

/// Memory of this process in KiB.
#[derive(Debug)]
struct Memory {
    before: Option<u64>,
    most: Option<u64>,
}

impl Memory {
    fn now() -> Memory {
        Memory {
            before: status("VmRSS:"),
            most: None,
        }
    }

    fn grew(&mut self) {
        self.most = status("VmHWM:");
    }
}

/// A line of what Linux says of a process.
fn status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
