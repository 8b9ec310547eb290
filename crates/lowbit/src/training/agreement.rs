//! The engine beside the training network itself: the f32 forward with fake quantizers, BatchNormalization unfolded, on the data of the evaluation.

use tasks::detect::compare::{CompareOptions, compare};
use tasks::detect::{Head, NmsOptions, Placement, postprocess};
use tensor::Tensor;
use train::exec::Mode;
use train::program::{BatchNormMode, FakeQuantizer, Program, ProgramOptions};
use train::recipe::Recipe;
use train::trainer::Deployed;

use super::Agreement;
use super::executor::{self, Executors};
use super::task::{Answer, Samples, run_options};
use crate::runtime::{Outputs, Runner, borrowed};
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
    /// What both answer to every sample of the evaluation.
    pub(super) fn compare(
        &self,
        model: &Model,
        samples: Samples<'_>,
        control: &Control,
    ) -> Result<Agreement> {
        let mut options = ProgramOptions::new(1);
        options.batch_norm = BatchNormMode::Frozen;
        options.quantizers = self.quantizers.to_vec();
        options.outputs = samples.answer.outputs();
        let program =
            Program::new(self.trained.graph(), &options).map_err(|e| Error::unsupported(e.to_string()))?;
        let (parameters, ports) = (program.parameters().to_vec(), program.outputs().to_vec());
        let mut exec = self.executors.executor(program, None)?;
        for (index, parameter) in parameters.iter().enumerate() {
            let found = self.deployed.iter().find(|d| d.parameter.name == parameter.name);
            let values = found.map_or(&parameter.initial, |d| &d.values);
            exec.set_parameter(index, values).map_err(executor::fault)?;
        }
        let run = run_options(self.recipe, control);
        let runner = Runner::new(model, &run)?;
        let bad = |e: tensor::TensorError| Error::bad(e.to_string());
        let mut raw = Vec::new();
        let mut all = Agreement::of(samples.answer.what());
        let (mut right, mut labelled) = (0u64, 0u64);
        for sample in samples.all {
            control.check()?;
            exec.forward(&[&sample.values], Mode::Evaluate, &mut raw)
                .map_err(executor::fault)?;
            let outputs = ports.iter().zip(&raw);
            let trained: Outputs = outputs
                .map(|(p, values)| Ok((p.name.clone(), Tensor::new(p.shape.clone(), values.clone())?)))
                .collect::<std::result::Result<_, _>>()
                .map_err(bad)?;
            let input = Tensor::new(samples.shape.clone(), sample.values).map_err(bad)?;
            let engine = runner.run(&[(&samples.input, &input)])?;
            match samples.answer {
                Answer::Classes { output, count, .. } => {
                    let [have, want] = [&engine, &trained].map(|o| best(o, output, count));
                    all.compared += want.len() as u64;
                    all.differing += have.iter().zip(&want).filter(|(a, b)| a != b).count() as u64;
                    if let (Some(class), [said]) = (sample.class, &want[..]) {
                        labelled += 1;
                        right += u64::from(*said == class);
                    }
                }
                Answer::Boxes(head) => all.add_boxes(head, [&trained, &engine], &sample.placement)?,
            }
        }
        all.trained_score = (labelled > 0).then(|| right as f64 / labelled as f64);
        Ok(all)
    }
}

impl Agreement {
    pub(super) fn of(what: &'static str) -> Agreement {
        Agreement {
            what,
            differing: 0,
            compared: 0,
            trained_score: None,
        }
    }

    /// Boxes of one picture above the confidence of `detect`: those that one of the two has alone, or that lie elsewhere.
    pub(super) fn add_boxes(
        &mut self,
        head: &Head,
        outputs: [&Outputs; 2],
        placement: &Placement,
    ) -> Result<()> {
        let options = CompareOptions::default();
        let nms = NmsOptions {
            conf: options.conf as f32,
            ..NmsOptions::default()
        };
        let [trained, engine] = outputs.map(|o| postprocess(head, &borrowed(o), 0, placement, &nms));
        let found = compare(&trained?, &engine?, None, &options);
        self.differing += found.changes.len() as u64;
        self.compared += (found.a + found.b - found.common) as u64;
        Ok(())
    }
}

/// The class of the largest of the planes of an output, the first of equal ones, for each element.
fn best(outputs: &Outputs, name: &str, classes: usize) -> Vec<usize> {
    let found = outputs.iter().find(|o| o.0 == name);
    let logits = found.and_then(|o| o.1.as_f32()).unwrap_or_default();
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
