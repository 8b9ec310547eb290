//! An `IntegrateFire` node is one of the graph.

use super::super::attributes::Attributes;
use super::super::error::{Load, LoadError};
use super::super::read::Builder;
use crate::graph::{Node, ValueId};
use crate::op::{IntegrateFire, Op};

/// Reads an `IntegrateFire` node.
pub(super) fn integrate_fire(
    builder: &mut Builder<'_, '_>,
    name: &str,
    inputs: Vec<Option<ValueId>>,
    outputs: Vec<ValueId>,
    attrs: &Attributes<'_>,
) -> Load<()> {
    if inputs.len() != 3 || inputs.contains(&None) || outputs.len() != 1 {
        return Err(LoadError::bad("IntegrateFire has three inputs and one output"));
    }
    let number = |name: &str| {
        let value = attrs.int(name)?;
        value.ok_or_else(|| LoadError::bad(format!("attribute {name} is missing")))
    };
    let (steps, from, to) = (number("steps")?, number("input_steps")?, number("output_steps")?);
    attrs.finish()?;
    let most = IntegrateFire::MOST_STEPS as i64;
    if !(1..=most).contains(&steps) {
        return Err(LoadError::bad(format!(
            "attribute steps is {steps}; 1 to {most} are possible"
        )));
    }
    for (name, n) in [("input_steps", from), ("output_steps", to)] {
        if n != 1 && n != steps {
            return Err(LoadError::bad(format!(
                "attribute {name} is {n}; 1 and steps, {steps}, are possible"
            )));
        }
    }
    let op = Op::IntegrateFire(IntegrateFire {
        steps: steps as usize,
        constant: from == 1 && steps > 1,
        count: to == 1 && steps > 1,
    });
    builder.push(Node {
        name: name.into(),
        op,
        inputs,
        outputs,
    })
}
