//! Model-local functions: other people's are inlined, call by call; lowbit's own is an annotation.

use super::error::{Load, LoadError, quoted};
use super::packed;
use super::proto::{Attribute, NodeProto};
use super::read::{Builder, Scope, version_of};
use super::{MAX_OPSET, MIN_OPSET};
use crate::graph::{Node, ValueId};
use crate::op::Op;

/// A node with its names resolved.
pub(crate) struct Call<'a, 'n> {
    pub node: &'n NodeProto<'a>,
    pub attributes: Vec<Attribute<'a>>,
    pub inputs: Vec<Option<ValueId>>,
    pub outputs: Vec<ValueId>,
}

/// Puts the caller's values in place of references to a function's attributes; a reference to an attribute that the
/// caller left out vanishes, as the standard wants.
pub(crate) fn resolve_attributes<'a>(
    list: Vec<Attribute<'a>>,
    given: &[Attribute<'a>],
) -> Load<Vec<Attribute<'a>>> {
    let mut out = Vec::with_capacity(list.len());
    for a in list {
        if a.refers_to.is_empty() {
            out.push(a);
        } else if let Some(value) = given.iter().find(|g| g.name == a.refers_to) {
            out.push(Attribute {
                name: a.name,
                ..value.clone()
            });
        }
    }
    Ok(out)
}

/// Inlines a call of a model-local function; gives the call back when its operator is not one.
pub(crate) fn try_inline<'a, 'n>(
    builder: &mut Builder<'a, '_>,
    call: Call<'a, 'n>,
    scope: &Scope<'a, '_>,
) -> Load<Option<Call<'a, 'n>>> {
    let node = call.node;
    if node.domain == packed::DOMAIN {
        return packed::node(builder, call).map(|()| None);
    }
    let key = (node.domain, node.op_type, node.overload);
    let Some(function) = builder.functions.get(&key) else {
        return Ok(Some(call));
    };
    let most = builder.options.limits.nesting;
    if scope.depth >= most {
        return Err(LoadError::limit(format!(
            "functions call each other more than {most} deep"
        )));
    }
    if call.inputs.len() > function.inputs.len() || call.outputs.len() > function.outputs.len() {
        return Err(LoadError::bad(format!(
            "{} inputs and {} outputs are given, function {} has {} and {}",
            call.inputs.len(),
            call.outputs.len(),
            quoted(node.op_type),
            function.inputs.len(),
            function.outputs.len(),
        )));
    }
    if version_of(&function.opsets, "").is_some_and(|v| !(MIN_OPSET..=MAX_OPSET).contains(&v)) {
        let name = quoted(node.op_type);
        return Err(LoadError::unsupported(format!(
            "function {name} uses an opset that is not read"
        )));
    }
    builder.count_call()?;
    // Taken out while its body is read, so that the builder is free; a call of itself is then an unknown operator.
    let Some(function) = builder.functions.remove(&key) else {
        return Ok(Some(call));
    };
    let result = inline(builder, &call, &function, scope);
    builder.functions.insert(key, function);
    result.map(|()| None)
}

fn inline<'a>(
    builder: &mut Builder<'a, '_>,
    call: &Call<'a, '_>,
    function: &super::proto::Function<'a>,
    scope: &Scope<'a, '_>,
) -> Load<()> {
    let mut attributes = call.attributes.clone();
    for default in &function.defaults {
        if attributes.iter().all(|a| a.name != default.name) {
            attributes.push(default.clone());
        }
    }
    let first = call
        .outputs
        .first()
        .map_or(call.node.name, |&v| builder.graph.value(v).name.as_str());
    let argument = |i: usize| call.inputs.get(i).copied().flatten();
    let mut inner = Scope {
        names: function
            .inputs
            .iter()
            .enumerate()
            .map(|(i, &name)| (name, argument(i)))
            .collect(),
        results: function
            .outputs
            .iter()
            .copied()
            .zip(call.outputs.iter().copied())
            .collect(),
        prefix: format!("{first}/"),
        attributes: &attributes,
        opsets: &function.opsets,
        depth: scope.depth + 1,
    };
    builder.nodes(&function.nodes, &mut inner)?;
    for (&name, &to) in function.outputs.iter().zip(&call.outputs) {
        match inner.names.get(name).copied().flatten() {
            Some(from) if from == to => {}
            // An output that is an input, or one input under two output names.
            Some(from) => builder.push(Node {
                name: builder.graph.value(to).name.clone(),
                op: Op::Identity,
                inputs: vec![Some(from)],
                outputs: vec![to],
            })?,
            None => {
                let (function, name) = (quoted(function.name), quoted(name));
                return Err(LoadError::bad(format!(
                    "function {function} never computes its output {name}"
                )));
            }
        }
    }
    Ok(())
}
