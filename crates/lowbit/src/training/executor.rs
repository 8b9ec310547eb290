//! Where a run computes: the recipe's `device`.

use std::sync::Arc;

use kernels::{Isa, Pool};
use train::exchange::Ranks;
use train::exec::{Cpu, Exec, ExecError};
use train::program::Program;
use train::recipe::{Device, Recipe};

use crate::{Error, Result};

/// Makes the executors of a run, each of its own program.
pub(super) struct Executors {
    device: Device,
    pool: Arc<Pool>,
}

impl Executors {
    /// # Errors
    /// A device that cannot be used, with the way out.
    pub(super) fn new(recipe: &Recipe, pool: &Arc<Pool>) -> Result<Executors> {
        let device = match recipe.device() {
            Device::Auto if super::cuda(0).is_ok() => Device::Cuda(0),
            Device::Auto => Device::Cpu,
            Device::Cuda(ordinal) => {
                super::cuda(ordinal)?;
                Device::Cuda(ordinal)
            }
            Device::Cpu => Device::Cpu,
        };
        Ok(Executors {
            device,
            pool: pool.clone(),
        })
    }

    /// An executor; with the statistics of all ranks' batches where there are ranks.
    ///
    /// # Errors
    /// Memory that cannot be had.
    pub(super) fn executor(&self, program: Program, ranks: Option<&Ranks>) -> Result<Box<dyn Exec>> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(ordinal) = self.device {
            let device = kernels::cuda::Device::cuda(ordinal).map_err(|e| super::unusable(&e))?;
            let cuda = train::exec::Cuda::new(program, device).map_err(fault)?;
            return Ok(match ranks {
                Some(ranks) => Box::new(cuda.synchronized(ranks)),
                None => Box::new(cuda),
            });
        }
        debug_assert!(self.device == Device::Cpu, "no other device can be used");
        let cpu = Cpu::new(program, self.pool.clone(), Isa::best()).map_err(fault)?;
        Ok(match ranks {
            Some(ranks) => Box::new(cpu.synchronized(ranks)),
            None => Box::new(cpu),
        })
    }
}

/// What an executor says, as an error of a class.
pub(super) fn fault(e: ExecError) -> Error {
    match &e {
        ExecError::Memory { .. } => Error::limit(e.to_string()).help("take a smaller batch: --set batch=…"),
        ExecError::Device { .. } => Error::unsupported(e.to_string()).help(CPU),
        _ => Error::bad(e.to_string()),
    }
}

/// The way out of a device that cannot be used.
pub(super) const CPU: &str = "train on the CPU: --set device=cpu";
