//! PASCAL VOC's XML.

use std::fmt::Write;

use tasks::detect::{Object, Status};

use super::class_name;

/// The XML file of one picture. Corners are continuous coordinates; VOC's `xmin` and `ymin` count from 1, so they are
/// written one higher, with fractions where there are any. `difficult` and crowd objects become difficult.
pub fn voc_xml(
    file_name: &str,
    (width, height): (usize, usize),
    objects: &[Object],
    class_names: &[String],
) -> String {
    let mut out = format!(
        "<annotation>\n <filename>{}</filename>\n <size><width>{width}</width><height>{height}</height>\
         <depth>3</depth></size>\n",
        escaped(file_name)
    );
    for o in objects.iter().filter(|o| o.bbox.is_finite()) {
        let b = o.bbox;
        let difficult = u8::from(o.status != Status::Counted);
        writeln!(
            out,
            " <object><name>{}</name><difficult>{difficult}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>\
             <xmax>{}</xmax><ymax>{}</ymax></bndbox></object>",
            escaped(&class_name(class_names, o.class)),
            b.x1 + 1.0,
            b.y1 + 1.0,
            b.x2,
            b.y2
        )
        .expect("writing to a String does not fail");
    }
    out.push_str("</annotation>\n");
    out
}

/// Character data: markup as entities, line ends and tabs as references, characters that XML cannot hold as U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}' => out.push_str(&format!("&#{};", u32::from(c))),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
