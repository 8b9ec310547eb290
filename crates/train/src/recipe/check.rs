//! The values that each key may have.

use quant::names::{did_you_mean, nearest};
use toml::Value;

use super::{Fault, Recipe, device};

impl Recipe {
    /// Whether all values lie in their ranges.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if device(self.text("device")).is_none() {
            return Err(self.refuse("device", "cpu, cuda, cuda:N or auto"));
        }
        self.at_least("steps", 1.0)?;
        self.at_least("batch", 1.0)?;
        self.at_least("workers", 1.0)?;
        self.at_least("log.every", 1.0)?;
        for key in [
            "seed",
            "threads",
            "eval.every",
            "checkpoint.every",
            "schedule.warmup",
            "activation.bits",
            "method.every",
            "data.cache",
        ] {
            self.at_least(key, 0.0)?;
        }
        for key in [
            "augment.flip",
            "augment.flip_vertical",
            "data.hold_out",
            "augment.mosaic",
            "augment.cutout",
            "loss.smoothing",
            "method.rho",
            "ema.decay",
            "prune.share",
            "prune.until",
        ] {
            self.within(key, 0.0, 1.0)?;
        }
        self.within("prune.lambda", 0.0, 1e3)?;
        self.within("prune.clip", 0.0, 1e3)?;
        self.within("activation.bits", 0.0, 8.0)?;
        self.within("activation.factor", 0.0, 1.0)?;
        self.within("optimizer.rate", 0.0, 1e3)?;
        self.one_of(
            "data.kind",
            &[
                "folder",
                "classes",
                "synth",
                "volumes",
                "synth-volumes",
                "cube",
                "synth-cube",
            ],
        )?;
        self.one_of(
            "eval.kind",
            &[
                "",
                "folder",
                "classes",
                "synth",
                "volumes",
                "synth-volumes",
                "cube",
                "held-out",
            ],
        )?;
        self.within("spiking.steps", 0.0, kernels::float::spiking::MOST_STEPS as f64)?;
        self.within("spiking.percentile", 0.0, 100.0)?;
        self.within("spiking.scale", 1e-3, 1e3)?;
        self.within("spiking.range", 0.1, 1e3)?;
        self.within("dropout.rate", 0.0, 0.99)?;
        self.within("augment.intensity", 0.0, 1.0)?;
        self.within("method.level_bits", 2.0, 16.0)?;
        if self.numbers("data.patch").len() != 3 {
            return Err(self.refuse("data.patch", "three numbers"));
        }
        self.one_of("loss.kind", &["labels", "distill"])?;
        self.one_of("loss.measure", &["squares", "divergence"])?;
        self.within("loss.label_gain", 0.0, 1e6)?;
        self.one_of(
            "method.name",
            &[
                "float",
                "lbw",
                "bcgd",
                "binary-relax",
                "lsq",
                "apot",
                "affine",
                "symmetric",
                "ternary-threshold",
            ],
        )?;
        self.one_of("method.start", &["float", "corrected"])?;
        self.one_of("optimizer.name", &["adamw", "sgd"])?;
        self.one_of("schedule.shape", &["cosine", "steps", "constant"])?;
        self.one_of("batch_norm.mode", &["batch", "frozen"])?;
        if self.flag("batch_norm.add") && self.text("batch_norm.mode") != "frozen" {
            // Statistics of a batch would change what they are put behind.
            return Err(self.refuse("batch_norm.add", "false, or batch_norm.mode frozen"));
        }
        self.within("batch_norm.freeze", 0.0, 1.0)?;
        if self.number("batch_norm.freeze") > 0.0 && self.count("batch_norm.reestimate") > 0 {
            // It would undo what the last steps were trained for.
            return Err(self.refuse("batch_norm.freeze", "0, or batch_norm.reestimate 0"));
        }
        self.pair("augment.scale")?;
        let hsv = self.numbers("augment.hsv");
        if hsv.len() != 3 {
            return Err(self.refuse("augment.hsv", "three numbers"));
        }
        Ok(())
    }

    fn refuse(&self, key: &str, want: &str) -> Fault {
        Fault::Value {
            key: key.into(),
            value: self.values.get(key).map(Value::to_string).unwrap_or_default(),
            want: want.into(),
        }
    }

    fn at_least(&self, key: &str, least: f64) -> Result<(), Fault> {
        match self.number(key) >= least {
            true => Ok(()),
            false => Err(self.refuse(key, &format!("at least {least}"))),
        }
    }

    fn within(&self, key: &str, low: f64, high: f64) -> Result<(), Fault> {
        match (low..=high).contains(&self.number(key)) {
            true => Ok(()),
            false => Err(self.refuse(key, &format!("within {low} … {high}"))),
        }
    }

    fn one_of(&self, key: &str, names: &[&str]) -> Result<(), Fault> {
        let text = self.text(key);
        if names.contains(&text) {
            return Ok(());
        }
        let near = did_you_mean(nearest(text, names.iter().copied()));
        let names = names
            .iter()
            .filter(|n| !n.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        Err(self.refuse(key, &format!("one of {names}{near}")))
    }

    /// Two ascending positive numbers.
    fn pair(&self, key: &str) -> Result<(), Fault> {
        match self.numbers(key)[..] {
            [a, b] if a > 0.0 && b >= a && b <= 4.0 => Ok(()),
            _ => Err(self.refuse(key, "two ascending numbers between 0 and 4")),
        }
    }
}
