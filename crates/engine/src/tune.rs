//! Which kernel runs a convolution: by the rules of the registry, by measurement, or as measured before.
//!
//! All rows of the registry give the same bytes; a measurement moves time and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernels::int::{Conv, ConvError, Epilogue, Kernel, Output, registry};
use kernels::{ConvShape, Isa, Out, Pixels, Pool};

/// Rows of the registry that are measured for a layer: those that its rules prefer.
const ROWS: usize = 4;

/// Runs of each, the first of which warms caches; a layer of many milliseconds gets fewer.
const RUNS: usize = 8;

/// Time for the runs of one row.
const TIME: Duration = Duration::from_millis(2);

/// Layers that take more bytes of activations or more multiplications are chosen by the rules: measuring them would take too long.
const MOST_BYTES: usize = 256 << 20;
const MOST_MACS: usize = 20_000_000_000;

/// Turns that a quicker row has to stay so.
const CONFIRMED: usize = 2;

/// A row replaces the one that the rules prefer if it takes this share of its time or less: what is nearer is noise.
const GAIN: f64 = 0.97;

/// The quickest rows found, by layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// Name of the registry row by shape of the layer.
    pub rows: BTreeMap<String, String>,
}

/// How the kernel of a convolution is chosen.
#[derive(Debug, Clone, Default)]
pub enum Tuning {
    /// By the rules of the registry.
    #[default]
    Rules,
    /// As measured before; layers that are not in it by the rules.
    Chosen(Choices),
    /// By measurement on these threads.
    Measured(Arc<Pool>),
}

/// A convolution to build.
pub(crate) struct Wanted<'a> {
    pub(crate) shape: &'a ConvShape,
    pub(crate) transposed: bool,
    pub(crate) levels: &'a [i32],
    pub(crate) epilogue: &'a Epilogue,
    pub(crate) isa: Isa,
    /// Most bytes to measure with, if there is a limit.
    pub(crate) limit_bytes: Option<usize>,
}

impl Wanted<'_> {
    /// Builds it; what was measured is added to `found`.
    pub(crate) fn build(&self, tuning: &Tuning, found: &mut Choices) -> Result<Conv, ConvError> {
        let row = match tuning {
            Tuning::Rules => None,
            Tuning::Chosen(choices) => self.row(choices),
            Tuning::Measured(pool) => match self.row(found) {
                Some(row) => Some(row),
                None => self.measure(pool, found)?,
            },
        };
        if let Some(row) = row
            && let Some(conv) = self.with(row)?
        {
            return Ok(conv);
        }
        let build = match self.transposed {
            true => Conv::transposed,
            false => Conv::new,
        };
        build(self.shape, self.levels, self.epilogue.clone(), self.isa)
    }

    fn with(&self, row: &'static Kernel) -> Result<Option<Conv>, ConvError> {
        Conv::with_kernel(
            self.shape,
            self.transposed,
            self.levels,
            self.epilogue.clone(),
            row,
        )
    }

    fn rows(&self) -> Result<Vec<&'static Kernel>, ConvError> {
        Conv::rows(
            self.shape,
            self.transposed,
            self.levels,
            self.epilogue,
            self.isa,
            ROWS,
        )
    }

    /// Layers of one key are measured once. Levels are not part of it: a row that does not take them is no choice.
    fn key(&self) -> String {
        let s = self.shape;
        let written = match &self.epilogue.output {
            Output::U8 { .. } => "codes",
            Output::F32 => "reals",
            Output::Function { .. } => "function",
        };
        let join = |axes: [usize; 3]| axes.map(|n| n.to_string()).join("x");
        format!(
            "{}{}x{}x{} to {}x{} {written}, kernel {}, stride {}, dilation {}, pad {}, groups {}",
            if self.transposed { "transposed " } else { "" },
            s.batch,
            join(s.input),
            s.in_channels,
            join(s.output),
            s.out_channels,
            join(s.kernel),
            join(s.stride),
            join(s.dilation),
            join(s.pad),
            s.groups
        )
    }

    /// The row of an earlier measurement. Whether this layer's levels suit it is seen when it is built: asking first would look at them twice.
    fn row(&self, choices: &Choices) -> Option<&'static Kernel> {
        let name = choices.rows.get(&self.key())?;
        registry().find(|k| k.name == name && k.isa <= self.isa)
    }

    fn measure(&self, pool: &Pool, found: &mut Choices) -> Result<Option<&'static Kernel>, ConvError> {
        let bytes = Scratch::bytes(self.shape, &self.epilogue.output);
        let most = self.limit_bytes.unwrap_or(MOST_BYTES).min(MOST_BYTES);
        if bytes.is_none_or(|bytes| bytes > most) || self.shape.macs() > MOST_MACS {
            return Ok(None);
        }
        let rows = self.rows()?;
        let Some((&preferred, others)) = rows.split_last() else {
            return Ok(None);
        };
        let quicker = match others {
            [] => None,
            _ => self.quicker(preferred, others, pool)?,
        };
        let row = quicker.unwrap_or(preferred);
        found.rows.insert(self.key(), row.name.to_string());
        Ok(Some(row))
    }

    /// The row that takes plainly less time than the preferred one, if there is one.
    fn quicker(
        &self,
        preferred: &'static Kernel,
        others: &[&'static Kernel],
        pool: &Pool,
    ) -> Result<Option<&'static Kernel>, ConvError> {
        let mut scratch = Scratch::of(self.shape, &self.epilogue.output);
        let Some(conv) = self.with(preferred)? else {
            return Ok(None);
        };
        let mut usual = scratch.time(&conv, pool);
        let mut best = None;
        let mut least = usual.mul_f64(GAIN);
        for &row in others {
            if let Some(other) = self.with(row)? {
                let time = scratch.time(&other, pool);
                if time < least {
                    (best, least) = (Some((row, other)), time);
                }
            }
        }
        let Some((row, other)) = best else {
            return Ok(None);
        };
        // By turns once more: a machine that did something else while the preferred row ran makes any other look quicker.
        for _ in 0..CONFIRMED {
            usual = usual.min(scratch.time(&conv, pool));
            least = least.min(scratch.time(&other, pool));
        }
        Ok((least < usual.mul_f64(GAIN)).then_some(row))
    }
}

/// Activations to measure with. What they hold does not move time.
struct Scratch {
    x: Vec<u8>,
    codes: Vec<u8>,
    reals: Vec<f32>,
    strides: (usize, usize),
}

impl Scratch {
    /// What it takes; `None` where no machine has that much.
    fn bytes(shape: &ConvShape, output: &Output) -> Option<usize> {
        let elements = |axes: [usize; 3], channels: usize| {
            let mut lengths = axes.into_iter().chain([channels]);
            lengths.try_fold(shape.batch, usize::checked_mul)
        };
        let width = if matches!(output, Output::F32) { 4 } else { 1 };
        let written = elements(shape.output, shape.out_channels)?.checked_mul(width)?;
        elements(shape.input, shape.in_channels)?.checked_add(written)
    }

    fn of(shape: &ConvShape, output: &Output) -> Scratch {
        let pixels = |axes: [usize; 3]| shape.batch * axes.iter().product::<usize>();
        let written = pixels(shape.output) * shape.out_channels;
        let reals = matches!(output, Output::F32);
        Scratch {
            x: vec![1; pixels(shape.input) * shape.in_channels],
            codes: vec![0; if reals { 0 } else { written }],
            reals: vec![0.0; if reals { written } else { 0 }],
            strides: (shape.in_channels, shape.out_channels),
        }
    }

    /// The shortest of a few runs.
    fn time(&mut self, conv: &Conv, pool: &Pool) -> Duration {
        let mut shortest = Duration::MAX;
        let start = Instant::now();
        for run in 0..RUNS {
            let before = Instant::now();
            let x = Pixels {
                data: &self.x,
                stride: self.strides.0,
                offset: 0,
            };
            if self.reals.is_empty() {
                conv.run(pool, x, out(&mut self.codes, self.strides.1));
            } else {
                conv.run_f32(pool, x, out(&mut self.reals, self.strides.1));
            }
            shortest = shortest.min(before.elapsed());
            if run > 0 && start.elapsed() > TIME {
                break;
            }
        }
        shortest
    }
}

fn out<T>(data: &mut [T], stride: usize) -> Out<'_, T> {
    Out {
        data,
        stride,
        offset: 0,
    }
}
