//! Seeded scenes with boxes, as a VOC folder that is a COCO data set too.

use std::path::{Path, PathBuf};

use data::picture::encode_jpeg;
use data::read::{Dataset, Entry, Format, Notes, PictureId};
use data::synth::{NAMES, VERSION, scene};
use data::write::{coco_dataset, voc_xml};
use serde::Serialize;

pub use data::synth::Options as SceneOptions;

use crate::control::Progress;
use crate::output::Folder;
use crate::{Control, Error, Result};

/// What is made.
#[derive(Debug, Clone)]
pub struct SynthOptions {
    /// The same seed gives the same scenes, whatever the number.
    pub seed: u64,
    /// Number of scenes.
    pub count: usize,
    /// Size and number of objects.
    pub scene: SceneOptions,
    /// Write into a folder that holds files already.
    pub exist_ok: bool,
    /// Stops the work.
    pub control: Control,
}

impl Default for SynthOptions {
    fn default() -> Self {
        SynthOptions {
            seed: 0,
            count: 100,
            scene: SceneOptions::default(),
            exist_ok: false,
            control: Control::default(),
        }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Synthesized {
    /// Scenes.
    pub pictures: usize,
    /// Objects with a box.
    pub objects: usize,
    /// Objects of each class.
    pub classes: Vec<(String, usize)>,
    /// The folder.
    #[serde(serialize_with = "crate::text::path")]
    pub folder: PathBuf,
    /// Version of the drawing.
    pub version: u32,
}

/// Name of the list that [`synth`] writes: `--split all`.
pub const SPLIT: &str = "all";

/// Writes `JPEGImages/NAME.jpg`, `Annotations/NAME.xml`, `ImageSets/Main/all.txt` and `annotations.json` (COCO).
///
/// ```
/// use lowbit::synth::{SceneOptions, SynthOptions};
/// let folder = tempfile::tempdir().unwrap();
/// let scene = SceneOptions { width: 64, height: 64, max_objects: 2 };
/// let options = SynthOptions { count: 2, scene, ..SynthOptions::default() };
/// let made = lowbit::synth(&folder.path().join("scenes"), &options, &mut |_: &str, _, _| {}).unwrap();
/// assert_eq!(made.pictures, 2);
/// ```
///
/// # Errors
/// No scenes, sizes out of range, a folder that cannot be written.
pub fn synth(folder: &Path, options: &SynthOptions, progress: &mut dyn Progress) -> Result<Synthesized> {
    let s = &options.scene;
    let sides = 32..=4096;
    if !sides.contains(&s.width) || !sides.contains(&s.height) {
        return Err(Error::usage(format!(
            "scenes have sides of 32 to 4096 pixels, not {}x{}",
            s.width, s.height
        )));
    }
    if !(1..=64).contains(&s.max_objects) {
        return Err(Error::usage(format!(
            "scenes have 1 to 64 objects, not {}",
            s.max_objects
        )));
    }
    if options.count == 0 {
        return Err(Error::usage("0 scenes are no data set").help("ask for 1 or more"));
    }
    let out = Folder::create(folder, options.exist_ok)?;
    let names: Vec<String> = NAMES.iter().map(|n| n.to_string()).collect();
    let mut counts = vec![0usize; names.len()];
    let mut entries = Vec::with_capacity(options.count);
    let mut list = String::new();
    for index in 0..options.count {
        options.control.check()?;
        progress.at("synth", index, options.count);
        let (picture, objects) = scene(options.seed, index as u64, s);
        let name = format!("s{}_{index:06}", options.seed);
        let jpeg = encode_jpeg(&picture, 92).map_err(|e| Error::bad(e.to_string()).at(&name))?;
        let path = out.write(&format!("JPEGImages/{name}.jpg"), &jpeg, &[])?;
        let size = (picture.width(), picture.height());
        let xml = voc_xml(&format!("{name}.jpg"), size, &objects, &names);
        out.write(&format!("Annotations/{name}.xml"), xml.as_bytes(), &[])?;
        for o in &objects {
            if let Some(n) = counts.get_mut(o.class) {
                *n += 1;
            }
        }
        list.push_str(&name);
        list.push('\n');
        entries.push(Entry {
            path,
            id: PictureId::Number(index as i64 + 1),
            objects,
            width: Some(size.0),
            height: Some(size.1),
        });
    }
    out.write(&format!("ImageSets/Main/{SPLIT}.txt"), list.as_bytes(), &[])?;
    let set = Dataset {
        format: Format::Coco,
        category_ids: (1..=names.len() as i64).collect(),
        names: names.clone(),
        pictures: entries,
        notes: Notes::default(),
    };
    out.write("annotations.json", coco_dataset(&set).as_bytes(), &[])?;
    progress.at("synth", options.count, options.count);
    Ok(Synthesized {
        pictures: set.pictures.len(),
        objects: counts.iter().sum(),
        classes: names.into_iter().zip(counts).collect(),
        folder: folder.to_path_buf(),
        version: VERSION,
    })
}
