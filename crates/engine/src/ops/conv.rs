//! Conv and ConvTranspose (`FORMAT.md` 1.3, 1.4, 1.15), with the activation behind them.

use graph::{NodeId, Op, ValueId};
use kernels::float::{self, Activation};
use kernels::int::{self, Edge, Output};
use kernels::{ConvShape, Out, Pixels};

use super::weights::{Quantized, bias_of, quantized};
use super::{No, Sums, edge_in, first_input, geometry, spiking, unary};
use crate::compile::{Compiler, Repr, Want};
use crate::error::Fault;
use crate::plan::Numbers;
use crate::view::{Order, View};

pub(super) fn covers(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_))
}

/// The convolution's shape, and whether it is a transposed one.
fn shape_of(cx: &Compiler<'_>, n: NodeId, x: ValueId) -> Result<(ConvShape, bool), Fault> {
    let node = cx.node(n);
    let (x, y) = (cx.shape(x)?, cx.shape(node.outputs[0])?);
    match &node.op {
        Op::ConvTranspose(op) => Ok((geometry::transposed(op, &x, &y)?, true)),
        Op::Conv(op) => Ok((geometry::conv(op, &x, &y)?, false)),
        op => Err(Fault(format!("{} is no convolution", op.name()))),
    }
}

pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), No> {
    let (x, from) = edge_in(cx, n, 0)?;
    let (shape, transposed) = shape_of(cx, n, x).map_err(|f| f.0)?;
    let axis = usize::from(transposed);
    if transposed && shape.groups > 1 {
        let q = quantized(cx, n, axis);
        if q.is_ok_and(|q| q.scales.len() > 1 || q.affine_per_channel) {
            return Err("a grouped ConvTranspose takes one scale".into());
        }
    }
    let q = quantized(cx, n, axis)?;
    let behind = Behind::of(cx, n, from, &q, shape.out_channels)?;
    if !transposed && let Some(sums) = behind.handed_on(cx, n, from, &q.levels, &q.scales) {
        let input = cx.need(x, Repr::Codes, &Want::ChannelsLast).map_err(|f| f.0)?;
        let y_shape = cx.shape(behind.output).map_err(|f| f.0)?;
        let order = crate::view::channels_last(y_shape.len());
        return behind.sums(
            cx,
            sums,
            &shape,
            (&q.levels, q.stored_bytes),
            &input,
            (y_shape, order),
        );
    }
    let conv = cx
        .convolution(&shape, transposed, &q.levels, &behind.epilogue)
        .map_err(No::bound)?;
    let input = cx.need(x, Repr::Codes, &Want::Pixels).map_err(|f| f.0)?;
    behind.fuse(cx);
    cx.levels = q.levels;
    let y_shape = cx.shape(behind.output).map_err(|f| f.0)?;
    let repr = if behind.codes { Repr::Codes } else { Repr::Real };
    let y = cx.pixels_out(behind.output, repr, &y_shape, input.buffer);
    cx.product(shape.macs(), q.stored_bytes, conv.packed_bytes());
    emit_integer(cx, conv, &input, &y, behind.codes)?;
    cx.hold(behind.output, repr, y);
    Ok(())
}

/// Emits an integer convolution from pixels to pixels.
pub(super) fn emit_integer(
    cx: &mut Compiler<'_>,
    conv: int::Conv,
    x: &View,
    y: &View,
    codes: bool,
) -> Result<(), String> {
    let (stride, offset, start) = x.pixels().ok_or("its input has no pixels")?;
    let (to_stride, to_offset, to_start) = y.pixels().ok_or("its output has no pixels")?;
    let name = conv.kernel_name().to_string();
    cx.emit(&name, &[x.buffer], &[y.buffer], {
        Box::new(move |mut io| {
            let data = &io.codes(0)[start..];
            let (pool, x) = (io.pool, Pixels { data, stride, offset });
            match codes {
                true => {
                    let data = &mut io.out_codes()[to_start..];
                    let y = Out {
                        data,
                        stride: to_stride,
                        offset: to_offset,
                    };
                    conv.run(pool, x, y);
                }
                false => {
                    let data = &mut io.out_reals()[to_start..];
                    let y = Out {
                        data,
                        stride: to_stride,
                        offset: to_offset,
                    };
                    conv.run_f32(pool, x, y);
                }
            }
            Ok(())
        })
    });
    Ok(())
}

/// What follows the sums of an integer product, and where the result goes.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) epilogue: int::Epilogue,
    /// The value that is written: the node's, or that of the last table fused behind it.
    pub(super) output: ValueId,
    pub(super) codes: bool,
    fused: Vec<(NodeId, Numbers)>,
}

impl Behind {
    /// For a product with a weight whose input carries `from`.
    pub(super) fn of(
        cx: &Compiler<'_>,
        n: NodeId,
        from: Edge,
        q: &Quantized,
        channels: usize,
    ) -> Result<Behind, String> {
        let mut output = cx.node(n).outputs[0];
        let bias = bias_of(cx, n, channels)?;
        let to = cx.edges.get(&output).copied();
        let scale = |c: usize| {
            if q.scales.len() == 1 {
                q.scales[0]
            } else {
                q.scales[c]
            }
        };
        let multiplier = |c: usize| int::scale_ratio(from.scale, scale(c), to.map_or(1.0, |e| e.scale));
        let level = |c: usize| match &bias {
            None => 0,
            Some(bias) => int::bias_level(bias[c], from.scale, scale(c)),
        };
        let mut fused = Vec::new();
        let written = match to {
            None => match function_behind(cx, output) {
                None => Output::F32,
                Some((reader, function, edge)) => {
                    let reason = format!("input \"{}\" carries no quantizer", cx.name(output));
                    output = cx.node(reader).outputs[0];
                    fused.push((reader, Numbers::Float { reason }));
                    Output::Function { function, edge }
                }
            },
            Some(edge) => {
                let mut at = edge;
                let mut composed: [u8; 256] = std::array::from_fn(|q| q as u8);
                while let Some(reader) = cx.fusable(output).filter(|&r| unary::covers(&cx.node(r).op)) {
                    let Ok((table, next)) = unary::node_table(cx, reader, at) else {
                        break;
                    };
                    composed = composed.map(|q| table[usize::from(q)]);
                    at = next;
                    output = cx.node(reader).outputs[0];
                    fused.push((reader, Numbers::Integer));
                }
                let table = (!unary::is_identity(&composed)).then(|| Box::new(composed));
                Output::U8 {
                    zero: edge.zero,
                    hi: edge.hi,
                    table,
                }
            }
        };
        let codes = !matches!(written, Output::F32);
        Ok(Behind {
            epilogue: int::Epilogue {
                zero_in: from.zero,
                hi_in: from.hi,
                bias: (0..channels).map(level).collect(),
                multiplier: (0..channels).map(multiplier).collect(),
                output: written,
            },
            output,
            codes,
            fused,
        })
    }

    /// The sums, if they are handed to neurons; `levels` by output channel.
    pub(super) fn handed_on(
        &self,
        cx: &Compiler<'_>,
        n: NodeId,
        from: Edge,
        levels: &[i32],
        scales: &[f32],
    ) -> Option<Sums> {
        let alone = self.fused.is_empty() && matches!(self.epilogue.output, Output::F32);
        let output = *cx.node(n).outputs.first().filter(|_| alone)?;
        spiking::handed_on(cx, output, from, levels, scales, &self.epilogue.bias)
    }

    /// Emits the product that hands them on; the levels with the bytes that they take in a file, the input channels-last, the output's shape and order.
    pub(super) fn sums(
        mut self,
        cx: &mut Compiler<'_>,
        sums: Sums,
        shape: &ConvShape,
        (levels, stored): (&[i32], usize),
        x: &View,
        (y, order): (Vec<usize>, Order),
    ) -> Result<(), No> {
        self.epilogue.multiplier.fill(1.0);
        // Codes of pictures are hardly ever 0; spikes often are. With a kernel of 1 dense products are quicker at any activity.
        let spikes = self.epilogue.zero_in == 0 && shape.kernel != [1; 3];
        let events = spikes
            .then(|| int::Events::new(shape, levels, &self.epilogue.bias))
            .flatten();
        let dense = cx
            .convolution(shape, false, levels, &self.epilogue)
            .map_err(No::bound)?;
        let packed = dense.packed_bytes() + events.as_ref().map_or(0, int::Events::packed_bytes);
        cx.product(shape.macs(), stored, packed);
        let buffer = cx.buffer(crate::memory::Kind::Reals, y.iter().product());
        let to = View::dense(buffer, &y, &order);
        spiking::emit_sums(cx, dense, events, shape, x, &to);
        cx.sums.insert(self.output, sums);
        cx.hold(self.output, Repr::Sums, to);
        Ok(())
    }

    /// Says that the fused nodes are computed.
    pub(super) fn fuse(&self, cx: &mut Compiler<'_>) {
        for (n, numbers) in &self.fused {
            cx.fuse(*n, numbers.clone());
        }
    }
}

/// A function that alone reads a product without quantizer and whose result has one: rounded once, at its end. Where kernels do not compute
/// it between sums and codes, a node of its own is quicker.
fn function_behind(cx: &Compiler<'_>, v: ValueId) -> Option<(NodeId, Activation, Edge)> {
    let reader = cx.fusable(v)?;
    let function = unary::activation(cx.graph, cx.node(reader))?.kind;
    let edge = *cx.edges.get(cx.node(reader).outputs.first()?)?;
    int::is_fused(function, edge).then_some((reader, function, edge))
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let node = cx.node(n);
    let x = first_input(cx, n).ok_or("its input is missing")?;
    let (shape, transposed) = shape_of(cx, n, x)?;
    let weight = node
        .inputs
        .get(1)
        .copied()
        .flatten()
        .ok_or("its weight is missing")?;
    if !cx.graph.is_constant(weight) {
        return super::fallback::float(cx, n);
    }
    let weights = cx.weight(weight)?;
    let bias = match node.inputs.get(2).copied().flatten() {
        None => None,
        Some(b) if cx.graph.is_constant(b) => Some(cx.weight(b)?),
        Some(_) => return super::fallback::float(cx, n),
    };
    let (activation, output) = activation_behind(cx, n);
    let build = match transposed {
        true => float::Conv::transposed,
        false => float::Conv::new,
    };
    let y_shape = cx.shape(output)?;
    if let Some((input, order)) = pointwise(cx, x, &shape, transposed)? {
        let conv = build(&line(&shape), &weights, bias.as_deref(), activation, cx.isa());
        let conv = conv.map_err(|e| e.to_string())?;
        let buffer = cx.buffer(crate::memory::Kind::Reals, y_shape.iter().product());
        cx.product(
            shape.macs(),
            super::weights::stored(cx, weight),
            conv.packed_bytes(),
        );
        let flat = |view: &View, offset, channels| View {
            offset,
            ..View::dense(
                view.buffer,
                &[1, channels, line(&shape).input[2]],
                &crate::view::channels_last(3),
            )
        };
        let y = View::dense(buffer, &y_shape, &order);
        let (from, to) = (
            flat(&input, input.offset, shape.in_channels),
            flat(&y, 0, shape.out_channels),
        );
        emit_float(cx, conv, &from, &to)?;
        cx.hold_float(output, y);
        return Ok(());
    }
    let conv = build(&shape, &weights, bias.as_deref(), activation, cx.isa()).map_err(|e| e.to_string())?;
    let input = cx.need(x, Repr::Real, &Want::Pixels)?;
    // An edge with a quantizer is rounded to codes behind: f32 does not go into a Concat then.
    let y = match cx.edges.contains_key(&output) {
        true => {
            let buffer = cx.buffer(crate::memory::Kind::Reals, y_shape.iter().product());
            View::dense(buffer, &y_shape, &crate::view::channels_last(y_shape.len()))
        }
        false => cx.pixels_out(output, Repr::Real, &y_shape, input.buffer),
    };
    cx.product(
        shape.macs(),
        super::weights::stored(cx, weight),
        conv.packed_bytes(),
    );
    emit_float(cx, conv, &input, &y)?;
    cx.hold_float(output, y);
    Ok(())
}

/// A layer whose outputs depend on one pixel each, as one line of pixels.
fn line(shape: &ConvShape) -> ConvShape {
    let pixels = shape.batch * shape.input.iter().product::<usize>();
    ConvShape {
        batch: 1,
        input: [1, 1, pixels],
        output: [1, 1, pixels],
        ..shape.clone()
    }
}

/// The input of such a layer where its pixels lie side by side in another order than a picture's, and that order: it is kept, not made
/// another.
fn pointwise(
    cx: &mut Compiler<'_>,
    x: ValueId,
    shape: &ConvShape,
    transposed: bool,
) -> Result<Option<(View, Order)>, Fault> {
    let plain = shape.kernel == [1; 3] && shape.stride == [1; 3] && shape.pad == [0; 3];
    if transposed || !plain || shape.input != shape.output || cx.edges.contains_key(&x) {
        return Ok(None);
    }
    let view = cx.need(x, Repr::Real, &Want::View)?;
    let order = view.order();
    let side_by_side = order.last() == Some(&1) && view.is_dense_in(&order);
    Ok((side_by_side && view.pixels().is_none()).then_some((view, order)))
}

/// The activation that is fused behind a float product, and the value that is written.
pub(super) fn activation_behind(cx: &mut Compiler<'_>, n: NodeId) -> (Activation, ValueId) {
    let output = cx.node(n).outputs[0];
    let reader = cx.fusable(output).filter(|_| !cx.edges.contains_key(&output));
    let named = reader.and_then(|r| unary::activation(cx.graph, cx.node(r)).map(|a| (r, a)));
    match named {
        None => (Activation::None, output),
        Some((reader, named)) => {
            let reason = format!("input \"{}\" carries no quantizer", cx.name(output));
            cx.fuse(reader, Numbers::Float { reason });
            (named.kind, cx.node(reader).outputs[0])
        }
    }
}

/// Emits a float convolution from pixels to pixels.
pub(super) fn emit_float(cx: &mut Compiler<'_>, conv: float::Conv, x: &View, y: &View) -> Result<(), Fault> {
    let (stride, offset, start) = x.pixels().ok_or("its input has no pixels")?;
    let (to_stride, to_offset, to_start) = y.pixels().ok_or("its output has no pixels")?;
    let name = conv.kernel_name().to_string();
    cx.emit(&name, &[x.buffer], &[y.buffer], {
        Box::new(move |mut io| {
            let data = &io.reals(0)[start..];
            let (pool, x) = (io.pool, Pixels { data, stride, offset });
            let y = Out {
                data: &mut io.out_reals()[to_start..],
                stride: to_stride,
                offset: to_offset,
            };
            conv.run(pool, x, y);
            Ok(())
        })
    });
    Ok(())
}
