//! Sums over the inputs of a layer: all that fitting its weights needs.

/// Added to the diagonal of H, relative to its mean: directions that few inputs point to are not believed.
const DAMPING: f64 = 0.01;

/// Inputs that are handed over at a time.
const BLOCK: usize = 4096;

/// `Σ_r a[r][i] b[r][k]` as `[i][k]`, for `[rows, columns of a, columns of b]`: the products that take the time, by whoever has fast kernels.
pub type Product<'a> = &'a (dyn Fn([usize; 3], &[f32], &[f32]) -> Vec<f32> + Sync);

/// A [`Product`] for small sizes.
pub fn product([rows, m, n]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut out = vec![0f64; m * n];
    for r in 0..rows {
        let b = &b[r * n..(r + 1) * n];
        for (a, out) in a[r * m..(r + 1) * m].iter().zip(out.chunks_exact_mut(n.max(1))) {
            let a = f64::from(*a);
            out.iter_mut().zip(b).for_each(|(o, b)| *o += a * f64::from(*b));
        }
    }
    out.into_iter().map(|x| x as f32).collect()
}

/// H = Σ x xᵀ over the inputs x of one group of a layer, and Σ x (wᵀ(y − x)) for each of its output channels w, y the same input in the float
/// network: what errors that are in the input already do to the output.
#[derive(Debug, Clone)]
pub struct Moments {
    pub(super) dim: usize,
    pub(super) channels: usize,
    /// Row-major, the upper triangle.
    pub(super) squares: Vec<f64>,
    /// One row of `dim` for each channel, by [`Moments::weighted`].
    pub(super) cross: Vec<f64>,
    /// Σ x (y − x)ᵀ, until then.
    drift: Vec<f64>,
    /// The means that [`Moments::centre`] took away.
    means: Vec<f64>,
    /// Σ x, Σ (y − x), Σ wᵀ(y − x), and their number.
    totals: Vec<f64>,
    gaps: Vec<f64>,
    missing: Vec<f64>,
    count: usize,
}

impl Moments {
    /// For inputs of `dim` numbers (kernel size × channels of the group) and so many output channels of the group.
    pub fn new(dim: usize, channels: usize) -> Self {
        Moments {
            dim,
            channels,
            squares: vec![0.0; dim * dim],
            cross: vec![0.0; channels * dim],
            drift: vec![0.0; dim * dim],
            means: vec![0.0; dim],
            totals: vec![0.0; dim],
            gaps: vec![0.0; dim],
            missing: vec![0.0; channels],
            count: 0,
        }
    }

    /// Bytes of one of them, if that is a number.
    pub fn bytes(dim: usize, channels: usize) -> Option<usize> {
        dim.checked_mul(2)?
            .checked_add(channels)?
            .checked_mul(dim)?
            .checked_mul(size_of::<f64>())
    }

    /// Adds inputs that lie one after the other, and the same of the float network. What is left behind the last whole input is ignored.
    pub fn add(&mut self, inputs: &[f32], float: &[f32], product: Product<'_>) {
        let block = BLOCK * self.dim.max(1);
        for (inputs, float) in inputs.chunks(block).zip(float.chunks(block)) {
            self.add_block(inputs, float, product);
        }
    }

    fn add_block(&mut self, inputs: &[f32], float: &[f32], product: Product<'_>) {
        let d = self.dim;
        let rows = inputs.len().min(float.len()) / d.max(1);
        if rows == 0 {
            return;
        }
        let (inputs, float) = (&inputs[..rows * d], &float[..rows * d]);
        let gaps: Vec<f32> = float.iter().zip(inputs).map(|(y, x)| y - x).collect();
        self.count += rows;
        for (x, gap) in inputs.chunks_exact(d).zip(gaps.chunks_exact(d)) {
            let add =
                |sums: &mut [f64], x: &[f32]| sums.iter_mut().zip(x).for_each(|(s, x)| *s += f64::from(*x));
            add(&mut self.totals, x);
            add(&mut self.gaps, gap);
        }
        let squares = product([rows, d, d], inputs, inputs);
        for (i, (sums, more)) in self
            .squares
            .chunks_exact_mut(d)
            .zip(squares.chunks_exact(d))
            .enumerate()
        {
            sums[i..]
                .iter_mut()
                .zip(&more[i..])
                .for_each(|(s, x)| *s += f64::from(*x));
        }
        if gaps.iter().any(|g| *g != 0.0) {
            let drift = product([rows, d, d], inputs, &gaps);
            self.drift
                .iter_mut()
                .zip(drift)
                .for_each(|(s, x)| *s += f64::from(x));
        }
    }

    /// What the errors do to the outputs of these weights, one row of `dim` for each channel; all inputs are there, and are not centred.
    pub fn weighted(&mut self, weights: &[f32], product: Product<'_>) {
        let (d, channels) = (self.dim, self.channels);
        if weights.len() != d * channels || d == 0 {
            return;
        }
        let turned = |rows: usize, columns: usize, of: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
            (0..rows * columns)
                .map(|i| of(i / columns, i % columns))
                .collect()
        };
        let by_input = turned(d, channels, &|k, c| weights[c * d + k]);
        let drift = turned(d, d, &|k, i| self.drift[i * d + k] as f32);
        let cross = product([d, channels, d], &by_input, &drift);
        self.cross
            .iter_mut()
            .zip(cross)
            .for_each(|(s, x)| *s = f64::from(x));
        for (missing, w) in self.missing.iter_mut().zip(weights.chunks_exact(d)) {
            *missing = w.iter().zip(&self.gaps).map(|(w, gap)| f64::from(*w) * gap).sum();
        }
        self.drift = Vec::new();
    }

    /// The sums of both, which have met their weights.
    #[must_use]
    pub fn plus(mut self, other: &Moments) -> Self {
        let share = other.count as f64 / (self.count + other.count).max(1) as f64;
        for (mean, theirs) in self.means.iter_mut().zip(&other.means) {
            *mean += share * (theirs - *mean);
        }
        let pairs = [
            (&mut self.squares, &other.squares),
            (&mut self.cross, &other.cross),
            (&mut self.totals, &other.totals),
            (&mut self.missing, &other.missing),
        ];
        for (mine, theirs) in pairs {
            mine.iter_mut().zip(theirs).for_each(|(x, y)| *x += y);
        }
        self.count += other.count;
        self
    }

    /// Σ (x − x̄)(x − x̄)ᵀ and the like: the sums of a layer whose bias is fitted afterwards, which takes the mean of the error away whatever
    /// the codes are.
    pub fn centre(&mut self) {
        let (d, count) = (self.dim, self.count.max(1) as f64);
        for (i, a) in self.totals.iter().enumerate() {
            for (j, b) in self.totals.iter().enumerate().skip(i) {
                self.squares[i * d + j] -= a * b / count;
            }
            // Inputs that never change: nothing but rounding is left.
            self.squares[i * d + i] = self.squares[i * d + i].max(0.0);
            for (c, b) in self.missing.iter().enumerate() {
                self.cross[c * d + i] -= a * b / count;
            }
        }
        for (mean, total) in self.means.iter_mut().zip(&mut self.totals) {
            *mean += std::mem::take(total) / count;
        }
        self.missing.fill(0.0);
    }

    /// The means that were taken away: zeros before [`Moments::centre`].
    pub(super) fn means(&self) -> &[f64] {
        &self.means
    }

    /// Σ x_i².
    pub(super) fn energy(&self, i: usize) -> f64 {
        self.squares[i * self.dim + i]
    }

    /// H in the order given, with a share of its mean diagonal added to the diagonal.
    pub(super) fn ordered(&self, order: &[usize], damping: f64) -> Vec<f64> {
        let d = self.dim;
        let damp = self.damp(damping);
        let mut h = vec![0.0; d * d];
        for (i, &a) in order.iter().enumerate() {
            for (j, &b) in order.iter().enumerate().skip(i) {
                h[i * d + j] = self.squares[a.min(b) * d + a.max(b)];
            }
            h[i * d + i] += damp;
        }
        h
    }

    /// H, damped, all of it.
    pub(super) fn into_damped(mut self) -> Vec<f64> {
        let d = self.dim;
        let damp = self.damp(DAMPING);
        for i in 0..d {
            self.squares[i * d + i] += damp;
            for j in 0..i {
                self.squares[i * d + j] = self.squares[j * d + i];
            }
        }
        self.squares
    }

    /// What is added to the diagonal: a share of its mean.
    fn damp(&self, share: f64) -> f64 {
        let mean = (0..self.dim).map(|i| self.energy(i)).sum::<f64>() / self.dim as f64;
        if mean > 0.0 { share * mean } else { 1.0 }
    }

    /// R with H = RᵀR, H damped and in the order given.
    pub(super) fn root(&self, order: &[usize]) -> Option<Vec<f64>> {
        cholesky(self.ordered(order, DAMPING), self.dim)
    }
}

/// Rows of a root that are found before the rows below take them into account: each of those is then read once for all of them.
const PANEL: usize = 32;

/// R with H = RᵀR from the upper triangle of H, in place; `None` where H is not positive definite.
pub(super) fn cholesky(mut h: Vec<f64>, d: usize) -> Option<Vec<f64>> {
    let subtract = |row: &mut [f64], j: usize, pivot_row: &[f64]| {
        let factor = pivot_row[j];
        if factor != 0.0 {
            for (x, y) in row[j..].iter_mut().zip(&pivot_row[j..]) {
                *x -= factor * y;
            }
        }
    };
    for start in (0..d).step_by(PANEL) {
        let end = d.min(start + PANEL);
        let (done, below) = h.split_at_mut(end * d);
        let panel = &mut done[start * d..];
        for i in start..end {
            let (upper, rest) = panel.split_at_mut((i - start + 1) * d);
            let row = &mut upper[(i - start) * d..];
            let pivot = row[i].sqrt();
            if !(pivot.is_finite() && pivot > 0.0) {
                return None;
            }
            for x in &mut row[i..] {
                *x /= pivot;
            }
            for (j, other) in (i + 1..).zip(rest.chunks_exact_mut(d)) {
                subtract(other, j, row);
            }
        }
        for (j, row) in (end..).zip(below.chunks_exact_mut(d)) {
            for pivot_row in panel.chunks_exact(d) {
                subtract(row, j, pivot_row);
            }
        }
    }
    Some(h)
}

/// x with RᵀR x = b, in place.
pub(super) fn solve(root: &[f64], b: &mut [f64]) {
    let d = b.len();
    for i in 0..d {
        b[i] /= root[i * d + i];
        let done = b[i];
        let (_, rest) = b.split_at_mut(i + 1);
        for (x, r) in rest.iter_mut().zip(&root[i * d + i + 1..(i + 1) * d]) {
            *x -= r * done;
        }
    }
    for i in (0..d).rev() {
        let row = &root[i * d + i + 1..(i + 1) * d];
        let carried: f64 = row.iter().zip(&b[i + 1..]).map(|(r, x)| r * x).sum();
        b[i] = (b[i] - carried) / root[i * d + i];
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs;
    use super::*;

    #[test]
    fn the_root_gives_the_moments_back_and_solves() {
        let x = inputs(7, 50, 5);
        let mut moments = Moments::new(5, 1);
        moments.add(&x, &x, &product);
        moments.weighted(&[1.0; 5], &product);
        assert!(moments.cross.iter().all(|c| *c == 0.0));
        let order = [0, 1, 2, 3, 4];
        let h = moments.ordered(&order, DAMPING);
        let r = moments.root(&order).unwrap();
        let mut b: Vec<f64> = vec![1.0, -2.0, 0.5, 3.0, 0.0];
        let want = b.clone();
        solve(&r, &mut b);
        for i in 0..5 {
            for j in i..5 {
                let product: f64 = (0..=i).map(|k| r[k * 5 + i] * r[k * 5 + j]).sum();
                assert!((product - h[i * 5 + j]).abs() < 1e-9 * h[0]);
            }
            let row: f64 = (0..5).map(|j| h[i.min(j) * 5 + i.max(j)] * b[j]).sum();
            assert!((row - want[i]).abs() < 1e-9);
        }
        assert!(cholesky(vec![-1.0], 1).is_none());
    }

    #[test]
    fn a_root_of_several_panels_gives_the_matrix_back() {
        let dim = 2 * PANEL + 7;
        let x = inputs(3, 4 * dim, dim);
        let mut moments = Moments::new(dim, 1);
        moments.add(&x, &x, &product);
        let order: Vec<usize> = (0..dim).rev().collect();
        let h = moments.ordered(&order, DAMPING);
        let r = moments.root(&order).unwrap();
        for i in 0..dim {
            for j in i..dim {
                let product: f64 = (0..=i).map(|k| r[k * dim + i] * r[k * dim + j]).sum();
                assert!((product - h[i * dim + j]).abs() < 1e-9 * h[0], "{i} {j}");
            }
        }
    }

    #[test]
    fn halves_add_up_to_the_whole() {
        let (x, y, w) = (
            inputs(1, 300, 4),
            inputs(2, 300, 4),
            [0.5, -1.0, 2.0, 0.25, 1.0, 1.0, 0.0, -3.0],
        );
        let sums = |from: usize, to: usize| {
            let mut m = Moments::new(4, 2);
            m.add(&x[from * 4..to * 4], &y[from * 4..to * 4], &product);
            m.weighted(&w, &product);
            m
        };
        let (mut whole, mut halves) = (sums(0, 300), sums(0, 100).plus(&sums(100, 300)));
        whole.centre();
        halves.centre();
        for (a, b) in [(&whole.squares, &halves.squares), (&whole.cross, &halves.cross)] {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3));
        }
        // By definition, for the second channel and the third input.
        let mean = |of: &dyn Fn(usize) -> f64| (0..300).map(of).sum::<f64>() / 300.0;
        let missing = |r: usize| {
            (0..4)
                .map(|i| f64::from(w[4 + i] * (y[r * 4 + i] - x[r * 4 + i])))
                .sum::<f64>()
        };
        let input = |r: usize| f64::from(x[r * 4 + 2]);
        let want = 300.0 * (mean(&|r| input(r) * missing(r)) - mean(&input) * mean(&missing));
        assert!((whole.cross[4 + 2] - want).abs() < 1e-3);
    }

    #[test]
    fn inputs_that_never_change_have_no_spread() {
        let mut moments = Moments::new(3, 1);
        let x = [0.1, 7.3, -5.0].repeat(1000);
        moments.add(&x, &x, &product);
        moments.centre();
        assert!(moments.squares.iter().all(|s| s.abs() < 1e-2));
        assert!((0..3).all(|i| moments.energy(i) >= 0.0));
    }
}
