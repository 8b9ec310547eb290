//! Detections as a table.

use std::fmt::Write;

use tasks::detect::Detection;

use super::class_name;

/// One line for each detection: `picture,class,score,x1,y1,x2,y2`, corners in pixels of the picture.
///
/// Names are quoted where they hold a comma or a quotation mark; control characters become `\n`, `\t`, `\x1b` …, and a
/// name that a spreadsheet would take for a formula (it begins with `=`, `+`, `-` or `@`) gets an apostrophe in front.
pub fn csv<'a>(
    pictures: impl IntoIterator<Item = (&'a str, &'a [Detection])>,
    class_names: &[String],
) -> String {
    let mut out = String::from("picture,class,score,x1,y1,x2,y2\n");
    for (picture, detections) in pictures {
        let picture = field(picture);
        for d in detections {
            let b = d.bbox;
            let class = field(&class_name(class_names, d.class));
            let row = writeln!(
                out,
                "{picture},{class},{},{},{},{},{}",
                d.score, b.x1, b.y1, b.x2, b.y2
            );
            row.expect("writing to a String does not fail");
        }
    }
    out
}

fn field(text: &str) -> String {
    let mut out = String::new();
    if text
        .trim_start()
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
    {
        out.push('\'');
    }
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            '"' => out.push_str("\"\""),
            c => out.push(c),
        }
    }
    if text.contains([',', '"', ';']) || text.trim() != text {
        out = format!("\"{out}\"");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_neither_formulas_nor_control_codes_nor_two_fields() {
        assert_eq!(field("dog"), "dog");
        assert_eq!(field("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(field("-1"), "'-1");
        assert_eq!(field("@x, y"), "\"'@x, y\"");
        assert_eq!(field("a\"b"), "\"a\"\"b\"");
        assert_eq!(field("a\nb\x1b[31m\u{9b}m"), "a\\nb\\x1b[31m\\x9bm");
        assert_eq!(field("\t=1"), "\"'\\t=1\"");
    }
}
