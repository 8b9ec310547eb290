//! Names from files on their way to a terminal or a table.

use std::borrow::Cow;

/// Text with control characters escaped: no name can move a cursor, colour a line or fake one.
///
/// ```
/// assert_eq!(lowbit::text::printable("conv\u{1b}[2J\nok: 日本"), "conv\\u{1b}[2J\\nok: 日本");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if hostile(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// JSON text in which such characters are escaped: they stand in strings only, but for the ends of lines.
///
/// ```
/// assert_eq!(lowbit::text::tame_json("{\n\"\u{9b}31m\": 1}"), "{\n\"\\u009b31m\": 1}");
/// ```
pub fn tame_json(json: &str) -> Cow<'_, str> {
    if !json.contains(|c| c != '\n' && hostile(c)) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if c != '\n' && hostile(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Control characters, and bidirectional overrides, which reorder what a reader sees (CVE-2021-42574).
fn hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A path in JSON, which holds Unicode only: other bytes become U+FFFD rather than an error. For `serialize_with`.
///
/// # Errors
/// The serializer's own.
pub fn path<S: serde::Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The same for several.
pub(crate) fn paths<S: serde::Serializer>(
    paths: &[std::path::PathBuf],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|p| p.to_string_lossy()))
}

/// A name shortened in the middle to at most `width` characters, control characters escaped.
pub fn shortened(text: &str, width: usize) -> String {
    let text = printable(text);
    let count = text.chars().count();
    if count <= width || width < 3 {
        return text.into_owned();
    }
    let head = (width - 1) / 2;
    let tail = width - 1 - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}…{end}")
}

/// Columns padded to equal width; the first is left-aligned, the others right-aligned.
///
/// ```
/// let table = lowbit::text::table(&["layer", "ms"], &[vec!["a".into(), "12.0".into()]]);
/// assert_eq!(table, "layer    ms\na      12.0\n");
/// ```
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = header.len();
    let mut width: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (w, cell) in width.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &[&str]| {
        let mut text = String::new();
        for (i, cell) in cells.iter().enumerate().take(columns) {
            let pad = " ".repeat(width[i] - cell.chars().count());
            if i > 0 {
                text.push_str("  ");
            }
            match i {
                0 => text.extend([*cell, &pad]),
                _ => text.extend([&pad, *cell]),
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(header);
    for row in rows {
        line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    out
}

/// A number of bytes with a binary unit.
///
/// ```
/// assert_eq!(lowbit::text::bytes(3 << 20), "3.00 MiB");
/// ```
pub fn bytes(n: usize) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{n} B")
    } else {
        format!("{value:.2} {}", UNITS[unit])
    }
}

/// A number with its SI prefix: MACs, parameters, operations.
///
/// ```
/// assert_eq!(lowbit::text::count(1_234_000), "1.23 M");
/// ```
pub fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.2} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", n as f64 / 1e6),
        _ => format!("{:.2} G", n as f64 / 1e9),
    }
}

/// A number with what is counted, in the singular where it is one: the noun is given as such.
///
/// ```
/// assert_eq!(lowbit::text::counted(1, "picture"), "1 picture");
/// assert_eq!(lowbit::text::counted(0, "box"), "0 boxes");
/// ```
pub fn counted(n: usize, noun: &str) -> String {
    let ending = match noun {
        _ if n == 1 => "",
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") || noun.ends_with("sh") => "es",
        _ => "s",
    };
    format!("{n} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_all_else_plural() {
        let one = ["picture", "box", "class", "layer"].map(|noun| counted(1, noun));
        assert_eq!(one, ["1 picture", "1 box", "1 class", "1 layer"]);
        let two = ["picture", "box", "class", "patch"].map(|noun| counted(2, noun));
        assert_eq!(two, ["2 pictures", "2 boxes", "2 classes", "2 patches"]);
        assert_eq!(counted(0, "layer"), "0 layers");
        assert_eq!(counted(21, "calibration picture"), "21 calibration pictures");
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shortened("/model/backbone/stage1/conv", 11), "/mode…/conv");
        assert_eq!(shortened("short", 11), "short");
        assert!(shortened("a\u{202e}b", 40).contains("\\u{202e}"));
    }
}
