//! One rule per family: the shapes that give it away.

use super::super::{BoxFormat, Column, DflHead, Family, NmsEnd, PairHead, SsdBoxes, Units};
use super::{Certainty, Found, OutputInfo, Seen};

impl Seen<'_> {
    pub(super) fn ultralytics(&self) -> Option<Found> {
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
    pub(super) fn single_table(&self) -> Option<Found> {
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

    pub(super) fn nanodet(&self) -> Option<Found> {
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

    pub(super) fn fastestdet(&self) -> Option<Found> {
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
    pub(super) fn ssd(&self) -> Option<Found> {
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

    pub(super) fn nms(&self) -> Option<Found> {
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
                box_format: BoxFormat::Xyxy,
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
                    box_format: BoxFormat::Yxyx,
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
}
