//! Neurons over steps of time.

use graph::{IntegrateFire, NodeId};
use kernels::float::spiking::Steps;

use super::super::ParameterKind;
use super::super::build::Builder;
use super::super::error::Fault;
use super::super::instr::Instr;

/// Steps lie outermost in both orders, so the neurons take their currents as these are.
pub(super) fn integrate_fire(b: &mut Builder<'_>, n: NodeId, op: &IntegrateFire) -> Result<(), Fault> {
    let node = || b.graph.nodes[n].name.clone();
    let (threshold, leak) = (
        ParameterKind::Threshold { node: node() },
        ParameterKind::Leak { node: node() },
    );
    let (v, output) = (b.input(n, 0)?, b.graph.nodes[n].outputs[0]);
    let order = b.order(v);
    let x = b.form(v, order)?;
    let threshold = b.parameter(b.input(n, 1)?, threshold)?;
    let leak = b.parameter(b.input(n, 2)?, leak)?;
    let y = b.slot(b.name(output), b.shape(output)?.iter().product());
    b.emit(Instr::IntegrateFire {
        op: Steps {
            steps: op.steps,
            constant: op.constant,
            count: op.count,
        },
        x,
        threshold,
        leak,
        y,
    });
    b.define(output, order, y)
}
