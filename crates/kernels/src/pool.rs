//! The thread pool.
//!
//! A call publishes its tasks in one word of state that workers enter and leave by compare-and-swap, so a worker that
//! comes late finds the door closed instead of a task that is gone. Each thread begins with a run of tasks of its own, the same part of every call: what it
//! writes in one layer it reads in the next, from its own cache. Then it helps with the others' runs, which counters hand out: on a busy machine a thread that
//! the scheduler holds back holds back one task, not half a layer.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Rounds of `pause` before an idle thread yields (tens of microseconds), and of yields before it sleeps.
const SPINS: u32 = 1000;
const YIELDS: u32 = 200;

/// Bit of [`Shared::state`]: workers may enter. Below it the number of workers inside, above it the call's number.
const OPEN: u64 = 1 << 16;
const CALL: u64 = 1 << 17;
const INSIDE: u64 = OPEN - 1;

/// Runs numbered tasks on a fixed number of threads.
///
/// One pool serves any number of threads at once: a caller that finds it busy, and a task that uses it again, run
/// their tasks themselves.
pub struct Pool {
    threads: usize,
    /// Taken by the caller whose tasks the workers run.
    busy: AtomicBool,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// A cache line pair of its own, so that threads do not slow each other down by neighbours.
#[repr(align(128))]
struct Line<T>(T);

struct Shared {
    state: Line<AtomicU64>,
    /// The next task of each thread's run.
    next: Vec<Line<AtomicUsize>>,
    /// Written while nobody is inside, read by those who are.
    job: UnsafeCell<Option<Job>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    stop: AtomicBool,
    /// Workers that sleep, counted under `door`.
    asleep: AtomicUsize,
    door: Mutex<()>,
    bell: Condvar,
}

#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    count: usize,
}

// SAFETY: `job` is written only by the caller that holds `busy` while `state` is closed and nobody is inside, and read only
// between entering and leaving, which `state` orders; the task it points to is Sync and outlives the call.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is the only part that is not Send by itself.
unsafe impl Send for Shared {}

impl Pool {
    /// Threads of the largest pool. Where a system runs out of memory for stacks, a thread that it still starts can end the process.
    pub const MOST: usize = 1024;

    /// A pool of `threads` threads, the caller included; 0 means all cores. Threads beyond [`Pool::MOST`], and those that the
    /// system refuses to start, are done without.
    pub fn new(threads: usize) -> Self {
        // Asking for the cores reads files: a pool of one thread, which is made often, has no need to.
        let cores = match threads {
            1 => 1,
            _ => std::thread::available_parallelism().map_or(1, |n| n.get()),
        };
        let threads = if threads == 0 { cores } else { threads }.min(Pool::MOST);
        let shared = Arc::new(Shared {
            state: Line(AtomicU64::new(0)),
            next: (0..threads).map(|_| Line(AtomicUsize::new(0))).collect(),
            job: UnsafeCell::new(None),
            panic: Mutex::new(None),
            stop: AtomicBool::new(false),
            asleep: AtomicUsize::new(0),
            door: Mutex::new(()),
            bell: Condvar::new(),
        });
        let start = |i: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("lowbit-{i}"))
                .spawn(move || shared.work(i))
                .ok()
        };
        let workers: Vec<_> = (1..threads).map_while(start).collect();
        Pool {
            threads: workers.len() + 1,
            busy: AtomicBool::new(false),
            shared,
            workers,
        }
    }

    /// Threads that work, the caller included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `task(i)` once for each i in `0..count`, in no order, and returns when all are done.
    ///
    /// A panic in a task stops the handing out of tasks and is passed on; the pool stays usable.
    pub fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        if count <= 1
            || self.workers.is_empty()
            || self
                .busy
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            return (0..count).for_each(task);
        }
        let shared = &*self.shared;
        let erased: *const (dyn Fn(usize) + Sync + '_) = task;
        // SAFETY: `busy` is ours, the state is closed and the last call waited until nobody was inside. The lifetime of
        // the task is erased; it is alive until this function returns, which it does after `close`.
        unsafe {
            let task = std::mem::transmute::<
                *const (dyn Fn(usize) + Sync + '_),
                *const (dyn Fn(usize) + Sync + 'static),
            >(erased);
            *shared.job.get() = Some(Job { task, count });
        }
        for (run, next) in shared.next.iter().enumerate() {
            next.0.store(shared.first(run, count), Ordering::Relaxed);
        }
        shared.open();
        shared.hand_out(0, count, task);
        shared.close();
        let panic = shared.panic();
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.ring();
        for worker in self.workers.drain(..) {
            // Tasks' panics are caught: a worker ends only by `stop`.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Lets workers in.
    fn open(&self) {
        let state = self.state.0.load(Ordering::Relaxed);
        // SeqCst: either this store is seen by a worker that goes to sleep, or its count is seen here.
        self.state
            .0
            .store((state & !OPEN).wrapping_add(CALL) | OPEN, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            self.ring();
        }
    }

    /// Lets nobody in any more and waits for those inside.
    fn close(&self) {
        self.state.0.fetch_and(!OPEN, Ordering::AcqRel);
        let mut round = 0;
        while self.state.0.load(Ordering::Acquire) & INSIDE != 0 {
            pause(&mut round);
        }
    }

    /// The first of `count` tasks of a thread's run, which ends where the next one's begins.
    fn first(&self, run: usize, count: usize) -> usize {
        (count as u128 * run as u128 / self.next.len() as u128) as usize
    }

    /// Runs tasks until none is left, those of this thread's own run first; keeps the first panic.
    fn hand_out(&self, thread: usize, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let all = AssertUnwindSafe(|| {
            let runs = self.next.len();
            for run in (thread..runs).chain(0..thread) {
                let end = self.first(run + 1, count);
                loop {
                    let i = self.next[run].0.fetch_add(1, Ordering::Relaxed);
                    if i >= end {
                        break;
                    }
                    task(i);
                }
            }
        });
        if let Err(panic) = catch_unwind(all) {
            for next in &self.next {
                next.0.store(count, Ordering::Relaxed);
            }
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(panic);
        }
    }

    fn panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The life of a worker, the thread of that number.
    fn work(&self, thread: usize) {
        let mut seen = 0;
        while let Some(state) = self.next_call(seen) {
            let entered =
                self.state
                    .0
                    .compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed);
            if entered.is_err() {
                // Another worker went in or out, or the call is over.
                continue;
            }
            seen = state / CALL;
            // SAFETY: inside; `close` waits for us before the task and `job` change.
            if let Some(job) = unsafe { *self.job.get() } {
                // SAFETY: as above, the task is alive.
                self.hand_out(thread, job.count, unsafe { &*job.task });
            }
            self.state.0.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for an open call other than `seen`: spins, then yields, then sleeps. `None` when the pool ends.
    fn next_call(&self, seen: u64) -> Option<u64> {
        let fresh = |state: u64| state & OPEN != 0 && state / CALL != seen;
        let mut round = 0;
        loop {
            let state = self.state.0.load(Ordering::Acquire);
            if fresh(state) {
                return Some(state);
            }
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if pause(&mut round) {
                continue;
            }
            let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
            self.asleep.fetch_add(1, Ordering::SeqCst);
            while !fresh(self.state.0.load(Ordering::SeqCst)) && !self.stop.load(Ordering::SeqCst) {
                door = self.bell.wait(door).unwrap_or_else(PoisonError::into_inner);
            }
            self.asleep.fetch_sub(1, Ordering::SeqCst);
            drop(door);
            round = 0;
        }
    }

    /// Wakes all who sleep.
    fn ring(&self) {
        let _door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.bell.notify_all();
    }
}

/// One round of waiting; false when it is time to sleep.
fn pause(round: &mut u32) -> bool {
    *round = round.saturating_add(1);
    if *round <= SPINS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
    *round < SPINS + YIELDS
}
