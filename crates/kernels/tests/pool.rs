//! The thread pool: every task once, any number of callers, nesting, panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernels::Pool;

/// Runs `count` tasks and checks that each ran once.
fn each_once(pool: &Pool, count: usize) {
    let ran: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    pool.run(count, &|i| {
        ran[i].fetch_add(1, Ordering::Relaxed);
    });
    assert!(ran.iter().all(|r| r.load(Ordering::Relaxed) == 1));
}

#[test]
fn every_task_runs_once_for_any_number_of_threads() {
    for threads in [1, 2, 3, 8] {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads);
        for count in [0, 1, 2, 7, 1000] {
            each_once(&pool, count);
        }
    }
    assert!(Pool::new(0).threads() >= 1);
}

/// Threads without end once took all memory for stacks, and the process with it.
#[test]
fn a_pool_has_a_largest_size() {
    let pool = Pool::new(usize::MAX);
    assert!(pool.threads() <= Pool::MOST, "{}", pool.threads());
    each_once(&pool, 3000);
}

#[test]
fn sixty_four_callers_share_one_pool() {
    let pool = Pool::new(4);
    std::thread::scope(|scope| {
        for caller in 0..64 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..200 {
                    each_once(pool, (caller * 7 + round) % 40);
                }
            });
        }
    });
}

#[test]
fn tasks_may_use_the_pool_again() {
    let pool = Pool::new(3);
    let ran = AtomicUsize::new(0);
    pool.run(20, &|_| {
        pool.run(20, &|_| {
            ran.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(ran.into_inner(), 400);
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
    for threads in [1, 4] {
        let pool = Pool::new(threads);
        for bad in 0..50 {
            let run = AssertUnwindSafe(|| {
                pool.run(50, &|i| {
                    assert!(i != bad, "task {i} fails");
                });
            });
            let panic = catch_unwind(run).expect_err("the panic is passed on");
            let text = panic.downcast_ref::<String>().expect("its own message");
            assert_eq!(text, &format!("task {bad} fails"));
            each_once(&pool, 30);
        }
    }
}

#[test]
fn sleeping_threads_wake_up_and_dropping_ends_them() {
    for _ in 0..5 {
        let pool = Pool::new(3);
        each_once(&pool, 10);
        std::thread::sleep(Duration::from_millis(20));
        // Needs two threads at once: a worker that overslept would hang here.
        let (here, both) = (AtomicUsize::new(0), std::sync::Barrier::new(2));
        pool.run(2, &|_| {
            here.fetch_add(1, Ordering::Relaxed);
            both.wait();
        });
        assert_eq!(here.into_inner(), 2);
    }
}
