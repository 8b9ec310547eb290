//! Backward of a list of instructions: each one's gradients, from the last to the first.

use std::collections::HashMap;

use kernels::Isa;
use kernels::float::backward::{Reduce, WeightGradient, derivative_from_output};
use kernels::float::{Activation, BinaryOp, MatMul};

use super::build::{SlotInfo, SlotKind};
use super::instr::{Instr, Slot};
use super::lower::flipped;

/// What [`derive`] gives.
pub(super) struct Derived {
    pub(super) backward: Vec<Instr>,
    /// Gradient slot of each parameter that some output depends on.
    pub(super) gradients: HashMap<usize, Slot>,
    /// Of each input.
    pub(super) input_gradients: Vec<Option<Slot>>,
}

/// The backward instructions of forward ones; `outputs` are the slots whose gradients are given, and where.
pub(super) fn derive(
    slots: &mut Vec<SlotInfo>,
    forward: &[Instr],
    outputs: &[(Slot, Slot)],
    inputs: &[Slot],
) -> Derived {
    let mut readers: HashMap<Slot, usize> = HashMap::new();
    for slot in forward.iter().flat_map(Instr::reads) {
        *readers.entry(slot).or_default() += 1;
    }
    let mut found: HashMap<Slot, Vec<Slot>> = HashMap::new();
    for &(output, gradient) in outputs {
        found.entry(output).or_default().push(gradient);
    }
    let mut b = Backward {
        slots,
        instructions: Vec::new(),
        found,
        readers,
        gradients: HashMap::new(),
    };
    for instruction in forward.iter().rev() {
        b.one(instruction);
    }
    let input_gradients = inputs.iter().map(|&x| b.take(x)).collect();
    b.shared();
    Derived {
        backward: b.instructions,
        gradients: b.gradients,
        input_gradients,
    }
}

/// Gradients that have been found for slots.
struct Backward<'a> {
    slots: &'a mut Vec<SlotInfo>,
    instructions: Vec<Instr>,
    found: HashMap<Slot, Vec<Slot>>,
    /// How many forward instructions read a slot.
    readers: HashMap<Slot, usize>,
    /// Gradient slot of each parameter.
    gradients: HashMap<usize, Slot>,
}

impl Backward<'_> {
    fn info(&self, s: Slot) -> &SlotInfo {
        &self.slots[s.index()]
    }

    fn needs(&self, s: Slot) -> bool {
        self.info(s).needs
    }

    fn fresh(&mut self, name: String, len: usize, kind: SlotKind) -> Slot {
        self.slots.push(SlotInfo {
            name,
            len,
            kind,
            needs: false,
        });
        Slot(self.slots.len() as u32 - 1)
    }

    /// A slot for a gradient of `of`: that of a parameter which one instruction reads is the parameter's own.
    fn slot(&mut self, of: Slot) -> Slot {
        let (name, len) = (format!("d {}", self.info(of).name), self.info(of).len);
        if let SlotKind::Parameter(index) = self.info(of).kind
            && self.readers.get(&of) == Some(&1)
        {
            let slot = self.fresh(name, len, SlotKind::Gradient(index));
            self.gradients.insert(index, slot);
            return slot;
        }
        self.fresh(name, len, SlotKind::Temporary)
    }

    /// A slot of `len` elements that no gradient is.
    fn temporary(&mut self, name: &str, len: usize) -> Slot {
        self.fresh(name.into(), len, SlotKind::Temporary)
    }

    fn emit(&mut self, instruction: Instr) {
        self.instructions.push(instruction);
    }

    /// Notes a gradient of `of`.
    fn note(&mut self, of: Slot, gradient: Slot) {
        self.found.entry(of).or_default().push(gradient);
    }

    /// The gradient of a slot, if some output depends on it and it is wanted.
    fn take(&mut self, of: Slot) -> Option<Slot> {
        if !self.needs(of) {
            return None;
        }
        let list = self.found.remove(&of)?;
        match list[..] {
            [] => None,
            [one] => Some(one),
            _ => {
                let (name, len) = (format!("d {}", self.info(of).name), self.info(of).len);
                let y = self.temporary(&name, len);
                self.emit(Instr::Sum { inputs: list, y });
                Some(y)
            }
        }
    }

    /// Gradients of parameters that several instructions read.
    fn shared(&mut self) {
        let mut left: Vec<(Slot, Vec<Slot>)> = self.found.drain().collect();
        left.sort_by_key(|(of, _)| *of);
        for (of, list) in left {
            if let SlotKind::Parameter(index) = self.info(of).kind
                && !self.gradients.contains_key(&index)
            {
                let (name, len) = (format!("d {}", self.info(of).name), self.info(of).len);
                let y = self.fresh(name, len, SlotKind::Gradient(index));
                self.gradients.insert(index, y);
                self.emit(Instr::Sum { inputs: list, y });
            }
        }
    }

    /// Emits what `make` gives for a gradient slot of `of`, if that is wanted.
    fn to(&mut self, of: Slot, make: impl FnOnce(Slot) -> Instr) {
        if self.needs(of) {
            let slot = self.slot(of);
            self.emit(make(slot));
            self.note(of, slot);
        }
    }

    fn one(&mut self, instruction: &Instr) {
        let Some(output) = instruction.writes().into_iter().next_back() else {
            return;
        };
        let Some(dy) = self.take(output) else { return };
        match instruction.clone() {
            Instr::Conv {
                shape,
                transposed,
                activation,
                x,
                weight,
                bias,
                y,
            } => {
                let dy = self.behind(activation, y, dy);
                if let Some(bias) = bias {
                    self.to(bias, |db| Instr::ChannelSum { dy, db });
                }
                let plain = if transposed {
                    flipped(&shape)
                } else {
                    shape.clone()
                };
                if self.needs(weight) {
                    // The most that any instruction set takes.
                    let need = Isa::ALL
                        .iter()
                        .map(|&isa| WeightGradient::new(&plain, isa).scratch())
                        .max();
                    let scratch = self.temporary("scratch", need.unwrap_or(0));
                    let (x, dy) = if transposed { (dy, x) } else { (x, dy) };
                    self.to(weight, |dw| Instr::ConvWeightGradient {
                        shape: plain,
                        x,
                        dy,
                        scratch,
                        dw,
                    });
                }
                self.to(x, |dx| Instr::Conv {
                    shape: flipped(&shape),
                    transposed: !transposed,
                    activation: Activation::None,
                    x: dy,
                    weight,
                    bias: None,
                    y: dx,
                });
            }
            Instr::BatchNorm {
                op,
                x,
                gamma,
                beta,
                saved,
                ..
            } => {
                let scratch = self.temporary("scratch", 2 * op.channels);
                let (dx, dgamma, dbeta) = (self.slot(x), self.slot(gamma), self.slot(beta));
                self.emit(Instr::BatchNormBackward {
                    op,
                    x,
                    saved,
                    dy,
                    scratch,
                    dx,
                    dgamma,
                    dbeta,
                });
                self.note(x, dx);
                self.note(gamma, dgamma);
                self.note(beta, dbeta);
            }
            Instr::Activation { function, x, y } => {
                let from_output = derivative_from_output(function);
                let value = if from_output { y } else { x };
                self.to(x, |dx| Instr::ActivationBackward {
                    function,
                    from_output,
                    value,
                    dy,
                    dx,
                });
            }
            Instr::Binary {
                op,
                a_shape,
                b_shape,
                a,
                b,
                y,
            } => self.binary(op, [&a_shape, &b_shape], [a, b], y, dy),
            Instr::Scale { gain, x, .. } => self.to(x, |dx| Instr::Scale { gain, x: dy, y: dx }),
            Instr::Sum { inputs, .. } => {
                for x in inputs {
                    self.pass(x, dy);
                }
            }
            Instr::Reduce { op, x, .. } => self.to(x, |dx| Instr::Expand { op, dy, dx }),
            Instr::Concat { outer, parts, .. } => {
                let len = parts.iter().map(|p| p.1).sum();
                let mut start = 0;
                for (x, count) in parts {
                    self.to(x, |dx| Instr::Slice {
                        outer,
                        len,
                        start,
                        count,
                        x: dy,
                        y: dx,
                    });
                    start += count;
                }
            }
            Instr::Slice {
                outer,
                len,
                start,
                count,
                x,
                ..
            } => self.to(x, |dx| Instr::Place {
                outer,
                len,
                start,
                count,
                dy,
                dx,
            }),
            Instr::Gather { op, x, .. } => self.to(x, |dx| Instr::GatherBackward { op, dy, dx }),
            Instr::Permute { shape, axes, x, .. } => {
                let mut back = vec![0; axes.len()];
                for (to, &from) in axes.iter().enumerate() {
                    back[from] = to;
                }
                let shape = axes.iter().map(|&a| shape[a]).collect();
                self.to(x, |dx| Instr::Permute {
                    shape,
                    axes: back,
                    x: dy,
                    y: dx,
                });
            }
            Instr::MaxPool { shape, x, y } => self.to(x, |dx| Instr::MaxPoolBackward { shape, x, y, dy, dx }),
            Instr::AveragePool {
                shape, divisor, x, ..
            } => {
                self.to(x, |dx| Instr::AveragePoolBackward {
                    shape,
                    divisor,
                    dy,
                    dx,
                });
            }
            Instr::ResizeLinear {
                op,
                batch,
                channels,
                x,
                ..
            } => {
                self.to(x, |dx| Instr::ResizeLinearBackward {
                    op,
                    batch,
                    channels,
                    dy,
                    dx,
                });
            }
            Instr::Softmax { len, x, y } => self.to(x, |dx| Instr::SoftmaxBackward { len, y, dy, dx }),
            Instr::MatMul { op, a, b, .. } => self.mat_mul(op, a, b, dy),
            Instr::FakeQuantize { op, x, step, .. } => {
                let (dx, dstep) = (self.slot(x), self.slot(step));
                self.emit(Instr::FakeQuantizeBackward {
                    op,
                    x,
                    step,
                    dy,
                    dx,
                    dstep,
                });
                self.note(x, dx);
                self.note(step, dstep);
            }
            Instr::IntegrateFire {
                op,
                x,
                threshold,
                leak,
                ..
            } => {
                let (dx, dthreshold, dleak) = (self.slot(x), self.slot(threshold), self.slot(leak));
                self.emit(Instr::IntegrateFireBackward {
                    op,
                    x,
                    threshold,
                    leak,
                    dy,
                    dx,
                    dthreshold,
                    dleak,
                });
                self.note(x, dx);
                self.note(threshold, dthreshold);
                self.note(leak, dleak);
            }
            // Forward instructions only.
            _ => unreachable!("{} stands in no forward list", instruction.name()),
        }
    }

    /// Through the activation of a product, from its output.
    fn behind(&mut self, function: Activation, y: Slot, dy: Slot) -> Slot {
        if function == Activation::None {
            return dy;
        }
        let (name, len) = (
            format!("d {} before {function:?}", self.info(y).name),
            self.info(y).len,
        );
        let dx = self.temporary(&name, len);
        self.emit(Instr::ActivationBackward {
            function,
            from_output: true,
            value: y,
            dy,
            dx,
        });
        dx
    }

    /// dy is the gradient of `of` itself; a parameter wants its own copy.
    fn pass(&mut self, of: Slot, dy: Slot) {
        if self.needs(of) {
            match self.info(of).kind {
                SlotKind::Parameter(_) => self.to(of, |y| Instr::Scale { gain: 1.0, x: dy, y }),
                _ => self.note(of, dy),
            }
        }
    }

    fn binary(&mut self, op: BinaryOp, shapes: [&[usize]; 2], [a, b]: [Slot; 2], y: Slot, dy: Slot) {
        let full: Vec<usize> = shapes[0]
            .iter()
            .zip(shapes[1])
            .map(|(&m, &n)| if m == 1 { n } else { m })
            .collect();
        let len = full.iter().product();
        let product =
            |bw: &mut Self, op: BinaryOp, x: Slot, x_shape: &[usize], other: Slot, shape: &[usize]| {
                let to = bw.temporary("product", len);
                let (a_shape, b_shape) = (x_shape.to_vec(), shape.to_vec());
                bw.emit(Instr::Binary {
                    op,
                    a_shape,
                    b_shape,
                    a: x,
                    b: other,
                    y: to,
                });
                to
            };
        if self.needs(a) {
            let (d, gain) = match op {
                BinaryOp::Mul => (product(self, BinaryOp::Mul, dy, &full, b, shapes[1]), 1.0),
                BinaryOp::Div => (product(self, BinaryOp::Div, dy, &full, b, shapes[1]), 1.0),
                _ => (dy, 1.0),
            };
            self.spread(a, &full, shapes[0], d, gain);
        }
        if self.needs(b) {
            let (d, gain) = match op {
                BinaryOp::Mul => (product(self, BinaryOp::Mul, dy, &full, a, shapes[0]), 1.0),
                BinaryOp::Sub => (dy, -1.0),
                // −dy · y / b.
                BinaryOp::Div => {
                    let d = product(self, BinaryOp::Mul, dy, &full, y, &full);
                    (product(self, BinaryOp::Div, d, &full, b, shapes[1]), -1.0)
                }
                _ => (dy, 1.0),
            };
            self.spread(b, &full, shapes[1], d, gain);
        }
    }

    /// Gradient of an operand that was spread from `to` to `from`.
    fn spread(&mut self, of: Slot, from: &[usize], to: &[usize], d: Slot, gain: f32) {
        if from == to {
            match gain {
                1.0 => self.pass(of, d),
                gain => self.to(of, |y| Instr::Scale { gain, x: d, y }),
            }
        } else {
            let op = Reduce::new(from, to, gain).expect("an operand's axes are the result's or 1");
            self.to(of, |y| Instr::Reduce { op, x: d, y });
        }
    }

    /// da = dy · bᵀ, db = aᵀ · dy.
    fn mat_mul(&mut self, op: MatMul, a: Slot, b: Slot, dy: Slot) {
        let MatMul { batch, m, k, n, .. } = op;
        let transposed = |bw: &mut Self, x: Slot, rows: usize, columns: usize| {
            let y = bw.temporary("transposed", batch * rows * columns);
            bw.emit(Instr::Permute {
                shape: vec![batch, rows, columns],
                axes: vec![0, 2, 1],
                x,
                y,
            });
            y
        };
        if self.needs(a) {
            let b = transposed(self, b, k, n);
            self.to(a, |y| Instr::MatMul {
                op: MatMul { k: n, n: k, ..op },
                a: dy,
                b,
                y,
            });
        }
        if self.needs(b) {
            let a = transposed(self, a, m, k);
            self.to(b, |y| Instr::MatMul {
                op: MatMul { m: k, k: m, ..op },
                a,
                b: dy,
                y,
            });
        }
    }
}
