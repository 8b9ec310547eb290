//! Ranks that are threads of one process: for tests, with the sums of the others.

use std::any::Any;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{ExchangeError, GradExchange, Number, Ranks, add_in_order};

/// What a rank has put down, and whether it is still there.
#[derive(Default)]
struct Place {
    given: Option<Arc<dyn Any + Send + Sync>>,
    gone: bool,
}

/// A table with a place for each rank. A round is over when all have read: then the places are cleared.
#[derive(Default)]
struct Table {
    places: Vec<Place>,
    readers: usize,
    round: u64,
}

struct Shared {
    table: Mutex<Table>,
    changed: Condvar,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's end.
struct Thread {
    rank: usize,
    size: usize,
    shared: Arc<Shared>,
}

/// The ends of `size` ranks, to be moved into a thread each.
///
/// ```
/// let ranks = train::exchange::threads::ranks(3);
/// let sums = std::thread::scope(|s| {
///     let each = ranks.iter().map(|r| s.spawn(|| r.total(r.rank() as f64 + 1.0)));
///     each.collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap().unwrap()).collect::<Vec<_>>()
/// });
/// assert_eq!(sums, [6.0; 3]);
/// ```
pub fn ranks(size: usize) -> Vec<Ranks> {
    let mut table = Table::default();
    table.places.resize_with(size, Place::default);
    let shared = Arc::new(Shared {
        table: Mutex::new(table),
        changed: Condvar::new(),
    });
    let end = |rank| {
        let shared = shared.clone();
        Ranks::new(Thread { rank, size, shared })
    };
    (0..size).map(end).collect()
}

impl Thread {
    /// What all ranks give, in their order.
    fn all<T: Send + Sync + 'static>(&self, mine: T) -> Result<Vec<Arc<T>>, ExchangeError> {
        let mut table = self.shared.table();
        let round = table.round;
        table.places[self.rank].given = Some(Arc::new(mine));
        self.shared.changed.notify_all();
        while table.places.iter().any(|p| p.given.is_none()) {
            if table.places.iter().any(|p| p.gone && p.given.is_none()) {
                return Err(ExchangeError::Left);
            }
            table = self
                .shared
                .changed
                .wait(table)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let take = |p: &Place| p.given.clone().and_then(|g| g.downcast::<T>().ok());
        let given: Option<Vec<Arc<T>>> = table.places.iter().map(take).collect();
        table.readers += 1;
        if table.readers == self.size {
            table.places.iter_mut().for_each(|p| p.given = None);
            (table.readers, table.round) = (0, round + 1);
            self.shared.changed.notify_all();
        }
        // Nobody begins the next round before all have read this one.
        while table.round == round {
            table = self
                .shared
                .changed
                .wait(table)
                .unwrap_or_else(PoisonError::into_inner);
        }
        given.ok_or(ExchangeError::Left)
    }

    fn add<T: Number + Sync>(&self, values: &mut [T]) -> Result<(), ExchangeError> {
        let all = self.all(values.to_vec())?;
        if let Some(rank) = all.iter().position(|v| v.len() != values.len()) {
            return Err(ExchangeError::Length {
                rank,
                have: all[rank].len(),
                want: values.len(),
            });
        }
        add_in_order(all.iter().map(|v| v.as_slice()), values);
        Ok(())
    }
}

impl GradExchange for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&mut self, values: &mut [f32]) -> Result<(), ExchangeError> {
        self.add(values)
    }

    fn sum_wide(&mut self, values: &mut [f64]) -> Result<(), ExchangeError> {
        self.add(values)
    }

    fn broadcast(&mut self, bytes: &mut Vec<u8>) -> Result<(), ExchangeError> {
        let mine = std::mem::take(bytes);
        bytes.extend_from_slice(&self.all(mine)?[0]);
        Ok(())
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.shared.table().places[self.rank].gone = true;
        self.shared.changed.notify_all();
    }
}
