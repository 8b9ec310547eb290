//! Strided views of buffers, so that operators which only move elements cost nothing.
//!
//! A value's shape is always its logical one, in ONNX order; where elements lie is told by strides. Transpose, Slice,
//! Split, Squeeze, Expand and most Reshapes are new strides over the same buffer, and are written out only where a kernel
//! wants an order that they lack.

/// Index of a buffer of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BufferId(pub(crate) usize);

/// Where the elements of a value lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) buffer: BufferId,
    /// Element of the buffer at index (0, 0, …).
    pub(crate) offset: usize,
    /// Logical shape.
    pub(crate) shape: Vec<usize>,
    /// Elements from index to index along each axis; 0 repeats.
    pub(crate) strides: Vec<usize>,
}

/// Axes from the outermost in memory to the innermost.
pub(crate) type Order = Vec<usize>;

/// ONNX's order.
pub(crate) fn onnx_order(rank: usize) -> Order {
    (0..rank).collect()
}

/// Batch, spatial axes, channels.
pub(crate) fn channels_last(rank: usize) -> Order {
    match rank {
        0 | 1 => onnx_order(rank),
        _ => std::iter::once(0).chain(2..rank).chain([1]).collect(),
    }
}

impl View {
    /// A whole buffer of that shape, its axes in `order`.
    pub(crate) fn dense(buffer: BufferId, shape: &[usize], order: &[usize]) -> View {
        let mut strides = vec![0; shape.len()];
        let mut step = 1;
        for &axis in order.iter().rev() {
            strides[axis] = step;
            step *= shape[axis];
        }
        View {
            buffer,
            offset: 0,
            shape: shape.to_vec(),
            strides,
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Axes by falling stride: the order in which the view lies in memory, and in which a copy of it costs least.
    /// Axes of length 1 come first.
    pub(crate) fn order(&self) -> Order {
        let mut order = onnx_order(self.shape.len());
        let key = |&a: &usize| {
            if self.shape[a] == 1 {
                usize::MAX
            } else {
                self.strides[a]
            }
        };
        order.sort_by_key(|a| std::cmp::Reverse(key(a)));
        order
    }

    /// Whether the axes follow each other without gaps in that order. Axes of length 1 may stand anywhere.
    pub(crate) fn is_dense_in(&self, order: &[usize]) -> bool {
        let mut step = 1;
        for &axis in order.iter().rev() {
            if self.shape[axis] != 1 {
                if self.strides[axis] != step {
                    return false;
                }
                step *= self.shape[axis];
            }
        }
        true
    }

    /// Whether the axes follow each other without gaps in some order.
    pub(crate) fn is_dense(&self) -> bool {
        self.is_dense_in(&self.order())
    }

    /// Whether pixels of channels lie at one distance: (distance, first channel, elements before the first pixel).
    pub(crate) fn pixels(&self) -> Option<(usize, usize, usize)> {
        let rank = self.shape.len();
        if rank < 2 || self.len() == 0 {
            return None;
        }
        let channels = self.shape[1];
        if channels != 1 && self.strides[1] != 1 {
            return None;
        }
        let order = channels_last(rank);
        let outer: Vec<usize> = order[..rank - 1]
            .iter()
            .copied()
            .filter(|&a| self.shape[a] != 1)
            .collect();
        let Some(&last) = outer.last() else {
            // One pixel.
            return Some((channels, 0, self.offset));
        };
        let stride = self.strides[last];
        let mut step = stride;
        for &axis in outer.iter().rev() {
            if self.strides[axis] != step {
                return None;
            }
            step *= self.shape[axis];
        }
        let first = self.offset.checked_rem(stride)?;
        (first + channels <= stride).then_some((stride, first, self.offset - first))
    }

    /// ONNX Transpose.
    pub(crate) fn transposed(&self, perm: &[usize]) -> View {
        View {
            buffer: self.buffer,
            offset: self.offset,
            shape: perm.iter().map(|&a| self.shape[a]).collect(),
            strides: perm.iter().map(|&a| self.strides[a]).collect(),
        }
    }

    /// Elements `start, start + step, …` of an axis, `count` of them.
    pub(crate) fn sliced(&self, axis: usize, start: usize, step: usize, count: usize) -> View {
        let mut out = self.clone();
        out.offset += start * self.strides[axis];
        out.strides[axis] *= step;
        out.shape[axis] = count;
        out
    }

    /// Numpy broadcasting to a shape that the view's shape fits.
    pub(crate) fn expanded(&self, shape: &[usize]) -> Option<View> {
        let lead = shape.len().checked_sub(self.shape.len())?;
        let mut strides = vec![0; shape.len()];
        for (axis, (&from, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            match from {
                1 => {}
                _ if from == shape[lead + axis] => strides[lead + axis] = stride,
                _ => return None,
            }
        }
        Some(View {
            buffer: self.buffer,
            offset: self.offset,
            shape: shape.to_vec(),
            strides,
        })
    }

    /// The same elements under another shape, where strides can say so.
    ///
    /// # Errors
    /// An order in which a copy of this view could be reshaped without a further copy.
    pub(crate) fn reshaped(&self, shape: &[usize]) -> Result<View, Order> {
        let mut strides = vec![0; shape.len()];
        let mut fits = true;
        let mut wanted = self.order();
        for (from, to) in groups(&self.shape, shape) {
            // The axes of one group must follow each other.
            for pair in from.windows(2) {
                fits &= self.strides[pair[0]] == self.strides[pair[1]] * self.shape[pair[1]];
            }
            let mut step = from.last().map_or(1, |&a| self.strides[a]);
            for &axis in to.iter().rev() {
                strides[axis] = step;
                step *= shape[axis];
            }
            if let Some(&first) = wanted.iter().find(|a| from.contains(a)) {
                let rest: Order = wanted.iter().copied().filter(|a| !from.contains(a)).collect();
                let before = wanted.iter().take_while(|&&a| a != first).count();
                wanted = [&rest[..before], &from, &rest[before..]].concat();
            }
        }
        if fits && self.len() > 0 {
            Ok(View {
                buffer: self.buffer,
                offset: self.offset,
                shape: shape.to_vec(),
                strides,
            })
        } else {
            Err(wanted)
        }
    }
}

/// Smallest groups of consecutive axes, other than 1, with equal products on both sides.
fn groups(from: &[usize], to: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut out = Vec::new();
    let axes = |shape: &[usize]| (0..shape.len()).filter(|&a| shape[a] != 1).collect::<Vec<_>>();
    let (from_axes, to_axes) = (axes(from), axes(to));
    let (mut i, mut j) = (0, 0);
    while i < from_axes.len() && j < to_axes.len() {
        let (mut a, mut b) = (vec![from_axes[i]], vec![to_axes[j]]);
        let (mut m, mut n) = (from[from_axes[i]], to[to_axes[j]]);
        (i, j) = (i + 1, j + 1);
        while m != n {
            if m < n && i < from_axes.len() {
                m *= from[from_axes[i]];
                a.push(from_axes[i]);
                i += 1;
            } else if n < m && j < to_axes.len() {
                n *= to[to_axes[j]];
                b.push(to_axes[j]);
                j += 1;
            } else {
                break;
            }
        }
        out.push((a, b));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(shape: &[usize]) -> View {
        View::dense(BufferId(0), shape, &channels_last(shape.len()))
    }

    #[test]
    fn a_channel_shuffle_is_one_copy() {
        let x = last(&[1, 6, 4, 5]);
        let split = x.reshaped(&[1, 2, 3, 4, 5]).unwrap();
        let swapped = split.transposed(&[0, 2, 1, 3, 4]);
        let order = swapped.reshaped(&[1, 6, 4, 5]).unwrap_err();
        let copy = View::dense(BufferId(1), &swapped.shape, &order);
        let y = copy.reshaped(&[1, 6, 4, 5]).unwrap();
        assert!(y.is_dense_in(&channels_last(4)), "{y:?}");
    }

    #[test]
    fn flattening_pixels_needs_no_copy() {
        let x = last(&[1, 8, 4, 5]);
        let y = x.reshaped(&[1, 8, 20]).unwrap();
        assert!(y.is_dense_in(&[0, 2, 1]));
        let z = x.transposed(&[0, 2, 3, 1]);
        assert!(z.is_dense_in(&onnx_order(4)));
        assert!(z.reshaped(&[20, 8]).unwrap().is_dense_in(&[0, 1]));
        assert!(x.reshaped(&[1, 160]).is_err());
    }

    #[test]
    fn channel_ranges_are_pixels() {
        let x = last(&[2, 8, 4, 5]);
        assert_eq!(x.pixels(), Some((8, 0, 0)));
        let y = x.sliced(1, 3, 1, 4);
        assert_eq!(y.pixels(), Some((8, 3, 0)));
        assert!(!y.is_dense());
        assert_eq!(x.sliced(1, 0, 2, 4).pixels(), None);
        assert_eq!(x.sliced(0, 1, 1, 1).pixels(), Some((8, 0, 160)));
        assert_eq!(last(&[1, 7, 1, 1]).pixels(), Some((7, 0, 0)));
    }

    #[test]
    fn broadcasts_repeat() {
        let x = View::dense(BufferId(0), &[3, 1], &[0, 1]);
        let y = x.expanded(&[2, 3, 4]).unwrap();
        assert_eq!(y.strides, [0, 1, 0]);
        assert!(!y.is_dense());
        assert!(x.expanded(&[2, 4]).is_none());
    }
}
