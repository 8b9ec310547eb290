//! Neurons over steps of time (`FORMAT.md` 1.16), and the sums that products hand them.

use graph::{EdgeQuantizer, IntegrateFire, NodeId, Op, ValueId};
use kernels::float::spiking::Steps;
use kernels::int::{self, Events, Neurons};
use kernels::{ConvShape, Out, Pixels};
use tensor::Tensor;

use super::{No, edge_of, first_input};
use crate::compile::{Compiler, Repr, Want};
use crate::memory::Kind;
use crate::view::{View, channels_last};

/// What is known of sums.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    /// What one unit is worth, of each channel (axis 1).
    units: Vec<f64>,
    /// Largest size.
    reach: i64,
}

/// Largest sum that is handed on.
const REACH: i64 = 1 << 24;

/// Inputs of a product that are active, at most, for events to be quicker than a dense product: one of so many.
/// Measured by `kernels/examples/spike_speed.rs` (docs/results/spiking.md): the 3D layer of the least channels breaks even there.
const BREAK_EVEN: usize = 128;

/// Threshold and leak, where they are constants.
fn numbers(cx: &Compiler<'_>, n: NodeId) -> Option<[f32; 2]> {
    let number = |i: usize| match cx.graph.constant_input(cx.node(n), i).and_then(Tensor::as_f32) {
        Some(&[number]) => Some(number),
        _ => None,
    };
    Some([number(1)?, number(2)?])
}

/// The sums of a product, if neurons alone read them whose spikes are codes. `levels` has a row of each output channel.
pub(super) fn handed_on(
    cx: &Compiler<'_>,
    output: ValueId,
    from: int::Edge,
    levels: &[i32],
    scales: &[f32],
    bias: &[i64],
) -> Option<Sums> {
    let reader = cx.sole_reader(output)?;
    let node = cx.node(reader);
    let Op::IntegrateFire(op) = &node.op else {
        return None;
    };
    numbers(cx, reader)?;
    let spikes = edge_of(&EdgeQuantizer {
        scale: 1.0,
        zero_point: 0,
        bits: op.bits(),
    });
    if node.inputs.first() != Some(&Some(output)) || cx.edges.get(node.outputs.first()?) != Some(&spikes) {
        return None;
    }
    let largest = i64::from(from.zero.max(from.hi - from.zero));
    let row = |row: &[i32]| row.iter().map(|l| i64::from(l.unsigned_abs())).sum::<i64>();
    let rows = levels.chunks(levels.len() / bias.len().max(1));
    let sizes = rows
        .zip(bias)
        .map(|(r, b)| row(r).saturating_mul(largest).saturating_add(b.saturating_abs()));
    let reach = sizes.max().filter(|&size| size < REACH)?;
    let unit = |c: usize| f64::from(from.scale) * f64::from(scales[if scales.len() == 1 { 0 } else { c }]);
    Some(Sums {
        units: (0..bias.len()).map(unit).collect(),
        reach,
    })
}

/// Emits a product that writes sums, channels-last: dense, or by events where few inputs are active. Both give the same bytes.
pub(super) fn emit_sums(
    cx: &mut Compiler<'_>,
    dense: int::Conv,
    events: Option<Events>,
    shape: &ConvShape,
    x: &View,
    y: &View,
) {
    let (isa, from) = (cx.isa(), shape.in_channels);
    let (inputs, to) = (x.len(), shape.out_channels);
    let name = match events {
        Some(_) => format!("{} or events", dense.kernel_name()),
        None => dense.kernel_name().to_string(),
    };
    let start = x.offset;
    cx.emit(&name, &[x.buffer], &[y.buffer], {
        Box::new(move |mut io| {
            let x = &io.codes(0)[start..start + inputs];
            match &events {
                Some(events) if int::active(x) * BREAK_EVEN <= x.len() => {
                    events.run(io.pool, isa, x, io.out_reals());
                }
                _ => dense.run_f32(io.pool, Pixels::dense(x, from), Out::dense(io.out_reals(), to)),
            }
            Ok(())
        })
    });
}

/// The neurons of a node whose input holds sums.
pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId, op: &IntegrateFire) -> Result<(), No> {
    let x = first_input(cx, n).ok_or("its input is missing")?;
    let sums = cx.sums.get(&x).cloned();
    let sums = sums.ok_or("no product with a quantized weight hands it its sums")?;
    let [threshold, leak] = numbers(cx, n).ok_or("its threshold or leak is computed")?;
    let output = cx.node(n).outputs[0];
    let shape = cx.shape(output).map_err(|f| f.0)?;
    let last = channels_last(shape.len());
    let input = cx
        .need(x, Repr::Sums, &Want::Order(last.clone()))
        .map_err(|f| f.0)?;
    let buffer = cx.buffer(Kind::Codes, shape.iter().product());
    let steps = Steps {
        steps: op.steps,
        constant: op.constant,
        count: op.count,
    };
    let neurons = Neurons::new(steps, threshold, leak, &sums.units, sums.reach);
    let (start, len, isa) = (input.offset, input.len(), cx.isa());
    cx.emit(neurons.kernel_name(), &[input.buffer], &[buffer], {
        Box::new(move |mut io| {
            let x = &io.reals(0)[start..start + len];
            neurons.run(io.pool, isa, x, io.out_codes());
            Ok(())
        })
    });
    cx.hold(output, Repr::Codes, View::dense(buffer, &shape, &last));
    Ok(())
}
