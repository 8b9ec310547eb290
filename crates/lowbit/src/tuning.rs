//! Kernels measured once on this machine, kept in the user's cache folder.
//!
//! One file per model, CPU, instruction set, number of threads and version: what changes any of these is measured anew. A cache that cannot be
//! read or written is none: results never depend on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Choices, Plan, Tuning};
use kernels::{Isa, Pool};
use serde::{Deserialize, Serialize};

use crate::provenance::{TOOL_VERSION, cpu_name, sha256};
use crate::{Control, output};

/// Most bytes of a file that is read: a layer takes some 200.
const MOST: u64 = 1 << 20;

/// The folder for them: `LOWBIT_CACHE` (empty: none), else `lowbit` in the user's cache folder (`XDG_CACHE_HOME`, `~/.cache`); `None` where
/// there is none.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    match std::env::var_os("LOWBIT_CACHE") {
        Some(folder) => (!folder.is_empty()).then(|| folder.into()),
        None => {
            let user = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
            Some(user.join("lowbit"))
        }
    }
}

/// What choices were measured for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Setting {
    version: String,
    cpu: String,
    isa: String,
    threads: usize,
    model_sha256: String,
}

/// A file of the cache.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    setting: Setting,
    rows: BTreeMap<String, String>,
}

/// The place of one model's choices.
pub(crate) struct Entry {
    setting: Setting,
    path: PathBuf,
}

impl Entry {
    pub(crate) fn of(folder: &Path, model_sha256: &str, threads: usize) -> Entry {
        let setting = Setting {
            version: TOOL_VERSION.to_string(),
            cpu: cpu_name(),
            isa: Isa::best().name().to_string(),
            threads,
            model_sha256: model_sha256.to_string(),
        };
        let text = serde_json::to_string(&setting).unwrap_or_default();
        let path = folder.join(format!("kernels-{}.json", &sha256(text.as_bytes())[..32]));
        Entry { setting, path }
    }

    /// As measured before, or to be measured.
    pub(crate) fn tuning(&self, pool: &Arc<Pool>) -> Tuning {
        match self.read() {
            Some(rows) => Tuning::Chosen(Choices { rows }),
            None => Tuning::Measured(pool.clone()),
        }
    }

    fn read(&self) -> Option<BTreeMap<String, String>> {
        let bytes = crate::provenance::read_capped(&self.path, MOST, &Control::default()).ok()?;
        let kept: Kept = serde_json::from_slice(&bytes).ok()?;
        (kept.setting == self.setting).then_some(kept.rows)
    }

    /// Keeps what was measured while a plan was compiled.
    pub(crate) fn keep(self, plan: &Plan) {
        let rows = plan.choices().rows.clone();
        if rows.is_empty() {
            return;
        }
        let Entry { setting, path } = self;
        let Ok(text) = serde_json::to_vec_pretty(&Kept { setting, rows }) else {
            return;
        };
        // A full disk or a folder that may not be written costs the next start a measurement, nothing else.
        if path.parent().is_some_and(|p| std::fs::create_dir_all(p).is_ok()) {
            let _ = output::file(&path, &text, &[]);
        }
    }
}
