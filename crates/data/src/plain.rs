//! Text of untrusted files made fit for a terminal.

use std::fmt::Display;

/// The text with every control character (also of C1, which some terminals obey) as `\u{1b}`, at most `most`
/// characters of it.
pub(crate) fn plain(text: impl Display, most: usize) -> String {
    let text = text.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars().take(most) {
        match c {
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}
