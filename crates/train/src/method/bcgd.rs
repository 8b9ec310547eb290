//! Blended coarse gradient descent (Yin, Zhang, Lyu, Osher, Qi, Xin, arXiv 1808.05240, §3): the weights' half. The activations' is
//! [`activation`](super::activation).
//!
//! ```text
//! w ← proj(w_f)                               w = δ·q, δ > 0 free per group
//! g ← coarse gradient at w
//! w_f ← (1 − ρ)·w_f + ρ·w − η·momentum( g + λ·w_f )
//! ```
//! ρ = 0 is BinaryConnect, ρ = 1 projected gradient descent. With an exact projection, exact gradients and η ≤ ρ/L the loss never rises; the
//! published ρ = 1e-5 is far from that and acts as a slow pull of w_f towards w.
//!
//! Quantizers of one group, N weights:
//!
//! | bits | exact | as published |
//! |---|---|---|
//! | 1 | δ = ‖w‖₁/N, q = sign(w), sign(0) = +1 | the same |
//! | 2 | keep the k largest, k = argmax S_k²/k, δ = S_k/k | keep \|w\| ≥ 0.7·‖w‖₁/N, δ their mean (TWN) |
//! | ≥ 3 | δ of least error over all scales, levels 0 … ±(2^(b−1) − 1) | δ₀ = 2·max\|w\|/(2^b − 1), q = round(\|w\|/δ₀) half down, clamped; δ = ⟨q, w⟩/⟨q, q⟩ |
//!
//! The descent property needs the exact ones. (The authors' public code divides the kept weights' sum by N instead of their number; that is
//! not the least-squares scale and not offered.)

use graph::{Point, WeightAnnotation};
use quant::grid::Grid;
use quant::{Granularity, ProjectError, ProjectOptions, ScaleKind};

use super::grid_projection::GridProjection;
use super::{Layout, Progress, WeightMethod};

/// Which quantizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantizer {
    /// Least error.
    Exact,
    /// The one-pass heuristics of the paper's experiments.
    Published,
}

/// Blending with the weight quantizers of BCGD.
#[derive(Debug, Clone)]
pub struct Bcgd {
    projection: GridProjection,
    quantizer: Quantizer,
    granularity: Granularity,
    layout: Layout,
    rho: f32,
    published: Option<WeightAnnotation>,
}

impl Bcgd {
    /// Method of one weight of `bits` 1 … 8, blending with `rho` 0 … 1 (published: 1e-5).
    ///
    /// # Panics
    /// When `bits` is not 1 … 8.
    pub fn new(
        bits: u32,
        quantizer: Quantizer,
        granularity: Granularity,
        rho: f32,
        layout: Layout,
        every: u64,
    ) -> Self {
        let options = ProjectOptions {
            granularity,
            scale_kind: ScaleKind::Real,
            ..ProjectOptions::default()
        };
        Bcgd {
            projection: GridProjection::new(grid(bits), options, layout.clone(), every),
            quantizer,
            granularity,
            layout,
            rho,
            published: None,
        }
    }
}

/// `binary`, `ternary`, `int3` …
fn grid(bits: u32) -> Grid {
    let name = match bits {
        1 => "binary".to_string(),
        2 => "ternary".to_string(),
        b => format!("int{b}"),
    };
    name.parse().expect("bits are 1 to 8")
}

impl WeightMethod for Bcgd {
    fn project(
        &mut self,
        shadow: &[f32],
        progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        let grid = self.projection.grid();
        if self.quantizer == Quantizer::Exact || grid.bits() == 1 {
            return self.projection.project(shadow, progress, projected);
        }
        if let Some(index) = shadow.iter().position(|w| !w.is_finite()) {
            let value = shadow[index];
            return Err(ProjectError::NonFinite { index, value });
        }
        let groups = match self.granularity {
            Granularity::Tensor => 1,
            Granularity::Channel => self.layout.shape[self.layout.axis],
        };
        let group = |i: usize| if groups == 1 { 0 } else { self.layout.channel(i) };
        let mut members = vec![Vec::with_capacity(shadow.len() / groups.max(1)); groups];
        for (i, &w) in shadow.iter().enumerate() {
            members[group(i)].push(w);
        }
        let mut indices: Vec<std::vec::IntoIter<i32>> = Vec::with_capacity(groups);
        let mut scales = Vec::with_capacity(groups);
        for w in &members {
            let (delta, q) = match grid.bits() {
                2 => twn(w),
                bits => one_pass(w, bits),
            };
            scales.push((delta as f32).max(f32::MIN_POSITIVE));
            indices.push(q.into_iter());
        }
        let next = |i: usize| indices[group(i)].next().unwrap_or(0);
        let codes = (0..shadow.len()).map(next).map(|q| grid.code(q)).collect();
        let annotation = WeightAnnotation {
            grid: grid.to_string(),
            bits: grid.bits(),
            shape: self.layout.shape.clone(),
            axis: self.layout.axis,
            levels: grid.levels(),
            zero_points: None,
            points: vec![Point::whole(codes, scales)],
        };
        projected.copy_from_slice(&annotation.decode());
        self.published = Some(annotation);
        Ok(())
    }

    fn before_update(&mut self, shadow: &mut [f32], projected: &[f32]) {
        blend(shadow, projected, self.rho);
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        self.published.clone().or_else(|| self.projection.annotation())
    }

    fn state(&self) -> Vec<f32> {
        self.projection.state()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        self.projection.restore(state)
    }
}

/// w_f ← (1 − ρ)·w_f + ρ·w, written w_f + ρ·(w − w_f): at ρ = 1e-5 the factor 1 − ρ would be rounded.
pub fn blend(shadow: &mut [f32], projected: &[f32], rho: f32) {
    for (s, &p) in shadow.iter_mut().zip(projected) {
        *s += rho * (p - *s);
    }
}

/// Ternary weights by the threshold 0.7·mean|w| (Li, Zhang, Liu, arXiv 1605.04711, eq. 6): δ and q. All zero: δ = 1.
///
/// ```
/// let (delta, q) = train::method::bcgd::twn(&[2.0, -1.0, 0.2, 0.1]);
/// assert_eq!((delta, q), (1.5, vec![1, -1, 0, 0]));
/// ```
pub fn twn(w: &[f32]) -> (f64, Vec<i32>) {
    let mean = w.iter().map(|x| f64::from(x.abs())).sum::<f64>() / w.len().max(1) as f64;
    let keep = |x: &f32| *x != 0.0 && f64::from(x.abs()) >= 0.7 * mean;
    let kept: Vec<f64> = w.iter().filter(|x| keep(x)).map(|x| f64::from(x.abs())).collect();
    let delta = if kept.is_empty() {
        1.0
    } else {
        kept.iter().sum::<f64>() / kept.len() as f64
    };
    let q = w.iter().map(|x| if keep(x) { x.signum() as i32 } else { 0 });
    (delta, q.collect())
}

/// Uniform weights by one pass from the largest weight: δ and q of `bits` ≥ 3. All zero: δ = 1.
///
/// ```
/// let (delta, q) = train::method::bcgd::one_pass(&[3.5, -1.0, 0.2], 3);
/// // δ₀ = 1, q = (3, −1, 0), δ = (10.5 + 1)/10
/// assert_eq!(q, [3, -1, 0]);
/// assert!((delta - 1.15).abs() < 1e-12);
/// ```
pub fn one_pass(w: &[f32], bits: u32) -> (f64, Vec<i32>) {
    let top = f64::from(w.iter().fold(0f32, |m, x| m.max(x.abs())));
    if top == 0.0 {
        return (1.0, vec![0; w.len()]);
    }
    let first = 2.0 * top / f64::from((1u32 << bits) - 1);
    let most = f64::from((1u32 << (bits - 1)) - 1);
    let level = |x: &f32| {
        // Half down: ⌈x − ½⌉.
        let q = (f64::from(x.abs()) / first - 0.5).ceil().min(most).max(0.0);
        if *x < 0.0 { -q } else { q }
    };
    let q: Vec<f64> = w.iter().map(level).collect();
    let dot: f64 = q.iter().zip(w).map(|(q, &x)| q * f64::from(x)).sum();
    let norm: f64 = q.iter().map(|q| q * q).sum();
    (dot / norm, q.iter().map(|&q| q as i32).collect())
}
