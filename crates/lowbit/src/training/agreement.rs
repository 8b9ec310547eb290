//! The engine beside the training network itself: the f32 forward with fake quantizers, BatchNormalization unfolded, on the data of the evaluation.

use tensor::Tensor;
use train::exec::Mode;
use train::program::{BatchNormMode, FakeQuantizer, Program, ProgramOptions};
use train::recipe::Recipe;
use train::trainer::Deployed;

use super::Agreement;
use super::executor::{self, Executors};
use super::task::{Samples, run_options};
use crate::runtime::Runner;
use crate::{Control, Error, Model, Result};

/// What the training forward is made of.
pub(super) struct Parts<'a> {
    pub(super) recipe: &'a Recipe,
    /// The network before BatchNormalization is folded, at the size of the exported one.
    pub(super) trained: &'a Model,
    pub(super) deployed: &'a [Deployed],
    pub(super) quantizers: &'a [FakeQuantizer],
    pub(super) executors: &'a Executors,
}

impl Parts<'_> {
    /// Classes of all voxels, or pixels, of the evaluation.
    pub(super) fn compare(
        &self,
        model: &Model,
        samples: Samples<'_>,
        control: &Control,
    ) -> Result<Agreement> {
        let mut options = ProgramOptions::new(1);
        options.batch_norm = BatchNormMode::Frozen;
        options.quantizers = self.quantizers.to_vec();
        options.outputs = vec![samples.output.clone()];
        let program =
            Program::new(self.trained.graph(), &options).map_err(|e| Error::unsupported(e.to_string()))?;
        let parameters = program.parameters().to_vec();
        let mut exec = self.executors.executor(program, None)?;
        for (index, parameter) in parameters.iter().enumerate() {
            let found = self.deployed.iter().find(|d| d.parameter.name == parameter.name);
            let values = found.map_or(&parameter.initial, |d| &d.values);
            exec.set_parameter(index, values).map_err(executor::fault)?;
        }
        let run = run_options(self.recipe, control);
        let runner = Runner::new(model, &run)?;
        let (mut raw, mut all) = (Vec::new(), Agreement::default());
        let (mut right, mut labelled) = (0u64, 0u64);
        for (values, class) in samples.all {
            exec.forward(&[&values], Mode::Evaluate, &mut raw)
                .map_err(executor::fault)?;
            let input = Tensor::new(samples.shape.clone(), values).map_err(|e| Error::bad(e.to_string()))?;
            let outputs = runner.run(&[(&samples.input, &input)])?;
            let logits = outputs
                .iter()
                .find(|o| o.0 == samples.output)
                .and_then(|o| o.1.as_f32());
            let have = best(logits.unwrap_or_default(), samples.classes);
            let want = best(&raw[0], samples.classes);
            all.voxels += want.len() as u64;
            all.differing += have.iter().zip(&want).filter(|(a, b)| a != b).count() as u64;
            if let (Some(class), [said]) = (class, &want[..]) {
                labelled += 1;
                right += u64::from(*said == class);
            }
        }
        all.trained_score = (labelled > 0).then(|| right as f64 / labelled as f64);
        Ok(all)
    }
}

/// The class of the largest of planes of logits, the first of equal ones, for each element.
fn best(logits: &[f32], classes: usize) -> Vec<usize> {
    let each = logits.len() / classes.max(1);
    let of = |i: usize| {
        (1..classes).fold(0, |best, c| {
            if logits[c * each + i] > logits[best * each + i] {
                c
            } else {
                best
            }
        })
    };
    (0..each).map(of).collect()
}
