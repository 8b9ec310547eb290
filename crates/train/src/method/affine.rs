//! Weights as codes that are never negative, with a trained affine map (Wang and Lin, ACM JETC 18(2), 2022; [`quant::affine_map`]).
//!
//! ```text
//! ŵ = s·p + b,   p = rnd( clip((w − b)/s, 0, Q) ),   s = (hi − lo)/Q,   b = −s·Z/2^F next to lo,   Z an integer
//! ∂ŵ/∂w = 1 within the range, else 0;   ∂ŵ/∂lo, ∂ŵ/∂hi as in [`Slopes::of_range`](quant::affine_map::Slopes::of_range)
//! gradients of the ends scaled by g = 1/√(N·Q);   lo, hi start at mean ∓ r·σ,  r = 1.5 (2 bits), 2.8 (4 bits), 6 (8 bits)
//! ```
//! The ends of the range are learned rather than s and b: they have the size of the weights, so that one rate serves both (as of LSQ+). The offset is
//! snapped to 2^−F steps within the forward pass, straight-through: what runs in integers is what was trained. Levels 2^F·p − Z then span b + F bits: with
//! b + F ≤ 7 they are one plane of signed bytes, and Sq is summed with them. F also says how finely biases are rounded in the file, s_x·s/2^F.

use graph::{Point, WeightAnnotation};
use quant::affine_map::AffineMap;
use quant::grid::Grid;
use quant::{Granularity, ProjectError};

use super::learned_grid::{LearnedGrid, check_finite};
use super::{Layout, Learned, Progress, WeightMethod};

/// Largest b + F: levels stay within 16 bits.
pub const MOST_LEVEL_BITS: u32 = 16;

/// Weights of `affine2` … `affine8` with learned ranges.
#[derive(Debug, Clone)]
pub struct Affine {
    /// Learns lo of every group, then hi of every group.
    inner: LearnedGrid,
    fraction: u32,
}

impl Affine {
    /// Method of one weight of `bits` 2 … 8 whose levels span `level_bits` bits: F is what is left for offsets, 0 where nothing is.
    ///
    /// # Panics
    /// When `bits` is not 2 … 8 or `level_bits` is above [`MOST_LEVEL_BITS`].
    pub fn new(bits: u32, level_bits: u32, granularity: Granularity, layout: Layout) -> Self {
        assert!(level_bits <= MOST_LEVEL_BITS, "levels stay within 16 bits");
        let grid: Grid = format!("affine{bits}").parse().expect("bits are 2 to 8");
        Affine {
            inner: LearnedGrid::new(grid, granularity, layout),
            fraction: level_bits.saturating_sub(bits),
        }
    }

    fn initialize(&mut self, shadow: &[f32]) {
        let groups = self.inner.groups();
        let mut sums = vec![[0f64; 3]; groups];
        for (i, &w) in shadow.iter().enumerate() {
            let w = f64::from(w);
            let sum = &mut sums[self.inner.group(i)];
            *sum = [sum[0] + 1.0, sum[1] + w, sum[2] + w * w];
        }
        let reach = match self.inner.grid.bits() {
            2 => 1.5,
            3 => 2.1,
            4 => 2.8,
            5 => 3.6,
            6 => 4.4,
            7 => 5.2,
            _ => 6.0,
        };
        let end = |sum: &[f64; 3], side: f64| {
            let mean = sum[1] / sum[0].max(1.0);
            let deviation = (sum[2] / sum[0].max(1.0) - mean * mean).max(0.0).sqrt();
            (mean + side * reach * deviation.max(1e-6)) as f32
        };
        let low = sums.iter().map(|s| end(s, -1.0));
        let high = sums.iter().map(|s| end(s, 1.0));
        self.inner.start(low.chain(high).collect());
    }

    /// Z and the map of each group.
    fn maps(&self) -> Vec<(i32, AffineMap)> {
        let (low, high) = self.inner.values.split_at(self.inner.groups());
        let bits = self.inner.grid.bits();
        let map = |(&low, &high): (&f32, &f32)| {
            let mut map = AffineMap::of_range(f64::from(low), f64::from(high), bits);
            // The scale that is stored.
            map.scale = f64::from((map.scale / self.parts()) as f32) * self.parts();
            map.snapped(self.fraction)
        };
        low.iter().zip(high).map(map).collect()
    }

    /// 2^F.
    fn parts(&self) -> f64 {
        f64::from(1u32 << self.fraction)
    }
}

impl WeightMethod for Affine {
    fn project(
        &mut self,
        shadow: &[f32],
        _progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        check_finite(shadow)?;
        if self.inner.values.is_empty() {
            self.initialize(shadow);
        }
        let groups = self.inner.groups();
        for g in 0..groups {
            let (low, high) = (self.inner.values[g], self.inner.values[groups + g]);
            if let Some(&value) = [low, high].iter().find(|v| !v.is_finite()) {
                return Err(ProjectError::NonFinite { index: g, value });
            }
            // An empty range has no steps.
            self.inner.values[groups + g] = high.max(low + 1e-6 * self.inner.grid.bits() as f32);
        }
        let maps = self.maps();
        self.inner.codes = (shadow.iter().enumerate())
            .map(|(i, &w)| maps[self.inner.group(i)].1.code(f64::from(w)))
            .collect();
        projected.copy_from_slice(&self.annotation().expect("there are codes now").decode());
        Ok(())
    }

    fn gradient(&mut self, shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        let (maps, groups) = (self.maps(), self.inner.groups());
        let mut sums = vec![0f64; 2 * groups];
        for (i, (&w, g)) in shadow.iter().zip(gradient.iter_mut()).enumerate() {
            let group = self.inner.group(i);
            let map = &maps[group].1;
            let slopes = map.slopes(f64::from(w));
            let (low, high) = slopes.of_range(map.top());
            sums[group] += f64::from(*g) * low;
            sums[groups + group] += f64::from(*g) * high;
            *g *= slopes.x as f32;
        }
        let each = (shadow.len() / groups.max(1)).max(1) as f64;
        let scale = 1.0 / (each * f64::from((1u32 << self.inner.grid.bits()) - 1)).sqrt();
        for (out, sum) in self.inner.gradients.iter_mut().zip(sums) {
            *out = (sum * scale) as f32;
        }
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        self.inner.learned("range")
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        let inner = &self.inner;
        if inner.codes.is_empty() {
            return None;
        }
        let maps = self.maps();
        let scales = maps.iter().map(|m| (m.1.scale / self.parts()) as f32).collect();
        Some(WeightAnnotation {
            grid: inner.grid.to_string(),
            bits: inner.grid.bits(),
            shape: inner.layout.shape.clone(),
            axis: inner.layout.axis,
            levels: (0..1 << inner.grid.bits())
                .map(|p: i32| p << self.fraction)
                .collect(),
            zero_points: Some(maps.iter().map(|m| m.0).collect()),
            points: vec![Point::whole(inner.codes.clone(), scales)],
        })
    }

    fn state(&self) -> Vec<f32> {
        self.inner.values.clone()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        if !state.is_empty() && state.len() != 2 * self.inner.groups() {
            return false;
        }
        self.inner.start(state.to_vec());
        true
    }
}
