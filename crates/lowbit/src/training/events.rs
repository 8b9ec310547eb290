//! TensorBoard's event file: the scalars of results.csv.
//!
//! A file is a row of records (TFRecord): length as u64, masked CRC-32C of those 8 bytes, the record, its masked CRC-32C; all little-endian. A
//! record is a protobuf message `Event`: 1 wall time (f64), 2 step, 3 version of the file (the first record alone), 5 summary { 1 value { 1 tag,
//! 2 number (f32) } }. The wall time is the step, in seconds: the file depends on the run alone, as all files of a run do.

use super::table::Table;

/// The whole file.
pub(super) fn file(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    let mut first = Vec::new();
    double(&mut first, 1, 0.0);
    bytes(&mut first, 3, b"brain.Event:2");
    record(&mut out, &first);
    for (tag, points) in table.series() {
        for (step, value) in points {
            record(&mut out, &scalar(&tag, step, value as f32));
        }
    }
    out
}

fn scalar(tag: &str, step: u64, value: f32) -> Vec<u8> {
    let (mut number, mut summary, mut event) = (Vec::new(), Vec::new(), Vec::new());
    bytes(&mut number, 1, tag.as_bytes());
    number.push(2 << 3 | 5);
    number.extend(value.to_le_bytes());
    bytes(&mut summary, 1, &number);
    double(&mut event, 1, step as f64);
    event.push(2 << 3);
    varint(&mut event, step);
    bytes(&mut event, 5, &summary);
    event
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of wire type 1.
fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field << 3 | 1);
    out.extend(value.to_le_bytes());
}

/// A field of wire type 2.
fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn record(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend_from_slice(data);
    out.extend(masked(crc32c(data)).to_le_bytes());
}

/// TFRecord's mask: a checksum of data that holds checksums is a weak one.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Castagnoli's polynomial, reflected.
fn crc32c(data: &[u8]) -> u32 {
    let bit = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
    !data
        .iter()
        .fold(!0, |crc, &b| (0..8).fold(crc ^ u32::from(b), bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4.
    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    /// Read by a program of its own: tools/goldens/events.py.
    #[test]
    fn another_program_reads_the_file() {
        let Some(python) = testing::python("another_program_reads_the_file") else {
            return;
        };
        let text =
            "step,rate,norm,box,class,score\n0,,,,,0.25\n200,1e-2,3.5,1.5,2.0,\n40000,5e-3,2,1,1,0.5\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.0.lowbit");
        std::fs::write(&path, file(&Table::parse(text))).unwrap();
        let said = testing::run_script(&python, "tools/goldens/events.py", &[&path]);
        let want = "loss 200 3.5\nloss 40000 2.0\nloss/box 200 1.5\nloss/box 40000 1.0\nloss/class 200 2.0\nloss/class 40000 1.0\n\
                    norm 200 3.5\nnorm 40000 2.0\nrate 200 0.009999999776482582\nrate 40000 0.004999999888241291\nscore 0 0.25\nscore 40000 0.5\n";
        assert_eq!(said, want);
    }
}
