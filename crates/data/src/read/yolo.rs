//! YOLO: a YAML file with class names and folders, one text file for each picture.
//!
//! A label line is `class cx cy w h`, each 0…1 of the picture (after its EXIF orientation), or a polygon
//! `class x1 y1 x2 y2 x3 y3 …`, whose bounding box is taken. The labels of `…/images/…/NAME.jpg` are in
//! `…/labels/…/NAME.txt`, else beside the picture; a picture without label file has no objects.
//! Folders and lists may lie outside the folder of the YAML file, as is usual: they are read as pictures only.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use tasks::detect::{BBox, Object};

use super::yaml::{self, Config};
use super::{Dataset, Entry, Format, Limits, Notes, PictureId, ReadError, ReadFault, Rule, place, text};
use crate::picture;

/// The YAML files of a folder that name classes, sorted.
pub(super) fn configs(root: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml") && p.is_file())
        .collect();
    out.sort();
    out
}

/// The one YAML file of a folder: `data.yaml`, else the only one.
pub(super) fn choose(root: &Path) -> Result<PathBuf, ReadError> {
    let found = configs(root);
    if let Some(path) = found.iter().find(|p| p.file_stem().is_some_and(|s| s == "data")) {
        return Ok(path.clone());
    }
    match &found[..] {
        [only] => Ok(only.clone()),
        [] => Err(ReadError::new(
            root,
            ReadFault::Missing("no data.yaml here".into()),
        )),
        _ => Err(ReadError::new(
            root,
            ReadFault::Missing("several YAML files here: give the path of one of them".into()),
        )),
    }
}

/// Reads one split of a YAML file; without a name `val`, as Ultralytics evaluates it.
pub(super) fn read(path: &Path, split: Option<&str>, limits: &Limits) -> Result<Dataset, ReadError> {
    let config = yaml::parse(path, &text::read(path, limits)?)?;
    let split = split.unwrap_or("val");
    let Some(sources) = config
        .splits
        .iter()
        .find(|(name, _)| name == split)
        .map(|(_, s)| s)
    else {
        let there: Vec<&str> = config.splits.iter().map(|(n, _)| n.as_str()).collect();
        let what = format!(
            "no split {} in this file; there are: {}",
            text::quoted(split),
            there.join(", ")
        );
        return Err(ReadError::new(path, ReadFault::Missing(what)));
    };
    let mut notes = Notes::default();
    let mut pictures = Vec::new();
    for source in sources {
        let source = locate(path, &config, source)?;
        if source.is_dir() {
            pictures.extend(super::pictures_in(&source)?);
        } else {
            from_list(path, &config, &source, &mut pictures, limits, &mut notes)?;
        }
    }
    let mut entries = Vec::with_capacity(pictures.len());
    let mut seen = HashSet::new();
    let mut objects = 0;
    for picture in pictures {
        if !seen.insert(picture.clone()) {
            notes.add(Rule::DuplicatePicture, || picture.display().to_string());
            continue;
        }
        let Some(entry) = entry(picture, config.names.len(), limits, &mut notes)? else {
            continue;
        };
        objects += entry.objects.len();
        place::check_counts(path, entries.len() + 1, objects, limits)?;
        entries.push(entry);
    }
    Ok(Dataset {
        format: Format::Yolo,
        category_ids: (1..=config.names.len() as i64).collect(),
        names: config.names,
        pictures: entries,
        notes,
    })
}

/// Where a folder or list of the YAML file is: below `path`, else below the YAML file's own folder, also without
/// leading `..` (Roboflow writes `../train/images` for a folder beside the file).
fn locate(yaml: &Path, config: &Config, source: &str) -> Result<PathBuf, ReadError> {
    let own = yaml.parent().unwrap_or(Path::new(""));
    let root = config.path.as_ref().map(|p| own.join(p));
    let inner: PathBuf = Path::new(source)
        .components()
        .skip_while(|c| *c == Component::ParentDir)
        .collect();
    let tried = [
        root.map(|r| r.join(source)),
        Some(own.join(source)),
        Some(own.join(inner)),
    ];
    let tried: Vec<PathBuf> = tried.into_iter().flatten().collect();
    tried.iter().find(|p| p.exists()).cloned().ok_or_else(|| {
        let mut names: Vec<String> = tried.iter().map(|p| p.display().to_string()).collect();
        names.dedup();
        ReadError::new(
            yaml,
            ReadFault::Missing(format!("none of these exists: {}", names.join(", "))),
        )
    })
}

/// Pictures of a text file with one path a line.
fn from_list(
    yaml: &Path,
    config: &Config,
    list: &Path,
    pictures: &mut Vec<PathBuf>,
    limits: &Limits,
    notes: &mut Notes,
) -> Result<(), ReadError> {
    let own = list.parent().unwrap_or(Path::new(""));
    let root = config
        .path
        .as_ref()
        .map(|p| yaml.parent().unwrap_or(Path::new("")).join(p));
    for (number, line) in text::lines(&text::read(list, limits)?) {
        let found = [Some(own.join(line)), root.as_ref().map(|r| r.join(line))]
            .into_iter()
            .flatten()
            .find(|p| p.is_file());
        match found {
            Some(path) => pictures.push(path),
            None => notes.add(Rule::MissingPicture, || format!("{}:{number}", list.display())),
        }
        place::check_counts(list, pictures.len(), 0, limits)?;
    }
    Ok(())
}

fn entry(
    path: PathBuf,
    classes: usize,
    limits: &Limits,
    notes: &mut Notes,
) -> Result<Option<Entry>, ReadError> {
    let stem = path.file_stem().unwrap_or_default();
    let id = match stem.to_str() {
        Some(s) => PictureId::of_name(s),
        None => PictureId::Name(stem.to_string_lossy().into_owned()),
    };
    let label = label_path(&path);
    let mut objects = Vec::new();
    let (mut width, mut height) = (None, None);
    if label.is_file() {
        let (w, h) = match picture::load_size(&path, &picture::Limits::default()) {
            Ok(size) => size,
            Err(e) => {
                notes.add(Rule::BrokenPicture, || format!("{}: {}", path.display(), e.fault));
                return Ok(None);
            }
        };
        (width, height) = (Some(w), Some(h));
        objects = labels(&label, &text::read(&label, limits)?, (w, h), classes, notes)?;
    }
    if objects.is_empty() {
        notes.add(Rule::Empty, || path.display().to_string());
    }
    Ok(Some(Entry {
        path,
        id,
        objects,
        width,
        height,
    }))
}

/// The last folder called `images` becomes `labels`, the ending `txt`.
fn label_path(picture: &Path) -> PathBuf {
    let parts: Vec<Component> = picture.components().collect();
    let last = parts.len().saturating_sub(1);
    let images = parts[..last].iter().rposition(|c| c.as_os_str() == "images");
    let mut out: PathBuf = parts
        .iter()
        .enumerate()
        .map(|(k, c)| {
            if Some(k) == images {
                "labels".as_ref()
            } else {
                c.as_os_str()
            }
        })
        .collect();
    out.set_extension("txt");
    out
}

fn labels(
    path: &Path,
    content: &str,
    (width, height): (usize, usize),
    classes: usize,
    notes: &mut Notes,
) -> Result<Vec<Object>, ReadError> {
    let mut out = Vec::new();
    let mut seen = HashSet::new();
    for (line, row) in text::lines(content) {
        let here = || format!("{}:{line}", path.display());
        let mut values = Vec::new();
        for word in row.split_ascii_whitespace() {
            values.push(word.parse::<f64>().map_err(|_| {
                ReadError::syntax(path, line, format!("{} is not a number", text::quoted(word)))
            })?);
        }
        let (class, numbers) = values.split_first().expect("a line that is not empty has a word");
        if !(*class >= 0.0 && *class < classes as f64 && class.fract() == 0.0) {
            notes.add(Rule::UnknownClass, here);
            continue;
        }
        let [x1, y1, x2, y2] = match numbers {
            [cx, cy, w, h] => [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0],
            polygon if polygon.len() >= 6 && polygon.len() % 2 == 0 => bounds(polygon),
            _ => {
                let what = format!(
                    "{} numbers; a line is `class cx cy w h` or a polygon",
                    values.len()
                );
                return Err(ReadError::syntax(path, line, what));
            }
        };
        let (w, h) = (width as f64, height as f64);
        let bbox = BBox::new(x1 * w, y1 * h, x2 * w, y2 * h);
        if !place::check_box(&bbox, Some(width), Some(height), notes, here) {
            continue;
        }
        if !seen.insert(values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()) {
            notes.add(Rule::DuplicateLine, here);
            continue;
        }
        out.push(Object::new(*class as usize, bbox));
    }
    Ok(out)
}

/// Smallest x and y, largest x and y. A coordinate that is not a number stays one in the result.
fn bounds(polygon: &[f64]) -> [f64; 4] {
    let mut out = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for p in polygon.chunks_exact(2) {
        for k in 0..2 {
            if p[k].is_nan() {
                return [f64::NAN; 4];
            }
            out[k] = out[k].min(p[k]);
            out[k + 2] = out[k + 2].max(p[k]);
        }
    }
    out
}
