//! Between f32 and codes (`FORMAT.md` 1.12).

use crate::int::registry::{Entry, KernelOp, choose};
use crate::int::rule::{Edge, quantize_one};
use crate::{Isa, Pool, split};

/// Most channels of [`quantize_planes`].
pub const PLANES: usize = 4;

/// Real values to codes.
pub fn quantize(pool: &Pool, isa: Isa, edge: Edge, x: &[f32], y: &mut [u8]) {
    quantize_planes(pool, isa, edge, [1, 1, x.len()], x, y);
}

/// Real `[batch, channels, pixels]`, of 1 to [`PLANES`] channels, to codes `[batch, pixels, channels]`: a picture as networks take it.
pub fn quantize_planes(
    pool: &Pool,
    isa: Isa,
    edge: Edge,
    [batch, channels, pixels]: [usize; 3],
    x: &[f32],
    y: &mut [u8],
) {
    assert!((1..=PLANES).contains(&channels), "quantize: 1 to 4 channels");
    assert_eq!(x.len(), batch * channels * pixels, "quantize: input length");
    assert_eq!(x.len(), y.len(), "quantize: input and output lengths");
    let row = row(isa);
    if y.is_empty() {
        return;
    }
    for (x, y) in x
        .chunks_exact(channels * pixels)
        .zip(y.chunks_exact_mut(channels * pixels))
    {
        split::chunks(pool, y, channels, 1 << 14, |start, part| {
            let (first, count) = (start / channels, part.len() / channels);
            let planes: [&[f32]; PLANES] =
                std::array::from_fn(|c| &x[c.min(channels - 1) * pixels + first..][..count]);
            // SAFETY: `choose` gives only rows that this CPU runs; all planes have as many pixels as the part.
            unsafe { row(edge, &planes[..channels], part) }
        });
    }
}

/// The quantizing row of an instruction set.
pub(crate) fn row(isa: Isa) -> unsafe fn(Edge, &[&[f32]], &mut [u8]) {
    match choose(KernelOp::Quantize, isa).entry {
        Entry::Quantize(row) => row,
        _ => unreachable!("a Quantize row holds a Quantize kernel"),
    }
}

/// Codes to real values.
pub fn dequantize(pool: &Pool, isa: Isa, edge: Edge, x: &[u8], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "dequantize: input and output lengths");
    let Entry::Dequantize(row) = choose(KernelOp::Dequantize, isa).entry else {
        unreachable!("a Dequantize row holds a Dequantize kernel")
    };
    split::chunks(pool, y, 1, 1 << 14, |start, part| {
        // SAFETY: as above.
        unsafe { row(edge, &x[start..start + part.len()], part) }
    });
}

pub(crate) fn quantize_scalar(edge: Edge, planes: &[&[f32]], y: &mut [u8]) {
    for (p, y) in y.chunks_exact_mut(planes.len()).enumerate() {
        for (q, plane) in y.iter_mut().zip(planes) {
            *q = quantize_one(edge, plane[p]);
        }
    }
}

pub(crate) fn dequantize_scalar(edge: Edge, x: &[u8], y: &mut [f32]) {
    for (v, &q) in y.iter_mut().zip(x) {
        *v = edge.scale * (i16::from(q) - i16::from(edge.zero)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ties, ends, infinities and NaN in every lane, against the scalar row.
    #[test]
    fn every_instruction_set_quantizes_alike() {
        let pool = Pool::new(1);
        for edge in [
            Edge {
                scale: 0.5,
                zero: 7,
                hi: 15,
            },
            Edge {
                scale: 0.003_921_569,
                zero: 0,
                hi: 255,
            },
            Edge {
                scale: 1e-30,
                zero: 255,
                hi: 255,
            },
            Edge {
                scale: 3e38,
                zero: 128,
                hi: 254,
            },
        ] {
            let mut x = vec![
                f32::NAN,
                -f32::NAN,
                1.25,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::MAX,
                f32::MIN,
                -0.0,
            ];
            x.extend((-600..600).map(|i| i as f32 * 0.25 * edge.scale));
            x.extend((-600..600).map(|i| f32::from_bits((i as f32 * 0.5 * edge.scale).to_bits() + 1)));
            for shift in 0..9 {
                let x = &x[shift..];
                let (mut want, mut back) = (vec![0; x.len()], vec![0.0; x.len()]);
                quantize_scalar(edge, &[x], &mut want);
                dequantize_scalar(edge, &want, &mut back);
                for isa in Isa::usable() {
                    let (mut got, mut real) = (vec![1; x.len()], vec![1.0; x.len()]);
                    quantize(&pool, isa, edge, x, &mut got);
                    assert_eq!(got, want, "{edge:?} on {}", isa.name());
                    dequantize(&pool, isa, edge, &got, &mut real);
                    assert_eq!(real, back, "{edge:?} on {}", isa.name());
                    for channels in 2..=PLANES {
                        let pixels = x.len() / channels;
                        let x = &x[..channels * pixels];
                        quantize_planes(&pool, isa, edge, [1, channels, pixels], x, &mut got[..x.len()]);
                        for (i, &q) in got[..x.len()].iter().enumerate() {
                            let at = i % channels * pixels + i / channels;
                            assert_eq!(q, want[at], "{edge:?} on {}, {channels} channels", isa.name());
                        }
                    }
                }
                if edge.hi == 15 && shift == 0 {
                    assert_eq!(&want[..5], [7, 7, 9, 15, 0]);
                }
            }
        }
    }
}
