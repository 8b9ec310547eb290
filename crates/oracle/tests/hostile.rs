//! No operator panics, loops for long or takes memory that it did not check, whatever tensors it is given.

use std::collections::BTreeMap;

use graph::shape::{TensorType, rule};
use graph::{
    Binary, Conv, ConvTranspose, CoordinateTransform, NearestMode, Op, PadMode, Padding, Pool, ReduceKind,
    Resize, ResizeMode, Unary,
};
use tensor::{DType, Data, Tensor};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// Small, or larger than anything that fits memory.
    fn size(&mut self) -> usize {
        self.of(&[0, 1, 1, 2, 2, 3, 4, 1 << 41, usize::MAX])
    }

    fn small(&mut self) -> usize {
        self.below(3) + 1
    }

    fn int(&mut self) -> i64 {
        self.of(&[
            -3,
            -2,
            -1,
            0,
            0,
            1,
            1,
            2,
            3,
            4,
            1 << 41,
            i64::MIN,
            i64::MAX,
            i64::MIN + 1,
        ])
    }

    fn axis(&mut self) -> i64 {
        self.of(&[-2, -1, 0, 1, 2, 3, i64::MIN, i64::MAX])
    }

    fn sizes(&mut self, n: usize) -> Vec<usize> {
        (0..n)
            .map(|_| {
                if self.below(8) == 0 {
                    self.size()
                } else {
                    self.small()
                }
            })
            .collect()
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    fn tensor(&mut self) -> Tensor {
        let rank = self.of(&[0, 1, 1, 2, 3, 3, 4, 4, 5]);
        let mut shape: Vec<usize> = (0..rank).map(|_| self.small()).collect();
        if rank > 0 && self.below(6) == 0 {
            for d in &mut shape {
                *d = self.size();
            }
            shape[self.below(rank)] = 0;
        }
        let n = tensor::numel(&shape).unwrap();
        let ints: Vec<i64> = (0..n).map(|_| self.int()).collect();
        let floats = [
            0.0,
            -0.0,
            1.0,
            0.5,
            2.0,
            -1.5,
            3e38,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ];
        let data: Data = match self.below(7) {
            0 | 1 => ints.into(),
            2 => ints.iter().map(|&v| v as i32).collect::<Vec<_>>().into(),
            3 => ints.iter().map(|&v| v as u8).collect::<Vec<_>>().into(),
            4 => ints.iter().map(|&v| v % 2 == 0).collect::<Vec<_>>().into(),
            _ => (0..n).map(|_| self.of(&floats)).collect::<Vec<f32>>().into(),
        };
        Tensor::new(shape, data).unwrap()
    }

    fn padding(&mut self, n: usize) -> Padding {
        match self.below(6) {
            0 => Padding::SameUpper,
            1 => Padding::SameLower,
            2 => Padding::Valid,
            _ => Padding::Explicit(
                (0..2 * n)
                    .map(|_| {
                        if self.below(8) == 0 {
                            self.size()
                        } else {
                            self.below(3)
                        }
                    })
                    .collect(),
            ),
        }
    }

    fn pool(&mut self) -> Pool {
        let n = self.small();
        Pool {
            kernel: self.sizes(n),
            strides: self.sizes(n),
            dilations: self.sizes(n),
            padding: self.padding(n),
            ceil_mode: self.flag(),
            count_include_pad: self.flag(),
        }
    }

    fn conv(&mut self) -> Conv {
        let n = self.small();
        Conv {
            kernel: self.sizes(n),
            strides: self.sizes(n),
            dilations: self.sizes(n),
            padding: self.padding(n),
            group: self.size(),
        }
    }

    fn op(&mut self) -> Op {
        let axis = self.axis();
        let (keep_dims, flag) = (self.flag(), self.flag());
        match self.below(46) {
            0 => Op::Conv(self.conv()),
            1 => {
                let conv = self.conv();
                let n = conv.kernel.len();
                let output_padding = self.sizes(n);
                let output_shape = self.flag().then(|| self.sizes(n));
                Op::ConvTranspose(ConvTranspose {
                    conv,
                    output_padding,
                    output_shape,
                })
            }
            2 => Op::Gemm {
                alpha: 1.0,
                beta: 0.5,
                trans_a: flag,
                trans_b: keep_dims,
            },
            3 => Op::MatMul,
            4 => Op::BatchNormalization { epsilon: 0.0 },
            5 => Op::InstanceNormalization { epsilon: 0.0 },
            6 => Op::LayerNormalization { axis, epsilon: 0.0 },
            7 | 8 => Op::MaxPool(self.pool()),
            9 | 10 => Op::AveragePool(self.pool()),
            11 => self.of(&[Op::GlobalAveragePool, Op::GlobalMaxPool]),
            12 => Op::Unary(self.of(&[
                Unary::Relu,
                Unary::Neg,
                Unary::Abs,
                Unary::Sign,
                Unary::Mish,
                Unary::Not,
                Unary::Erf,
            ])),
            13 => Op::Binary(self.of(&[
                Binary::Add,
                Binary::Div,
                Binary::Pow,
                Binary::PRelu,
                Binary::Less,
                Binary::Xor,
            ])),
            14 => Op::Binary(Binary::Mod { fmod: flag }),
            15 => Op::Clip,
            16 => self.of(&[Op::Max, Op::Min, Op::Sum, Op::Mean]),
            17 => Op::Where,
            18 => self.of(&[Op::Softmax { axis }, Op::LogSoftmax { axis }]),
            19 => {
                let kind = self.of(&[
                    ReduceKind::Sum,
                    ReduceKind::Mean,
                    ReduceKind::Max,
                    ReduceKind::L2,
                    ReduceKind::LogSumExp,
                ]);
                Op::Reduce {
                    kind,
                    keep_dims,
                    noop_with_empty_axes: flag,
                }
            }
            20 => Op::ArgMax {
                axis,
                keep_dims,
                select_last: flag,
            },
            21 => Op::TopK {
                axis,
                largest: flag,
                sorted: true,
            },
            22 => Op::NonMaxSuppression {
                center_point_box: flag,
            },
            23 => Op::Concat { axis },
            24 => Op::Split { axis },
            25 | 26 => Op::Slice,
            27 | 28 => Op::Pad {
                mode: self.of(&[PadMode::Constant, PadMode::Reflect, PadMode::Edge, PadMode::Wrap]),
            },
            29 => Op::Gather { axis },
            30 => Op::GatherElements { axis },
            31 => Op::GatherND {
                batch_dims: self.below(3),
            },
            32 => Op::ScatterND,
            33 => Op::Reshape { allow_zero: flag },
            34 => Op::Flatten { axis },
            35 => self.of(&[Op::Squeeze, Op::Unsqueeze]),
            36 => {
                let n = self.below(4);
                Op::Transpose {
                    perm: self.flag().then(|| self.sizes(n)),
                }
            }
            37 => self.of(&[Op::Expand, Op::Tile]),
            38 => Op::DepthToSpace {
                block: self.size(),
                crd: flag,
            },
            39 => Op::SpaceToDepth { block: self.size() },
            40 => Op::Resize(Resize {
                mode: self.of(&[ResizeMode::Nearest, ResizeMode::Linear]),
                coordinates: self.of(&[
                    CoordinateTransform::HalfPixel,
                    CoordinateTransform::AlignCorners,
                    CoordinateTransform::HalfPixelSymmetric,
                ]),
                nearest: self.of(&[
                    NearestMode::Floor,
                    NearestMode::Ceil,
                    NearestMode::RoundPreferCeil,
                ]),
                axes: if flag { vec![axis] } else { vec![] },
            }),
            41 => Op::Shape {
                start: axis,
                end: flag.then_some(self.int()),
            },
            42 => Op::ConstantOfShape {
                value: Tensor::vector(vec![1f32; self.below(3)]),
            },
            43 => self.of(&[Op::Range, Op::NonZero, Op::Size]),
            44 => self.of(&[
                Op::CumSum {
                    exclusive: flag,
                    reverse: keep_dims,
                },
                Op::Cast { to: DType::I8 },
            ]),
            _ => self.of(&[Op::QuantizeLinear { axis }, Op::DequantizeLinear { axis }]),
        }
    }
}

/// What the shape rule admits, the oracle computes, with the type and shape that the rule said; but for faults that lie in the
/// values, and what is too large for it.
fn disagreement(
    op: &Op,
    inputs: &[Option<&Tensor>],
    outputs: usize,
    result: &Result<Vec<Tensor>, String>,
) -> Option<String> {
    const OF_VALUES: [&str; 3] = ["lies outside", "divided by zero", "has no end"];
    const TOO_LARGE: [&str; 3] = [
        "is larger than 2147483648 bytes",
        "than this machine can address",
        "is too long",
    ];
    let types: Vec<Option<TensorType>> = inputs.iter().map(|t| t.map(TensorType::from)).collect();
    let types: Vec<Option<&TensorType>> = types.iter().map(Option::as_ref).collect();
    let ruled = rule(op, &types, inputs, outputs.max(1)).ok()?;
    let why = match result {
        Err(reason) if outputs == 0 || OF_VALUES.iter().chain(&TOO_LARGE).any(|w| reason.contains(w)) => None,
        Err(reason) => Some(format!("only the oracle refuses: {reason}")),
        Ok(tensors) => {
            let differs = |(want, t): (&TensorType, &Tensor)| {
                want.dtype.is_some_and(|d| d != t.dtype())
                    || want.fixed_shape().is_some_and(|s| s != t.shape())
            };
            let any = ruled.iter().zip(tensors).any(differs);
            any.then(|| format!("the rule says {ruled:?}, the oracle gives {tensors:?}"))
        }
    };
    why.map(|why| format!("{why}: {op:?} of {inputs:?}"))
}

#[test]
fn awkward_tensors_give_a_result_or_a_sentence() {
    let mut r = Random(0x9e37_79b9_7f4a_7c15);
    let (mut results, mut refusals) = (0, 0);
    let (mut panics, mut faults) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..600_000 {
        let op = r.op();
        let mut all: Vec<Tensor> = (0..r.below(5)).map(|_| r.tensor()).collect();
        // Equal shapes and types let more operators go on.
        if r.flag() && all.len() > 1 {
            all[1] = all[0].clone();
        }
        if r.flag() {
            for t in all.iter_mut().skip(1) {
                *t = Tensor::vector((0..r.below(5)).map(|_| r.int()).collect::<Vec<i64>>());
            }
        }
        let inputs: Vec<Option<&Tensor>> = all.iter().map(|t| (r.below(10) > 0).then_some(t)).collect();
        let outputs = r.below(4);
        match std::panic::catch_unwind(|| oracle::evaluate(&op, &inputs, outputs)) {
            Ok(result) => {
                match &result {
                    Ok(_) => results += 1,
                    Err(reason) => {
                        assert!(!reason.is_empty());
                        refusals += 1;
                    }
                }
                if let Some(fault) = disagreement(&op, &inputs, outputs, &result) {
                    faults.entry(op.name()).or_insert(fault);
                }
            }
            Err(_) => {
                panics
                    .entry(op.name())
                    .or_insert_with(|| format!("{op:?} of {inputs:?}"));
            }
        }
    }
    assert!(panics.is_empty(), "{panics:#?}");
    assert!(faults.is_empty(), "{faults:#?}");
    println!("{results} results, {refusals} refusals");
    assert!(results > 10_000 && refusals > 10_000);
}

/// Found by fuzzing: by way of f64 a range of one number far from 0 had none.
#[test]
fn a_range_of_integers_is_exact() {
    for (start, limit, delta, count) in [
        (i64::MAX - 1, i64::MAX, 1, 1),
        (i64::MIN + 1, i64::MIN, -1, 1),
        (i64::MIN, i64::MAX, i64::MAX, 3),
        (5, -6, -4, 3),
        (5, 6, -4, 0),
    ] {
        let bounds = [start, limit, delta].map(Tensor::scalar);
        let inputs: Vec<Option<&Tensor>> = bounds.iter().map(Some).collect();
        let y = oracle::evaluate(&Op::Range, &inputs, 1).unwrap();
        assert_eq!(y[0].len(), count, "{start} {limit} {delta}");
        assert_eq!(disagreement(&Op::Range, &inputs, 1, &Ok(y)), None);
    }
}
