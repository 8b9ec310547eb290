//! Recognising a head from the shapes, names and metadata of a graph.
//!
//! Only a description found in the file, or Ultralytics' metadata together with a matching shape, is
//! [`Certainty::Certain`]. Everything else is a guess that says why, what could be otherwise, and how to settle it:
//! a wrong guess is never silent.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Family, Head};

mod describe;
mod metadata;
mod rules;

use metadata::{integers, python_names};

/// Metadata key under which a head description is stored in a model file.
pub const METADATA_KEY: &str = "lowbit.head";

/// What the graph tells of one of its inputs or outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputInfo {
    /// Name in the graph.
    pub name: String,
    /// Dimensions; `None` = not known.
    pub shape: Vec<Option<usize>>,
    /// Operator types of the last few nodes before the output, nearest first (empty for inputs, or when not known).
    pub tail: Vec<String>,
}

/// How far a guess may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// No rule fits: a description is needed.
    Unknown,
    /// Shapes fit a known head; preprocessing and names are the family's usual ones. Print [`Guess::why`].
    Likely,
    /// The file itself says so.
    Certain,
}

/// What [`recognise`] found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Guess {
    /// The head to use; `None` when unknown.
    pub head: Option<Head>,
    /// How far to trust it.
    pub certainty: Certainty,
    /// In one or two sentences: what was seen, and what was assumed.
    pub why: String,
    /// Every output with its shape, one on each line.
    pub shapes: String,
    /// A head description to edit: the guess where there is one, else the nearest family with placeholders.
    pub template: String,
}

/// Looks at a graph's input, outputs and metadata and says which head it has.
pub fn recognise(input: &OutputInfo, outputs: &[OutputInfo], metadata: &BTreeMap<String, String>) -> Guess {
    let graph = Seen::new(input, outputs, metadata);
    if let Some(text) = metadata.get(METADATA_KEY) {
        return match Head::from_json(text) {
            Ok(head) => graph.guess(
                Some(head),
                Certainty::Certain,
                "the model file holds its head description".into(),
            ),
            Err(e) => {
                let template = graph.nearest();
                let why = format!("the head description stored in the model file is broken: {e}");
                graph.unknown(why, template)
            }
        };
    }
    graph.by_shape()
}

struct Seen<'a> {
    input: &'a OutputInfo,
    outputs: &'a [OutputInfo],
    /// Input size; 0 when dynamic.
    width: usize,
    height: usize,
    /// Class names of Ultralytics' metadata.
    names: Option<Vec<String>>,
    ultralytics: bool,
}

type Found = (Family, Certainty, String);

impl<'a> Seen<'a> {
    fn new(input: &'a OutputInfo, outputs: &'a [OutputInfo], metadata: &BTreeMap<String, String>) -> Self {
        let at = |k: usize| input.shape.get(k).copied().flatten().unwrap_or(0);
        let stated = metadata.get("imgsz").map(|t| integers(t)).unwrap_or_default();
        let (mut height, mut width) = (at(2), at(3));
        if let (0, 0, &[h, w]) = (height, width, &stated[..]) {
            (height, width) = (h, w);
        }
        Seen {
            input,
            outputs,
            width,
            height,
            names: metadata.get("names").and_then(|t| python_names(t)),
            ultralytics: metadata.contains_key("names") && metadata.contains_key("stride"),
        }
    }

    fn cells(&self, strides: &[usize]) -> usize {
        strides
            .iter()
            .map(|s| self.width.div_ceil(*s) * self.height.div_ceil(*s))
            .sum()
    }

    /// Shape after the batch dimension, when all of it is known.
    fn dims(&self, o: &OutputInfo) -> Option<Vec<usize>> {
        o.shape.iter().skip(1).copied().collect()
    }

    fn by_shape(&self) -> Guess {
        let rules: [fn(&Self) -> Option<Found>; 6] = [
            Self::nms,
            Self::ultralytics,
            Self::single_table,
            Self::nanodet,
            Self::fastestdet,
            Self::ssd,
        ];
        if self.width > 0 && self.height > 0 {
            for rule in rules {
                if let Some((family, certainty, why)) = rule(self) {
                    let head = self.head(family);
                    return self.guess(Some(head), certainty, why);
                }
            }
        }
        let why = if self.width == 0 || self.height == 0 {
            "the input size is dynamic: fix it with a flag, or give a head description".to_owned()
        } else if self.anchor_outputs().is_some() {
            "looks like anchor-based YOLO heads; anchors, and whether sizes are exp(t) (yolov3, v4) or (2σ(t))² \
             (yolov5, v7), are not in the graph: complete the template from the model's configuration"
                .to_owned()
        } else {
            "no known head has these outputs: complete the template, or export the model with its decoding"
                .to_owned()
        };
        let template = self.nearest();
        self.unknown(why, template)
    }

    /// Stride of each `[anchors·(5 + classes), h, w]` output.
    fn anchor_outputs(&self) -> Option<Vec<(usize, &OutputInfo)>> {
        let mut heads = Vec::new();
        for o in self.outputs {
            match self.dims(o)?[..] {
                [c, h, w]
                    if c % 3 == 0 && c / 3 > 5 && h > 0 && w > 0 && self.height / h == self.width / w =>
                {
                    heads.push((self.height / h, o));
                }
                _ => return None,
            }
        }
        (!heads.is_empty()).then_some(heads)
    }
    fn shapes(&self) -> String {
        let mut text = String::new();
        for o in self.outputs {
            let dims: Vec<String> = o
                .shape
                .iter()
                .map(|d| d.map_or("?".into(), |d| d.to_string()))
                .collect();
            let _ = writeln!(text, "{:?}: [{}]", o.name, dims.join(", "));
        }
        text
    }

    fn guess(&self, head: Option<Head>, certainty: Certainty, why: String) -> Guess {
        Guess {
            template: head.as_ref().map_or_else(String::new, Head::to_json),
            head,
            certainty,
            why,
            shapes: self.shapes(),
        }
    }

    fn unknown(&self, why: String, template: Head) -> Guess {
        Guess {
            template: template.to_json(),
            ..self.guess(None, Certainty::Unknown, why)
        }
    }
}

#[cfg(test)]
mod tests;
