//! From weights to codes: which rule runs on which group, and the graph's annotation.

use graph::{Point, WeightAnnotation};

use crate::grid::{Family, Grid};
use crate::methods::{
    Fit, affine, apot, binary, lbw_optimum, lbw_real, lbw_semi_analytic, lbw_ternary, scale_real, ternary,
    ternary_threshold, uniform,
};
use crate::methods::{Levels, pow2};
use crate::multipoint::combined::Search;

macro_rules! named_choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every choice, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// Name in flags and files.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $name::ALL.iter().copied().find(|c| c.as_str() == text).ok_or_else(|| {
                    let names = $name::ALL.iter().map(|c| c.as_str());
                    let near = $crate::names::did_you_mean($crate::names::nearest(text, names.clone()));
                    format!("\"{text}\" is none of {}{near}", names.collect::<Vec<_>>().join(", "))
                })
            }
        }
    };
}
pub(crate) use named_choice;

named_choice! {
    /// Which weights share a scale.
    Granularity {
        /// All weights of the tensor.
        Tensor = "tensor",
        /// The weights of one output channel.
        Channel = "channel",
    }
}

named_choice! {
    /// Which scales are allowed.
    ScaleKind {
        /// Any positive number; it folds into the requantization multiplier.
        Real = "real",
        /// 2^s, as in LBW-Net.
        PowerOfTwo = "power-of-two",
    }
}

named_choice! {
    /// How the scale and the levels are found.
    Solver {
        /// Least error over all scales and levels.
        Optimum = "optimum",
        /// The paper's exact formula (T): magnitudes {1}, power-of-two scale.
        PaperTernary = "paper-ternary",
        /// The paper's thresholds (H) with the parameter μ: power-of-two magnitudes.
        SemiAnalytic = "semi-analytic",
        /// Ternary beyond 0.05·max|w|, real scale.
        MaxRule = "max-rule",
        /// Ternary beyond 0.75·mean|w|, real scale: Ternary Weight Networks.
        MeanRule = "mean-rule",
    }
}

named_choice! {
    /// How weights find their level once their scale is known.
    Rounding {
        /// Each the nearest.
        Nearest = "nearest",
        /// What rounding one weight does to the layer's output, the others make good: see [`mod@crate::feedback`].
        Feedback = "feedback",
    }
}

/// How weights are mapped to levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProjectOptions {
    /// Default: per output channel.
    pub granularity: Granularity,
    /// Default: real.
    pub scale_kind: ScaleKind,
    /// Default: optimum.
    pub solver: Solver,
    /// μ of [`Solver::SemiAnalytic`] relative to max|w| of the group; default ¾.
    pub mu: f64,
}

impl Default for ProjectOptions {
    fn default() -> Self {
        ProjectOptions {
            granularity: Granularity::Channel,
            scale_kind: ScaleKind::Real,
            solver: Solver::Optimum,
            mu: 0.75,
        }
    }
}

/// Weights as codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// One code per weight, in the order given.
    pub codes: Vec<u8>,
    /// One, or one per channel; normal, finite, positive.
    pub scales: Vec<f32>,
    /// Affine grids: one per scale, in 0 … 2^bits − 1.
    pub zero_points: Option<Vec<i32>>,
    /// Codes and scales of the points after the first, of the grids that have several.
    pub more: Vec<(Vec<u8>, Vec<f32>)>,
    /// Σ (w − ŵ)².
    pub error: f64,
    /// Σ w².
    pub norm: f64,
}

impl Projection {
    /// ‖w − ŵ‖² / ‖w‖²; 0 for zero weights.
    pub fn relative_error(&self) -> f64 {
        if self.norm > 0.0 {
            self.error / self.norm
        } else {
            0.0
        }
    }
}

/// Why weights cannot be projected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ProjectError {
    #[error("there are no weights")]
    Empty,
    #[error("weight {index} is {value}; every weight must be finite")]
    NonFinite { index: usize, value: f32 },
    #[error("{count} weights do not divide into {channels} output channels")]
    Channels { count: usize, channels: usize },
    #[error("shape {shape:?} with output channels on axis {axis} does not fit {count} weights")]
    Shape {
        shape: Vec<usize>,
        axis: usize,
        count: usize,
    },
    #[error("solver {solver} does not apply to grid {grid}: {why}")]
    Solver {
        solver: Solver,
        grid: Grid,
        why: &'static str,
    },
    #[error("mu is {0}, but must be finite and positive")]
    Mu(f64),
}

/// Projects weights that lie channel after channel: `weights[c·K … (c+1)·K]` belong to output channel c.
///
/// A group of zeros gets scale 1 and zero codes (`binary`, which has no zero: the smallest normal scale). Scales are kept normal f32 numbers with
/// every level finite.
///
/// # Errors
/// No weights, a weight that is not finite (named by index), a solver that does not fit the grid.
///
/// ```
/// let grid = "int4".parse().unwrap();
/// let p = quant::project(&grid, &[7.0, -3.0, 1.0, 0.0, 0.0, 0.0], 2, &Default::default()).unwrap();
/// assert_eq!(p.scales, [1.0, 1.0]);
/// assert_eq!(p.codes, [7, 16 - 3, 1, 0, 0, 0]);
/// ```
pub fn project(
    grid: &Grid,
    weights: &[f32],
    channels: usize,
    options: &ProjectOptions,
) -> Result<Projection, ProjectError> {
    check(grid, weights, channels, options)?;
    if grid.points() > 1 {
        return Ok(several(grid, weights, channels, options));
    }
    let group = match options.granularity {
        Granularity::Tensor => weights.len(),
        Granularity::Channel => weights.len() / channels,
    };
    let groups = weights.len() / group;
    let levels = grid.levels();
    let mut out = Projection {
        codes: Vec::with_capacity(weights.len()),
        scales: Vec::with_capacity(groups),
        zero_points: grid.is_affine().then(|| Vec::with_capacity(groups)),
        more: Vec::new(),
        error: 0.0,
        norm: 0.0,
    };
    for w in weights.chunks(group) {
        let fit = storable(fit_group(grid, w, options), w, grid, options);
        let scale = fit.scale as f32;
        for (&x, &index) in w.iter().zip(&fit.indices) {
            let code = if grid.is_affine() {
                index as u8
            } else {
                grid.code(index)
            };
            let level = levels[usize::from(code)] - fit.zero_point;
            let d = f64::from(x) - f64::from(scale) * f64::from(level);
            out.error += d * d;
            out.norm += f64::from(x) * f64::from(x);
            out.codes.push(code);
        }
        out.scales.push(scale);
        if let Some(zero_points) = &mut out.zero_points {
            zero_points.push(fit.zero_point);
        }
    }
    Ok(out)
}

/// [`project`] to several points a weight.
fn several(grid: &Grid, weights: &[f32], channels: usize, options: &ProjectOptions) -> Projection {
    let group = match options.granularity {
        Granularity::Tensor => weights.len(),
        Granularity::Channel => weights.len() / channels,
    };
    let search = Search::new(grid);
    let mut points = vec![(Vec::with_capacity(weights.len()), Vec::new()); grid.points() as usize];
    let (mut error, mut norm) = (0.0, 0.0);
    // The unit of all points is a normal number, and no sum of theirs leaves the range of f32.
    let (least, most) = (
        f64::from(f32::MIN_POSITIVE) * pow2(24),
        f64::from(f32::MAX) * pow2(-24),
    );
    for w in weights.chunks(group) {
        let found = search.best(w, options);
        let moved = found.scales[0].clamp(least, most) / found.scales[0];
        for ((codes, scales), (scale, indices)) in
            points.iter_mut().zip(found.scales.iter().zip(&found.indices))
        {
            codes.extend(indices.iter().map(|&i| grid.code(i)));
            scales.push((scale * moved) as f32);
        }
        error += found.error;
        norm += w.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    }
    let mut points = points.into_iter();
    let (codes, scales) = points.next().unwrap_or_default();
    Projection {
        codes,
        scales,
        zero_points: None,
        more: points.collect(),
        error,
        norm,
    }
}

/// Projects a weight in ONNX order with its output channels on any axis, into the graph's annotation.
///
/// # Errors
/// As [`project`], and a shape that does not fit.
pub fn project_weight(
    grid: &Grid,
    weights: &[f32],
    shape: &[usize],
    axis: usize,
    options: &ProjectOptions,
) -> Result<(WeightAnnotation, Projection), ProjectError> {
    let wrong = || ProjectError::Shape {
        shape: shape.to_vec(),
        axis,
        count: weights.len(),
    };
    if axis >= shape.len() || tensor::numel(shape).ok() != Some(weights.len()) {
        return Err(wrong());
    }
    if weights.is_empty() {
        return Err(ProjectError::Empty);
    }
    // Position of every weight when channels are outermost.
    let channels = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let order: Vec<usize> = (0..channels)
        .flat_map(|c| (0..outer).flat_map(move |o| (0..inner).map(move |i| (o * channels + c) * inner + i)))
        .collect();
    let gathered: Vec<f32> = order.iter().map(|&i| weights[i]).collect();
    let projection = project(grid, &gathered, channels, options).map_err(|e| match e {
        ProjectError::NonFinite { index, value } => ProjectError::NonFinite {
            index: order[index],
            value,
        },
        other => other,
    })?;
    let point = |(from, scales): (&[u8], &[f32])| {
        let mut codes = vec![0; weights.len()];
        for (&to, &code) in order.iter().zip(from) {
            codes[to] = code;
        }
        Point::whole(codes, scales.to_vec())
    };
    let first = (&projection.codes[..], &projection.scales[..]);
    let more = projection
        .more
        .iter()
        .map(|(codes, scales)| (&codes[..], &scales[..]));
    let annotation = WeightAnnotation {
        grid: grid.to_string(),
        bits: grid.bits(),
        shape: shape.to_vec(),
        axis,
        levels: grid.levels(),
        zero_points: projection.zero_points.clone(),
        points: std::iter::once(first).chain(more).map(point).collect(),
    };
    Ok((annotation, projection))
}

/// # Errors
/// The first weight that is not finite.
pub(crate) fn all_finite(weights: &[f32]) -> Result<(), ProjectError> {
    match weights.iter().position(|w| !w.is_finite()) {
        Some(index) => Err(ProjectError::NonFinite {
            index,
            value: weights[index],
        }),
        None => Ok(()),
    }
}

fn check(
    grid: &Grid,
    weights: &[f32],
    channels: usize,
    options: &ProjectOptions,
) -> Result<(), ProjectError> {
    if weights.is_empty() {
        return Err(ProjectError::Empty);
    }
    if channels == 0 || !weights.len().is_multiple_of(channels) {
        let count = weights.len();
        return Err(ProjectError::Channels { count, channels });
    }
    all_finite(weights)?;
    if !(options.mu.is_finite() && options.mu > 0.0) {
        return Err(ProjectError::Mu(options.mu));
    }
    let solver = options.solver;
    let refuse = |why| {
        Err(ProjectError::Solver {
            solver,
            grid: *grid,
            why,
        })
    };
    match solver {
        Solver::PaperTernary | Solver::SemiAnalytic if grid.points() > 1 => refuse("it has several points"),
        Solver::PaperTernary if grid.pow2_magnitudes() != Some(1) => refuse("its levels are not 0, ±1"),
        Solver::PaperTernary if options.scale_kind == ScaleKind::Real => {
            refuse("the formula gives a power-of-two scale; ask for one")
        }
        Solver::SemiAnalytic if grid.pow2_magnitudes().is_none() || grid.family() == Family::LbwI8 => {
            refuse("its levels are not powers of two")
        }
        Solver::MaxRule | Solver::MeanRule if grid.family() != Family::Ternary || grid.points() > 1 => {
            refuse("it is a rule of one ternary point")
        }
        Solver::MaxRule | Solver::MeanRule if options.scale_kind == ScaleKind::PowerOfTwo => {
            refuse("the rule gives a real scale; ask for one")
        }
        _ => Ok(()),
    }
}

fn fit_group(grid: &Grid, w: &[f32], options: &ProjectOptions) -> Fit {
    let pow2_scale = options.scale_kind == ScaleKind::PowerOfTwo;
    let exponent = |n: u32, found: lbw_optimum::Optimum| Fit {
        // The unit 2^(s + 1 − n) multiplies integer levels 2^(|c| − 1).
        scale: if found.codes.iter().all(|&c| c == 0) {
            1.0
        } else {
            pow2(found.s + 1 - n as i32)
        },
        indices: found.codes,
        zero_point: 0,
    };
    match (grid.pow2_magnitudes(), options.solver) {
        (_, Solver::MaxRule) => return ternary_threshold::solve(w, ternary_threshold::of_max(w)),
        (_, Solver::MeanRule) => return ternary_threshold::solve(w, ternary_threshold::of_mean(w)),
        (Some(_), Solver::PaperTernary) => return exponent(1, lbw_ternary::solve(w)),
        (Some(n), Solver::SemiAnalytic) if pow2_scale => {
            return exponent(n, lbw_semi_analytic::solve(w, n, options.mu));
        }
        (Some(n), Solver::SemiAnalytic) => {
            let top = w.iter().fold(0f32, |m, x| m.max(x.abs()));
            let p = lbw_semi_analytic::partition(w, n, options.mu * f64::from(top));
            return Fit {
                scale: if p.norm > 0.0 {
                    p.dot / p.norm * pow2(1 - n as i32)
                } else {
                    1.0
                },
                indices: p.codes,
                zero_point: 0,
            };
        }
        _ => {}
    }
    match grid.family() {
        Family::Binary => binary::solve(w, pow2_scale),
        Family::Affine => affine::solve(w, grid.bits(), pow2_scale),
        Family::Apot => apot::solve(w, *grid, pow2_scale),
        Family::Ternary | Family::Lbw | Family::Pow2 | Family::LbwI8 if pow2_scale => {
            let n = grid.pow2_magnitudes().unwrap_or(1);
            exponent(n, lbw_optimum::solve(w, n))
        }
        Family::Ternary => ternary::solve(w),
        Family::Lbw | Family::Pow2 => lbw_real::solve(w, grid.pow2_magnitudes().unwrap_or(1)),
        Family::LbwI8 => scale_real::solve(w, &Levels::new(&grid.magnitudes())),
        Family::Int => uniform::solve(w, grid.bits(), pow2_scale),
    }
}

/// Rounds the scale to f32 and keeps it where `scale · level` is a normal, finite f32 for every level; where that moves it, rounds anew.
fn storable(mut fit: Fit, w: &[f32], grid: &Grid, options: &ProjectOptions) -> Fit {
    let top = f64::from(grid.magnitudes().last().copied().unwrap_or(1));
    let most = match options.scale_kind {
        ScaleKind::Real => f64::from(f32::MAX) / top * (1.0 - 1e-7),
        ScaleKind::PowerOfTwo => pow2(127 - crate::methods::floor_log2(top)),
    };
    let scale = fit.scale.clamp(f64::from(f32::MIN_POSITIVE), most);
    let moved = scale != fit.scale;
    fit.scale = f64::from(scale as f32);
    if moved && grid.has_zero() && !grid.is_affine() {
        fit = Fit::nearest(w, &Levels::new(&grid.magnitudes()), fit.scale);
    }
    fit
}
