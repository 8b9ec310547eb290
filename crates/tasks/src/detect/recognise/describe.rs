//! A head description for a family: its usual preprocessing, the outputs that were seen, the classes they count.

use std::collections::BTreeMap;

use super::super::{AnchorHead, Channels, ColorOrder, Family, Head, Input, NmsEnd, Resize, names};
use super::Seen;

impl Seen<'_> {
    /// A description with the right outputs and placeholders, for a person to complete.
    pub(super) fn nearest(&self) -> Head {
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

    pub(super) fn head(&self, family: Family) -> Head {
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
}

/// Names as a head keeps them.
pub(super) fn own(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}
