//! A walk over the chunks of a WebP file. Its decoder calls a cut file corrupt, and would reserve what a chunk says it
//! holds.

use super::{Fault, PictureError};

/// Whether the file and every chunk have the bytes they state.
///
/// # Errors
/// [`Fault::Truncated`].
pub(super) fn check(bytes: &[u8]) -> Result<(), PictureError> {
    let word = |at: usize| {
        let four = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(four.try_into().ok()?) as usize)
    };
    let cut = |what: &str, stated: usize| {
        let what = format!("{what} should have {stated} bytes, the file has {}", bytes.len());
        Err(Fault::Truncated(what).into())
    };
    let stated = word(4).unwrap_or(usize::MAX).saturating_add(8);
    if stated > bytes.len() {
        return cut("the WebP file", stated);
    }
    let mut at = 12;
    while let Some(length) = word(at + 4) {
        let end = at.saturating_add(8).saturating_add(length);
        if end > bytes.len() {
            return cut("a WebP chunk", length);
        }
        // Chunks begin at even positions.
        at = end.next_multiple_of(2);
    }
    Ok(())
}
