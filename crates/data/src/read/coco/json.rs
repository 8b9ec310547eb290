//! Streaming the JSON text into the few fields that count.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::{Limits, ReadError, ReadFault, text};

/// The parts of an annotation file that are used.
#[derive(Default)]
pub(super) struct File {
    pub(super) images: Vec<Image>,
    pub(super) annotations: Vec<Annotation>,
    pub(super) categories: Vec<Category>,
}

#[derive(Deserialize)]
pub(super) struct Image {
    pub(super) id: i64,
    pub(super) file_name: String,
    pub(super) width: Option<f64>,
    pub(super) height: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Category {
    pub(super) id: i64,
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Annotation {
    pub(super) id: Option<i64>,
    pub(super) image_id: i64,
    pub(super) category_id: i64,
    #[serde(default, deserialize_with = "corners")]
    pub(super) bbox: Option<[f64; 4]>,
    pub(super) area: Option<f64>,
    #[serde(default, rename = "iscrowd", deserialize_with = "flag")]
    pub(super) crowd: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(super) ignore: bool,
    /// Not COCO's: `write::coco_dataset` keeps VOC's flag with it.
    #[serde(default, deserialize_with = "flag")]
    pub(super) difficult: bool,
}

/// Reads a file.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<File, ReadError> {
    let mut reader = BufReader::with_capacity(1 << 16, text::open(path, limits)?);
    let start = reader.fill_buf().map_err(|e| ReadError::io(path, &e))?;
    if start.is_empty() {
        return Err(ReadError::new(
            path,
            ReadFault::Syntax("the file is empty".into()),
        ));
    }
    if start.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let mut file = File::default();
    let mut over = None;
    let mut json = serde_json::Deserializer::from_reader(reader);
    let top = Top {
        file: &mut file,
        limits,
        over: &mut over,
    };
    top.deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|e| match (over, e.io_error_kind()) {
            (Some(what), _) => ReadError::new(path, ReadFault::Limit(what)),
            (None, Some(kind)) => ReadError::new(path, ReadFault::Io(kind.to_string())),
            (None, None) => ReadError::syntax(path, e.line(), e.to_string()),
        })?;
    file.check(path)?;
    Ok(file)
}

/// The outermost object.
struct Top<'a> {
    file: &'a mut File,
    limits: &'a Limits,
    /// Set when a limit ends the reading.
    over: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a COCO annotation file: an object with images, annotations and categories")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Top { file, limits, over } = self;
        let mut seen = [false; 3];
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let k = match key.as_ref() {
                "images" => 0,
                "annotations" => 1,
                "categories" => 2,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if std::mem::replace(&mut seen[k], true) {
                return Err(serde::de::Error::custom(format!("\"{key}\" stands there twice")));
            }
            match k {
                0 => map.next_value_seed(List::new(&mut file.images, limits.pictures, "images", over))?,
                1 => map.next_value_seed(List::new(
                    &mut file.annotations,
                    limits.objects,
                    "annotations",
                    over,
                ))?,
                _ => map.next_value_seed(List::new(&mut file.categories, 1 << 20, "categories", over))?,
            }
        }
        Ok(())
    }
}

/// An array of records, at most `most` of them.
struct List<'a, T> {
    out: &'a mut Vec<T>,
    most: usize,
    what: &'static str,
    over: &'a mut Option<String>,
}

impl<'a, T> List<'a, T> {
    fn new(out: &'a mut Vec<T>, most: usize, what: &'static str, over: &'a mut Option<String>) -> Self {
        List {
            out,
            most,
            what,
            over,
        }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for List<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the list of {}", self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(record) = seq.next_element()? {
            if self.out.len() == self.most {
                *self.over = Some(format!("the file has more than {} {}", self.most, self.what));
                return Err(serde::de::Error::custom("limit"));
            }
            self.out.push(record);
        }
        Ok(())
    }
}

/// Four numbers, or nothing where the list is empty or null.
fn corners<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[f64; 4]>, D::Error> {
    struct Corners;
    impl<'de> Visitor<'de> for Corners {
        type Value = Option<[f64; 4]>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a box [x, y, width, height]")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut out = [0.0; 4];
            let mut n = 0;
            while let Some(v) = seq.next_element()? {
                if n < 4 {
                    out[n] = v;
                }
                n += 1;
            }
            match n {
                0 => Ok(None),
                4 => Ok(Some(out)),
                n => Err(serde::de::Error::invalid_length(n, &self)),
            }
        }
    }
    deserializer.deserialize_any(Corners)
}

/// 0, 1, true, false or null.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Number(f64),
        Null(()),
    }
    Ok(match Flag::deserialize(deserializer)? {
        Flag::Bool(b) => b,
        Flag::Number(n) => n != 0.0,
        Flag::Null(()) => false,
    })
}
