//! Pools over windows and over whole pictures.

use graph::Pool;
use tensor::Data;

use super::number::{Number, larger};
use super::support::{Answer, Inputs, count, product, tensor, typed};
use super::window::{Axis, of_pool};

pub(super) fn max(i: Inputs<'_>, op: &Pool) -> Answer {
    fn run<T: Number>(x: &[T], planes: usize, axes: &[Axis]) -> Data
    where
        Data: From<Vec<T>>,
    {
        let mut y = Vec::new();
        for_windows(planes, axes, |window, _| {
            y.push(window.iter().fold(T::LOWEST, |m, &i| larger(m, x[i])));
        });
        y.into()
    }
    let x = i.need(0)?;
    let (shape, planes, axes) = windows(x.shape(), op)?;
    let data = typed!(x, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], x => run(x, planes, &axes))?;
    tensor(shape, data)
}

pub(super) fn average(i: Inputs<'_>, op: &Pool) -> Answer {
    fn run<T: Number>(x: &[T], planes: usize, axes: &[Axis], padded: bool) -> Data
    where
        Data: From<Vec<T>>,
    {
        let mut y = Vec::new();
        for_windows(planes, axes, |window, at| {
            let sum = window.iter().fold(T::ZERO, |s, &i| s.plus(x[i]));
            let n = divisor(window, at, axes, padded);
            y.extend(sum.over(T::of_f64(n as f64)));
        });
        y.into()
    }
    let x = i.need(0)?;
    let (shape, planes, axes) = windows(x.shape(), op)?;
    let data = typed!(x, [F32, F64], x => run(x, planes, &axes, op.count_include_pad))?;
    tensor(shape, data)
}

/// n of `FORMAT.md` 1.9: elements inside the picture, or inside the padded picture.
pub(crate) fn divisor(window: &[usize], at: &[usize], axes: &[Axis], padded: bool) -> usize {
    let n = if padded {
        axes.iter().zip(at).map(|(a, &o)| a.inside_padded(o)).product()
    } else {
        window.len()
    };
    n.max(1)
}

/// The output's shape, the number of pictures' channels, and the windows of an input [N, C, spatial…].
pub(crate) fn windows(x: &[usize], op: &Pool) -> Answer<(Vec<usize>, usize, Vec<Axis>)> {
    if x.len() < 3 {
        return Err(format!("an input of shape {x:?} has no spatial axes"));
    }
    let axes = of_pool(op, &x[2..])?;
    let mut shape = x[..2].to_vec();
    shape.extend(axes.iter().map(|a| a.output));
    count(&shape, 8)?;
    Ok((shape, product(&x[..2]), axes))
}

/// Visits all windows in the output's order: indices of the elements inside the picture, in row-major order, and the output's
/// spatial coordinates.
pub(crate) fn for_windows(planes: usize, axes: &[Axis], mut visit: impl FnMut(&[usize], &[usize])) {
    let outputs: Vec<usize> = axes.iter().map(|a| a.output).collect();
    let pixels = product(&outputs);
    let picture = product(&axes.iter().map(|a| a.input).collect::<Vec<_>>());
    let (mut window, mut next) = (Vec::new(), Vec::new());
    for plane in 0..if pixels == 0 { 0 } else { planes } {
        let mut at = vec![0; axes.len()];
        for _ in 0..pixels {
            window.clear();
            window.push(0);
            for (axis, &o) in axes.iter().zip(&at) {
                next.clear();
                for &base in &window {
                    next.extend(axis.inside(o).map(|i| base * axis.input + i));
                }
                std::mem::swap(&mut window, &mut next);
            }
            window.iter_mut().for_each(|i| *i += plane * picture);
            visit(&window, &at);
            for (i, &n) in at.iter_mut().zip(&outputs).rev() {
                *i += 1;
                if *i < n {
                    break;
                }
                *i = 0;
            }
        }
    }
}

/// GlobalAveragePool and GlobalMaxPool: [N, C, spatial…] to [N, C, 1…].
pub(super) fn global(i: Inputs<'_>, average: bool) -> Answer {
    fn run<T: Number>(x: &[T], planes: usize, average: bool) -> Answer<Data>
    where
        Data: From<Vec<T>>,
    {
        let pixels = x.len().checked_div(planes).unwrap_or(0);
        if planes > 0 && pixels == 0 {
            return Err("its input has no pixels".into());
        }
        let one = |x: &[T]| {
            if average {
                let sum = x.iter().fold(T::ZERO, |s, &x| s.plus(x));
                sum.over(T::of_f64(pixels as f64)).unwrap_or(sum)
            } else {
                x.iter().fold(T::LOWEST, |m, &x| larger(m, x))
            }
        };
        Ok(x.chunks(pixels.max(1)).map(one).collect::<Vec<T>>().into())
    }
    let x = i.need(0)?;
    if x.rank() < 3 {
        return Err(format!("an input of shape {:?} has no spatial axes", x.shape()));
    }
    let mut shape = x.shape().to_vec();
    shape[2..].fill(1);
    count(&shape, 8)?;
    let planes = product(&shape[..2]);
    let data = if average {
        typed!(x, [F32, F64], v => run(v, planes, true)?)?
    } else {
        typed!(x, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], v => run(v, planes, false)?)?
    };
    tensor(shape, data)
}
