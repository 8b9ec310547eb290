//! `lowbit export`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lowbit::Form;
use lowbit::text::{bytes, printable};
use serde::Serialize;

use crate::context::{Common, Context, ModelFlags, Outcome};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum As {
    /// QuantizeLinear and DequantizeLinear with int8 weights, for other runtimes
    Qdq,
    /// The same with int4 weights where their levels fit (opset 21)
    Qdq4,
    /// The same with int4 and int2 weights where their levels fit (opset 25)
    Qdq2,
    /// Decoded f32 weights, no quantizers
    Float,
    /// Codes at their true width: what `quantize` writes
    Packed,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// ONNX model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Form of the written file
    #[arg(long = "as", value_enum, value_name = "FORM")]
    form: As,
    /// Scales and biases of quantized layers in 16 bits, rounded where they need more; with --as packed
    #[arg(long)]
    half: bool,
    /// The file to write
    #[arg(long, short, value_name = "OUT.onnx")]
    output: PathBuf,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Serialize)]
struct Exported {
    form: As,
    #[serde(serialize_with = "lowbit::text::path")]
    output: PathBuf,
    bytes: usize,
    /// Tensors of scales and biases that `--half` stores in 16 bits.
    halves: usize,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let model = a.flags.load(&a.model, context)?;
    let inputs = a.common.inputs(&model);
    lowbit::output::check(&a.output, &inputs)?;
    let form = match a.form {
        As::Qdq => Form::Qdq,
        As::Qdq4 => Form::Qdq4,
        As::Qdq2 => Form::Qdq2,
        As::Float => Form::Float,
        As::Packed => Form::Packed,
    };
    if !model.is_quantized() && a.form != As::Float {
        context.note("the model is float, and is written as it is: `lowbit quantize` makes codes");
    }
    let mut halves = 0;
    let written = match a.half {
        false => model.to_onnx(form)?,
        true if form != Form::Packed => {
            let what = "only a packed file holds scales and biases in 16 bits: give --as packed, or leave --half out";
            return Err(lowbit::Error::new(lowbit::ErrorKind::Usage, what));
        }
        true => {
            let (model, rounded) = model.halved();
            halves = rounded;
            model.to_onnx(form)?
        }
    };
    context.control.check()?;
    lowbit::output::file(&a.output, &written, &inputs)?;
    let text = format!(
        "{}: {}\n",
        printable(&a.output.to_string_lossy()),
        bytes(written.len())
    );
    let exported = Exported {
        form: a.form,
        output: a.output.clone(),
        bytes: written.len(),
        halves,
    };
    let p = context.provenance(Some(model.sha256()), None);
    Ok(Outcome::new(text, &p, &exported))
}
