//! Output slices shared among the tasks of a [`Pool`].

use std::marker::PhantomData;

use crate::Pool;

/// A mutable slice of which concurrent tasks take disjoint parts.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: only `part` gives access, and its callers promise that parts in use at the same time are disjoint.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Parts {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            owner: PhantomData,
        }
    }

    /// Address of element `at`, from which `len` elements follow; panics outside of the slice.
    ///
    /// # Safety
    /// What is written there belongs to no other part that is alive.
    pub(crate) unsafe fn pointer(&self, at: usize, len: usize) -> *mut T {
        assert!(
            at <= self.len && len <= self.len - at,
            "part outside of the output"
        );
        // SAFETY: in bounds by the assertion.
        unsafe { self.start.add(at) }
    }

    /// Elements `at .. at + len`; panics outside of the slice.
    ///
    /// # Safety
    /// No other part that overlaps may be alive.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, at: usize, len: usize) -> &mut [T] {
        assert!(
            at <= self.len && len <= self.len - at,
            "part outside of the output"
        );
        // SAFETY: in bounds by the assertion, unaliased by the caller's promise, alive by `owner`.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}

/// Calls `task(first element, part)` for consecutive parts of `y`, each of whole rows of `row` elements and
/// about `grain` elements long.
pub(crate) fn chunks<T: Send>(
    pool: &Pool,
    y: &mut [T],
    row: usize,
    grain: usize,
    task: impl Fn(usize, &mut [T]) + Sync,
) {
    let row = row.max(1);
    let len = y.len();
    let each = (grain / row).max(1) * row;
    let count = len.div_ceil(each);
    if count <= 1 {
        return task(0, y);
    }
    let parts = Parts::new(y);
    pool.run(count, &|i| {
        let at = i * each;
        // SAFETY: part i is the i-th of consecutive, non-overlapping ranges.
        task(at, unsafe { parts.part(at, each.min(len - at)) });
    });
}
