//! The head of a model: where it is stated, whether it fits the graph, what the graph itself says.

use std::path::{Path, PathBuf};

use graph::{Graph, ValueId};
use tasks::detect::{Certainty, Guess, Head, METADATA_KEY, OutputInfo, recognise};

use super::{LoadOptions, Model};
use crate::provenance::read_capped;
use crate::{Error, Result};

/// Where a head description was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum HeadSource {
    /// Given by the caller.
    Given {
        /// The file.
        #[serde(serialize_with = "crate::text::path")]
        path: PathBuf,
    },
    /// In the model's own metadata.
    Metadata,
    /// `NAME.json` beside `NAME.onnx`.
    Beside {
        /// The file.
        #[serde(serialize_with = "crate::text::path")]
        path: PathBuf,
    },
    /// Recognised from names and shapes of the graph.
    Recognised {
        /// How far to trust it.
        certainty: Certainty,
        /// What was seen and what was assumed.
        why: String,
    },
    /// Not found.
    Unknown {
        /// What was seen.
        why: String,
    },
}

impl std::fmt::Display for HeadSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HeadSource::Given { path } => write!(f, "given by {}", path.display()),
            HeadSource::Metadata => f.write_str("stored in the model"),
            HeadSource::Beside { path } => write!(f, "found beside the model, {}", path.display()),
            HeadSource::Recognised {
                certainty: Certainty::Certain,
                why,
            } => write!(f, "recognised: {why}"),
            HeadSource::Recognised { why, .. } => write!(f, "guessed: {why}"),
            HeadSource::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

impl Model {
    /// The head.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where none was found: with the outputs' shapes and a template.
    pub fn head(&self) -> Result<&Head> {
        self.head.as_ref().ok_or_else(|| {
            let why = format!("the model's head is not known: {}", self.guess.why);
            self.at_file(Error::unsupported(why))
                .help("`lowbit inspect --template` prints it, --head takes it")
        })
    }

    /// The head of a detector: classifiers are refused.
    pub(crate) fn detector_head(&self) -> Result<&Head> {
        let head = self.head()?;
        match head.family {
            tasks::detect::Family::Classifier(_) => Err(self
                .at_file(Error::unsupported("the model is a classifier: it has no boxes"))
                .help("use a detector, or `bench`, `verify` and `inspect`, which need no boxes")),
            _ => Ok(head),
        }
    }

    /// Where the head was found.
    pub fn head_source(&self) -> &HeadSource {
        &self.source
    }

    /// What the graph alone tells of its head: shapes, a guess, a template to edit.
    pub fn guess(&self) -> &Guess {
        &self.guess
    }

    /// The graph's own word on its head, and whether a stated head fits the graph.
    pub(super) fn find_head(&mut self) -> Result<()> {
        let Some(&input) = self.graph.inputs.first() else {
            return Ok(());
        };
        let outputs: Vec<OutputInfo> = self.graph.outputs.iter().map(|&v| self.info(v, true)).collect();
        self.guess = recognise(&self.info(input, false), &outputs, &self.graph.metadata);
        let Some(head) = &self.head else {
            let why = self.guess.why.clone();
            self.head = self.guess.head.clone();
            self.source = match self.guess.certainty {
                Certainty::Unknown => HeadSource::Unknown { why },
                certainty => HeadSource::Recognised { certainty, why },
            };
            return Ok(());
        };
        let names: Vec<&str> = self
            .graph
            .outputs
            .iter()
            .map(|&v| self.graph.value(v).name.as_str())
            .collect();
        let missing = head.outputs().into_iter().find(|o| !names.contains(o));
        if let Some(missing) = missing {
            return Err(Error::bad(format!(
                "the head ({}) reads output \"{missing}\", the model's outputs are {}",
                self.source,
                names.join(", ")
            ))
            .help("correct the head description, or give another with --head"));
        }
        let inputs: Vec<&str> = self
            .graph
            .inputs
            .iter()
            .map(|&v| self.graph.value(v).name.as_str())
            .collect();
        if !inputs.contains(&head.input.name.as_str()) {
            return Err(Error::bad(format!(
                "the head ({}) feeds input \"{}\", the model's inputs are {}",
                self.source,
                head.input.name,
                inputs.join(", ")
            ))
            .help("correct the head description, or give another with --head"));
        }
        Ok(())
    }

    fn info(&self, id: ValueId, with_tail: bool) -> OutputInfo {
        let value = self.graph.value(id);
        let mut tail = Vec::new();
        if with_tail {
            let producers = self.graph.producers();
            let mut at = producers.get(&id);
            while let Some(&n) = at.filter(|_| tail.len() < 8) {
                let node = &self.graph.nodes[n];
                tail.push(node.op.name().to_string());
                at = node
                    .inputs
                    .first()
                    .copied()
                    .flatten()
                    .and_then(|v| producers.get(&v));
            }
        }
        OutputInfo {
            name: value.name.clone(),
            shape: value.shape.clone().unwrap_or_default(),
            tail,
        }
    }

    /// A guess is not made true by storing it: only heads that someone stated, or the file is certain of, are.
    pub(super) fn head_to_store(&self) -> Option<&Head> {
        match self.source {
            HeadSource::Recognised {
                certainty: Certainty::Likely,
                ..
            }
            | HeadSource::Unknown { .. } => None,
            _ => self.head.as_ref(),
        }
    }
}

/// The head that somebody stated: given, in the metadata, beside the file; in this order.
pub(super) fn stated(
    graph: &Graph,
    path: Option<&Path>,
    options: &LoadOptions,
) -> Result<(Option<Head>, HeadSource)> {
    const MOST: u64 = 16 << 20;
    let read = |path: &Path| -> Result<String> {
        let bytes = read_capped(path, MOST, &options.control)?;
        String::from_utf8(bytes)
            .map_err(|_| Error::bad("the head description is not UTF-8").at(path.display()))
    };
    if let Some(path) = &options.head {
        let text = read(path).map_err(|e| e.at("head description"))?;
        let head = Head::from_json(&text).map_err(|e| Error::from(e).at(path.display()))?;
        return Ok((Some(head), HeadSource::Given { path: path.clone() }));
    }
    if let Some(text) = graph.metadata.get(METADATA_KEY) {
        let head = Head::from_json(text).map_err(|e| {
            Error::from(e)
                .at("metadata \"lowbit.head\"")
                .help("give a right one with --head")
        })?;
        return Ok((Some(head), HeadSource::Metadata));
    }
    let unknown = HeadSource::Unknown { why: String::new() };
    let Some(beside) = path.map(|p| p.with_extension("json")).filter(|p| p.is_file()) else {
        return Ok((None, unknown));
    };
    let text = read(&beside)?;
    match Head::from_json(&text) {
        Ok(head) => Ok((Some(head), HeadSource::Beside { path: beside })),
        // Some other JSON of the same name is none of our business; a head with a mistake is.
        Err(_) if !text.contains("\"family\"") => Ok((None, unknown)),
        Err(e) => Err(Error::from(e)
            .at(beside.display())
            .help("correct it, remove it, or give another with --head")),
    }
}

pub(super) fn no_guess() -> Guess {
    Guess {
        head: None,
        certainty: Certainty::Unknown,
        why: "the model has no input".into(),
        shapes: String::new(),
        template: String::new(),
    }
}
