//! The steps of `FORMAT.md` part 1 on single numbers.

use graph::EdgeQuantizer;

/// Largest |acc| · m that 1.13 admits: 2³¹ − 1024.
const REACH: f64 = 2_147_482_624.0;

/// 1.2.
pub(super) fn requantize(acc: i64, m: f32, to: EdgeQuantizer) -> u8 {
    let f = acc as f32;
    code(f * m, to)
}

/// The end of 1.2 and 1.6: from a scaled sum to a code.
pub(super) fn code(p: f32, to: EdgeQuantizer) -> u8 {
    let r = i64::from(p.round_ties_even() as i32).clamp(-32_768, 32_767);
    saturated(r + i64::from(to.zero_point), to)
}

/// clamp(v, 0, hi).
fn saturated(v: i64, to: EdgeQuantizer) -> u8 {
    // In 0 … 255 after the clamp.
    v.clamp(0, i64::from(to.max_code())) as u8
}

/// 1.12, float to code.
pub(super) fn quantize(x: f32, to: EdgeQuantizer) -> u8 {
    if x.is_nan() {
        return to.zero_point;
    }
    let r = (x / to.scale).round_ties_even() as i64;
    saturated(r.saturating_add(i64::from(to.zero_point)), to)
}

/// 1.12, code to float.
pub(super) fn dequantize(q: u8, from: EdgeQuantizer) -> f32 {
    from.scale * level(q, from) as f32
}

/// q − z.
pub(super) fn level(q: u8, from: EdgeQuantizer) -> i64 {
    i64::from(q) - i64::from(from.zero_point)
}

/// 1.5: the table of a function.
pub(super) fn table(f: &dyn Fn(f64) -> f64, from: EdgeQuantizer, to: EdgeQuantizer) -> Vec<u8> {
    let entry = |q: u8| {
        let x = f64::from(from.scale) * level(q, from) as f64;
        let r = (f(x) / f64::from(to.scale)).round_ties_even() as i32;
        saturated(i64::from(r) + i64::from(to.zero_point), to)
    };
    (0..=255).map(entry).collect()
}

/// 1.8: codes of one quantizer to another; `None` where they are the same.
pub(super) fn rescale(from: EdgeQuantizer, to: EdgeQuantizer) -> Option<Vec<u8>> {
    let m = (f64::from(from.scale) / f64::from(to.scale)) as f32;
    (from != to).then(|| (0..=255).map(|q| requantize(level(q, from), m, to)).collect())
}

/// 1.13: that a sum of at most `largest` scales into i32.
pub(super) fn prove(largest: f64, m: f32) -> Result<(), String> {
    let reach = largest * f64::from(m);
    if m.is_finite() && m >= 0.0 && reach <= REACH {
        Ok(())
    } else {
        Err(format!(
            "its scaled sums may reach {reach:.3e}, the integer rule ends at 2^31 (1.13)"
        ))
    }
}

/// 1.13 for the two terms of 1.6, whose multipliers may be negative.
pub(super) fn prove_sum(largest: [f64; 2], m: [f32; 2]) -> Result<(), String> {
    let reach = largest[0] * f64::from(m[0].abs()) + largest[1] * f64::from(m[1].abs());
    if m.iter().all(|m| m.is_finite()) && reach <= REACH {
        Ok(())
    } else {
        Err(format!(
            "its scaled sums may reach {reach:.3e}, the integer rule ends at 2^31 (1.13)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn edge(scale: f32, zero_point: u8, bits: u32) -> EdgeQuantizer {
        EdgeQuantizer {
            scale,
            zero_point,
            bits,
        }
    }

    #[test]
    fn requantize_on_paper() {
        let to = edge(1.0, 10, 8);
        // 5 · 0.5 = 2.5 rounds to 2, 7 · 0.5 = 3.5 to 4.
        assert_eq!(requantize(5, 0.5, to), 12);
        assert_eq!(requantize(7, 0.5, to), 14);
        assert_eq!(requantize(-5, 0.5, to), 8);
        // The 16-bit clamp comes before the zero point.
        assert_eq!(requantize(i64::MAX, 1.0, to), 255);
        assert_eq!(requantize(-100_000, 1.0, to), 0);
        // 2^24 + 1 is not an f32: it is rounded before the product. 8 388 608.5 would round to 8 388 608 either way.
        assert_eq!(
            requantize((1 << 24) + 1, 1.0 / (1 << 24) as f32, edge(1.0, 0, 8)),
            1
        );
        assert_eq!(requantize(200, 1.0, edge(1.0, 3, 4)), 15);
    }

    #[test]
    fn tables_on_paper() {
        // x = 0.5 · (q − 2) → relu → y / 0.25 + 1, in 3 bits.
        let t = table(&|x| x.max(0.0), edge(0.5, 2, 2), edge(0.25, 1, 3));
        assert_eq!(t[..4], [1, 1, 1, 3]);
        assert_eq!(t[255], 7);
        // 1.8 halves with ties to even: q − 0 = 1, 2, 3 → 0.5, 1, 1.5.
        assert_eq!(
            rescale(edge(1.0, 0, 8), edge(2.0, 0, 8)).unwrap()[..4],
            [0, 0, 1, 2]
        );
        assert_eq!(rescale(edge(1.0, 0, 8), edge(1.0, 0, 8)), None);
        // The same scale in fewer bits saturates.
        assert_eq!(rescale(edge(1.0, 0, 8), edge(1.0, 0, 2)).unwrap()[9], 3);
    }

    #[test]
    fn float_to_code_and_back() {
        let e = edge(0.5, 3, 4);
        assert_eq!(quantize(0.25, e), 3);
        assert_eq!(quantize(0.75, e), 5);
        assert_eq!(quantize(f32::NAN, e), 3);
        assert_eq!(quantize(f32::INFINITY, e), 15);
        assert_eq!(quantize(f32::NEG_INFINITY, e), 0);
        assert_eq!(dequantize(5, e), 1.0);
    }

    #[test]
    fn bounds_on_paper() {
        assert!(prove(2_147_482_624.0, 1.0).is_ok());
        assert!(prove(2_147_482_625.0, 1.0).is_err());
        assert!(prove(1.0, f32::INFINITY).is_err());
        assert!(prove(1.0, -1.0).is_err());
        assert!(prove(0.0, f32::NAN).is_err());
        assert!(prove_sum([255.0, 255.0], [1.0, -1.0]).is_ok());
        assert!(prove_sum([255.0, 255.0], [8_421_504.0, -8.0]).is_err());
    }
}
