//! A CUDA device through its driver. The driver and NVRTC are looked for before anything of them is called: what is missing is an error.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::sys::CUresult;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtrMut, DriverError, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::{Ptx, result as nvrtc, sys};

use super::{Argument, Backend, CudaError, SOURCE, kernels};

/// NVRTC's options: every rounding is that of IEEE, and only the fused multiply-adds that are written.
const OPTIONS: [&str; 5] = [
    "--fmad=false",
    "--ftz=false",
    "--prec-div=true",
    "--prec-sqrt=true",
    "--std=c++14",
];

/// A device, its stream and, when it is had, its memory.
#[derive(Debug)]
pub(super) struct Driver {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    kernels: HashMap<&'static str, CudaFunction>,
    words: Option<CudaSlice<f32>>,
}

fn fault(what: &'static str) -> impl Fn(DriverError) -> CudaError {
    move |e| CudaError::Driver {
        what,
        reason: match e.error_string() {
            Ok(text) => text.to_string_lossy().into_owned(),
            Err(_) => format!("{:?}", e.0),
        },
    }
}

/// Whether the driver and NVRTC are found.
fn libraries() -> Result<(), CudaError> {
    // SAFETY: the libraries of the vendor may be loaded; they run nothing but their own initialization.
    let (driver, compiler) = unsafe { (cudarc::driver::sys::is_culib_present(), sys::is_culib_present()) };
    match (driver, compiler) {
        (true, true) => Ok(()),
        (false, _) => Err(CudaError::Library {
            what: "NVIDIA's driver (libcuda)",
        }),
        (true, false) => Err(CudaError::Library {
            what: "NVIDIA's run-time compiler (libnvrtc)",
        }),
    }
}

/// Compiles the kernels for an architecture as `sm_80`.
///
/// # Errors
/// When NVRTC is not found, does not know the architecture, or refuses the source.
pub fn compile(architecture: &str) -> Result<Vec<u8>, CudaError> {
    // SAFETY: as in `libraries`.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::Library {
            what: "NVIDIA's run-time compiler (libnvrtc)",
        });
    }
    let refused = |e: nvrtc::NvrtcError| CudaError::Compile {
        log: format!("{:?}", e.0),
    };
    let source = CString::new(SOURCE).expect("the source is text");
    let program = nvrtc::create_program(&source, Some(c"lowbit.cu")).map_err(refused)?;
    let mut options: Vec<String> = OPTIONS.map(String::from).to_vec();
    options.push(format!("--gpu-architecture={architecture}"));
    // SAFETY: the program was created above and is destroyed below; the buffer has the size that NVRTC asks for.
    unsafe {
        let compiled = match nvrtc::compile_program(program, &options) {
            Err(e) => {
                let log = nvrtc::get_program_log(program).unwrap_or_default();
                let log: Vec<u8> = log.iter().map(|&c| c as u8).collect();
                let log = CStr::from_bytes_until_nul(&log).map(|l| l.to_string_lossy().into_owned());
                let log = log.unwrap_or_default();
                Err(CudaError::Compile {
                    log: format!("{:?} for {architecture} {log}", e.0),
                })
            }
            Ok(()) => {
                let mut size = 0;
                let mut code = Vec::new();
                sys::nvrtcGetCUBINSize(program, &raw mut size)
                    .result()
                    .and_then(|()| {
                        code = vec![0u8; size];
                        sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result()
                    })
                    .map(|()| code)
                    .map_err(refused)
            }
        };
        let destroyed = nvrtc::destroy_program(program).map_err(refused);
        compiled.and_then(|code| destroyed.map(|()| code))
    }
}

/// The kernels for an architecture: compiling takes seconds, and a run may have several executors.
fn compiled(architecture: &str) -> Result<Vec<u8>, CudaError> {
    static LAST: Mutex<Option<(String, Vec<u8>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, code)) = last.as_ref().filter(|l| l.0 == architecture) {
        return Ok(code.clone());
    }
    let code = compile(architecture)?;
    *last = Some((architecture.to_string(), code.clone()));
    Ok(code)
}

impl Driver {
    pub(super) fn new(ordinal: usize) -> Result<Driver, CudaError> {
        libraries()?;
        let none = |e: DriverError| match e.0 {
            CUresult::CUDA_ERROR_NO_DEVICE => CudaError::NoDevice { ordinal, have: 0 },
            _ => fault("looking for devices")(e),
        };
        let have = CudaContext::device_count().map_err(none)?.max(0) as usize;
        if ordinal >= have {
            return Err(CudaError::NoDevice { ordinal, have });
        }
        let context = CudaContext::new(ordinal).map_err(fault("opening"))?;
        // SAFETY: there is one stream, whose order is all that is wanted.
        unsafe { context.disable_event_tracking() };
        let (major, minor) = context.compute_capability().map_err(fault("opening"))?;
        let code = compiled(&format!("sm_{major}{minor}"))?;
        let module = context
            .load_module(Ptx::from_binary(code))
            .map_err(fault("loading the kernels"))?;
        let load = |(name, _): (&'static str, bool)| {
            let kernel = module.load_function(name).map_err(fault("loading a kernel"))?;
            Ok((name, kernel))
        };
        let kernels = kernels().map(load).collect::<Result<_, CudaError>>()?;
        Ok(Driver {
            stream: context.default_stream(),
            context,
            kernels,
            words: None,
        })
    }
}

impl Backend for Driver {
    fn name(&self) -> String {
        self.context.name().unwrap_or_else(|_| "a CUDA device".into())
    }

    fn reserve(&mut self, words: usize) -> Result<u64, CudaError> {
        let refused = |e: DriverError| match e.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => CudaError::Memory { bytes: 4 * words },
            _ => fault("having memory")(e),
        };
        let mut slice = self.stream.alloc_zeros::<f32>(words.max(1)).map_err(refused)?;
        let address = slice.device_ptr_mut(&self.stream).0;
        self.words = Some(slice);
        Ok(address)
    }

    fn write(&mut self, at: usize, values: &[f32]) -> Result<(), CudaError> {
        let (Some(words), false) = (&mut self.words, values.is_empty()) else {
            return Ok(());
        };
        let mut to = words.slice_mut(at..at + values.len());
        self.stream
            .memcpy_htod(values, &mut to)
            .and_then(|()| self.stream.synchronize())
            .map_err(fault("copying to the device"))
    }

    fn read(&self, at: usize, into: &mut [f32]) -> Result<(), CudaError> {
        let (Some(words), false) = (&self.words, into.is_empty()) else {
            return Ok(());
        };
        let from = words.slice(at..at + into.len());
        self.stream
            .memcpy_dtoh(&from, into)
            .and_then(|()| self.stream.synchronize())
            .map_err(fault("a kernel, or copying from the device,"))
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        let mut launch = self.stream.launch_builder(&self.kernels[kernel]);
        for argument in arguments {
            match argument {
                Argument::Address(at) => launch.arg(at),
                Argument::Int(i) => launch.arg(i),
                Argument::Float(x) => launch.arg(x),
                Argument::Numbers(n) => launch.arg(n),
            };
        }
        let shape = LaunchConfig {
            grid_dim: grid.into(),
            block_dim: (block, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: by the caller's promise.
        let launched = unsafe { launch.launch(shape) };
        launched.map(drop).map_err(fault("launching a kernel"))
    }
}
