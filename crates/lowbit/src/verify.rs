//! The engine against the scalar program of FORMAT.md, value by value: two programs, two sets of source lines, the same bytes.

use std::collections::HashMap;
use std::path::PathBuf;

use graph::ValueId;
use serde::Serialize;
use tensor::{Data, Tensor};

use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::runtime::{Outputs, RunOptions, Runner, borrowed, noise};
use crate::{Error, ErrorKind, Model, Result};

/// What is compared.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Pictures to run; without any, one input of seeded noise.
    pub pictures: Vec<PathBuf>,
    /// Seed of the noise.
    pub seed: u64,
    /// How the engine is run.
    pub run: RunOptions,
}

/// A layer whose values differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Node.
    pub layer: String,
    /// Operator.
    pub op: String,
    /// Its output.
    pub value: String,
    /// Elements that differ.
    pub differing: usize,
    /// All elements.
    pub elements: usize,
    /// First element that differs, row-major, and its value in the engine and in the oracle.
    pub first: (usize, f64, f64),
    /// Which input.
    pub input: String,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifiedLayer {
    /// Node.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Runs in integers.
    pub integer: bool,
    /// Elements compared.
    pub elements: usize,
    /// Elements that differ.
    pub differing: usize,
}

/// Result of [`verify()`].
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// Inputs run.
    pub inputs: usize,
    /// Layers in execution order.
    pub layers: Vec<VerifiedLayer>,
    /// Elements compared.
    pub elements: usize,
    /// The first layer that differs.
    pub difference: Option<Difference>,
    /// SHA-256 over the bytes of all outputs, the engine's: equal on every machine.
    pub outputs_sha256: String,
}

/// Runs both programs and compares every value that both show, and the outputs.
///
/// Progress is told, and the control asked, before every layer of either program.
///
/// # Errors
/// What either program refuses; cancellation and the deadline. A difference is a result, not an error.
pub fn verify(model: &Model, options: &VerifyOptions, progress: &mut dyn Progress) -> Result<Verified> {
    verify_on(model, &inputs(model, options)?, &options.run, progress)
}

/// The same on inputs that are at hand, each with what it is called.
pub(crate) fn verify_on(
    model: &Model,
    inputs: &[(String, Outputs)],
    run: &RunOptions,
    progress: &mut dyn Progress,
) -> Result<Verified> {
    let graph = model.graph();
    let program = oracle::Program::new(graph)?;
    let pool = std::sync::Arc::new(kernels::Pool::new(run.threads));
    let runner = Runner::on_graph(graph, pool, run, true)?;
    let mut layers: Vec<VerifiedLayer> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(n, node)| VerifiedLayer {
            name: node.name.clone(),
            op: node.op.name().to_string(),
            integer: program.is_integer(n).is_ok(),
            elements: 0,
            differing: 0,
        })
        .collect();
    let mut difference: Option<(usize, Difference)> = None;
    let mut hash = crate::provenance::DataHash::default();
    let control = &run.control;
    let total = inputs.len() * graph.nodes.len();
    for (nth, (name, input)) in inputs.iter().enumerate() {
        progress.at("verify", nth * graph.nodes.len(), total);
        control.check()?;
        let given = borrowed(input);
        let mut want: HashMap<ValueId, oracle::Held> = HashMap::new();
        let wanted = || control.check().is_ok();
        let ran = program.run_while(&given, &wanted, &mut |n, value, held| {
            want.insert(value, held.clone());
            progress.at("verify", nth * graph.nodes.len() + n + 1, total);
        });
        if let Err(oracle::ProgramError::Stopped { .. }) = ran {
            control.check()?;
        }
        let want_outputs = ran?;
        let have_outputs = runner.watch(&given, None, &mut |n, value, held| {
            let Some(want) = want.remove(&value) else { return };
            let (have, want) = match (held, &want) {
                (
                    engine::Held::Codes(h) | engine::Held::Sums(h) | engine::Held::Real(h),
                    oracle::Held::Codes(w) | oracle::Held::Sums(w) | oracle::Held::Real(w),
                ) => (h, w),
            };
            let (differing, first) = differences(have, want);
            layers[n].elements += have.len();
            layers[n].differing += differing;
            if let Some(first) = first
                && difference.as_ref().is_none_or(|(m, _)| n < *m)
            {
                let found = Difference {
                    layer: graph.nodes[n].name.clone(),
                    op: graph.nodes[n].op.name().to_string(),
                    value: graph.value(value).name.clone(),
                    differing,
                    elements: have.len(),
                    first,
                    input: name.clone(),
                };
                difference = Some((n, found));
            }
        })?;
        for ((have_name, have), (_, want)) in have_outputs.iter().zip(&want_outputs) {
            hash.add(have_name, &bytes(have));
            let (differing, first) = differences(have, want);
            if let (Some(first), None) = (first, &difference) {
                let found = Difference {
                    layer: "graph outputs".into(),
                    op: String::new(),
                    value: have_name.clone(),
                    differing,
                    elements: have.len(),
                    first,
                    input: name.clone(),
                };
                difference = Some((usize::MAX, found));
            }
        }
    }
    progress.at("verify", total, total);
    let elements = layers.iter().map(|l| l.elements).sum();
    if elements == 0 {
        return Err(Error::unsupported(
            "the engine shows no value of this model: nothing was compared",
        ));
    }
    Ok(Verified {
        inputs: inputs.len(),
        layers,
        elements,
        difference: difference.map(|d| d.1),
        outputs_sha256: hash.finish(),
    })
}

fn inputs(model: &Model, options: &VerifyOptions) -> Result<Vec<(String, Outputs)>> {
    if options.pictures.is_empty() {
        let noise = noise(&model.inputs()?, options.seed)?;
        return Ok(vec![(format!("noise of seed {}", options.seed), noise)]);
    }
    let mut reader = Reader::new(&options.run.control);
    let one = |path: &PathBuf| {
        Ok((
            path.display().to_string(),
            vec![input_of(model, &mut reader, path)?],
        ))
    };
    options.pictures.iter().map(one).collect()
}

/// Elements that differ in a bit, and the first of them. Any NaN equals any NaN: its payload is not part of the format.
fn differences(have: &Tensor, want: &Tensor) -> (usize, Option<(usize, f64, f64)>) {
    if have.shape() != want.shape() || have.dtype() != want.dtype() {
        return (have.len().max(want.len()).max(1), Some((0, f64::NAN, f64::NAN)));
    }
    match (have.data(), want.data()) {
        (Data::F32(h), Data::F32(w)) => {
            let differ = |(h, w): (&f32, &f32)| h.to_bits() != w.to_bits() && !(h.is_nan() && w.is_nan());
            count(h, w, differ, |x| f64::from(*x))
        }
        (Data::I64(h), Data::I64(w)) => count(h, w, |(h, w)| h != w, |x| *x as f64),
        (Data::U8(h), Data::U8(w)) => count(h, w, |(h, w)| h != w, |x| f64::from(*x)),
        (h, w) if h == w => (0, None),
        _ => (have.len().max(1), Some((0, f64::NAN, f64::NAN))),
    }
}

fn count<T>(
    have: &[T],
    want: &[T],
    differ: impl Fn((&T, &T)) -> bool,
    number: impl Fn(&T) -> f64,
) -> (usize, Option<(usize, f64, f64)>) {
    let all = have.iter().zip(want).enumerate().filter(|(_, p)| differ(*p));
    let mut total = 0;
    let mut first = None;
    for (i, (h, w)) in all {
        total += 1;
        first.get_or_insert((i, number(h), number(w)));
    }
    (total, first)
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor::for_each_data!(tensor.data(), v => v.iter().flat_map(|x| format!("{x:?},").into_bytes()).collect())
}

impl From<oracle::ProgramError> for Error {
    fn from(e: oracle::ProgramError) -> Self {
        use oracle::ProgramError as E;
        match e {
            E::Graph(_) | E::Annotation { .. } | E::Input { .. } => Error::bad(e.to_string()),
            E::Node { .. } => Error::unsupported(e.to_string()),
            E::Stopped { .. } => Error::new(ErrorKind::Interrupted, e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_planted_code_is_found_where_it_is() {
        let want = Tensor::vector(vec![1u8, 2, 3]);
        assert_eq!(differences(&want, &want), (0, None));
        let have = Tensor::vector(vec![1u8, 9, 3]);
        assert_eq!(differences(&have, &want), (1, Some((1, 9.0, 2.0))));
        let zero = Tensor::vector(vec![0f32, f32::NAN]);
        let negative = Tensor::vector(vec![-0f32, f32::NAN]);
        assert_eq!(differences(&zero, &negative).0, 1);
        assert_eq!(differences(&zero, &want).0, 3);
    }
}
