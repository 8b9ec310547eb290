//! How far values of one name are apart in both networks as they run.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use engine::Held;
use graph::ValueId;
use kernels::Pool;
use tensor::{Data, Tensor};

use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::runtime::{RunOptions, Runner};
use crate::{Control, Error, Model, Result, side_by_side};

/// Of values by name in both networks as they run: Σ y², Σ ŷ², Σ (y − ŷ)², Σ y·ŷ.
pub(super) type Accumulated = BTreeMap<ValueId, [f64; 4]>;

/// Runs both networks and compares their values by name.
pub(super) fn run(
    float: &Model,
    low: &Model,
    pictures: &[PathBuf],
    pool: &Arc<Pool>,
    control: &Control,
    progress: &mut dyn Progress,
) -> Result<Accumulated> {
    let options = RunOptions {
        control: control.clone(),
        ..RunOptions::default()
    };
    let plain = Runner::on_graph(float.graph(), pool.clone(), &options, true)?;
    let rounded = Runner::on_graph(low.graph(), pool.clone(), &options, true)?;
    let (graph, other) = (float.graph(), low.graph());
    let place: HashMap<ValueId, ValueId> = other
        .value_ids()
        .filter_map(|v| Some((v, graph.find(&other.value(v).name)?)))
        .collect();
    let picture = |i: usize| -> Result<Accumulated> {
        control.check()?;
        let path = &pictures[i];
        let (name, input) = input_of(float, &mut Reader::new(control), path)?;
        let mut values: HashMap<ValueId, Tensor> = HashMap::new();
        let mut keep = |_, value, held: &Held| {
            if let Held::Real(tensor) = held {
                values.insert(value, tensor.clone());
            }
        };
        let at = |e: Error| e.at(path.display());
        plain.watch(&[(&name, &input)], None, &mut keep).map_err(at)?;
        let mut found = Accumulated::new();
        let mut compare = |_, value: ValueId, held: &Held| {
            let Some(v) = place.get(&value) else { return };
            let Some(y) = values.remove(v) else { return };
            let Some(y) = y.as_f32() else { return };
            let sums = match (held, other.edges.get(&value)) {
                (Held::Codes(codes), Some(edge)) => match codes.data() {
                    Data::U8(codes) => squares(y, codes.iter().map(|&q| edge.dequantize(q))),
                    _ => return,
                },
                (Held::Real(tensor), _) => match tensor.as_f32() {
                    Some(low) => squares(y, low.iter().copied()),
                    None => return,
                },
                (Held::Codes(_), None) | (Held::Sums(_), _) => return,
            };
            found.insert(*v, sums);
        };
        rounded
            .watch(&[(&name, &input)], None, &mut compare)
            .map_err(at)?;
        Ok(found)
    };
    let mut all = Accumulated::new();
    let part = side_by_side::at_a_time(pool, control);
    for first in (0..pictures.len()).step_by(part) {
        progress.at("both networks", first, pictures.len());
        let count = part.min(pictures.len() - first);
        for found in side_by_side::map(pool, control, count, &|i| picture(first + i))? {
            for (v, sums) in found {
                let mine = all.entry(v).or_default();
                mine.iter_mut().zip(sums).for_each(|(m, s)| *m += s);
            }
        }
    }
    progress.at("both networks", pictures.len(), pictures.len());
    Ok(all)
}

fn squares(y: &[f32], low: impl Iterator<Item = f32>) -> [f64; 4] {
    y.iter().zip(low).fold([0.0; 4], |s, (&y, l)| {
        let (y, l) = (f64::from(y), f64::from(l));
        [s[0] + y * y, s[1] + l * l, s[2] + (y - l) * (y - l), s[3] + y * l]
    })
}
