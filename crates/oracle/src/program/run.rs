//! One integer node on codes.

use graph::{EdgeQuantizer, Node, Op, Resize};
use tensor::{Data, Tensor};

use super::Held;
use super::number::{code, level, requantize};
use super::rule::{Rule, Table};
use crate::ops::pool::{divisor, for_windows, windows};
use crate::ops::resize::{neighbours, plan};
use crate::ops::support::{Answer, Inputs, Walk, broadcast_shape, count, product, tensor};
use crate::ops::window::Axis;

/// An operand in codes.
#[derive(Clone, Copy)]
pub(super) struct Codes<'a> {
    pub(super) shape: &'a [usize],
    pub(super) q: &'a [u8],
    pub(super) edge: EdgeQuantizer,
}

impl Codes<'_> {
    fn level(&self, i: usize) -> i64 {
        level(self.q[i], self.edge)
    }
}

/// What a node is given: codes at inputs that carry a quantizer, tensors at those that are constants.
pub(super) struct Given<'a> {
    pub(super) codes: Vec<Option<Codes<'a>>>,
    pub(super) tensors: Vec<Option<&'a Tensor>>,
    /// Sums at the first input.
    pub(super) sums: Option<&'a Tensor>,
    /// Quantizers of the outputs.
    pub(super) to: Vec<Option<EdgeQuantizer>>,
}

impl<'a> Given<'a> {
    fn codes(&self, i: usize) -> Answer<Codes<'a>> {
        let codes = self.codes.get(i).copied().flatten();
        codes.ok_or_else(|| format!("input {i} holds no codes"))
    }

    fn to(&self) -> Answer<EdgeQuantizer> {
        self.to
            .first()
            .copied()
            .flatten()
            .ok_or_else(|| "its output holds no codes".into())
    }
}

/// Runs an integer node.
pub(super) fn run(rule: &Rule, node: &Node, given: &Given<'_>) -> Answer<Vec<Held>> {
    if let Rule::Fires(neurons) = rule {
        let (shape, sums) = match given.sums.map(|t| (t.shape(), t.data())) {
            Some((shape, Data::I64(sums))) => (shape, sums),
            _ => return Err("input 0 holds no sums".into()),
        };
        return Ok(vec![Held::Codes(neurons.run(shape, sums)?)]);
    }
    let x = given.codes(0)?;
    let one = match rule {
        Rule::Fires(_) => return Err("it has no codes".into()),
        Rule::Product(p) => return Ok(vec![p.run(node, x.shape, x.q)?]),
        Rule::Moves(tables) => return moves(node, given, tables),
        Rule::Concat(tables) => concat(node, given, tables)?,
        Rule::Table(t) => tensor(x.shape.to_vec(), lookup(x.q, t))?,
        Rule::Sum(m) => {
            let (b, to) = (given.codes(1)?, given.to()?);
            meet(x, b, |i, j| {
                let (pa, pb) = (x.level(i) as f32 * m[0], b.level(j) as f32 * m[1]);
                code(pa + pb, to)
            })?
        }
        Rule::Times(m) => {
            let (b, to) = (given.codes(1)?, given.to()?);
            meet(x, b, |i, j| requantize(x.level(i) * b.level(j), *m, to))?
        }
        Rule::Average => average(node, x, given.to()?)?,
        Rule::Linear { bits, m } => match &node.op {
            Op::Resize(op) => linear(op, given, x, given.to()?, *bits, *m)?,
            _ => return Err("it is no Resize".into()),
        },
    };
    Ok(vec![Held::Codes(one)])
}

fn lookup(q: &[u8], table: &Table) -> Vec<u8> {
    q.iter().map(|&q| table[usize::from(q)]).collect()
}

/// Both operands under numpy's rules, by their indices.
fn meet(a: Codes<'_>, b: Codes<'_>, f: impl Fn(usize, usize) -> u8) -> Answer {
    let shape = broadcast_shape(&[a.shape, b.shape])?;
    count(&shape, 8)?;
    let [i, j] = [a, b].map(|x| Walk::broadcast(x.shape, &shape).indices());
    let q: Vec<u8> = i.into_iter().zip(j).map(|(i, j)| f(i, j)).collect();
    tensor(shape, q)
}

/// 1.8: the operator itself on codes, padding with the code of 0, then another quantizer's codes.
fn moves(node: &Node, given: &Given<'_>, tables: &[Option<Table>]) -> Answer<Vec<Held>> {
    let x = given.codes(0)?;
    let codes = tensor(x.shape.to_vec(), x.q.to_vec())?;
    let zero = Tensor::scalar(x.edge.zero_point);
    let mut inputs = given.tensors.clone();
    inputs[0] = Some(&codes);
    if let Op::Pad { .. } = node.op {
        inputs.resize(inputs.len().max(3), None);
        inputs[2] = Some(&zero);
    }
    let moved = crate::evaluate(&node.op, &inputs, node.outputs.len())?;
    moved
        .into_iter()
        .zip(tables)
        .map(|(t, table)| Ok(Held::Codes(rescaled(t, table.as_ref())?)))
        .collect()
}

fn rescaled(t: Tensor, table: Option<&Table>) -> Answer {
    let q = match (t.as_u8(), table) {
        (Some(q), Some(table)) => lookup(q, table),
        _ => return Ok(t),
    };
    tensor(t.shape().to_vec(), q)
}

/// 1.8, each input by its own table.
fn concat(node: &Node, given: &Given<'_>, tables: &[Option<Table>]) -> Answer {
    let part = |(i, table): (usize, &Option<Table>)| {
        let x = given.codes(i)?;
        rescaled(tensor(x.shape.to_vec(), x.q.to_vec())?, table.as_ref())
    };
    let parts: Vec<Tensor> = tables.iter().enumerate().map(part).collect::<Answer<_>>()?;
    let parts: Vec<Option<&Tensor>> = parts.iter().map(Some).collect();
    let mut all = crate::evaluate(&node.op, &parts, 1)?;
    all.pop().ok_or_else(|| "it has no result".into())
}

/// 1.9.
fn average(node: &Node, x: Codes<'_>, to: EdgeQuantizer) -> Answer {
    let (mut shape, planes, axes, padded) = match &node.op {
        Op::AveragePool(p) => {
            let (shape, planes, axes) = windows(x.shape, p)?;
            (shape, planes, axes, p.count_include_pad)
        }
        _ if x.shape.len() < 3 => return Err(format!("an input of shape {:?} has no spatial axes", x.shape)),
        _ => {
            let mut shape = x.shape.to_vec();
            shape[2..].fill(1);
            (
                shape,
                product(&x.shape[..2]),
                x.shape[2..].iter().map(|&n| whole(n)).collect(),
                false,
            )
        }
    };
    if let Op::Reduce { keep_dims: false, .. } = node.op {
        shape.truncate(2);
    }
    let mut q = Vec::with_capacity(count(&shape, 8)?);
    for_windows(planes, &axes, |window, at| {
        let acc = window.iter().map(|&i| x.level(i)).sum();
        let n = divisor(window, at, &axes, padded);
        let m = (f64::from(x.edge.scale) / (f64::from(to.scale) * n as f64)) as f32;
        q.push(requantize(acc, m, to));
    });
    tensor(shape, q)
}

/// A window over a whole axis.
fn whole(n: usize) -> Axis {
    Axis {
        input: n,
        output: 1,
        kernel: n,
        stride: 1,
        dilation: 1,
        begin: 0,
        end: 0,
    }
}

/// 1.10.
fn linear(op: &Resize, given: &Given<'_>, x: Codes<'_>, to: EdgeQuantizer, bits: u32, m: f32) -> Answer {
    let plan = plan(x.shape, Inputs(&given.tensors), op)?;
    let shape: Vec<usize> = plan.iter().map(|a| a.output).collect();
    let mut q = Vec::with_capacity(count(&shape, 8)?);
    let one = 1i64 << bits;
    let acc = std::cell::Cell::new(0i64);
    neighbours(&plan, op).for_each(
        1,
        |[_, right]| {
            let right = (right * one as f64).round_ties_even() as i64;
            [one - right, right]
        },
        |a, b| a * b,
        |i, w: i64| acc.set(acc.get() + w * x.level(i)),
        || q.push(requantize(acc.replace(0), m, to)),
    );
    tensor(shape, q)
}
