//! Second and further points for the output channels that gain most by one, within a budget over all layers, or until each follows its float output as
//! well as is asked (Liu, Ye, Zhou, Liu, arXiv 2002.09049): what mixed widths do, with codes of one width.
//!
//! ```text
//! share:   minimize Σ_c e_c(m_c) / Σ_layer y²   subject to   Σ_c bits_c · (m_c − 1) ≤ B,    m_c ≤ 2
//! until:   m_c = the smallest with   e_c(m_c) ≤ τ · Σ y_c²,    m_c ≤ 4 and 12 bits a weight;  e_c(m) = Σ (y_c − ŷ_c)² with m points
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use graph::{NodeId, Point, WeightAnnotation};
use quant::annotate::Plan;
use quant::multipoint::budget::{Row, by_gain, exact, total_error};
use serde::Serialize;

use super::layers::{Stage, Survey};
use super::weights::{self, Layer};
use super::{ProjectOptions, Rounding};
use crate::control::Progress;
use crate::{Error, Result};

/// Which output channels get more than one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExtraRows {
    /// Those whose layer gains most by a second one: so many more bits of weights are stored, as a share of the bits of all codes, with each row's scale
    /// and number.
    Share(f64),
    /// Each until its signal to noise, 10·log10(Σy² / Σ(y − ŷ)²) on the calibration pictures, is so many dB: what the paper calls its threshold.
    Until(f64),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extended {
    /// Output channels with more than one point.
    pub channels: usize,
    /// Σ over channels of Σ(y − ŷ)² / Σy² of their layer, with one point each and with those they have; measured behind the layers with one.
    pub error: [f64; 2],
    /// The same with points taken by the largest gain for the bits alone; of a share.
    pub error_by_gain: Option<f64>,
    /// Whether no other choice within the share has less error; else those of largest gain were taken.
    pub exact: Option<bool>,
    /// Channels that stay below the wanted signal to noise with as many points as their grid allows.
    pub short: Option<usize>,
}

/// Bits that a row takes beside its codes: its number and its scale.
const OVERHEAD: u64 = 32 + 32;

/// Bytes that the table of the exact choice may take.
const TABLE: usize = 64 << 20;

/// Most points of a channel; a grid's bits may allow fewer.
const MOST_POINTS: u32 = 4;

/// An output channel that may have more points.
struct Channel {
    layer: NodeId,
    channel: u32,
    /// Σ(y − ŷ)² with 1, 2 … points and what a point costs, as shares of the layer's Σy² and in bits.
    row: Row,
    /// Its own Σy², as that share.
    energy: f64,
}

/// Layers with more points on some rows.
pub(super) fn extended(
    stage: &Stage<'_>,
    plan: &Plan,
    project: &ProjectOptions,
    rule: ExtraRows,
    pictures: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<(BTreeMap<NodeId, Layer>, Extended)> {
    if stage.rounding != Rounding::Feedback {
        return Err(Error::usage(
            "extra rows are chosen by the errors of the layers' outputs, which error feedback alone measures",
        )
        .help("leave --rounding, --solver and --no-correction out, or extra rows"));
    }
    let most = match rule {
        ExtraRows::Share(_) => 2,
        ExtraRows::Until(_) => MOST_POINTS,
    };
    let graph = stage.model.graph();
    // By points, from two on.
    let mut wider = Vec::new();
    for points in 2..=most {
        let mut more = plan.clone();
        more.weights
            .retain_mut(|task| match task.grid.with_points(points) {
                Some(grid) if task.grid.points() == 1 => {
                    task.grid = grid;
                    true
                }
                _ => false,
            });
        wider.push(weights::project(graph, &more, project, stage.workers())?);
    }
    let mut layers = weights::project(graph, plan, project, stage.workers())?;
    let survey = Stage {
        others: &wider,
        ..*stage
    };
    let surveys = survey.run(plan, &mut layers.clone(), pictures, progress)?.surveys;
    let all: u64 = surveys.keys().map(|n| code_bits(&layers[n].weight)).sum();
    let channels: Vec<Channel> = surveys
        .iter()
        .flat_map(|(n, s)| channels(*n, s, &layers[n].weight))
        .collect();
    let rows: Vec<Row> = channels.iter().map(|c| c.row.clone()).collect();
    let (points, mut found) = match rule {
        ExtraRows::Share(share) => within(&rows, (share * all as f64) as u64),
        ExtraRows::Until(decibels) => until(&channels, 10f64.powf(-0.1 * decibels)),
    };
    found.channels = points.iter().filter(|&&k| k > 0).count();
    found.error = [&vec![0; rows.len()], &points].map(|p| total_error(&rows, p));
    let mut chosen: BTreeMap<NodeId, Vec<(u32, usize)>> = BTreeMap::new();
    for (c, k) in channels.iter().zip(points).filter(|(_, k)| *k > 0) {
        chosen.entry(c.layer).or_default().push((c.channel, k));
    }
    for (n, channels) in chosen {
        let wide: Vec<&WeightAnnotation> = wider.iter().filter_map(|w| Some(&w.get(&n)?.weight)).collect();
        if let Some(layer) = layers.get_mut(&n) {
            extend(&mut layer.weight, &wide, &channels);
        }
    }
    Ok((layers, found))
}

fn code_bits(weight: &WeightAnnotation) -> u64 {
    weight.len() as u64 * u64::from(weight.bits)
}

/// The channels of a layer, with as many points as were surveyed.
fn channels(n: NodeId, survey: &Survey, weight: &WeightAnnotation) -> Vec<Channel> {
    let energy: f64 = survey.own.iter().map(|e| e.energy).sum();
    let wider: Vec<_> = survey.others.iter().map_while(Option::as_ref).collect();
    if energy <= 0.0 || wider.is_empty() {
        return Vec::new();
    }
    let cost = code_bits(weight) / survey.own.len() as u64 + OVERHEAD;
    let one = |(c, own): (usize, &quant::feedback::ChannelError)| {
        let more = wider.iter().map(|wide| wide.errors[c].error / energy);
        Channel {
            layer: n,
            channel: c as u32,
            row: Row {
                errors: std::iter::once(own.error / energy).chain(more).collect(),
                cost,
            },
            energy: own.energy / energy,
        }
    };
    survey.own.iter().enumerate().map(one).collect()
}

/// The least error within a budget of bits.
fn within(rows: &[Row], budget: u64) -> (Vec<usize>, Extended) {
    let gain = by_gain(rows, budget);
    let best = exact(rows, budget, TABLE);
    let found = Extended {
        error_by_gain: Some(total_error(rows, &gain)),
        exact: Some(best.is_some()),
        ..Extended::none()
    };
    (best.unwrap_or(gain), found)
}

/// For each channel the fewest points with which no more than a share of its energy is lost; where none has, those of least error.
fn until(channels: &[Channel], share: f64) -> (Vec<usize>, Extended) {
    let enough = |c: &Channel, error: f64| error <= share * c.energy;
    let points = |c: &Channel| {
        let errors = &c.row.errors;
        let least = || (0..errors.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b]));
        errors
            .iter()
            .position(|&e| enough(c, e))
            .or_else(least)
            .unwrap_or(0)
    };
    let points: Vec<usize> = channels.iter().map(points).collect();
    let short = channels
        .iter()
        .zip(&points)
        .filter(|(c, k)| !enough(c, c.row.errors[**k]));
    let found = Extended {
        short: Some(short.count()),
        ..Extended::none()
    };
    (points, found)
}

impl Extended {
    fn none() -> Extended {
        Extended {
            channels: 0,
            error: [0.0; 2],
            error_by_gain: None,
            exact: None,
            short: None,
        }
    }
}

/// Takes all points of some channels, so many more than one, from the same weight with that many points; `wide` by points, from two on.
fn extend(weight: &mut WeightAnnotation, wide: &[&WeightAnnotation], channels: &[(u32, usize)]) {
    let all = weight.shape[weight.axis];
    let each = weight.len() / all;
    let scale = |p: &Point, c: usize| p.scales[if p.scales.len() == 1 { 0 } else { c }];
    if let Some(first) = weight.points.first_mut()
        && first.scales.len() == 1
    {
        first.scales = vec![first.scales[0]; all];
    }
    let most = channels.iter().map(|c| c.1).max().unwrap_or(0);
    for p in 1..=most {
        let rows = channels.iter().filter(|c| c.1 >= p).map(|c| c.0);
        weight.points.push(Point {
            codes: vec![0; each * all],
            scales: vec![1.0; all],
            rows: Some(rows.collect()),
        });
    }
    for &(c, k) in channels {
        let c = c as usize;
        let at = c * each..(c + 1) * each;
        for (point, from) in weight.points.iter_mut().zip(&wide[k - 1].points) {
            point.codes[at.clone()].copy_from_slice(&from.codes[at.clone()]);
            point.scales[c] = scale(from, c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(errors: &[f64], energy: f64) -> Channel {
        Channel {
            layer: 0,
            channel: 0,
            row: Row {
                errors: errors.to_vec(),
                cost: 100,
            },
            energy,
        }
    }

    #[test]
    fn a_channel_gets_points_until_it_loses_no_more_than_the_share() {
        let channels = [
            channel(&[0.004, 0.001, 0.0], 0.5), // one point is enough
            channel(&[0.02, 0.004, 0.0], 0.5),  // two are
            channel(&[0.08, 0.02, 0.004], 0.5), // three are
            channel(&[0.08, 0.02, 0.03], 0.5),  // none is enough: two are best
            channel(&[0.0, 0.0], 0.0),          // a dead one
        ];
        let (points, found) = until(&channels, 0.01);
        assert_eq!(points, [0, 1, 2, 1, 0]);
        assert_eq!(found.short, Some(1));
    }

    #[test]
    fn a_share_is_spent_exactly_where_gain_for_the_bits_alone_is_worse() {
        let row = |errors: &[f64], cost| Row {
            errors: errors.to_vec(),
            cost,
        };
        let rows = [row(&[10.0, 1.0], 300), row(&[5.0, 0.0], 100)];
        let (points, found) = within(&rows, 300);
        assert_eq!(
            (points, found.exact, found.error_by_gain),
            (vec![1, 0], Some(true), Some(10.0))
        );
    }

    #[test]
    fn channels_take_the_points_of_the_weight_that_has_so_many() {
        let weight = |points: &[[u8; 4]]| {
            let whole = points
                .iter()
                .map(|codes| Point::whole(codes.to_vec(), vec![f32::from(codes[0])]));
            WeightAnnotation {
                points: whole.collect(),
                ..annotation()
            }
        };
        let mut one = weight(&[[1, 1, 1, 1]]);
        let (two, three) = (
            weight(&[[2, 2, 3, 3], [4, 4, 5, 5]]),
            weight(&[[2, 1, 2, 1], [3, 1, 3, 1], [1, 2, 1, 2]]),
        );
        extend(&mut one, &[&two, &three], &[(0, 1), (1, 2)]);
        let [first, second, third] = &one.points[..] else {
            panic!("{:?}", one.points)
        };
        assert_eq!(
            (&first.codes[..], &first.scales[..]),
            (&[2, 2, 2, 1][..], &[2.0, 2.0][..])
        );
        assert_eq!(
            (&second.codes[..], &second.rows),
            (&[4, 4, 3, 1][..], &Some(vec![0, 1]))
        );
        assert_eq!(
            (&third.codes[..], &third.rows),
            (&[0, 0, 1, 2][..], &Some(vec![1]))
        );
    }

    fn annotation() -> WeightAnnotation {
        let (w, grid) = ([1.0, 1.0, 1.0, 1.0], "int4".parse().unwrap());
        let options = ProjectOptions {
            granularity: super::super::Granularity::Tensor,
            ..ProjectOptions::default()
        };
        quant::project_weight(&grid, &w, &[2, 2], 0, &options).unwrap().0
    }
}
