//! Quantization in any amount of memory: what is beyond it goes through the correction's temporary file, and comes back as it was.
//!
//! The bytes choose the grid, the pictures and the limit; the file must be that of unlimited memory, or the limit is named.

use std::sync::LazyLock;

use lowbit::{Choice, Control, ErrorKind, Form, LoadOptions, Model, Picture, QuantizeOptions};

pub const WORDS: &[&str] = &[];

const MODEL: &[u8] = include_bytes!("../../crates/graph/tests/models/torchscript_yolov8.onnx");
const GRIDS: [&str; 6] = ["int8", "int4", "lbw4", "lbw2", "apot4", "affine3"];

/// The small detector, with the head that its shapes suggest.
static DETECTOR: LazyLock<Model> = LazyLock::new(|| {
    let open = |head| {
        let options = LoadOptions {
            head,
            ..LoadOptions::default()
        };
        Model::from_bytes(MODEL, &options).expect("the small detector loads")
    };
    let template = open(None).guess().template.clone();
    let folder = super::folder("spill", &[("head.json", template.as_bytes())]);
    open(Some(folder.join("head.json")))
});

pub fn target(bytes: &[u8]) {
    let [grid, count, limit @ .., side] = bytes.first_chunk::<5>().copied().unwrap_or([1, 2, 30, 3, 40]);
    let (count, side) = (1 + usize::from(count % 4), 8 + usize::from(side) % 90);
    let mut names = Vec::new();
    for k in 0..count {
        let pixel = |i: usize| bytes.get((i + 7 * k) % bytes.len().max(1)).copied().unwrap_or(9);
        let rgb = (0..side * side * 3)
            .map(|i| pixel(i).wrapping_mul(i as u8 | 1))
            .collect();
        let picture = Picture::new(side, side, rgb).expect("its length fits");
        let png = lowbit::encode_png(&picture).expect("a picture");
        let name = format!("{k}.png");
        names.push(super::folder("spill", &[(&name, &png)]).join(name));
    }
    let grid = GRIDS[usize::from(grid) % GRIDS.len()].parse().expect("a grid");
    let mut options = QuantizeOptions::new(Choice::Grid(grid), names);
    options.threads = 1;
    let want = quantized(&options).expect("memory is not limited");
    options.control = Control::default().with_memory(usize::from(u16::from_le_bytes(limit)) << 10);
    match quantized(&options) {
        Ok(have) => assert!(have == want, "the file depends on the limit of memory"),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Limit, "{e}"),
    }
}

fn quantized(options: &QuantizeOptions) -> lowbit::Result<Vec<u8>> {
    lowbit::quantize(&DETECTOR, options, &mut |_: &str, _, _| {})?
        .model
        .to_onnx(Form::Packed)
}
