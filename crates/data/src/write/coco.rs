//! COCO's two JSON forms: the list of results and the annotation file.

use serde::Serialize;
use tasks::detect::{Detection, Status, names};

use super::{file_name, json};
use crate::read::{Dataset, PictureId};

/// COCO's `category_id` for class names that come without: the official ids (1…90 with gaps) when the names are
/// COCO's 80, else 1, 2, …
pub fn category_ids(class_names: &[String]) -> Vec<i64> {
    /// Official ids that no class of the 80 has.
    const GAPS: [i64; 10] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];
    if class_names == names::COCO {
        (1..=90).filter(|id| !GAPS.contains(id)).collect()
    } else {
        (1..=class_names.len() as i64).collect()
    }
}

#[derive(Serialize)]
struct ResultRow<'a> {
    image_id: &'a PictureId,
    category_id: i64,
    bbox: [f64; 4],
    score: f64,
}

/// COCO's list of results: one line for each detection with `image_id`, `category_id`, `bbox` (x, y, width, height)
/// and `score`. pycocotools' `loadRes` reads it. Detections that are not finite, or of a class without id, have no
/// place in it and are left out.
pub fn coco_results<'a>(
    pictures: impl IntoIterator<Item = (&'a PictureId, &'a [Detection])>,
    category_ids: &[i64],
) -> String {
    let mut out = String::from("[");
    for (image_id, detections) in pictures {
        for d in detections
            .iter()
            .filter(|d| d.bbox.is_finite() && d.score.is_finite())
        {
            let Some(&category_id) = category_ids.get(d.class) else {
                continue;
            };
            out.push_str(if out.len() == 1 { "\n" } else { ",\n" });
            out.push_str(&json(&ResultRow {
                image_id,
                category_id,
                bbox: [d.bbox.x1, d.bbox.y1, d.bbox.width(), d.bbox.height()],
                score: d.score,
            }));
        }
    }
    out.push_str("\n]\n");
    out
}

#[derive(Serialize)]
struct Image<'a> {
    id: i64,
    file_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<usize>,
}

#[derive(Serialize)]
struct Annotation {
    id: i64,
    image_id: i64,
    category_id: i64,
    bbox: [f64; 4],
    area: f64,
    iscrowd: u8,
    /// pycocotools ignores this key, other programs honour it.
    #[serde(skip_serializing_if = "is_zero")]
    ignore: u8,
    /// Not COCO's: tells VOC's `difficult` from `ignore` when this crate reads the file.
    #[serde(skip_serializing_if = "is_zero")]
    difficult: u8,
}

fn is_zero(v: &u8) -> bool {
    *v == 0
}

#[derive(Serialize)]
struct Category<'a> {
    id: i64,
    name: &'a str,
}

/// A COCO annotation file. Pictures are named by their file name; they keep their ids where all are different
/// numbers, else they are numbered from 1. Objects are numbered from 1: id 0 means "no match" to pycocotools.
pub fn coco_dataset(set: &Dataset) -> String {
    let given: Option<Vec<i64>> = set
        .pictures
        .iter()
        .map(|p| match p.id {
            PictureId::Number(n) => Some(n),
            PictureId::Name(_) => None,
        })
        .collect();
    let ids = given
        .filter(|ids| ids.iter().collect::<std::collections::HashSet<_>>().len() == ids.len())
        .unwrap_or_else(|| (1..=set.pictures.len() as i64).collect());
    let mut images = Vec::new();
    let mut annotations = Vec::new();
    for (entry, image_id) in set.pictures.iter().zip(ids) {
        images.push(json(&Image {
            id: image_id,
            file_name: &file_name(&entry.path),
            width: entry.width,
            height: entry.height,
        }));
        for o in entry.objects.iter().filter(|o| o.bbox.is_finite()) {
            let Some(&category_id) = set.category_ids.get(o.class) else {
                continue;
            };
            let ignore = matches!(o.status, Status::Ignored | Status::Difficult);
            annotations.push(json(&Annotation {
                id: annotations.len() as i64 + 1,
                image_id,
                category_id,
                bbox: [o.bbox.x1, o.bbox.y1, o.bbox.width(), o.bbox.height()],
                area: o.area.unwrap_or_else(|| o.bbox.area()),
                iscrowd: (o.status == Status::Crowd).into(),
                ignore: ignore.into(),
                difficult: (o.status == Status::Difficult).into(),
            }));
        }
    }
    let categories = set
        .category_ids
        .iter()
        .zip(&set.names)
        .map(|(id, name)| json(&Category { id: *id, name }));
    format!(
        "{{\n\"images\": {},\n\"annotations\": {},\n\"categories\": {}\n}}\n",
        list(images),
        list(annotations),
        list(categories)
    )
}

/// A JSON list with one element a line.
fn list(rows: impl IntoIterator<Item = String>) -> String {
    let rows: Vec<String> = rows.into_iter().collect();
    if rows.is_empty() {
        "[]".into()
    } else {
        format!("[\n{}\n]", rows.join(",\n"))
    }
}
