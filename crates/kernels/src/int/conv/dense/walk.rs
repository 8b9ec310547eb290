//! Which pixels the tiles of a phase read and write.

use std::ops::Range;

use super::reader::Reader;
use super::{Dense, MAX_PIXELS, Scratch};
use crate::geometry::{Geometry, Phase};

/// Makes the pointers of tiles in one phase.
pub(super) struct Walk<'a> {
    /// Index of the phase, and the phase.
    pub(super) number: usize,
    pub(super) phase: &'a Phase,
    reader: &'a Reader<'a>,
    /// A pixel outside of the picture.
    outside: &'a [u8],
    /// Byte shift of each tap where all are inside; and as many zeros.
    pub(super) shifts: Vec<isize>,
    pub(super) zeros: Vec<isize>,
    /// Tap with the largest shift: it decides whether reads stay in the picture.
    furthest: isize,
    pub(super) tap_weights: Vec<usize>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        geometry: &'a Geometry,
        number: usize,
        reader: &'a Reader<'a>,
        dense: &'a Dense,
    ) -> Walk<'a> {
        let phase = &geometry.phases[number];
        let pixels: Vec<isize> = (0..phase.taps.len()).map(|t| geometry.shift(phase, t)).collect();
        Walk {
            number,
            phase,
            reader,
            outside: &dense.outside,
            furthest: pixels.iter().copied().max().unwrap_or(0),
            shifts: pixels.iter().map(|&p| p * reader.stride() as isize).collect(),
            zeros: vec![0; pixels.len()],
            tap_weights: phase.taps.iter().map(|&t| t * dense.quads * 64).collect(),
        }
    }

    /// Pointers and output pixels of `pixels`; the further pixels of a tile of `size` repeat the last.
    pub(super) fn tile(
        &self,
        geometry: &Geometry,
        group: usize,
        pixels: Range<usize>,
        size: usize,
        scratch: &mut Scratch,
    ) {
        let s = &geometry.shape;
        let channel = group * (s.in_channels / s.groups);
        let mut place = self.phase.place(pixels.start);
        let mut places = [place; MAX_PIXELS];
        let mut plain = !self.phase.taps.is_empty();
        for (m, slot) in places[..size].iter_mut().enumerate() {
            if m > 0 && m < pixels.len() {
                self.phase.advance(&mut place);
            }
            *slot = place;
            scratch.outputs[m] = geometry.output(self.phase, place);
            plain = plain && geometry.inside(self.phase, place);
            if plain && let Some(first) = geometry.input(self.phase, place, 0) {
                plain = self
                    .reader
                    .whole(first.saturating_add_signed(self.furthest), channel);
                scratch.pointers[m] = self.reader.at(first, channel);
            }
        }
        scratch.pointer_step = if plain { 0 } else { size };
        if !plain {
            for t in 0..self.phase.taps.len() {
                for (m, place) in places[..size].iter().enumerate() {
                    scratch.pointers[t * size + m] = match geometry.input(self.phase, *place, t) {
                        Some(pixel) => self.reader.at(pixel, channel),
                        None => self.outside.as_ptr(),
                    };
                }
            }
        }
    }
}
