//! In which forms a value is there, and how another form is made from one.

use graph::ValueId;
use kernels::Pool;
use kernels::int::PLANES;

use super::Compiler;
use crate::copy::{self, Copies};
use crate::error::Fault;
use crate::memory::Kind;
use crate::view::{BufferId, Order, View, channels_last, onnx_order};

/// What the elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repr {
    /// Codes of the edge's quantizer.
    Codes,
    /// f32.
    Real,
    /// Whole numbers below 2^24 in f32: the sums of a product that neurons alone read (`FORMAT.md` 1.16).
    Sums,
    /// A whole tensor of any type, in ONNX order.
    Tensor,
}

/// A value in memory.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) repr: Repr,
    pub(crate) view: View,
}

/// What a kernel demands of the elements' places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing: strides are enough.
    View,
    /// No gaps, in any order.
    Dense,
    /// No gaps, in this order.
    Order(Order),
    /// No gaps, batch, spatial axes, channels.
    ChannelsLast,
    /// Channels follow each other, pixels lie at one distance.
    Pixels,
}

impl Want {
    fn accepts(&self, view: &View) -> bool {
        match self {
            Want::View => true,
            Want::Dense => view.is_dense(),
            Want::Order(order) => view.is_dense_in(order),
            Want::ChannelsLast => view.is_dense_in(&channels_last(view.shape.len())),
            Want::Pixels => view.pixels().is_some(),
        }
    }

    /// The order in which a copy is made.
    fn order(&self, view: &View) -> Order {
        match self {
            Want::View | Want::Dense => view.order(),
            Want::Order(order) => order.clone(),
            Want::ChannelsLast | Want::Pixels => channels_last(view.shape.len()),
        }
    }
}

impl Compiler<'_> {
    /// Says that a value is there in a form.
    pub(crate) fn hold(&mut self, v: ValueId, repr: Repr, view: View) {
        self.residents.entry(view.buffer).or_default().push(v);
        self.forms.entry(v).or_default().push(Form { repr, view });
    }

    /// Says that a float operator has written a value: where its edge carries a quantizer, readers see codes alone (1.12).
    pub(crate) fn hold_float(&mut self, v: ValueId, view: View) {
        match self.edges.get(&v).copied() {
            None => self.hold(v, Repr::Real, view),
            Some(edge) => {
                let codes = self.buffer(Kind::Codes, view.len());
                let (from, len, isa) = (view.offset, view.len(), self.isa());
                // Pictures: what reads them takes codes of pixels side by side.
                let (order, planes) = match view.shape[..] {
                    [batch, channels @ 2..=PLANES, ref space @ ..]
                        if !space.is_empty() && view.is_dense_in(&onnx_order(view.shape.len())) =>
                    {
                        let pixels = space.iter().product();
                        (channels_last(view.shape.len()), [batch, channels, pixels])
                    }
                    _ => (view.order(), [1, 1, len]),
                };
                self.emit("quantize_f32", &[view.buffer], &[codes], {
                    Box::new(move |mut io| {
                        let x = &io.reals(0)[from..from + len];
                        kernels::int::quantize_planes(io.pool, isa, edge, planes, x, io.out_codes());
                        Ok(())
                    })
                });
                self.hold(v, Repr::Codes, View::dense(codes, &view.shape, &order));
            }
        }
    }

    /// A value as `repr`, its elements where `want` says; made from another form where it is not there yet.
    pub(crate) fn need(&mut self, v: ValueId, repr: Repr, want: &Want) -> Result<View, Fault> {
        if !self.forms.contains_key(&v) {
            self.constant(v)?;
        }
        let forms = &self.forms[&v];
        let fits = |f: &&Form| f.repr == repr && want.accepts(&f.view);
        if let Some(form) = forms.iter().find(fits) {
            return Ok(form.view.clone());
        }
        let same = forms
            .iter()
            .rev()
            .find(|f| f.repr == repr)
            .map(|f| f.view.clone());
        let view = match same {
            Some(view) => self.rearranged(&view, &want.order(&view), repr),
            None => self.converted(v, repr, want)?,
        };
        self.hold(v, repr, view.clone());
        Ok(view)
    }

    /// The place of a value that is no f32 of a fixed shape.
    pub(crate) fn tensor(&self, v: ValueId) -> Option<View> {
        let form = self.forms.get(&v)?.iter().find(|f| f.repr == Repr::Tensor);
        form.map(|f| f.view.clone())
    }

    /// A copy without gaps, in another order. Constants are copied now, everything else by an instruction.
    pub(crate) fn rearranged(&mut self, view: &View, order: &[usize], repr: Repr) -> View {
        if let Kind::Constant(values) = &self.buffers[view.buffer.0].kind {
            let onnx = copy::gather(&Pool::new(1), values, view);
            let source = View::dense(view.buffer, &view.shape, &onnx_order(view.shape.len()));
            let mut out = vec![0f32; view.len()];
            let target = View::dense(BufferId(self.buffers.len()), &view.shape, order);
            let x = onnx.as_f32().unwrap_or_default();
            if !out.is_empty() {
                Copies::new(&source, &target).run(&kernels::Pool::new(1), x, &mut out);
            }
            let buffer = self.buffer(Kind::Constant(out), view.len());
            return View::dense(buffer, &view.shape, order);
        }
        let kind = if repr == Repr::Codes {
            Kind::Codes
        } else {
            Kind::Reals
        };
        let buffer = self.buffer(kind, view.len());
        let target = View::dense(buffer, &view.shape, order);
        self.copy(view, &target, repr);
        target
    }

    /// Emits a copy between views.
    pub(crate) fn copy(&mut self, from: &View, to: &View, repr: Repr) {
        if from.len() == 0 {
            return;
        }
        let copy = Copies::new(from, to);
        self.emit(
            "copy",
            &[from.buffer],
            &[to.buffer],
            match repr {
                Repr::Codes => Box::new(move |mut io| {
                    copy.run(io.pool, io.codes(0), io.out_codes());
                    Ok(())
                }),
                _ => Box::new(move |mut io| {
                    copy.run(io.pool, io.reals(0), io.out_reals());
                    Ok(())
                }),
            },
        );
    }

    /// Codes from f32 or f32 from codes; the copy to the wanted order is made with the codes, which are smaller.
    fn converted(&mut self, v: ValueId, repr: Repr, want: &Want) -> Result<View, Fault> {
        let name = self.name(v);
        let edge = self.edges.get(&v).copied();
        match (repr, edge) {
            (Repr::Real, Some(edge)) => {
                let mut want = want.clone();
                if matches!(want, Want::View | Want::Pixels) {
                    want = if want == Want::View {
                        Want::Dense
                    } else {
                        Want::ChannelsLast
                    };
                }
                let codes = self.need(v, Repr::Codes, &want)?;
                let out = self.buffer(Kind::Reals, codes.len());
                let (from, len, isa) = (codes.offset, codes.len(), self.isa());
                self.emit("dequantize_u8", &[codes.buffer], &[out], {
                    Box::new(move |mut io| {
                        let x = &io.codes(0)[from..from + len];
                        kernels::int::dequantize(io.pool, isa, edge, x, io.out_reals());
                        Ok(())
                    })
                });
                let order = codes.order();
                Ok(View::dense(out, &codes.shape, &order))
            }
            _ => Err(Fault(format!("value \"{name}\" is not there as {repr:?}"))),
        }
    }

    /// Makes a constant f32 value readable: a tensor, or a quantized weight that an operator reads as data.
    fn constant(&mut self, v: ValueId) -> Result<(), Fault> {
        let values = self.weight(v)?;
        let shape = self.shape(v)?;
        let buffer = self.buffer(Kind::Constant(values), shape.iter().product());
        let view = View::dense(buffer, &shape, &onnx_order(shape.len()));
        self.hold(v, Repr::Real, view);
        Ok(())
    }

    /// The numbers of a constant f32 value.
    pub(crate) fn weight(&self, v: ValueId) -> Result<Vec<f32>, Fault> {
        if let Some(weight) = self.graph.weights.get(&v) {
            return Ok(weight.decode());
        }
        let tensor = self.graph.constants.get(&v);
        match tensor.and_then(|t| t.as_f32()) {
            Some(values) => Ok(values.to_vec()),
            None => Err(Fault(format!("\"{}\" is no f32 value", self.name(v)))),
        }
    }

    /// Whether the node being lowered is the last to need the buffer of a view, so that it may write there.
    pub(crate) fn dies_here(&self, view: &View) -> bool {
        let kept = self.options.keep_all || matches!(self.buffers[view.buffer.0].kind, Kind::Constant(_));
        let last = |v: &ValueId| {
            !self.graph.outputs.contains(v)
                && self
                    .consumers
                    .get(v)
                    .is_none_or(|readers| readers.iter().all(|&n| n <= self.node || self.fused[n].is_some()))
        };
        !kept
            && self
                .residents
                .get(&view.buffer)
                .is_none_or(|all| all.iter().all(last))
    }
}
