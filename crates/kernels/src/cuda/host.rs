//! The same kernels, compiled by a C++ compiler for this machine's processor: what can be tested where there is no CUDA device. It proves what kernels
//! compute and how operators call them, not that they run side by side.

use std::ffi::c_void;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::Library;

use super::{Argument, Backend, CudaError, SOURCE, kernels};

const SHIM: &str = include_str!("source/host.cpp");

/// 64 bytes, where a value may begin.
type Line = [u64; 8];

/// `lowbit_launch(kernel, grid, threads, arguments)`; whether there is such a kernel.
type Launch = unsafe extern "C" fn(*const u8, usize, *const u32, u32, *mut *mut c_void) -> i32;

/// Made once in a process; its state is one block's, so that one kernel runs at a time.
static LIBRARY: OnceLock<Result<Mutex<Library>, CudaError>> = OnceLock::new();

/// The library and the memory.
#[derive(Debug)]
pub(super) struct Host {
    library: &'static Mutex<Library>,
    lines: Vec<Line>,
    /// Of the first line.
    base: u64,
    words: usize,
}

/// The whole text of the library.
fn source() -> String {
    let mut text = format!("{SHIM}\n{SOURCE}\n");
    text.push_str("extern \"C\" int lowbit_launch(const char *name, size_t length, const unsigned *grid, unsigned threads, void **arguments) {\n");
    text.push_str("    auto is = [&](const char *kernel) { return std::strlen(kernel) == length && std::memcmp(kernel, name, length) == 0; };\n");
    for (name, together) in kernels() {
        let _ = writeln!(
            text,
            "    if (is(\"{name}\")) return host::launch({name}, {together}, grid, threads, arguments), 1;"
        );
    }
    text.push_str("    return 0;\n}\n");
    text
}

fn build(folder: &Path) -> Result<Library, CudaError> {
    let refused = |log: String| CudaError::Compile { log };
    let (text, library) = (folder.join("kernels.cpp"), folder.join("kernels.so"));
    std::fs::write(&text, source()).map_err(|e| refused(format!("{}: {e}", text.display())))?;
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let mut command = Command::new(&compiler);
    command.args(["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]);
    // As an instruction a fused multiply-add is fast.
    if cfg!(target_arch = "x86_64") && crate::Isa::Avx2.is_available() {
        command.arg("-mfma");
    }
    let output = command.arg("-o").args([&library, &text]).output();
    let output = output.map_err(|_| CudaError::Library {
        what: "a C++ compiler",
    })?;
    if !output.status.success() {
        return Err(refused(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    // SAFETY: the library was made above, of our own source; loading it runs nothing.
    unsafe { Library::new(&library) }.map_err(|e| refused(e.to_string()))
}

impl Host {
    pub(super) fn new(folder: &Path) -> Result<Host, CudaError> {
        let library = LIBRARY.get_or_init(|| build(folder).map(Mutex::new));
        Ok(Host {
            library: library.as_ref().map_err(Clone::clone)?,
            lines: Vec::new(),
            base: 0,
            words: 0,
        })
    }
}

impl Backend for Host {
    fn name(&self) -> String {
        "the kernels as C++ on the host".into()
    }

    fn is_host(&self) -> bool {
        true
    }

    fn reserve(&mut self, words: usize) -> Result<u64, CudaError> {
        // One line more, of which part lies before the first whole one.
        let lines = words.div_ceil(16) + 1;
        let refused = |_| CudaError::Memory { bytes: 4 * words };
        self.lines.try_reserve_exact(lines).map_err(refused)?;
        self.lines.resize(lines, [0; 8]);
        self.base = (self.lines.as_mut_ptr() as u64).next_multiple_of(64);
        self.words = words;
        Ok(self.base)
    }

    fn write(&mut self, at: usize, values: &[f32]) -> Result<(), CudaError> {
        assert!(at + values.len() <= self.words, "outside of the memory");
        // SAFETY: inside of the lines by the assertion; no reference into them is alive.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), (self.base as *mut f32).add(at), values.len())
        };
        Ok(())
    }

    fn read(&self, at: usize, into: &mut [f32]) -> Result<(), CudaError> {
        assert!(at + into.len() <= self.words, "outside of the memory");
        // SAFETY: as in `write`.
        unsafe {
            std::ptr::copy_nonoverlapping((self.base as *const f32).add(at), into.as_mut_ptr(), into.len())
        };
        Ok(())
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        let mut pointers = [std::ptr::null_mut(); 16];
        for (to, argument) in pointers.iter_mut().zip(arguments) {
            *to = match argument {
                Argument::Address(at) => std::ptr::from_ref(at).cast_mut().cast(),
                Argument::Int(i) => std::ptr::from_ref(i).cast_mut().cast(),
                Argument::Float(x) => std::ptr::from_ref(x).cast_mut().cast(),
                Argument::Numbers(n) => std::ptr::from_ref(n).cast_mut().cast(),
            };
        }
        let library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the symbol has this type in our source; the kernel touches what the caller promises, and no other kernel runs.
        let found = unsafe {
            let launch = library.get::<Launch>(b"lowbit_launch").expect("our source");
            launch(
                kernel.as_ptr(),
                kernel.len(),
                grid.as_ptr(),
                block,
                pointers.as_mut_ptr(),
            )
        };
        assert_eq!(found, 1, "there is no kernel {kernel}");
        Ok(())
    }
}
