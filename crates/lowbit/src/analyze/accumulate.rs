//! How far values of one name are apart in both networks as they run.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use engine::Held;
use graph::{Graph, Op, Unary, ValueId};
use kernels::Pool;
use tensor::{Data, Tensor};

use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::runtime::{RunOptions, Runner};
use crate::side_by_side::{self, Share};
use crate::{Control, Error, Model, Result};

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
    let lent = lent(other);
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
            let clamped: Vec<f32>;
            let y = match lent.get(&value) {
                Some(&(low, high)) => {
                    clamped = y.iter().map(|y| y.max(low).min(high)).collect();
                    &clamped
                }
                None => y,
            };
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
    let part = side_by_side::at_a_time(pool, control, Share::NOTHING);
    for first in (0..pictures.len()).step_by(part) {
        progress.at("both networks", first, pictures.len());
        let count = part.min(pictures.len() - first);
        for found in side_by_side::map(pool, control, Share::NOTHING, count, &|i| picture(first + i))? {
            for (v, sums) in found {
                let mine = all.entry(v).or_default();
                mine.iter_mut().zip(sums).for_each(|(m, s)| *m += s);
            }
        }
    }
    progress.at("both networks", pictures.len(), pictures.len());
    Ok(all)
}

/// Bounds of the clamp whose quantizer an edge before it shares (`FORMAT.md` 1.5): such an edge holds clamped values already.
fn lent(graph: &Graph) -> HashMap<ValueId, (f32, f32)> {
    let consumers = graph.consumers();
    let bounds = |v: &ValueId| {
        let [only] = consumers.get(v)?[..] else {
            return None;
        };
        let node = &graph.nodes[only];
        let constant = |i: usize| Some(*graph.constant_input(node, i)?.as_f32()?.first()?);
        let bounds = match node.op {
            Op::Unary(Unary::Relu) => (0.0, f32::INFINITY),
            Op::Clip => (
                constant(1).unwrap_or(f32::NEG_INFINITY),
                constant(2).unwrap_or(f32::INFINITY),
            ),
            _ => return None,
        };
        (graph.edges.get(v) == graph.edges.get(&node.outputs[0])).then_some((*v, bounds))
    };
    graph.edges.keys().filter_map(bounds).collect()
}

fn squares(y: &[f32], low: impl Iterator<Item = f32>) -> [f64; 4] {
    y.iter().zip(low).fold([0.0; 4], |s, (&y, l)| {
        let (y, l) = (f64::from(y), f64::from(l));
        [s[0] + y * y, s[1] + l * l, s[2] + (y - l) * (y - l), s[3] + y * l]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use graph::EdgeQuantizer;

    #[test]
    fn an_edge_is_clamped_already_where_it_shares_the_quantizer_of_the_clamp_behind_it() {
        let mut g = Graph::new("t");
        let x = g.add_value("x", Some(tensor::DType::F32), Some(vec![Some(4)]));
        g.inputs.push(x);
        let a = g.add_node(Op::Unary(Unary::Sigmoid), &[x], "a");
        let y = g.add_node(Op::Unary(Unary::Relu), &[a], "y");
        g.outputs.push(y);
        let edge = EdgeQuantizer {
            scale: 0.5,
            zero_point: 0,
            bits: 8,
        };
        g.edges.extend([(a, edge), (y, edge)]);
        assert_eq!(lent(&g), HashMap::from([(a, (0.0, f32::INFINITY))]));
        g.edges.insert(a, EdgeQuantizer { scale: 0.25, ..edge });
        assert_eq!(lent(&g), HashMap::new());
    }
}
