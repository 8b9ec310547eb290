//! `--max-drop`: the narrowest weights with which the model loses no more than it may.
//!
//! ```text
//! 1. the wish itself;                          good enough: done
//! 2. the grids of least error in each layer:   not good enough: int8 everywhere with ranges of its own, early layers in float where that helps; else no
//! 3. between their costs, the middle, again and again: the narrowest that was good enough
//! ```
//! A cost is what the wish is counted in: stored bits a weight for a grid or a width, else what its budget counts. The choice of grids within a cost is
//! that of [`allocate`](super::allocate), which looks at the layers once for all tries; ranges and equalization are found once, too. More bits nearly
//! always lose less, but nothing makes sure: what is returned was measured, and a narrower one that is good enough may exist.

use std::time::Instant;

use serde::Serialize;

use super::allocate::Market;
use super::costs::{self, Costs};
use super::prepared::Prepared;
use super::{Budget, Choice, Grid, QuantizeOptions, Quantized};
use crate::control::Progress;
use crate::evaluate::{DataSource, EvalOptions, evaluate};
use crate::text::counted;
use crate::{Error, Model, Result};

/// How much a model may lose.
#[derive(Debug, Clone)]
pub struct MaxDrop {
    /// As a share: 0.02 for two points.
    pub most: f64,
    /// Pictures with ground truth, where mAP is to be kept; without them the detections' agreement with the float model's on the calibration
    /// pictures is.
    pub data: Option<DataSource>,
}

/// What the drop is a drop of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// 1 − agreement of the detections with the float model's.
    Agreement,
    /// mAP of the float model − mAP.
    Map,
}

impl Measure {
    /// What points are points of.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Agreement => "agreement with the float model",
            Measure::Map => "mAP",
        }
    }
}

/// One model that was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Try {
    /// Grid or budget.
    pub what: String,
    /// Stored bits a weight, scales included.
    pub bits_per_weight: f64,
    /// Bytes of the file.
    pub file_bytes: usize,
    /// As a share.
    pub drop: f64,
}

/// How a model was searched for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Search {
    /// The most that it may lose, as a share.
    pub most: f64,
    /// Of what.
    pub measure: Measure,
    /// What this one loses.
    pub drop: f64,
    /// Why nothing better is returned, where this one loses more than it may.
    pub reason: Option<String>,
    /// All that were made, in order.
    pub tries: Vec<Try>,
}

/// Tries at most between wish and top.
const HALVINGS: usize = 5;

/// The search ends where costs differ by less than this share of the top.
const CLOSE: f64 = 0.03;

struct Searcher<'a> {
    model: &'a Model,
    options: &'a QuantizeOptions,
    max: &'a MaxDrop,
    /// mAP of the float model, where that is what counts.
    float: Option<f64>,
    tries: Vec<Try>,
    began: Instant,
    best: Option<(f64, Quantized)>,
}

/// The narrowest model that loses no more than it may; else the one that loses least, with the reason in its report.
pub(super) fn run(
    model: &Model,
    options: &QuantizeOptions,
    max: &MaxDrop,
    progress: &mut dyn Progress,
) -> Result<Quantized> {
    if !(0.0..=1.0).contains(&max.most) {
        return Err(Error::usage("a drop is a share in 0…1"));
    }
    if max.data.is_none() {
        model.detector_head().map_err(|e| {
            e.help("a drop without labels is one of detections: give pictures with ground truth with --data")
        })?;
    }
    let mut searcher = Searcher {
        model,
        options,
        max,
        float: None,
        tries: Vec::new(),
        began: Instant::now(),
        best: None,
    };
    if let Some(data) = &max.data {
        searcher.float = Some(searcher.map(model, data, progress)?);
    }
    let prepared = Prepared::new(model, options, progress)?;
    let reason = searcher.search(&prepared, progress)?;
    searcher.finish(reason)
}

impl Searcher<'_> {
    /// `None` where a model was found, else why not.
    fn search(
        &mut self,
        prepared: &Prepared<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Option<&'static str>> {
        let (axis, wish) = match self.options.choice {
            Choice::Budget(budget) => (budget, None),
            Choice::Grid(grid) => (Budget::AverageBits(0.0), Some(grid)),
            Choice::Bits(bits) => (
                Budget::AverageBits(0.0),
                Some(prepared.best_grid(bits, progress)?.0),
            ),
        };
        let mut from = 0;
        if let Some(grid) = wish {
            let quantized = prepared.fit(prepared.with_grid(grid)?, &mut self.numbered(progress))?;
            let bits = quantized.report.size.bits_per_weight * quantized.report.size.weights as f64;
            from = bits as u64;
            if self.judge(quantized, HALVINGS + 1, progress)? {
                return Ok(None);
            }
        }
        let mut market = Market::new(prepared, &wider(&self.options.among, wish)?)?;
        let costs = costs::of(&market, &axis, progress)?;
        if wish.is_none() {
            costs.check(&axis)?;
            market.survey(&costs, progress)?;
            from = costs.limit;
            let quantized = market.within(&axis, &mut costs.clone(), &mut self.numbered(progress))?;
            if self.judge(quantized, HALVINGS + 1, progress)? {
                return Ok(None);
            }
        } else if costs.most() > from {
            market.survey(&costs, progress)?;
        }
        let top = costs.most();
        let mut found = None;
        if top > from {
            found = self.at(top, &market, &axis, &costs, HALVINGS, progress)?;
        }
        let Some(mut to) = found else {
            return self.last_resort(progress);
        };
        for left in (0..HALVINGS).rev() {
            if to.saturating_sub(from) as f64 <= CLOSE * top as f64 {
                break;
            }
            let middle = from + (to - from) / 2;
            match self.at(middle, &market, &axis, &costs, left, progress) {
                Ok(Some(cost)) => to = cost.min(middle),
                Ok(None) => from = middle,
                // So few fit nothing at all.
                Err(e) if e.kind() == crate::ErrorKind::Usage => from = middle,
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Makes the model of a cost; what it costs, where it is good enough.
    fn at(
        &mut self,
        cost: u64,
        market: &Market<'_>,
        axis: &Budget,
        costs: &Costs,
        left: usize,
        progress: &mut dyn Progress,
    ) -> Result<Option<u64>> {
        let budget = axis.of(costs.shown(cost));
        let mut costs = Costs {
            limit: match budget {
                Budget::AverageBits(bits) => (bits * costs.per) as u64,
                _ => cost,
            },
            ..costs.clone()
        };
        let quantized = market.within(&budget, &mut costs, &mut self.numbered(progress))?;
        let spent = quantized
            .report
            .spent
            .map_or(cost, |s| (s.measured * costs.per) as u64);
        Ok(self.judge(quantized, left, progress)?.then_some(spent))
    }

    /// Eight bits everywhere, with settings that were chosen for them.
    fn last_resort(&mut self, progress: &mut dyn Progress) -> Result<Option<&'static str>> {
        let int8: Grid = "int8".parse()?;
        if self.options.choice != Choice::Grid(int8) {
            let options = QuantizeOptions {
                choice: Choice::Grid(int8),
                max_drop: None,
                ..self.options.clone()
            };
            let quantized = super::quantize(self.model, &options, &mut self.numbered(progress))?;
            if self.judge(quantized, 0, progress)? {
                return Ok(None);
            }
        }
        Ok(Some("even eight bits in every layer lose more"))
    }

    /// Measures a model and keeps it if it is the best so far; whether it is good enough.
    fn judge(&mut self, quantized: Quantized, left: usize, progress: &mut dyn Progress) -> Result<bool> {
        let drop = match (&self.max.data, self.float) {
            (Some(data), Some(float)) => {
                float - self.map(&quantized.model, data, &mut self.numbered(progress))?
            }
            _ => match quantized.report.agreement {
                Some(agreement) => 1.0 - agreement,
                None => {
                    return Err(Error::bad("the float model finds nothing on the calibration pictures")
                        .help("calibrate on pictures of the kind it was trained for, or give labelled ones with --data"));
                }
            },
        };
        let size = quantized.report.size;
        self.tries.push(Try {
            what: quantized.report.settings.grid.clone(),
            bits_per_weight: size.bits_per_weight,
            file_bytes: quantized.model.file_bytes(),
            drop,
        });
        let each = self.began.elapsed().as_secs_f64() / self.tries.len() as f64;
        let good = drop <= self.max.most;
        let more = match left {
            _ if good && self.tries.len() == 1 => String::new(),
            0 => String::new(),
            _ => format!("; at most {} more, about {each:.0} s each", counted(left, "try")),
        };
        progress.note(&format!(
            "try {}: {:.2} bits a weight lose {:.2} points of {}, {:.2} are allowed{more}",
            self.tries.len(),
            size.bits_per_weight,
            100.0 * drop,
            self.measure().name(),
            100.0 * self.max.most
        ));
        // Of those that are good enough the last is the narrowest; of the others the one that loses least.
        let better = self.best.as_ref().is_none_or(|(least, _)| drop < *least);
        if good || (better && self.best.as_ref().is_none_or(|b| b.0 > self.max.most)) {
            self.best = Some((drop, quantized));
        }
        Ok(good)
    }

    fn finish(self, reason: Option<&'static str>) -> Result<Quantized> {
        let measure = self.measure();
        let Some((drop, mut quantized)) = self.best else {
            return Err(Error::limit("no model was made"));
        };
        quantized.report.search = Some(Search {
            most: self.max.most,
            measure,
            drop,
            reason: reason.map(str::to_string),
            tries: self.tries,
        });
        Ok(quantized)
    }

    fn measure(&self) -> Measure {
        match self.max.data {
            Some(_) => Measure::Map,
            None => Measure::Agreement,
        }
    }

    /// The headline mAP on the labelled pictures.
    fn map(&self, model: &Model, data: &DataSource, progress: &mut dyn Progress) -> Result<f64> {
        let options = EvalOptions {
            resamples: 0,
            allow_skips: self.options.allow_skips,
            run: crate::RunOptions {
                threads: self.options.threads,
                control: self.options.control.clone(),
                ..crate::RunOptions::default()
            },
            ..EvalOptions::default()
        };
        let map = evaluate(model, data, &options, progress)?.headline_value();
        map.ok_or_else(|| {
            Error::bad("no class of the data has an object, so that there is no mAP").at(data.path.display())
        })
    }

    /// Steps named by the try that they belong to.
    fn numbered<'p>(&self, progress: &'p mut dyn Progress) -> Numbered<'p> {
        Numbered {
            progress,
            number: self.tries.len() + 1,
        }
    }
}

struct Numbered<'p> {
    progress: &'p mut dyn Progress,
    number: usize,
}

impl Progress for Numbered<'_> {
    fn at(&mut self, what: &str, done: usize, total: usize) {
        self.progress
            .at(&format!("try {}, {what}", self.number), done, total);
    }

    fn note(&mut self, text: &str) {
        self.progress.note(text);
    }
}

/// The wish, int8, and what may be chosen from as far as it is no narrower than the wish.
fn wider(among: &[Grid], wish: Option<Grid>) -> Result<Vec<Grid>> {
    let bits = |g: &Grid| g.bits() * g.points();
    let least = wish.as_ref().map_or(0, bits);
    let mut all: Vec<Grid> = among.iter().copied().filter(|g| bits(g) >= least).collect();
    for grid in wish.into_iter().chain(["int8".parse()?]) {
        if !all.contains(&grid) {
            all.push(grid);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_offers_nothing_narrower_than_the_wish() {
        let grids = |names: &[&str]| names.iter().map(|n| n.parse().unwrap()).collect::<Vec<Grid>>();
        let among = grids(&["ternary", "int4", "int6"]);
        let wish = "pow2-4".parse().unwrap();
        assert_eq!(
            wider(&among, Some(wish)).unwrap(),
            grids(&["int4", "int6", "pow2-4", "int8"])
        );
        assert_eq!(
            wider(&among, None).unwrap(),
            grids(&["ternary", "int4", "int6", "int8"])
        );
    }
}
