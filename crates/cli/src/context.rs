//! Flags that every command has, and what they become.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lowbit::{Control, HeadSource, LoadOptions, Model, Provenance, RunOptions};

use crate::progress::Bar;
use crate::values;

/// Flags of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Result as JSON, with version, commit, CPU, threads, seed and hashes
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Threads; 0 takes all cores. Results do not depend on it
    #[arg(long, short = 't', default_value_t = 0, value_parser = values::threads)]
    pub(crate) threads: usize,
    /// Seed of everything that draws
    #[arg(long, default_value_t = 0, value_parser = values::whole(0..=u64::MAX, 7))]
    pub(crate) seed: u64,
    /// Refuse to take more memory for models, activations and pictures, such as 512MiB or 2GiB
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    pub(crate) limit_mem: Option<usize>,
    /// Stop after this time, such as 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) limit_time: Option<Duration>,
    /// Take flags from a TOML file; flags given on the command line win
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
    /// Print the merged configuration in that form, and stop
    #[arg(long)]
    pub(crate) print_config: bool,
}

impl Common {
    /// Files that a command reads, whatever it is: no output may replace them.
    pub(crate) fn inputs<'a>(&'a self, model: &'a Model) -> Vec<&'a Path> {
        model.files().into_iter().chain(self.config.as_deref()).collect()
    }
}

/// Which model, and how to read it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelFlags {
    /// Head description; without it: the model's own metadata, NAME.json beside the model, what the graph tells
    #[arg(long, value_name = "FILE.json")]
    pub(crate) head: Option<PathBuf>,
    /// Size of a dynamic dimension, by its name or by input and position (repeatable): N=1, images:0=1
    #[arg(long = "dim", value_name = "NAME=N", value_parser = values::dimension)]
    pub(crate) dims: Vec<(String, usize)>,
}

impl ModelFlags {
    /// Loads a model.
    pub(crate) fn load(&self, path: &Path, context: &Context) -> lowbit::Result<Model> {
        let model = Model::load(path, &self.options(context))?;
        // A guess is never silent.
        if let HeadSource::Recognised { .. } = model.head_source() {
            context.note(&format!("head {}", model.head_source()));
        }
        Ok(model)
    }

    pub(crate) fn options(&self, context: &Context) -> LoadOptions {
        LoadOptions {
            dimensions: self.dims.iter().cloned().collect(),
            head: self.head.clone(),
            control: context.control.clone(),
            ..LoadOptions::default()
        }
    }
}

/// Flags of commands that run models.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunFlags {
    /// Refuse models in which a convolution or matrix product runs in float (exit code 1)
    #[arg(long)]
    pub(crate) deny_float: bool,
    /// Choose kernels by rules: neither measure them when a model is first loaded on this machine nor use what was measured
    #[arg(long)]
    pub(crate) no_tune: bool,
}

impl RunFlags {
    pub(crate) fn options(&self, context: &Context) -> RunOptions {
        RunOptions {
            threads: context.threads,
            deny_float: self.deny_float,
            tuning: (!self.no_tune).then(lowbit::cache_folder).flatten(),
            control: context.control.clone(),
        }
    }
}

/// What the commands are run with.
pub(crate) struct Context {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) threads: usize,
    pub(crate) seed: u64,
    pub(crate) control: Control,
}

/// What a command found: printed by `main` alone.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For people.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: Option<serde_json::Value>,
    /// Why the exit code is 1.
    pub(crate) gate: Option<String>,
}

impl Context {
    pub(crate) fn new(common: &Common, control: Control) -> Context {
        let mut control = control;
        if let Some(bytes) = common.limit_mem {
            control = control.with_memory(bytes);
        }
        if let Some(limit) = common.limit_time {
            control = control.with_time(limit);
        }
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Context {
            json: common.json,
            quiet: common.quiet,
            threads: if common.threads == 0 {
                cores
            } else {
                common.threads
            },
            seed: common.seed,
            control,
        }
    }

    /// Progress on stderr.
    pub(crate) fn bar(&self) -> Bar {
        Bar::new(self.quiet)
    }

    /// A note on stderr, not a result.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(&lowbit::text::printable(text));
        }
    }

    /// Head of a JSON result.
    pub(crate) fn provenance(&self, model: Option<&str>, data: Option<&str>) -> Provenance {
        let mut p = Provenance::new(self.threads, self.seed);
        p.model_sha256 = model.map(str::to_owned);
        p.data_sha256 = data.map(str::to_owned);
        p
    }
}

/// One line on stderr. A stderr that is closed or full is no reason to end.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Outcome {
    /// Text, and JSON of the provenance followed by the fields of `result`.
    pub(crate) fn new(text: String, provenance: &Provenance, result: &impl serde::Serialize) -> Outcome {
        let mut json = serde_json::to_value(provenance).unwrap_or_default();
        // A result that silently lost its fields would be worse than a bug that shows.
        let result = serde_json::to_value(result).expect("results are plain data");
        if let (Some(all), serde_json::Value::Object(more)) = (json.as_object_mut(), result) {
            all.extend(more);
        }
        Outcome {
            text,
            json: Some(json),
            gate: None,
        }
    }

    /// Fails, with exit code 1, for these reasons; without any, nothing changes.
    pub(crate) fn fail(&mut self, reasons: impl IntoIterator<Item = String>) {
        let reasons: Vec<String> = reasons.into_iter().collect();
        if !reasons.is_empty() {
            self.gate = Some(format!("gate: {}", reasons.join("; ")));
        }
    }
}
