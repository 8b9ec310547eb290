//! Data-parallel training: every rank holds the whole model and takes its share of each batch; what a step sums over pictures is summed over the
//! ranks too, so that all ranks make the same update.
//!
//! ```text
//! loss of a batch:  ℓ = Σ terms / N,  N (positives, pictures, …) over the whole batch, so that Σ over ranks of ℓ_r is ℓ and Σ of ∂ℓ_r is ∂ℓ
//! BatchNormalization, if wanted:  Σ(x − shift), Σ(x − shift)² forward and Σ dz, Σ dz·(x − mean) backward, over the whole batch
//! ```
//! Numbers are added in the order of the ranks, in f64: all ranks get the same bits, and a second run gets them again. R ranks with a batch of B
//! together give the losses of one rank with a batch of B, up to rounding.
//!
//! | file | ranks are |
//! |---|---|
//! | [`Solo`] | one process |
//! | [`mod@threads`] | threads of one process, for tests |
//! | `mpi` | processes under `mpirun`; cargo feature `mpi` |

#[cfg(feature = "mpi")]
pub mod mpi;
pub mod threads;

use std::sync::{Arc, Mutex};

/// Why ranks could not exchange numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExchangeError {
    #[error("another rank has stopped; its own message says why")]
    Left,
    #[error(
        "rank {rank} gives {have} numbers where this one gives {want}: all ranks need the same recipe and files"
    )]
    Length { rank: usize, have: usize, want: usize },
    #[error("MPI cannot be used: {0}")]
    Mpi(String),
}

/// The seam between a training step and what joins its ranks. Every rank makes the same calls in the same order.
pub trait GradExchange: Send {
    /// 0 … size − 1.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn size(&self) -> usize;

    /// Replaces each number by its sum over the ranks, added in their order in f64 and rounded once.
    ///
    /// # Errors
    /// A rank that is gone, or that gives another number of numbers.
    fn sum(&mut self, values: &mut [f32]) -> Result<(), ExchangeError>;

    /// The same in f64: for what is small, and summed from many terms.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    fn sum_wide(&mut self, values: &mut [f64]) -> Result<(), ExchangeError>;

    /// Gives all ranks the bytes of rank 0.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    fn broadcast(&mut self, bytes: &mut Vec<u8>) -> Result<(), ExchangeError>;

    /// The run has ended well on this rank; nothing is exchanged after it. A rank that goes without it has failed, and the others are told.
    fn finish(&mut self) {}
}

/// One process alone: sums are what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Solo;

impl GradExchange for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&mut self, _: &mut [f32]) -> Result<(), ExchangeError> {
        Ok(())
    }

    fn sum_wide(&mut self, _: &mut [f64]) -> Result<(), ExchangeError> {
        Ok(())
    }

    fn broadcast(&mut self, _: &mut Vec<u8>) -> Result<(), ExchangeError> {
        Ok(())
    }
}

/// This rank's end of an exchange, shared by trainer, executor and loss.
#[derive(Clone)]
pub struct Ranks {
    rank: usize,
    size: usize,
    exchange: Arc<Mutex<dyn GradExchange>>,
}

impl Default for Ranks {
    fn default() -> Self {
        Ranks::new(Solo)
    }
}

impl std::fmt::Debug for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.size)
    }
}

impl Ranks {
    /// This rank's end.
    pub fn new(exchange: impl GradExchange + 'static) -> Ranks {
        Ranks {
            rank: exchange.rank(),
            size: exchange.size(),
            exchange: Arc::new(Mutex::new(exchange)),
        }
    }

    /// 0 … size − 1.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of ranks.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this rank writes files and tells what happens.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    fn with<T>(&self, call: impl FnOnce(&mut dyn GradExchange) -> T) -> T {
        let mut exchange = self
            .exchange
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        call(&mut *exchange)
    }

    /// [`GradExchange::sum`].
    ///
    /// # Errors
    /// As there.
    pub fn sum(&self, values: &mut [f32]) -> Result<(), ExchangeError> {
        self.with(|e| e.sum(values))
    }

    /// [`GradExchange::sum_wide`].
    ///
    /// # Errors
    /// As there.
    pub fn sum_wide(&self, values: &mut [f64]) -> Result<(), ExchangeError> {
        self.with(|e| e.sum_wide(values))
    }

    /// Sum of one number.
    ///
    /// # Errors
    /// As [`GradExchange::sum`].
    pub fn total(&self, value: f64) -> Result<f64, ExchangeError> {
        let mut one = [value];
        self.sum_wide(&mut one)?;
        Ok(one[0])
    }

    /// Whether it holds on some rank: so that all stop after the same step.
    ///
    /// # Errors
    /// As [`GradExchange::sum`].
    pub fn any(&self, here: bool) -> Result<bool, ExchangeError> {
        Ok(self.total(f64::from(u8::from(here)))? > 0.0)
    }

    /// [`GradExchange::broadcast`].
    ///
    /// # Errors
    /// As there.
    pub fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), ExchangeError> {
        self.with(|e| e.broadcast(bytes))
    }

    /// [`GradExchange::finish`].
    pub fn finish(&self) {
        self.with(|e| e.finish());
    }
}

/// A number that is exchanged.
trait Number: Copy + Default + Send + 'static {
    fn wide(self) -> f64;
    fn rounded(wide: f64) -> Self;
}

impl Number for f32 {
    fn wide(self) -> f64 {
        f64::from(self)
    }

    fn rounded(wide: f64) -> f32 {
        wide as f32
    }
}

impl Number for f64 {
    fn wide(self) -> f64 {
        self
    }

    fn rounded(wide: f64) -> f64 {
        wide
    }
}

/// The one sum: of as long lists, in the order of their ranks.
fn add_in_order<'a, T: Number>(parts: impl Iterator<Item = &'a [T]> + Clone, into: &mut [T]) {
    for (i, to) in into.iter_mut().enumerate() {
        *to = T::rounded(parts.clone().map(|p| p[i].wide()).sum());
    }
}
