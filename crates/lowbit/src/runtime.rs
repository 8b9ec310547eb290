//! From a model to a plan that runs, with its threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::{Held, Layer, MemoryUse, Plan, RunControl, Tuning};
use graph::{Graph, NodeId, ValueId};
use kernels::{Isa, Pool};
use tensor::{DType, Data, Tensor};

use crate::tuning::Entry;
use crate::{Control, Error, ErrorKind, Model, Result};

pub use kernels::return_large_blocks;

/// How a model is run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Threads; 0 takes all cores. Results do not depend on it.
    pub threads: usize,
    /// Refuse models in which a convolution or matrix product runs in float.
    pub deny_float: bool,
    /// Folder that keeps which kernels were measured to be quickest on this machine ([`cache_folder`](crate::cache_folder)): the first load of a
    /// model measures. `None`: kernels are chosen by rules. Results do not depend on it.
    pub tuning: Option<PathBuf>,
    /// Stops the work.
    pub control: Control,
}

/// Most threads that [`RunOptions::threads`] and its like start.
pub const MOST_THREADS: usize = Pool::MOST;

/// A compiled model with its threads. Immutable: any number of callers may run it at the same time.
#[derive(Debug)]
pub struct Runner {
    plan: Plan,
    pool: Arc<Pool>,
    control: Control,
}

/// Named tensors.
pub type Outputs = Vec<(String, Tensor)>;

impl Runner {
    /// Compiles a model for the best instruction set, or that of `LOWBIT_ISA`.
    ///
    /// # Errors
    /// Open dimensions, operators that do not fit, `deny_float`, the limit of memory.
    pub fn new(model: &Model, options: &RunOptions) -> Result<Runner> {
        Runner::tuned(model, Arc::new(Pool::new(options.threads)), options)
    }

    /// The same on the threads of another one: however many models run at once, no more threads work than these and the callers.
    ///
    /// # Errors
    /// As [`Runner::new`].
    pub fn beside(other: &Runner, model: &Model, options: &RunOptions) -> Result<Runner> {
        Runner::tuned(model, other.pool.clone(), options)
    }

    fn tuned(model: &Model, pool: Arc<Pool>, options: &RunOptions) -> Result<Runner> {
        let Some(folder) = options.tuning.as_deref().filter(|_| model.is_quantized()) else {
            return Runner::on_graph(model.graph(), pool, options, false);
        };
        let entry = Entry::of(folder, model.sha256(), pool.threads());
        let tuning = entry.tuning(&pool);
        let runner = Runner::compile(model.graph(), pool, options, false, tuning)?;
        entry.keep(&runner.plan);
        Ok(runner)
    }

    /// By the rules of the registry: for graphs that are tried and left.
    pub(crate) fn on_graph(
        graph: &Graph,
        pool: Arc<Pool>,
        options: &RunOptions,
        keep_all: bool,
    ) -> Result<Runner> {
        Runner::compile(graph, pool, options, keep_all, Tuning::Rules)
    }

    fn compile(
        graph: &Graph,
        pool: Arc<Pool>,
        options: &RunOptions,
        keep_all: bool,
        tuning: Tuning,
    ) -> Result<Runner> {
        options.control.check()?;
        let plan = engine::compile(
            graph,
            &engine::Options {
                isa: Isa::best(),
                deny_float: options.deny_float,
                limit_bytes: options.control.memory(),
                keep_all,
                tuning,
            },
        )?;
        Ok(Runner {
            plan,
            pool,
            control: options.control.clone(),
        })
    }

    /// Computes the outputs, in ONNX order.
    ///
    /// # Errors
    /// Inputs that do not fit; cancellation; a fault of the data in a node.
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Outputs> {
        Ok(self.plan.run_until(&self.pool, inputs, &self.run_control())?)
    }

    /// The same, showing values as they appear: those of `watch`, or all.
    pub(crate) fn watch(
        &self,
        inputs: &[(&str, &Tensor)],
        watch: Option<&std::collections::BTreeSet<ValueId>>,
        observe: &mut dyn FnMut(NodeId, ValueId, &Held),
    ) -> Result<Outputs> {
        let control = RunControl {
            watch,
            ..self.run_control()
        };
        Ok(self.plan.run_with(&self.pool, inputs, &control, observe)?)
    }

    /// The same, with the time of each layer.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn run_timed(&self, inputs: &[(&str, &Tensor)]) -> Result<(Outputs, Vec<Duration>)> {
        self.control.check()?;
        Ok(self.plan.run_timed(&self.pool, inputs)?)
    }

    fn run_control(&self) -> RunControl<'_> {
        RunControl {
            cancel: Some(self.control.cancelled()),
            deadline: self.control.deadline(),
            watch: None,
        }
    }

    /// Every node in execution order: kernel, integer or float and why, MACs, bytes.
    pub fn layers(&self) -> &[Layer] {
        self.plan.layers()
    }

    /// Share of the multiply-accumulates that run in integers.
    pub fn integer_mac_share(&self) -> f64 {
        self.plan.integer_mac_share()
    }

    /// Bytes held and needed.
    pub fn memory(&self) -> MemoryUse {
        self.plan.memory()
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}

/// An input tensor of the type the graph asks for: pictures are made as f32, some graphs take bytes.
pub(crate) fn cast_input(tensor: Tensor, dtype: DType) -> Result<Tensor> {
    let (shape, data) = tensor.into_parts();
    let Data::F32(values) = data else {
        return Err(Error::bad("pictures are f32"));
    };
    let data: Data = match dtype {
        DType::F32 => Data::F32(values),
        DType::F64 => Data::F64(values.into_iter().map(f64::from).collect()),
        // Saturating, as every cast of Rust.
        DType::U8 => Data::U8(values.into_iter().map(|x| x.round_ties_even() as u8).collect()),
        other => {
            return Err(
                Error::unsupported(format!("the model's input has element type {other:?}"))
                    .help("export it with an input of float32 or uint8"),
            );
        }
    };
    Tensor::new(shape, data).map_err(|e| Error::bad(e.to_string()))
}

/// Bytes of splitmix64 as inputs of a graph: pictures' range, the same everywhere.
pub(crate) fn noise(inputs: &[(String, DType, Vec<usize>)], seed: u64) -> Result<Outputs> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 56) as f32 / 255.0
    };
    let one = |(name, dtype, shape): &(String, DType, Vec<usize>)| {
        let count = tensor::numel(shape).map_err(|e| Error::bad(e.to_string()))?;
        let scale = if *dtype == DType::U8 { 255.0 } else { 1.0 };
        let values: Vec<f32> = (0..count).map(|_| next() * scale).collect();
        let tensor = Tensor::new(shape.clone(), values).map_err(|e| Error::bad(e.to_string()))?;
        Ok((name.clone(), cast_input(tensor, *dtype)?))
    };
    inputs.iter().map(one).collect()
}

/// Borrowed names and tensors, as plans take and heads read them.
pub(crate) fn borrowed(tensors: &Outputs) -> Vec<(&str, &Tensor)> {
    tensors.iter().map(|(n, t)| (n.as_str(), t)).collect()
}

impl From<engine::CompileError> for Error {
    fn from(e: engine::CompileError) -> Self {
        use engine::CompileError as E;
        let kind = match e {
            E::Graph(_) | E::Annotation { .. } => ErrorKind::BadInput,
            E::Memory { .. } => ErrorKind::Limit,
            E::FloatProducts { .. } => ErrorKind::Gate,
            E::Isa { .. } => ErrorKind::Usage,
            E::DynamicInput { .. } | E::Node { .. } => ErrorKind::Unsupported,
        };
        Error::new(kind, e.to_string())
    }
}

impl From<engine::RunError> for Error {
    fn from(e: engine::RunError) -> Self {
        use engine::RunError as E;
        let kind = match &e {
            E::Cancelled { .. } => ErrorKind::Interrupted,
            E::Deadline { .. } | E::Memory { .. } => ErrorKind::Limit,
            E::MissingInput { .. } | E::UnknownInput { .. } | E::InputType { .. } | E::Node { .. } => {
                ErrorKind::BadInput
            }
        };
        let error = Error::new(kind, e.to_string());
        match e {
            E::Deadline { .. } => error.help("raise --limit-time or take fewer pictures"),
            _ => error,
        }
    }
}
