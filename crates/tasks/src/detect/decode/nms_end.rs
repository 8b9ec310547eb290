//! Models that end in NMS: a table of detections, ONNX NonMaxSuppression's index triples, or separate outputs.

use tensor::{Data, Tensor};

use super::super::{BoxFormat, Candidate, Column, NmsEnd, Units};
use super::{Context, DecodeError, corners};

pub(super) fn decode(
    x: &mut Context,
    end: &NmsEnd,
    box_format: BoxFormat,
    units: Units,
) -> Result<(), DecodeError> {
    let to_corners = |b: [f32; 4], width: usize, height: usize| {
        let [x1, y1, x2, y2] = match box_format {
            BoxFormat::Xyxy => b,
            BoxFormat::Yxyx => [b[1], b[0], b[3], b[2]],
            BoxFormat::Xywh => corners(b[0], b[1], b[2], b[3]),
        };
        let [sx, sy] = match units {
            Units::Pixels => [1.0; 2],
            Units::Fraction => [width as f32, height as f32],
        };
        // ONNX allows any two opposite corners.
        [x1.min(x2) * sx, y1.min(y2) * sy, x1.max(x2) * sx, y1.max(y2) * sy]
    };
    let (width, height) = (x.width, x.height);
    let found = match end {
        NmsEnd::Table { output, columns } => table(x, output, columns)?,
        NmsEnd::Selected {
            selected,
            boxes,
            scores,
        } => by_index(x, selected, boxes, scores)?,
        NmsEnd::Split {
            boxes,
            scores,
            labels,
            count,
        } => split(x, boxes, scores, labels, count.as_deref())?,
    };
    let known = |c: &Candidate| c.score > x.conf && c.class < x.classes;
    x.found = found.into_iter().filter(known).collect();
    for c in &mut x.found {
        c.corners = to_corners(c.corners, width, height);
    }
    Ok(())
}

/// A class index stored as a number of any type; anything that is not one becomes `usize::MAX` and is dropped.
fn index(value: f64) -> usize {
    if (0.0..1e9).contains(&value) {
        value.round() as usize
    } else {
        usize::MAX
    }
}

fn table(x: &Context, output: &str, columns: &[Column]) -> Result<Vec<Candidate>, DecodeError> {
    let tensor = x.tensor(output)?;
    let rank_two = tensor.rank() == 2;
    let find = |c: Column| columns.iter().position(|k| *k == c);
    let batch = find(Column::Batch);
    // `[n, columns]` with a batch column holds all pictures; `[batch, n, columns]` one picture for each slice.
    let view = if rank_two && batch.is_some() {
        let whole = Context {
            picture: 0,
            found: Vec::new(),
            ..*x
        };
        whole.view("nms", output, &[None, Some(columns.len())])?
    } else {
        x.view("nms", output, &[None, Some(columns.len())])?
    };
    let get = |row: &[f32], c: Column| find(c).and_then(|k| row.get(k).copied());
    let mut found = Vec::new();
    for i in 0..view.dims[0] {
        let row = view.row(i);
        if rank_two && get(row, Column::Batch).is_some_and(|b| index(b.into()) != x.picture) {
            continue;
        }
        let at = |c| get(row, c).unwrap_or(0.0);
        found.push(Candidate {
            corners: [Column::Box0, Column::Box1, Column::Box2, Column::Box3].map(at),
            class: index(at(Column::Class).into()),
            score: at(Column::Score),
        });
    }
    Ok(found)
}

fn by_index(x: &Context, selected: &str, boxes: &str, scores: &str) -> Result<Vec<Candidate>, DecodeError> {
    let b = x.view("nms", boxes, &[None, Some(4)])?;
    let s = x.view("nms", scores, &[None, Some(b.dims[0])])?;
    let triples = x.tensor(selected)?;
    let indices = match (triples.shape(), triples.to_i64()) {
        ([_, 3], Some(v)) => v,
        ([_, 3], None) => return Err(not_integer(selected, triples)),
        (shape, _) => {
            return Err(DecodeError::Shape {
                name: selected.to_owned(),
                shape: shape.to_vec(),
                family: "nms",
                want: "[k, 3]".into(),
            });
        }
    };
    let mut found = Vec::new();
    for triple in indices.chunks_exact(3) {
        let &[batch, class, row] = triple else { continue };
        let (Ok(batch), Ok(class), Ok(row)) = (
            usize::try_from(batch),
            usize::try_from(class),
            usize::try_from(row),
        ) else {
            continue; // Padding rows hold −1.
        };
        if batch != x.picture || class >= s.dims[0] || row >= b.dims[0] {
            continue;
        }
        if let (&[b0, b1, b2, b3], Some(&score)) = (b.row(row), s.row(class).get(row)) {
            found.push(Candidate {
                corners: [b0, b1, b2, b3],
                class,
                score,
            });
        }
    }
    Ok(found)
}

fn split(
    x: &Context,
    boxes: &str,
    scores: &str,
    labels: &str,
    count: Option<&str>,
) -> Result<Vec<Candidate>, DecodeError> {
    let b = x.view("nms", boxes, &[None, Some(4)])?;
    let n = b.dims[0];
    let s = x.view("nms", scores, &[Some(n)])?;
    let tensor = x.tensor(labels)?;
    let first = if tensor.rank() > 1 { x.picture * n } else { 0 };
    let numbers = numbers(tensor).ok_or_else(|| not_integer(labels, tensor))?;
    let valid = match count {
        None => n,
        Some(name) => {
            let t = x.tensor(name)?;
            let all = self::numbers(t).ok_or_else(|| not_integer(name, t))?;
            let at = if all.len() > 1 { x.picture } else { 0 };
            all.get(at).map_or(0, |v| index(*v)).min(n)
        }
    };
    let mut found = Vec::new();
    for i in 0..valid {
        if let (&[b0, b1, b2, b3], Some(&score), Some(label)) =
            (b.row(i), s.data.get(i), numbers.get(first + i))
        {
            found.push(Candidate {
                corners: [b0, b1, b2, b3],
                class: index(*label),
                score,
            });
        }
    }
    Ok(found)
}

fn numbers(t: &Tensor) -> Option<Vec<f64>> {
    match t.data() {
        Data::F32(v) => Some(v.iter().map(|x| f64::from(*x)).collect()),
        Data::F64(v) => Some(v.clone()),
        _ => t.to_i64().map(|v| v.iter().map(|x| *x as f64).collect()),
    }
}

fn not_integer(name: &str, t: &Tensor) -> DecodeError {
    DecodeError::Type {
        name: name.to_owned(),
        dtype: t.dtype(),
        want: "integers",
    }
}
