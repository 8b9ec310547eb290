//! Pools and linear Resize.

use super::{CudaError, Given, Memory, Span, given, numbers};
use crate::PoolShape;
use crate::float::{Divisor, Linear};

/// A pool as kernels take it.
fn shape(s: &PoolShape, divisor: Divisor) -> Given {
    let axes = [s.input, s.output, s.kernel, s.stride, s.dilation, s.pad];
    let end = match divisor {
        Divisor::Inside => [0; 3],
        Divisor::Padded(end) => end,
    };
    let list = [s.batch, s.channels]
        .into_iter()
        .chain(axes.into_iter().flatten())
        .chain(end);
    match (numbers(list), divisor) {
        (Given::Numbers(mut n), Divisor::Inside) => {
            n[20] = -1;
            Given::Numbers(n)
        }
        (given, _) => given,
    }
}

fn check(s: &PoolShape, x: Span, y: Span) {
    assert!(
        !s.stride.contains(&0) && !s.dilation.contains(&0),
        "pool: strides"
    );
    let count = |axes: &[usize; 3]| s.batch * axes.iter().product::<usize>() * s.channels;
    assert_eq!(
        (x.len, y.len),
        (count(&s.input), count(&s.output)),
        "pool: length"
    );
}

impl Memory {
    /// Largest element of each window; padding and NaN never win.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn max_pool(&self, s: &PoolShape, x: Span, y: Span) -> Result<(), CudaError> {
        check(s, x, y);
        let arguments = given![x, y, y.len, shape(s, Divisor::Inside)];
        // SAFETY: a thread reads what of its window lies in the picture.
        unsafe { self.each("max_pool", y.len, arguments) }
    }

    /// The gradient goes to the first of a window's pixels, row-major, that equals its maximum. `scratch` takes as many elements as `y`.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn max_pool_backward(
        &self,
        s: &PoolShape,
        x: Span,
        y: Span,
        dy: Span,
        dx: Span,
        scratch: Span,
    ) -> Result<(), CudaError> {
        check(s, x, y);
        check(s, dx, dy);
        let winners = scratch.split(y.len).0;
        let numbers = || shape(s, Divisor::Inside);
        // SAFETY: a thread reads what of its window lies in the picture.
        unsafe { self.each("max_pool_winners", y.len, given![x, y, winners, y.len, numbers()])? };
        // SAFETY: a thread reads the outputs that there are.
        unsafe {
            self.each(
                "max_pool_backward",
                dx.len,
                given![winners, dy, dx, dx.len, numbers()],
            )
        }
    }

    /// Mean of each window.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn average_pool(&self, s: &PoolShape, divisor: Divisor, x: Span, y: Span) -> Result<(), CudaError> {
        check(s, x, y);
        let arguments = given![x, y, y.len, shape(s, divisor)];
        // SAFETY: a thread reads what of its window lies in the picture.
        unsafe { self.each("average_pool", y.len, arguments) }
    }

    /// Each pixel of a window gets its share.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn average_pool_backward(
        &self,
        s: &PoolShape,
        divisor: Divisor,
        dy: Span,
        dx: Span,
    ) -> Result<(), CudaError> {
        check(s, dx, dy);
        let arguments = given![dy, dx, dx.len, shape(s, divisor)];
        // SAFETY: a thread reads the outputs that there are.
        unsafe { self.each("average_pool_backward", dx.len, arguments) }
    }

    /// Resizes `x` `[batch, input…, channels]` to `y` `[batch, output…, channels]`; `lists` are the first of
    /// [`Lists::resize_linear`](super::Lists::resize_linear).
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn resize_linear(
        &self,
        op: &Linear,
        lists: usize,
        sizes: [usize; 2],
        x: Span,
        y: Span,
    ) -> Result<(), CudaError> {
        self.weigh(op.input, op.output(), lists, sizes, x, y)
    }

    /// Backward of [`Memory::resize_linear`]; `lists` are the second of [`Lists::resize_linear`](super::Lists::resize_linear).
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn resize_linear_backward(
        &self,
        op: &Linear,
        lists: usize,
        sizes: [usize; 2],
        dy: Span,
        dx: Span,
    ) -> Result<(), CudaError> {
        self.weigh(op.output(), op.input, lists, sizes, dy, dx)
    }

    fn weigh(
        &self,
        from: [usize; 3],
        to: [usize; 3],
        lists: usize,
        [batch, channels]: [usize; 2],
        x: Span,
        y: Span,
    ) -> Result<(), CudaError> {
        let lists = &self.lists[lists];
        assert_eq!((lists.positions, lists.sources), (to, from), "resize: lists");
        let count = |axes: [usize; 3]| batch * axes.iter().product::<usize>() * channels;
        assert_eq!((x.len, y.len), (count(from), count(to)), "resize: length");
        let [first, source, weight] = self.addresses(lists);
        let s = numbers([batch, channels].into_iter().chain(from).chain(to));
        // SAFETY: the lists are of these axes, and name elements inside of `from`.
        unsafe { self.each("weigh", y.len, given![x, y, y.len, first, source, weight, s]) }
    }
}
