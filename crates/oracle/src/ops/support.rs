//! What every operator needs: its inputs, checked shapes, and walks over elements.

use tensor::{DType, Data, Tensor, for_each_data, numel, strides};

/// A result, or the end of a sentence that says what is wrong.
pub(crate) type Answer<T = Tensor> = Result<T, String>;

/// Most bytes of one output.
pub(crate) const BUDGET: usize = 1 << 31;

/// Most dimensions of one output.
pub(crate) const MAX_RANK: usize = 64;

/// The inputs of a node in ONNX's positions.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a>(pub(crate) &'a [Option<&'a Tensor>]);

impl<'a> Inputs<'a> {
    /// An optional input.
    pub(crate) fn get(self, i: usize) -> Option<&'a Tensor> {
        self.0.get(i).copied().flatten()
    }

    /// An input without default.
    pub(crate) fn need(self, i: usize) -> Answer<&'a Tensor> {
        self.get(i).ok_or_else(|| format!("input {i} is missing"))
    }

    /// All inputs of a variadic operator.
    pub(crate) fn all(self) -> Answer<Vec<&'a Tensor>> {
        if self.0.is_empty() {
            return Err("it has no inputs".into());
        }
        (0..self.0.len()).map(|i| self.need(i)).collect()
    }

    /// An optional input of integers: axes, shapes, bounds.
    pub(crate) fn ints(self, i: usize) -> Answer<Option<Vec<i64>>> {
        let Some(t) = self.get(i) else { return Ok(None) };
        if t.rank() > 1 {
            return Err(format!("input {i} has shape {:?}, not one dimension", t.shape()));
        }
        let ints = t.to_i64();
        ints.map(Some)
            .ok_or_else(|| format!("input {i} holds {:?}, not integers", t.dtype()))
    }

    /// Integers without default.
    pub(crate) fn need_ints(self, i: usize) -> Answer<Vec<i64>> {
        self.need(i)?;
        Ok(self.ints(i)?.unwrap_or_default())
    }

    /// An optional single integer.
    pub(crate) fn int(self, i: usize) -> Answer<Option<i64>> {
        match self.ints(i)?.as_deref() {
            None => Ok(None),
            Some([v]) => Ok(Some(*v)),
            Some(v) => Err(format!("input {i} holds {} numbers, not one", v.len())),
        }
    }

    /// An optional single f32.
    pub(crate) fn float(self, i: usize) -> Answer<Option<f32>> {
        match self.get(i).map(Tensor::data) {
            None => Ok(None),
            Some(Data::F32(v)) if v.len() == 1 => Ok(Some(v[0])),
            Some(d) => Err(format!(
                "input {i} holds {} {:?}, not one F32",
                d.len(),
                d.dtype()
            )),
        }
    }

    /// f32 elements of an input without default.
    pub(crate) fn f32s(self, i: usize) -> Answer<&'a [f32]> {
        let t = self.need(i)?;
        t.as_f32().ok_or_else(|| wrong_type(t.dtype()))
    }
}

/// The sentence about an element type without a meaning here.
pub(crate) fn wrong_type(dtype: DType) -> String {
    format!("elements of type {dtype:?} are not supported")
}

/// Number of elements of an output, within the budget.
pub(crate) fn count(shape: &[usize], element: usize) -> Answer<usize> {
    if shape.len() > MAX_RANK {
        return Err(format!("{} dimensions are more than {MAX_RANK}", shape.len()));
    }
    let n = numel(shape).map_err(|e| e.to_string())?;
    match n.checked_mul(element) {
        Some(bytes) if bytes <= BUDGET => Ok(n),
        _ => Err(format!(
            "a result of shape {shape:?} is larger than {BUDGET} bytes"
        )),
    }
}

/// A tensor whose length is known to be right.
pub(crate) fn tensor(shape: Vec<usize>, data: impl Into<Data>) -> Answer {
    Tensor::new(shape, data).map_err(|e| e.to_string())
}

/// An axis that may count from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Answer<usize> {
    let r = rank as i64;
    let at = if axis < 0 { axis.saturating_add(r) } else { axis };
    if (0..r).contains(&at) {
        Ok(at as usize)
    } else {
        Err(format!("axis {axis} does not exist in {rank} dimensions"))
    }
}

/// Axes that may count from the end, each once.
pub(crate) fn axes(list: &[i64], rank: usize) -> Answer<Vec<usize>> {
    let mut seen = vec![false; rank];
    let mut out = Vec::new();
    for &a in list {
        let at = axis(a, rank)?;
        if std::mem::replace(&mut seen[at], true) {
            return Err(format!("axis {a} is given twice in {list:?}"));
        }
        out.push(at);
    }
    Ok(out)
}

/// A size given as an integer.
pub(crate) fn size(v: i64) -> Answer<usize> {
    usize::try_from(v).map_err(|_| format!("{v} is not a size"))
}

/// Product of dimensions of an existing tensor. Beside an empty axis others may be of any length: what then overflows is
/// asked for by nobody, and counts as 0.
pub(crate) fn product(dims: &[usize]) -> usize {
    numel(dims).unwrap_or(0)
}

/// The common shape of operands under numpy's rules.
pub(crate) fn broadcast_shape(shapes: &[&[usize]]) -> Answer<Vec<usize>> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        for (o, &d) in out[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*o, d) {
                (_, 1) => {}
                (1, d) => *o = d,
                (a, b) if a == b => {}
                _ => return Err(format!("shapes {shapes:?} do not broadcast")),
            }
        }
    }
    Ok(out)
}

/// Source indices of an output's elements in row-major order, where they are a sum of one number per axis; `None` where an axis
/// says that the element has no source.
pub(crate) struct Walk {
    tables: Vec<Vec<Option<usize>>>,
    at: Vec<usize>,
    left: usize,
}

impl Walk {
    /// Over `shape`, which has passed [`count`]; `source(axis, coordinate)` is one axis's share.
    pub(crate) fn new(shape: &[usize], source: impl Fn(usize, usize) -> Option<usize>) -> Walk {
        let left = product(shape);
        // Where there is no element, another axis may be of any length.
        let axes = if left == 0 { &[][..] } else { shape };
        let table = |(a, &n): (usize, &usize)| (0..n).map(|i| source(a, i)).collect();
        Walk {
            tables: axes.iter().enumerate().map(table).collect(),
            at: vec![0; axes.len()],
            left,
        }
    }

    /// Over `to`, to which `from` broadcasts.
    pub(crate) fn broadcast(from: &[usize], to: &[usize]) -> Walk {
        let steps = strides(from);
        let extra = to.len() - from.len();
        Walk::new(to, |a, i| {
            let moves = a >= extra && from[a - extra] != 1;
            Some(if moves { i * steps[a - extra] } else { 0 })
        })
    }

    /// Calls `visit` with every source.
    pub(crate) fn for_each(mut self, mut visit: impl FnMut(Option<usize>)) {
        let Some((last, outer)) = self.tables.split_last() else {
            if self.left > 0 {
                visit(Some(0));
            }
            return;
        };
        while self.left > 0 {
            let base = outer
                .iter()
                .zip(&self.at)
                .try_fold(0, |sum, (t, &i)| Some(sum + t[i]?));
            for share in last {
                visit(base.zip(*share).map(|(b, s)| b + s));
            }
            self.left -= last.len();
            for (t, i) in outer.iter().zip(&mut self.at).rev() {
                *i += 1;
                if *i < t.len() {
                    break;
                }
                *i = 0;
            }
        }
    }

    /// The sources as a list; none may be missing.
    pub(crate) fn indices(self) -> Vec<usize> {
        let mut out = Vec::with_capacity(self.left);
        self.for_each(|i| out.push(i.unwrap_or(0)));
        out
    }
}

/// A tensor whose elements are elements of `x`: `source(axis, coordinate)` sums to their index.
pub(crate) fn rearrange(x: &Tensor, shape: Vec<usize>, source: impl Fn(usize, usize) -> usize) -> Answer {
    count(&shape, x.dtype().size())?;
    let walk = Walk::new(&shape, |a, i| Some(source(a, i)));
    let data = for_each_data!(x.data(), v => {
        let mut out = Vec::with_capacity(walk.left);
        walk.for_each(|i| out.extend(i.map(|i| v[i])));
        Data::from(out)
    });
    tensor(shape, data)
}

/// Elements at flat indices, which must exist.
pub(crate) fn pick(x: &Tensor, shape: Vec<usize>, indices: &[usize]) -> Answer {
    let data = for_each_data!(x.data(), v => Data::from(indices.iter().map(|&i| v[i]).collect::<Vec<_>>()));
    tensor(shape, data)
}

/// Applies an expression to the vectors of two operands of one element type.
macro_rules! pair {
    ($a:expr, $b:expr, [$($variant:ident),*], ($x:ident, $y:ident) => $body:expr) => {
        match ($a.data(), $b.data()) {
            $((tensor::Data::$variant($x), tensor::Data::$variant($y)) => Ok($body),)*
            (a, b) if a.dtype() == b.dtype() => Err($crate::ops::support::wrong_type(a.dtype())),
            (a, b) => Err(format!("operands are {:?} and {:?}, not of one type", a.dtype(), b.dtype())),
        }
    };
}

/// Applies an expression to the vector of an operand of one of some element types.
macro_rules! typed {
    ($a:expr, [$($variant:ident),*], $x:ident => $body:expr) => {
        match $a.data() {
            $(tensor::Data::$variant($x) => Ok($body),)*
            #[allow(unreachable_patterns)]
            a => Err($crate::ops::support::wrong_type(a.dtype())),
        }
    };
}

pub(crate) use {pair, typed};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_axis_beside_a_huge_one_allocates_nothing() {
        let x = Tensor::vector(vec![0f32; 0]);
        let y = rearrange(&x, vec![0, usize::MAX], |_, _| 0).unwrap();
        assert_eq!(y.shape(), [0, usize::MAX]);
    }

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast_shape(&[&[2, 1, 3], &[4, 1]]).unwrap(), [2, 4, 3]);
        assert!(broadcast_shape(&[&[2], &[3]]).is_err());
        assert_eq!(Walk::broadcast(&[2, 1], &[2, 2]).indices(), [0, 0, 1, 1]);
        assert_eq!(Walk::broadcast(&[], &[2]).indices(), [0, 0]);
    }
}
