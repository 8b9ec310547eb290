//! What the mutator starts from.

use std::path::Path;

/// Seeds of a target; `more` is a folder with files of its own.
pub(crate) fn of(target: &str, more: Option<&Path>) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut out = match target {
        "onnx" => files(&root.join("crates/graph/tests/models"), "onnx"),
        "packed" | "qdq" => {
            let mut all = packed(&root.join("crates/graph/tests/models"));
            all.extend(files(&root.join("crates/graph/tests/goldens"), "onnx"));
            all
        }
        "voc_xml" => vec![VOC.into()],
        "coco_json" => vec![COCO.into()],
        "yolo_txt" => vec![YOLO.into(), b"0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.1 0.1\n".to_vec()],
        "head_json" => heads(),
        "config" => vec![CONFIG.into()],
        "checkpoint" => checkpoints(),
        "picture" => pictures(),
        "array" => {
            let data = root.join("crates/data/tests");
            let mut all = files(&data.join("volumes"), "");
            all.extend(["mat", "hdr"].iter().flat_map(|e| files(&data.join("cubes"), e)));
            all.retain(|file| file.len() <= 1 << 16);
            all
        }
        // Grid, pictures, limit of memory in KiB (two bytes), their side; then pixels.
        "spill" => vec![vec![1, 2, 0, 16, 40, 7, 99], vec![2, 3, 0, 32, 64, 1, 200, 3]],
        _ => vec![Vec::new()],
    };
    out.extend(files(&root.join("fuzz/findings"), target));
    if let Some(more) = more {
        out.extend(files(more, ""));
    }
    assert!(!out.is_empty(), "no seeds for {target}");
    out
}

fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let Ok(list) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = list.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
        .iter()
        .filter(|p| ending.is_empty() || p.extension().is_some_and(|e| e == ending))
        .filter_map(|p| std::fs::read(p).ok())
        .collect()
}

/// The quantized ones among the small models as lowbit writes them, with codes of 8, 4, 3 and 2 bits.
fn packed(folder: &Path) -> Vec<Vec<u8>> {
    use graph::onnx::{Form, ReadOptions, WriteOptions, read, write};
    let options = WriteOptions {
        form: Form::Packed,
        producer_version: "seed".into(),
    };
    let mut out = Vec::new();
    for bytes in files(folder, "onnx") {
        let Ok(graph) = read(&bytes, &ReadOptions::default()) else {
            continue;
        };
        for bits in [8, 4, 3, 2] {
            let mut graph = graph.clone();
            for w in graph.weights.values_mut().filter(|_| bits < 8) {
                let keep = 8 - bits;
                w.grid = format!("int{bits}");
                w.bits = bits;
                w.levels = (0..1 << bits).map(|code| code - (1 << (bits - 1))).collect();
                w.zero_points = None;
                for point in &mut w.points {
                    point.codes.iter_mut().for_each(|code| *code >>= keep);
                }
            }
            if !graph.weights.is_empty() {
                out.extend(write(&graph, &options));
            }
        }
    }
    out
}

fn checkpoints() -> Vec<Vec<u8>> {
    let empty = train::checkpoint::Checkpoint::default();
    let mut small = empty.clone();
    small.meta.insert("step".into(), "7".into());
    small.tensors.insert("param/w".into(), vec![1.0, f32::NAN, -0.0]);
    small.tensors.insert("moment/w/0".into(), vec![]);
    vec![empty.to_bytes(), small.to_bytes()]
}

const VOC: &str = "<annotation><folder>f</folder><filename>a.jpg</filename><size><width>30</width><height>20</height><depth>3</depth></size>\
    <object><name>cat</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>\
    <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>12</ymax></bndbox></object>\
    <object><name>dog</name><difficult>1</difficult><bndbox><xmin>3.5</xmin><ymin>4</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>\
    <part><name>head</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></part></object></annotation>";

const COCO: &str = r#"{"info":{"year":2017},"licenses":[],"images":[{"id":1,"file_name":"a.jpg","width":30,"height":20}],
"annotations":[{"id":1,"image_id":1,"category_id":2,"bbox":[1,2,10.5,3],"area":31.5,"iscrowd":0,"segmentation":[[1,2,3,4,5,6]]},
{"id":2,"image_id":1,"category_id":1,"bbox":[0,0,30,20],"area":600,"iscrowd":1,"segmentation":{"counts":[1,2],"size":[20,30]}}],
"categories":[{"id":1,"name":"cat","supercategory":"animal"},{"id":2,"name":"dog"}]}"#;

const YOLO: &str = "0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.1 0.1\n\n---\npath: .\ntrain: images\nval: images\nnc: 2\nnames: ['cat', 'dog']\n";

/// The shared detectors' descriptions where they are, and one of the simplest kind.
fn heads() -> Vec<Vec<u8>> {
    let shared = std::env::var_os("LOWBIT_DATA").map(|d| files(&Path::new(&d).join("models"), "json"));
    let mut out = shared.unwrap_or_default();
    out.push(HEAD.into());
    out
}

const HEAD: &str = r#"{"name":"small","family":"yolov8","input":{"name":"images","width":64,"height":64,"color":"RGB","layout":"NCHW","scale":0.00392,
"mean":[0,0,0],"std":[1,1,1],"resize":"letterbox"},"output":"output0","classes":["cat","dog"]}"#;

const CONFIG: &str = "# lowbit quantize\ngrid = \"lbw4\"\nquiet = false\nthreads = 2\ntensor-type = [\"depthwise=int8\", 'type:Gemm=affine8']\n";

/// A little scene in every format that is decoded.
fn pictures() -> Vec<Vec<u8>> {
    use image::ImageFormat::{Bmp, Jpeg, Png, WebP};
    let rgb = image::RgbImage::from_fn(24, 16, |x, y| {
        image::Rgb([(x * 10) as u8, (y * 15) as u8, (x * y) as u8])
    });
    let grey = image::GrayImage::from_fn(9, 7, |x, y| image::Luma([(x * 20 + y) as u8]));
    let deep = image::ImageBuffer::from_fn(5, 5, |x, y| {
        image::Rgba([x as u16 * 9000, y as u16 * 9000, 77, 60_000])
    });
    let all = [
        image::DynamicImage::ImageRgb8(rgb),
        image::DynamicImage::ImageLuma8(grey),
        image::DynamicImage::ImageRgba16(deep),
    ];
    let mut out = Vec::new();
    for picture in &all {
        for format in [Bmp, Jpeg, Png, WebP] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            if picture.write_to(&mut bytes, format).is_ok() {
                out.push(bytes.into_inner());
            }
        }
    }
    out
}
