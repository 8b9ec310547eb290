//! A model: graph, head and where they came from.

mod head;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use graph::onnx::{ReadOptions, WriteOptions};
use graph::passes::{Budget, simplify, simplify_for_training};
use graph::{Graph, ValueId};
use tasks::detect::{Guess, Head, METADATA_KEY};
use tensor::DType;

pub use graph::onnx::{Form, Limits};
pub use head::HeadSource;

use crate::provenance::{TOOL_VERSION, read_capped, sha256, sha256_beside};
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
    open: Vec<(String, usize)>,
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
        let (graph, sha256) = sha256_beside(bytes, || graph::onnx::read(bytes, &read));
        let graph = graph?;
        let (head, source) = head::stated(&graph, path, options)?;
        let open = |&v: &ValueId| {
            let value = graph.value(v);
            let dims = value.shape.as_deref().unwrap_or_default();
            let axes = dims.iter().enumerate().filter(|(_, d)| d.is_none());
            axes.map(|(axis, _)| (value.name.clone(), axis))
                .collect::<Vec<_>>()
        };
        let mut model = Model {
            open: graph.inputs.iter().flat_map(open).collect(),
            guess: head::no_guess(),
            graph,
            head,
            source,
            path: path.map(Path::to_owned),
            side_files: side_files.into_inner(),
            sha256,
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

    /// The graph: simplified, shapes inferred.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    fn at_file(&self, e: Error) -> Error {
        match &self.path {
            Some(path) => e.at(path.display()),
            None => e,
        }
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

    /// The same model with scales and biases of quantized layers rounded to 16 bits, as [`graph::halves::round`] says, and how many tensors were.
    pub fn halved(&self) -> (Model, usize) {
        let mut graph = self.graph.clone();
        let rounded = graph::halves::round(&mut graph);
        (self.with_graph(graph), rounded)
    }

    /// The same model with another graph, such as a quantized one.
    pub(crate) fn with_graph(&self, graph: Graph) -> Model {
        Model {
            graph,
            ..self.clone()
        }
    }

    /// What the metadata string `key` describes; `absent` where there is none.
    pub(crate) fn described<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> std::result::Result<T, String>,
        absent: impl FnOnce() -> Error,
    ) -> Result<T> {
        let text = self.graph.metadata.get(key).ok_or_else(absent)?;
        parse(text).map_err(|e| Error::bad(format!("its metadata {key} cannot be used: {e}")))
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

    /// Input and axis of every dimension that the file and [`LoadOptions::dimensions`] leave open.
    pub fn open_dimensions(&self) -> &[(String, usize)] {
        &self.open
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

/// Infers all shapes anew from those of the inputs.
pub(crate) fn infer_again(graph: &mut Graph) -> Result<()> {
    for id in graph.value_ids().collect::<Vec<_>>() {
        if !graph.inputs.contains(&id) && !graph.is_constant(id) {
            graph.value_mut(id).shape = None;
        }
    }
    graph::shape::infer(graph)
        .map(drop)
        .map_err(|e| Error::unsupported(e.to_string()))
}

/// Whether a file that was no model is text: the page of an error, a recipe, a list.
fn is_text(bytes: &[u8]) -> bool {
    let odd = |c: char| c.is_control() && !c.is_ascii_whitespace();
    !bytes.is_empty() && std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(odd))
}
