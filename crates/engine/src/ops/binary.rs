//! Operators of two elements with numpy broadcasting (`FORMAT.md` 1.6, 1.7, 1.15).

use graph::{Binary, NodeId, Op, ValueId};
use kernels::Broadcast;
use kernels::float::{BinaryOp, binary};
use kernels::int;

use super::{No, edge_in};
use crate::compile::{Compiler, Repr, Want};
use crate::error::Fault;
use crate::memory::Kind;
use crate::view::{Order, View, onnx_order};

/// The f32 kernel of an operator with two inputs.
pub(super) fn kernel(op: &Op, inputs: usize) -> Option<(BinaryOp, &'static str)> {
    if inputs != 2 {
        return None;
    }
    Some(match op {
        Op::Binary(Binary::Add) | Op::Sum => (BinaryOp::Add, "add_f32"),
        Op::Binary(Binary::Sub) => (BinaryOp::Sub, "sub_f32"),
        Op::Binary(Binary::Mul) => (BinaryOp::Mul, "mul_f32"),
        Op::Binary(Binary::Div) => (BinaryOp::Div, "div_f32"),
        Op::Binary(Binary::PRelu) => (BinaryOp::PRelu, "prelu_f32"),
        Op::Max => (BinaryOp::Max, "max_f32"),
        Op::Min => (BinaryOp::Min, "min_f32"),
        _ => return None,
    })
}

/// x² by the product that 1.15 says it is.
pub(super) fn is_square(cx: &Compiler<'_>, n: NodeId) -> bool {
    let node = cx.node(n);
    let exponent = cx.graph.constant_input(node, 1);
    let two = exponent.is_some_and(|t| t.rank() == 0 || t.shape() == [1]);
    matches!(node.op, Op::Binary(Binary::Pow)) && two && exponent.and_then(|t| t.as_f32()) == Some(&[2.0])
}

/// Emits x · x.
pub(super) fn square(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let x = super::first_input(cx, n).ok_or("its input is missing")?;
    emit(cx, n, [x, x], BinaryOp::Mul, "mul_f32")
}

pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), No> {
    let op = &cx.node(n).op;
    let Op::Binary(which @ (Binary::Add | Binary::Sub | Binary::Mul)) = *op else {
        return Err(format!("{} has no integer rule", op.name()).into());
    };
    let ((a, from_a), (b, from_b)) = (edge_in(cx, n, 0)?, edge_in(cx, n, 1)?);
    let output = cx.node(n).outputs[0];
    let to = cx.edges.get(&output).copied();
    let to = to.ok_or_else(|| format!("output \"{}\" carries no quantizer", cx.name(output)))?;
    let isa = cx.isa();
    if which == Binary::Mul {
        let mul = int::Mul::new(from_a, from_b, to, isa).map_err(No::bound)?;
        let pair = Pair::of(cx, n, [a, b], Repr::Codes).map_err(|f| f.0)?;
        let name = mul.kernel_name().to_string();
        pair.emit(cx, &name, Kind::Codes, move |shape, [a, b], io| {
            let (pool, a, b) = (io.pool, &io.codes(0)[a], &io.codes(1)[b]);
            mul.run(pool, shape, a, b, io.out_codes());
        })
        .hold(cx, output, Repr::Codes);
    } else {
        let subtract = which == Binary::Sub;
        let add = int::Add::new(from_a, from_b, to, subtract, isa).map_err(No::bound)?;
        let pair = Pair::of(cx, n, [a, b], Repr::Codes).map_err(|f| f.0)?;
        let name = add.kernel_name().to_string();
        pair.emit(cx, &name, Kind::Codes, move |shape, [a, b], io| {
            let (pool, a, b) = (io.pool, &io.codes(0)[a], &io.codes(1)[b]);
            add.run(pool, shape, a, b, io.out_codes());
        })
        .hold(cx, output, Repr::Codes);
    }
    Ok(())
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let node = cx.node(n);
    let (op, name) = kernel(&node.op, node.inputs.len()).ok_or("it has no f32 kernel")?;
    let &[Some(a), Some(b)] = node.inputs.as_slice() else {
        return Err("an input is missing".into());
    };
    emit(cx, n, [a, b], op, name)
}

fn emit(
    cx: &mut Compiler<'_>,
    n: NodeId,
    operands: [ValueId; 2],
    op: BinaryOp,
    name: &str,
) -> Result<(), Fault> {
    let (isa, output) = (cx.isa(), cx.node(n).outputs[0]);
    let pair = Pair::of(cx, n, operands, Repr::Real)?;
    pair.emit(cx, name, Kind::Reals, move |shape, [a, b], io| {
        let (pool, a, b) = (io.pool, &io.reals(0)[a], &io.reals(1)[b]);
        binary(pool, isa, op, shape, a, b, io.out_reals());
    })
    .hold(cx, output, Repr::Real);
    Ok(())
}

type Range = std::ops::Range<usize>;

/// Two operands in one order.
struct Pair {
    views: [View; 2],
    shape: Broadcast,
    output: Vec<usize>,
    order: Order,
}

/// A view that was written.
struct Written(View);

impl Written {
    fn hold(self, cx: &mut Compiler<'_>, v: ValueId, repr: Repr) {
        match repr {
            Repr::Real => cx.hold_float(v, self.0),
            _ => cx.hold(v, repr, self.0),
        }
    }
}

impl Pair {
    /// The larger operand keeps its order, the other one follows.
    fn of(cx: &mut Compiler<'_>, n: NodeId, values: [ValueId; 2], repr: Repr) -> Result<Pair, Fault> {
        let output = cx.shape(cx.node(n).outputs[0])?;
        let rank = output.len();
        let shapes = [cx.shape(values[0])?, cx.shape(values[1])?];
        let len = |i: usize| shapes[i].iter().product::<usize>();
        let constant = |i: usize| cx.graph.is_constant(values[i]);
        let large = usize::from(len(1) > len(0) || (len(1) == len(0) && constant(0)));
        let first = cx.need(values[large], repr, &Want::Dense)?;
        let lead = |shape: &[usize]| rank.checked_sub(shape.len()).ok_or("its shapes do not broadcast");
        let from = lead(&first.shape)?;
        let order: Order = onnx_order(from)
            .into_iter()
            .chain(first.order().into_iter().map(|a| a + from))
            .collect();
        let small = 1 - large;
        let skip = lead(&shapes[small])?;
        let other: Order = order.iter().filter(|&&a| a >= skip).map(|a| a - skip).collect();
        let second = match values[small] == values[large] {
            true => first.clone(),
            false => cx.need(values[small], repr, &Want::Order(other))?,
        };
        let views = match large {
            0 => [first, second],
            _ => [second, first],
        };
        let dims = |view: &View| -> Vec<usize> {
            let lead = rank - view.shape.len();
            let dim = |&a: &usize| if a < lead { 1 } else { view.shape[a - lead] };
            order.iter().map(dim).collect()
        };
        let shape = Broadcast::new(&dims(&views[0]), &dims(&views[1]));
        let shape = shape.filter(|s| s.len() == output.iter().product::<usize>());
        Ok(Pair {
            shape: shape.ok_or("its shapes do not broadcast")?,
            views,
            output,
            order,
        })
    }

    fn emit(
        self,
        cx: &mut Compiler<'_>,
        kernel: &str,
        kind: Kind,
        run: impl Fn(&Broadcast, [Range; 2], &mut crate::run::Io<'_>) + Send + Sync + 'static,
    ) -> Written {
        let Pair {
            views: [a, b],
            shape,
            output,
            order,
        } = self;
        let buffer = cx.buffer(kind, shape.len());
        let (x, y) = (a.offset..a.offset + a.len(), b.offset..b.offset + b.len());
        cx.emit(kernel, &[a.buffer, b.buffer], &[buffer], {
            Box::new(move |mut io| {
                run(&shape, [x.clone(), y.clone()], &mut io);
                Ok(())
            })
        });
        Written(View::dense(buffer, &output, &order))
    }
}
