//! Stopping: a flag set from outside, a deadline, a cap of memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, ErrorKind, Result};

/// Handed to everything that may take long; checked between layers and pictures. Clones share the flag.
///
/// ```
/// let control = lowbit::Control::default();
/// control.check().unwrap();
/// control.cancel();
/// assert_eq!(control.check().unwrap_err().kind(), lowbit::ErrorKind::Interrupted);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Control {
    cancel: Arc<AtomicBool>,
    deadline: Option<(Instant, Duration)>,
    memory: Option<usize>,
    large: Arc<Mutex<()>>,
}

impl Control {
    /// The same, stopping after `limit` from now.
    pub fn with_time(mut self, limit: Duration) -> Self {
        self.deadline = Instant::now().checked_add(limit).map(|at| (at, limit));
        self
    }

    /// The same with a cap of bytes for models, activations and pictures.
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// The flag that stops the work when it becomes true; a signal handler may hold it.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    pub(crate) fn cancelled(&self) -> &AtomicBool {
        &self.cancel
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// When to stop, where there is a limit.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.map(|(at, _)| at)
    }

    /// Waits until no other thread holds a picture that is large.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cap of memory.
    pub fn memory(&self) -> Option<usize> {
        self.memory
    }

    /// An error once the work shall stop.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] after [`Control::cancel`], [`ErrorKind::Limit`] after the deadline.
    pub fn check(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Interrupted,
                "interrupted; no file was changed",
            ));
        }
        match self.deadline {
            Some((at, limit)) if Instant::now() >= at => Err(Error::limit(format!(
                "the time limit of {} s is over",
                limit.as_secs_f64()
            ))
            .help("raise --limit-time or take fewer pictures")),
            _ => Ok(()),
        }
    }

    /// Refuses what would take more memory than allowed.
    pub(crate) fn admit(&self, bytes: usize, what: &str) -> Result<()> {
        match self.memory {
            Some(most) if bytes > most => Err(Error::limit(format!(
                "{what} takes {}, the limit is {}",
                crate::text::bytes(bytes),
                crate::text::bytes(most)
            ))
            .help("raise --limit-mem")),
            _ => Ok(()),
        }
    }

    /// The same with `bytes` of its memory taken.
    pub(crate) fn less(&self, bytes: usize, what: &str) -> Result<Control> {
        self.admit(bytes, what)?;
        Ok(Control {
            memory: self.memory.map(|m| m - bytes),
            ..self.clone()
        })
    }
}

/// Told how far a long work is: `done` of `total` pictures or layers of the step `what`.
pub trait Progress {
    /// A step of `total` units begins, or moved on.
    fn at(&mut self, what: &str, done: usize, total: usize);

    /// Something that was found on the way.
    fn note(&mut self, _text: &str) {}
}

/// Any closure will do; `&mut |_, _, _| {}` is silent.
impl<F: FnMut(&str, usize, usize)> Progress for F {
    fn at(&mut self, what: &str, done: usize, total: usize) {
        self(what, done, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_limit_and_memory_is_compared() {
        let c = Control::default().with_time(Duration::ZERO).with_memory(10);
        assert_eq!(c.check().unwrap_err().kind(), ErrorKind::Limit);
        c.admit(10, "a tensor").unwrap();
        let e = c.admit(11, "a tensor").unwrap_err();
        assert!(e.to_string().contains("--limit-mem"), "{e}");
    }
}
