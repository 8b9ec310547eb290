//! The engine beside the training network itself: the f32 forward with fake quantizers, BatchNormalization unfolded, on whole volumes.

use ::data::volume::set::Case;
use tasks::segment::arg_max;
use tensor::Tensor;
use train::exec::Mode;
use train::program::{BatchNormMode, FakeQuantizer, Program, ProgramOptions};
use train::recipe::Recipe;
use train::trainer::Deployed;

use super::Agreement;
use super::executor::{self, Executors};
use super::task::volumes;
use crate::runtime::{RunOptions, Runner};
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
    /// Classes of all voxels that both see, of the first cases of the evaluation.
    pub(super) fn compare(&self, model: &Model, cases: &[Case], control: &Control) -> Result<Agreement> {
        let (head, size) = (model.segment_head()?, model.volume_size()?);
        let mut options = ProgramOptions::new(1);
        options.batch_norm = BatchNormMode::Frozen;
        options.quantizers = self.quantizers.to_vec();
        options.outputs = vec![head.output.clone()];
        let program =
            Program::new(self.trained.graph(), &options).map_err(|e| Error::unsupported(e.to_string()))?;
        let parameters = program.parameters().to_vec();
        let mut exec = self.executors.executor(program, None)?;
        for (index, parameter) in parameters.iter().enumerate() {
            let found = self.deployed.iter().find(|d| d.parameter.name == parameter.name);
            let values = found.map_or(&parameter.initial, |d| &d.values);
            exec.set_parameter(index, values).map_err(executor::fault)?;
        }
        let run = RunOptions {
            threads: self.recipe.count("threads") as usize,
            control: control.clone(),
            ..RunOptions::default()
        };
        let runner = Runner::new(model, &run)?;
        let shape = [&[1, 1], &size[..]].concat();
        let (mut raw, mut all) = (
            Vec::new(),
            Agreement {
                differing: 0,
                voxels: 0,
            },
        );
        let count = cases.len().min(self.recipe.count("eval.count").max(1) as usize);
        for case in &cases[..count] {
            let values = volumes::input(case, size, head.scale);
            exec.forward(&[&values], Mode::Evaluate, &mut raw)
                .map_err(executor::fault)?;
            let input = Tensor::new(shape.clone(), values).map_err(|e| Error::bad(e.to_string()))?;
            let outputs = runner.run(&[(&head.input, &input)])?;
            let logits = outputs
                .iter()
                .find(|o| o.0 == head.output)
                .and_then(|o| o.1.as_f32());
            let have = arg_max(logits.unwrap_or_default(), head.classes.len());
            let want = arg_max(&raw[0], head.classes.len());
            all.voxels += want.len() as u64;
            all.differing += have.iter().zip(&want).filter(|(a, b)| a != b).count() as u64;
        }
        Ok(all)
    }
}
