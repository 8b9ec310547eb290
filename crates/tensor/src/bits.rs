//! Bit packing of codes: code `i` occupies bits `i·b … i·b+b−1` of one little-endian bit stream.
//!
//! For b = 8 this is one byte a code, for b = 4 and b = 2 it equals ONNX's INT4 and INT2 layout. N codes take
//! exactly ⌈N·b/8⌉ bytes; the unused high bits of the last byte are zero.

/// Bytes that `count` codes of `bits` bits occupy, or `None` on overflow.
pub fn packed_len(count: usize, bits: u32) -> Option<usize> {
    Some(count.checked_mul(bits as usize)?.div_ceil(8))
}

/// Packs the low `bits` bits (1…8) of every code.
///
/// ```
/// assert_eq!(tensor::bits::pack(&[1, 2, 3, 4, 5], 3), vec![0b1101_0001, 0b0101_1000]);
/// ```
pub fn pack(codes: &[u8], bits: u32) -> Vec<u8> {
    assert!((1..=8).contains(&bits), "codes have 1 to 8 bits, not {bits}");
    let mut out = Vec::with_capacity((codes.len() * bits as usize).div_ceil(8));
    let (mut word, mut held) = (0u32, 0u32);
    for &code in codes {
        word |= (u32::from(code) & ((1 << bits) - 1)) << held;
        held += bits;
        while held >= 8 {
            out.push(word as u8);
            word >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(word as u8);
    }
    out
}

/// Reads `count` codes back; `None` unless `bytes` has exactly the length of [`packed_len`] and zero padding.
pub fn unpack(bytes: &[u8], count: usize, bits: u32) -> Option<Vec<u8>> {
    if !(1..=8).contains(&bits) || packed_len(count, bits)? != bytes.len() {
        return None;
    }
    if bits == 8 {
        return Some(bytes.to_vec());
    }
    let mut out = Vec::with_capacity(count);
    let (mut word, mut held) = (0u32, 0u32);
    let mut next = bytes.iter();
    for _ in 0..count {
        while held < bits {
            word |= u32::from(*next.next()?) << held;
            held += 8;
        }
        out.push((word & ((1 << bits) - 1)) as u8);
        word >>= bits;
        held -= bits;
    }
    (word == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_tail_comes_back() {
        for bits in 1..=8 {
            for count in 0..40 {
                let codes: Vec<u8> = (0..count).map(|i| (i * 37 % (1 << bits)) as u8).collect();
                let packed = pack(&codes, bits);
                assert_eq!(packed.len(), (count * bits as usize).div_ceil(8));
                assert_eq!(unpack(&packed, count, bits), Some(codes));
            }
        }
    }

    #[test]
    fn wrong_length_and_dirty_padding_are_refused() {
        assert_eq!(unpack(&[0, 0], 3, 2), None);
        assert_eq!(unpack(&[0b0100_0000], 3, 2), None);
    }
}
