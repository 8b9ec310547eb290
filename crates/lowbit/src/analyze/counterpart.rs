//! The float network in the low-bit file's own terms: `quantize` may have moved factors s_c > 0 between the channels of two convolutions, so
//! that a layer's weights and values differ from the float file's by factors that cancel further on. They are read back from the file and
//! moved in the float network too: its function stays, and values of one name can be compared.
//!
//! ```text
//! A: w_c / s_c  →  edge  →  B: w[·, c] · s_c          the largest s_c of an edge is 1
//! ```
//! s_c is what A's weights, B's weights or A's biases say, the first whose channel still looks like the float one: one layer that is broken
//! leaves the others as they are.

use graph::{Graph, NodeId};

use crate::Model;
use crate::quantize::equalize::{Link, Writer, links, move_factors};

/// A channel of the file says something about its factor from this cosine with the float one on.
const LIKE: f64 = 0.7;

/// Factors whose largest is further from 1 are those of a layer whose scales are wrong as a whole.
const TOP: std::ops::RangeInclusive<f64> = 0.87..=1.15;

/// Rounds of rows by turns with columns: two do nearly all.
const ROUNDS: usize = 6;

/// The float model with the factors of `low`; as it is where none were moved.
pub(super) fn of(float: &Model, low: &Model) -> Model {
    let record = low.graph().metadata.get("lowbit.quantize");
    let record = record.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    if record.is_none_or(|r| r["equalization"] != true) {
        return float.clone();
    }
    let mut graph = float.graph().clone();
    let links = links(&graph);
    move_factors(&mut graph, &links, &mut |graph, link| {
        factors(graph, low.graph(), link)
    });
    float.with_graph(graph)
}

/// One number per channel, what it says and how much it looks like that: the factor and the cosine.
type Said = Vec<(f64, f64)>;

/// s_c of a link; `graph` has the factors of all earlier ones.
fn factors(graph: &Graph, low: &Graph, link: &Link) -> Option<Vec<f32>> {
    let writer = match link.writer {
        Writer::Convolution(n) => n,
        Writer::Behind(n) => return behind(graph, low, n),
    };
    let mut says = vec![rows(&pair(graph, low, writer, 1)?)];
    for &reader in &link.readers {
        says.extend(pair(graph, low, reader, 1).and_then(|p| columns(&p)));
    }
    says.extend(pair(graph, low, writer, 2).map(|p| rows(&p)));
    let channels = says[0].len();
    for said in says.iter_mut() {
        let like = said.iter().filter(|s| s.1 >= LIKE).map(|s| s.0);
        let top = like.fold(0f64, f64::max);
        if top > 0.0 && !TOP.contains(&top) {
            said.iter_mut().for_each(|s| s.0 /= top);
        }
    }
    let factor = |c: usize| {
        let sure = says.iter().filter_map(|said| said.get(c));
        let mut sure = sure.filter(|s| s.1 >= LIKE && s.0.is_finite() && s.0 > 0.0);
        sure.next().map_or(1.0, |s| s.0.clamp(1e-4, 1.0 / 0.87)) as f32
    };
    Some((0..channels).map(factor).collect())
}

/// Behind an activation that is not homogeneous, the file has a product with 1 / s_c.
fn behind(graph: &Graph, low: &Graph, n: NodeId) -> Option<Vec<f32>> {
    let name = format!("{}.equalize", graph.nodes[n].name);
    let node = low.nodes.iter().find(|node| node.name == name)?;
    let inverse = low.constant_input(node, 1)?.as_f32()?;
    Some(inverse.iter().map(|x| 1.0 / x).collect())
}

/// A constant input of a layer in both networks.
struct Pair {
    float: Vec<f32>,
    low: Vec<f32>,
    shape: Vec<usize>,
}

fn pair(graph: &Graph, low: &Graph, n: NodeId, input: usize) -> Option<Pair> {
    let node = &graph.nodes[n];
    let float = graph.constant_input(node, input)?;
    let other = low.nodes.iter().find(|other| other.name == node.name)?;
    let v = other.inputs.get(input).copied().flatten()?;
    let decoded = match low.weights.get(&v) {
        Some(weight) => weight.decode(),
        None => low.constants.get(&v)?.as_f32()?.to_vec(),
    };
    let float_values = float.as_f32()?.to_vec();
    (decoded.len() == float_values.len()).then_some(Pair {
        float: float_values,
        low: decoded,
        shape: float.shape().to_vec(),
    })
}

/// 1 / s of each row, by least squares; a bias has rows of one number, which look like the float one when their sign is the same.
fn rows(pair: &Pair) -> Said {
    let inner = (pair.float.len() / pair.shape[0].max(1)).max(1);
    let all = pair.float.chunks(inner).zip(pair.low.chunks(inner));
    all.map(|(f, l)| {
        let sums = sums(f.iter().zip(l).map(|(f, l)| (f64::from(*f), f64::from(*l))));
        (sums.0 / sums.1, cosine(sums))
    })
    .collect()
}

/// s of each column of a dense reader, whose own rows may have factors too: by turns. `None` where a row reads one channel alone.
fn columns(pair: &Pair) -> Option<Said> {
    let [outs, ins, ..] = pair.shape[..] else {
        return None;
    };
    if ins < 2 {
        return None;
    }
    let inner = (pair.float.len() / (outs * ins).max(1)).max(1);
    let at = |o: usize, i: usize| (o * ins + i) * inner..(o * ins + i + 1) * inner;
    let (mut row, mut column) = (vec![1f64; outs], vec![(1f64, 1f64); ins]);
    for _ in 0..ROUNDS {
        for (i, said) in column.iter_mut().enumerate() {
            let each = (0..outs).flat_map(|o| at(o, i).map(move |k| (k, o)));
            let sums = sums(each.map(|(k, o)| (row[o] * f64::from(pair.float[k]), f64::from(pair.low[k]))));
            *said = (sums.1 / sums.0.max(f64::MIN_POSITIVE), cosine(sums));
        }
        for (o, r) in row.iter_mut().enumerate() {
            let each = (0..ins).flat_map(|i| at(o, i).map(move |k| (k, i)));
            let sums =
                sums(each.map(|(k, i)| (column[i].0 * f64::from(pair.float[k]), f64::from(pair.low[k]))));
            *r = sums.1 / sums.0.max(f64::MIN_POSITIVE);
        }
    }
    // Rows and columns share one factor that neither knows.
    let top = column
        .iter()
        .filter(|c| c.1 >= LIKE)
        .fold(0f64, |m, c| m.max(c.0));
    (top > 0.0).then(|| column.into_iter().map(|(s, like)| (s / top, like)).collect())
}

/// Σ f², Σ f·l, Σ l².
fn sums(pairs: impl Iterator<Item = (f64, f64)>) -> (f64, f64, f64) {
    pairs.fold((0.0, 0.0, 0.0), |s, (f, l)| {
        (s.0 + f * f, s.1 + f * l, s.2 + l * l)
    })
}

fn cosine((f, both, l): (f64, f64, f64)) -> f64 {
    both / (f * l).sqrt().max(f64::MIN_POSITIVE)
}
