//! The float model that a run starts from.

use std::path::{Path, PathBuf};

use graph::onnx::{Form, WriteOptions};
use graph::passes::unfold_batch_norm;
use train::recipe::Recipe;
use train::zoo::{ALL, H32S, Network, VOLUMES, h32s};

use super::{data, task};
use crate::model::ZOO;
use crate::{Control, Error, LoadOptions, Model, Result};

/// The network that `zoo:NAME` stands for.
fn zoo(text: &str) -> Result<Network> {
    let mut all: Vec<String> = ALL.iter().map(|n| format!("{ZOO}{}", n.name)).collect();
    let found = all.iter().position(|name| name == text);
    all.extend(VOLUMES.iter().map(|n| format!("{ZOO}{}", n.name)));
    all.push(format!("{ZOO}{H32S}"));
    found.map(|i| ALL[i]).ok_or_else(|| {
        let near = quant::names::nearest(text, all.iter().map(String::as_str));
        let near = quant::names::did_you_mean(near);
        Error::usage(format!(
            "model = \"{text}\": there is no such network of our own, there are {}{near}",
            all.join(", ")
        ))
        .help("give one of them, or an ONNX file")
    })
}

fn written(graph: &graph::Graph) -> Result<Vec<u8>> {
    let form = WriteOptions {
        form: Form::Float,
        producer_version: crate::TOOL_VERSION.into(),
    };
    Ok(graph::onnx::write(graph, &form)?)
}

/// A network of our own for volumes.
fn volume_network(recipe: &Recipe, text: &str) -> Result<graph::Graph> {
    let network = VOLUMES.iter().find(|n| text.strip_prefix(ZOO) == Some(n.name));
    let network = network.ok_or_else(|| Error::usage(format!("there is no {text}")))?;
    let number = |key: &str| recipe.count(key) as usize;
    let width = number("zoo.width");
    let size = ["zoo.depth", "zoo.height", "zoo.size"].map(|key| match (key, number(key)) {
        ("zoo.depth" | "zoo.height", 0) => number("zoo.size"),
        (_, n) => n,
    });
    let fits = |side: usize| side > 0 && side.is_multiple_of(network.multiple) && side <= 1024;
    if !(1..=256).contains(&width) || !size.into_iter().all(fits) {
        return Err(Error::usage(format!(
            "of {text}, zoo.width is 1 … 256, zoo.depth, zoo.height and zoo.size are multiples of {} up to 1024",
            network.multiple
        )));
    }
    let classes = task::volumes::classes(recipe)?;
    Ok((network.build)(&classes, width, size, recipe.count("seed")))
}

pub(super) fn float_model(recipe: &Recipe, control: &Control) -> Result<Model> {
    let text = recipe.text("model");
    let options = LoadOptions {
        head: Some(recipe.text("head"))
            .filter(|h| !h.is_empty())
            .map(PathBuf::from),
        keep_batch_norm: true,
        control: control.clone(),
        ..LoadOptions::default()
    };
    let model = match text {
        "" => {
            return Err(Error::usage("the recipe says no model")
                .help("give an ONNX file, or model = \"zoo:tiny\" to start from random weights"));
        }
        _ if VOLUMES.iter().any(|n| text.strip_prefix(ZOO) == Some(n.name)) => {
            Model::from_bytes(&written(&volume_network(recipe, text)?)?, &options)?
        }
        _ if text.strip_prefix(ZOO) == Some(H32S) => {
            let (classes, bands) = task::cubes::bands(recipe)?;
            let graph = h32s(&classes, &bands, recipe.count("seed")).ok_or_else(|| {
                Error::usage(format!(
                    "{text} takes 13 bands and more, the cube has {}",
                    bands.mean.len()
                ))
            })?;
            Model::from_bytes(&written(&graph)?, &options)?
        }
        _ if text.starts_with(ZOO) => {
            let network = zoo(text)?;
            let names = ::data::synth::NAMES.map(String::from).to_vec();
            let names = match recipe.text("data.kind") {
                "synth" => names,
                _ => data::open(recipe, "data", &no_input())?.names,
            };
            let [width, side, height] =
                ["zoo.width", "zoo.size", "zoo.height"].map(|key| recipe.count(key) as usize);
            let size = [side, if height == 0 { side } else { height }];
            let fits = |side: usize| side > 0 && side.is_multiple_of(network.multiple) && side <= 4096;
            if !(1..=256).contains(&width) || !size.into_iter().all(fits) {
                return Err(Error::usage(format!(
                    "of {text}, zoo.width is 1 … 256, zoo.size and zoo.height are multiples of {} up to 4096",
                    network.multiple
                )));
            }
            let graph = (network.build)(&names, width, size, recipe.count("seed"));
            Model::from_bytes(&written(&graph)?, &options)?
        }
        path => Model::load(Path::new(path), &options)?,
    };
    if model.is_quantized() {
        return Err(Error::unsupported("the model is quantized already").help("start from its float parent"));
    }
    if model.graph().inputs.len() != 1 {
        return Err(Error::unsupported("only models with one input can be trained"));
    }
    if !recipe.flag("batch_norm.add") {
        return Ok(model);
    }
    let mut graph = model.graph().clone();
    unfold_batch_norm(&mut graph);
    Ok(model.with_graph(graph))
}

/// Sizes matter to drawn scenes alone.
pub(super) fn no_input() -> tasks::detect::Input {
    tasks::detect::Input {
        name: String::new(),
        width: 96,
        height: 96,
        color: tasks::detect::ColorOrder::Rgb,
        layout: tasks::detect::Channels::Nchw,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        resize: tasks::detect::Resize::Letterbox,
        pad_value: None,
    }
}
