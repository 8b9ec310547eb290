//! From raw output tensors to candidates in network pixels: one file for each family.
//!
//! Raw logits are compared first, a score is computed where its logit could pass, the box of a cell only when one of
//! its scores passes `conf`. The order of the candidates is the row order of the reference decoders, because ties in
//! NMS are broken by it.

mod anchors;
mod fastestdet;
mod nanodet;
mod nms_end;
mod passing;
pub(super) mod ssd;
mod yolov5;
mod yolov8;
mod yolox;

use tensor::{DType, Tensor};

use super::{Candidate, Family, Head};

/// Why outputs could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The head names an output that is not there.
    #[error("the head reads output `{name}`, the model gives {have:?}; correct the head description")]
    Missing {
        /// The name asked for.
        name: String,
        /// The names present.
        have: Vec<String>,
    },
    /// An output has another shape than the head says.
    #[error(
        "output `{name}` has shape {shape:?}, the head `{family}` wants {want}; correct the head description"
    )]
    Shape {
        /// The output.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The head's family.
        family: &'static str,
        /// The shape the head asks for.
        want: String,
    },
    /// An output has an element type that cannot hold scores or boxes.
    #[error("output `{name}` has element type {dtype:?}, expected {want}")]
    Type {
        /// The output.
        name: String,
        /// Its type.
        dtype: DType,
        /// The types allowed.
        want: &'static str,
    },
    /// The batch has no such picture.
    #[error("output `{name}` holds {batch} pictures, picture {picture} was asked for")]
    Picture {
        /// The output.
        name: String,
        /// Pictures present.
        batch: usize,
        /// Index asked for.
        picture: usize,
    },
    /// A classifier was asked for boxes.
    #[error("`{0}` is a classifier: it has no boxes to decode")]
    Classifier(String),
}

impl Head {
    /// Candidates of the first picture of the batch with a score above `conf`, in network pixels.
    ///
    /// # Errors
    /// When an output named by the head is missing or has another shape or type than the head says.
    pub fn decode(&self, outputs: &[(&str, &Tensor)], conf: f32) -> Result<Vec<Candidate>, DecodeError> {
        self.decode_picture(outputs, 0, conf)
    }

    /// As [`Head::decode`], for one picture of a batch.
    ///
    /// # Errors
    /// As [`Head::decode`], and when the batch is smaller.
    pub fn decode_picture(
        &self,
        outputs: &[(&str, &Tensor)],
        picture: usize,
        conf: f32,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let mut x = Context {
            outputs,
            picture,
            conf,
            logits: passing::Logits::above(conf),
            classes: self.classes.len(),
            width: self.input.width,
            height: self.input.height,
            found: Vec::new(),
        };
        match &self.family {
            Family::Yolov3(heads) => anchors::decode(&mut x, heads, anchors::Rule::Yolov3)?,
            Family::Yolov5(heads) => anchors::decode(&mut x, heads, anchors::Rule::Yolov5)?,
            Family::Yolov5Decoded(output) => yolov5::decode(&mut x, output)?,
            Family::Yolov8(output) => yolov8::decode(&mut x, output)?,
            Family::Yolov8Raw { heads, reg_max } => yolov8::decode_raw(&mut x, heads, *reg_max)?,
            Family::Yolox { output, strides } => yolox::decode(&mut x, output, strides)?,
            Family::Nanodet {
                heads,
                reg_max,
                cell_offset,
            } => nanodet::decode(&mut x, heads, *reg_max, *cell_offset)?,
            Family::Fastestdet(output) => fastestdet::decode(&mut x, output)?,
            Family::Ssd {
                boxes,
                scores,
                format,
            } => ssd::decode(&mut x, boxes, scores, format)?,
            Family::Nms {
                end,
                box_format,
                units,
            } => nms_end::decode(&mut x, end, *box_format, *units)?,
            Family::Classifier(_) => return Err(DecodeError::Classifier(self.name.clone())),
        }
        Ok(x.found)
    }
}

/// What every decoder needs, and where it puts what it finds.
struct Context<'a> {
    outputs: &'a [(&'a str, &'a Tensor)],
    picture: usize,
    conf: f32,
    /// `conf` as a logit.
    logits: passing::Logits,
    classes: usize,
    width: usize,
    height: usize,
    found: Vec<Candidate>,
}

/// One picture's part of an output.
struct View<'a> {
    /// Dimensions after the batch.
    dims: Vec<usize>,
    data: &'a [f32],
}

impl View<'_> {
    /// Row `i` of a `[rows, columns]` view.
    fn row(&self, i: usize) -> &[f32] {
        let columns = self.dims.last().copied().unwrap_or(0);
        self.data.get(i * columns..(i + 1) * columns).unwrap_or(&[])
    }

    /// Channel `c` of a `[channels, …]` view.
    fn channel(&self, c: usize) -> &[f32] {
        let plane: usize = self.dims.iter().skip(1).product();
        self.data.get(c * plane..(c + 1) * plane).unwrap_or(&[])
    }
}

impl<'a> Context<'a> {
    fn tensor(&self, name: &str) -> Result<&'a Tensor, DecodeError> {
        let found = self.outputs.iter().find(|(n, _)| *n == name);
        found.map(|(_, t)| *t).ok_or_else(|| DecodeError::Missing {
            name: name.to_owned(),
            have: self.outputs.iter().map(|(n, _)| (*n).to_owned()).collect(),
        })
    }

    /// Output `name` of the current picture as `[batch, want…]`; `None` in `want` = any size. A missing batch
    /// dimension counts as a batch of one.
    fn view(
        &self,
        family: &'static str,
        name: &str,
        want: &[Option<usize>],
    ) -> Result<View<'a>, DecodeError> {
        let tensor = self.tensor(name)?;
        let data = tensor.as_f32().ok_or_else(|| DecodeError::Type {
            name: name.to_owned(),
            dtype: tensor.dtype(),
            want: "F32",
        })?;
        let shape = tensor.shape();
        let (batch, dims) = match shape {
            [batch, rest @ ..] if shape.len() == want.len() + 1 => (*batch, rest),
            _ => (1, shape),
        };
        let fits = dims.len() == want.len() && dims.iter().zip(want).all(|(d, w)| w.is_none_or(|w| w == *d));
        if !fits {
            let sizes = want.iter().map(|w| w.map_or("?".to_owned(), |w| w.to_string()));
            return Err(DecodeError::Shape {
                name: name.to_owned(),
                shape: shape.to_vec(),
                family,
                want: format!("[batch, {}]", sizes.collect::<Vec<_>>().join(", ")),
            });
        }
        let size: usize = dims.iter().product();
        let part = data.get(self.picture * size..(self.picture + 1) * size);
        match part {
            Some(data) if self.picture < batch => Ok(View {
                dims: dims.to_vec(),
                data,
            }),
            _ => Err(DecodeError::Picture {
                name: name.to_owned(),
                batch,
                picture: self.picture,
            }),
        }
    }

    /// Adds a box with every class whose score passes; `corners` is asked for at most once.
    fn push(&mut self, scores: impl Iterator<Item = f32>, corners: impl FnOnce() -> [f32; 4]) {
        let mut known = None;
        let mut corners = Some(corners);
        for (class, score) in scores.enumerate() {
            if score > self.conf {
                let corners = *known.get_or_insert_with(|| corners.take().map_or([f32::NAN; 4], |f| f()));
                self.found.push(Candidate {
                    corners,
                    class,
                    score,
                });
            }
        }
    }
}

/// Centre and size to corners.
fn corners(x: f32, y: f32, w: f32, h: f32) -> [f32; 4] {
    [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
}

/// Softmax expectation of `bins` distance bins: Σ k·p(k).
fn expectation(bins: impl Iterator<Item = f32> + Clone) -> f32 {
    let top = bins.clone().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0f32, 0.0f32);
    for (k, b) in bins.enumerate() {
        let e = tensor::math::exp(b - top);
        sum += e;
        weighted += e * k as f32;
    }
    weighted / sum
}
