//! The measurements: of each place by itself, of both networks, of repairs; and the order that follows from them.

use std::path::PathBuf;
use std::sync::Arc;

use graph::Graph;
use kernels::Pool;

use super::accumulate::Accumulated;
use super::own::{self, Own};
use super::rank::{self, Ranked};
use super::sites::{Alone, Repaired, Rounds, Site};
use crate::control::Progress;
use crate::pictures::spread;
use crate::quantize::trial::{Ground, Network, Trial};
use crate::side_by_side::Team;
use crate::{Control, Model, Result};

/// Pictures on which each place is tried alone.
pub(super) const ALONE: usize = 4;

/// The low-bit network as it is.
pub(super) struct Whole<'a>(pub(super) &'a Model);

impl Network for Whole<'_> {
    fn graph(&self, _: Team<'_>) -> Result<Graph> {
        Ok(self.0.graph().clone())
    }
}

/// What all measurements share.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    /// The float network with the channel factors of the low-bit one.
    pub(super) plain: &'a Model,
    pub(super) low: &'a Model,
    pub(super) pictures: &'a [PathBuf],
    pub(super) pool: &'a Arc<Pool>,
    pub(super) control: &'a Control,
}

impl Work<'_> {
    fn ground<T>(&self, work: &mut dyn FnMut(&Ground<'_>) -> Result<T>) -> Result<T> {
        let pictures = spread(self.pictures, ALONE);
        work(&Ground {
            float: self.plain,
            pictures: &pictures,
            pool: self.pool,
            control: self.control,
        })
    }

    /// What the low-bit network does with everything rounded.
    pub(super) fn whole(&self, progress: &mut dyn Progress) -> Result<Trial> {
        let trials = self.ground(&mut |ground| ground.run("both networks", &[Whole(self.low)], progress))?;
        Ok(trials.first().copied().unwrap_or_default())
    }

    /// What each place adds by itself, and what it alone does to the outputs.
    pub(super) fn measure(&self, sites: &[Site], progress: &mut dyn Progress) -> Result<Vec<(Own, Trial)>> {
        let own = own::measure(
            self.plain,
            sites,
            self.pictures,
            self.pool,
            self.control,
            progress,
        )?;
        let graph = self.plain.graph();
        let networks: Vec<Alone<'_>> = sites.iter().map(|site| Alone { graph, site }).collect();
        let alone = self.ground(&mut |ground| ground.run("one at a time", &networks, progress))?;
        Ok(own.into_iter().zip(alone).collect())
    }

    /// Errors of the outputs of the low-bit model with one of the places repaired, with the bias that goes better with it.
    fn repaired(&self, sites: &[&Site], progress: &mut dyn Progress) -> Result<Vec<f64>> {
        let (float, low) = (self.plain.graph(), self.low.graph());
        let mut networks = Vec::with_capacity(2 * sites.len());
        let mut of = Vec::with_capacity(2 * sites.len());
        for (i, &site) in sites.iter().enumerate() {
            let biases: &[bool] = match site.rounds {
                Rounds::Weight { .. } => &[false, true],
                Rounds::Edge(_) => &[false],
            };
            for &bias in biases {
                of.push(i);
                networks.push(Repaired {
                    float,
                    low,
                    site,
                    bias,
                });
            }
        }
        let trials = self.ground(&mut |ground| ground.run("repairs", &networks, progress))?;
        let mut errors = vec![f64::INFINITY; sites.len()];
        for (&i, trial) in of.iter().zip(&trials) {
            errors[i] = errors[i].min(trial.output_error);
        }
        Ok(errors)
    }

    /// All places with their indices, what hurts most first.
    pub(super) fn ranked(
        &self,
        sites: &[Site],
        measured: &[(Own, Trial)],
        whole: &Trial,
        accumulated: &Accumulated,
        progress: &mut dyn Progress,
    ) -> Result<Vec<(Ranked, usize)>> {
        let graph = self.plain.graph();
        let mut ranked: Vec<(Ranked, usize)> = (sites.iter().zip(measured).enumerate())
            .map(|(i, (site, (own, alone)))| {
                let judged = rank::judge(graph, site, own, alone, whole.output_error, accumulated);
                (judged, i)
            })
            .collect();
        ranked.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
        let first: Vec<&Site> = ranked.iter().take(rank::REPAIRED).map(|r| &sites[r.1]).collect();
        let errors = self.repaired(&first, progress)?;
        for (i, (ranked, _)) in ranked.iter_mut().enumerate() {
            rank::confirm(ranked, errors.get(i).copied(), whole.output_error);
        }
        ranked.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
        Ok(ranked)
    }
}
