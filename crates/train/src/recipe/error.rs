//! Why a recipe was refused, and where it says so.

use std::fmt;

use quant::names::did_you_mean;
use toml::de::{DeTable, DeValue};

/// Why a recipe was refused: `Display` prints place and sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeError {
    /// Where.
    pub place: Place,
    /// Why.
    pub fault: Fault,
}

/// What of a recipe is wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// The text as a whole.
    Whole,
    /// This line of the text, from 1.
    Line(usize),
    /// This override.
    Setting(String),
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Fault {
    #[error("the recipe is no TOML: {0}")]
    Toml(String),
    #[error("there is no key \"{key}\"{} (`lowbit train --keys` lists all)", did_you_mean(*nearest))]
    Unknown {
        key: String,
        nearest: Option<&'static str>,
    },
    #[error("\"{key}\" is {value}, but must be {want}")]
    Value {
        key: String,
        value: String,
        want: String,
    },
    #[error("this is not KEY=VALUE")]
    Setting,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Whole => f.write_str("recipe"),
            Place::Line(line) => write!(f, "line {line}"),
            Place::Setting(text) => write!(f, "--set {text}"),
        }
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

impl std::error::Error for RecipeError {}

/// The line, from 1, of a byte of a text.
pub fn line(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&b| b == b'\n').count()
}

/// The place of a fault of TOML's reader.
pub(super) fn place_of(text: &str, error: &toml::de::Error) -> Place {
    error
        .span()
        .map_or(Place::Whole, |span| Place::Line(line(text, span.start)))
}

/// The line that gives a dotted key.
pub(super) fn place_of_key(text: &str, key: &str) -> Place {
    let table = DeTable::parse(text).ok();
    let byte = table.and_then(|table| byte_of(table.get_ref(), key));
    byte.map_or(Place::Whole, |byte| Place::Line(line(text, byte)))
}

fn byte_of(table: &DeTable<'_>, key: &str) -> Option<usize> {
    table.iter().find_map(|(name, value)| {
        let rest = key.strip_prefix(name.get_ref().as_ref())?;
        match (value.get_ref(), rest.strip_prefix('.')) {
            (DeValue::Table(below), Some(rest)) => byte_of(below, rest),
            _ => rest.is_empty().then_some(name.span().start),
        }
    })
}
