//! Where training pictures come from.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tasks::detect::{BBox, Object};

use crate::picture::{Limits, PictureError};
use crate::read::{ClassSet, Dataset};
use crate::{Picture, picture, synth};

/// Why a sample could not be had.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)]
pub enum SourceError {
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error("there are no training pictures")]
    Empty,
}

/// Numbered pictures with their objects. The same number always gives the same.
pub trait Source: Send + Sync {
    /// Samples of an epoch.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `index` below [`len`](Self::len).
    ///
    /// # Errors
    /// When its file cannot be read.
    fn sample(&self, index: usize) -> Result<(Picture, Vec<Object>), SourceError>;
}

/// A detection data set in files.
#[derive(Debug, Clone)]
pub struct Pictures {
    /// As read.
    pub set: Arc<Dataset>,
    /// Of each picture.
    pub limits: Limits,
}

impl Source for Pictures {
    fn len(&self) -> usize {
        self.set.pictures.len()
    }

    fn sample(&self, index: usize) -> Result<(Picture, Vec<Object>), SourceError> {
        let entry = self.set.pictures.get(index).ok_or(SourceError::Empty)?;
        Ok((picture::load(&entry.path, &self.limits)?, entry.objects.clone()))
    }
}

/// A classification data set: one object that fills the picture.
#[derive(Debug, Clone)]
pub struct Classes {
    /// As read.
    pub set: Arc<ClassSet>,
    /// Of each picture.
    pub limits: Limits,
}

impl Source for Classes {
    fn len(&self) -> usize {
        self.set.items.len()
    }

    fn sample(&self, index: usize) -> Result<(Picture, Vec<Object>), SourceError> {
        let item = self.set.items.get(index).ok_or(SourceError::Empty)?;
        let picture = item.picture.load(&self.limits)?;
        let whole = BBox::new(0.0, 0.0, picture.width() as f64, picture.height() as f64);
        let object = Object::new(item.class, whole);
        Ok((picture, vec![object]))
    }
}

/// Drawn scenes, `first …` of a seed.
#[derive(Debug, Clone, Copy)]
pub struct Synthetic {
    /// Seed of the scenes.
    pub seed: u64,
    /// Index of the first.
    pub first: u64,
    /// How many.
    pub count: usize,
    /// What they are like.
    pub options: synth::Options,
}

impl Source for Synthetic {
    fn len(&self) -> usize {
        self.count
    }

    fn sample(&self, index: usize) -> Result<(Picture, Vec<Object>), SourceError> {
        Ok(synth::scene(self.seed, self.first + index as u64, &self.options))
    }
}

/// Some samples of another source, in the order of the list.
pub struct Subset {
    /// All samples.
    pub source: Arc<dyn Source>,
    /// Which of them; each below the number of all.
    pub indices: Vec<usize>,
}

impl Source for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn sample(&self, index: usize) -> Result<(Picture, Vec<Object>), SourceError> {
        let of_all = self.indices.get(index).ok_or(SourceError::Empty)?;
        self.source.sample(*of_all)
    }
}

/// Keeps the samples of another source in memory, up to a number of bytes: drawing or decoding them costs as much as a training step of a small
/// network. What was kept is never given back.
pub struct Cached {
    source: Arc<dyn Source>,
    kept: Vec<OnceLock<(Picture, Vec<Object>)>>,
    bytes: AtomicUsize,
    most: usize,
}

impl Cached {
    /// Keeps up to `most` bytes of pixels; samples beyond that are made anew each time.
    pub fn new(source: Arc<dyn Source>, most: usize) -> Self {
        Cached {
            kept: (0..source.len()).map(|_| OnceLock::new()).collect(),
            source,
            bytes: AtomicUsize::new(0),
            most,
        }
    }
}

impl Source for Cached {
    fn len(&self) -> usize {
        self.kept.len()
    }

    fn sample(&self, index: usize) -> Result<(Picture, Vec<Object>), SourceError> {
        let place = self.kept.get(index).ok_or(SourceError::Empty)?;
        if let Some(kept) = place.get() {
            return Ok(kept.clone());
        }
        let made = self.source.sample(index)?;
        let size = made.0.rgb().len();
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        // Another thread may have been faster: both made the same.
        if before + size > self.most || place.set(made.clone()).is_err() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_gives_what_its_source_gives_and_holds_no_more_than_it_may() {
        let options = synth::Options {
            width: 32,
            height: 32,
            max_objects: 2,
        };
        let source = Arc::new(Synthetic {
            seed: 3,
            first: 5,
            count: 4,
            options,
        });
        let size = 32 * 32 * 3;
        let cached = Cached::new(source.clone(), 2 * size + size / 2);
        for index in [0, 3, 0, 1, 2, 3, 1] {
            assert_eq!(cached.sample(index).unwrap(), source.sample(index).unwrap());
        }
        assert_eq!(cached.kept.iter().filter(|k| k.get().is_some()).count(), 2);
        assert_eq!(cached.bytes.load(Ordering::Relaxed), 2 * size);
        assert!(cached.sample(4).is_err());
    }
}
