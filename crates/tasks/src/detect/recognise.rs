//! Recognising a head from the shapes, names and metadata of a graph.
//!
//! Only a description found in the file, or Ultralytics' metadata together with a matching shape, is
//! [`Certainty::Certain`]. Everything else is a guess that says why, what could be otherwise, and how to settle it:
//! a wrong guess is never silent.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{
    AnchorHead, Channels, ColorOrder, Column, DflHead, Family, Head, Input, NmsEnd, PairHead, Resize,
    SsdBoxes, Units, names,
};

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

    fn ultralytics(&self) -> Option<Found> {
        let names = self.names.as_ref().filter(|_| self.ultralytics)?;
        let nc = names.len();
        if let [o] = self.outputs {
            let certain = |family| {
                Some((
                    family,
                    Certainty::Certain,
                    format!("Ultralytics metadata with {nc} names"),
                ))
            };
            return match self.dims(o)?[..] {
                [c, n] if c == 4 + nc && n != c => certain(Family::Yolov8(o.name.clone())),
                [_, c] if c == 5 + nc => certain(Family::Yolov5Decoded(o.name.clone())),
                _ => None,
            };
        }
        let mut heads = Vec::new();
        for o in self.outputs {
            match self.dims(o)?[..] {
                [c, h, w] if c == 64 + nc && h > 0 && self.height / h == self.width / w => {
                    heads.push(DflHead {
                        output: o.name.clone(),
                        stride: self.height / h,
                    })
                }
                _ => return None,
            }
        }
        let why = format!("Ultralytics metadata with {nc} names, raw heads of 4·16 + {nc} channels");
        (!heads.is_empty()).then_some((Family::Yolov8Raw { heads, reg_max: 16 }, Certainty::Certain, why))
    }

    /// One `[n, 5 + classes]` or `[4 + classes, n]` table whose row count is that of the usual strides.
    fn single_table(&self) -> Option<Found> {
        let [o] = self.outputs else { return None };
        let [a, b] = self.dims(o)?[..] else { return None };
        let cells = self.cells(&[8, 16, 32]);
        let likely = |family, why: &str| Some((family, Certainty::Likely, why.to_owned()));
        if b == cells && a > 4 && a < b {
            return likely(
                Family::Yolov8(o.name.clone()),
                "[4 + classes, cells of strides 8, 16, 32] is YOLOv8's decoded output; assumed: RGB, 1/255, letterbox",
            );
        }
        if a == cells && b > 5 && !o.tail.iter().any(|t| t == "Exp") {
            return likely(
                Family::Yolox {
                    output: o.name.clone(),
                    strides: vec![8, 16, 32],
                },
                "[cells of strides 8, 16, 32; 5 + classes] is YOLOX's output and nothing before it decodes; assumed: \
                 BGR, 0…255, letterbox at the top left",
            );
        }
        if a == 3 * cells && b > 5 {
            return likely(
                Family::Yolov5Decoded(o.name.clone()),
                "[3 anchors · cells, 5 + classes] is YOLOv5's or YOLOv7's decoded output; assumed: RGB, 1/255, letterbox",
            );
        }
        None
    }

    fn nanodet(&self) -> Option<Found> {
        let mut tables: Vec<(usize, usize, &OutputInfo)> = Vec::new();
        for o in self.outputs {
            let [n, c] = self.dims(o)?[..] else { return None };
            tables.push((n, c, o));
        }
        let mut heads = Vec::new();
        let mut bins = None;
        for stride in [8, 16, 32, 64] {
            let cells = self.cells(&[stride]);
            let pair: Vec<_> = tables.iter().filter(|t| t.0 == cells).collect();
            match pair[..] {
                [] => {}
                [&(_, c1, cls), &(_, c2, boxes)] => {
                    // The bins are the same multiple of four everywhere; scores come first in the released exports.
                    if c2 % 4 != 0 || bins.is_some_and(|b| b != c2) || c1 == c2 {
                        return None;
                    }
                    bins = Some(c2);
                    heads.push(PairHead {
                        stride,
                        cls: cls.name.clone(),
                        boxes: boxes.name.clone(),
                    });
                }
                _ => return None,
            }
        }
        let reg_max = (bins? / 4).checked_sub(1)?;
        (heads.len() >= 2 && heads.len() * 2 == self.outputs.len()).then(|| {
            let why = "pairs [cells, classes] and [cells, 4·bins] are NanoDet's; assumed: scores first, BGR, NanoDet's \
                       mean and std, stretch, centres half a cell in";
            let family = Family::Nanodet {
                heads,
                reg_max,
                cell_offset: 0.5,
            };
            (family, Certainty::Likely, why.to_owned())
        })
    }

    fn fastestdet(&self) -> Option<Found> {
        let [o] = self.outputs else { return None };
        let [c, h, w] = self.dims(o)?[..] else { return None };
        let fits = c > 5 && h == self.height / 16 && w == self.width / 16;
        let tail = ["Sigmoid", "Softmax"]
            .iter()
            .all(|op| o.tail.iter().any(|t| t == op));
        (fits && tail).then(|| {
            let why = "one [5 + classes, h/16, w/16] output ending in Sigmoid and Softmax is FastestDet's; assumed: BGR, \
                       1/255, stretch";
            (Family::Fastestdet(o.name.clone()), Certainty::Likely, why.to_owned())
        })
    }

    /// Only UltraFace's priors are known by their number; other SSD files need a description.
    fn ssd(&self) -> Option<Found> {
        let [p, q] = self.outputs else { return None };
        let (boxes, scores) = match (&self.dims(p)?[..], &self.dims(q)?[..]) {
            ([n, 4], [m, 2]) if n == m => (p, q),
            ([n, 2], [m, 4]) if n == m => (q, p),
            _ => return None,
        };
        let strides = vec![8, 16, 32, 64];
        let min_sizes = vec![
            vec![10.0, 16.0, 24.0],
            vec![32.0, 48.0],
            vec![64.0, 96.0],
            vec![128.0, 192.0, 256.0],
        ];
        let priors: usize = strides
            .iter()
            .zip(&min_sizes)
            .map(|(s, m)| self.cells(&[*s]) * m.len())
            .sum();
        (self.dims(boxes)?.first() == Some(&priors)).then(|| {
            // Exp before the boxes means that the graph decodes them itself.
            let decoded = boxes.tail.iter().any(|t| t == "Exp");
            let format = if decoded {
                SsdBoxes::Corners
            } else {
                SsdBoxes::Offsets {
                    strides,
                    min_sizes,
                    variances: [0.1, 0.2],
                }
            };
            let family = Family::Ssd {
                boxes: boxes.name.clone(),
                scores: scores.name.clone(),
                format,
            };
            let why = format!(
                "{priors} priors with 4 + 2 numbers are UltraFace's; assumed: RGB, (x − 127)/128, stretch"
            );
            (family, Certainty::Likely, why)
        })
    }

    fn nms(&self) -> Option<Found> {
        let ends_in_nms = |o: &OutputInfo| {
            o.tail
                .iter()
                .any(|t| t.contains("NonMaxSuppression") || t.contains("NMS"))
        };
        let rank = |o: &OutputInfo| o.shape.len();
        let last = |o: &OutputInfo| o.shape.last().copied().flatten();
        let table = |o: &OutputInfo, columns: Vec<Column>, units, certainty, why: &str| {
            let end = NmsEnd::Table {
                output: o.name.clone(),
                columns,
            };
            let family = Family::Nms {
                end,
                box_format: super::BoxFormat::Xyxy,
                units,
            };
            Some((family, certainty, why.to_owned()))
        };
        use Column::{Batch, Box0, Box1, Box2, Box3, Class, Score};
        match self.outputs {
            [o] if last(o) == Some(7) && rank(o) == 2 => table(
                o,
                vec![Batch, Box0, Box1, Box2, Box3, Class, Score],
                Units::Pixels,
                Certainty::Likely,
                "a [n, 7] table is taken for batch x1 y1 x2 y2 class score, as YOLOv7 exports it",
            ),
            [o] if last(o) == Some(6) && (rank(o) == 2 || self.few_rows(o)) => {
                let certainty = if self.ultralytics {
                    Certainty::Certain
                } else {
                    Certainty::Likely
                };
                let why = "a [n, 6] table is taken for x1 y1 x2 y2 score class in input pixels";
                table(
                    o,
                    vec![Box0, Box1, Box2, Box3, Score, Class],
                    Units::Pixels,
                    certainty,
                    why,
                )
            }
            [_, _, _] => {
                let find = |f: &dyn Fn(&OutputInfo) -> bool| self.outputs.iter().find(|o| f(o));
                let selected = find(&|o| rank(o) == 2 && last(o) == Some(3) && ends_in_nms(o))?;
                let boxes = find(&|o| rank(o) == 3 && last(o) == Some(4))?;
                let scores = find(&|o| rank(o) == 3 && last(o) != Some(4))?;
                let family = Family::Nms {
                    end: NmsEnd::Selected {
                        selected: selected.name.clone(),
                        boxes: boxes.name.clone(),
                        scores: scores.name.clone(),
                    },
                    box_format: super::BoxFormat::Yxyx,
                    units: Units::Pixels,
                };
                let why = "ends in NonMaxSuppression with its boxes and scores; assumed: y1 x1 y2 x2 in input pixels \
                           (the operator's default)";
                Some((family, Certainty::Likely, why.to_owned()))
            }
            _ => None,
        }
    }

    /// Far fewer rows than cells: the rest has been suppressed. An unknown count means the same.
    fn few_rows(&self, o: &OutputInfo) -> bool {
        o.shape
            .get(1)
            .copied()
            .flatten()
            .is_none_or(|n| n < self.cells(&[32]) * 3 || n <= 300)
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

    /// A description with the right outputs and placeholders, for a person to complete.
    fn nearest(&self) -> Head {
        let family = match self.anchor_outputs() {
            Some(heads) => Family::Yolov3(
                heads
                    .iter()
                    .map(|(stride, o)| AnchorHead {
                        output: o.name.clone(),
                        stride: *stride as f32,
                        anchors: vec![[1.0, 1.0]; 3],
                        scale_xy: 1.0,
                    })
                    .collect(),
            ),
            None => Family::Yolov8(self.outputs.first().map_or_else(String::new, |o| o.name.clone())),
        };
        self.head(family)
    }

    /// Number of classes that a family's outputs say.
    fn class_count(&self, family: &Family) -> Option<usize> {
        let dims = |name: &str| {
            self.outputs
                .iter()
                .find(|o| o.name == name)
                .and_then(|o| self.dims(o))
        };
        match family {
            Family::Yolov3(h) | Family::Yolov5(h) => {
                let h = h.first()?;
                (dims(&h.output)?.first()? / h.anchors.len().max(1)).checked_sub(5)
            }
            Family::Yolov5Decoded(o) | Family::Yolox { output: o, .. } => dims(o)?.last()?.checked_sub(5),
            Family::Yolov8(o) => dims(o)?.first()?.checked_sub(4),
            Family::Yolov8Raw { heads, reg_max } => {
                dims(&heads.first()?.output)?.first()?.checked_sub(4 * reg_max)
            }
            Family::Nanodet { heads, .. } => dims(&heads.first()?.cls)?.last().copied(),
            Family::Fastestdet(o) => dims(o)?.first()?.checked_sub(5),
            Family::Ssd { scores, .. } => dims(scores)?.last()?.checked_sub(1),
            Family::Nms {
                end: NmsEnd::Selected { scores, .. },
                ..
            } => dims(scores)?.first().copied(),
            Family::Nms { .. } => None,
            Family::Classifier(o) => dims(o)?.last().copied(),
        }
    }

    fn head(&self, family: Family) -> Head {
        let classes = self
            .names
            .clone()
            .unwrap_or_else(|| match self.class_count(&family) {
                Some(80) | None => own(&names::COCO),
                Some(20) => own(&names::VOC),
                Some(1) if matches!(family, Family::Ssd { .. }) => vec!["face".into()],
                Some(n) => (0..n.clamp(1, 10_000)).map(|k| format!("class {k}")).collect(),
            });
        let unit = ([0.0; 3], [1.0; 3]);
        let (color, scale, (mean, std), resize) = match &family {
            Family::Yolox { .. } => (ColorOrder::Bgr, 1.0, unit, Resize::LetterboxTopleft),
            Family::Nanodet { .. } => (
                ColorOrder::Bgr,
                1.0,
                ([103.53, 116.28, 123.675], [57.375, 57.12, 58.395]),
                Resize::Stretch,
            ),
            Family::Fastestdet(_) => (ColorOrder::Bgr, 1.0 / 255.0, unit, Resize::Stretch),
            Family::Ssd { .. } => (
                ColorOrder::Rgb,
                1.0 / 128.0,
                ([127.0 / 128.0; 3], [1.0; 3]),
                Resize::Stretch,
            ),
            Family::Yolov3(_) => (ColorOrder::Rgb, 1.0 / 255.0, unit, Resize::Stretch),
            _ => (ColorOrder::Rgb, 1.0 / 255.0, unit, Resize::Letterbox),
        };
        Head {
            name: "guess".into(),
            source: None,
            input: Input {
                name: self.input.name.clone(),
                width: self.width.clamp(1, 1 << 16),
                height: self.height.clamp(1, 1 << 16),
                color,
                layout: Channels::Nchw,
                scale,
                mean,
                std,
                resize,
                pad_value: (resize != Resize::Stretch).then_some(114),
            },
            family,
            decode: BTreeMap::new(),
            classes,
        }
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

fn own(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

/// The integers in a text such as `[320, 320]`.
fn integers(text: &str) -> Vec<usize> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|t| t.parse().ok())
        .collect()
}

/// Class names of Ultralytics' `names`: a Python dictionary `{0: 'person', 1: "d'or"}` or list `['a', 'b']`. `None` when
/// the text is anything else, or the keys are not 0, 1, 2 ….
fn python_names(text: &str) -> Option<Vec<String>> {
    let dict = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    let list = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let mut rest = dict.or(list)?.trim();
    let mut names = Vec::new();
    while !rest.is_empty() {
        if dict.is_some() {
            let (key, after) = rest.split_once(':')?;
            if key.trim().parse() != Ok(names.len()) {
                return None;
            }
            rest = after.trim_start();
        }
        let mut chars = rest.char_indices();
        let quote = chars.next().map(|(_, c)| c).filter(|c| matches!(c, '\'' | '"'))?;
        let mut name = String::new();
        let end = loop {
            match chars.next()? {
                (_, '\\') => name.push(chars.next()?.1),
                (at, c) if c == quote => break at + 1,
                (_, c) => name.push(c),
            }
        };
        names.push(name);
        rest = rest.get(end..)?.trim_start();
        rest = rest
            .strip_prefix(',')
            .or(rest.is_empty().then_some(""))?
            .trim_start();
    }
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, shape: &[usize], tail: &[&str]) -> OutputInfo {
        OutputInfo {
            name: name.into(),
            shape: shape.iter().map(|d| Some(*d)).collect(),
            tail: own(tail),
        }
    }

    fn look(size: [usize; 2], outputs: &[OutputInfo], metadata: &[(&str, &str)]) -> Guess {
        let metadata = metadata
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        recognise(&info("x", &[1, 3, size[1], size[0]], &[]), outputs, &metadata)
    }

    #[test]
    fn each_shared_detector_by_its_shapes() {
        let meta = [("names", "{0: 'a', 1: \"b's\", 2: 'c'}"), ("stride", "32")];
        let g = look([320, 320], &[info("o", &[1, 7, 2100], &["Concat"])], &meta);
        assert_eq!(g.certainty, Certainty::Certain);
        let head = g.head.unwrap();
        assert_eq!(head.family, Family::Yolov8("o".into()));
        assert_eq!(head.classes, ["a", "b's", "c"]);

        let g = look([640, 640], &[info("o", &[1, 25200, 8], &[])], &meta);
        assert_eq!(g.head.unwrap().family, Family::Yolov5Decoded("o".into()));

        let g = look(
            [416, 416],
            &[info("o", &[1, 3549, 85], &["Transpose", "Concat", "Sigmoid"])],
            &[],
        );
        assert_eq!(g.certainty, Certainty::Likely);
        let head = g.head.unwrap();
        assert!(matches!(head.family, Family::Yolox { .. }));
        assert_eq!(
            (head.input.resize, head.classes.len()),
            (Resize::LetterboxTopleft, 80)
        );

        let nano: Vec<OutputInfo> = [2704, 676, 169]
            .iter()
            .map(|n| info(&format!("c{n}"), &[1, *n, 80], &[]))
            .collect();
        let nano: Vec<_> = nano
            .into_iter()
            .chain([2704, 676, 169].map(|n: usize| info(&format!("b{n}"), &[1, n, 32], &[])))
            .collect();
        let Family::Nanodet { heads, reg_max, .. } = look([416, 416], &nano, &[]).head.unwrap().family else {
            panic!("not NanoDet")
        };
        assert_eq!(
            (heads[1].cls.as_str(), heads[1].boxes.as_str(), reg_max),
            ("c676", "b676", 7)
        );

        let g = look(
            [352, 352],
            &[info("o", &[1, 85, 22, 22], &["Concat", "Sigmoid", "Softmax"])],
            &[],
        );
        assert_eq!(g.head.unwrap().family, Family::Fastestdet("o".into()));

        let face = [
            info("scores", &[1, 4420, 2], &["Softmax"]),
            info("boxes", &[1, 4420, 4], &["Concat"]),
        ];
        let head = look([320, 240], &face, &[]).head.unwrap();
        assert!(matches!(head.family, Family::Ssd { .. }));
        assert_eq!(head.classes, ["face"]);
    }

    #[test]
    fn anchors_are_never_invented() {
        let g = look(
            [320, 320],
            &[
                info("a", &[1, 75, 10, 10], &["Conv"]),
                info("b", &[1, 75, 20, 20], &[]),
            ],
            &[],
        );
        assert_eq!((g.certainty, g.head), (Certainty::Unknown, None));
        assert!(g.why.contains("anchors"), "{}", g.why);
        assert_eq!(g.shapes, "\"a\": [1, 75, 10, 10]\n\"b\": [1, 75, 20, 20]\n");
        let template = Head::from_json(&g.template).unwrap();
        assert_eq!(template.classes, names::VOC);
        assert!(matches!(&template.family, Family::Yolov3(h) if h[1].stride == 16.0));
    }

    #[test]
    fn stored_description_wins_and_a_broken_one_is_told() {
        let first = look([416, 416], &[info("o", &[1, 3549, 6], &[])], &[])
            .head
            .unwrap();
        let json = first.to_json();
        let g = look([416, 416], &[info("o", &[1, 9], &[])], &[(METADATA_KEY, &json)]);
        assert_eq!((g.certainty, g.head), (Certainty::Certain, Some(first)));
        let g = look([416, 416], &[info("o", &[1, 9], &[])], &[(METADATA_KEY, "{")]);
        assert_eq!((g.certainty, g.head), (Certainty::Unknown, None));
        assert!(g.why.contains("broken"));
    }

    #[test]
    fn models_that_end_in_nms() {
        let g = look([640, 640], &[info("o", &[1, 300, 6], &[])], &[]);
        assert!(g.head.unwrap().has_nms());
        let three = [
            info("boxes", &[1, 8400, 4], &[]),
            info("scores", &[1, 80, 8400], &[]),
            info("selected", &[12, 3], &["NonMaxSuppression"]),
        ];
        let head = look([640, 640], &three, &[]).head.unwrap();
        assert_eq!(head.outputs(), ["selected", "boxes", "scores"]);
    }

    #[test]
    fn python_names_are_read_strictly() {
        assert_eq!(python_names("['a', 'b']").unwrap(), ["a", "b"]);
        assert_eq!(python_names(r"{0: 'a\'b'}").unwrap(), ["a'b"]);
        for bad in [
            "",
            "{",
            "{1: 'a'}",
            "{0: a}",
            "{0: 'a'",
            "[]",
            "{0: 'a' 1: 'b'}",
            "{0: 'a",
        ] {
            assert_eq!(python_names(bad), None, "{bad}");
        }
    }
}
