//! Pictures in, annotated pictures and lists of boxes out.

use std::path::{Path, PathBuf};

use data::picture::encode_jpeg;
use data::read::PictureId;
use data::write::{category_ids, coco_results, csv};
use serde::Serialize;
use tasks::detect::{BBox, Detection, NmsOptions};

use crate::control::Progress;
use crate::detect::{Detector, Speed, Times};
use crate::names::{Name, Names, common_folder, folder_of};
use crate::output::Folder;
use crate::pictures::{Reader, is_of_the_picture};
use crate::runtime::RunOptions;
use crate::{Error, Model, Result};

/// What to look at.
#[derive(Debug, Clone)]
pub enum Source {
    /// A picture, or a folder: all pictures below it, named by their path from there.
    Path(PathBuf),
    /// Files, named by their path from the folder that holds them all.
    Files(Vec<PathBuf>),
    /// The bytes of one picture, from a pipe.
    Bytes(Vec<u8>),
}

/// How to look, and what to write.
#[derive(Debug, Clone)]
pub struct DetectOptions {
    /// Confidence, overlap, number of boxes.
    pub nms: NmsOptions,
    /// Write pictures with boxes drawn in.
    pub draw: bool,
    /// Write into a folder that holds files already.
    pub exist_ok: bool,
    /// Go on without pictures that cannot be read, and count them.
    pub allow_skips: bool,
    /// How the model is run.
    pub run: RunOptions,
}

impl Default for DetectOptions {
    /// Confidence 0.25, IoU 0.45, 300 boxes.
    fn default() -> Self {
        DetectOptions {
            nms: NmsOptions {
                conf: 0.25,
                ..NmsOptions::default()
            },
            draw: true,
            exist_ok: false,
            allow_skips: false,
            run: RunOptions::default(),
        }
    }
}

/// One box with its class by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Class name.
    pub class: String,
    /// Confidence.
    pub score: f64,
    /// Pixels of the picture.
    pub bbox: BBox,
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DetectedPicture {
    /// Id in the results: the file's name without ending; where two pictures would share one, [`file`](Self::file) for all.
    pub picture: PictureId,
    /// The file it came from, by its path from the folder that was looked at: `a/x.jpg`.
    pub file: String,
    /// The file with boxes drawn in, in the folder of the results: `a/x.jpg` too.
    pub drawn: Option<String>,
    /// Boxes, best first.
    pub detections: Vec<Found>,
}

/// Result of [`detect_files`].
#[derive(Debug, Clone, Serialize)]
pub struct DetectedFiles {
    /// Pictures in order.
    pub pictures: Vec<DetectedPicture>,
    /// Pictures left out.
    pub skipped: usize,
    /// Why.
    pub notes: Vec<String>,
    /// Mean times.
    pub speed: Speed,
    /// Share of the multiply-accumulates that run in integers.
    pub integer_mac_share: f64,
    /// Files written.
    #[serde(serialize_with = "crate::text::paths")]
    pub files: Vec<PathBuf>,
    /// SHA-256 of the pictures.
    #[serde(skip)]
    pub data_sha256: String,
}

/// Names of the lists that [`detect_files`] writes.
pub const LISTS: [&str; 2] = ["predictions.json", "predictions.csv"];

/// Detects on every picture and writes into `folder`: `NAME.jpg` with boxes, in folders like those of the pictures, `predictions.json`
/// (COCO results), `predictions.csv`.
///
/// # Errors
/// Pictures that cannot be read (unless skips are allowed), a folder that cannot be written, what running refuses.
pub fn detect_files(
    model: &Model,
    source: &Source,
    folder: &Path,
    options: &DetectOptions,
    progress: &mut dyn Progress,
) -> Result<DetectedFiles> {
    let (root, files) = match source {
        Source::Path(path) => {
            let root = if path.is_dir() { path } else { folder_of(path) };
            (root, crate::pictures::find(path, None)?)
        }
        Source::Files(files) => (common_folder(files), files.clone()),
        Source::Bytes(_) => (Path::new(""), Vec::new()),
    };
    let names = match source {
        Source::Bytes(_) => vec![Name::stdin()],
        _ => Names::of(root, &files).0,
    };
    let detector = Detector::new(model, &options.run)?;
    let classes = detector.head().classes.clone();
    let folder = Folder::create(folder, options.exist_ok)?;
    let mut reader = Reader::new(&options.run.control);
    let mut inputs = model.files();
    inputs.extend(files.iter().map(PathBuf::as_path));
    let total = names.len();
    let mut out = DetectedFiles {
        pictures: Vec::new(),
        skipped: 0,
        notes: Vec::new(),
        speed: Speed::default(),
        integer_mac_share: detector.runner().integer_mac_share(),
        files: Vec::new(),
        data_sha256: String::new(),
    };
    let mut raw: Vec<(PictureId, Vec<Detection>)> = Vec::new();
    let mut times = Times::default();
    for (i, Name { id, file, jpeg }) in names.into_iter().enumerate() {
        progress.at("detect", i, total);
        let picture = match source {
            Source::Bytes(bytes) => reader.decode("-", bytes).map_err(|e| e.at("stdin")),
            _ => reader.read(&files[i]),
        };
        let mut picture = match picture {
            Ok(picture) => picture,
            Err(e) if options.allow_skips && is_of_the_picture(&e) => {
                out.skipped += 1;
                out.notes.push(format!("skipped: {e}"));
                continue;
            }
            Err(e) => return Err(e),
        };
        let (found, spent) = detector
            .detect_timed(&picture, &options.nms)
            .map_err(|e| e.at(&file))?;
        times += spent;
        let mut drawn = None;
        if options.draw {
            data::draw::annotate(&mut picture, &found, &classes);
            let bytes = encode_jpeg(&picture, 90).map_err(|e| Error::bad(e.to_string()).at(&file))?;
            out.files.push(folder.write(&jpeg, &bytes, &inputs)?);
            drawn = Some(jpeg);
        }
        let named = |d: &Detection| Found {
            class: classes
                .get(d.class)
                .cloned()
                .unwrap_or_else(|| d.class.to_string()),
            score: d.score,
            bbox: d.bbox,
        };
        out.pictures.push(DetectedPicture {
            picture: id.clone(),
            file,
            drawn,
            detections: found.iter().map(named).collect(),
        });
        raw.push((id, found));
    }
    progress.at("detect", total, total);
    if raw.is_empty() {
        return Err(Error::bad("no picture could be read"));
    }
    let ids = category_ids(&classes);
    let json = coco_results(raw.iter().map(|(id, found)| (id, found.as_slice())), &ids);
    out.files.push(folder.write(LISTS[0], json.as_bytes(), &inputs)?);
    let rows = out.pictures.iter().zip(&raw);
    let table = csv(
        rows.map(|(p, (_, found))| (p.file.as_str(), found.as_slice())),
        &classes,
    );
    out.files.push(folder.write(LISTS[1], table.as_bytes(), &inputs)?);
    out.speed = times.mean(raw.len());
    out.data_sha256 = reader.finish();
    Ok(out)
}
