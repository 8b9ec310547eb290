//! What can be asked of [`quantize`](fn@super::quantize).

use std::path::PathBuf;

use quant::ProjectOptions;
use quant::annotate::{Request, Role, Rule};
use quant::calibrate::ObserverKind;
use quant::{Rounding, Solver};

use super::{Budget, Effort, ExtraRows, Grid, Learn, MaxDrop, choose};
use crate::{Control, Result};

/// Which levels weights take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// This grid.
    Grid(Grid),
    /// The grid of this width, 1…8, with the smallest error of the model's outputs on the calibration pictures.
    Bits(u32),
    /// One of [`QuantizeOptions::among`] for each layer: the least error that all layers together can have within a budget.
    Budget(Budget),
}

impl Choice {
    /// The grid that plans are made with before a choice is made.
    pub(super) fn first(self) -> Result<Grid> {
        Ok(match self {
            Choice::Grid(grid) => grid,
            Choice::Bits(bits) => choose::candidates(bits)?[0],
            Choice::Budget(_) => "int4".parse()?,
        })
    }
}

/// What a budget chooses from by default: `lbw2` is `ternary` by another name, and more points than two of 4 bits take more bits than int8 and do less.
const AMONG: [&str; 13] = [
    "ternary", "lbw3", "pow2-3", "lbw4", "pow2-4", "int4", "lbw5", "int5", "lbw6", "int6", "int7", "int8",
    "pow2-4x2",
];

/// Settings of [`quantize`](fn@super::quantize).
#[derive(Debug, Clone)]
pub struct QuantizeOptions {
    /// Grid of every layer that no rule names.
    pub choice: Choice,
    /// What [`Choice::Budget`] chooses from; a layer is not asked about a grid that another one plainly beats there, at no more cost.
    pub among: Vec<Grid>,
    /// Layers of these roles get int8 from [`Choice::Budget`], whatever their error is: what they do to boxes shows late.
    pub keep: Vec<Role>,
    /// How weights are projected: granularity, scale, solver, μ.
    pub project: ProjectOptions,
    /// Bits of activations, 1…8.
    pub act_bits: u32,
    /// How ranges of activations are chosen; `None` takes the one of min-max, percentiles and MSE whose detections agree best with the float
    /// model's on a few calibration pictures; MSE with [`Effort::Fast`].
    pub observer: Option<ObserverKind>,
    /// How much is tried, and on how many pictures.
    pub effort: Effort,
    /// What is learned over the whole network in the end; `None` takes gains and biases with [`Effort::Best`], nothing else.
    pub learn: Option<Learn>,
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
    /// Output channels that get more than one point.
    pub extra_rows: Option<ExtraRows>,
    /// The most that the model may lose: with it [`choice`](QuantizeOptions::choice) is a wish, and wider grids are tried where it loses more.
    pub max_drop: Option<MaxDrop>,
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
            among: AMONG.iter().filter_map(|g| g.parse().ok()).collect(),
            keep: vec![Role::First, Role::Head],
            project: ProjectOptions::default(),
            act_bits: 8,
            observer: None,
            effort: Effort::default(),
            learn: None,
            rules: Vec::new(),
            correction: true,
            rounding: None,
            equalization: true,
            activation_tables: false,
            integer_only: false,
            extra_rows: None,
            max_drop: None,
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
            None if self.effort == Effort::Fast => Rounding::Nearest,
            None if self.correction && self.project.solver == Solver::Optimum => Rounding::Feedback,
            None => Rounding::Nearest,
        }
    }

    /// What is learned.
    pub fn learn(&self) -> Learn {
        match self.learn {
            Some(learn) => learn,
            None if self.effort == Effort::Best && self.correction => Learn::Gains,
            None => Learn::Nothing,
        }
    }

    /// Whether early layers may stay float: with fewer bits the weights' own error is far larger than that of any edge.
    pub(super) fn keeps_float_layers(&self, grid: Grid) -> bool {
        const BITS: u32 = 7;
        let asked = self.correction && !self.integer_only && self.effort > Effort::Fast;
        asked && grid.bits() * grid.points() >= BITS
    }

    pub(super) fn request(&self, grid: Grid, observer: ObserverKind) -> Request {
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
