//! Description of a head: what turns raw output tensors into boxes, and how the input wants to be made.
//!
//! The JSON form is strict: an unknown or misplaced key is an error, because a misspelt `scale_xy` that silently
//! became 1 would give slightly wrong boxes for ever.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A head with its input: one JSON file beside a detector, also stored in a model's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "json::RawHead", into = "json::RawHead")]
pub struct Head {
    /// Name of the model.
    pub name: String,
    /// Where the model comes from, in words.
    pub source: Option<String>,
    /// What the network wants to be fed.
    pub input: Input,
    /// Which rule decodes which outputs.
    pub family: Family,
    /// The rule in words, for the reader; nothing is computed from it.
    pub decode: BTreeMap<String, String>,
    /// Class names in channel order.
    pub classes: Vec<String>,
}

/// How pixels become the input tensor: `x = (pixel · scale − mean) / std`, pixel 0…255.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the graph input.
    pub name: String,
    /// Width of the network's input in pixels.
    pub width: usize,
    /// Height of the network's input in pixels.
    pub height: usize,
    /// Order of the colour channels.
    pub color: ColorOrder,
    /// Order of the dimensions.
    #[serde(default)]
    pub layout: Channels,
    /// Factor of each pixel value.
    pub scale: f64,
    /// Subtracted after scaling, one for each channel in the order of `color`.
    pub mean: [f64; 3],
    /// Divisor after that, one for each channel.
    pub std: [f64; 3],
    /// How a picture is brought to the network's size.
    pub resize: Resize,
    /// Grey value of the padding of a letterbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad_value: Option<u8>,
}

/// Order of the colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ColorOrder {
    #[serde(rename = "RGB")]
    Rgb,
    #[serde(rename = "BGR")]
    Bgr,
}

/// Order of the input's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Channels {
    /// batch, channel, height, width.
    #[default]
    #[serde(rename = "NCHW")]
    Nchw,
    /// batch, height, width, channel.
    #[serde(rename = "NHWC")]
    Nhwc,
}

/// How a picture is brought to the network's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Both sides scaled on their own.
    Stretch,
    /// Aspect kept, centred, the rest padded.
    Letterbox,
    /// Aspect kept, padded at the right and below.
    LetterboxTopleft,
}

/// An anchor-based output `[anchors · (5 + classes), h, w]`, anchor-major: tx ty tw th objectness classes.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorHead {
    /// Output name.
    pub output: String,
    /// Network pixels of one cell.
    pub stride: f32,
    /// Width and height of each anchor in network pixels.
    pub anchors: Vec<[f32; 2]>,
    /// YOLOv4's `scale_x_y`; 1 = plain YOLOv3. Unused by YOLOv5.
    pub scale_xy: f64,
}

/// A raw DFL output `[4 · reg_max + classes, h, w]` of YOLOv8/11.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DflHead {
    /// Output name.
    pub output: String,
    /// Network pixels of one cell.
    pub stride: usize,
}

/// NanoDet's pair of outputs: scores `[cells, classes]` and distances `[cells, 4 · (reg_max + 1)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairHead {
    /// Network pixels of one cell.
    pub stride: usize,
    /// Output with the class scores.
    pub cls: String,
    /// Output with the distance bins.
    pub boxes: String,
}

/// How SSD's box output is meant.
#[derive(Debug, Clone, PartialEq)]
pub enum SsdBoxes {
    /// x1 y1 x2 y2 in 0…1 of the picture.
    Corners,
    /// Offsets against priors.
    Offsets {
        /// Stride of each feature map.
        strides: Vec<usize>,
        /// Sides of the square priors of each feature map, in network pixels.
        min_sizes: Vec<Vec<f64>>,
        /// Variance of the centre and of the size.
        variances: [f32; 2],
    },
}

/// Order of a box's four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxFormat {
    /// x1 y1 x2 y2.
    #[default]
    Xyxy,
    /// y1 x1 y2 x2, as TensorFlow and ONNX NonMaxSuppression have it.
    Yxyx,
    /// Centre x, centre y, width, height.
    Xywh,
}

/// Unit of a box's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// Pixels of the network's input.
    #[default]
    Pixels,
    /// 0…1 of the network's input.
    Fraction,
}

/// Meaning of a column of a table of final detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// Index of the picture in the batch.
    Batch,
    /// The first number of the box (by `box_format`).
    Box0,
    /// The second number of the box.
    Box1,
    /// The third number of the box.
    Box2,
    /// The fourth number of the box.
    Box3,
    /// Confidence.
    Score,
    /// Class index.
    Class,
    /// Not used.
    Skip,
}

/// Outputs of a model that ends in NMS.
#[derive(Debug, Clone, PartialEq)]
pub enum NmsEnd {
    /// One table `[n, columns]`, one detection a row.
    Table {
        /// Output name.
        output: String,
        /// Meaning of the columns.
        columns: Vec<Column>,
    },
    /// ONNX NonMaxSuppression: `[k, 3]` triples (batch, class, box), `[batch, n, 4]` boxes, `[batch, classes, n]` scores.
    Selected {
        /// Output with the index triples.
        selected: String,
        /// Output with all boxes.
        boxes: String,
        /// Output with all scores.
        scores: String,
    },
    /// Separate outputs `[batch, n, 4]`, `[batch, n]`, `[batch, n]` and perhaps a count `[batch]`.
    Split {
        /// Output with the boxes.
        boxes: String,
        /// Output with the scores.
        scores: String,
        /// Output with the class indices.
        labels: String,
        /// Output with the number of valid rows.
        count: Option<String>,
    },
}

/// Which rule decodes the outputs. One file in `decode/` for each.
#[derive(Debug, Clone, PartialEq)]
pub enum Family {
    /// YOLOv2–v4: sigmoid centre, exponential size against anchors.
    Yolov3(Vec<AnchorHead>),
    /// YOLOv5/v7 raw heads.
    Yolov5(Vec<AnchorHead>),
    /// YOLOv5/v7 decoded in the graph: `[n, 5 + classes]`, cx cy w h in network pixels, objectness, classes.
    Yolov5Decoded(String),
    /// YOLOv8/11 decoded in the graph: `[4 + classes, n]`, cx cy w h in network pixels, class scores.
    Yolov8(String),
    /// YOLOv8/11 raw heads: distance bins and class logits.
    Yolov8Raw {
        /// One for each stride.
        heads: Vec<DflHead>,
        /// Bins of each distance (16 in all released models).
        reg_max: usize,
    },
    /// YOLOX: `[n, 5 + classes]`, raw offsets, scores with their sigmoid.
    Yolox {
        /// Output name.
        output: String,
        /// Strides in the order of the rows.
        strides: Vec<usize>,
    },
    /// NanoDet: generalised focal loss.
    Nanodet {
        /// One for each stride.
        heads: Vec<PairHead>,
        /// Highest distance bin: there are reg_max + 1.
        reg_max: usize,
        /// Where in its cell a centre lies, 0 or 0.5.
        cell_offset: f32,
    },
    /// FastestDet: one output `[5 + classes, h, w]`.
    Fastestdet(String),
    /// SSD with scores `[n, 1 + classes]`, column 0 the background.
    Ssd {
        /// Output with the boxes `[n, 4]`.
        boxes: String,
        /// Output with the scores, softmax done.
        scores: String,
        /// How the boxes are meant.
        format: SsdBoxes,
    },
    /// The graph ends in NMS.
    Nms {
        /// Its outputs.
        end: NmsEnd,
        /// Order of the box numbers.
        box_format: BoxFormat,
        /// Their unit.
        units: Units,
    },
    /// Not a detector: one output `[classes]`.
    Classifier(String),
}

/// One entry of `heads` in the JSON form; which keys belong in it depends on the family.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Branch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchors: Option<Vec<[f32; 2]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_xy: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cls: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "box")]
    pub boxes: Option<String>,
}

/// Why a head description was refused.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The text is not the JSON of a head.
    #[error("head description: {0}; `lowbit inspect --template` prints one in the right form to start from")]
    Json(#[from] serde_json::Error),
}

impl Head {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// With line and column, when a key is unknown, missing, misplaced or of another type, or a number is senseless.
    pub fn from_json(text: &str) -> Result<Self, HeadError> {
        Ok(serde_json::from_str(text)?)
    }

    /// The JSON form, indented.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whether the graph itself suppresses overlapping boxes.
    pub fn has_nms(&self) -> bool {
        matches!(self.family, Family::Nms { .. })
    }

    /// Names of the graph outputs that decoding reads.
    pub fn outputs(&self) -> Vec<&str> {
        match &self.family {
            Family::Yolov3(h) | Family::Yolov5(h) => h.iter().map(|h| h.output.as_str()).collect(),
            Family::Yolov8Raw { heads, .. } => heads.iter().map(|h| h.output.as_str()).collect(),
            Family::Nanodet { heads, .. } => heads
                .iter()
                .flat_map(|h| [h.cls.as_str(), h.boxes.as_str()])
                .collect(),
            Family::Yolov5Decoded(o) | Family::Yolov8(o) | Family::Fastestdet(o) | Family::Classifier(o) => {
                vec![o]
            }
            Family::Yolox { output, .. } => vec![output],
            Family::Ssd { boxes, scores, .. } => vec![boxes, scores],
            Family::Nms { end, .. } => match end {
                NmsEnd::Table { output, .. } => vec![output],
                NmsEnd::Selected {
                    selected,
                    boxes,
                    scores,
                } => vec![selected, boxes, scores],
                NmsEnd::Split {
                    boxes,
                    scores,
                    labels,
                    count,
                } => [boxes, scores, labels]
                    .into_iter()
                    .chain(count)
                    .map(String::as_str)
                    .collect(),
            },
        }
    }
}

#[path = "head_json.rs"]
pub(super) mod json;
