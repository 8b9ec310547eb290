//! Implicit matrix products: packing, tiles, threads. The arithmetic of a tile is a registry row's.

use super::{Epilogue, Output};
use crate::float::rows::rows;
use crate::geometry::Geometry;
use crate::int::{convert, table};
use crate::split::Parts;
use crate::{Isa, Out, Pixels, Pool};

mod pack;
mod reader;
mod walk;

pub(super) use reader::Reader;
use walk::Walk;

/// Output channels of a weight panel.
pub(crate) const PANEL: usize = 16;
/// Output channels of a tile's row in scratch: two panels.
pub(crate) const ROW: usize = 2 * PANEL;
/// Most pixels of a tile, even.
const MAX_PIXELS: usize = 12;

/// One tile: `acc[m][n] = init[m][n] + Σ_tap Σ_quad Σ_4 x · w` in wrapping i32.
pub(crate) struct TileCall {
    /// Address of pixel m under tap t: `pointers[t · pointer_step + m] + shifts[t]`.
    pub(crate) pointers: *const *const u8,
    pub(crate) pointer_step: usize,
    pub(crate) shifts: *const isize,
    /// Offset in bytes of each tap's weights in a panel.
    pub(crate) tap_weights: *const usize,
    pub(crate) taps: usize,
    /// Groups of four input channels.
    pub(crate) quads: usize,
    /// First panel: [tap][quad][16 out channels][4 in channels].
    pub(crate) weights: *const i8,
    /// Bytes from one panel to the next.
    pub(crate) panel: usize,
    /// Row m starts at `m · init_step`; may be `acc` itself.
    pub(crate) init: *const i32,
    pub(crate) init_step: usize,
    /// Rows of [`ROW`].
    pub(crate) acc: *mut i32,
}

/// A tile's code.
pub(crate) type Tile = unsafe fn(&TileCall);

/// Tiles of one number of pixels: one panel wide, and two where the registers suffice.
pub(crate) struct TileSize {
    pub(crate) pixels: usize,
    pub(crate) one: Tile,
    pub(crate) two: Option<Tile>,
}

/// Numbers of [`DenseRow::finish`].
pub(crate) struct Finish<'a> {
    /// At least [`ROW`].
    pub(crate) multiplier: &'a [f32],
    pub(crate) zero: u8,
    pub(crate) hi: u8,
}

/// A dense row of the registry.
pub(crate) struct DenseRow {
    /// Largest first.
    pub(crate) sizes: &'static [TileSize],
    /// Requantizes rows of [`ROW`] accumulators to rows of [`ROW`] codes; the number of rows is rounded up to even.
    pub(crate) finish: unsafe fn(&Finish<'_>, &[i32], usize, &mut [u8]),
    pub(crate) isa: Isa,
}

/// 64 bytes of weights: 16 output channels × 4 input channels.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([i8; 64]);

/// How planes of digits become one sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sum {
    /// One plane holds the levels.
    Plain,
    /// `Σ 2^(7p) · plane p` in i32, which the proved bound allows.
    I32,
    /// The same in i64.
    I64,
}

/// A packed dense layer.
pub(crate) struct Dense {
    row: &'static DenseRow,
    sum: Sum,
    /// Planes of digits, lowest first, each [group][panel][tap][quad] lines.
    planes: Vec<Vec<Line>>,
    /// Panels of one group, and lines of one panel.
    panels: usize,
    lines: usize,
    /// Four input channels each.
    quads: usize,
    /// Per phase [group][panel · 16], the zero point of the phase's taps folded in; i32 wraps where `sum` is `I64`,
    /// and is not read then.
    bias: Vec<Vec<i32>>,
    wide_bias: Vec<Vec<i64>>,
    multiplier: Vec<f32>,
    /// A pixel outside of the picture.
    outside: Vec<u8>,
    output: Output,
}

impl std::fmt::Debug for Dense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dense")
            .field("planes", &self.planes.len())
            .field("sum", &self.sum)
            .finish_non_exhaustive()
    }
}
impl Dense {
    pub(crate) fn packed_bytes(&self) -> usize {
        self.planes.iter().map(|p| p.len() * 64).sum::<usize>()
            + self.bias.len() * self.multiplier.len() * 12
            + self.multiplier.len() * 4
            + self.outside.len()
    }

    pub(crate) fn run_u8(
        &self,
        pool: &Pool,
        geometry: &Geometry,
        epilogue: &Epilogue,
        x: Pixels<'_, u8>,
        y: &mut Out<'_, u8>,
    ) {
        let table_row = table::row(self.row.isa);
        let (activate, quantize) = (rows(self.row.isa).activate, convert::row(self.row.isa));
        self.run(pool, geometry, x, y, |sums, first, rows, out| {
            let multiplier = &self.multiplier[first..];
            match (sums, &self.output) {
                (Sums::I32(acc), Output::U8 { zero, hi, table }) => {
                    let finish = Finish {
                        multiplier,
                        zero: *zero,
                        hi: *hi,
                    };
                    // SAFETY: the row was chosen for this CPU; scratch holds an even number of whole rows.
                    unsafe { (self.row.finish)(&finish, acc, rows, out) };
                    if let Some(table) = table {
                        // SAFETY: the table row is chosen for this CPU.
                        unsafe { table_row(table, &mut out[..rows * ROW]) };
                    }
                }
                (sums, Output::Function { function, edge }) => {
                    let mut reals = [0f32; MAX_PIXELS * ROW];
                    let reals = &mut reals[..rows * ROW];
                    real(sums, multiplier, reals);
                    // SAFETY: both rows are chosen for this CPU; there are as many codes as numbers.
                    unsafe {
                        activate(*function, reals);
                        quantize(*edge, &[reals], &mut out[..rows * ROW]);
                    }
                }
                (sums, _) => {
                    for (i, out) in out.iter_mut().take(rows * ROW).enumerate() {
                        if let Some(&m) = multiplier.get(i % ROW) {
                            let acc = match sums {
                                Sums::I32(acc) => i64::from(acc[i]),
                                Sums::I64(acc) => acc[i],
                            };
                            *out = epilogue.code(acc, m);
                        }
                    }
                }
            }
        });
    }

    pub(crate) fn run_f32(&self, pool: &Pool, geometry: &Geometry, x: Pixels<'_, u8>, y: &mut Out<'_, f32>) {
        self.run(pool, geometry, x, y, |sums, first, rows, out| {
            real(sums, &self.multiplier[first..], &mut out[..rows * ROW]);
        });
    }

    /// Computes all tiles; `finish(sums, first channel, rows, out)` makes outputs of a tile.
    fn run<T: Copy + Default + Send>(
        &self,
        pool: &Pool,
        geometry: &Geometry,
        x: Pixels<'_, u8>,
        y: &mut Out<'_, T>,
        finish: impl Fn(Sums<'_>, usize, usize, &mut [T]) + Sync,
    ) {
        let s = &geometry.shape;
        let reader = Reader::new(x, self.quads * 4);
        let (stride, offset) = (y.stride, y.offset);
        let parts = Parts::new(y.data);
        let step = if self.row.sizes[0].two.is_some() { 2 } else { 1 };
        for (number, phase) in geometry.phases.iter().enumerate() {
            let pixels = s.batch * phase.pixels();
            let tile = self.row.sizes[0].pixels;
            let tiles = pixels.div_ceil(tile);
            let blocks = self.panels.div_ceil(step);
            // Enough tasks for balance; channels are split where pixels are few.
            let want = if pool.threads() == 1 {
                1
            } else {
                pool.threads() * 6
            };
            let tiles_each = tiles.div_ceil(want).max(1);
            let chunks = tiles.div_ceil(tiles_each);
            let blocks_each = blocks.div_ceil(want.div_ceil(chunks * s.groups)).max(1);
            let block_chunks = blocks.div_ceil(blocks_each);
            let walk = Walk::new(geometry, number, &reader, self);
            pool.run(chunks * s.groups * block_chunks, &|task| {
                let (chunk, rest) = (task / (s.groups * block_chunks), task % (s.groups * block_chunks));
                let (g, part) = (rest / block_chunks, rest % block_chunks);
                let panels = part * blocks_each * step..self.panels.min((part + 1) * blocks_each * step);
                let mut scratch = Scratch::new(phase.taps.len());
                let mut p = chunk * tiles_each * tile;
                let end = pixels.min((chunk + 1) * tiles_each * tile);
                while p < end {
                    let left = end - p;
                    let size = self.row.sizes.iter().rev().find(|s| s.pixels >= left);
                    let size = size.unwrap_or(&self.row.sizes[0]);
                    let rows = left.min(size.pixels);
                    walk.tile(geometry, g, p..p + rows, size.pixels, &mut scratch);
                    let mut panel = panels.start;
                    while panel < panels.end {
                        let two = size.two.filter(|_| panel + 1 < panels.end);
                        let width = if two.is_some() { ROW } else { PANEL };
                        let mut out = [T::default(); MAX_PIXELS * ROW];
                        let block = g * self.panels + panel;
                        let sums =
                            self.sums(&walk, &mut scratch, two.unwrap_or(size.one), block, width, rows);
                        finish(sums, block * PANEL, rows, &mut out);
                        let cout = s.out_channels / s.groups;
                        let n = width.min(cout - panel * PANEL);
                        let first = offset + g * cout + panel * PANEL;
                        for (row, &at) in out.chunks_exact(ROW).zip(&scratch.outputs[..rows]) {
                            // SAFETY: one task owns these channels of this pixel.
                            let to = unsafe { parts.part(at * stride + first, n) };
                            match n {
                                ROW => to.copy_from_slice(&row[..ROW]),
                                PANEL => to.copy_from_slice(&row[..PANEL]),
                                _ => to.copy_from_slice(&row[..n]),
                            }
                        }
                        panel += width / PANEL;
                    }
                    p += rows;
                }
            });
        }
    }

    /// Sums of one tile over all planes, bias included.
    fn sums<'a>(
        &self,
        walk: &Walk<'_>,
        scratch: &'a mut Scratch,
        tile: Tile,
        block: usize,
        width: usize,
        rows: usize,
    ) -> Sums<'a> {
        let call = |plane: &[Line], scratch: &mut Scratch, init: Option<*const i32>, init_step| {
            let acc = scratch.acc.0.as_mut_ptr();
            let call = TileCall {
                pointers: scratch.pointers.as_ptr(),
                pointer_step: scratch.pointer_step,
                shifts: if scratch.pointer_step == 0 {
                    walk.shifts.as_ptr()
                } else {
                    walk.zeros.as_ptr()
                },
                tap_weights: walk.tap_weights.as_ptr(),
                taps: walk.tap_weights.len(),
                quads: self.quads,
                weights: plane[block * self.lines..].as_ptr().cast(),
                panel: self.lines * 64,
                init: init.unwrap_or(acc),
                init_step,
                acc,
            };
            // SAFETY: the row was chosen for this CPU. `Walk::tile` made pointers to readable pixels for each tap and
            // every pixel of the tile; `plane` holds the tile's panels and `init` its rows (see the callers);
            // `acc` holds MAX_PIXELS rows of ROW.
            unsafe { tile(&call) };
        };
        let bias = &self.bias[walk.number][block * PANEL..block * PANEL + width];
        match self.sum {
            Sum::Plain => {
                call(&self.planes[0], scratch, Some(bias.as_ptr()), 0);
                Sums::I32(&scratch.acc.0)
            }
            Sum::I32 => {
                scratch.acc.0.fill(0);
                for (p, plane) in self.planes.iter().enumerate().rev() {
                    for row in scratch.acc.0.chunks_exact_mut(ROW) {
                        for (i, acc) in row[..width].iter_mut().enumerate() {
                            let bias = if p == 0 { bias[i] } else { 0 };
                            *acc = acc.wrapping_mul(128).wrapping_add(bias);
                        }
                    }
                    call(plane, scratch, None, ROW);
                }
                Sums::I32(&scratch.acc.0)
            }
            Sum::I64 => {
                scratch.wide.resize(MAX_PIXELS * ROW, 0);
                scratch.wide.fill(0);
                for plane in self.planes.iter().rev() {
                    call(plane, scratch, Some(ZEROS.0.as_ptr()), 0);
                    for (wide, &acc) in scratch.wide.iter_mut().zip(&scratch.acc.0).take(rows * ROW) {
                        *wide = wide.wrapping_mul(128).wrapping_add(i64::from(acc));
                    }
                }
                for row in scratch.wide.chunks_exact_mut(ROW) {
                    for (wide, bias) in row
                        .iter_mut()
                        .zip(&self.wide_bias[walk.number][block * PANEL..][..width])
                    {
                        *wide += bias;
                    }
                }
                Sums::I64(&scratch.wide)
            }
        }
    }
}

/// A tile's rows of i32.
#[repr(align(64))]
struct Rows([i32; MAX_PIXELS * ROW]);

static ZEROS: Rows = Rows([0; MAX_PIXELS * ROW]);

/// Rows of [`ROW`] finished sums.
#[derive(Clone, Copy)]
enum Sums<'a> {
    I32(&'a [i32]),
    I64(&'a [i64]),
}

/// 1.4, for rows of channels.
fn real(sums: Sums<'_>, multiplier: &[f32], out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        let acc = match sums {
            Sums::I32(acc) => acc[i] as f32,
            Sums::I64(acc) => acc[i] as f32,
        };
        *out = multiplier.get(i % ROW).map_or(0.0, |m| acc * m);
    }
}

/// What one task reuses from tile to tile.
struct Scratch {
    pointers: Vec<*const u8>,
    /// 0 when one row of pointers serves all taps.
    pointer_step: usize,
    outputs: [usize; MAX_PIXELS],
    acc: Rows,
    wide: Vec<i64>,
}

impl Scratch {
    fn new(taps: usize) -> Scratch {
        Scratch {
            pointers: vec![std::ptr::null(); taps.max(1) * MAX_PIXELS],
            pointer_step: 0,
            outputs: [0; MAX_PIXELS],
            acc: Rows([0; MAX_PIXELS * ROW]),
            wide: Vec::new(),
        }
    }
}
