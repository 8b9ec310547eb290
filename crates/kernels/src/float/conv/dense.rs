//! Implicit matrix products: a tile is a few output pixels × one panel of output channels.
//!
//! A task takes a chunk of pixels. It notes where each tile of pixels reads (one pointer per pixel where all taps lie
//! inside of the picture, one per pixel and tap at the border), then goes through its panels of output channels. A panel's
//! weights are cut into blocks that stay in the first cache while all tiles of the chunk pass over them; sums wait in
//! scratch between the blocks, so their order of terms is never changed.

use std::ops::Range;

use super::{Clamp, Finish};
use crate::geometry::{Geometry, Phase, Row};
use crate::split::Parts;
use crate::{Out, Pixels, Pool};

/// Most pixels of a tile.
const MAX_PIXELS: usize = 12;
/// Weights of one block of a panel, in elements: half of a first cache of 32 KB.
const BLOCK: usize = 4096;
/// Bytes of input that a chunk of pixels may read again for each panel: they should stay in the second cache.
const CHUNK_BYTES: usize = 160 << 10;
/// Multiply-accumulates of a task, about.
const TASK: usize = 3 << 20;

/// One tile, for each of some panels: `out[m][n] = init[m][n]`, then `fma(x[m][k], weights[k][n], ·)` for all k of all
/// segments.
pub(crate) struct TileCall {
    /// Address of pixel m under a segment: `pointers[tap · pointer_step + m] + shift`.
    pub(crate) pointers: *const *const f32,
    /// 0 when one row of pointers serves all segments.
    pub(crate) pointer_step: usize,
    pub(crate) segment: *const Segment,
    pub(crate) segments: usize,
    /// Two registers of output channels for each element of the segments.
    pub(crate) weights: *const f32,
    /// Row m starts at `m · init_step`.
    pub(crate) init: *const f32,
    pub(crate) init_step: usize,
    /// Address of each pixel's row, and the first channel in it.
    pub(crate) out: *const *mut f32,
    pub(crate) channel: usize,
    /// Panels that follow each other in `weights`, `init` (where it is one row) and `out`.
    pub(crate) panels: usize,
    pub(crate) clamp: Option<Clamp>,
}

/// Consecutive input elements of every pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    /// Row of pointers, where there is more than one.
    pub(crate) tap: usize,
    /// Elements from the pointer on.
    pub(crate) shift: isize,
    pub(crate) len: usize,
}

/// A tile's code.
pub(crate) type Tile = unsafe fn(&TileCall);

/// Tiles of one number of pixels, one and two registers wide.
pub(crate) struct TileSize {
    pub(crate) pixels: usize,
    pub(crate) one: Tile,
    pub(crate) two: Tile,
}

/// The dense row of an instruction set.
pub(crate) struct DenseRow {
    pub(crate) name: &'static str,
    /// Elements of a register; a panel is two.
    pub(crate) lanes: usize,
    /// Largest first.
    pub(crate) sizes: &'static [TileSize],
    pub(crate) activate: unsafe fn(crate::float::Activation, &mut [f32]),
}

/// A cache line of weights.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

// SAFETY: all bits zero are sixteen zeros.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: sixteen f32 without padding; any bits are an f32.
unsafe impl bytemuck::Pod for Line {}

/// A packed dense layer.
pub(crate) struct Dense {
    row: &'static DenseRow,
    /// Per phase [group][panel][tap of the phase][in channel][panel's out channels].
    weights: Vec<Vec<Line>>,
    /// [group][panel][out channel].
    bias: Vec<f32>,
    /// Panels of one group.
    panels: usize,
    finish: Finish,
    /// A pixel outside of the picture.
    outside: Vec<f32>,
}

impl std::fmt::Debug for Dense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dense")
            .field("row", &self.row.name)
            .field("panels", &self.panels)
            .finish_non_exhaustive()
    }
}

impl Dense {
    /// Makes room for a layer's weights, all zero.
    pub(crate) fn new(row: &'static DenseRow, geometry: &Geometry, finish: Finish) -> Dense {
        let s = &geometry.shape;
        let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let panel = 2 * row.lanes;
        let panels = cout.div_ceil(panel);
        let lines = |phase: &Phase| {
            let each = phase.taps.len() * cin * panel;
            vec![Line([0.0; 16]); s.groups * panels * each / 16]
        };
        Dense {
            row,
            weights: geometry.phases.iter().map(lines).collect(),
            bias: vec![0.0; s.groups * panels * panel],
            panels,
            finish,
            outside: vec![0.0; cin],
        }
    }

    /// Packs `weights` of ONNX's order.
    pub(crate) fn set(&mut self, geometry: &Geometry, weights: &[f32], bias: Option<&[f32]>) {
        let s = &geometry.shape;
        let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let panel = 2 * self.row.lanes;
        for (phase, lines) in geometry.phases.iter().zip(&mut self.weights) {
            let each = phase.taps.len() * cin * panel;
            let out: &mut [f32] = bytemuck::cast_slice_mut(lines);
            for o in 0..s.out_channels {
                let (g, m) = (o / cout, o % cout);
                let out = &mut out[(g * self.panels + m / panel) * each..];
                // Input channels lie at equal distances.
                let first = geometry.weight_at(o, 0);
                let step = (geometry.weight_at(o, 1.min(cin.saturating_sub(1))) - first).max(1);
                for (out, &tap) in out.chunks_exact_mut((cin * panel).max(1)).zip(&phase.taps) {
                    let lane = out[m % panel..].iter_mut().step_by(panel);
                    let column = weights[first + tap..].iter().step_by(step);
                    lane.zip(column).for_each(|(out, w)| *out = *w);
                }
            }
        }
        for o in 0..s.out_channels {
            self.bias[o / cout * self.panels * panel + o % cout] = bias.map_or(0.0, |b| b[o]);
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.row.name
    }

    pub(crate) fn packed_bytes(&self) -> usize {
        self.weights.iter().map(|w| w.len() * 64).sum::<usize>() + (self.bias.len() + self.outside.len()) * 4
    }

    pub(crate) fn run(&self, pool: &Pool, geometry: &Geometry, x: Pixels<'_, f32>, y: &mut Out<'_, f32>) {
        let s = &geometry.shape;
        let (stride, offset) = (y.stride, y.offset);
        let parts = Parts::new(y.data);
        for (phase, weights) in geometry.phases.iter().zip(&self.weights) {
            let plan = Plan::new(self, geometry, phase, x);
            let (chunk, each) = self.split(geometry, plan.depth, plan.pixels);
            let (chunks, blocks) = (plan.pixels.div_ceil(chunk), self.panels.div_ceil(each));
            pool.run(chunks * blocks * s.groups, &|task| {
                let (g, rest) = (task / (chunks * blocks), task % (chunks * blocks));
                let panels = rest / chunks * each..self.panels.min((rest / chunks + 1) * each);
                let pixels = rest % chunks * chunk..plan.pixels.min((rest % chunks + 1) * chunk);
                let cout = s.out_channels / s.groups;
                let panel = 2 * self.row.lanes;
                let channels = g * cout + panels.start * panel..g * cout + cout.min(panels.end * panel);
                // SAFETY: one task owns these channels of its pixels, all of which lie in `y` (`Out::check`).
                let first = unsafe { parts.pointer(0, 0) }.wrapping_add(offset + channels.start);
                let walk = Walk::new(&plan, g, pixels, |pixel| first.wrapping_add(pixel * stride));
                self.task(&plan, bytemuck::cast_slice(weights), g, panels, &walk);
                if let Some(activation) = self.finish.activation {
                    // Pixels without gaps between them go together.
                    let dense = channels.len() == stride;
                    for run in walk.outputs.chunk_by(|&a, &b| dense && b == a + 1) {
                        let at = run[0] * stride + offset + channels.start;
                        // SAFETY: as above, and the kernels are done; the row was chosen for this CPU.
                        unsafe {
                            (self.row.activate)(activation, parts.part(at, run.len() * channels.len()));
                        }
                    }
                }
            });
        }
    }

    /// Pixels of a chunk and panels of a task; depends on the layer only.
    fn split(&self, geometry: &Geometry, depth: usize, pixels: usize) -> (usize, usize) {
        let s = &geometry.shape;
        let panel = 2 * self.row.lanes;
        let tile = self.row.sizes[0].pixels;
        // A pixel's own input; windows that overlap share theirs.
        let area: usize = (0..3).map(|i| s.stride[i].min(s.kernel[i])).product();
        let bytes = 4 * area * s.in_channels / s.groups;
        let most = (CHUNK_BYTES / bytes.max(1)).clamp(8 * tile, 1024);
        let per_pixel = (depth * panel).max(1);
        let even = |pixels: usize| pixels.div_ceil(tile).max(1) * tile;
        let chunk = even(most.min(pixels).min((TASK / per_pixel).max(8 * tile)));
        let each = (TASK / (per_pixel * chunk)).clamp(1, self.panels);
        (chunk, each)
    }

    /// Computes panels of a chunk of pixels.
    fn task(&self, plan: &Plan<'_>, weights: &[f32], group: usize, panels: Range<usize>, walk: &Walk) {
        let s = &plan.geometry.shape;
        let (cout, lanes) = (s.out_channels / s.groups, self.row.lanes);
        let panel = 2 * lanes;
        let each = plan.depth * panel;
        // Sums between blocks of weights, for all pixels; or a tile's rows narrower than the registers that make them.
        let kept = plan.blocks.len() > 1;
        let count = if kept {
            walk.outputs.len().next_multiple_of(MAX_PIXELS)
        } else {
            MAX_PIXELS
        };
        let mut scratch = vec![0f32; count * panel];
        let sums = scratch.as_mut_ptr();
        let scratch_rows: Vec<*mut f32> = (0..count).map(|m| sums.wrapping_add(m * panel)).collect();
        let mut p = panels.start;
        while p < panels.end {
            // Shallow panels go together, as many as fit into a block of weights.
            let whole_panels = (cout / panel).min(panels.end).saturating_sub(p);
            let together = (BLOCK / each.max(1)).clamp(1, whole_panels.max(1));
            let width = panel.min(cout - p * panel);
            let whole = width == panel || width == lanes;
            let block = group * self.panels + p;
            let bias = &self.bias[block * panel..][..together * panel];
            let weights = &weights[block * each..][..together * each];
            let channel = (p - panels.start) * panel;
            for (b, part) in plan.blocks.iter().enumerate() {
                let (first, last) = (b == 0, b + 1 == plan.blocks.len());
                let direct = last && whole;
                for tile in &walk.tiles {
                    let size = &self.row.sizes[tile.size];
                    let segments = if tile.plain { &part.plain } else { &part.border };
                    let scratch_rows = &scratch_rows[if kept { tile.first } else { 0 }..];
                    let call = TileCall {
                        pointers: walk.pointers[tile.pointers..].as_ptr(),
                        pointer_step: if tile.plain { 0 } else { size.pixels },
                        segment: segments.as_ptr(),
                        segments: segments.len(),
                        weights: weights[part.start * panel..].as_ptr(),
                        init: if first { bias.as_ptr() } else { scratch_rows[0] },
                        init_step: if first { 0 } else { panel },
                        out: if direct {
                            walk.rows[tile.rows..].as_ptr()
                        } else {
                            scratch_rows.as_ptr()
                        },
                        channel: if direct { channel } else { 0 },
                        panels: together,
                        clamp: self.finish.clamp.filter(|_| last),
                    };
                    // SAFETY: the row was chosen for this CPU. `Walk` noted pointers to `segments` of readable elements for
                    // every pixel of the tile, and rows of the output that hold the task's channels; `weights` holds a
                    // panel per element of the block, and together > 1 only where the only block is the whole depth of
                    // whole panels; `bias` is as many panels, scratch a panel per pixel, and narrow rows go there.
                    unsafe {
                        match width > lanes {
                            true => (size.two)(&call),
                            false => (size.one)(&call),
                        }
                    }
                    if last && !whole {
                        for (m, &from) in scratch_rows[..tile.count].iter().enumerate() {
                            // SAFETY: a row of scratch and the task's channels of a pixel of the output.
                            unsafe {
                                std::ptr::copy_nonoverlapping(
                                    from,
                                    walk.rows[tile.rows + m].add(channel),
                                    width,
                                );
                            }
                        }
                    }
                }
            }
            p += together;
        }
    }
}

/// What all tasks of a phase share.
struct Plan<'a> {
    geometry: &'a Geometry,
    phase: &'a Phase,
    row: Row,
    x: Pixels<'a, f32>,
    sizes: &'static [TileSize],
    outside: &'a [f32],
    /// Output pixels.
    pixels: usize,
    /// Terms of a sum.
    depth: usize,
    blocks: Vec<Block>,
}

/// Terms of a sum whose weights stay in the first cache.
struct Block {
    /// First term.
    start: usize,
    /// For tiles inside of the picture: taps that lie side by side are one segment.
    plain: Vec<Segment>,
    /// For tiles with a row of pointers per tap.
    border: Vec<Segment>,
}

impl<'a> Plan<'a> {
    fn new(dense: &'a Dense, geometry: &'a Geometry, phase: &'a Phase, x: Pixels<'a, f32>) -> Plan<'a> {
        let s = &geometry.shape;
        let cin = s.in_channels / s.groups;
        let depth = phase.taps.len() * cin;
        let joined = if x.stride == cin {
            geometry.joined_taps()
        } else {
            1
        };
        let count = (depth * 2 * dense.row.lanes).div_ceil(BLOCK).max(1);
        let each = depth.div_ceil(count).max(1);
        let shift = |t: usize| geometry.shift(phase, t) * x.stride as isize;
        let blocks = (0..count)
            .map(|b| {
                let terms = (b * each).min(depth)..((b + 1) * each).min(depth);
                Block {
                    start: terms.start,
                    plain: cut(terms.clone(), joined * cin, |i| (0, shift(i * joined))),
                    border: cut(terms, cin, |t| (t, 0)),
                }
            })
            .collect();
        Plan {
            geometry,
            phase,
            row: geometry.row(phase),
            x,
            sizes: dense.row.sizes,
            outside: &dense.outside,
            pixels: s.batch * phase.pixels(),
            depth,
            blocks,
        }
    }
}

/// The segments of a range of terms, `len` terms to a segment; `place(i)` is the pointer row and shift of segment i.
fn cut(terms: Range<usize>, len: usize, place: impl Fn(usize) -> (usize, isize)) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut at = terms.start;
    while at < terms.end {
        let (i, from) = (at / len, at % len);
        let count = (len - from).min(terms.end - at);
        let (tap, shift) = place(i);
        segments.push(Segment {
            tap,
            shift: shift + from as isize,
            len: count,
        });
        at += count;
    }
    segments
}

/// In place of an element's index: some tap lies outside of the picture.
const BORDER: usize = usize::MAX;

/// Where the tiles of a chunk of pixels read and write.
struct Walk {
    tiles: Vec<TileAt>,
    pointers: Vec<*const f32>,
    /// Where each pixel of each tile writes the task's channels.
    rows: Vec<*mut f32>,
    /// Output pixel of each pixel of the chunk.
    outputs: Vec<usize>,
}

struct TileAt {
    /// First pixel in the chunk, and pixels.
    first: usize,
    count: usize,
    /// Index in the sizes.
    size: usize,
    /// First pointer, and first row.
    pointers: usize,
    rows: usize,
    /// All taps of all pixels inside.
    plain: bool,
}

impl Walk {
    /// `row_of(output pixel)` is where the task's channels of a pixel begin.
    fn new(plan: &Plan<'_>, group: usize, pixels: Range<usize>, row_of: impl Fn(usize) -> *mut f32) -> Walk {
        let Plan {
            geometry,
            phase,
            row,
            x,
            ..
        } = plan;
        let s = &geometry.shape;
        let channel = x.offset + group * (s.in_channels / s.groups);
        let count = pixels.len();
        // Per pixel: where it writes, and the element that tap 0 reads where all taps are inside.
        let mut outputs = Vec::with_capacity(count);
        let mut inputs = vec![BORDER; count];
        let mut at = pixels.start;
        while at < pixels.end {
            let line = geometry.line(phase, at / row.width);
            let from = at % row.width;
            let to = row.width.min(from + pixels.end - at);
            let inside = row.inside.start.max(from)..row.inside.end.min(to);
            if !inside.is_empty()
                && geometry.line_inside(phase, line)
                && !phase.taps.is_empty()
                && let Some(base) = geometry.input_line(phase, line, 0)
            {
                let pixel = base + row.input + (inside.start - row.inside.start) * row.input_step;
                let (first, step) = (pixel * x.stride + channel, row.input_step * x.stride);
                let here = &mut inputs[outputs.len() + inside.start - from..][..inside.len()];
                for (i, place) in here.iter_mut().enumerate() {
                    *place = first + i * step;
                }
            }
            outputs.extend((from..to).map(|x| line.output + x * row.output_step));
            at += to - from;
        }
        let mut tiles = Vec::with_capacity(count.div_ceil(plan.sizes[0].pixels) + 4);
        let mut pointers = Vec::with_capacity(count + MAX_PIXELS);
        let mut outs = Vec::with_capacity(count + MAX_PIXELS);
        let mut first = 0;
        while first < count {
            let left = count - first;
            let size = plan.sizes.iter().rposition(|s| s.pixels >= left).unwrap_or(0);
            let rows = plan.sizes[size].pixels;
            let here = first..first + left.min(rows);
            let plain = inputs[here.clone()].iter().all(|&i| i != BORDER);
            tiles.push(TileAt {
                first,
                count: here.len(),
                size,
                pointers: pointers.len(),
                rows: outs.len(),
                plain,
            });
            // Pixels that fill up a tile repeat the last one: they compute and write the same.
            outs.extend(outputs[here.clone()].iter().map(|&pixel| row_of(pixel)));
            outs.resize(outs.len() + rows - here.len(), outs[outs.len() - 1]);
            if plain {
                // All taps of these pixels lie in the picture, which `x` holds (`Pixels::check`).
                let places = inputs[here.clone()].iter();
                pointers.extend(places.map(|&i| x.data.as_ptr().wrapping_add(i)));
                let last = pointers[pointers.len() - 1];
                pointers.resize(pointers.len() + rows - here.len(), last);
            } else {
                border(
                    plan,
                    channel,
                    pixels.start + first,
                    here.len(),
                    rows,
                    &mut pointers,
                );
            }
            first = here.end;
        }
        Walk {
            tiles,
            pointers,
            rows: outs,
            outputs,
        }
    }
}

/// A row of `rows` pointers per tap for `count` pixels of a phase from `first` on; the last pixel is repeated.
fn border(
    plan: &Plan<'_>,
    channel: usize,
    first: usize,
    count: usize,
    rows: usize,
    pointers: &mut Vec<*const f32>,
) {
    let Plan {
        geometry,
        phase,
        row,
        x,
        ..
    } = plan;
    let start = pointers.len();
    pointers.resize(start + phase.taps.len() * rows, plan.outside.as_ptr());
    let mut m = 0;
    while m < count {
        // Pixels of one line have their taps in the same input lines: of volumes there are nine.
        let (line, from) = ((first + m) / row.width, (first + m) % row.width);
        let (line, run) = (geometry.line(phase, line), (row.width - from).min(count - m));
        for t in 0..phase.taps.len() {
            let Some(base) = geometry.input_line(phase, line, t) else {
                continue;
            };
            for (k, place) in pointers[start + t * rows + m..][..run].iter_mut().enumerate() {
                if let Some(i) = geometry.input_x(phase, from + k, t) {
                    *place = x.data[(base + i) * x.stride + channel..].as_ptr();
                }
            }
        }
        m += run;
    }
    for tap in pointers[start..].chunks_exact_mut(rows) {
        let last = tap[count - 1];
        tap[count..].fill(last);
    }
}
