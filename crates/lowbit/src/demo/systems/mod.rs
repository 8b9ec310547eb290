//! The other systems: each network on inputs that no training saw, drawn from the same seed as the detectors' scenes, verified like these.

mod boxes;
mod scene;
mod volumes;

use serde::Serialize;
use tasks::detect::eval::{Evaluation, Interval, Protocol};

use super::models::{Task, systems};
use super::{DemoOptions, Shown};
use crate::bench::{BenchOptions, by_turns};
use crate::control::Progress;
use crate::energy::spiking::SpikingEnergy;
use crate::output::Folder;
use crate::report::page::Jpeg;
use crate::runtime::Outputs;
use crate::verify::{Difference, verify_on};
use crate::{Model, Result, RunOptions, inspect, text};

/// One system's numbers.
#[derive(Debug, Clone, Serialize)]
pub struct SystemRow {
    /// Name.
    pub system: String,
    /// What it was judged on, in words.
    pub inputs: String,
    /// What its score is: mAP50, mean dice, overall accuracy.
    pub measure: &'static str,
    /// The score, 0 … 1.
    pub score: f64,
    /// Bytes of its file.
    pub file_bytes: usize,
    /// Stored bits per weight, scales included.
    pub bits_per_weight: f64,
    /// 32 bits for every weight and bias, divided by all stored bits.
    pub compression: f64,
    /// Median time of the network for one input (picture, volume or pixel), one thread.
    pub median_ms: f64,
    /// Share of the multiply-accumulates that run in integers.
    pub integer_mac_share: f64,
    /// Elements compared with the scalar program.
    pub verified: usize,
    /// The first layer that differs.
    pub difference: Option<Difference>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// What this system alone has.
    pub own: Own,
}

/// What one system alone has.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // Three of them in a program's life.
pub enum Own {
    /// Groups of weights are pruned.
    Pruned {
        /// Groups of the layers that are pruned.
        groups: usize,
        /// Share of them that is zeros, 0 … 1.
        share: f64,
        /// 95 % interval of the difference to the float detector on the same scenes.
        against_float: Option<Interval>,
        /// Median over the rounds of the float detector's time / this one's.
        faster: f64,
    },
    /// Masks of volumes.
    Volumes {
        /// Mean over the volumes of each class' dice.
        dice: Vec<(String, f64)>,
    },
    /// Spikes over steps of time.
    Spiking {
        /// Share of right pixels of each class.
        classes: Vec<(String, f64)>,
        /// Cohen's κ.
        kappa: f64,
        /// Modelled energy of a pixel from the measured activity.
        energy: SpikingEnergy,
    },
}

/// Columns of the table of systems.
pub const SYSTEM_HEADER: [&str; 8] = [
    "system",
    "judged on",
    "accuracy",
    "file",
    "bits/weight",
    "× smaller",
    "ms",
    "verified",
];

impl SystemRow {
    /// Its row of the table.
    pub fn cells(&self) -> Vec<String> {
        vec![
            self.system.clone(),
            self.inputs.clone(),
            format!("{:.1} {}", 100.0 * self.score, self.measure),
            text::bytes(self.file_bytes),
            format!("{:.2}", self.bits_per_weight),
            format!("{:.1}", self.compression),
            format!("{:.2}", self.median_ms),
            super::page::compared(self.verified, self.difference.as_ref()),
        ]
    }

    /// What it alone has, in a sentence.
    pub fn detail(&self) -> String {
        let each = |all: &[(String, f64)]| -> String {
            let one = |(name, v): &(String, f64)| format!("{name} {:.1}", 100.0 * v);
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        match &self.own {
            Own::Pruned {
                groups,
                share,
                against_float,
                faster,
            } => {
                let loss = against_float.map_or_else(String::new, |i| {
                    let (least, most) = (-100.0 * i.high, -100.0 * i.low);
                    format!("; loss against float {least:.1}…{most:.1} points (95 %)")
                });
                format!(
                    "{:.0} % of {} groups of weights are zeros, the rest is ternary{loss}; {faster:.2} × as fast as float",
                    100.0 * share,
                    text::count(*groups as u64)
                )
            }
            Own::Volumes { dice } => format!("dice of {}", each(dice)),
            Own::Spiking { kappa, energy, .. } => {
                let activity = energy.layers.iter().filter_map(|l| l.activity);
                let all: Vec<String> = activity.map(|a| format!("{a:.2}")).collect();
                format!(
                    "kappa {kappa:.3}; spikes per neuron in {} steps, layer by layer, {}; modelled energy {:.1} × below the same network of ReLUs in float, {:.1} × with both at {} bits",
                    energy.steps,
                    all.join(", "),
                    energy.ratio_float32_to_bits,
                    energy.ratio_bits,
                    energy.bits
                )
            }
        }
    }
}

/// What the page shows of a system.
pub(super) struct Section {
    pub(super) heading: String,
    pub(super) paragraph: String,
    /// Pictures side by side, with captions.
    pub(super) pictures: Vec<Vec<(String, Jpeg)>>,
    /// A table of names and numbers.
    pub(super) columns: [&'static str; 2],
    pub(super) rows: Vec<Vec<String>>,
}

/// What the systems are judged on and beside.
pub(super) struct Given<'a> {
    pub(super) options: &'a DemoOptions,
    /// Of all that is drawn.
    pub(super) seed: u64,
    /// The detectors' scenes.
    pub(super) scenes: &'a mut [Shown],
    /// How boxes are scored.
    pub(super) protocol: &'a Protocol,
    /// The float detector, and what it scored.
    pub(super) float: (&'a Model, &'a Evaluation),
}

impl Given<'_> {
    /// One thread, for times.
    fn bench(&self) -> BenchOptions {
        BenchOptions {
            runs: self.options.runs.max(1),
            seed: self.options.seed,
            run: RunOptions {
                threads: 1,
                ..self.options.run.clone()
            },
            ..BenchOptions::default()
        }
    }
}

/// A score, and what was seen on the way.
struct Outcome {
    inputs: String,
    measure: &'static str,
    score: f64,
    own: Own,
    /// Inputs on which engine and scalar program are compared.
    compared: Vec<(String, Outputs)>,
    section: Section,
}

/// Runs all systems; pictures go to `systems/N-ROW-COLUMN.jpg`.
pub(super) fn run(
    mut given: Given<'_>,
    out: &Folder,
    progress: &mut dyn Progress,
) -> Result<(Vec<SystemRow>, Vec<Section>)> {
    let (mut rows, mut sections) = (Vec::new(), Vec::new());
    for (number, (system, model)) in systems()?.iter().enumerate() {
        given.options.run.control.check()?;
        let judge = match system.task {
            Task::Boxes => boxes::judge,
            Task::Volumes => volumes::judge,
            Task::Scene => scene::judge,
        };
        let judged = judge(system, model, &mut given, progress)?;
        let timing = by_turns(&[model], &given.bench(), progress)?;
        let verified = verify_on(model, &judged.compared, &given.options.run, progress)?;
        let inspected = inspect(model)?;
        rows.push(SystemRow {
            system: system.name.clone(),
            inputs: judged.inputs,
            measure: judged.measure,
            score: judged.score,
            file_bytes: model.file_bytes(),
            bits_per_weight: inspected.bits_per_weight,
            compression: inspected.compression.all,
            median_ms: timing[0].0.stats.median_ms,
            integer_mac_share: timing[0].0.integer_mac_share,
            verified: verified.elements,
            difference: verified.difference,
            sha256: model.sha256().to_string(),
            own: judged.own,
        });
        for (r, row) in judged.section.pictures.iter().enumerate() {
            for (c, (_, jpeg)) in row.iter().enumerate() {
                out.write(&format!("systems/{number}-{r}-{c}.jpg"), jpeg.bytes(), &[])?;
            }
        }
        sections.push(judged.section);
    }
    Ok((rows, sections))
}
