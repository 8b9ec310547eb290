//! A model: graph, head and where they came from.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use graph::onnx::{ReadOptions, WriteOptions};
use graph::passes::{Budget, simplify, simplify_for_training};
use graph::{Graph, ValueId};
use tasks::detect::{Certainty, Guess, Head, METADATA_KEY, OutputInfo, recognise};
use tensor::DType;

pub use graph::onnx::{Form, Limits};

use crate::provenance::{TOOL_VERSION, read_capped, sha256};
use crate::{Control, Error, Result};

/// What names of our own networks begin with.
pub(crate) const ZOO: &str = "zoo:";

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Sizes of dynamic dimensions, by their name in the file (`"N"`) or by input and position (`"images:0"`). A dynamic batch becomes 1 by
    /// itself, a dynamic height and width what the head says.
    pub dimensions: BTreeMap<String, usize>,
    /// Head description that overrides what the model and its folder say.
    pub head: Option<PathBuf>,
    /// Leave BatchNormalization as it is in the file: for training.
    pub keep_batch_norm: bool,
    /// What the file may ask for.
    pub limits: Limits,
    /// Stops the work.
    pub control: Control,
}

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

/// A detector, float or quantized: its graph simplified for fixed input shapes, and its head.
///
/// ```no_run
/// # fn main() -> lowbit::Result<()> {
/// let model = lowbit::Model::load("detector.onnx".as_ref(), &lowbit::LoadOptions::default())?;
/// println!("{} nodes, head {}", model.graph().nodes.len(), model.head_source());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Model {
    graph: Graph,
    head: Option<Head>,
    source: HeadSource,
    guess: Guess,
    path: Option<PathBuf>,
    side_files: BTreeSet<PathBuf>,
    sha256: String,
    file_bytes: usize,
}

impl Model {
    /// Loads a file. Weights beside it are found; so is a head description `NAME.json` beside `NAME.onnx`.
    ///
    /// # Errors
    /// What the file holds that is wrong or not supported, with node and way out; the system's refusal; a limit.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Model> {
        let most = match options.control.memory() {
            Some(bytes) => (bytes as u64).min(options.limits.model_bytes),
            None => options.limits.model_bytes,
        };
        if path.is_dir() {
            return Err(Error::new(crate::ErrorKind::Io, "this is a folder, not a model")
                .at(path.display())
                .help("give the ONNX file in it"));
        }
        if path.to_string_lossy().starts_with(ZOO) && !path.exists() {
            return Err(Error::usage(
                "networks of our own have random weights, which training alone can start from: a model file is needed here",
            )
            .at(path.display())
            .help("`lowbit train` with --set model=zoo:… makes one, `lowbit demo --write-models DIR` gives trained ones"));
        }
        let bytes = read_capped(path, most, &options.control)?;
        let base = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Model::read(&bytes, Some(path), Some(base), options).map_err(|e| {
            let e = e.at(path.display());
            if data::picture::has_picture_name(path) {
                e.help("it has the name of a picture: the model comes first")
            } else if is_text(&bytes) {
                e.help("it holds text, and no ONNX model does")
            } else {
                e
            }
        })
    }

    /// Loads a model from bytes; weights in side files are not found.
    ///
    /// ```
    /// let e = lowbit::Model::from_bytes(b"no model", &lowbit::LoadOptions::default()).unwrap_err();
    /// assert_eq!(e.kind(), lowbit::ErrorKind::BadInput);
    /// ```
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: &[u8], options: &LoadOptions) -> Result<Model> {
        Model::read(bytes, None, None, options)
    }

    fn read(bytes: &[u8], path: Option<&Path>, base: Option<&Path>, options: &LoadOptions) -> Result<Model> {
        options.control.check()?;
        let mut limits = options.limits.clone();
        if let Some(memory) = options.control.memory() {
            limits.constant_bytes = limits.constant_bytes.min(memory);
            limits.tensor_bytes = limits.tensor_bytes.min(memory);
        }
        let side_files = RefCell::default();
        let read = ReadOptions {
            base_dir: base,
            dimensions: options.dimensions.clone(),
            limits,
            side_files: Some(&side_files),
        };
        let graph = graph::onnx::read(bytes, &read)?;
        let (head, source) = stated_head(&graph, path, options)?;
        let mut model = Model {
            guess: no_guess(),
            graph,
            head,
            source,
            path: path.map(Path::to_owned),
            side_files: side_files.into_inner(),
            sha256: sha256(bytes),
            file_bytes: bytes.len(),
        };
        model.fix_input();
        options.control.check()?;
        let simplify = match options.keep_batch_norm {
            true => simplify_for_training,
            false => simplify,
        };
        simplify(&mut model.graph, &oracle::Reference, &Budget::default())?;
        model.find_head()?;
        Ok(model)
    }

    /// Dynamic batch to 1, dynamic height and width to the head's.
    fn fix_input(&mut self) {
        let head = self.head.clone();
        for id in self.graph.inputs.clone() {
            let name = self.graph.value(id).name.clone();
            let Some(shape) = &mut self.graph.value_mut(id).shape else {
                continue;
            };
            if let Some(batch) = shape.first_mut() {
                batch.get_or_insert(1);
            }
            if let Some(input) = head.as_ref().map(|h| &h.input).filter(|i| i.name == name)
                && let [_, a, b, c] = &mut shape[..]
            {
                let (h, w) = match input.layout {
                    tasks::detect::Channels::Nchw => (b, c),
                    tasks::detect::Channels::Nhwc => (a, b),
                };
                h.get_or_insert(input.height);
                w.get_or_insert(input.width);
            }
        }
    }

    /// The graph's own word on its head, and whether a stated head fits the graph.
    fn find_head(&mut self) -> Result<()> {
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

    /// The graph: simplified, shapes inferred.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

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

    fn at_file(&self, e: Error) -> Error {
        match &self.path {
            Some(path) => e.at(path.display()),
            None => e,
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

    /// The file it was loaded from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// All files it was made from: the model, weights beside it, the head description. No output may replace them.
    pub fn files(&self) -> Vec<&Path> {
        let head = match &self.source {
            HeadSource::Given { path } | HeadSource::Beside { path } => Some(path.as_path()),
            _ => None,
        };
        let side = self.side_files.iter().map(PathBuf::as_path);
        self.path().into_iter().chain(side).chain(head).collect()
    }

    /// A short name: the file's without ending.
    pub fn name(&self) -> String {
        match self.path.as_ref().and_then(|p| p.file_stem()) {
            Some(stem) => stem.to_string_lossy().into_owned(),
            None => self.graph.name.clone(),
        }
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> usize {
        self.file_bytes
    }

    /// Whether weights or edges are quantized.
    pub fn is_quantized(&self) -> bool {
        !self.graph.weights.is_empty() || !self.graph.edges.is_empty()
    }

    /// The model as the bytes of an ONNX file, its head stored in the metadata.
    ///
    /// # Errors
    /// When the form cannot hold the model.
    pub fn to_onnx(&self, form: Form) -> Result<Vec<u8>> {
        let mut graph = self.graph.clone();
        if let Some(head) = self.head_to_store() {
            graph.metadata.insert(METADATA_KEY.into(), head.to_json());
        }
        graph
            .metadata
            .insert("lowbit.version".into(), TOOL_VERSION.into());
        let options = WriteOptions {
            form,
            producer_version: TOOL_VERSION.into(),
        };
        Ok(graph::onnx::write(&graph, &options)?)
    }

    /// A guess is not made true by storing it: only heads that someone stated, or the file is certain of, are.
    fn head_to_store(&self) -> Option<&Head> {
        match self.source {
            HeadSource::Recognised {
                certainty: Certainty::Likely,
                ..
            }
            | HeadSource::Unknown { .. } => None,
            _ => self.head.as_ref(),
        }
    }

    /// The same model with another graph, such as a quantized one.
    pub(crate) fn with_graph(&self, graph: Graph) -> Model {
        Model {
            graph,
            ..self.clone()
        }
    }

    /// A metadata string of the file.
    pub(crate) fn set_metadata(&mut self, key: &str, value: String) {
        self.graph.metadata.insert(key.into(), value);
    }

    /// Takes size and hash of the bytes that the model is written as.
    pub(crate) fn written_as(&mut self, bytes: &[u8]) {
        self.sha256 = sha256(bytes);
        self.file_bytes = bytes.len();
        self.path = None;
    }

    /// Name, type and fixed shape of the inputs.
    ///
    /// # Errors
    /// When a dimension is still open.
    pub fn inputs(&self) -> Result<Vec<(String, DType, Vec<usize>)>> {
        let each = |&v: &ValueId| {
            let value = self.graph.value(v);
            let shape = value.fixed_shape().ok_or_else(|| {
                Error::unsupported(format!("input \"{}\" has a shape that is not fixed", value.name))
                    .help("give every open dimension a size with --dim NAME=N")
            })?;
            Ok((value.name.clone(), value.dtype.unwrap_or(DType::F32), shape))
        };
        self.graph.inputs.iter().map(each).collect()
    }
}

/// Whether a file that was no model is text: the page of an error, a recipe, a list.
fn is_text(bytes: &[u8]) -> bool {
    let odd = |c: char| c.is_control() && !c.is_ascii_whitespace();
    !bytes.is_empty() && std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(odd))
}

/// The head that somebody stated: given, in the metadata, beside the file; in this order.
fn stated_head(
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

fn no_guess() -> Guess {
    Guess {
        head: None,
        certainty: Certainty::Unknown,
        why: "the model has no input".into(),
        shapes: String::new(),
        template: String::new(),
    }
}
