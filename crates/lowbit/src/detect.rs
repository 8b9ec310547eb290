//! From a pixel buffer to boxes.

use std::time::{Duration, Instant};

use data::Picture;
use serde::Serialize;
use tasks::detect::{Detection, Head, NmsOptions, postprocess};
use tensor::DType;

use crate::runtime::{Outputs, RunOptions, Runner, borrowed, cast_input};
use crate::{Model, Result};

/// A compiled detector. Immutable: any number of threads may detect with it at the same time.
///
/// ```no_run
/// # fn main() -> lowbit::Result<()> {
/// use lowbit::{Detector, LoadOptions, Model, NmsOptions, Picture, RunOptions};
/// let model = Model::load("detector.onnx".as_ref(), &LoadOptions::default())?;
/// let detector = Detector::new(&model, &RunOptions::default())?;
/// let grey = Picture::new(640, 480, vec![128; 640 * 480 * 3])?;
/// for d in detector.detect(&grey, &NmsOptions::default())? {
///     println!("{} {:.2} {:?}", detector.head().classes[d.class], d.score, d.bbox);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Detector {
    runner: Runner,
    head: Head,
    dtype: DType,
}

/// Time spent on one picture, or on several.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// Resize, normalise.
    pub preprocess: Duration,
    /// The network.
    pub inference: Duration,
    /// Decode, suppress.
    pub postprocess: Duration,
}

/// Mean times, in milliseconds per picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Speed {
    pub preprocess_ms: f64,
    pub inference_ms: f64,
    pub postprocess_ms: f64,
}

impl std::ops::AddAssign for Times {
    fn add_assign(&mut self, other: Times) {
        self.preprocess += other.preprocess;
        self.inference += other.inference;
        self.postprocess += other.postprocess;
    }
}

impl Times {
    /// Mean over so many pictures.
    pub fn mean(&self, pictures: usize) -> Speed {
        let ms = |d: Duration| d.as_secs_f64() * 1e3 / pictures.max(1) as f64;
        Speed {
            preprocess_ms: ms(self.preprocess),
            inference_ms: ms(self.inference),
            postprocess_ms: ms(self.postprocess),
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Speed: {:.1} ms preprocess, {:.1} ms inference, {:.1} ms postprocess per image",
            self.preprocess_ms, self.inference_ms, self.postprocess_ms
        )
    }
}

impl Detector {
    /// Compiles a detector.
    ///
    /// # Errors
    /// A head that is not known, a classifier, what [`Runner::new`] refuses.
    pub fn new(model: &Model, options: &RunOptions) -> Result<Detector> {
        let head = model.detector_head()?.clone();
        let dtype = model
            .inputs()?
            .into_iter()
            .find(|i| i.0 == head.input.name)
            .map_or(DType::F32, |i| i.1);
        Ok(Detector {
            runner: Runner::new(model, options)?,
            head,
            dtype,
        })
    }

    /// What decodes the outputs.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The compiled network.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// The boxes of a picture, best first, in picture pixels.
    ///
    /// # Errors
    /// Outputs that do not fit the head; cancellation.
    pub fn detect(&self, picture: &Picture, options: &NmsOptions) -> Result<Vec<Detection>> {
        Ok(self.detect_timed(picture, options)?.0)
    }

    /// The same, with the times of the three steps.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn detect_timed(&self, picture: &Picture, options: &NmsOptions) -> Result<(Vec<Detection>, Times)> {
        let start = Instant::now();
        let (input, placement) = data::prepare(picture, &self.head.input)?;
        let input = cast_input(input, self.dtype)?;
        let prepared = Instant::now();
        let outputs = self.runner.run(&[(self.head.input.name.as_str(), &input)])?;
        let inferred = Instant::now();
        let found = postprocess(&self.head, &borrowed(&outputs), 0, &placement, options)?;
        let times = Times {
            preprocess: prepared - start,
            inference: inferred - prepared,
            postprocess: inferred.elapsed(),
        };
        Ok((found, times))
    }

    /// The raw outputs of a picture.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn outputs(&self, picture: &Picture) -> Result<Outputs> {
        let (input, _) = data::prepare(picture, &self.head.input)?;
        let input = cast_input(input, self.dtype)?;
        self.runner.run(&[(self.head.input.name.as_str(), &input)])
    }
}
