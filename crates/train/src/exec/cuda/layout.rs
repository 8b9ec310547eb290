//! Where everything of a program lies in the device's one memory.

use kernels::cuda::{Lists, MOST_ELEMENTS, Memory, Span};

use crate::exec::ExecError;
use crate::program::{Instr, Place, Program, SlotKind};

/// f32 of a cache line.
const LINE: usize = 16;

/// The arena, then constants, parameters (those with a gradient first), gradients, and the scratch memory that instructions share.
#[derive(Debug)]
pub(super) struct Layout {
    /// By slot; empty where nothing reads or writes it.
    pub(super) slots: Vec<Span>,
    pub(super) parameters: Span,
    pub(super) gradients: Span,
    pub(super) scratch: Span,
    /// All of it.
    pub(super) words: usize,
    /// Index of the instruction's lists, where it has some.
    pub(super) lists_of: Vec<usize>,
}

impl Layout {
    /// The layout, and the lists that instructions read.
    pub(super) fn new(program: &Program) -> Result<(Layout, Vec<Lists>), ExecError> {
        if let Some(slot) = program.slots.iter().find(|s| s.len > MOST_ELEMENTS) {
            let what = format!(
                "value \"{}\" has {} elements, the CUDA kernels count to {MOST_ELEMENTS}: take a smaller batch",
                slot.name, slot.len
            );
            return Err(ExecError::Device { what });
        }
        if program
            .instructions()
            .any(|i| matches!(i, Instr::IntegrateFire { .. }))
        {
            let what = "spiking neurons have no CUDA kernel: train them with device = \"cpu\"".to_string();
            return Err(ExecError::Device { what });
        }
        let mut words = program.arena.next_multiple_of(LINE);
        let mut slots: Vec<Span> = (program.places.iter())
            .map(|place| match place {
                Place::Arena(range) => Span::new(range.start, range.len()),
                _ => Span::new(0, 0),
            })
            .collect();
        let mut held = |wanted: &dyn Fn(&SlotKind) -> bool| {
            let start = words;
            for (slot, span) in program.slots.iter().zip(&mut slots) {
                if wanted(&slot.kind) {
                    *span = Span::new(words, slot.len);
                    words += slot.len.next_multiple_of(LINE);
                }
            }
            Span::new(start, words - start)
        };
        let trained = |i: &usize| program.parameters()[*i].kind.has_gradient();
        held(&|kind| matches!(kind, SlotKind::Constant(_)));
        // The trained ones are set in every step, side by side in one copy.
        let first = held(&|kind| matches!(kind, SlotKind::Parameter(i) if trained(i)));
        let others = held(&|kind| matches!(kind, SlotKind::Parameter(i) if !trained(i)));
        let gradients = held(&|kind| matches!(kind, SlotKind::Gradient(_)));
        let scratch = program
            .instructions()
            .map(|i| scratch(program, i))
            .max()
            .unwrap_or(0);
        let scratch = Span::new(words, scratch);
        let (mut lists, mut lists_of) = (Vec::new(), Vec::new());
        for instruction in program.instructions() {
            lists_of.push(lists.len());
            lists.extend(lists_for(instruction));
        }
        let layout = Layout {
            slots,
            parameters: Span::new(first.start, first.len + others.len),
            gradients,
            scratch,
            words: scratch.start + scratch.len,
            lists_of,
        };
        Ok((layout, lists))
    }
}

/// Words of scratch memory that an instruction takes.
fn scratch(program: &Program, instruction: &Instr) -> usize {
    let len = |s: &crate::program::Slot| program.slots[s.index()].len;
    match instruction {
        Instr::Conv { shape, .. } => Memory::convolve_scratch(shape),
        Instr::ConvWeightGradient { shape, .. } => Memory::weight_gradient_scratch(shape),
        Instr::ChannelSum { dy, db } => Memory::sums_scratch(len(dy) / len(db).max(1), len(db)),
        Instr::BatchNorm { op, .. } | Instr::BatchNormBackward { op, .. } => {
            Memory::sums_scratch(op.pixels, op.channels)
        }
        Instr::MaxPoolBackward { y, .. } => len(y),
        Instr::FakeQuantizeBackward { x, .. } => Memory::fake_quantize_scratch(len(x)),
        _ => 0,
    }
}

fn lists_for(instruction: &Instr) -> Option<Lists> {
    let [forward, backward] = match instruction {
        Instr::Gather { op, .. } | Instr::GatherBackward { op, .. } => Lists::gather(op),
        Instr::ResizeLinear { op, .. } | Instr::ResizeLinearBackward { op, .. } => Lists::resize_linear(op),
        _ => return None,
    };
    match instruction {
        Instr::Gather { .. } | Instr::ResizeLinear { .. } => Some(forward),
        _ => Some(backward),
    }
}
