//! The state of a run as a checkpoint, and back: a resumed run gives the same bits.
//!
//! | name | what |
//! |---|---|
//! | `param/NAME` | shadow weights, biases, affine, steps |
//! | `moment/NAME/K` | the optimizer's |
//! | `method/NAME` | the weight method's |
//! | `learned/NAME/K` | moments of what the method learns |
//! | `ema/NAME` | average |
//! | `running/NAME` | BatchNorm statistics |
//!
//! Metadata: `step`, `updates/NAME`, `learned-updates/NAME`; `recent` and `bad`, the last losses (f64 in hexadecimal) that tell divergence.

use super::{TrainError, Trainer};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::optimizer::State;

fn put(out: &mut Checkpoint, kind: &str, counter: &str, name: &str, state: &State) {
    out.meta
        .insert(format!("{counter}/{name}"), state.steps.to_string());
    for (k, moment) in state.moments.iter().enumerate() {
        out.tensors.insert(format!("{kind}/{name}/{k}"), moment.clone());
    }
}

fn get(from: &Checkpoint, kind: &str, counter: &str, name: &str) -> Result<State, CheckpointError> {
    let steps = from.number(&format!("{counter}/{name}"))?;
    let moment = |k: usize| from.tensors.get(&format!("{kind}/{name}/{k}")).cloned();
    Ok(State {
        steps,
        moments: (0..).map_while(moment).collect(),
    })
}

impl Trainer {
    /// Everything that the next step depends on.
    ///
    /// # Errors
    /// When the executor cannot be read.
    pub fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        let mut out = Checkpoint::default();
        out.meta.insert("step".into(), self.step.to_string());
        out.meta.insert("bad".into(), self.bad.to_string());
        let bits: Vec<String> = self
            .recent
            .iter()
            .map(|x| format!("{:016x}", x.to_bits()))
            .collect();
        out.meta.insert("recent".into(), bits.join(" "));
        for t in &self.trained {
            let name = &t.parameter.name;
            out.tensors.insert(format!("param/{name}"), t.values.clone());
            put(&mut out, "moment", "updates", name, &t.state);
            if let Some(method) = &t.method {
                out.tensors.insert(format!("method/{name}"), method.state());
                put(&mut out, "learned", "learned-updates", name, &t.learned);
            }
            if !t.average.is_empty() {
                out.tensors.insert(format!("ema/{name}"), t.average.clone());
            }
        }
        for (index, parameter) in &self.running {
            let mut values = vec![0.0; parameter.len()];
            self.exec.parameter(*index, &mut values)?;
            out.tensors.insert(format!("running/{}", parameter.name), values);
        }
        Ok(out)
    }

    /// Goes back to a checkpoint of a run of the same recipe.
    ///
    /// # Errors
    /// When it belongs to another recipe; the run is then to be thrown away.
    pub fn restore(&mut self, from: &Checkpoint) -> Result<(), TrainError> {
        self.step = from.number("step")?;
        self.bad = from.number("bad")? as u32;
        let recent = from.meta.get("recent").map(String::as_str).unwrap_or_default();
        let number = |x: &str| u64::from_str_radix(x, 16).ok().map(f64::from_bits);
        self.recent = recent.split_whitespace().filter_map(number).collect();
        for t in &mut self.trained {
            let name = &t.parameter.name;
            from.read(&format!("param/{name}"), &mut t.values)?;
            t.state = fitting(get(from, "moment", "updates", name)?, t.values.len(), name)?;
            if let Some(method) = &mut t.method {
                let key = format!("method/{name}");
                let state = from
                    .tensors
                    .get(&key)
                    .ok_or_else(|| CheckpointError::Missing(key.clone()))?;
                if !method.restore(state) {
                    return Err(CheckpointError::Missing(format!("{key} of this method")).into());
                }
                t.learned = get(from, "learned", "learned-updates", name)?;
            }
            let average = from
                .tensors
                .get(&format!("ema/{name}"))
                .cloned()
                .unwrap_or_default();
            if !average.is_empty() {
                t.average = vec![0.0; t.values.len()];
                from.read(&format!("ema/{name}"), &mut t.average)?;
            }
        }
        for (index, parameter) in &self.running {
            let mut values = vec![0.0; parameter.len()];
            from.read(&format!("running/{}", parameter.name), &mut values)?;
            self.exec.set_parameter(*index, &values)?;
        }
        Ok(())
    }
}

/// A moment of another length belongs to another tensor.
fn fitting(state: State, length: usize, name: &str) -> Result<State, CheckpointError> {
    match state.moments.iter().find(|m| m.len() != length) {
        None => Ok(state),
        Some(m) => Err(CheckpointError::Length {
            name: format!("moment/{name}"),
            have: m.len(),
            want: length,
        }),
    }
}
