//! One picture file.

use data::picture::{Limits, decode};

#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "\u{89}PNG\r\n", "IHDR", "IDAT", "PLTE", "tRNS", "acTL", "fcTL", "Exif\0\0", "MM\0*", "II*\0", "RIFF", "WEBP", "VP8 ", "VP8L", "VP8X",
    "ANIM", "ANMF", "ALPH", "BM", "JFIF", "Adobe",
];

pub fn target(bytes: &[u8]) {
    let limits = Limits {
        pixels: 1 << 20,
        memory: 32 << 20,
        file_bytes: 1 << 20,
    };
    if let Ok(picture) = decode(bytes, &limits) {
        let pixels = picture.width() * picture.height();
        assert!(pixels > 0 && pixels <= 1 << 20, "{pixels} pixels");
        assert_eq!(picture.rgb().len(), 3 * pixels);
    }
}
