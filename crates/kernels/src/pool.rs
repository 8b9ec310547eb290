//! The thread pool.

/// Runs numbered tasks on a fixed number of threads.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
}

impl Pool {
    /// A pool of `threads` threads, the caller included; 0 means all cores.
    pub fn new(threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Pool {
            threads: if threads == 0 { cores } else { threads },
        }
    }

    /// Threads that work, the caller included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `task(i)` once for each i in `0..count`, in no order, and returns when all are done.
    pub fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        for i in 0..count {
            task(i);
        }
    }
}
