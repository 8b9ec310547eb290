//! YOLO's text files.

use std::fmt::Write;

use tasks::detect::Object;

use super::json;

/// The label file of one picture: `class cx cy w h`, each 0…1 of the picture. The format has no word for difficult,
/// crowd or ignored objects: they are written like the others.
pub fn yolo_txt((width, height): (usize, usize), objects: &[Object]) -> String {
    let mut out = String::new();
    let (w, h) = (width as f64, height as f64);
    for o in objects.iter().filter(|o| o.bbox.is_finite()) {
        let b = o.bbox;
        let (cx, cy) = ((b.x1 + b.x2) / 2.0 / w, (b.y1 + b.y2) / 2.0 / h);
        writeln!(out, "{} {cx} {cy} {} {}", o.class, b.width() / w, b.height() / h)
            .expect("writing to a String does not fail");
    }
    out
}

/// The data file: where each split is, relative to the file, and the class names.
pub fn yolo_yaml(splits: &[(&str, &str)], class_names: &[String]) -> String {
    // Strings in double quotes, as JSON writes them, are YAML too.
    let mut out = String::from("path: .\n");
    for (split, folder) in splits {
        out.push_str(&format!("{split}: {}\n", json(folder)));
    }
    out.push_str("names:\n");
    for (k, name) in class_names.iter().enumerate() {
        out.push_str(&format!("  {k}: {}\n", json(name)));
    }
    out
}
