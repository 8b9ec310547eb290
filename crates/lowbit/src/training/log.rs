//! What a run tells while it goes: lines of progress, rows of results.csv.

use std::fmt::Write as _;

use train::checkpoint::Checkpoint;
use train::trainer::StepReport;

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainLine {
    /// Updates done.
    pub step: u64,
    /// Updates of the run.
    pub steps: u64,
    /// Mean of the loss since the line before, in its parts.
    pub loss: Vec<(String, f64)>,
    /// Rate of the last update.
    pub rate: f64,
    /// Norm of the last gradient.
    pub norm: f64,
    /// Seconds until the end, from this process's own speed.
    pub eta: f64,
    /// mAP at IoU 0.5, or accuracy, where it was evaluated.
    pub score: Option<f64>,
}

/// What a run tells on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TrainEvent<'a> {
    /// How far it is.
    Line(&'a TrainLine),
    /// What its user should know: a sentence.
    Note(&'a str),
}

impl std::fmt::Display for TrainLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total: f64 = self.loss.iter().map(|l| l.1).sum();
        write!(f, "step {}/{}  loss {total:.4}", self.step, self.steps)?;
        for (name, value) in &self.loss {
            write!(f, "  {name} {value:.4}")?;
        }
        write!(
            f,
            "  rate {:.2e}  norm {:.3}  left {:.0} s",
            self.rate, self.norm, self.eta
        )?;
        match self.score {
            Some(score) => write!(f, "  score {score:.4}"),
            None => Ok(()),
        }
    }
}

/// Lines of results.csv, and what the next one sums up.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) text: String,
    /// Score of the quantized model before the first update.
    pub(super) start: Option<f64>,
    sums: Vec<(String, f64)>,
    count: u64,
    last: (u64, f64, f64),
}

impl Rows {
    /// Rows, and what the next one sums up, go into the checkpoint: a resumed run writes the same file.
    pub(super) fn put(&self, to: &mut Checkpoint) {
        to.meta.insert("results".into(), self.text.clone());
        to.meta.insert("row/count".into(), self.count.to_string());
        let bits = |s: &(String, f64)| format!("{} {:016x}", s.0, s.1.to_bits());
        let sums: Vec<String> = self.sums.iter().map(bits).collect();
        to.meta.insert("row/sums".into(), sums.join("\n"));
        if let Some(start) = self.start {
            to.meta
                .insert("row/start".into(), format!("{:016x}", start.to_bits()));
        }
    }

    pub(super) fn get(&mut self, from: &Checkpoint) {
        let text = |key: &str| from.meta.get(key).map(String::as_str).unwrap_or_default();
        self.text = text("results").to_string();
        self.count = text("row/count").parse().unwrap_or(0);
        let sum = |line: &str| {
            let (name, bits) = line.split_once(' ')?;
            let bits = u64::from_str_radix(bits, 16).ok()?;
            Some((name.to_string(), f64::from_bits(bits)))
        };
        self.sums = text("row/sums").lines().filter_map(sum).collect();
        self.start = u64::from_str_radix(text("row/start"), 16)
            .ok()
            .map(f64::from_bits);
    }

    pub(super) fn add(&mut self, report: &StepReport) {
        if self.sums.is_empty() {
            self.sums = report.loss.parts.iter().map(|p| (p.0.to_string(), 0.0)).collect();
        }
        for (sum, part) in self.sums.iter_mut().zip(&report.loss.parts) {
            sum.1 += part.1;
        }
        self.count += 1;
        self.last = (report.step + 1, report.rate, report.norm);
    }

    /// Closes a row.
    pub(super) fn line(&mut self, steps: u64, eta: f64, score: Option<f64>) -> TrainLine {
        let (step, rate, norm) = self.last;
        let count = self.count.max(1) as f64;
        let loss: Vec<(String, f64)> = self.sums.drain(..).map(|s| (s.0, s.1 / count)).collect();
        if self.text.is_empty() {
            let names: Vec<&str> = loss.iter().map(|l| l.0.as_str()).collect();
            let _ = writeln!(self.text, "step,rate,norm,{},score", names.join(","));
            if let Some(start) = self.start {
                let _ = writeln!(self.text, "0,,,{}{start:.6}", ",".repeat(names.len()));
            }
        }
        let values: Vec<String> = loss.iter().map(|l| format!("{:.6}", l.1)).collect();
        let score_text = score.map_or(String::new(), |s| format!("{s:.6}"));
        let _ = writeln!(
            self.text,
            "{step},{rate:e},{norm:.6},{},{score_text}",
            values.join(",")
        );
        self.count = 0;
        TrainLine {
            step,
            steps,
            loss,
            rate,
            norm,
            eta,
            score,
        }
    }

    /// The score of the finished model, in a row of its own.
    pub(super) fn finish(&mut self, score: Option<f64>) {
        if let Some(score) = score {
            let commas = self.text.lines().next().map_or(3, |l| l.matches(',').count());
            let _ = writeln!(self.text, "model{}{score:.6}", ",".repeat(commas));
        }
    }
}
