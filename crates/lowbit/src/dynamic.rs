//! A model for inputs of any size: a plan per size, made when the size first comes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use kernels::Pool;
use tensor::Tensor;

use crate::runtime::{Outputs, RunOptions, Runner};
use crate::{Error, LoadOptions, Model, Result};

/// Plans that are kept by default.
pub const PLANS: usize = 8;

/// Between two looks at the control while all plans are in use.
const TICK: Duration = Duration::from_millis(10);

/// Runs a model whose file leaves dimensions of its inputs open, batches for one, at whatever size comes. Any number of callers may run it at
/// the same time, with any sizes.
///
/// The plans used last are kept. With a limit of memory each of them gets an equal share of it.
#[derive(Debug)]
pub struct DynamicRunner {
    path: PathBuf,
    load: LoadOptions,
    run: RunOptions,
    pool: Arc<Pool>,
    sha256: String,
    open: Vec<(String, usize)>,
    most: usize,
    kept: Mutex<Vec<Kept>>,
    freed: Condvar,
}

/// Size of every open dimension, by input and axis: `images:0` → 4.
pub type Sizes = BTreeMap<String, usize>;

#[derive(Debug)]
struct Kept {
    sizes: Sizes,
    runner: Arc<Runner>,
}

impl DynamicRunner {
    /// Reads the model once, to know that it can be read; keeps up to `plans` plans.
    ///
    /// # Errors
    /// As [`Model::load`]; no plans.
    pub fn load(path: &Path, load: &LoadOptions, run: &RunOptions, plans: usize) -> Result<DynamicRunner> {
        if plans == 0 {
            return Err(Error::usage("without a plan nothing runs: keep 1 at least"));
        }
        let model = Model::load(path, load)?;
        let mut run = run.clone();
        if let Some(bytes) = run.control.memory() {
            run.control = run.control.with_memory((bytes / plans).max(1));
        }
        Ok(DynamicRunner {
            path: path.to_owned(),
            load: load.clone(),
            pool: Arc::new(Pool::new(run.threads)),
            run,
            sha256: model.sha256().to_owned(),
            open: model.open_dimensions().to_vec(),
            most: plans,
            kept: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// Computes the outputs, in ONNX order.
    ///
    /// # Errors
    /// A size that the model does not take, or that needs more memory than a plan may have; as [`Runner::run`].
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Outputs> {
        let runner = self.plan(&self.sizes_of(inputs)?)?;
        let result = runner.run(inputs);
        drop(runner);
        self.freed.notify_one();
        result
    }

    fn sizes_of(&self, inputs: &[(&str, &Tensor)]) -> Result<Sizes> {
        let one = |(name, axis): &(String, usize)| {
            let given = inputs.iter().find(|(n, _)| n == name);
            let shape = given.map(|(_, t)| t.shape());
            let size = shape.and_then(|s| s.get(*axis)).ok_or_else(|| {
                let have = shape.map_or("is missing".into(), |s| format!("has shape {s:?}"));
                Error::bad(format!("input \"{name}\" {have}, its axis {axis} is needed"))
            })?;
            Ok((format!("{name}:{axis}"), *size))
        };
        self.open.iter().map(one).collect()
    }

    /// Sizes whose plans are kept, the one used last at the end.
    pub fn sizes(&self) -> Vec<Sizes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|k| k.sizes.clone()).collect()
    }

    /// The plan of a size. Others wait while one is made: they may need the same, and memory is counted.
    fn plan(&self, sizes: &Sizes) -> Result<Arc<Runner>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(at) = kept.iter().position(|k| k.sizes == *sizes) {
                let last = kept.remove(at);
                let runner = last.runner.clone();
                kept.push(last);
                return Ok(runner);
            }
            if kept.len() < self.most {
                break;
            }
            // One that runs holds memory until it ends: it is not counted off before.
            let idle = kept.iter().position(|k| Arc::strong_count(&k.runner) == 1);
            if let Some(at) = idle {
                kept.remove(at);
                continue;
            }
            self.run.control.check()?;
            kept = self
                .freed
                .wait_timeout(kept, TICK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let runner = Arc::new(self.compile(sizes)?);
        kept.push(Kept {
            sizes: sizes.clone(),
            runner: runner.clone(),
        });
        Ok(runner)
    }

    fn compile(&self, sizes: &Sizes) -> Result<Runner> {
        let mut load = self.load.clone();
        load.dimensions.extend(sizes.clone());
        let model = Model::load(&self.path, &load)?;
        if model.sha256() != self.sha256 {
            return Err(Error::bad("the file changed since it was first read").at(self.path.display()));
        }
        Runner::on_graph(model.graph(), self.pool.clone(), &self.run, false)
    }
}
