//! Quantize any ONNX object detector to 2-8 bits, run it in integers on a CPU, and know what it costs in true mAP.
//!
//! ```
//! # fn main() -> lowbit::Result<()> {
//! use lowbit::{Choice, Detector, Form, LoadOptions, Model, NmsOptions, Picture, QuantizeOptions, RunOptions};
//! # let folder = tempfile::tempdir().unwrap();
//! # let calibration = folder.path().join("picture.png");
//! # let grey = Picture::new(96, 64, (0..96 * 64 * 3).map(|i| (i * 37 % 251) as u8).collect())?;
//! # std::fs::write(&calibration, lowbit::encode_png(&grey).unwrap()).unwrap();
//! # let head = folder.path().join("head.json");
//! # let source = "../graph/tests/models/torchscript_yolov8.onnx".as_ref();
//! # let unknown = Model::load(source, &LoadOptions::default())?;
//! # std::fs::write(&head, &unknown.guess().template).unwrap();
//! // A detector, what its outputs mean (where neither the model nor its folder says so), and a folder of pictures.
//! let float = Model::load(source, &LoadOptions { head: Some(head), ..LoadOptions::default() })?;
//! let pictures = lowbit::pictures::find(folder.path(), None)?;
//! let options = QuantizeOptions::new(Choice::Grid("lbw4".parse()?), pictures);
//! let quantized = lowbit::quantize(&float, &options, &mut |_: &str, _, _| {})?;
//! assert!(quantized.report.size.bits_per_weight < 8.0);
//!
//! // One ONNX file, written whole or not at all, never over its source.
//! let path = folder.path().join("detector-lbw4.onnx");
//! lowbit::output::file(&path, &quantized.model.to_onnx(Form::Packed)?, &[])?;
//!
//! // Boxes on a pixel buffer; the same bytes on every instruction set and number of threads.
//! let model = Model::load(&path, &LoadOptions::default())?;
//! let detector = Detector::new(&model, &RunOptions::default())?;
//! let picture = Picture::new(640, 480, vec![128; 640 * 480 * 3])?;
//! for found in detector.detect(&picture, &NmsOptions::default())? {
//!     println!("{} {:.2} {:?}", detector.head().classes[found.class], found.score, found.bbox);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything that may take long takes a [`Control`], which cancels it, and tells a [`Progress`] how far it is. Nothing but
//! [`output`] writes files. Every error is an [`Error`]: a class, one sentence with file or node, the way out.

pub mod analyze;
pub mod array;
pub mod bench;
pub mod compare;
pub mod config;
pub mod control;
pub mod demo;
pub mod detect;
pub mod detect_files;
pub mod doctor;
pub mod dynamic;
pub mod energy;
mod error;
pub mod evaluate;
pub mod inspect;
pub mod model;
mod names;
pub mod output;
pub mod pictures;
pub mod provenance;
pub mod quantize;
pub mod report;
pub mod runtime;
pub mod scene;
pub mod segment;
mod side_by_side;
pub mod synth;
pub mod text;
pub mod training;
mod tuning;
pub mod verify;

pub use analyze::{AnalyzeOptions, analyze};
pub use bench::{BenchOptions, bench};
pub use compare::{CompareSettings, compare};
pub use control::{Control, Progress};
pub use demo::{DemoOptions, demo};
pub use detect::Detector;
pub use detect_files::{DetectOptions, detect_files};
pub use doctor::doctor;
pub use dynamic::DynamicRunner;
pub use error::{Error, ErrorKind, Result};
pub use evaluate::{DataSource, EvalOptions, evaluate};
pub use inspect::inspect;
pub use model::{Form, HeadSource, Limits, LoadOptions, Model};
pub use provenance::{Provenance, SCHEMA_VERSION, TOOL_VERSION};
pub use quantize::{Choice, Grid, QuantizeOptions, Quantized, quantize};
pub use runtime::{MOST_THREADS, RunOptions, Runner};
pub use segment::{SegmentOptions, Segmented, Segmenter, segment_files};
pub use synth::{SynthOptions, synth};
pub use training::{TrainOptions, Trained, train};
pub use tuning::cache_folder;
pub use verify::{VerifyOptions, verify};

pub use data::Picture;
pub use data::picture::{encode_jpeg, encode_png};
pub use data::read::{Format, PictureId};
pub use tasks::detect::eval::Kind;
pub use tasks::detect::{BBox, Detection, Head, NmsOptions, Object};
pub use tensor::Tensor;
