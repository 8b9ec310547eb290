//! Where training pictures come from.

use std::sync::Arc;

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
