//! Float32 kernels of training on a CUDA device: those of [`float`](crate::float) and [`float::backward`](crate::float::backward), with the same
//! meaning.
//!
//! The driver and NVRTC are loaded at run time: a program with this feature starts without them, and [`Device::cuda`] says what is missing. The
//! source is compiled for the device that is found. All numbers lie in one [`Memory`], had once; its methods are the operators. They run one after
//! the other on the device, and [`Memory::read`] waits for them.
//!
//! Sums are cut into parts that depend on shapes alone and added in a fixed order, without atomics: two runs on one kind of device give the same bits.

mod convolution;
mod driver;
mod element;
mod host;
mod lists;
mod normalization;
mod window;

use std::fmt;

pub use driver::compile;
pub use lists::Lists;
pub use normalization::BatchStatistics;

/// The text of all kernels.
const SOURCE: &str = concat!(
    include_str!("source/common.cu"),
    include_str!("source/rare.cu"),
    include_str!("source/element.cu"),
    include_str!("source/sums.cu"),
    include_str!("source/convolution.cu"),
    include_str!("source/window.cu"),
);

/// Threads of a block.
const BLOCK: usize = 256;

/// Most elements of one value: indices in kernels have 31 bits.
pub const MOST_ELEMENTS: usize = 1 << 30;

/// Why something cannot be run on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaError {
    /// A library is not found.
    Library {
        /// Its name and what it is of.
        what: &'static str,
    },
    /// There is no such device.
    NoDevice {
        /// Number that was asked for.
        ordinal: usize,
        /// Number of devices.
        have: usize,
    },
    /// The kernels cannot be compiled.
    Compile {
        /// What the compiler says.
        log: String,
    },
    /// Memory that cannot be had.
    Memory {
        /// How much.
        bytes: usize,
    },
    /// More elements, axes or blocks than kernels can count.
    TooLarge {
        /// What has them.
        what: &'static str,
    },
    /// The driver refused.
    Driver {
        /// What was to be done.
        what: &'static str,
        /// What it says.
        reason: String,
    },
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CudaError::Library { what } => write!(f, "{what} is not found"),
            CudaError::NoDevice { have: 0, .. } => f.write_str("there is no CUDA device"),
            CudaError::NoDevice { ordinal, have } => {
                write!(
                    f,
                    "there is no CUDA device {ordinal}: the last one is {}",
                    have - 1
                )
            }
            CudaError::Compile { log } => write!(f, "the CUDA kernels cannot be compiled: {}", log.trim()),
            CudaError::Memory { bytes } => {
                write!(f, "{bytes} bytes of memory of the device could not be had")
            }
            CudaError::TooLarge { what } => write!(f, "{what} is too large for the CUDA kernels"),
            CudaError::Driver { what, reason } => write!(f, "{what} failed on the CUDA device: {reason}"),
        }
    }
}

impl std::error::Error for CudaError {}

/// Elements of a [`Memory`], which are f32 but for scratch memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub start: usize,
    /// How many.
    pub len: usize,
}

impl Span {
    /// `len` elements from `start` on.
    pub fn new(start: usize, len: usize) -> Span {
        Span { start, len }
    }

    /// The first `len` elements of this one, and the others.
    fn split(self, len: usize) -> (Span, Span) {
        assert!(len <= self.len, "scratch memory is too short");
        (
            Span::new(self.start, len),
            Span::new(self.start + len, self.len - len),
        )
    }
}

/// What is behind a [`Memory`].
trait Backend: fmt::Debug + Send {
    fn name(&self) -> String;

    fn is_host(&self) -> bool {
        false
    }

    /// Has memory for so many words of four bytes, all zero; gives its address, a multiple of 64. Once.
    fn reserve(&mut self, words: usize) -> Result<u64, CudaError>;

    fn write(&mut self, at: usize, values: &[f32]) -> Result<(), CudaError>;

    /// Waits until everything launched is done.
    fn read(&self, at: usize, into: &mut [f32]) -> Result<(), CudaError>;

    /// # Safety
    /// The kernel takes these arguments, and with them touches its memory alone.
    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError>;
}

/// An argument of a kernel as it is passed.
#[derive(Debug, Clone, Copy)]
enum Argument {
    Address(u64),
    Int(i32),
    Float(f32),
    Numbers([i32; 32]),
}

/// An argument of a kernel as an operator gives it.
enum Given {
    Span(Span),
    Absent,
    Address(u64),
    Float(f32),
    Int(i32),
    Numbers([i32; 32]),
    TooLarge,
}

impl From<Span> for Given {
    fn from(span: Span) -> Given {
        Given::Span(span)
    }
}

impl From<Option<Span>> for Given {
    fn from(span: Option<Span>) -> Given {
        span.map_or(Given::Absent, Given::Span)
    }
}

impl From<usize> for Given {
    fn from(n: usize) -> Given {
        i32::try_from(n).map_or(Given::TooLarge, Given::Int)
    }
}

impl From<bool> for Given {
    fn from(yes: bool) -> Given {
        Given::Int(yes.into())
    }
}

impl From<f32> for Given {
    fn from(x: f32) -> Given {
        Given::Float(x)
    }
}

/// The struct `Numbers` of the kernels.
fn numbers(list: impl IntoIterator<Item = usize>) -> Given {
    let mut n = [0; 32];
    let mut list = list.into_iter();
    for (to, from) in n.iter_mut().zip(&mut list) {
        match i32::try_from(from) {
            Ok(from) => *to = from,
            Err(_) => return Given::TooLarge,
        }
    }
    match list.next() {
        None => Given::Numbers(n),
        Some(_) => Given::TooLarge,
    }
}

/// The arguments of a kernel.
macro_rules! given {
    ($($argument:expr),* $(,)?) => { &[$(crate::cuda::Given::from($argument)),*] };
}
use given;

/// A device whose kernels are compiled.
#[derive(Debug)]
pub struct Device(Box<dyn Backend>);

impl Device {
    /// The CUDA device of a number, from 0 on.
    ///
    /// # Errors
    /// What is missing: the driver, NVRTC, the device.
    pub fn cuda(ordinal: usize) -> Result<Device, CudaError> {
        Ok(Device(Box::new(driver::Driver::new(ordinal)?)))
    }

    /// The kernels compiled for this machine's processor by a C++ compiler (`CXX`, or `c++`), for tests where there is no CUDA device: slow. `folder`
    /// gets the source and the library.
    ///
    /// # Errors
    /// Without a compiler, or when it fails.
    pub fn host(folder: &std::path::Path) -> Result<Device, CudaError> {
        Ok(Device(Box::new(host::Host::new(folder)?)))
    }

    /// What the vendor calls it.
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// Whether it is [`Device::host`].
    pub fn is_host(&self) -> bool {
        self.0.is_host()
    }

    /// Has all memory: `words` elements, all zero, and the lists, which operators name by their index.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn memory(mut self, words: usize, lists: &[Lists]) -> Result<Memory, CudaError> {
        let start = words.next_multiple_of(16);
        let mut all = Vec::new();
        let placed = lists.iter().map(|l| l.place(start, &mut all)).collect();
        let base = self.0.reserve(start + all.len())?;
        self.0.write(start, &all)?;
        Ok(Memory {
            backend: self.0,
            base,
            words,
            lists: placed,
        })
    }
}

/// The memory of a device, and the operators on it. Results may lie in the place of an operand where both have the same elements, and nowhere else
/// overlap one. Operators panic where lengths do not follow from shapes.
#[derive(Debug)]
pub struct Memory {
    backend: Box<dyn Backend>,
    base: u64,
    words: usize,
    lists: Vec<lists::Placed>,
}

impl Memory {
    /// What the vendor calls the device.
    pub fn device(&self) -> String {
        self.backend.name()
    }

    /// Copies numbers to the device.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn write(&mut self, to: Span, values: &[f32]) -> Result<(), CudaError> {
        assert_eq!(to.len, values.len(), "write: length");
        self.check(to);
        self.backend.write(to.start, values)
    }

    /// Waits for everything that was begun, and copies numbers from the device.
    ///
    /// # Errors
    /// When something that was begun has failed.
    pub fn read(&self, from: Span, into: &mut [f32]) -> Result<(), CudaError> {
        assert_eq!(from.len, into.len(), "read: length");
        self.check(from);
        self.backend.read(from.start, into)
    }

    fn check(&self, span: Span) {
        let fits = span.start <= self.words && span.len <= self.words - span.start;
        assert!(fits, "elements outside of the memory");
    }

    /// Launches a kernel with one thread for each of `n` elements.
    ///
    /// # Safety
    /// The kernel takes these arguments, and with `n` threads touches only what its spans and lists hold.
    unsafe fn each(&self, kernel: &str, n: usize, arguments: &[Given]) -> Result<(), CudaError> {
        // SAFETY: by the caller's promise.
        unsafe { self.blocks(kernel, [n.div_ceil(BLOCK), 1, 1], arguments) }
    }

    /// Launches blocks of [`BLOCK`] threads.
    ///
    /// # Safety
    /// As [`Memory::each`], for these blocks.
    unsafe fn blocks(&self, kernel: &str, grid: [usize; 3], arguments: &[Given]) -> Result<(), CudaError> {
        if grid.contains(&0) {
            return Ok(());
        }
        let too_large = CudaError::TooLarge { what: "a value" };
        if grid[0] > MOST_ELEMENTS || grid[1] > 65_535 || grid[2] > 65_535 {
            return Err(too_large);
        }
        let mut passed = [Argument::Int(0); 16];
        for (to, from) in passed.iter_mut().zip(arguments) {
            *to = match *from {
                Given::Span(span) => {
                    self.check(span);
                    Argument::Address(self.base + 4 * span.start as u64)
                }
                Given::Absent => Argument::Address(0),
                Given::Address(at) => Argument::Address(at),
                Given::Float(x) => Argument::Float(x),
                Given::Int(i) => Argument::Int(i),
                Given::Numbers(n) => Argument::Numbers(n),
                Given::TooLarge => return Err(too_large),
            };
        }
        let grid = grid.map(|n| n as u32);
        // SAFETY: by the caller's promise; spans lie in the memory.
        unsafe {
            self.backend
                .launch(kernel, grid, BLOCK as u32, &passed[..arguments.len()])
        }
    }
}

/// Names of the kernels, and whether the threads of a block wait for each other.
fn kernels() -> impl Iterator<Item = (&'static str, bool)> {
    SOURCE.lines().filter_map(|line| {
        let (kind, rest) = line.split_once(' ')?;
        let together = match kind {
            "KERNEL" => false,
            "BLOCK_KERNEL" => true,
            _ => return None,
        };
        Some((rest.split_once('(')?.0, together))
    })
}
