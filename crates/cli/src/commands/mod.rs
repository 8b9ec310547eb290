//! One file per command.

mod analyze;
mod bench;
mod compare;
mod demo;
mod detect;
mod doctor;
mod eval;
mod export;
mod inspect;
mod kernels;
mod quantize;
mod scene;
mod segment;
mod synth;
mod train;
mod verify;

use clap::Subcommand;
use lowbit::Result;

use crate::context::{Common, Context, Outcome};

macro_rules! commands {
    ($($(#[$meta:meta])* $variant:ident($module:ident)),* $(,)?) => {
        /// The commands.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command { $($(#[$meta])* $variant(Box<$module::Arguments>)),* }

        impl Command {
            pub(crate) fn common(&self) -> &Common {
                match self { $(Command::$variant(a) => &a.common),* }
            }

            pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
                match self { $(Command::$variant(a) => $module::run(a, context)),* }
            }
        }
    };
}

commands! {
    /// The embedded detectors, float and low-bit, on fresh scenes: accuracy, time, pictures, report
    Demo(demo),
    /// Nodes, shapes, MACs, bytes, modelled memory and energy, head; what will run in integers, and why not the rest
    Inspect(inspect),
    /// Quantize a float model's weights and activations, from a folder of pictures alone
    Quantize(quantize),
    /// Which layers of a low-bit model hurt, how much and why, and the command to type next
    Analyze(analyze),
    /// Average precision on pictures with ground truth
    #[command(visible_alias = "val")]
    Eval(eval),
    /// Boxes on pictures: annotated pictures, COCO results, CSV
    #[command(visible_alias = "predict")]
    Detect(detect),
    /// The mask of a volume (NIfTI, NumPy), of any size, by overlapping patches
    Segment(segment),
    /// Boxes lost, gained and shifted between two models, most harmful picture first
    Compare(compare),
    /// Time of a model, or of two by turns; time per layer
    Bench(bench),
    /// The engine against the scalar program of FORMAT.md, layer by layer
    Verify(verify),
    /// Write the model as plain ONNX for other runtimes
    Export(export),
    /// Train by a recipe: fine-tune a float model in low bits, or a small detector from nothing
    Train(train),
    /// Seeded scenes with boxes, VOC and COCO
    Synth(synth),
    /// The integer kernels of this build: instruction set, types, tile, weights
    Kernels(kernels),
    /// CPU features, instruction sets and kernels usable, limits, version
    Doctor(doctor),
}
