//! Work on several pictures at the same time, with results that do not depend on how many threads there are.

use std::sync::Mutex;

use kernels::Pool;

use crate::{Control, Result};

/// Pictures in work at the same time: each holds its activations.
const MOST: usize = 8;

/// Bytes that they hold together; one alone may hold more.
const TOGETHER: usize = 28 << 20;

/// Who works, and what may stop them.
pub(crate) type Team<'a> = (&'a Pool, &'a Control);

/// How many pictures that hold `each` bytes are in work at the same time: memory shall not grow with the number of cores. One where memory is
/// limited: the limit counts the activations of one picture.
pub(crate) fn at_a_time(pool: &Pool, control: &Control, each: usize) -> usize {
    match control.memory() {
        Some(_) => 1,
        None => (TOGETHER / each.max(1)).clamp(1, pool.threads().min(MOST)),
    }
}

/// `work(i)` for each i below `count`, in their order; each holds so many bytes. What `work` hands to the pool runs on its own thread where several are
/// in work, else on all threads.
///
/// # Errors
/// Of the first i that failed.
pub(crate) fn map<T: Send>(
    pool: &Pool,
    control: &Control,
    each: usize,
    count: usize,
    work: &(dyn Fn(usize) -> Result<T> + Sync),
) -> Result<Vec<T>> {
    let mut all = Vec::with_capacity(count);
    let together = at_a_time(pool, control, each);
    if together == 1 {
        for i in 0..count {
            all.push(work(i)?);
        }
        return Ok(all);
    }
    // More than there are threads, so that none waits for the slowest.
    let part = if together < pool.threads() { together } else { MOST };
    for first in (0..count).step_by(part) {
        let here = part.min(count - first);
        let results: Vec<Mutex<Option<Result<T>>>> = (0..here).map(|_| Mutex::new(None)).collect();
        pool.run(here, &|i| {
            let result = work(first + i);
            *results[i]
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
        });
        for result in results {
            let result = result
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            all.extend(result.transpose()?);
        }
    }
    Ok(all)
}

/// As [`map`] over a list whose elements each call changes.
///
/// # Errors
/// As [`map`].
pub(crate) fn change<E: Send, T: Send>(
    pool: &Pool,
    control: &Control,
    each: usize,
    all: &mut [E],
    work: &(dyn Fn(usize, &mut E) -> Result<T> + Sync),
) -> Result<Vec<T>> {
    let cells: Vec<Mutex<&mut E>> = all.iter_mut().map(Mutex::new).collect();
    map(pool, control, each, cells.len(), &|i| {
        let mut element = cells[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        work(i, &mut element)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn results_keep_their_order_and_the_first_fault_is_told() {
        for (threads, memory, each) in [
            (1, None, 0),
            (3, None, 0),
            (3, Some(1), 0),
            (3, None, TOGETHER / 2),
            (3, None, TOGETHER),
        ] {
            let pool = Pool::new(threads);
            let control = memory.map_or(Control::default(), |m| Control::default().with_memory(m));
            let squares = map(&pool, &control, each, 21, &|i| Ok(i * i)).unwrap();
            assert_eq!(squares, (0..21).map(|i| i * i).collect::<Vec<_>>());
            let fault = map(&pool, &control, each, 21, &|i| match i {
                0..5 => Ok(i),
                _ => Err(Error::bad(format!("number {i}"))),
            });
            assert_eq!(fault.unwrap_err().to_string(), "number 5");
            let mut list = vec![1, 2, 3];
            let old = change(&pool, &control, each, &mut list, &|i, x| {
                Ok(std::mem::replace(x, i))
            })
            .unwrap();
            assert_eq!((old, list), (vec![1, 2, 3], vec![0, 1, 2]));
        }
    }
}
