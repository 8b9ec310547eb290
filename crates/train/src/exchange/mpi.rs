//! Ranks that are processes under `mpirun`, on one machine or many.
//!
//! A sum is an `MPI_Alltoall` of blocks, an ordered sum of one block on each rank, and an `MPI_Allgather`: the traffic of the best all-reduce, but in
//! an order that neither the library's algorithm nor the network chooses. MPI is initialized by, and only ever called from, a thread of its own, so
//! that it needs no more than `MPI_THREAD_FUNNELED`.

use std::sync::mpsc::{Receiver, Sender, channel};

use mpi::Threading;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};

use super::{ExchangeError, GradExchange, Number, Ranks, add_in_order};

enum Job {
    Sum(Vec<f32>),
    Wide(Vec<f64>),
    Bytes(Vec<u8>),
    Finish,
}

/// The end of this process.
struct Process {
    rank: usize,
    size: usize,
    jobs: Sender<Job>,
    done: Receiver<Job>,
}

/// Initializes MPI; once in a process. Without [`Ranks::finish`] the process ends as one that failed, which `mpirun` answers by ending the others.
///
/// # Errors
/// MPI that has been initialized before, or cannot serve one thread.
pub fn ranks() -> Result<Ranks, ExchangeError> {
    let (jobs, inbox) = channel();
    let (outbox, done) = channel();
    let (ready, started) = channel();
    let fault = |e: &str| ExchangeError::Mpi(e.to_string());
    let work = move || {
        let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Funneled) else {
            let _ = ready.send(Err(fault("it has been initialized before")));
            return;
        };
        if threading < Threading::Funneled {
            let _ = ready.send(Err(fault("the library serves programs without threads only")));
            return;
        }
        let world = universe.world();
        let _ = ready.send(Ok((world.rank() as usize, world.size() as usize)));
        if !serve(&world, &inbox, &outbox) {
            // Finalizing would wait for ranks that wait for this one.
            std::mem::forget(universe);
        }
    };
    std::thread::Builder::new()
        .name("mpi".into())
        .spawn(work)
        .map_err(|e| ExchangeError::Mpi(e.to_string()))?;
    let (rank, size) = started.recv().map_err(|_| ExchangeError::Left)??;
    Ok(Ranks::new(Process {
        rank,
        size,
        jobs,
        done,
    }))
}

/// Until the run has ended; false if it ended badly.
fn serve(world: &SimpleCommunicator, jobs: &Receiver<Job>, done: &Sender<Job>) -> bool {
    while let Ok(mut job) = jobs.recv() {
        match &mut job {
            Job::Sum(values) => add(world, values),
            Job::Wide(values) => add(world, values),
            Job::Bytes(bytes) => {
                let root = world.process_at_rank(0);
                let mut length = bytes.len() as u64;
                root.broadcast_into(&mut length);
                bytes.resize(length as usize, 0);
                // A count of MPI is an i32.
                for part in bytes.chunks_mut(1 << 30) {
                    root.broadcast_into(part);
                }
            }
            Job::Finish => {
                world.barrier();
                return true;
            }
        }
        if done.send(job).is_err() {
            return false;
        }
    }
    false
}

fn add<T: Number + Equivalence>(world: &SimpleCommunicator, values: &mut [T]) {
    let size = world.size() as usize;
    let block = values.len().div_ceil(size).max(1);
    let mut mine = values.to_vec();
    mine.resize(block * size, T::default());
    let mut theirs = vec![T::default(); block * size];
    world.all_to_all_into(&mine[..], &mut theirs[..]);
    let mut sums = vec![T::default(); block];
    add_in_order(theirs.chunks(block), &mut sums);
    world.all_gather_into(&sums[..], &mut mine[..]);
    values.copy_from_slice(&mine[..values.len()]);
}

impl Process {
    fn run(&self, job: Job) -> Result<Job, ExchangeError> {
        self.jobs.send(job).map_err(|_| ExchangeError::Left)?;
        self.done.recv().map_err(|_| ExchangeError::Left)
    }
}

impl GradExchange for Process {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&mut self, values: &mut [f32]) -> Result<(), ExchangeError> {
        if let Job::Sum(sums) = self.run(Job::Sum(values.to_vec()))? {
            values.copy_from_slice(&sums);
        }
        Ok(())
    }

    fn sum_wide(&mut self, values: &mut [f64]) -> Result<(), ExchangeError> {
        if let Job::Wide(sums) = self.run(Job::Wide(values.to_vec()))? {
            values.copy_from_slice(&sums);
        }
        Ok(())
    }

    fn broadcast(&mut self, bytes: &mut Vec<u8>) -> Result<(), ExchangeError> {
        if let Job::Bytes(all) = self.run(Job::Bytes(std::mem::take(bytes)))? {
            *bytes = all;
        }
        Ok(())
    }

    fn finish(&mut self) {
        let _ = self.jobs.send(Job::Finish);
        // The thread drops its end once MPI is finalized.
        let _ = self.done.recv();
    }
}
