//! What this machine offers and what the tool makes of it.

use std::collections::BTreeMap;

use kernels::Isa;
use serde::Serialize;

use crate::{Error, Provenance, Result};

/// State of the machine and of this build.
#[derive(Debug, Clone, Serialize)]
pub struct Doctor {
    /// Version, commit, CPU, instruction set, threads.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Operating system and architecture of the build.
    pub platform: String,
    /// Hardware threads that may be used.
    pub cores: usize,
    /// Features of the CPU that kernels ask for, in a fixed order.
    pub features: Vec<(&'static str, bool)>,
    /// Instruction sets of the build, worst to best.
    pub isas: Vec<IsaState>,
    /// Integer kernels: name, and whether this CPU runs it.
    pub kernels: Vec<(&'static str, bool)>,
    /// The first CUDA device, or why there is none; absent where the build has no feature `cuda`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuda: Option<CudaState>,
    /// Value of `LOWBIT_ISA`.
    pub lowbit_isa: Option<String>,
    /// Default limits by name.
    pub limits: BTreeMap<&'static str, u64>,
    /// Bytes of memory that the system says are free.
    pub memory_available: Option<u64>,
}

/// One instruction set.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct IsaState {
    /// Name, as in `LOWBIT_ISA`.
    pub name: &'static str,
    /// This CPU runs it.
    pub usable: bool,
    /// It is the one in use.
    pub chosen: bool,
    /// Kernels written for it.
    pub kernels: usize,
}

/// Whether training can use a CUDA device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CudaState {
    /// What the vendor calls the device, for which the kernels were compiled.
    Device(String),
    /// What stands in the way.
    Missing(String),
}

/// Looks at the machine.
///
/// ```
/// let d = lowbit::doctor(1).unwrap();
/// assert!(d.isas.iter().any(|isa| isa.chosen && isa.usable));
/// ```
///
/// # Errors
/// As [`check_isa`].
pub fn doctor(threads: usize) -> Result<Doctor> {
    check_isa()?;
    let onnx = graph::onnx::Limits::default();
    let chosen = Isa::best();
    let isas = Isa::ALL.iter().map(|&isa| IsaState {
        name: isa.name(),
        usable: isa.is_available(),
        chosen: isa == chosen,
        kernels: kernels::int::registry().filter(|k| k.isa == isa).count(),
    });
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    Ok(Doctor {
        provenance: Provenance::new(if threads == 0 { cores } else { threads }, 0),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cores,
        features: features(),
        isas: isas.collect(),
        kernels: kernels::int::registry()
            .map(|k| (k.name, k.is_available()))
            .collect(),
        cuda: cfg!(feature = "cuda").then(|| match crate::training::cuda(0) {
            Ok(name) => CudaState::Device(name),
            Err(e) => CudaState::Missing(e.message().into()),
        }),
        lowbit_isa: std::env::var("LOWBIT_ISA").ok(),
        limits: [
            ("model bytes", onnx.model_bytes),
            ("tensor bytes", onnx.tensor_bytes as u64),
            ("constant bytes", onnx.constant_bytes as u64),
            ("nodes", onnx.nodes as u64),
            ("name bytes", onnx.string_bytes as u64),
            ("function nesting", onnx.nesting as u64),
        ]
        .into(),
        memory_available: memory_available(),
    })
}

/// Whether `LOWBIT_ISA` names an instruction set that this CPU runs; unset is fine.
///
/// # Errors
/// [`Usage`](crate::ErrorKind::Usage) with the names that would do.
pub fn check_isa() -> Result<()> {
    let Some(value) = std::env::var_os("LOWBIT_ISA") else {
        return Ok(());
    };
    let value = value.to_string_lossy();
    let usable: Vec<&str> = Isa::usable().iter().map(|isa| isa.name()).collect();
    let help = format!("unset it, or use one of: {}", usable.join(", "));
    match Isa::parse(&value) {
        None => {
            let message = format!("LOWBIT_ISA is \"{value}\", which is no instruction set");
            Err(Error::usage(message).help(help))
        }
        Some(isa) if !isa.is_available() => {
            Err(Error::usage(format!("LOWBIT_ISA is \"{value}\", which this CPU does not have")).help(help))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    macro_rules! detect {
        ($($name:tt)*) => { vec![$(($name, is_x86_feature_detected!($name))),*] };
    }
    detect!("sse4.2" "avx" "fma" "f16c" "avx2" "avxvnni" "avx512f" "avx512bw" "avx512vl" "avx512dq" "avx512vbmi" "avx512vnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

fn memory_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
