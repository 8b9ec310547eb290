//! Attributes of one node: typed, checked, and every one accounted for.

use std::cell::Cell;

use super::error::{Load, LoadError, quoted};
use super::proto::{Attribute, Kind};
use super::wire::Bytes;

/// The attributes of a node. Each getter marks what it read; [`Attributes::finish`] refuses what nobody read.
pub(crate) struct Attributes<'a> {
    list: Vec<(Attribute<'a>, Cell<bool>)>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(list: Vec<Attribute<'a>>) -> Load<Self> {
        for (i, a) in list.iter().enumerate() {
            if list.iter().take(i).any(|b| b.name == a.name) {
                return Err(LoadError::bad(format!(
                    "attribute {} is given twice",
                    quoted(a.name)
                )));
            }
        }
        let list = list.into_iter().map(|a| (a, Cell::new(false))).collect();
        Ok(Attributes { list })
    }

    fn get(&self, name: &str, kind: Kind) -> Load<Option<&Attribute<'a>>> {
        let Some((a, used)) = self.list.iter().find(|(a, _)| a.name == name) else {
            return Ok(None);
        };
        used.set(true);
        if a.kind != kind {
            let have = a.kind;
            return Err(LoadError::bad(format!(
                "attribute {name} is of type {have:?}, not {kind:?}"
            )));
        }
        Ok(Some(a))
    }

    /// Whether an attribute is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.list.iter().any(|(a, _)| a.name == name)
    }

    /// Marks an attribute that cannot change the result.
    pub(crate) fn ignore(&self, name: &str) {
        if let Some((_, used)) = self.list.iter().find(|(a, _)| a.name == name) {
            used.set(true);
        }
    }

    pub(crate) fn int(&self, name: &str) -> Load<Option<i64>> {
        Ok(self.get(name, Kind::Int)?.map(|a| a.int))
    }

    pub(crate) fn int_or(&self, name: &str, default: i64) -> Load<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Load<bool> {
        match self.int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(v) => Err(LoadError::bad(format!(
                "attribute {name} is {v}, only 0 and 1 have a meaning"
            ))),
        }
    }

    pub(crate) fn float_or(&self, name: &str, default: f32) -> Load<f32> {
        Ok(self.get(name, Kind::Float)?.map_or(default, |a| a.float))
    }

    pub(crate) fn float(&self, name: &str) -> Load<Option<f32>> {
        Ok(self.get(name, Kind::Float)?.map(|a| a.float))
    }

    pub(crate) fn floats(&self, name: &str) -> Load<Option<&[f32]>> {
        Ok(self.get(name, Kind::Floats)?.map(|a| a.floats.as_slice()))
    }

    pub(crate) fn ints(&self, name: &str) -> Load<Option<&[i64]>> {
        Ok(self.get(name, Kind::Ints)?.map(|a| a.ints.as_slice()))
    }

    pub(crate) fn string(&self, name: &str) -> Load<Option<&'a str>> {
        let Some(a) = self.get(name, Kind::String)? else {
            return Ok(None);
        };
        std::str::from_utf8(a.string)
            .map(Some)
            .map_err(|_| LoadError::bad(format!("attribute {name} is not UTF-8")))
    }

    /// A string that must be one of the choices.
    pub(crate) fn choice<T: Copy>(&self, name: &str, default: &str, choices: &[(&str, T)]) -> Load<T> {
        let value = self.string(name)?.unwrap_or(default);
        choices
            .iter()
            .find(|(n, _)| *n == value)
            .map(|(_, v)| *v)
            .ok_or_else(|| {
                let known: Vec<&str> = choices.iter().map(|(n, _)| *n).collect();
                LoadError::unsupported(format!(
                    "attribute {name} is {}, supported are {}",
                    quoted(value),
                    known.join(", ")
                ))
                .help("export the model with one of these")
            })
    }

    pub(crate) fn tensor(&self, name: &str) -> Load<Option<Bytes<'a>>> {
        match self.get(name, Kind::Tensor)? {
            None => Ok(None),
            Some(a) => match a.tensor {
                Some(t) => Ok(Some(t)),
                None => Err(LoadError::bad(format!(
                    "attribute {name} is declared as a tensor, but holds none"
                ))),
            },
        }
    }

    /// A list of `count` positive numbers, or `default` for each.
    pub(crate) fn positive(&self, name: &str, count: usize, default: usize) -> Load<Vec<usize>> {
        match self.ints(name)? {
            None => Ok(vec![default; count]),
            Some(list) => {
                if list.len() != count {
                    return Err(wrong_count(name, list.len(), count));
                }
                positive(name, list)
            }
        }
    }

    /// A list of `count` numbers ≥ 0, or `None`.
    pub(crate) fn not_negative(&self, name: &str, count: usize) -> Load<Option<Vec<usize>>> {
        let Some(list) = self.ints(name)? else {
            return Ok(None);
        };
        if list.len() != count {
            return Err(wrong_count(name, list.len(), count));
        }
        list.iter()
            .map(|&v| {
                bounded(v).ok_or_else(|| {
                    LoadError::bad(format!(
                        "attribute {name} holds {v}; only 0 … 2^31 − 1 are possible"
                    ))
                })
            })
            .collect::<Load<_>>()
            .map(Some)
    }

    /// Refuses attributes that nobody read: to ignore one could change the result.
    pub(crate) fn finish(&self) -> Load<()> {
        match self.list.iter().find(|(_, used)| !used.get()) {
            None => Ok(()),
            Some((a, _)) => Err(LoadError::unsupported(format!(
                "attribute {} is not known for this operator and opset",
                quoted(a.name)
            ))
            .help("export the model with a standard opset, or remove the attribute if it has no effect")),
        }
    }
}

/// Sizes, strides and paddings fit 31 bits; larger ones are mistakes or attacks.
fn bounded(v: i64) -> Option<usize> {
    (0..=i64::from(i32::MAX)).contains(&v).then_some(v as usize)
}

/// Numbers in 1 … 2^31 − 1.
pub(crate) fn positive(name: &str, list: &[i64]) -> Load<Vec<usize>> {
    list.iter()
        .map(|&v| {
            bounded(v).filter(|&v| v > 0).ok_or_else(|| {
                LoadError::bad(format!(
                    "attribute {name} holds {v}; only 1 … 2^31 − 1 are possible"
                ))
            })
        })
        .collect()
}

pub(crate) fn wrong_count(name: &str, have: usize, want: usize) -> LoadError {
    LoadError::bad(format!(
        "attribute {name} has {have} values, the kernel's rank wants {want}"
    ))
}
