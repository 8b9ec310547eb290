//! Losses of detectors in two steps: who answers for which object, then a differentiable sum.

use super::{Loss, LossError, LossParts, Output, Target, check_targets, usable};
use crate::exchange::Ranks;

/// The object that a prediction answers for, counted among those of its picture with an area, and the number that goes with it: its IoU, or
/// a class target.
pub type Match = Option<(usize, f64)>;

/// What a prediction is asked for, where there is more than a match and none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    Ignored,
    /// To be background.
    Negative,
    /// This object of its picture, counted among those with an area.
    Positive(usize),
}

/// What a prediction is asked for.
pub trait Answer {
    /// Whether it answers for an object.
    fn is_positive(&self) -> bool;
}

impl Answer for Match {
    fn is_positive(&self) -> bool {
        self.is_some()
    }
}

impl Answer for Role {
    fn is_positive(&self) -> bool {
        matches!(self, Role::Positive(_))
    }
}

/// A loss that first decides, from the outputs but without a gradient, which prediction answers for which object.
pub trait AssignedLoss {
    /// The decision for one prediction.
    type Answer: Answer;

    /// Who answers for what: for each picture its predictions, those of all heads one after the other; for raw anchor heads for each head its
    /// predictions, (picture, anchor, cell).
    ///
    /// # Errors
    /// Outputs or targets that do not fit the head.
    fn assign(
        &self,
        outputs: &[Output],
        targets: &[Vec<Target>],
    ) -> Result<Vec<Vec<Self::Answer>>, LossError>;

    /// What the sums of the loss are divided by, before it is kept from 0: a sum over the batch. The number of positives, where a loss does not say
    /// another.
    fn weight(&self, assignment: &[Vec<Self::Answer>]) -> f64 {
        assignment.iter().flatten().filter(|a| a.is_positive()).count() as f64
    }

    /// The loss for an assignment, and its gradient; `weight` is that of the whole batch, at least 1.
    ///
    /// # Errors
    /// Outputs that do not fit the head.
    fn of_assignment(
        &self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        assignment: &[Vec<Self::Answer>],
        weight: f64,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError>;
}

impl<L: AssignedLoss + Send> Loss for L {
    fn evaluate(
        &mut self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        let assignment = self.assign(outputs, targets)?;
        let weight = ranks.total(self.weight(&assignment))?.max(1.0);
        self.of_assignment(outputs, targets, &assignment, weight, gradients)
    }
}

/// The weight of losses whose positives count by their class targets.
pub(super) fn sum_of_targets(assignment: &[Vec<Match>]) -> f64 {
    assignment.iter().flatten().flatten().map(|a| a.1).sum()
}

/// Decides picture by picture, once targets fit the outputs: `assign` gets the picture and its objects with an area.
pub(super) fn assign_pictures<A>(
    targets: &[Vec<Target>],
    batches: impl IntoIterator<Item = usize>,
    classes: usize,
    assign: impl Fn(usize, &[Target]) -> Vec<A>,
) -> Result<Vec<Vec<A>>, LossError> {
    for batch in batches {
        check_targets(targets, batch, classes)?;
    }
    let each = |(picture, t): (usize, &Vec<Target>)| assign(picture, &usable(t));
    Ok(targets.iter().enumerate().map(each).collect())
}

/// Task-aligned assignment of one picture (Feng et al., TOOD, arXiv 2108.07755): each object takes its `top` offers (prediction, alignment m,
/// IoU) of largest m, one taken twice goes to the object of larger IoU. The class target is m scaled so that an object's largest m becomes its
/// largest IoU.
pub(super) fn task_aligned(
    predictions: usize,
    objects: usize,
    top: usize,
    mut offers: impl FnMut(usize) -> Vec<(usize, f64, f64)>,
) -> Vec<Match> {
    // Object, alignment, IoU.
    let mut taken: Vec<Option<(usize, f64, f64)>> = vec![None; predictions];
    for object in 0..objects {
        let mut offers = offers(object);
        offers.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for &(i, m, overlap) in offers.iter().take(top) {
            if taken[i].is_none_or(|(_, _, held)| overlap > held) {
                taken[i] = Some((object, m, overlap));
            }
        }
    }
    let mut most = vec![(0f64, 0f64); objects];
    for &(object, m, overlap) in taken.iter().flatten() {
        most[object] = (most[object].0.max(m), most[object].1.max(overlap));
    }
    let scaled = |(object, m, _): (usize, f64, f64)| {
        let (largest, overlap) = most[object];
        (object, m / (largest + 1e-9) * overlap)
    };
    taken.into_iter().map(|t| t.map(scaled)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_takes_its_best_offers_and_the_larger_overlap_wins() {
        let offers = [
            vec![(0, 0.1, 0.5), (1, 0.4, 0.5), (2, 0.2, 0.4)],
            vec![(1, 0.9, 0.4), (3, 0.8, 0.6)],
        ];
        let found = task_aligned(4, 2, 2, |object| offers[object].clone());
        // Prediction 0 is the third of the first object; 1 stays with it, whose IoU is larger.
        assert_eq!(found[0], None);
        assert_eq!(
            found.iter().map(|m| m.map(|m| m.0)).collect::<Vec<_>>(),
            [None, Some(0), Some(0), Some(1)]
        );
        let near = |m: Match, t: f64| (m.unwrap().1 - t).abs() < 1e-6;
        assert!(
            near(found[1], 0.5) && near(found[2], 0.25) && near(found[3], 0.6),
            "{found:?}"
        );
        assert!((sum_of_targets(&[found]) - 1.35).abs() < 1e-6);
    }

    #[test]
    fn targets_that_do_not_fit_are_refused_before_anything_is_assigned() {
        let target = |class| Target {
            class,
            corners: [0.0, 0.0, 1.0, 1.0],
        };
        let assign = |_: usize, objects: &[Target]| vec![Some((objects.len(), 1.0)); 1];
        let run = |targets: &[Vec<Target>], batches: [usize; 2]| assign_pictures(targets, batches, 2, assign);
        assert_eq!(
            run(&[vec![target(1)], vec![]], [2, 2]).unwrap(),
            [[Some((1, 1.0))], [Some((0, 1.0))]]
        );
        let e = run(&[vec![target(1)]], [1, 2]).unwrap_err();
        assert_eq!(e, LossError::Pictures { have: 1, want: 2 });
        assert!(matches!(
            run(&[vec![target(2)]], [1, 1]),
            Err(LossError::Class { class: 2, .. })
        ));
    }
}
