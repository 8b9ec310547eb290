//! The ONNX project's operator tests, made by the PyPI package `onnx` when the tests run (tools/node_tests/dump.py).
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use tensor::{Data, Tensor};

/// A tensor of a case.
pub struct Named {
    pub name: String,
    /// Type in the model, by numpy's name: float16 comes as f32 all the same.
    pub kind: String,
    /// `None` for what lowbit has no type for.
    pub tensor: Option<Tensor>,
}

/// One recorded run.
pub struct DataSet {
    pub inputs: Vec<Named>,
    pub outputs: Vec<Named>,
}

/// A model with recorded runs.
pub struct Case {
    pub name: String,
    pub operators: Vec<String>,
    pub model: Vec<u8>,
    pub tolerance: f32,
    pub sets: Vec<DataSet>,
}

/// All cases; prints SKIPPED without `LOWBIT_PYTHON`, fails where `LOWBIT_REQUIRE` lists `python`.
pub fn load(test: &str) -> Option<Vec<Case>> {
    let python = testing::python(test)?;
    let bytes = std::fs::read(dump(&python)).unwrap();
    let mut r = Reader(&bytes);
    assert_eq!(r.take(8), b"nodetst1");
    let cases: Vec<Case> = (0..r.u32()).map(|_| r.case()).collect();
    assert!(r.0.is_empty());
    Some(cases)
}

/// The dump, made once for each version of the script and of the package.
fn dump(python: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let script = root.join("tools/node_tests/dump.py");
    let version = Command::new(python)
        .args(["-c", "import onnx; print(onnx.__version__)"])
        .output()
        .unwrap();
    assert!(
        version.status.success(),
        "{}",
        String::from_utf8_lossy(&version.stderr)
    );
    let text = std::fs::read(&script).unwrap();
    let hash = text
        .iter()
        .chain(&version.stdout)
        .fold(0xcbf2_9ce4_8422_2325u64, |h, &b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("node_tests_{hash:016x}.bin"));
    if !file.exists() {
        let partial = folder.join(format!("node_tests_{hash:016x}.{}.tmp", std::process::id()));
        let status = Command::new(python).arg(&script).arg(&partial).status().unwrap();
        assert!(status.success(), "{} failed", script.display());
        std::fs::rename(&partial, &file).unwrap();
    }
    file
}

/// The flat files of tools/node_tests and tools/models.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        head
    }

    pub fn u32(&mut self) -> usize {
        u32::from_le_bytes(self.take(4).try_into().unwrap()) as usize
    }

    fn bytes(&mut self) -> &'a [u8] {
        let n = self.u32();
        self.take(n)
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn case(&mut self) -> Case {
        Case {
            name: self.text(),
            operators: (0..self.u32()).map(|_| self.text()).collect(),
            model: self.bytes().to_vec(),
            tolerance: f32::from_le_bytes(self.take(4).try_into().unwrap()),
            sets: (0..self.u32())
                .map(|_| DataSet {
                    inputs: (0..self.u32()).map(|_| self.tensor()).collect(),
                    outputs: (0..self.u32()).map(|_| self.tensor()).collect(),
                })
                .collect(),
        }
    }

    pub fn tensor(&mut self) -> Named {
        let (name, kind) = (self.text(), self.text());
        let rank = self.u32();
        let shape: Vec<usize> = (0..rank)
            .map(|_| u64::from_le_bytes(self.take(8).try_into().unwrap()) as usize)
            .collect();
        let raw = self.bytes();
        let tensor = data(&kind, raw).map(|d| Tensor::new(shape, d).unwrap());
        Named { name, kind, tensor }
    }
}

fn data(kind: &str, raw: &[u8]) -> Option<Data> {
    macro_rules! numbers {
        ($t:ty) => {
            Data::from(
                raw.chunks_exact(size_of::<$t>())
                    .map(|c| <$t>::from_le_bytes(c.try_into().unwrap()))
                    .collect::<Vec<$t>>(),
            )
        };
    }
    Some(match kind {
        "float32" | "float16" | "bfloat16" => numbers!(f32),
        "float64" => numbers!(f64),
        "int8" | "int4" | "int2" => numbers!(i8),
        "uint8" | "uint4" | "uint2" => numbers!(u8),
        "int16" => numbers!(i16),
        "uint16" => numbers!(u16),
        "int32" => numbers!(i32),
        "uint32" => numbers!(u32),
        "int64" => numbers!(i64),
        "uint64" => numbers!(u64),
        "bool" => Data::Bool(raw.iter().map(|&b| b != 0).collect()),
        _ => return None,
    })
}

/// Cases whose recorded results are not exact to 1e-5; they keep the package's own tolerance of 1e-3.
const LOOSE: &[&str] = &[
    // Written down with four digits.
    "test_averagepool_2d_ceil_last_window_starts_on_pad",
    // The package sums 480 float32 values in another order.
    "test_nllloss_NCd1d2d3d4d5_mean_weight_expanded",
];

/// Compares a result with the recorded one: type, shape, and values: exact for integers, 1e-5 (or what the type can hold) for floats.
pub fn compare(case: &str, have: &Tensor, want: &Named) -> Result<(), String> {
    let name = &want.name;
    let Some(expected) = &want.tensor else {
        return Err(format!("output {name} is of a type that lowbit does not have"));
    };
    if have.dtype() != expected.dtype() {
        return Err(format!(
            "output {name} is {:?}, not {:?}",
            have.dtype(),
            expected.dtype()
        ));
    }
    if have.shape() != expected.shape() {
        return Err(format!(
            "output {name} has shape {:?}, not {:?}",
            have.shape(),
            expected.shape()
        ));
    }
    // Half types are computed in f32 here and rounded after each operator there.
    let tolerance = match want.kind.as_str() {
        _ if LOOSE.contains(&case) => 1e-3,
        "float16" => 2e-3,
        "bfloat16" => 1.6e-2,
        _ => 1e-5,
    };
    let (a, b) = match (have.data(), expected.data()) {
        (Data::F32(a), Data::F32(b)) => (
            a.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
            b.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
        ),
        (Data::F64(a), Data::F64(b)) => (a.clone(), b.clone()),
        (a, b) if a == b => return Ok(()),
        (a, b) => {
            return Err(format!(
                "output {name} is {}, not {}",
                short(&format!("{a:?}")),
                short(&format!("{b:?}"))
            ));
        }
    };
    for (i, (&x, &y)) in a.iter().zip(&b).enumerate() {
        let same = x == y || (x.is_nan() && y.is_nan());
        if !same
            && (x - y).abs().partial_cmp(&(tolerance * y.abs().max(1.0))) != Some(std::cmp::Ordering::Less)
        {
            return Err(format!("output {name}[{i}] is {x}, not {y}"));
        }
    }
    Ok(())
}

fn short(s: &str) -> String {
    s.chars().take(200).collect()
}

/// The recorded lists: names that pass, and names that do not with the reason.
pub struct Lists {
    folder: PathBuf,
    pub passed: BTreeSet<String>,
    pub unsupported: BTreeMap<String, String>,
}

impl Lists {
    /// From a folder.
    pub fn open(folder: &Path) -> Lists {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let passed = read("node_tests_passed.txt");
        let lines: Vec<&str> = passed.lines().collect();
        assert!(lines.is_sorted(), "node_tests_passed.txt is not sorted");
        Lists {
            folder: folder.into(),
            passed: lines.into_iter().map(Into::into).collect(),
            unsupported: read("node_tests_unsupported.txt")
                .lines()
                .map(|l| l.split_once(": ").unwrap_or_else(|| panic!("no reason: {l}")))
                .map(|(name, why)| (name.into(), why.into()))
                .collect(),
        }
    }

    /// Holds what happened to the lists; `LOWBIT_UPDATE=1` rewrites them instead.
    pub fn check(&self, results: &BTreeMap<String, Result<(), String>>) {
        if std::env::var_os("LOWBIT_UPDATE").is_some() {
            return self.update(results);
        }
        let mut faults = Vec::new();
        for (name, result) in results {
            match (
                result,
                self.passed.contains(name),
                self.unsupported.contains_key(name),
            ) {
                (Err(why), true, _) => faults.push(format!("{name} fails: {why}")),
                (Ok(()), false, _) => {
                    faults.push(format!("{name} passes now: add it to node_tests_passed.txt"))
                }
                (Err(why), false, false) => faults.push(format!(
                    "{name} is in neither list; mend it, or add it to node_tests_unsupported.txt: {why}"
                )),
                _ => {}
            }
        }
        for name in self.passed.iter().chain(self.unsupported.keys()) {
            if !results.contains_key(name) {
                faults.push(format!("{name} is listed, but the package onnx has no such case"));
            }
        }
        assert!(
            faults.is_empty(),
            "{} cases (LOWBIT_UPDATE=1 rewrites both lists, read the difference):\n{}",
            faults.len(),
            faults.join("\n")
        );
    }

    fn update(&self, results: &BTreeMap<String, Result<(), String>>) {
        let passed: String = results
            .iter()
            .filter(|(_, r)| r.is_ok())
            .map(|(name, _)| format!("{name}\n"))
            .collect();
        // A reason once written by hand stays.
        let reason = |name, why: &String| {
            let known = self.unsupported.get(name);
            known.cloned().unwrap_or_else(|| why.replace('\n', " "))
        };
        let failed: String = results
            .iter()
            .filter_map(|(name, r)| Some(format!("{name}: {}\n", reason(name, r.as_ref().err()?))))
            .collect();
        std::fs::write(self.folder.join("node_tests_passed.txt"), passed).unwrap();
        std::fs::write(self.folder.join("node_tests_unsupported.txt"), failed).unwrap();
    }
}
