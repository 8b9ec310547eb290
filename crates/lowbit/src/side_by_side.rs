//! Work on several pictures at the same time, with results that do not depend on how many threads there are.

use std::sync::Mutex;

use graph::Graph;
use kernels::Pool;
use tensor::Tensor;

use crate::{Control, Result};

/// Pictures in work at the same time: each holds its activations.
const MOST: usize = 8;

/// Bytes that pictures in work hold together, whatever the network; one alone may hold more.
const TOGETHER: usize = 28 << 20;

/// Bytes that work on a network may hold where no limit is given: `least`, or as many as its weights take, so that large networks have their large
/// activations side by side, too.
pub(crate) fn room(least: usize, graph: &Graph) -> usize {
    least.max(weight_bytes(graph))
}

/// Bytes of a network's constants.
pub(crate) fn weight_bytes(graph: &Graph) -> usize {
    graph.constants.values().map(Tensor::bytes).sum()
}

/// What each picture in work holds, and what they may hold together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    each: usize,
    together: usize,
}

impl Share {
    /// Of work that holds nothing to speak of.
    pub(crate) const NOTHING: Share = Share { each: 0, together: 0 };

    /// So many bytes each, beside a network.
    pub(crate) fn of(each: usize, graph: &Graph) -> Share {
        Share {
            each,
            together: room(TOGETHER, graph),
        }
    }
}

/// Who works, and what may stop them.
pub(crate) type Team<'a> = (&'a Pool, &'a Control);

/// How many pictures are in work at the same time: memory shall not grow with the number of cores. One where memory is
/// limited: the limit counts the activations of one picture.
pub(crate) fn at_a_time(pool: &Pool, control: &Control, share: Share) -> usize {
    let most = pool.threads().min(MOST);
    match (control.memory(), share) {
        (Some(_), _) => 1,
        (None, Share { each: 0, .. }) => most,
        (None, Share { each, together }) => (together / each).clamp(1, most),
    }
}

/// `work(i)` for each i below `count`, in their order. What `work` hands to the pool runs on its own thread where several are
/// in work, else on all threads.
///
/// # Errors
/// Of the first i that failed.
pub(crate) fn map<T: Send>(
    pool: &Pool,
    control: &Control,
    share: Share,
    count: usize,
    work: &(dyn Fn(usize) -> Result<T> + Sync),
) -> Result<Vec<T>> {
    let mut all = Vec::with_capacity(count);
    let together = at_a_time(pool, control, share);
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
    share: Share,
    all: &mut [E],
    work: &(dyn Fn(usize, &mut E) -> Result<T> + Sync),
) -> Result<Vec<T>> {
    let cells: Vec<Mutex<&mut E>> = all.iter_mut().map(Mutex::new).collect();
    map(pool, control, share, cells.len(), &|i| {
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
            let each = Share {
                each,
                together: TOGETHER,
            };
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
