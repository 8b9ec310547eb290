//! The flat JSON form of a [`Head`] and its checks.

use super::{
    AnchorHead, BTreeMap, BoxFormat, Branch, Column, Deserialize, DflHead, Family, Head, Input, NmsEnd,
    PairHead, Serialize, SsdBoxes, Units,
};

macro_rules! raw_head {
    ($($(#[$meta:meta])* $field:ident : $t:ty),* $(,)?) => {
        /// Every key that a head file may have. Which belong in it depends on `family`.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(in super::super) struct RawHead {
            name: String,
            family: String,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            source: Option<String>,
            input: Input,
            $($(#[$meta])* #[serde(default, skip_serializing_if = "Option::is_none")] $field: Option<$t>,)*
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            decode: BTreeMap<String, String>,
            classes: Vec<String>,
        }

        impl RawHead {
            fn empty(head: &Head, family: &str) -> Self {
                RawHead {
                    name: head.name.clone(),
                    family: family.to_owned(),
                    source: head.source.clone(),
                    input: head.input.clone(),
                    $($field: None,)*
                    decode: head.decode.clone(),
                    classes: head.classes.clone(),
                }
            }

            /// Keys still present after the family has taken its own.
            fn left_over(&self) -> Vec<&'static str> {
                let mut keys = Vec::new();
                $(if self.$field.is_some() { keys.push(stringify!($field)); })*
                keys
            }
        }
    };
}

raw_head! {
    output: String,
    heads: Vec<Branch>,
    strides: Vec<usize>,
    reg_max: usize,
    cell_offset: f32,
    boxes: String,
    scores: String,
    labels: String,
    count: String,
    selected: String,
    columns: Vec<Column>,
    box_format: String,
    units: Units,
    min_sizes: Vec<Vec<f64>>,
    variances: [f32; 2],
}

const FAMILIES: &str = "yolov3, yolov5, yolov8, yolox, nanodet, fastestdet, ssd, nms, classifier";

impl TryFrom<RawHead> for Head {
    type Error = String;

    fn try_from(mut raw: RawHead) -> Result<Self, String> {
        check_input(&raw.input)?;
        if raw.classes.is_empty() {
            return Err("`classes` is empty: name at least one class, in channel order".into());
        }
        let family = family(&mut raw)?;
        if let [key, ..] = raw.left_over()[..] {
            return Err(format!("key `{key}` does not belong to family `{}`", raw.family));
        }
        Ok(Head {
            name: raw.name,
            source: raw.source,
            input: raw.input,
            family,
            decode: raw.decode,
            classes: raw.classes,
        })
    }
}

fn check_input(i: &Input) -> Result<(), String> {
    if i.width == 0 || i.height == 0 || i.width > 1 << 16 || i.height > 1 << 16 {
        return Err(format!("input size {}x{} is outside 1…65536", i.width, i.height));
    }
    if !i.scale.is_finite() || i.mean.iter().chain(&i.std).any(|v| !v.is_finite()) || i.std.contains(&0.0) {
        return Err("input `scale`, `mean`, `std` must be finite and `std` not 0".into());
    }
    Ok(())
}

fn need<T>(value: Option<T>, family: &str, key: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("family `{family}` needs the key `{key}`"))
}

fn family(raw: &mut RawHead) -> Result<Family, String> {
    let name = raw.family.clone();
    Ok(match name.as_str() {
        "yolov3" => Family::Yolov3(anchor_heads(raw)?),
        "yolov5" if raw.heads.is_some() => Family::Yolov5(anchor_heads(raw)?),
        "yolov5" => Family::Yolov5Decoded(need(raw.output.take(), &name, "output` or `heads")?),
        "yolov8" if raw.heads.is_some() => Family::Yolov8Raw {
            heads: branches(raw, |b| {
                Ok(DflHead {
                    output: need(b.output.take(), "yolov8", "heads[].output")?,
                    stride: stride(b)?,
                })
            })?,
            reg_max: raw.reg_max.take().map_or(Ok(16), |r| bins(r, 1))?,
        },
        "yolov8" => Family::Yolov8(need(raw.output.take(), &name, "output` or `heads")?),
        "yolox" => Family::Yolox {
            output: need(raw.output.take(), &name, "output")?,
            strides: positive(need(raw.strides.take(), &name, "strides")?)?,
        },
        "nanodet" => Family::Nanodet {
            heads: branches(raw, |b| {
                Ok(PairHead {
                    stride: stride(b)?,
                    cls: need(b.cls.take(), "nanodet", "heads[].cls")?,
                    boxes: need(b.boxes.take(), "nanodet", "heads[].box")?,
                })
            })?,
            reg_max: bins(need(raw.reg_max.take(), &name, "reg_max")?, 0)?,
            cell_offset: need(raw.cell_offset.take(), &name, "cell_offset")?,
        },
        "fastestdet" => Family::Fastestdet(need(raw.output.take(), &name, "output")?),
        "ssd" => Family::Ssd {
            boxes: need(raw.boxes.take(), &name, "boxes")?,
            scores: need(raw.scores.take(), &name, "scores")?,
            format: ssd_boxes(raw)?,
        },
        "nms" => nms_end(raw)?,
        "classifier" => Family::Classifier(need(raw.output.take(), &name, "output")?),
        other => return Err(format!("family `{other}` is not known; known: {FAMILIES}")),
    })
}

fn branches<T>(
    raw: &mut RawHead,
    mut each: impl FnMut(&mut Branch) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let list = need(raw.heads.take(), &raw.family, "heads")?;
    if list.is_empty() {
        return Err("`heads` is empty".into());
    }
    let mut out = Vec::with_capacity(list.len());
    for (k, mut b) in list.into_iter().enumerate() {
        out.push(each(&mut b).map_err(|e| format!("heads[{k}]: {e}"))?);
        if b != Branch::default() {
            return Err(format!(
                "heads[{k}] has a key that does not belong to family `{}`",
                raw.family
            ));
        }
    }
    Ok(out)
}

fn anchor_heads(raw: &mut RawHead) -> Result<Vec<AnchorHead>, String> {
    let family = raw.family.clone();
    branches(raw, |b| {
        let anchors = need(b.anchors.take(), &family, "heads[].anchors")?;
        if anchors.is_empty() || anchors.iter().flatten().any(|v| !(v.is_finite() && *v > 0.0)) {
            return Err("anchors must be pairs of positive numbers".into());
        }
        Ok(AnchorHead {
            output: need(b.output.take(), &family, "heads[].output")?,
            stride: stride(b)? as f32,
            anchors,
            scale_xy: b.scale_xy.take().unwrap_or(1.0),
        })
    })
}

fn stride(b: &mut Branch) -> Result<usize, String> {
    match b.stride.take() {
        Some(s @ 1..=65536) => Ok(s),
        other => Err(format!("stride {other:?} must be in 1…65536")),
    }
}

fn positive(strides: Vec<usize>) -> Result<Vec<usize>, String> {
    if strides.is_empty() || strides.iter().any(|s| !(1..=65536).contains(s)) {
        return Err(format!("strides {strides:?} must be in 1…65536"));
    }
    Ok(strides)
}

fn bins(r: usize, low: usize) -> Result<usize, String> {
    if (low..=1024).contains(&r) {
        Ok(r)
    } else {
        Err(format!("reg_max {r} must be in {low}…1024"))
    }
}

fn ssd_boxes(raw: &mut RawHead) -> Result<SsdBoxes, String> {
    match need(raw.box_format.take(), "ssd", "box_format")?.as_str() {
        "corners" => Ok(SsdBoxes::Corners),
        "offsets" => {
            let strides = positive(need(raw.strides.take(), "ssd", "strides")?)?;
            let min_sizes = need(raw.min_sizes.take(), "ssd", "min_sizes")?;
            if strides.len() != min_sizes.len() {
                return Err(format!(
                    "{} strides but {} min_sizes",
                    strides.len(),
                    min_sizes.len()
                ));
            }
            Ok(SsdBoxes::Offsets {
                strides,
                min_sizes,
                variances: need(raw.variances.take(), "ssd", "variances")?,
            })
        }
        other => Err(format!(
            "box_format `{other}` is not known; known: corners, offsets"
        )),
    }
}

fn nms_end(raw: &mut RawHead) -> Result<Family, String> {
    let box_format = match raw.box_format.take().as_deref() {
        None | Some("xyxy") => BoxFormat::Xyxy,
        Some("yxyx") => BoxFormat::Yxyx,
        Some("xywh") => BoxFormat::Xywh,
        Some(other) => {
            return Err(format!(
                "box_format `{other}` is not known; known: xyxy, yxyx, xywh"
            ));
        }
    };
    let end = if let Some(output) = raw.output.take() {
        let columns = need(raw.columns.take(), "nms", "columns")?;
        for c in [
            Column::Box0,
            Column::Box1,
            Column::Box2,
            Column::Box3,
            Column::Score,
        ] {
            if columns.iter().filter(|k| **k == c).count() != 1 {
                return Err(format!("columns must hold {c:?} exactly once"));
            }
        }
        NmsEnd::Table { output, columns }
    } else if let Some(selected) = raw.selected.take() {
        NmsEnd::Selected {
            selected,
            boxes: need(raw.boxes.take(), "nms", "boxes")?,
            scores: need(raw.scores.take(), "nms", "scores")?,
        }
    } else {
        NmsEnd::Split {
            boxes: need(raw.boxes.take(), "nms", "output`, `selected` or `boxes")?,
            scores: need(raw.scores.take(), "nms", "scores")?,
            labels: need(raw.labels.take(), "nms", "labels")?,
            count: raw.count.take(),
        }
    };
    Ok(Family::Nms {
        end,
        box_format,
        units: raw.units.take().unwrap_or_default(),
    })
}

impl From<Head> for RawHead {
    fn from(head: Head) -> Self {
        let with = |family: &str| RawHead::empty(&head, family);
        match head.family.clone() {
            Family::Yolov3(heads) => RawHead {
                heads: Some(anchor_branches(heads, true)),
                ..with("yolov3")
            },
            Family::Yolov5(heads) => RawHead {
                heads: Some(anchor_branches(heads, false)),
                ..with("yolov5")
            },
            Family::Yolov5Decoded(output) => with_output(with("yolov5"), output),
            Family::Yolov8(output) => with_output(with("yolov8"), output),
            Family::Fastestdet(output) => with_output(with("fastestdet"), output),
            Family::Classifier(output) => with_output(with("classifier"), output),
            Family::Yolov8Raw { heads, reg_max } => RawHead {
                heads: Some(heads.into_iter().map(dfl_branch).collect()),
                reg_max: Some(reg_max),
                ..with("yolov8")
            },
            Family::Yolox { output, strides } => RawHead {
                strides: Some(strides),
                ..with_output(with("yolox"), output)
            },
            Family::Nanodet {
                heads,
                reg_max,
                cell_offset,
            } => RawHead {
                heads: Some(heads.into_iter().map(pair_branch).collect()),
                reg_max: Some(reg_max),
                cell_offset: Some(cell_offset),
                ..with("nanodet")
            },
            Family::Ssd {
                boxes,
                scores,
                format,
            } => {
                let mut raw = with("ssd");
                raw.boxes = Some(boxes);
                raw.scores = Some(scores);
                raw.box_format = Some("corners".into());
                if let SsdBoxes::Offsets {
                    strides,
                    min_sizes,
                    variances,
                } = format
                {
                    raw.box_format = Some("offsets".into());
                    raw.strides = Some(strides);
                    raw.min_sizes = Some(min_sizes);
                    raw.variances = Some(variances);
                }
                raw
            }
            Family::Nms {
                end,
                box_format,
                units,
            } => {
                let mut raw = with("nms");
                let format = match box_format {
                    BoxFormat::Xyxy => "xyxy",
                    BoxFormat::Yxyx => "yxyx",
                    BoxFormat::Xywh => "xywh",
                };
                raw.box_format = Some(format.into());
                raw.units = Some(units);
                match end {
                    NmsEnd::Table { output, columns } => {
                        raw.output = Some(output);
                        raw.columns = Some(columns);
                    }
                    NmsEnd::Selected {
                        selected,
                        boxes,
                        scores,
                    } => {
                        raw.selected = Some(selected);
                        raw.boxes = Some(boxes);
                        raw.scores = Some(scores);
                    }
                    NmsEnd::Split {
                        boxes,
                        scores,
                        labels,
                        count,
                    } => {
                        raw.boxes = Some(boxes);
                        raw.scores = Some(scores);
                        raw.labels = Some(labels);
                        raw.count = count;
                    }
                }
                raw
            }
        }
    }
}

fn with_output(mut raw: RawHead, output: String) -> RawHead {
    raw.output = Some(output);
    raw
}

fn anchor_branches(heads: Vec<AnchorHead>, scaled: bool) -> Vec<Branch> {
    let one = |h: AnchorHead| Branch {
        output: Some(h.output),
        stride: Some(h.stride as usize),
        anchors: Some(h.anchors),
        scale_xy: scaled.then_some(h.scale_xy),
        ..Branch::default()
    };
    heads.into_iter().map(one).collect()
}

fn dfl_branch(h: DflHead) -> Branch {
    Branch {
        output: Some(h.output),
        stride: Some(h.stride),
        ..Branch::default()
    }
}

fn pair_branch(h: PairHead) -> Branch {
    Branch {
        stride: Some(h.stride),
        cls: Some(h.cls),
        boxes: Some(h.boxes),
        ..Branch::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOLOX: &str = r#"{"name":"n","family":"yolox","input":{"name":"x","width":416,"height":416,"color":"BGR",
        "layout":"NCHW","scale":1.0,"mean":[0,0,0],"std":[1,1,1],"resize":"letterbox_topleft","pad_value":114},
        "output":"o","strides":[8,16,32],"classes":["a"]}"#;

    #[test]
    fn reads_and_writes_the_same() {
        let head = Head::from_json(YOLOX).unwrap();
        assert_eq!(head.outputs(), ["o"]);
        assert_eq!(Head::from_json(&head.to_json()).unwrap(), head);
    }

    /// Found by fuzzing: numbers were read one unit in the last place off.
    #[test]
    fn numbers_are_read_as_they_are_written() {
        for mean in ["127.00392156862743", "0.1", "5e-324", "1.7976931348623157e308"] {
            let head = Head::from_json(&YOLOX.replace("[0,0,0]", &format!("[{mean},0,0]"))).unwrap();
            let text = head.to_json();
            assert_eq!(Head::from_json(&text).unwrap().to_json(), text, "{mean}");
        }
    }

    #[test]
    fn refuses_what_would_be_silently_wrong() {
        for (from, to, expect) in [
            (
                "\"strides\":[8,16,32]",
                "\"stride\":[8]",
                "unknown field `stride`",
            ),
            (
                "\"strides\":[8,16,32]",
                "\"reg_max\":7",
                "needs the key `strides`",
            ),
            (
                "\"output\"",
                "\"variances\":[0.1,0.2],\"output\"",
                "`variances` does not belong to family `yolox`",
            ),
            ("[8,16,32]", "[8,0,32]", "must be in 1"),
            ("\"yolox\"", "\"yolo99\"", "known: yolov3, yolov5"),
            ("[1,1,1]", "[1,0,1]", "`std` not 0"),
            ("[\"a\"]", "[]", "`classes` is empty"),
            ("\"width\":416", "\"width\":0", "outside 1"),
        ] {
            let text = YOLOX.replacen(from, to, 1);
            let message = Head::from_json(&text).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        }
    }
}
