//! Ranges of edges: pictures stream through the float plan, observers of fixed size see every value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use engine::Held;
use graph::{EdgeQuantizer, ValueId};
use kernels::Pool;
use quant::annotate::Plan;

use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::runtime::{RunOptions, Runner};
use crate::{Control, Error, Model, Result};

/// Quantizers of all edges that carry codes.
#[derive(Debug, Clone, Default)]
pub(super) struct Calibrated {
    pub(super) edges: BTreeMap<ValueId, EdgeQuantizer>,
    pub(super) pictures: usize,
    pub(super) sha256: Option<String>,
}

/// Runs all pictures; memory is the plan's and 64 KiB per edge, however many pictures.
pub(super) fn run(
    model: &Model,
    plan: &Plan,
    pictures: &[PathBuf],
    pool: &Arc<Pool>,
    control: &Control,
    progress: &mut dyn Progress,
) -> Result<Calibrated> {
    let graph = model.graph();
    let observed = plan.observed();
    let watch: BTreeSet<ValueId> = observed.keys().copied().collect();
    let mut observers = plan.observers();
    let options = RunOptions {
        control: control.clone(),
        ..RunOptions::default()
    };
    let runner = Runner::on_graph(graph, pool.clone(), &options, true)?;
    let mut reader = Reader::new(control);
    for (done, path) in pictures.iter().enumerate() {
        progress.at("calibrate", done, pictures.len());
        let (name, input) = input_of(model, &mut reader, path)?;
        let id = graph.find(&name);
        if let (Some(&group), Some(values)) = (id.and_then(|v| observed.get(&v)), input.as_f32()) {
            observers[group].observe(values);
        }
        runner
            .watch(&[(&name, &input)], Some(&watch), &mut |_, value, held| {
                if let (Some(&group), Held::Real(tensor)) = (observed.get(&value), held)
                    && let Some(values) = tensor.as_f32()
                {
                    observers[group].observe(values);
                }
            })
            .map_err(|e| e.at(path.display()))?;
    }
    progress.at("calibrate", pictures.len(), pictures.len());
    for (group, observer) in plan.groups.iter().zip(&observers) {
        // An edge that the plan does not show would get an arbitrary range: never silently.
        if observer.count() == 0
            && let Some(&edge) = group.observe.first()
            && graph
                .value(edge)
                .fixed_shape()
                .is_some_and(|s| tensor::numel(&s) != Ok(0))
        {
            let name = &graph.value(edge).name;
            return Err(Error::unsupported(format!(
                "edge \"{name}\" was not seen while calibrating"
            )));
        }
    }
    Ok(Calibrated {
        edges: plan.quantizers(graph, &observers)?,
        pictures: pictures.len(),
        sha256: Some(reader.finish()),
    })
}
