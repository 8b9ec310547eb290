//! Operators that move elements.

use graph::PadMode;
use tensor::{Data, Tensor, for_each_data, strides};

use super::support::{
    Answer, Inputs, Walk, axes, axis, broadcast_shape, count, product, rearrange, size, tensor,
};

pub(super) fn concat(i: Inputs<'_>, along: i64) -> Answer {
    let all = i.all()?;
    let first = all[0];
    let along = axis(along, first.rank())?;
    let mut shape = first.shape().to_vec();
    shape[along] = 0;
    for t in &all {
        let fits = t.rank() == first.rank()
            && t.dtype() == first.dtype()
            && (0..t.rank()).all(|a| a == along || t.shape()[a] == first.shape()[a]);
        let length = shape[along].checked_add(*t.shape().get(along).unwrap_or(&0));
        match length.filter(|_| fits) {
            Some(length) => shape[along] = length,
            None => {
                let [a, b] = [first, t].map(|t| format!("{:?} {:?}", t.dtype(), t.shape()));
                return Err(format!("{a} and {b} do not join along axis {along}"));
            }
        }
    }
    let n = count(&shape, first.dtype().size())?;
    let outer = if n == 0 { 0 } else { product(&shape[..along]) };
    macro_rules! join {
        ($($variant:ident),*) => {
            match first.data() {
                $(Data::$variant(_) => {
                    let mut out = Vec::with_capacity(n);
                    for o in 0..outer {
                        for t in &all {
                            if let Data::$variant(v) = t.data() {
                                let run = v.len() / outer;
                                out.extend_from_slice(&v[o * run..(o + 1) * run]);
                            }
                        }
                    }
                    Data::from(out)
                })*
            }
        };
    }
    tensor(shape, join!(F32, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool))
}

/// x, split?; equal parts, the last one smaller, where the sizes are absent.
pub(super) fn split(i: Inputs<'_>, along: i64, outputs: usize) -> Answer<Vec<Tensor>> {
    let x = i.need(0)?;
    let along = axis(along, x.rank())?;
    let length = x.shape()[along];
    let sizes: Vec<usize> = match i.ints(1)? {
        Some(sizes) => sizes.into_iter().map(size).collect::<Answer<_>>()?,
        None => {
            let part = length.div_ceil(outputs.max(1));
            (0..outputs)
                .map(|o| part.min(length.saturating_sub(o.saturating_mul(part))))
                .collect()
        }
    };
    let sum = sizes.iter().try_fold(0usize, |s, &n| s.checked_add(n));
    if sizes.len() != outputs || sum != Some(length) {
        return Err(format!("{outputs} parts of {sizes:?} do not make {length}"));
    }
    let steps = strides(x.shape());
    let mut start = 0;
    let part = |n: usize| {
        let mut shape = x.shape().to_vec();
        shape[along] = n;
        let from = start;
        start += n;
        rearrange(x, shape, |a, i| if a == along { from + i } else { i } * steps[a])
    };
    sizes.into_iter().map(part).collect()
}

/// x, starts, ends, axes?, steps?.
pub(super) fn slice(i: Inputs<'_>) -> Answer {
    let x = i.need(0)?;
    let (starts, ends) = (i.need_ints(1)?, i.need_ints(2)?);
    let given = match i.ints(3)? {
        Some(a) => a,
        None => (0..starts.len() as i64).collect(),
    };
    let along = axes(&given, x.rank())?;
    let jumps = i.ints(4)?.unwrap_or(vec![1; starts.len()]);
    if [ends.len(), along.len(), jumps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps differ in length".into());
    }
    let mut shape = x.shape().to_vec();
    let mut from = vec![(0i64, 1i64); x.rank()];
    for (n, &a) in along.iter().enumerate() {
        let jump = jumps[n];
        let length = i64::try_from(shape[a]).map_err(|_| format!("axis {a} is too long"))?;
        if jump == 0 {
            return Err("a step is 0".into());
        }
        let place = |p: i64| if p < 0 { p.saturating_add(length) } else { p };
        let (low, high) = if jump > 0 { (0, length) } else { (-1, length - 1) };
        let (start, end) = if jump > 0 {
            (place(starts[n]).clamp(low, high), place(ends[n]).clamp(low, high))
        } else {
            (
                place(starts[n]).clamp(0, high.max(0)),
                place(ends[n]).clamp(low, high),
            )
        };
        let span = if jump > 0 { end - start } else { start - end };
        let steps = jump.unsigned_abs();
        let n = if length == 0 {
            0
        } else {
            (span.max(0) as u64).div_ceil(steps)
        };
        shape[a] = n as usize;
        from[a] = (start, jump);
    }
    let steps = strides(x.shape());
    rearrange(x, shape, |a, i| {
        let (start, jump) = from[a];
        // In range by the length computed above.
        (start + i as i64 * jump) as usize * steps[a]
    })
}

/// x, pads, value?, axes?; negative pads cut.
pub(super) fn pad(i: Inputs<'_>, mode: PadMode) -> Answer {
    let x = i.need(0)?;
    let pads = i.need_ints(1)?;
    let value = i.get(2);
    if value.is_some_and(|v| v.len() != 1 || v.dtype() != x.dtype()) {
        return Err(format!("the value is not one {:?}", x.dtype()));
    }
    let along = match i.ints(3)? {
        Some(a) => axes(&a, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    pad_with(x, &pads, &along, mode, value)
}

/// Paddings of `along`: all begins, then all ends. Zeros where no value is given.
pub(crate) fn pad_with(
    x: &Tensor,
    pads: &[i64],
    along: &[usize],
    mode: PadMode,
    value: Option<&Tensor>,
) -> Answer {
    if pads.len() != 2 * along.len() {
        return Err(format!(
            "{} paddings are given for {} axes",
            pads.len(),
            along.len()
        ));
    }
    let mut shape = x.shape().to_vec();
    let mut begins = vec![0i64; x.rank()];
    for (n, &a) in along.iter().enumerate() {
        let (begin, end) = (pads[n], pads[n + along.len()]);
        let length = (shape[a] as i64)
            .checked_add(begin)
            .and_then(|l| l.checked_add(end));
        let length = length.and_then(|l| usize::try_from(l).ok());
        shape[a] = length.ok_or_else(|| format!("paddings of {begin} and {end} do not fit axis {a}"))?;
        begins[a] = begin;
        if mode != PadMode::Constant && x.shape()[a] == 0 && shape[a] > 0 {
            return Err(format!("axis {a} has no elements to repeat"));
        }
    }
    count(&shape, x.dtype().size())?;
    let steps = strides(x.shape());
    let walk = Walk::new(&shape, |a, i| {
        let n = x.shape()[a] as i64;
        let at = i as i64 - begins[a];
        let at = match mode {
            PadMode::Constant => Some(at).filter(|at| (0..n).contains(at)),
            PadMode::Edge => Some(at.clamp(0, n - 1)),
            PadMode::Wrap => Some(at.rem_euclid(n)),
            PadMode::Reflect if n == 1 => Some(0),
            PadMode::Reflect => {
                let at = at.rem_euclid(2 * (n - 1));
                Some(at.min(2 * (n - 1) - at))
            }
        };
        at.map(|at| at as usize * steps[a])
    });
    let data = for_each_data!(x.data(), v => {
        let fill = match value.map(Tensor::data) {
            None => Default::default(),
            Some(d) => scalar(d, v)?,
        };
        let mut out = Vec::new();
        walk.for_each(|i| out.push(i.map_or(fill, |i| v[i])));
        Data::from(out)
    });
    tensor(shape, data)
}

/// The one element of `data`, whose type is that of the vector `like`.
fn scalar<T: Copy>(data: &Data, _like: &[T]) -> Answer<T>
where
    Vec<T>: TryFromData,
{
    <Vec<T> as TryFromData>::of(data)
        .and_then(|v| v.first().copied())
        .ok_or_else(|| "the value has another type than x".into())
}

/// The vector inside a [`Data`], by type.
trait TryFromData: Sized {
    fn of(data: &Data) -> Option<&Self>;
}

macro_rules! try_from_data {
    ($($t:ty => $variant:ident),*) => {$(
        impl TryFromData for Vec<$t> {
            fn of(data: &Data) -> Option<&Self> {
                if let Data::$variant(v) = data { Some(v) } else { None }
            }
        }
    )*};
}
try_from_data!(f32 => F32, f64 => F64, i8 => I8, u8 => U8, i16 => I16, u16 => U16, i32 => I32, u32 => U32,
               i64 => I64, u64 => U64, bool => Bool);

pub(super) fn transpose(i: Inputs<'_>, perm: Option<&[usize]>) -> Answer {
    let x = i.need(0)?;
    let perm: Vec<i64> = match perm {
        Some(p) => p.iter().map(|&a| i64::try_from(a).unwrap_or(i64::MAX)).collect(),
        None => (0..x.rank() as i64).rev().collect(),
    };
    let perm = axes(&perm, x.rank())?;
    if perm.len() != x.rank() {
        return Err(format!("perm {perm:?} does not fit {} dimensions", x.rank()));
    }
    let steps = strides(x.shape());
    let shape = perm.iter().map(|&a| x.shape()[a]).collect();
    rearrange(x, shape, |a, i| i * steps[perm[a]])
}

/// x, shape.
pub(super) fn expand(i: Inputs<'_>) -> Answer {
    let x = i.need(0)?;
    let wanted: Vec<usize> = i.need_ints(1)?.into_iter().map(size).collect::<Answer<_>>()?;
    let shape = broadcast_shape(&[x.shape(), &wanted])?;
    let (steps, extra) = (strides(x.shape()), shape.len() - x.rank());
    rearrange(x, shape, |a, i| match a.checked_sub(extra) {
        Some(a) if x.shape()[a] != 1 => i * steps[a],
        _ => 0,
    })
}

/// x, repeats.
pub(super) fn tile(i: Inputs<'_>) -> Answer {
    let x = i.need(0)?;
    let repeats: Vec<usize> = i.need_ints(1)?.into_iter().map(size).collect::<Answer<_>>()?;
    if repeats.len() != x.rank() {
        return Err(format!(
            "{} repeats are given for {} dimensions",
            repeats.len(),
            x.rank()
        ));
    }
    let longer = |(&n, &r): (&usize, &usize)| n.checked_mul(r);
    let shape: Option<Vec<usize>> = x.shape().iter().zip(&repeats).map(longer).collect();
    let shape = shape.ok_or_else(|| format!("repeats {repeats:?} are too many"))?;
    let steps = strides(x.shape());
    rearrange(x, shape, |a, i| i % x.shape()[a].max(1) * steps[a])
}

/// [N, C, H, W] and its block.
fn picture(x: &Tensor, block: usize) -> Answer<[usize; 4]> {
    match *x.shape() {
        [n, c, h, w] if block > 0 => Ok([n, c, h, w]),
        _ => Err(format!("an input of shape {:?} is no picture", x.shape())),
    }
}

pub(super) fn depth_to_space(i: Inputs<'_>, block: usize, crd: bool) -> Answer {
    let x = i.need(0)?;
    let [n, c, h, w] = picture(x, block)?;
    let square = block.checked_mul(block).filter(|s| c.is_multiple_of(*s));
    let depth = c / square.ok_or_else(|| format!("{c} channels are no multiple of {block}²"))?;
    // [n, block, block, depth, h, w] or [n, depth, block, block, h, w] to [n, depth, h, block, w, block].
    let (split, perm) = if crd {
        (vec![n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3])
    } else {
        (vec![n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2])
    };
    regroup(x, split, &perm, || {
        Some(vec![n, depth, h.checked_mul(block)?, w.checked_mul(block)?])
    })
}

pub(super) fn space_to_depth(i: Inputs<'_>, block: usize) -> Answer {
    let x = i.need(0)?;
    let [n, c, h, w] = picture(x, block)?;
    if !h.is_multiple_of(block) || !w.is_multiple_of(block) {
        return Err(format!("{h} × {w} pixels are no multiple of {block}"));
    }
    let split = vec![n, c, h / block, block, w / block, block];
    regroup(x, split, &[0, 3, 5, 1, 2, 4], || {
        Some(vec![
            n,
            c.checked_mul(block)?.checked_mul(block)?,
            h / block,
            w / block,
        ])
    })
}

/// Reshape, transpose, reshape.
fn regroup(x: &Tensor, split: Vec<usize>, perm: &[usize], merged: impl Fn() -> Option<Vec<usize>>) -> Answer {
    let merged = merged().ok_or("its result is too large")?;
    count(&merged, x.dtype().size())?;
    let x = x.clone().reshaped(split).map_err(|e| e.to_string())?;
    let y = transpose(Inputs(&[Some(&x)]), Some(perm))?;
    y.reshaped(merged).map_err(|e| e.to_string())
}
