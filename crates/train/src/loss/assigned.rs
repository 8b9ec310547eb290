//! Losses of detectors in two steps: who answers for which object, then a differentiable sum.

use super::{Loss, LossError, LossParts, Output, Target};

/// A loss that first decides, from the outputs but without a gradient, which prediction answers for which object.
pub trait AssignedLoss {
    /// The decision for a batch.
    type Assignment;

    /// Who answers for what.
    ///
    /// # Errors
    /// Outputs or targets that do not fit the head.
    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Self::Assignment, LossError>;

    /// The loss for an assignment, and its gradient.
    ///
    /// # Errors
    /// Outputs that do not fit the head.
    fn of_assignment(
        &self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        assignment: &Self::Assignment,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError>;
}

impl<L: AssignedLoss + Send> Loss for L {
    fn evaluate(
        &mut self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        let assignment = self.assign(outputs, targets)?;
        self.of_assignment(outputs, targets, &assignment, gradients)
    }
}
