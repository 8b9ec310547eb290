//! Plans: a graph compiled for the shape of its inputs and one instruction set, and run.
//!
//! [`compile`] decides for every node whether its rule in `FORMAT.md` part 1 applies, chooses kernels, layouts and places in
//! memory, and gives a [`Plan`]. Float graphs and annotated graphs take the same path; outputs are the same bytes on every
//! instruction set, with any number of threads, from any number of callers at the same time.

mod compile;
mod copy;
mod error;
mod memory;
mod ops;
mod plan;
mod run;
mod step;
mod tune;
mod view;

pub use compile::compile;
pub use error::{CompileError, RunError};
pub use oracle::Held;
pub use plan::{Layer, MemoryUse, Numbers, Options, Plan};
pub use run::{Observe, RunControl, Timed};
pub use step::Step;
pub use tune::{Choices, Tuning};
