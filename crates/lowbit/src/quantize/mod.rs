//! From a float model and a folder of pictures to a quantized model.
//!
//! ```text
//! equalize (channels of an edge) → plan (what becomes integer) → calibrate (ranges of edges, float plan) → project (weights to codes)
//!      → layer by layer: answer for the errors in the inputs, round with error feedback,
//!        correct (y_float ≈ g·y_quant + b per channel, g into scales, b into biases) → annotated graph
//! ```

mod agreement;
mod allocate;
pub(crate) mod calibrate;
mod choose;
pub(crate) mod equalize;
mod extra_rows;
mod float_layers;
pub(crate) mod layers;
mod patches;
mod report;
pub(crate) mod trial;
pub(crate) mod weights;

use std::path::PathBuf;
use std::sync::Arc;

use kernels::Pool;
use quant::annotate::{self, Request};
use serde::Serialize;

pub use allocate::{Allocated, Offer};
pub use quant::ProjectOptions;
pub use quant::annotate::{Role, Rule};
pub use quant::calibrate::ObserverKind;
pub use quant::grid::Grid;
pub use quant::{Granularity, Rounding, ScaleKind, Solver};
pub use report::{LayerReport, QuantizeReport, Size, Tried, TriedGrid};

use crate::control::Progress;
use crate::pictures::spread;
use crate::{Control, Error, Form, Model, Result};

/// Which levels weights take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// This grid.
    Grid(Grid),
    /// The grid of this width, 1…8, with the smallest error of the model's outputs on the calibration pictures.
    Bits(u32),
    /// One of [`QuantizeOptions::among`] for each layer, so many stored bits a weight at most over all of them.
    Average(f64),
}

impl Choice {
    /// The grid that plans are made with before a choice is made.
    fn first(self) -> Result<Grid> {
        Ok(match self {
            Choice::Grid(grid) => grid,
            Choice::Bits(bits) => choose::candidates(bits)?[0],
            Choice::Average(_) => "int4".parse()?,
        })
    }
}

/// Settings of [`quantize`].
#[derive(Debug, Clone)]
pub struct QuantizeOptions {
    /// Grid of every layer that no rule names.
    pub choice: Choice,
    /// What [`Choice::Average`] chooses from.
    pub among: Vec<Grid>,
    /// Layers of these roles get int8 from [`Choice::Average`], whatever their error is: what they do to boxes shows late.
    pub keep: Vec<Role>,
    /// How weights are projected: granularity, scale, solver, μ.
    pub project: ProjectOptions,
    /// Bits of activations, 1…8.
    pub act_bits: u32,
    /// How ranges of activations are chosen; `None` takes the one of min-max, percentiles and MSE whose detections agree best with the float
    /// model's on a few calibration pictures.
    pub observer: Option<ObserverKind>,
    /// Overrides such as `depthwise=int8`, `re:^/stem=float`, `type:Gemm=affine8`; later ones win.
    pub rules: Vec<Rule>,
    /// Refit every channel's gain and mean after rounding. Without it: the bare projection.
    pub correction: bool,
    /// How weights find their level once their scale is known; `None` takes error feedback where codes are corrected and the solver is the
    /// optimum, the nearest level for the paper's own formulas and the bare projection.
    pub rounding: Option<Rounding>,
    /// Bring the channels of an edge to like ranges first where detections agree better then. Without it: weights are projected as the file
    /// has them.
    pub equalization: bool,
    /// Compute activations such as LeakyRelu and SiLU by tables from codes to codes. Without it: on the convolution's f32 result, rounded once
    /// instead of twice.
    pub activation_tables: bool,
    /// Every layer that can be integer is. Without it: with weights of 7 and more bits, a few early layers whose inputs' rounding makes much of
    /// the outputs' error stay float.
    pub integer_only: bool,
    /// So many more bits of weights, as a share, may be stored as second points of the output channels that gain most by them, their scales and numbers
    /// included; 0 for none.
    pub extra_rows: f64,
    /// Calibration pictures; labels are not needed.
    pub pictures: Vec<PathBuf>,
    /// At most this many of them are used, spread evenly over the list.
    pub subset: usize,
    /// Go on without calibration pictures that cannot be read, and count them in the report.
    pub allow_skips: bool,
    /// Threads; 0 takes all cores. The result does not depend on it.
    pub threads: usize,
    /// Stops the work, caps its memory.
    pub control: Control,
}

impl QuantizeOptions {
    /// The defaults: per channel, real scales, optimum, 8-bit activations, correction on, 300 pictures.
    ///
    /// ```
    /// use lowbit::{Choice, QuantizeOptions};
    /// let options = QuantizeOptions::new(Choice::Grid("int8".parse().unwrap()), Vec::new());
    /// assert!(options.correction && options.act_bits == 8);
    /// ```
    pub fn new(choice: Choice, pictures: Vec<PathBuf>) -> Self {
        QuantizeOptions {
            choice,
            among: [
                "ternary", "pow2-3", "lbw4", "pow2-4", "int4", "int5", "int6", "int8",
            ]
            .iter()
            .filter_map(|g| g.parse().ok())
            .collect(),
            keep: vec![Role::First, Role::Head],
            project: ProjectOptions::default(),
            act_bits: 8,
            observer: None,
            rules: Vec::new(),
            correction: true,
            rounding: None,
            equalization: true,
            activation_tables: false,
            integer_only: false,
            extra_rows: 0.0,
            pictures,
            subset: 300,
            allow_skips: false,
            threads: 0,
            control: Control::default(),
        }
    }

    /// The rounding that is meant.
    pub fn rounding(&self) -> Rounding {
        match self.rounding {
            Some(rounding) => rounding,
            None if self.correction && self.project.solver == Solver::Optimum => Rounding::Feedback,
            None => Rounding::Nearest,
        }
    }

    /// Whether early layers may stay float: with fewer bits the weights' own error is far larger than that of any edge.
    fn keeps_float_layers(&self, grid: Grid) -> bool {
        const BITS: u32 = 7;
        self.correction && !self.integer_only && grid.bits() * grid.points() >= BITS
    }

    fn request(&self, grid: Grid, observer: ObserverKind) -> Request {
        Request {
            grid,
            project: self.project,
            act_bits: self.act_bits,
            observer,
            rules: self.rules.clone(),
            float_layers: Default::default(),
        }
    }
}

/// A quantized model and how it came about.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// The model: packed by [`Model::to_onnx`].
    pub model: Model,
    /// Layers, bits, errors, sizes.
    pub report: QuantizeReport,
}

/// Quantizes a float model.
///
/// # Errors
/// A model that is quantized already, no calibration pictures, a rule that names nothing, weights that are not finite,
/// cancellation and limits.
pub fn quantize(model: &Model, options: &QuantizeOptions, progress: &mut dyn Progress) -> Result<Quantized> {
    check(model, options)?;
    if options.pictures.is_empty() {
        return Err(Error::usage("there are no calibration pictures").help(
            "give a folder with --calib: 16 pictures of the kind the model will see are enough to start with",
        ));
    }
    let mut pictures = spread(&options.pictures, options.subset);
    let mut notes = Vec::new();
    if options.allow_skips {
        (pictures, notes) = crate::pictures::readable(&pictures, &options.control)?;
    } else {
        crate::pictures::check(&pictures, &options.control)?;
    }
    let pool = Arc::new(Pool::new(options.threads));
    let first = options.choice.first()?;
    let float = model;
    let setting = choose::setting(model, first, options, &pictures, &pool, progress)?;
    let (model, observer) = (&setting.model, setting.observer);
    let request = |grid| Request {
        float_layers: setting.float_layers.clone(),
        ..options.request(grid, observer)
    };
    let plan = annotate::plan(model.graph(), &request(first))?;
    let calibrated = calibrate::run(
        model,
        &[plan],
        options.activation_tables,
        &pictures,
        &pool,
        &options.control,
        progress,
    )?;
    let calibrated = calibrated.into_iter().next().unwrap_or_default();
    let stage = layers::Stage {
        model,
        edges: &calibrated.edges,
        correction: options.correction,
        rounding: options.rounding(),
        others: &[],
        pool: &pool,
        control: &options.control,
    };
    let (grid, grids) = match options.choice {
        Choice::Grid(_) | Choice::Average(_) => (first, Vec::new()),
        Choice::Bits(bits) => choose::best(bits, &stage, options, &request, &pictures, progress)?,
    };
    let mut plan = annotate::plan(model.graph(), &request(grid))?;
    let inputs = stage.inputs(&pictures, layers::MOST_PICTURES)?;
    let allocation = match options.choice {
        Choice::Average(bits) => {
            let to = (options, bits);
            allocate::grids(&stage, &mut plan, to, (float, &pool), &inputs, progress)?
        }
        _ => Vec::new(),
    };
    let mut weights = match options.extra_rows > 0.0 {
        true => extra_rows::extended(
            &stage,
            &plan,
            &options.project,
            options.extra_rows,
            &inputs,
            progress,
        )?,
        false => weights::project(model.graph(), &plan, &options.project)?,
    };
    let fitted = stage.run(&plan, &mut weights, &inputs, progress)?;
    let mut graph = weights::annotated(model.graph(), &plan, &weights, calibrated.edges.clone());
    let mut record = Record::new(float, options, grid, &calibrated, inputs.len());
    record.observer = observer.to_string();
    record.equalization = setting.equalized;
    record.float_layers = setting
        .float_layers
        .iter()
        .map(|&n| model.graph().nodes[n].name.clone())
        .collect();
    graph.metadata.extend(record.metadata());
    let mut quantized = model.with_graph(graph);
    // Results made with it name the bytes that it is written as.
    quantized.written_as(&quantized.to_onnx(Form::Packed)?);
    let mut report = report::report(model, &plan, &weights, &fitted, record);
    report.tried = setting.tried;
    report.grids = grids;
    report.allocation = allocation;
    report.skipped = notes.len();
    report.notes = notes;
    Ok(Quantized {
        model: quantized,
        report,
    })
}

/// What would be done, without pictures: layers, grids, exact sizes, weight errors.
///
/// # Errors
/// As [`quantize`].
pub fn dry_run(model: &Model, options: &QuantizeOptions) -> Result<QuantizeReport> {
    check(model, options)?;
    if let Choice::Average(_) = options.choice {
        return Err(
            Error::usage("grids are chosen by the errors on pictures, and a dry run sees none")
                .help("give one --grid"),
        );
    }
    let grid = options.choice.first()?;
    let observer = options.observer.unwrap_or(ObserverKind::Mse);
    let plan = annotate::plan(model.graph(), &options.request(grid, observer))?;
    let weights = weights::project(model.graph(), &plan, &options.project)?;
    let record = Record::new(model, options, grid, &calibrate::Calibrated::default(), 0);
    Ok(report::report(
        model,
        &plan,
        &weights,
        &Default::default(),
        record,
    ))
}

fn check(model: &Model, options: &QuantizeOptions) -> Result<()> {
    if model.is_quantized() {
        return Err(Error::unsupported("the model is quantized already")
            .help("start from the float model it was made from"));
    }
    options.choice.first()?;
    if let Choice::Average(_) = options.choice
        && options.among.is_empty()
    {
        return Err(Error::usage("there are no grids to choose from").help("name some with --among"));
    }
    weights::check_finite(model.graph())?;
    options.control.check()
}

/// How a quantized model was made: stored in its metadata and in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Grid of the layers without a rule.
    pub grid: String,
    /// Bits of activations.
    pub act_bits: u32,
    /// How ranges were chosen.
    pub observer: String,
    /// Which weights share a scale.
    pub granularity: String,
    /// Which scales are allowed.
    pub scale: String,
    /// How scales were found.
    pub solver: String,
    /// μ of the semi-analytic solver.
    pub mu: f64,
    /// Overrides, in order.
    pub rules: Vec<String>,
    /// How weights found their level.
    pub rounding: String,
    /// Whether channels were brought to like ranges.
    pub equalization: bool,
    /// Whether gains and means were refitted.
    pub correction: bool,
    /// Whether activations are tables of codes.
    pub activation_tables: bool,
    /// Share of the weights that second points may add.
    pub extra_rows: f64,
    /// Layers that stay float because rounding their inputs costs too much.
    pub float_layers: Vec<String>,
    /// Pictures that chose the ranges.
    pub calibration_pictures: usize,
    /// Pictures that the correction was fitted on.
    pub correction_pictures: usize,
    /// SHA-256 over names and bytes of the calibration pictures.
    pub calibration_sha256: Option<String>,
    /// SHA-256 of the float model.
    pub parent_sha256: String,
}

impl Record {
    fn new(
        model: &Model,
        options: &QuantizeOptions,
        grid: Grid,
        calibrated: &calibrate::Calibrated,
        corrected: usize,
    ) -> Record {
        Record {
            grid: match options.choice {
                Choice::Average(bits) => format!("{bits} bits a weight"),
                _ => grid.to_string(),
            },
            act_bits: options.act_bits,
            observer: options.observer.map_or("auto".into(), |o| o.to_string()),
            granularity: options.project.granularity.to_string(),
            scale: options.project.scale_kind.to_string(),
            solver: options.project.solver.to_string(),
            mu: options.project.mu,
            rules: options.rules.iter().map(Rule::to_string).collect(),
            rounding: options.rounding().to_string(),
            equalization: options.equalization,
            correction: options.correction,
            activation_tables: options.activation_tables,
            extra_rows: options.extra_rows,
            float_layers: Vec::new(),
            calibration_pictures: calibrated.pictures,
            correction_pictures: corrected,
            calibration_sha256: calibrated.sha256.clone(),
            parent_sha256: model.sha256().to_string(),
        }
    }

    fn metadata(&self) -> Vec<(String, String)> {
        let text = serde_json::to_string(self).unwrap_or_default();
        vec![("lowbit.quantize".into(), text)]
    }
}
