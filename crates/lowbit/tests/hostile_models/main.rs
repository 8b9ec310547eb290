//! Models that no exporter writes, through everything that a model goes through: read, simplified, compiled, run. None may
//! panic, and each refusal is one line with its place. Rows 1 to 9 and 11 of `docs/robustness.md`.

mod attributes;
mod data;
#[path = "../../../graph/tests/common/proto.rs"]
mod proto;
#[cfg(unix)]
mod side_files;
mod structure;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use lowbit::{Control, Error, ErrorKind, LoadOptions, Model, RunOptions, Runner, Tensor};
use proto::{Graph, Message, graph, int, ints, string, tensor, value};
use tensor::DType;

const MEMORY: usize = 64 << 20;

pub(crate) fn options() -> LoadOptions {
    LoadOptions {
        control: Control::default().with_memory(MEMORY),
        ..LoadOptions::default()
    }
}

pub(crate) fn load(bytes: &[u8]) -> lowbit::Result<Model> {
    Model::from_bytes(bytes, &options())
}

/// What the model does, to its end; an error may come at any step.
pub(crate) fn live(bytes: &[u8]) -> lowbit::Result<()> {
    let model = load(bytes)?;
    let control = Control::default().with_memory(MEMORY);
    let runner = Runner::new(
        &model,
        &RunOptions {
            threads: 1,
            control,
            ..RunOptions::default()
        },
    )?;
    let mut inputs = Vec::new();
    for (name, dtype, shape) in model.inputs()? {
        let count = tensor::numel(&shape).unwrap_or(usize::MAX);
        if count > 1 << 14 {
            return Ok(());
        }
        let x = match dtype {
            DType::F32 => Tensor::new(shape, (0..count).map(|i| i as f32 - 7.5).collect::<Vec<_>>()),
            DType::I64 => Tensor::new(shape, vec![1i64; count]),
            _ => return Ok(()),
        };
        inputs.push((name, x.expect("the length is the shape's")));
    }
    let inputs: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    runner.run(&inputs).map(|_| ())
}

/// Runs many models; panics and shapeless errors are collected by name.
#[derive(Default)]
pub(crate) struct Sweep {
    cases: usize,
    loaded: usize,
    faults: Vec<String>,
}

impl Sweep {
    pub(crate) fn case(&mut self, name: impl Fn() -> String, bytes: &[u8]) -> Option<Error> {
        self.cases += 1;
        let result = catch_unwind(AssertUnwindSafe(|| live(bytes)));
        let fault = match &result {
            Err(_) => "panics".to_string(),
            Ok(Err(e)) => {
                let text = e.to_string();
                let kind = matches!(
                    e.kind(),
                    ErrorKind::BadInput | ErrorKind::Unsupported | ErrorKind::Limit
                );
                let line = !text.is_empty() && !text.contains(char::is_control) && text.len() < 2000;
                if kind && line {
                    return Some(e.clone());
                }
                format!("says {:?} {text:?}", e.kind())
            }
            Ok(Ok(())) => {
                self.loaded += 1;
                return None;
            }
        };
        self.faults.push(format!("{}: {fault}", name()));
        None
    }

    #[track_caller]
    pub(crate) fn end(self, cases: usize) {
        println!("{} models, {} of them run", self.cases, self.loaded);
        let some: Vec<&String> = self.faults.iter().take(40).collect();
        assert!(self.faults.is_empty(), "{} faults: {some:#?}", self.faults.len());
        assert!(self.cases >= cases, "{} cases only", self.cases);
    }
}

pub(crate) fn i64s(name: &str, values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, 7, &[values.len() as i64], &raw)
}

pub(crate) fn f32s(name: &str, shape: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, 1, shape, &raw)
}

/// x [1, 3, 8, 8], a weight, integers, a scalar, a vector.
pub(crate) fn base() -> Graph {
    let weight: Vec<f32> = (0..4 * 3 * 3 * 3).map(|i| (i % 7) as f32 - 3.0).collect();
    Graph::x_to_y()
        .initializer(f32s("w", &[4, 3, 3, 3], &weight))
        .initializer(i64s("i", &[1, 3, 8, 8]))
        .initializer(f32s("s", &[], &[0.5]))
        .initializer(f32s("v", &[3], &[1.0, 2.0, 0.5]))
}

/// The attributes without which an operator is refused at once.
pub(crate) fn needed(op: &str) -> Vec<Message> {
    match op {
        "AveragePool" | "MaxPool" => vec![ints("kernel_shape", &[2, 2])],
        "Cast" => vec![int("to", 1)],
        "Concat" => vec![int("axis", 1)],
        "DepthToSpace" | "SpaceToDepth" => vec![int("blocksize", 2)],
        _ => Vec::new(),
    }
}
