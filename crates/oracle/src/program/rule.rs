//! Which integer rule of `FORMAT.md` a node follows, or why none.

use std::collections::BTreeMap;

use graph::{
    Binary, EdgeQuantizer, Graph, Node, Op, PadMode, ReduceKind, ResizeMode, Unary, ValueId, real_function,
};
use tensor::{DType, Data, Tensor};

use super::number::{prove, prove_sum, rescale, table};
use super::product::{self, Product};
use super::spiking::{self, Neurons, Units};
use crate::ops::resize::{self, Axis};
use crate::ops::support::{Inputs, axes};

/// A table of 256 codes.
pub(super) type Table = Vec<u8>;

/// An integer rule with its numbers.
pub(super) enum Rule {
    /// 1.3, 1.4.
    Product(Box<Product>),
    /// 1.5.
    Table(Table),
    /// 1.6: multipliers of both operands.
    Sum([f32; 2]),
    /// 1.7.
    Times(f32),
    /// 1.8: for each output, where its quantizer differs.
    Moves(Vec<Option<Table>>),
    /// 1.8: for each input, where its quantizer differs.
    Concat(Vec<Option<Table>>),
    /// 1.9.
    Average,
    /// 1.10: fraction bits per axis, multiplier.
    Linear { bits: u32, m: f32 },
    /// 1.16.
    Fires(Neurons),
}

/// Why a node is float.
pub(super) enum Float {
    /// No rule covers it as it stands.
    Uncovered(String),
    /// A rule does, but its bound (1.13) fails.
    Unbounded(String),
}

impl From<String> for Float {
    fn from(reason: String) -> Float {
        Float::Uncovered(reason)
    }
}

impl From<&str> for Float {
    fn from(reason: &str) -> Float {
        Float::Uncovered(reason.into())
    }
}

/// A node among quantized edges.
pub(super) struct Place<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
    pub(super) edges: &'a BTreeMap<ValueId, EdgeQuantizer>,
    /// Quantizers of the outputs.
    pub(super) outputs: Vec<Option<EdgeQuantizer>>,
    /// Neurons alone read the output, and want sums.
    pub(super) hands_on: bool,
    /// Values that hold sums.
    pub(super) sums: &'a BTreeMap<ValueId, Units>,
}

impl Place<'_> {
    /// The rule of the node.
    pub(super) fn rule(&self) -> Result<Rule, Float> {
        match &self.node.op {
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. } | Op::MatMul => {
                Ok(Rule::Product(Box::new(product::product(self)?)))
            }
            Op::Unary(u) => {
                let f = real_function(*u).ok_or("its result is not a real number")?;
                self.table(&f)
            }
            Op::Clip => self.clip(),
            Op::Binary(op @ (Binary::Add | Binary::Sub | Binary::Mul)) => self.binary(*op),
            Op::AveragePool(p) => {
                let taps = p.kernel.iter().map(|&k| k as f64).product();
                self.average(taps)
            }
            Op::GlobalAveragePool => self.average(self.pixels()?),
            Op::Reduce {
                kind: ReduceKind::Mean,
                ..
            } => {
                self.spatial_axes()?;
                self.average(self.pixels()?)
            }
            Op::Resize(r) if r.mode == ResizeMode::Linear => self.linear(),
            Op::Concat { .. } => self.concat(),
            Op::IntegrateFire(op) => Ok(Rule::Fires(spiking::neurons(self, op, self.sums)?)),
            op if moves(op) => self.moves(),
            op => Err(format!("no integer rule covers {} (1.11)", op.name()).into()),
        }
    }

    /// The quantizer of an input that must carry one.
    pub(super) fn quantizer(&self, i: usize) -> Result<EdgeQuantizer, Float> {
        let v = self.node.inputs.get(i).copied().flatten();
        let v = v.ok_or_else(|| format!("its input {i} is left out"))?;
        if self.graph.is_constant(v) {
            return Err(format!("its input {i} is a constant without an integer rule (1.11)").into());
        }
        let missing = || format!("its input \"{}\" carries no quantizer", self.graph.value(v).name);
        Ok(*self.edges.get(&v).ok_or_else(missing)?)
    }

    /// The quantizer of an output that must carry one.
    fn output(&self) -> Result<EdgeQuantizer, Float> {
        Ok(self
            .outputs
            .first()
            .copied()
            .flatten()
            .ok_or("its output carries no quantizer")?)
    }

    /// Inputs from the second on, which are parameters, are constants.
    fn parameters(&self) -> Result<(), Float> {
        let dynamic = |v: &ValueId| !self.graph.constants.contains_key(v);
        match self.node.inputs.iter().skip(1).flatten().find(|v| dynamic(v)) {
            Some(v) => Err(format!("its parameter \"{}\" is computed", self.graph.value(*v).name).into()),
            None => Ok(()),
        }
    }

    fn constant(&self, i: usize) -> Option<&Tensor> {
        self.graph.constant_input(self.node, i)
    }

    /// Axes of the first input.
    pub(super) fn rank(&self) -> Option<usize> {
        let v = self.node.inputs.first().copied().flatten()?;
        self.graph.value(v).shape.as_ref().map(Vec::len)
    }

    /// Spatial dimensions of the first input.
    fn spatial(&self) -> Result<Vec<Option<usize>>, Float> {
        let v = self.node.inputs.first().copied().flatten();
        let shape = v.and_then(|v| self.graph.value(v).shape.as_ref());
        let shape = shape.ok_or("its input's shape is not known")?;
        match shape.get(2..) {
            Some(spatial) if !spatial.is_empty() => Ok(spatial.to_vec()),
            _ => Err("its input has no spatial axes".into()),
        }
    }

    /// Elements of the whole picture.
    fn pixels(&self) -> Result<f64, Float> {
        let sizes: Option<Vec<usize>> = self.spatial()?.into_iter().collect();
        let sizes = sizes.ok_or("its input's size is not known")?;
        Ok(sizes.iter().map(|&n| n as f64).product())
    }

    fn table(&self, f: &dyn Fn(f64) -> f64) -> Result<Rule, Float> {
        Ok(Rule::Table(table(f, self.quantizer(0)?, self.output()?)))
    }

    fn clip(&self) -> Result<Rule, Float> {
        self.parameters()?;
        let bound = |i: usize| match self.constant(i).map(Tensor::data) {
            None => Ok(None),
            Some(Data::F32(v)) if v.len() == 1 => Ok(Some(f64::from(v[0]))),
            Some(_) => Err(Float::from("a bound is not one F32")),
        };
        let (low, high) = (bound(1)?, bound(2)?);
        self.table(&|x| {
            let x = low.map_or(x, |l| x.max(l));
            high.map_or(x, |h| x.min(h))
        })
    }

    fn binary(&self, op: Binary) -> Result<Rule, Float> {
        let (a, b, y) = (self.quantizer(0)?, self.quantizer(1)?, self.output()?);
        let hi = [a, b].map(|e| f64::from(e.max_code()));
        let [sa, sb, sy] = [a, b, y].map(|e| f64::from(e.scale));
        if op == Binary::Mul {
            let m = (sa * sb / sy) as f32;
            prove(hi[0] * hi[1], m).map_err(Float::Unbounded)?;
            return Ok(Rule::Times(m));
        }
        let mut m = [(sa / sy) as f32, (sb / sy) as f32];
        if op == Binary::Sub {
            m[1] = -m[1];
        }
        prove_sum(hi, m).map_err(Float::Unbounded)?;
        Ok(Rule::Sum(m))
    }

    /// 1.9 with windows of at most `taps` elements.
    fn average(&self, taps: f64) -> Result<Rule, Float> {
        let (x, y) = (self.quantizer(0)?, self.output()?);
        let m = (f64::from(x.scale) / f64::from(y.scale)) as f32;
        prove(f64::from(x.max_code()) * taps, m).map_err(Float::Unbounded)?;
        Ok(Rule::Average)
    }

    /// That a mean is over all spatial axes.
    fn spatial_axes(&self) -> Result<(), Float> {
        self.parameters()?;
        let rank = self.spatial()?.len() + 2;
        let given = self.constant(1).and_then(Tensor::to_i64).unwrap_or_default();
        let mut over = axes(&given, rank)?;
        over.sort_unstable();
        if over.into_iter().eq(2..rank) {
            Ok(())
        } else {
            Err("a mean over other axes than the spatial ones has no integer rule (1.9)".into())
        }
    }

    fn linear(&self) -> Result<Rule, Float> {
        self.parameters()?;
        let (x, y) = (self.quantizer(0)?, self.output()?);
        let plan = self.resize_plan()?;
        if plan[..plan.len().min(2)].iter().any(Axis::interpolated) {
            return Err("interpolation over batch or channels has no integer rule (1.10)".into());
        }
        let d = plan.iter().filter(|a| a.interpolated()).count() as u32;
        let bits = match d {
            0..=2 => 11,
            3 => 7,
            _ => return Err("four interpolated axes have no integer rule (1.10)".into()),
        };
        let unit = (1u64 << (bits * d)) as f64;
        let m = (f64::from(x.scale) / (f64::from(y.scale) * unit)) as f32;
        prove(f64::from(x.max_code()) * unit, m).map_err(Float::Unbounded)?;
        Ok(Rule::Linear { bits, m })
    }

    /// The axes of a Resize, as far as the input's shape is known.
    fn resize_plan(&self) -> Result<Vec<Axis>, Float> {
        let Op::Resize(op) = &self.node.op else {
            return Err("it is no Resize".into());
        };
        let v = self.node.inputs.first().copied().flatten();
        let shape = v.and_then(|v| self.graph.value(v).shape.clone());
        // Batch and channels may be unknown: with sizes they would have to be equal.
        let shape = shape.and_then(|s| s.into_iter().collect::<Option<Vec<usize>>>());
        let shape = shape.ok_or("its input's shape is not known")?;
        let constants: Vec<Option<&Tensor>> = (0..4).map(|i| self.constant(i)).collect();
        Ok(resize::plan(&shape, Inputs(&constants), op)?)
    }

    fn concat(&self) -> Result<Rule, Float> {
        let from: Vec<_> = (0..self.node.inputs.len())
            .map(|i| self.quantizer(i))
            .collect::<Result<_, _>>()?;
        let Some((&first, rest)) = from.split_first() else {
            return Err("it has no inputs".into());
        };
        let to = match self.outputs.first().copied().flatten() {
            Some(to) => to,
            None if rest.iter().all(|&e| e == first) => first,
            None => return Err("its inputs differ in quantizer and its output carries none".into()),
        };
        Ok(Rule::Concat(
            from.into_iter().map(|from| rescale(from, to)).collect(),
        ))
    }

    fn moves(&self) -> Result<Rule, Float> {
        self.parameters()?;
        let from = self.quantizer(0)?;
        if let Op::Pad { .. } = self.node.op {
            let zero = match self.constant(2).map(Tensor::data) {
                None => true,
                Some(Data::F32(v)) => v.iter().all(|&x| x == 0.0),
                Some(_) => false,
            };
            if !zero {
                return Err("it pads with another number than 0".into());
            }
        }
        let outputs = self.outputs.iter().map(|to| rescale(from, to.unwrap_or(from)));
        Ok(Rule::Moves(outputs.collect()))
    }
}

/// Operators of 1.8 with one input.
fn moves(op: &Op) -> bool {
    match op {
        Op::Slice
        | Op::Split { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::Gather { .. }
        | Op::Expand
        | Op::Tile
        | Op::MaxPool(_)
        | Op::GlobalMaxPool
        | Op::Identity
        | Op::Dropout => true,
        Op::Pad { mode } => *mode == PadMode::Constant,
        Op::Resize(r) => r.mode == ResizeMode::Nearest,
        _ => false,
    }
}

/// Whether an edge without a quantizer may take that of the clamp behind it (1.5): the operators of 1.3, 1.6, 1.7, 1.9.
pub(super) fn lends(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv(_)
            | Op::ConvTranspose(_)
            | Op::Gemm { .. }
            | Op::MatMul
            | Op::Binary(Binary::Add | Binary::Sub | Binary::Mul)
            | Op::AveragePool(_)
            | Op::GlobalAveragePool
            | Op::Reduce { .. }
    )
}

/// The quantizer that the edge before a clamp takes from it.
pub(super) fn lent(
    graph: &Graph,
    edge: ValueId,
    readers: &[usize],
    edges: &BTreeMap<ValueId, EdgeQuantizer>,
) -> Option<EdgeQuantizer> {
    let &[reader] = readers else { return None };
    let clamp = &graph.nodes[reader];
    let is_clamp = matches!(clamp.op, Op::Unary(Unary::Relu) | Op::Clip);
    if !is_clamp || clamp.inputs.first() != Some(&Some(edge)) || graph.outputs.contains(&edge) {
        return None;
    }
    edges.get(clamp.outputs.first()?).copied()
}

/// Whether an edge may hold f32, the only type with codes.
pub(super) fn may_be_float(graph: &Graph, v: ValueId) -> bool {
    matches!(graph.value(v).dtype, None | Some(DType::F32))
}
