//! Where the windows of convolutions and pools lie.

use graph::{Conv, ConvTranspose, Padding, Pool};

use super::support::Answer;

/// Longer axes, windows and paddings are those of no picture; sums of a few of them stay far from overflow.
const LONGEST: usize = if usize::BITS > 40 {
    1 << 40
} else {
    usize::MAX >> 4
};

/// One spatial axis of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

impl Axis {
    /// What tap `k` of output `o` reads; `None` is padding.
    pub(crate) fn forward(&self, o: usize, k: usize) -> Option<usize> {
        let at = (o * self.stride + k * self.dilation).checked_sub(self.begin);
        at.filter(|&i| i < self.input)
    }

    /// The first output that tap `k` of a transposed convolution reaches, and the step to the next.
    pub(crate) fn phase(&self, k: usize) -> (usize, usize) {
        // o + begin = k·dilation modulo the stride.
        let stride = self.stride as i128;
        let first = (k as i128 * self.dilation as i128 - self.begin as i128).rem_euclid(stride);
        // What does not fit lies behind every output.
        (usize::try_from(first).unwrap_or(usize::MAX), self.stride)
    }

    /// What tap `k` of output `o` reads in a transposed convolution, o being one that it reaches; `None` is padding.
    pub(crate) fn transposed(&self, o: usize, k: usize) -> Option<usize> {
        let at = ((o + self.begin).checked_sub(k * self.dilation))? / self.stride;
        Some(at).filter(|&i| i < self.input)
    }

    /// Elements of the picture in the window at `o`, ascending. Takes no time for padding, which may be of any length.
    pub(crate) fn inside(&self, o: usize) -> impl Iterator<Item = usize> + use<> {
        let (at, begin, dilation) = (o * self.stride, self.begin, self.dilation);
        let first = begin.saturating_sub(at).div_ceil(dilation);
        let end = (begin + self.input).saturating_sub(at).div_ceil(dilation);
        (first..end.min(self.kernel)).map(move |k| at + k * dilation - begin)
    }

    /// Number of elements of the window at `o` that lie inside the picture with its padding.
    pub(crate) fn inside_padded(&self, o: usize) -> usize {
        let end = self.begin + self.input + self.end;
        end.saturating_sub(o * self.stride)
            .div_ceil(self.dilation)
            .min(self.kernel)
    }
}

fn too_large() -> String {
    "its window or padding is larger than this machine can address".into()
}

/// The attributes that convolutions and pools share, checked for their number.
struct Attributes<'a> {
    kernel: &'a [usize],
    strides: &'a [usize],
    dilations: &'a [usize],
    padding: &'a Padding,
}

impl Attributes<'_> {
    fn check(&self, spatial: &[usize]) -> Answer<()> {
        let n = spatial.len();
        let pads = match self.padding {
            Padding::Explicit(p) => p.len() == 2 * n,
            _ => true,
        };
        if n == 0
            || [self.kernel, self.strides, self.dilations]
                .iter()
                .any(|l| l.len() != n)
            || !pads
        {
            return Err(format!("its window has not the {n} axes of the input"));
        }
        let zero = |l: &[usize]| l.contains(&0);
        if zero(self.kernel) || zero(self.strides) || zero(self.dilations) {
            return Err("a kernel size, stride or dilation is 0".into());
        }
        Ok(())
    }

    /// Span of the dilated kernel along an axis.
    fn span(&self, i: usize) -> Answer<usize> {
        let span = (self.kernel[i] - 1).checked_mul(self.dilations[i]);
        span.and_then(|s| s.checked_add(1))
            .filter(|&s| s < LONGEST)
            .ok_or_else(too_large)
    }

    fn explicit(&self, i: usize) -> Answer<(usize, usize)> {
        match self.padding {
            Padding::Explicit(p) => {
                let (begin, end) = (p[i], p[i + self.kernel.len()]);
                if begin.max(end) >= LONGEST {
                    return Err(too_large());
                }
                Ok((begin, end))
            }
            _ => Ok((0, 0)),
        }
    }

    fn axis(&self, i: usize, input: usize, output: usize, begin: usize, end: usize) -> Axis {
        Axis {
            input,
            output,
            kernel: self.kernel[i],
            stride: self.strides[i],
            dilation: self.dilations[i],
            begin,
            end,
        }
    }

    fn forward(&self, spatial: &[usize], ceil: bool) -> Answer<Vec<Axis>> {
        self.check(spatial)?;
        let one = |(i, &input): (usize, &usize)| {
            let (span, stride) = (self.span(i)?, self.strides[i]);
            if input >= LONGEST {
                return Err(too_large());
            }
            if matches!(self.padding, Padding::SameUpper | Padding::SameLower) {
                let output = input.div_ceil(stride);
                let covered = output
                    .saturating_sub(1)
                    .checked_mul(stride)
                    .and_then(|c| c.checked_add(span))
                    .ok_or_else(too_large)?;
                let (begin, end) = self.halves(covered.saturating_sub(input));
                return Ok(self.axis(i, input, output, begin, end));
            }
            let (begin, end) = self.explicit(i)?;
            let padded = input + begin + end;
            let Some(room) = padded.checked_sub(span) else {
                return Err(format!(
                    "a kernel that spans {span} does not fit into {padded} elements"
                ));
            };
            let mut output = if ceil {
                room.div_ceil(stride)
            } else {
                room / stride
            } + 1;
            // A window that would begin in the padding at the end is none.
            if ceil && (output - 1).saturating_mul(stride) >= input + begin {
                output -= 1;
            }
            Ok(self.axis(i, input, output, begin, end))
        };
        spatial.iter().enumerate().map(one).collect()
    }

    /// Automatic padding: the odd element at the end for `SAME_UPPER`, else at the begin.
    fn halves(&self, total: usize) -> (usize, usize) {
        let half = total / 2;
        match self.padding {
            Padding::SameUpper => (half, total - half),
            _ => (total - half, half),
        }
    }
}

impl<'a> From<&'a Conv> for Attributes<'a> {
    fn from(c: &'a Conv) -> Self {
        Attributes {
            kernel: &c.kernel,
            strides: &c.strides,
            dilations: &c.dilations,
            padding: &c.padding,
        }
    }
}

/// Windows of a convolution over spatial sizes.
pub(crate) fn of_conv(conv: &Conv, spatial: &[usize]) -> Answer<Vec<Axis>> {
    Attributes::from(conv).forward(spatial, false)
}

/// Windows of a pool.
pub(crate) fn of_pool(pool: &Pool, spatial: &[usize]) -> Answer<Vec<Axis>> {
    let attributes = Attributes {
        kernel: &pool.kernel,
        strides: &pool.strides,
        dilations: &pool.dilations,
        padding: &pool.padding,
    };
    attributes.forward(spatial, pool.ceil_mode)
}

/// Windows of a transposed convolution.
pub(crate) fn of_transposed(op: &ConvTranspose, spatial: &[usize]) -> Answer<Vec<Axis>> {
    let a = Attributes::from(&op.conv);
    a.check(spatial)?;
    let n = spatial.len();
    if op.output_padding.len() != n || op.output_shape.as_ref().is_some_and(|s| s.len() != n) {
        return Err(format!(
            "its output padding or shape has not the {n} axes of the input"
        ));
    }
    let one = |(i, &input): (usize, &usize)| {
        let (span, stride, extra) = (a.span(i)?, a.strides[i], op.output_padding[i]);
        // Length without padding.
        let full = input
            .saturating_sub(1)
            .checked_mul(stride)
            .and_then(|l| l.checked_add(extra))
            .and_then(|l| l.checked_add(span))
            .filter(|&l| l < LONGEST)
            .ok_or_else(too_large)?;
        let same = matches!(a.padding, Padding::SameUpper | Padding::SameLower);
        let wanted = match &op.output_shape {
            Some(shape) => Some(shape[i]),
            None if same => Some(input.checked_mul(stride).ok_or_else(too_large)?),
            None => None,
        };
        if let Some(output) = wanted.filter(|&o| o < LONGEST) {
            let (begin, end) = a.halves(full.saturating_sub(output));
            return Ok(a.axis(i, input, output, begin, end));
        }
        let (begin, end) = a.explicit(i)?;
        match full.checked_sub(begin + end) {
            Some(output) => Ok(a.axis(i, input, output, begin, end)),
            None => Err(format!(
                "padding of {begin} and {end} leaves nothing of {full} elements"
            )),
        }
    };
    spatial.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(kernel: usize, stride: usize, padding: Padding, ceil_mode: bool) -> Pool {
        Pool {
            kernel: vec![kernel],
            strides: vec![stride],
            dilations: vec![1],
            padding,
            ceil_mode,
            count_include_pad: false,
        }
    }

    #[test]
    fn the_elements_of_a_window_are_those_of_its_taps() {
        for (kernel, stride, dilation, begin, end) in [
            (3, 2, 1, 1, 1),
            (2, 1, 3, 2, 4),
            (5, 3, 2, 4, 4),
            (1, 2, 1, 0, 3),
            (4, 1, 1, 3, 0),
        ] {
            let pads = Padding::Explicit(vec![begin, end]);
            let p = Pool {
                dilations: vec![dilation],
                ..pool(kernel, stride, pads, false)
            };
            let axis = of_pool(&p, &[6]).unwrap()[0];
            for o in 0..axis.output {
                let taps = (0..kernel).filter_map(|k| axis.forward(o, k));
                assert!(axis.inside(o).eq(taps));
                let padded = (0..kernel).filter(|k| o * stride + k * dilation < begin + 6 + end);
                assert_eq!(axis.inside_padded(o), padded.count());
            }
        }
    }

    #[test]
    fn output_lengths_and_automatic_padding() {
        let axis = |p: Pool, n: usize| of_pool(&p, &[n]).unwrap()[0];
        assert_eq!(
            axis(pool(3, 2, Padding::Explicit(vec![1, 1]), false), 6).output,
            3
        );
        assert_eq!(axis(pool(3, 2, Padding::Explicit(vec![0, 0]), true), 6).output, 3);
        // The fourth window would begin in the padding at the end.
        assert_eq!(axis(pool(1, 2, Padding::Explicit(vec![0, 1]), true), 6).output, 3);
        let upper = axis(pool(2, 1, Padding::SameUpper, false), 5);
        assert_eq!((upper.output, upper.begin, upper.end), (5, 0, 1));
        let lower = axis(pool(2, 1, Padding::SameLower, false), 5);
        assert_eq!((lower.begin, lower.end), (1, 0));
        assert!(of_pool(&pool(7, 1, Padding::Valid, false), &[5]).is_err());
    }
}
