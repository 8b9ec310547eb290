//! Outputs with anchors: where their numbers lie, and the boxes they mean.

use tasks::detect::AnchorHead;
use tensor::math::{exp, sigmoid};

use super::{LossError, Output, Target, ciou, find};

/// What the four raw numbers of a box mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// cx = (σ(t)·s − (s − 1)/2 + cell)·stride, w = e^t·anchor.
    V3,
    /// cx = (2σ(t) − 0.5 + cell)·stride, w = (2σ(t))²·anchor.
    V5,
}

/// One output `[N, anchors·(5 + classes), h, w]` with its head. A prediction is (picture, anchor, cell).
pub(super) struct Grid<'a> {
    pub(super) head: &'a AnchorHead,
    rule: Rule,
    pub(super) output: usize,
    pub(super) values: &'a [f32],
    per_anchor: usize,
    pub(super) batch: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A predicted box and what its four raw numbers move: ∂cx/∂tx, ∂cy/∂ty, ∂w/∂tw, ∂h/∂th.
pub(super) struct Predicted {
    pub(super) corners: [f64; 4],
    slopes: [f64; 4],
}

/// The outputs of a head.
pub(super) fn grids<'a>(
    heads: &'a [AnchorHead],
    classes: usize,
    rule: Rule,
    outputs: &[Output<'a>],
) -> Result<Vec<Grid<'a>>, LossError> {
    let per_anchor = 5 + classes;
    let grid = |head: &'a AnchorHead| {
        let channels = head.anchors.len() * per_anchor;
        let output = find(outputs, &head.output, &[None, Some(channels), None, None])?;
        let shape = outputs[output].shape;
        Ok(Grid {
            head,
            rule,
            output,
            values: outputs[output].values,
            per_anchor,
            batch: shape[0],
            rows: shape[2],
            columns: shape[3],
        })
    };
    heads.iter().map(grid).collect()
}

impl Grid<'_> {
    pub(super) fn cells(&self) -> usize {
        self.rows * self.columns
    }

    pub(super) fn predictions(&self) -> usize {
        self.batch * self.head.anchors.len() * self.cells()
    }

    pub(super) fn of_picture(&self, picture: usize) -> std::ops::Range<usize> {
        let each = self.predictions() / self.batch.max(1);
        picture * each..(picture + 1) * each
    }

    /// Position of a channel of a prediction in the output.
    pub(super) fn at(&self, index: usize, channel: usize) -> usize {
        let cells = self.cells();
        (index / cells * self.per_anchor + channel) * cells + index % cells
    }

    pub(super) fn predicted(&self, index: usize) -> Predicted {
        let (cell, anchor) = (
            index % self.cells(),
            index / self.cells() % self.head.anchors.len(),
        );
        let raw = |channel: usize| self.values[self.at(index, channel)];
        let stride = f64::from(self.head.stride);
        let s = match self.rule {
            Rule::V3 => self.head.scale_xy,
            Rule::V5 => 2.0,
        };
        let [sx, sy] = [raw(0), raw(1)].map(|t| f64::from(sigmoid(t)));
        let place = |sigma: f64, at: usize| (sigma * s - (s - 1.0) / 2.0 + at as f64) * stride;
        let (cx, cy) = (place(sx, cell % self.columns), place(sy, cell / self.columns));
        // Size, and its derivative.
        let side = |t: f32, anchor: f32| match self.rule {
            Rule::V3 => {
                let w = f64::from(exp(t.clamp(-20.0, 20.0))) * f64::from(anchor);
                (w, w)
            }
            Rule::V5 => {
                let sigma = f64::from(sigmoid(t));
                let w = 4.0 * sigma * sigma * f64::from(anchor);
                (w, 2.0 * w * (1.0 - sigma))
            }
        };
        let [aw, ah] = self.head.anchors[anchor];
        let ((w, dw), (h, dh)) = (side(raw(2), aw), side(raw(3), ah));
        let centre = |sigma: f64| sigma * (1.0 - sigma) * s * stride;
        Predicted {
            corners: [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0],
            slopes: [centre(sx), centre(sy), dw, dh],
        }
    }

    /// Row-major cell of a point, brought into the grid.
    pub(super) fn cell_of(&self, x: f64, y: f64) -> usize {
        let along =
            |v: f64, n: usize| ((v / f64::from(self.head.stride)).floor().max(0.0) as usize).min(n - 1);
        along(y, self.rows) * self.columns + along(x, self.columns)
    }

    /// 1 − CIoU times its gain; writes the gradient of the four raw numbers.
    pub(super) fn box_loss(&self, index: usize, target: &Target, gain: f64, gradient: &mut [f32]) -> f64 {
        let predicted = self.predicted(index);
        let (value, d) = ciou(predicted.corners, target.corners.map(f64::from));
        // The centre moves both corners; the size parts them by half each.
        let by = [d[0] + d[2], d[1] + d[3], (d[2] - d[0]) / 2.0, (d[3] - d[1]) / 2.0];
        for (k, by) in by.iter().enumerate() {
            gradient[self.at(index, k)] = (gain * by * predicted.slopes[k]) as f32;
        }
        value * gain
    }
}
