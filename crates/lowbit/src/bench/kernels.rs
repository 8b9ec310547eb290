//! Every kernel of the registry, as data, and its time against the scalar row, whose bytes it must give, and the machine's peak.

use std::time::{Duration, Instant};

use kernels::int::{self, Add, Broadcast, Conv, Edge, Epilogue, Kernel, KernelOp, Mul, Out, Output, Pixels};
use kernels::peak::macs_per_second;
use kernels::{ConvShape, Isa, Pool, PoolShape};
use serde::Serialize;

use crate::{Control, Error, Result};

/// One kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelRow {
    /// `<op>_<types>_<isa>[_<tile>]_<layout>[_<weights>][_<schedule>]`.
    pub name: &'static str,
    /// Operator.
    pub op: &'static str,
    /// Element types of activations, and of weights or results.
    pub types: &'static str,
    /// What the CPU must have.
    pub isa: &'static str,
    /// This CPU has it.
    pub usable: bool,
    /// Pixels × channels of a tile.
    pub tile: Option<(usize, usize)>,
    /// Layout of activations.
    pub layout: &'static str,
    /// Widest weights, where not all fit.
    pub weights: Option<&'static str>,
    /// How the loops run, where there are several ways.
    pub schedule: Option<&'static str>,
    /// Instructions of the inner loop of products.
    pub arithmetic: Option<&'static str>,
}

/// All integer kernels of this build; the scalar rows are the meaning of all others.
///
/// ```
/// let rows = lowbit::bench::kernels();
/// assert!(rows[0].isa == "scalar" && rows[0].usable);
/// ```
pub fn kernels() -> Vec<KernelRow> {
    int::registry().map(row).collect()
}

fn row(kernel: &Kernel) -> KernelRow {
    let parts = kernel.parts();
    KernelRow {
        name: kernel.name,
        op: parts.op,
        types: parts.types,
        isa: parts.isa,
        usable: kernel.is_available(),
        tile: parts.block,
        layout: parts.layout,
        weights: parts.weights,
        schedule: parts.schedule,
        arithmetic: kernel.arithmetic().map(|a| a.name()),
    }
}

/// Time of a kernel on a small problem.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelTime {
    /// Its name.
    pub name: &'static str,
    /// What was computed.
    pub problem: String,
    /// Its bytes are those of the scalar row.
    pub exact: bool,
    /// Best time.
    pub us: f64,
    /// Best time of the scalar row.
    pub scalar_us: f64,
    /// Multiply-accumulates, or elements where nothing is multiplied, per second in units of 10⁹.
    pub giga: f64,
    /// Share of the peak of its instructions.
    pub peak_share: Option<f64>,
}

/// Times all kernels that this CPU runs, on `threads` threads.
///
/// # Errors
/// Interruption; the time limit.
pub fn time_kernels(threads: usize, control: &Control) -> Result<Vec<KernelTime>> {
    let pool = Pool::new(threads);
    let mut out = Vec::new();
    for kernel in int::registry().filter(|k| k.is_available()) {
        control.check()?;
        let scalar = int::registry().find(|k| k.op == kernel.op).unwrap_or(kernel);
        let mut problem = Problem::of(kernel)?;
        let (want, scalar_time) = problem.timed(scalar, &pool)?;
        let (have, time) = problem.timed(kernel, &pool)?;
        let giga = problem.work as f64 / time.as_secs_f64().max(1e-12) / 1e9;
        let peak = kernel
            .arithmetic()
            .and_then(|a| macs_per_second(&pool, kernel.isa, a));
        out.push(KernelTime {
            name: kernel.name,
            problem: problem.words,
            exact: want == have,
            us: time.as_secs_f64() * 1e6,
            scalar_us: scalar_time.as_secs_f64() * 1e6,
            giga,
            peak_share: peak.map(|p| 1e9 * giga / p),
        });
    }
    Ok(out)
}

/// Largest levels that are tried, until a kernel takes them.
const LEVELS: [i32; 6] = [32_767, 127, 64, 63, 8, 1];

/// Elements of the problems without products.
const ELEMENTS: usize = 1 << 16;

/// What a kernel is timed on.
struct Problem {
    words: String,
    /// Multiply-accumulates or elements.
    work: usize,
    shape: ConvShape,
    levels: Vec<i32>,
    codes: Vec<u8>,
    other: Vec<u8>,
    reals: Vec<f32>,
}

const EDGE: Edge = Edge {
    scale: 0.02,
    zero: 117,
    hi: 255,
};

impl Problem {
    fn of(kernel: &'static Kernel) -> Result<Problem> {
        let mut noise = Noise(1);
        let depthwise = kernel.parts().op == "dwconv";
        let (channels, groups, side) = if depthwise { (96, 96, 40) } else { (64, 1, 20) };
        let shape = ConvShape {
            batch: 1,
            in_channels: channels,
            out_channels: channels,
            groups,
            input: [1, side, side],
            output: [1, side, side],
            kernel: [1, 3, 3],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0, 1, 1],
        };
        let mut problem = Problem {
            words: format!("{ELEMENTS} elements"),
            work: ELEMENTS,
            codes: noise.codes(ELEMENTS.max(side * side * channels)),
            other: noise.codes(ELEMENTS),
            reals: noise
                .codes(ELEMENTS)
                .iter()
                .map(|&q| f32::from(q) * 0.02 - 2.0)
                .collect(),
            levels: Vec::new(),
            shape,
        };
        if kernel.op == KernelOp::Conv {
            let count = problem.shape.macs() / (side * side);
            let fits = |&limit: &i32| {
                problem.levels = noise.levels(count, limit);
                problem.conv(kernel).is_ok_and(|c| c.is_some())
            };
            let limit = LEVELS.into_iter().find(fits);
            let limit =
                limit.ok_or_else(|| Error::unsupported(format!("{}: takes no levels", kernel.name)))?;
            let what = if depthwise { "depthwise 3×3" } else { "3×3" };
            problem.words = format!("{what}, {channels} channels, {side}×{side}, |w| ≤ {limit}");
            problem.work = problem.shape.macs();
        }
        Ok(problem)
    }

    fn conv(&self, kernel: &'static Kernel) -> std::result::Result<Option<Conv>, int::ConvError> {
        let channels = self.shape.out_channels;
        let most = self
            .levels
            .iter()
            .map(|l| l.unsigned_abs())
            .max()
            .unwrap_or(1)
            .max(1);
        let depth = self.levels.len() / channels;
        let epilogue = Epilogue {
            zero_in: 117,
            hi_in: 255,
            bias: vec![0; channels],
            multiplier: vec![1.0 / (most as f32 * (depth as f32).sqrt()); channels],
            output: Output::U8 {
                zero: 128,
                hi: 255,
                table: None,
            },
        };
        Conv::with_kernel(&self.shape, false, &self.levels, epilogue, kernel)
    }

    /// The bytes that a kernel of the same operator gives, and its best time.
    fn timed(&mut self, kernel: &'static Kernel, pool: &Pool) -> Result<(Vec<u8>, Duration)> {
        let bound = |e: int::BoundError| Error::bad(e.to_string());
        let isa: Isa = kernel.isa;
        let (x, other) = (&self.codes, &self.other);
        let mut y = vec![0u8; ELEMENTS];
        let dense = || Broadcast::new(&[ELEMENTS], &[ELEMENTS]);
        // 3×3 windows, and means over all: elements that are read.
        let (pixels, channels) = (ELEMENTS / 64, 64);
        let window = PoolShape {
            batch: 1,
            channels,
            input: [1, 32, pixels / 32],
            output: [1, 32, pixels / 32],
            kernel: [1, 1, 1],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0; 3],
        };
        let time = match kernel.op {
            KernelOp::Conv => {
                let conv = self.conv(kernel).map_err(|e| Error::bad(e.to_string()))?;
                let conv = conv.ok_or_else(|| Error::bad(format!("{} refuses the problem", kernel.name)))?;
                let channels = self.shape.out_channels;
                y = vec![0; self.shape.output.iter().product::<usize>() * channels];
                best(|| conv.run(pool, Pixels::dense(x, channels), Out::dense(&mut y, channels)))
            }
            KernelOp::Add => {
                let add = Add::new(EDGE, EDGE, EDGE, false, isa).map_err(bound)?;
                let shape = dense().ok_or_else(|| Error::bad("equal shapes broadcast"))?;
                best(|| add.run(pool, &shape, &x[..ELEMENTS], other, &mut y))
            }
            KernelOp::Mul => {
                let mul = Mul::new(EDGE, EDGE, EDGE, isa).map_err(bound)?;
                let shape = dense().ok_or_else(|| Error::bad("equal shapes broadcast"))?;
                best(|| mul.run(pool, &shape, &x[..ELEMENTS], other, &mut y))
            }
            KernelOp::Table => {
                let table: [u8; 256] = std::array::from_fn(|q| (q * 7 % 256) as u8);
                best(|| int::table(pool, isa, &table, &x[..ELEMENTS], &mut y))
            }
            KernelOp::Max => best(|| int::max_pool(pool, isa, &window, &x[..ELEMENTS], &mut y)),
            KernelOp::Sum => {
                y = vec![0; channels];
                let mut result = Ok(());
                let size = [1, pixels, channels];
                let time = best(|| {
                    result = int::global_average(pool, isa, size, EDGE, EDGE, &x[..ELEMENTS], &mut y)
                });
                result.map_err(bound)?;
                time
            }
            KernelOp::Quantize => best(|| int::quantize(pool, isa, EDGE, &self.reals, &mut y)),
            KernelOp::Dequantize => {
                let mut reals = vec![0f32; ELEMENTS];
                let time = best(|| int::dequantize(pool, isa, EDGE, &x[..ELEMENTS], &mut reals));
                y = reals.iter().flat_map(|r| r.to_le_bytes()).collect();
                time
            }
        };
        Ok((y, time))
    }
}

/// Best time of some bursts of at least a millisecond.
fn best(mut run: impl FnMut()) -> Duration {
    let mut burst = |runs: u32| {
        let start = Instant::now();
        (0..runs).for_each(|_| run());
        start.elapsed()
    };
    let mut runs = 1;
    while burst(runs) < Duration::from_millis(1) {
        runs *= 2;
    }
    let best = (0..5).map(|_| burst(runs)).min().unwrap_or_default();
    best / runs
}

/// Numbers of an LCG.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as u32
    }

    fn codes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Levels −limit … limit, both ends among them.
    fn levels(&mut self, count: usize, limit: i32) -> Vec<i32> {
        let span = 2 * limit as u32 + 1;
        let mut levels: Vec<i32> = (0..count).map(|_| (self.next() % span) as i32 - limit).collect();
        if let [a, b, ..] = &mut levels[..] {
            (*a, *b) = (limit, -limit);
        }
        levels
    }
}
