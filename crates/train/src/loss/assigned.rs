//! Losses of detectors in two steps: who answers for which object, then a differentiable sum.

use super::{Loss, LossError, LossParts, Output, Target};
use crate::exchange::Ranks;

/// A loss that first decides, from the outputs but without a gradient, which prediction answers for which object.
pub trait AssignedLoss {
    /// The decision for a batch.
    type Assignment;

    /// Who answers for what.
    ///
    /// # Errors
    /// Outputs or targets that do not fit the head.
    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Self::Assignment, LossError>;

    /// What the sums of the loss are divided by, before it is kept from 0: a sum over the batch, such as the number of positives.
    fn weight(&self, assignment: &Self::Assignment) -> f64;

    /// The loss for an assignment, and its gradient; `weight` is that of the whole batch, at least 1.
    ///
    /// # Errors
    /// Outputs that do not fit the head.
    fn of_assignment(
        &self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        assignment: &Self::Assignment,
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
