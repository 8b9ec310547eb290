//! Batches made ahead by threads, handed out in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tasks::detect::{Input, Object};

use super::{Options, Source, SourceError, order, sample};
use crate::{PrepareError, prepare_into};

/// What batches are made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of order and changes.
    pub seed: u64,
    /// Samples of one batch, or of this share of it.
    pub batch: usize,
    /// Which of how many equal shares of every batch this is: (0, 1) is the whole.
    pub share: (usize, usize),
    /// The network's input.
    pub input: Input,
    /// The changes.
    pub options: Options,
    /// Threads, at least 1.
    pub workers: usize,
    /// Batches made ahead, at least 1.
    pub ahead: usize,
}

/// One batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// 0, 1, …: sample `step · batch` of all epochs is its first, of the whole batch.
    pub step: u64,
    /// Input tensors one after the other, each in the layout of the head.
    pub input: Vec<f32>,
    /// Of each picture, in pixels of the input.
    pub objects: Vec<Vec<Object>>,
    /// Which samples they are.
    pub samples: Vec<usize>,
}

/// Why a batch could not be made.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)]
pub enum LoadError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error("a loading thread ended; this is a fault of the program")]
    Lost,
}

/// Makes batch `step` of a plan, or a share of it: the shares one after the other are the whole batch. The last batch of an epoch goes on with the first samples of the next.
///
/// # Errors
/// A sample that cannot be read.
pub fn batch(source: &dyn Source, plan: &Plan, step: u64) -> Result<Batch, LoadError> {
    let n = source.len() as u64;
    if n == 0 {
        return Err(SourceError::Empty.into());
    }
    let each = 3 * plan.input.width * plan.input.height;
    let mut out = Batch {
        step,
        input: vec![0.0; plan.batch * each],
        objects: Vec::with_capacity(plan.batch),
        samples: Vec::with_capacity(plan.batch),
    };
    let mut shuffled: Option<(u64, Vec<usize>)> = None;
    let (share, shares) = (plan.share.0 as u64, plan.share.1.max(1) as u64);
    for (k, input) in out.input.chunks_mut(each.max(1)).enumerate() {
        let position = (step * shares + share) * plan.batch as u64 + k as u64;
        let epoch = position / n;
        if shuffled.as_ref().is_none_or(|s| s.0 != epoch) {
            shuffled = Some((epoch, order(plan.seed, epoch, n as usize)));
        }
        let index = shuffled.as_ref().map_or(0, |s| s.1[(position % n) as usize]);
        let made = sample(source, index, plan.seed, epoch, &plan.input, &plan.options)?;
        prepare_into(&made.canvas, &plan.input, input)?;
        out.objects.push(made.objects);
        out.samples.push(index);
    }
    Ok(out)
}

/// Threads that make the batches of a plan from some step on.
pub struct Loader {
    receiver: Option<mpsc::Receiver<(u64, Result<Batch, LoadError>)>>,
    early: BTreeMap<u64, Result<Batch, LoadError>>,
    next: u64,
    workers: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts the threads.
    pub fn new(source: Arc<dyn Source>, plan: Plan, first: u64) -> Self {
        let (sender, receiver) = mpsc::sync_channel(plan.ahead.max(1));
        let counter = Arc::new(AtomicU64::new(first));
        let plan = Arc::new(plan);
        let workers = (0..plan.workers.max(1))
            .map(|_| {
                let (source, plan) = (source.clone(), plan.clone());
                let (sender, counter) = (sender.clone(), counter.clone());
                std::thread::spawn(move || {
                    loop {
                        let step = counter.fetch_add(1, Ordering::Relaxed);
                        // The receiver is gone: so is the need for batches.
                        if sender.send((step, batch(&*source, &plan, step))).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        Loader {
            receiver: Some(receiver),
            early: BTreeMap::new(),
            next: first,
            workers,
        }
    }

    /// The next batch in order.
    ///
    /// # Errors
    /// What went wrong in making it.
    pub fn next_batch(&mut self) -> Result<Batch, LoadError> {
        let step = self.next;
        self.next += 1;
        loop {
            if let Some(batch) = self.early.remove(&step) {
                return batch;
            }
            let received = self.receiver.as_ref().and_then(|r| r.recv().ok());
            let (at, batch) = received.ok_or(LoadError::Lost)?;
            self.early.insert(at, batch);
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Blocked senders wake up with an error.
        self.receiver = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
