//! A walk over the markers of a JPEG file. The decoder fills missing data with grey, as libjpeg does, and a box on grey
//! is a wrong box: a file that ends before its end marker is refused here.

use super::{Fault, PictureError};

/// Whether the file has its end marker where the segments say it should be.
///
/// # Errors
/// [`Fault::Truncated`] when the data end inside a segment or a scan, [`Fault::Broken`] when a marker is expected and
/// something else stands there.
pub(super) fn check(bytes: &[u8]) -> Result<(), PictureError> {
    let cut = |what: &str| PictureError::from(Fault::Truncated(format!("the JPEG data end inside {what}")));
    let mut at = 2;
    let mut scans = 0;
    loop {
        let marker = loop {
            match bytes.get(at..at + 2) {
                None => return Err(cut(if scans > 0 { "a scan" } else { "the header" })),
                // Any number of fill bytes may stand before a marker.
                Some([0xff, 0xff]) => at += 1,
                Some([0xff, m]) => break *m,
                // Garbage between segments: decoders skip it, and so does this walk.
                Some(_) => at += 1,
            }
        };
        at += 2;
        match marker {
            0xd9 if scans > 0 => return Ok(()),
            0xd9 => return Err(Fault::Broken("a JPEG without a scan".into()).into()),
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else {
            return Err(cut("a segment"));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(Fault::Broken(format!("a JPEG segment of length {length} at byte {at}")).into());
        }
        at += length;
        if at > bytes.len() {
            return Err(cut("a segment"));
        }
        if marker == 0xda {
            scans += 1;
            at = end_of_scan(bytes, at).ok_or_else(|| cut("a scan"))?;
        }
    }
}

/// Position of the first marker after entropy-coded data: 0xff followed by neither 0 (a stuffed byte), a restart
/// marker nor another fill byte.
fn end_of_scan(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        match bytes.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}
