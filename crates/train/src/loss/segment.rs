//! Segmentation: cross-entropy of every voxel and soft dice of every class but the background.
//!
//! ```text
//! ℓ = −mean_v ln P_v[g_v]  +  1 − mean_c D_c,   P = softmax(z),   D_c = (2·ΣP_c·G_c + 1) / (ΣP_c + ΣG_c + 1)      sums over all voxels of the batch
//! ∂D/∂P_i = [2·G_i·(ΣP + ΣG + 1) − (2ΣPG + 1)] / (ΣP + ΣG + 1)²
//! ```
//! Soft dice: Milletari, Navab, Ahmadi, "V-Net", arXiv 1606.04797, with plain sums in the denominator; the 1 keeps a class that a batch has not.

use super::{LossError, LossParts, Output, clear, find};
use crate::exchange::Ranks;

/// The loss of logits `[N, classes, D, H, W]` against a label for each voxel.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Name of the logits.
    pub output: String,
    /// Classes, the background first.
    pub classes: usize,
}

/// D of sums Σ P·G, Σ P and Σ G with `smooth` added above and below, and its derivative by one P where G is 0 and where it is 1.
///
/// ```
/// let (dice, [zero, one]) = train::loss::segment::soft_dice(1.0, 2.0, 2.0, 0.0);
/// assert_eq!((dice, zero, one), (0.5, -0.125, 0.375));
/// ```
pub fn soft_dice(both: f64, predicted: f64, truth: f64, smooth: f64) -> (f64, [f64; 2]) {
    let (above, below) = (2.0 * both + smooth, predicted + truth + smooth);
    let slope = |g: f64| (2.0 * g * below - above) / (below * below);
    (above / below, [slope(0.0), slope(1.0)])
}

impl Segment {
    /// This rank's part of the loss; `labels` are N·D·H·W classes in the order of the voxels.
    ///
    /// # Errors
    /// Outputs that are not those of the head, labels of another number or of classes that do not exist.
    pub fn evaluate(
        &self,
        outputs: &[Output],
        labels: &[u8],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        clear(outputs, gradients);
        let classes = self.classes;
        let index = find(outputs, &self.output, &[None, Some(classes), None, None, None])?;
        let output = &outputs[index];
        let voxels: usize = output.shape[2..].iter().product();
        if labels.len() != output.shape[0] * voxels {
            return Err(LossError::Pictures {
                have: labels.len() / voxels.max(1),
                want: output.shape[0],
            });
        }
        if let Some(at) = labels.iter().position(|&l| usize::from(l) >= classes) {
            return Err(LossError::Class {
                picture: at / voxels,
                class: usize::from(labels[at]),
                classes,
            });
        }
        // Probabilities, [voxel of the batch][class].
        let mut p = vec![0f64; labels.len() * classes];
        let mut entropy = 0.0;
        // Σ P·G, Σ P, Σ G of each class.
        let mut sums = vec![0f64; 3 * classes];
        for (i, (&label, p)) in labels.iter().zip(p.chunks_mut(classes)).enumerate() {
            let first = i / voxels * classes * voxels + i % voxels;
            for (c, p) in p.iter_mut().enumerate() {
                *p = f64::from(output.values[first + c * voxels]);
            }
            let most = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            p.iter_mut().for_each(|p| *p = libm::exp(*p - most));
            let sum: f64 = p.iter().sum();
            p.iter_mut().for_each(|p| *p /= sum);
            let g = usize::from(label);
            entropy -= libm::log(p[g].max(f64::MIN_POSITIVE));
            for (c, &p) in p.iter().enumerate() {
                sums[3 * c + 1] += p;
            }
            sums[3 * g] += p[g];
            sums[3 * g + 2] += 1.0;
        }
        ranks.sum_wide(&mut sums)?;
        let share = 1.0 / ranks.total(labels.len() as f64)?.max(1.0);
        let counted = (classes - 1).max(1) as f64;
        // −∂ℓ/∂P of each class but the background, where the voxel is of it and where not.
        let dice: Vec<(f64, [f64; 2])> = sums.chunks(3).map(|s| soft_dice(s[0], s[1], s[2], 1.0)).collect();
        let slope = |c: usize, is: bool| match c {
            0 => 0.0,
            _ => -dice[c].1[usize::from(is)] / counted,
        };
        let gradient = &mut gradients[index];
        for (i, (&label, p)) in labels.iter().zip(p.chunks(classes)).enumerate() {
            let first = i / voxels * classes * voxels + i % voxels;
            let g = usize::from(label);
            let mean: f64 = (0..classes).map(|c| slope(c, c == g) * p[c]).sum();
            for (c, &p) in p.iter().enumerate() {
                let hot = f64::from(u8::from(c == g));
                gradient[first + c * voxels] = (share * (p - hot) + p * (slope(c, c == g) - mean)) as f32;
            }
        }
        let missed = 1.0 - dice[1..].iter().map(|d| d.0).sum::<f64>() / counted;
        Ok(LossParts {
            parts: vec![
                ("entropy", share * entropy),
                ("dice", missed / ranks.size() as f64),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(values: &[f32], labels: &[u8]) -> (f64, Vec<f32>) {
        let segment = Segment {
            output: "logits".into(),
            classes: 3,
        };
        let output = Output {
            name: "logits",
            shape: &[2, 3, 1, 2, 2],
            values,
        };
        let mut gradients = Vec::new();
        let parts = segment
            .evaluate(&[output], labels, &Ranks::default(), &mut gradients)
            .unwrap();
        (parts.total(), gradients.remove(0))
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let labels = [0, 1, 2, 2, 1, 0, 0, 0];
        let values: Vec<f32> = (0..24).map(|i| ((i * 37 % 23) as f32 - 11.0) / 6.0).collect();
        let (_, gradient) = loss(&values, &labels);
        for i in 0..values.len() {
            let moved = |by: f32| {
                let mut values = values.clone();
                values[i] += by;
                loss(&values, &labels).0
            };
            let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!(
                (numeric - f64::from(gradient[i])).abs() < 1e-4,
                "{i}: {numeric} {}",
                gradient[i]
            );
        }
    }

    /// `vectors/affine3d.json` of `quant`: PyTorch's automatic derivative.
    #[test]
    fn soft_dice_has_the_published_value_and_slopes() {
        let text = include_str!("../../../quant/tests/vectors/affine3d.json");
        let all: serde_json::Value = serde_json::from_str(text).unwrap();
        let case = &all["soft_dice"];
        let list = |k: &str| -> Vec<f64> {
            case[k]
                .as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_f64().unwrap())
                .collect()
        };
        let (p, g) = (list("p"), list("g"));
        let both = p.iter().zip(&g).map(|(p, g)| p * g).sum();
        let (dice, slopes) = soft_dice(both, p.iter().sum(), g.iter().sum(), 0.0);
        assert!((dice - case["dice"].as_f64().unwrap()).abs() < 1e-12);
        for (want, g) in list("grad").into_iter().zip(g) {
            assert!((slopes[g as usize] - want).abs() < 1e-12);
        }
    }

    #[test]
    fn a_perfect_mask_costs_next_to_nothing() {
        let labels = [0, 1, 2, 2, 1, 0, 0, 0];
        let mut values = vec![-20f32; 24];
        for (i, &l) in labels.iter().enumerate() {
            values[i / 4 * 12 + usize::from(l) * 4 + i % 4] = 20.0;
        }
        assert!(loss(&values, &labels).0 < 1e-6);
    }
}
