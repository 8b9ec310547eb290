//! What all tries of one model share: the pictures, the network with equalized channels, the ranges of its edges.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use graph::{Graph, NodeId};
use kernels::Pool;
use quant::annotate::{self, Plan, Request};

use super::batch_norm::{self, Norms};
use super::choose::{self, Setting};
use super::layers::Stage;
use super::report::{self, TriedGrid};
use super::weights::{self, Layer};
use super::{
    Choice, Grid, Learn, QuantizeOptions, Quantized, Record, Rounding, calibrate, extra_rows, reconstruct,
};
use crate::control::Progress;
use crate::pictures::spread;
use crate::{Form, Model, Result};

pub(super) struct Prepared<'a> {
    pub(super) float: &'a Model,
    pub(super) options: &'a QuantizeOptions,
    pub(super) pool: Arc<Pool>,
    pub(super) setting: Setting,
    pub(super) calibrated: calibrate::Calibrated,
    /// Pictures that a run over the layers goes through.
    pub(super) inputs: Vec<PathBuf>,
    pub(super) pictures: Vec<PathBuf>,
    notes: Vec<String>,
}

/// Which grid each layer takes, and what asked for it.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) choice: Choice,
    pub(super) grid: Grid,
    pub(super) plan: Plan,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(
        float: &'a Model,
        options: &'a QuantizeOptions,
        progress: &mut dyn Progress,
    ) -> Result<Prepared<'a>> {
        let control = &options.control;
        let mut pictures = spread(
            &options.pictures,
            options.subset.min(options.effort.calibrated(float.graph())),
        );
        let mut notes = Vec::new();
        if options.allow_skips {
            (pictures, notes) = crate::pictures::readable(&pictures, control)?;
        } else {
            crate::pictures::check(&pictures, control)?;
        }
        let pool = Arc::new(Pool::new(options.threads));
        let first = options.choice.first()?;
        let setting = choose::setting(float, first, options, &pictures, &pool, progress)?;
        let mut prepared = Prepared {
            float,
            options,
            pool,
            setting,
            calibrated: calibrate::Calibrated::default(),
            inputs: Vec::new(),
            pictures,
            notes,
        };
        let plan = prepared.plan(first)?;
        let calibrated = calibrate::run(
            &prepared.setting.model,
            &[plan],
            options.activation_tables,
            &prepared.pictures,
            &prepared.pool,
            control,
            progress,
        )?;
        prepared.calibrated = calibrated.into_iter().next().unwrap_or_default();
        prepared.inputs = prepared
            .stage()
            .inputs(&prepared.pictures, options.effort.corrected(float.graph()))?;
        Ok(prepared)
    }

    /// The float graph that is quantized.
    pub(super) fn graph(&self) -> &Graph {
        self.setting.model.graph()
    }

    pub(super) fn stage(&self) -> Stage<'_> {
        Stage {
            model: &self.setting.model,
            edges: &self.calibrated.edges,
            correction: self.options.correction,
            rounding: self.options.rounding(),
            others: &[],
            norms: None,
            pool: &self.pool,
            control: &self.options.control,
        }
    }

    fn request(&self, grid: Grid) -> Request {
        Request {
            float_layers: self.setting.float_layers.clone(),
            ..self.options.request(grid, self.setting.observer)
        }
    }

    /// All layers that no rule names at one grid.
    pub(super) fn plan(&self, grid: Grid) -> Result<Plan> {
        Ok(annotate::plan(self.graph(), &self.request(grid))?)
    }

    pub(super) fn with_grid(&self, grid: Grid) -> Result<Way> {
        Ok(Way {
            choice: Choice::Grid(grid),
            grid,
            plan: self.plan(grid)?,
        })
    }

    /// The grid of a width whose outputs are nearest, and all that were tried.
    pub(super) fn best_grid(&self, bits: u32, progress: &mut dyn Progress) -> Result<(Grid, Vec<TriedGrid>)> {
        let request = |grid| self.request(grid);
        let stage = self.stage();
        choose::best(bits, &stage, self.options, &request, &self.pictures, progress)
    }

    fn record(&self, way: &Way) -> Record {
        let (float, setting) = (self.float, &self.setting);
        let made = (way.choice, way.grid);
        let mut record = Record::new(float, self.options, made, &self.calibrated, self.inputs.len());
        record.observer = setting.observer.to_string();
        record.equalization = setting.equalized;
        let name = |&n: &NodeId| self.graph().nodes[n].name.clone();
        record.float_layers = setting.float_layers.iter().map(name).collect();
        record
    }

    /// The low-bit network of these weights and BatchNormalizations.
    pub(super) fn annotated(&self, way: &Way, weights: &BTreeMap<NodeId, Layer>, norms: &Norms) -> Graph {
        let edges = self.calibrated.edges.clone();
        let mut graph = weights::annotated(self.graph(), &way.plan, weights, edges);
        batch_norm::put(&mut graph, norms);
        weights::drop_unread(&mut graph);
        graph
    }

    /// As it is written.
    pub(super) fn assembled(&self, way: &Way, weights: &BTreeMap<NodeId, Layer>, norms: &Norms) -> Model {
        let mut graph = self.annotated(way, weights, norms);
        graph.metadata.extend(self.record(way).metadata());
        self.setting.model.with_graph(graph)
    }

    /// Fits the weights, layer by layer.
    pub(super) fn fit(&self, way: Way, progress: &mut dyn Progress) -> Result<Quantized> {
        let (stage, options) = (self.stage(), self.options);
        let (mut weights, extended) = match options.extra_rows {
            Some(rule) => {
                let (plan, project) = (&way.plan, &options.project);
                let (weights, extended) =
                    extra_rows::extended(&stage, plan, project, rule, &self.inputs, progress)?;
                (weights, Some(extended))
            }
            None => {
                let weights = weights::project(self.graph(), &way.plan, &options.project, stage.workers())?;
                (weights, None)
            }
        };
        let mut fitted = stage.run(&way.plan, &mut weights, &self.inputs, progress)?;
        let learned = match options.learn() != Learn::Nothing {
            true => reconstruct::run(self, &way, &mut weights, &fitted.norms, progress)?,
            false => None,
        };
        if learned.as_ref().is_some_and(|l| l.kept) {
            let norms = std::mem::take(&mut fitted.norms);
            let as_they_are = Stage {
                correction: false,
                rounding: Rounding::Nearest,
                norms: Some(&norms),
                ..stage
            };
            fitted = as_they_are.run(&way.plan, &mut weights, &self.inputs, progress)?;
            fitted.norms = norms;
        }
        let mut model = self.assembled(&way, &weights, &fitted.norms);
        // Results made with it name the bytes that it is written as.
        model.written_as(&model.to_onnx(Form::Packed)?);
        let record = self.record(&way);
        let mut report = report::report(&self.setting.model, &way.plan, &weights, &fitted, record);
        report.tried.clone_from(&self.setting.tried);
        report.extended = extended;
        report.learned = learned;
        report.skipped = self.notes.len();
        report.notes.clone_from(&self.notes);
        Ok(Quantized { model, report })
    }
}
