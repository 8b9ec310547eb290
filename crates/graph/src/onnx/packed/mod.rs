//! The packed form (FORMAT.md, part 2): codes of b bits in the file, or a mask and two planes, a node `ai.lowbit.Decode` or `DecodePlanes` that makes the
//! weight of them, and the same operator as a function of standard ones, so that any runtime can open the file.

mod add_rows;
mod decode;
mod digest;
mod function;
pub(super) mod halves;
mod planes;
mod spiking;
mod strict;

use super::attributes::Attributes;
use super::error::{Load, LoadError};
use super::functions::Call;
use super::proto::Model;
use super::read::Builder;

pub(super) use digest::{KEY as DIGEST_KEY, seal};
pub(super) use function::{
    add_rows_function, decode_function, decode_planes_function, integrate_fire_function,
};

/// Domain of the operator.
pub(super) const DOMAIN: &str = "ai.lowbit";
/// The operator that makes a weight of codes.
pub(super) const DECODE: &str = "Decode";
/// The operator that makes a ternary weight of a mask of groups and two planes.
pub(super) const DECODE_PLANES: &str = "DecodePlanes";
/// The operator that adds decoded rows to some output channels of a weight.
pub(super) const ADD_ROWS: &str = "AddRows";
/// The operator of neurons over steps of time.
pub(super) const INTEGRATE_FIRE: &str = "IntegrateFire";
/// Version of domain, operator and file rules, all in one.
pub(super) const VERSION: i64 = 1;

pub(super) fn unknown_version(version: i64) -> LoadError {
    LoadError::unsupported(format!(
        "the packed form has version {version}, this program knows {VERSION} alone"
    ))
    .help("read the file with the lowbit that wrote it, or a newer one")
}

/// Reads a node of the domain: neurons, or what makes a quantized weight.
pub(super) fn node(builder: &mut Builder<'_, '_>, call: Call<'_, '_>) -> Load<()> {
    let attrs = Attributes::new(call.attributes)?;
    let operator = call.node.op_type;
    if ![DECODE, DECODE_PLANES, ADD_ROWS, INTEGRATE_FIRE].contains(&operator) {
        let operator = super::error::quoted(operator);
        return Err(LoadError::unsupported(format!(
            "domain {DOMAIN} has no operator {operator}"
        )));
    }
    match attrs.int("version")? {
        None => return Err(LoadError::bad("attribute version is missing")),
        Some(VERSION) => {}
        Some(version) => return Err(unknown_version(version)),
    }
    if !builder.functions.contains_key(&(DOMAIN, operator, "")) {
        return Err(
            LoadError::bad(format!("the file does not hold the function {operator}"))
                .help("a packed file brings it, so that every runtime can open it"),
        );
    }
    match operator {
        INTEGRATE_FIRE => spiking::integrate_fire(builder, call.node.name, call.inputs, call.outputs, &attrs),
        ADD_ROWS => add_rows::add_rows(builder, &call.inputs, &call.outputs, attrs),
        DECODE_PLANES => planes::planes(builder, &call.inputs, &call.outputs, attrs),
        _ => decode::decode(builder, &call.inputs, &call.outputs, attrs),
    }
}

/// Holds a packed file to its rules: digest, known version, no byte without a meaning, the function as it must be.
/// Other files pass.
pub(super) fn check(bytes: &[u8], model: &Model<'_>) -> Load<()> {
    let import = model.opsets.iter().find(|o| o.domain == DOMAIN);
    let sealed = model.metadata.iter().any(|(key, _)| *key == DIGEST_KEY);
    if let Some(o) = import.filter(|o| o.version != VERSION) {
        return Err(unknown_version(o.version));
    }
    if import.is_none() && !sealed {
        return Ok(());
    }
    digest::verify(bytes)?;
    if import.is_none() {
        return Err(LoadError::bad(format!(
            "the file has a {DIGEST_KEY}, but does not import {DOMAIN}"
        )));
    }
    strict::walk(bytes)?;
    for f in &model.functions {
        let own = f.domain == DOMAIN && f.overload.is_empty();
        let want = match f.name {
            DECODE if own => decode_function(),
            DECODE_PLANES if own => decode_planes_function(),
            ADD_ROWS if own => add_rows_function(),
            INTEGRATE_FIRE if own => integrate_fire_function(),
            _ => {
                return Err(LoadError::bad(format!(
                    "a packed file holds no functions but {DECODE}, {DECODE_PLANES}, {ADD_ROWS} and {INTEGRATE_FIRE}, this one holds {:?}",
                    f.name
                ))
                .at_byte(f.message.at));
            }
        };
        if f.message.bytes != want {
            return Err(LoadError::bad(format!(
                "the file's function {} is not that of version {VERSION}",
                f.name
            ))
            .at_byte(f.message.at));
        }
    }
    Ok(())
}
