//! Gemm and MatMul.

use tensor::{Data, Tensor};

use super::number::{Mac, Number};
use super::support::{Answer, Inputs, Walk, broadcast_shape, count, pair, product, tensor};

pub(super) fn gemm(i: Inputs<'_>, alpha: f32, beta: f32, transposed: [bool; 2]) -> Answer {
    let (a, b) = (i.need(0)?, i.need(1)?);
    let ([rows, depth], [b_depth, columns]) = (matrix(a, transposed[0])?, matrix(b, transposed[1])?);
    if depth != b_depth {
        return Err(format!("operands {:?} and {:?} do not fit", a.shape(), b.shape()));
    }
    let shape = vec![rows, columns];
    count(&shape, 8)?;
    let c = i.get(2);
    if let Some(c) = c {
        if broadcast_shape(&[c.shape(), &shape])? != shape {
            return Err(format!("C {:?} is larger than the product {shape:?}", c.shape()));
        }
        if c.dtype() != a.dtype() {
            return Err(format!("C is {:?}, A is {:?}", c.dtype(), a.dtype()));
        }
    }
    fn run<T: Number + Mac>(
        [a, b]: [&[T]; 2],
        [rows, depth, columns]: [usize; 3],
        transposed: [bool; 2],
        c: Option<Vec<T>>,
        [alpha, beta]: [f64; 2],
    ) -> Vec<T> {
        let plain = alpha == 1.0 && beta == 1.0;
        let mut y = match &c {
            Some(c) if plain => c.clone(),
            _ => vec![<T as Number>::ZERO; rows * columns],
        };
        let a_step = if transposed[0] { [1, rows] } else { [depth, 1] };
        let b_step = if transposed[1] { [1, depth] } else { [columns, 1] };
        products(a, a_step, b, b_step, [rows, depth, columns], &mut y);
        if !plain {
            let (alpha, beta) = (T::of_f64(alpha), T::of_f64(beta));
            for (i, y) in y.iter_mut().enumerate() {
                let scaled = alpha.times(*y);
                *y = c.as_ref().map_or(scaled, |c| scaled.plus(beta.times(c[i])));
            }
        }
        y
    }
    let size = [rows, depth, columns];
    let factors = [f64::from(alpha), f64::from(beta)];
    macro_rules! of {
        ($($variant:ident),*) => {
            match (a.data(), b.data()) {
                $((Data::$variant(x), Data::$variant(y)) => {
                    let c = match c.map(|c| (c.data(), c.shape())) {
                        Some((Data::$variant(c), from)) => {
                            Some(Walk::broadcast(from, &shape).indices().iter().map(|&i| c[i]).collect())
                        }
                        _ => None,
                    };
                    run([x, y], size, transposed, c, factors).into()
                })*
                (a, b) => return Err(format!("operands of {:?} and {:?} are not supported", a.dtype(), b.dtype())),
            }
        };
    }
    let data: Data = of!(F32, F64, I64);
    tensor(shape, data)
}

/// Rows and columns of a matrix operand.
fn matrix(t: &Tensor, transposed: bool) -> Answer<[usize; 2]> {
    match *t.shape() {
        [r, c] => Ok(if transposed { [c, r] } else { [r, c] }),
        _ => Err(format!("an operand of shape {:?} is no matrix", t.shape())),
    }
}

/// `y += a·b` over row-major `y` [rows, columns], k ascending; steps are those of a row and of a column.
pub(crate) fn products<T: Mac>(
    a: &[T],
    a_step: [usize; 2],
    b: &[T],
    b_step: [usize; 2],
    [rows, depth, columns]: [usize; 3],
    y: &mut [T],
) {
    if y.is_empty() {
        return;
    }
    for (r, line) in y.chunks_mut(columns).enumerate().take(rows) {
        for k in 0..depth {
            let left = a[r * a_step[0] + k * a_step[1]];
            for (c, acc) in line.iter_mut().enumerate() {
                *acc = acc.mac(left, b[k * b_step[0] + c * b_step[1]]);
            }
        }
    }
}

/// Sizes of a MatMul under numpy's rules: vectors get a dimension that the result loses.
pub(crate) struct Product {
    a: Vec<usize>,
    b: Vec<usize>,
    batch: Vec<usize>,
    pub(crate) output: Vec<usize>,
}

impl Product {
    pub(crate) fn new(a: &[usize], b: &[usize]) -> Answer<Product> {
        let misfit = || format!("operands {a:?} and {b:?} do not fit");
        if a.is_empty() || b.is_empty() {
            return Err(misfit());
        }
        let (mut left, mut right) = (a.to_vec(), b.to_vec());
        if a.len() == 1 {
            left.insert(0, 1);
        }
        if b.len() == 1 {
            right.push(1);
        }
        let (m, n) = (left.len() - 2, right.len() - 2);
        if left[m + 1] != right[n] {
            return Err(misfit());
        }
        let batch = broadcast_shape(&[&left[..m], &right[..n]]).map_err(|_| misfit())?;
        let mut output = batch.clone();
        if a.len() > 1 {
            output.push(left[m]);
        }
        if b.len() > 1 {
            output.push(right[n + 1]);
        }
        Ok(Product {
            a: left,
            b: right,
            batch,
            output,
        })
    }

    /// The product; its length has been checked.
    pub(crate) fn run<T: Mac>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let (m, n) = (self.a.len() - 2, self.b.len() - 2);
        let (rows, depth, columns) = (self.a[m], self.a[m + 1], self.b[n + 1]);
        let mut y = vec![T::ZERO; product(&self.output)];
        if y.is_empty() {
            return y;
        }
        let lefts = Walk::broadcast(&self.a[..m], &self.batch).indices();
        let rights = Walk::broadcast(&self.b[..n], &self.batch).indices();
        for (y, (l, r)) in y.chunks_mut(rows * columns).zip(lefts.iter().zip(&rights)) {
            let (a, b) = (&a[l * rows * depth..], &b[r * depth * columns..]);
            products(a, [depth, 1], b, [columns, 1], [rows, depth, columns], y);
        }
        y
    }
}

pub(super) fn mat_mul(i: Inputs<'_>) -> Answer {
    let (a, b) = (i.need(0)?, i.need(1)?);
    let p = Product::new(a.shape(), b.shape())?;
    count(&p.output, 8)?;
    let data: Data = match (a.to_i64(), b.to_i64()) {
        (Some(_), Some(_)) if a.dtype() == b.dtype() => {
            pair!(a, b, [I32, U32, I64, U64], (x, y) => wrapping(&p, x, y))?
        }
        _ => pair!(a, b, [F32, F64], (x, y) => p.run(x, y).into())?,
    };
    tensor(p.output, data)
}

/// Integer products wrap.
fn wrapping<T: Number>(p: &Product, a: &[T], b: &[T]) -> Data
where
    Data: From<Vec<T>>,
{
    #[derive(Clone, Copy)]
    struct Wrap<T>(T);
    impl<T: Number> Mac for Wrap<T> {
        const ZERO: Self = Wrap(T::ZERO);
        fn mac(self, x: Self, w: Self) -> Self {
            Wrap(self.0.plus(x.0.times(w.0)))
        }
    }
    let [a, b] = [a, b].map(|v| v.iter().map(|&x| Wrap(x)).collect::<Vec<_>>());
    p.run(&a, &b).into_iter().map(|w| w.0).collect::<Vec<T>>().into()
}
