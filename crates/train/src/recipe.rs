//! A run as text: TOML, every key known, documented and with a default. The recipe is the whole description of a run: what overrides it
//! (`--set key=value`) changes the recipe, and the recipe is stored in every checkpoint and model.
//!
//! ```
//! use train::recipe::Recipe;
//! let recipe = Recipe::parse("model = \"net.onnx\"\n[method]\ngrid = \"lbw3\"\n", &["steps=20".into()]).unwrap();
//! assert_eq!((recipe.text("method.grid"), recipe.count("steps")), ("lbw3", 20));
//! let error = Recipe::parse("[optimiser]\nrate = 0.1\n", &[]).unwrap_err();
//! assert!(error.to_string().contains("\"optimizer.rate\""));
//! ```

mod error;

use std::collections::BTreeMap;

use quant::names::{did_you_mean, nearest};
use toml::Value;

pub use error::{Fault, Place, RecipeError, line};

/// A key of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Dotted name: table, then key.
    pub name: &'static str,
    /// Its default, as TOML.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

macro_rules! keys {
    ($($name:literal = $default:literal : $doc:literal),* $(,)?) => {
        /// Every key, in the order of the documentation.
        pub const KEYS: &[Key] = &[$(Key { name: $name, default: $default, doc: $doc }),*];
    };
}

keys! {
    "model" = "''": "float model to start from: an ONNX file, or with random weights `zoo:tiny`, `zoo:small` (our own detectors), `zoo:resnet18` (a classifier), `zoo:resnet50` (a detector on it), `zoo:unet3d`, `zoo:unet3d-transposed` (masks of volumes), `zoo:h32s` (pixels of hyperspectral cubes)",
    "head" = "''": "head description (JSON), where the model has none",
    "output" = "''": "folder of checkpoints, results.csv and the model; default: runs/ and the recipe's name",
    "seed" = "0": "of initial weights, order and changes of samples",
    "device" = "'cpu'": "cpu, cuda (a build with the feature cuda), cuda:N (the device of that number) or auto (cuda:0 where it can be used)",
    "threads" = "0": "of the executor; 0 takes all cores. Results do not depend on it",
    "workers" = "1": "threads that make batches",
    "steps" = "1000": "updates of the run",
    "batch" = "8": "pictures of one update, of all ranks together",
    "zoo.width" = "16": "channels of the first layer of zoo:…",
    "zoo.size" = "96": "side of its input in pixels",
    "zoo.height" = "0": "height of its input, where it is not square",
    "zoo.depth" = "0": "first side of the input of a network for volumes, where it is not zoo.size",
    "data.kind" = "'folder'": "folder (VOC, COCO, YOLO), classes (class folders, zip, CIFAR-10), synth (drawn scenes), volumes (.npz with image and label, folder with images/ and labels/), synth-volumes (drawn ones, as large as the network's input), cube (a hyperspectral scene) or synth-cube (a drawn one)",
    "data.path" = "''": "where it is",
    "data.split" = "''": "name of the list; several, with + between them, are read one after the other; of a cube the file beside it of 1 training, 2 validation, 3 test",
    "data.labels" = "''": "cube: file beside it with the classes 1, 2, … of its pixels, 0 for none",
    "data.more" = "[]": "further folders, read after the first: [\"VOC2012\", \"cells:train\"], with :NAME of a list of their own",
    "data.seed" = "1": "synth…: seed of what is drawn, below 2^32: the demo's begin there; else of data.hold_out",
    "data.first" = "0": "synth, synth-volumes: index of the first one",
    "data.count" = "2000": "synth, synth-volumes: how many make an epoch",
    "data.max_objects" = "6": "synth: most objects of a scene",
    "data.classes" = "[]": "volumes: names of the labels 0, 1, …, the background first; cube: names of the labels 1, 2, …",
    "data.patch" = "[0.0, 0.0, 0.0]": "volumes: voxels of a training crop along each axis; zeros: those of the network's input",
    "data.hold_out" = "0.0": "part of the list that nothing trains on, drawn by data.seed: what eval.kind = 'held-out' evaluates",
    "data.cache" = "0": "MiB of decoded or drawn pictures that are kept for the next epochs",
    "eval.kind" = "''": "as data.kind, or held-out: the part of the training list that data.hold_out keeps back, of a cube, drawn or not, cube (its test pixels) or held-out (its validation pixels); empty: no evaluation",
    "eval.path" = "''": "where the evaluation data are",
    "eval.split" = "''": "name of the list",
    "eval.seed" = "1": "synth, synth-volumes: seed of what is drawn",
    "eval.first" = "1000000": "synth, synth-volumes: index of the first one, beyond those of training",
    "eval.count" = "100": "at most this many pictures; of a cube all pixels",
    "eval.every" = "0": "evaluate every so many steps; 0: at the end only",
    "augment.flip" = "0.5": "chance of a mirrored picture",
    "augment.flip_vertical" = "0.0": "chance of a picture upside down",
    "augment.scale" = "[0.6, 1.4]": "smallest and largest size, relative to the one that fits",
    "augment.aspect" = "1.2": "largest stretch of one side",
    "augment.mosaic" = "0.25": "chance of four pictures in one",
    "augment.hsv" = "[0.015, 0.5, 0.4]": "largest change of hue, saturation, value",
    "augment.cutout" = "0.0": "chance of grey rectangles",
    "augment.intensity" = "0.1": "volumes: largest change of contrast and of brightness",
    "augment.shift" = "0": "random shift in pixels in place of scale and aspect, as for CIFAR",
    "loss.kind" = "'labels'": "labels, or distill: follow the float model, without labels",
    "loss.features" = "[]": "distill: names of inner values that follow, too",
    "loss.measure" = "'squares'": "distill: squares, or divergence: objectness and classes are compared as probabilities",
    "loss.output_gain" = "1.0": "distill: factor of the outputs' loss",
    "loss.feature_gain" = "3.0": "distill: factor of the features' loss",
    "loss.label_gain" = "0.0": "distill: factor of the loss against labels, where there are any",
    "loss.smoothing" = "0.0": "label smoothing",
    "method.name" = "'lbw'": "float, lbw (projected descent on any grid), bcgd, binary-relax, lsq, apot, affine (codes with a trained affine map: grids affine2 … affine8), symmetric (grids int2 … int8, scaled by the largest weight), ternary-threshold (grid ternary, a threshold that is learned)",
    "method.grid" = "'lbw4'": "grid of every layer without a rule",
    "method.rules" = "[]": "overrides as in quantize: [\"depthwise=int8\", \"first=float\"]",
    "method.granularity" = "'channel'": "channel or tensor: which weights share a scale",
    "method.scale" = "'real'": "real or power-of-two",
    "method.solver" = "'optimum'": "optimum, paper-ternary, semi-analytic; of ternary max-rule, mean-rule",
    "method.mu" = "0.75": "of the semi-analytic thresholds, relative to the largest weight",
    "method.start" = "'float'": "float (its weights as they are) or corrected (rounded with error feedback, gains and means refitted, as in quantize)",
    "method.every" = "1": "steps between searches of the scale; 0: the scale of the start stays",
    "method.clip" = "true": "clip shadow weights half a gap above the top level",
    "method.level_bits" = "15": "affine: bits that integer levels span: what a code leaves of them is how finely offsets and biases are rounded; 7 fits the fastest kernels",
    "method.half" = "false": "scales and biases of quantized layers are rounded to 16 bits when the model is exported, for a smaller file; every score is of the rounded ones",
    "method.rho" = "1e-5": "bcgd: blending",
    "method.published" = "false": "bcgd: the paper's one-pass quantizers in place of the exact ones",
    "method.from" = "[]": "falling bits: grids before method.grid, each for an equal part of the first half: [\"lbw6\", \"lbw5\"]",
    "prune.groups" = "''": "structured pruning: lane, kernel, tile, panel (which the engine skips), or outputs x inputs x taps such as 1x16x1, 1x8xk; empty: none",
    "prune.share" = "0.3": "part of the groups of each layer that goes",
    "prune.until" = "0.6": "part of the run over which weak groups are pulled to zero; then they go, and the rest recovers",
    "prune.lambda" = "0.001": "pull on a weak group",
    "prune.clip" = "0.7": "groups stronger than so many times the layer's mean are left alone; 0: group lasso, which leaves none",
    "activation.bits" = "8": "bits of activations; 0 leaves them float",
    "activation.rule" = "'ste'": "ste, lsq, bcgd-3, bcgd-2, bcgd-ae, affine (as lsq, by the range's end; codes that only move share one map, the input's stays)",
    "activation.rounding" = "'rne'": "rne or ceil",
    "activation.factor" = "0.01": "bcgd: factor of the gradient of a learned step, which is then clipped to -1 … 1",
    "activation.calibration" = "64": "pictures that choose the ranges, and that a corrected start is fitted on",
    "spiking.steps" = "0": "steps of time: every ReLU becomes neurons that integrate and fire, with trained threshold and leak; 0: none",
    "spiking.percentile" = "99.7": "of a layer's currents: its threshold before the first update, times spiking.scale",
    "spiking.scale" = "0.3": "factor of the thresholds before the first update",
    "spiking.range" = "6.0": "deviations to each side that the 8-bit codes of the input span",
    "optimizer.name" = "'adamw'": "adamw or sgd",
    "optimizer.rate" = "0.001": "largest rate",
    "optimizer.relative" = "false": "rates relative to each tensor's root mean square",
    "optimizer.momentum" = "0.9": "sgd: momentum; adamw: beta1",
    "optimizer.beta2" = "0.999": "adamw: beta2",
    "optimizer.nesterov" = "false": "sgd: look ahead",
    "optimizer.decay" = "0.0": "weight decay, of weights only",
    "optimizer.clip" = "10.0": "largest norm of all gradients; 0 does not clip",
    "dropout.rate" = "0.0": "chance that what a full layer reads is zero in a training step",
    "schedule.shape" = "'cosine'": "cosine, steps or constant",
    "schedule.warmup" = "0": "steps of linear warm-up",
    "schedule.end" = "0.0": "cosine: last rate, relative to the largest",
    "schedule.milestones" = "[0.6, 0.85]": "steps: fractions of the run",
    "schedule.factor" = "0.1": "steps: factor at each",
    "ema.decay" = "0.0": "decay of averaged weights; 0: none",
    "ema.ramp" = "0.0": "updates over which it is reached",
    "batch_norm.mode" = "'batch'": "batch (statistics of the batch) or frozen (running ones; affine still trained)",
    "batch_norm.add" = "false": "put one that changes nothing behind each convolution without one, so that gains of channels are trained; mode frozen",
    "batch_norm.momentum" = "0.1": "weight of a batch in the running statistics",
    "batch_norm.sync_stats" = "true": "of several ranks (--mpi): statistics of the whole batch, not of each rank's share",
    "batch_norm.reestimate" = "0": "batches through the projected net before export, in mode batch",
    "batch_norm.affine" = "true": "train scales, shifts and biases",
    "checkpoint.every" = "200": "steps between checkpoints; 0: at the end only",
    "log.every" = "20": "steps between lines of progress and of results.csv",
}

/// Where a run computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// On this machine's processor.
    Cpu,
    /// On the CUDA device of this number.
    Cuda(usize),
    /// On the first CUDA device where it can be used, else on the processor.
    Auto,
}

/// A complete, checked recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    values: BTreeMap<&'static str, Value>,
}

impl Recipe {
    /// Reads a recipe and overrides: `key=value` with a TOML value, or bare text.
    ///
    /// # Errors
    /// Text that is no TOML, keys that do not exist (with the nearest one), values of another type or outside of their range; with the line or
    /// the override.
    pub fn parse(text: &str, settings: &[String]) -> Result<Recipe, RecipeError> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| RecipeError {
            place: error::place_of(text, &e),
            fault: Fault::Toml(e.message().to_string()),
        })?;
        let mut given = Vec::new();
        flatten("", &Value::Table(table), &mut given);
        let mut recipe = Recipe {
            values: KEYS.iter().map(|k| (k.name, literal(k.default))).collect(),
        };
        for (key, value) in given {
            recipe.set(&key, value).map_err(|fault| RecipeError {
                place: error::place_of_key(text, &key),
                fault,
            })?;
        }
        for setting in settings {
            let assigned = setting.split_once('=').ok_or(Fault::Setting);
            assigned
                .and_then(|(key, value)| recipe.set(key.trim(), literal(value.trim())))
                .map_err(|fault| RecipeError {
                    place: Place::Setting(setting.clone()),
                    fault,
                })?;
        }
        recipe.check().map_err(|fault| {
            let Fault::Value { key, .. } = &fault else {
                unreachable!("a check refuses the value of a key");
            };
            let of_key = |s: &&String| s.split_once('=').is_some_and(|(k, _)| k.trim() == key);
            let place = match settings.iter().rev().find(of_key) {
                Some(setting) => Place::Setting(setting.clone()),
                None => error::place_of_key(text, key),
            };
            RecipeError { place, fault }
        })?;
        Ok(recipe)
    }

    fn set(&mut self, key: &str, value: Value) -> Result<(), Fault> {
        let known = KEYS.iter().find(|k| k.name == key).ok_or_else(|| unknown(key))?;
        self.values.insert(known.name, converted(known, value)?);
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
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

    fn get(&self, key: &str) -> &Value {
        self.values
            .get(key)
            .unwrap_or_else(|| panic!("{key} is no key of a recipe"))
    }

    /// A text.
    ///
    /// # Panics
    /// Here and below: when there is no such key, or it is of another type.
    pub fn text(&self, key: &str) -> &str {
        self.get(key)
            .as_str()
            .unwrap_or_else(|| panic!("{key} is no text"))
    }

    /// A number.
    pub fn number(&self, key: &str) -> f64 {
        let value = self.get(key);
        value
            .as_float()
            .or(value.as_integer().map(|i| i as f64))
            .unwrap_or_else(|| panic!("{key} is no number"))
    }

    /// A whole number, not negative.
    pub fn count(&self, key: &str) -> u64 {
        self.get(key)
            .as_integer()
            .unwrap_or_else(|| panic!("{key} is no whole number"))
            .max(0) as u64
    }

    /// Yes or no.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key)
            .as_bool()
            .unwrap_or_else(|| panic!("{key} is neither true nor false"))
    }

    /// A list of numbers.
    pub fn numbers(&self, key: &str) -> Vec<f64> {
        let number = |v: &Value| v.as_float().or(v.as_integer().map(|i| i as f64));
        self.get(key)
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(number)
            .collect()
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Vec<&str> {
        self.get(key)
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        device(self.text("device")).unwrap_or(Device::Cpu)
    }

    /// The recipe as TOML, a key a line, without the keys that change no number ([`FREE`]): what checkpoints and models keep, and what decides
    /// whether a run may go on.
    pub fn to_toml(&self) -> String {
        let keys = KEYS.iter().filter(|k| !FREE.contains(&k.name));
        keys.map(|k| format!("{} = {}\n", k.name, self.values[k.name]))
            .collect()
    }
}

/// Keys that change neither the numbers of a run nor its model.
pub const FREE: [&str; 6] = [
    "output",
    "threads",
    "workers",
    "data.cache",
    "checkpoint.every",
    "log.every",
];

fn device(text: &str) -> Option<Device> {
    match text {
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        "auto" => Some(Device::Auto),
        _ => text.strip_prefix("cuda:")?.parse().ok().map(Device::Cuda),
    }
}

/// Dotted keys of all values that are no tables.
fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let name = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&name, value, out);
            }
        }
        value => out.push((prefix.to_string(), value.clone())),
    }
}

/// A TOML value, or the text itself.
fn literal(text: &str) -> Value {
    let parsed = format!("x = {text}").parse::<toml::Table>();
    let value = parsed
        .ok()
        .filter(|t| t.len() == 1)
        .and_then(|mut t| t.remove("x"));
    value.unwrap_or_else(|| Value::String(text.to_string()))
}

fn unknown(key: &str) -> Fault {
    Fault::Unknown {
        key: key.into(),
        nearest: nearest(key, KEYS.iter().map(|k| k.name)),
    }
}

/// The value in the type of the key's default; whole numbers may stand for others.
fn converted(key: &Key, value: Value) -> Result<Value, Fault> {
    let default = literal(key.default);
    let want = match (&default, &value) {
        (Value::Float(_), Value::Integer(i)) => return Ok(Value::Float(*i as f64)),
        (Value::Array(a), Value::Array(b)) => {
            let numbers = a.iter().any(|v| v.as_float().is_some());
            let right = |v: &Value| match numbers {
                true => v.as_float().is_some() || v.as_integer().is_some(),
                false => v.as_str().is_some(),
            };
            if b.iter().all(right) {
                return Ok(value);
            }
            if numbers {
                "a list of numbers"
            } else {
                "a list of texts"
            }
        }
        _ if default.same_type(&value) => return Ok(value),
        (Value::Float(_), _) => "a number",
        (Value::Integer(_), _) => "a whole number",
        (Value::Boolean(_), _) => "true or false",
        (Value::Array(_), _) => "a list",
        _ => "a text",
    };
    Err(Fault::Value {
        key: key.name.into(),
        value: value.to_string(),
        want: want.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_a_recipe_and_it_reads_itself_back() {
        let recipe = Recipe::parse("", &[]).unwrap();
        assert_eq!(recipe.number("optimizer.rate"), 0.001);
        assert_eq!(recipe.numbers("augment.hsv"), [0.015, 0.5, 0.4]);
        assert_eq!(Recipe::parse(&recipe.to_toml(), &[]), Ok(recipe));
        for key in KEYS {
            assert!(!key.doc.is_empty() && !key.doc.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn faults_are_named_with_a_way_out() {
        let refused = |text: &str, settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
            Recipe::parse(text, &settings).unwrap_err().to_string()
        };
        assert!(refused("[metod]\ngrid = \"lbw4\"", &[]).contains("\"method.grid\""));
        assert!(refused("", &["stepz=3"]).contains("\"steps\""));
        assert!(refused("", &["steps"]).contains("KEY=VALUE"));
        assert!(refused("steps = 0", &[]).contains("at least 1"));
        assert!(refused("steps = \"many\"", &[]).contains("a whole number"));
        assert!(refused("augment.flip = 2", &[]).contains("0 … 1"));
        assert!(refused("augment.scale = [2, 1]", &[]).contains("ascending"));
        assert!(refused("method.rules = [1]", &[]).contains("a list of texts"));
        assert!(refused("method.name = \"lsp\"", &[]).contains("\"lsq\""));
        assert!(refused("steps = ", &[]).contains("no TOML"));
        assert!(refused("device = \"cuda:first\"", &[]).contains("cuda:N"));
    }

    #[test]
    fn faults_name_the_line_or_the_override() {
        let text = "steps = 3\n\n[optimizer] # a comment\nrate = 0.1\nmomentun = 0.9\nclip = -1\n\n[xylophone.\"a.b\"]\nz = 1\n";
        let refused = |without: &[&str], settings: &[&str]| {
            let keep = |l: &&str| !without.iter().any(|w| l.starts_with(w));
            let lines: Vec<&str> = text.lines().map(|l| if keep(&l) { l } else { "" }).collect();
            let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
            Recipe::parse(&lines.join("\n"), &settings)
                .unwrap_err()
                .to_string()
        };
        let near = "line 5: there is no key \"optimizer.momentun\"; did you mean \"optimizer.momentum\"? (`lowbit train --keys` lists all)";
        assert_eq!(refused(&[], &[]), near);
        let far = "line 9: there is no key \"xylophone.a.b.z\" (`lowbit train --keys` lists all)";
        assert_eq!(refused(&["momentun"], &[]), far);
        let rest = ["momentun", "[xylo", "z ="];
        let unset = refused(&rest, &["optimizer.rate=5000"]);
        assert_eq!(
            unset,
            "--set optimizer.rate=5000: \"optimizer.rate\" is 5000.0, but must be within 0 … 1000"
        );
        assert!(refused(&rest, &["steps"]).starts_with("--set steps: "));
        assert!(
            Recipe::parse("a = 1\nsteps = \n", &[])
                .unwrap_err()
                .to_string()
                .starts_with("line 2: ")
        );
        let fine = Recipe::parse("[optimizer]\n\nrate = 5000", &[]).unwrap_err();
        assert_eq!(fine.place, Place::Line(3));
    }

    #[test]
    fn settings_override_the_text_and_may_be_bare() {
        let settings = [
            "method.grid=pow2-4".to_string(),
            "augment.scale=[1, 1]".into(),
            "seed=7".into(),
        ];
        let recipe = Recipe::parse("[method]\ngrid = \"lbw2\"\n", &settings).unwrap();
        assert_eq!((recipe.text("method.grid"), recipe.count("seed")), ("pow2-4", 7));
        assert_eq!(recipe.numbers("augment.scale"), [1.0, 1.0]);
    }
}
