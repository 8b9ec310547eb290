//! Bytes that are no picture, or pretend to be another one: an error with a reason, never a panic, never much memory.

#[allow(dead_code)]
mod common;

use common::crc32;
use data::Picture;
use data::picture::{self, Fault, Limits, decode};
use testing::SplitMix64;

/// A small picture in every format that this workspace can write, and two that it only reads.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut p = Picture::filled(40, 30, [0; 3]);
    let mut rng = SplitMix64(1);
    for v in p.rgb_mut() {
        *v = rng.next() as u8;
    }
    vec![
        ("png", picture::encode_png(&p).unwrap()),
        ("jpeg", picture::encode_jpeg(&p, 90).unwrap()),
        ("bmp", bmp(40, 30, p.rgb())),
        ("webp", include_bytes!("goldens/noise.webp").to_vec()),
        ("lossy webp", include_bytes!("goldens/smooth.webp").to_vec()),
        (
            "progressive jpeg",
            include_bytes!("goldens/progressive.jpg").to_vec(),
        ),
    ]
}

/// A 24-bit BMP file; the width is a multiple of 4.
fn bmp(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut out = b"BM".to_vec();
    let stride = width.saturating_mul(3) & !3;
    for v in [
        stride.saturating_mul(height).saturating_add(54),
        0,
        54,
        40,
        width,
        height,
        1 | 24 << 16,
        0,
        0,
        0,
        0,
        0,
        0,
    ] {
        out.extend(v.to_le_bytes());
    }
    for row in rgb.chunks(width.saturating_mul(3) as usize) {
        out.extend(row);
    }
    out
}

#[test]
fn every_cut_is_an_error_that_says_so() {
    for (name, bytes) in seeds() {
        let whole = decode(&bytes, &Limits::default()).unwrap();
        for cut in (0..bytes.len() - 1)
            .step_by(100)
            .chain([1, 2, 3, 9, bytes.len() - 2])
        {
            match decode(&bytes[..cut], &Limits::default()) {
                // PNG's last chunk holds nothing.
                Ok(p) => assert!(
                    name == "png" && p == whole,
                    "{name} cut at {cut} of {}",
                    bytes.len()
                ),
                Err(e) if cut > 60 => {
                    assert!(matches!(e.fault, Fault::Truncated(_)), "{name} cut at {cut}: {e}")
                }
                Err(_) => {}
            }
        }
    }
}

#[test]
fn headers_that_lie_about_the_size_cost_nothing() {
    let limits = Limits::default();
    let mut png = seeds()[0].1.clone();
    png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let e = decode(&png, &limits).unwrap_err();
    assert!(matches!(e.fault, Fault::Limit(_)), "{e}");
    assert!(
        e.to_string()
            .contains("65535x65535 = 4294836225 pixels are more than the limit of 67108864"),
        "{e}"
    );
    // Below the limit of pixels, but more than the bytes can hold.
    png[16..24].copy_from_slice(&[0, 0, 0x1f, 0x40, 0, 0, 0x1f, 0x40]);
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let e = decode(&png, &limits).unwrap_err();
    assert!(matches!(e.fault, Fault::Truncated(_)), "{e}");

    let mut jpeg = seeds()[1].1.clone();
    let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[sof + 5..sof + 9].copy_from_slice(&[0xff; 4]);
    assert!(matches!(
        decode(&jpeg, &limits).unwrap_err().fault,
        Fault::Limit(_)
    ));
    jpeg[sof + 5..sof + 9].copy_from_slice(&[0x1f, 0x40, 0x1f, 0x40]);
    assert!(matches!(
        decode(&jpeg, &limits).unwrap_err().fault,
        Fault::Truncated(_)
    ));
    jpeg[sof + 5..sof + 9].copy_from_slice(&[0, 0, 0, 9]);
    assert!(decode(&jpeg, &limits).is_err());

    for (w, h) in [
        (65535, 65535),
        (i32::MAX as u32, 1),
        (1, i32::MAX as u32),
        (1 << 30, 1 << 30),
    ] {
        assert!(decode(&bmp(w, h, &[]), &limits).is_err(), "{w}x{h}");
    }
    // WebP's lossless form: 14 bits of width and height right after the signature byte.
    let mut webp = include_bytes!("goldens/noise.webp").to_vec();
    assert_eq!((&webp[12..16], webp[20]), (&b"VP8L"[..], 0x2f));
    webp[21..25].copy_from_slice(&(0x3ffeu32 | 0x3ffe << 14).to_le_bytes());
    let e = decode(&webp, &limits).unwrap_err();
    assert!(matches!(e.fault, Fault::Limit(_)), "{e}");
    // A chunk that says it has 4 GB.
    webp[16..20].copy_from_slice(&[0xf0, 0xff, 0xff, 0xff]);
    let e = decode(&webp, &limits).unwrap_err();
    assert!(matches!(e.fault, Fault::Truncated(_)), "{e}");
}

#[test]
fn limits_are_what_the_caller_says() {
    let bytes = &seeds()[0].1;
    let small = Limits {
        pixels: 1199,
        ..Limits::default()
    };
    assert!(matches!(
        decode(bytes, &small).unwrap_err().fault,
        Fault::Limit(_)
    ));
    assert!(
        decode(
            bytes,
            &Limits {
                pixels: 1200,
                ..small
            }
        )
        .is_ok()
    );
    assert!(matches!(
        decode(
            bytes,
            &Limits {
                memory: 9999,
                ..Limits::default()
            }
        )
        .unwrap_err()
        .fault,
        Fault::Limit(_)
    ));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    std::fs::write(&path, bytes).unwrap();
    let e = picture::load(
        &path,
        &Limits {
            file_bytes: 50,
            ..Limits::default()
        },
    )
    .unwrap_err();
    assert!(
        matches!(e.fault, Fault::Limit(_)) && e.to_string().starts_with(path.to_str().unwrap()),
        "{e}"
    );
    assert!(matches!(
        picture::load(folder.path(), &Limits::default())
            .unwrap_err()
            .fault,
        Fault::Io(_)
    ));
}

#[test]
fn what_is_no_picture_is_named_by_its_first_bytes() {
    for (bytes, says) in [
        (&b""[..], "the file is empty"),
        (b"GIF89a", "bytes 47 49 46 38"),
        (b"\x1b[31m", "1b 5b"),
    ] {
        let e = decode(bytes, &Limits::default()).unwrap_err();
        assert!(
            matches!(e.fault, Fault::Unknown(_)) && e.to_string().contains(says),
            "{e}"
        );
    }
}

#[test]
fn mutated_pictures_never_panic() {
    let limits = Limits {
        pixels: 1 << 20,
        memory: 32 << 20,
        file_bytes: 1 << 20,
    };
    let tokens: [&[u8]; 8] = [
        &[0xff; 4],
        &[0; 8],
        b"\xff\xd9",
        b"\xff\xda\0\x0c",
        b"\xff\xc4",
        b"IDAT",
        b"VP8X",
        b"\x7f\xff\xff\xff",
    ];
    let mut good = 0;
    for (k, (name, bytes)) in seeds().into_iter().enumerate() {
        let mut rng = SplitMix64(100 + k as u64);
        for round in 0..400 {
            let mutant = common::mutate(&mut rng, &bytes, &tokens);
            match decode(&mutant, &limits) {
                Ok(p) => good += usize::from(p.rgb().len() == 3 * p.width() * p.height()),
                Err(e) => {
                    let text = e.to_string();
                    assert!(!text.chars().any(char::is_control), "{name} {round}: {text:?}");
                    assert!(
                        !text.contains("could not make sense"),
                        "{name} {round}: a decoder panicked"
                    );
                }
            }
        }
    }
    assert!(good > 100, "{good} mutants decode");
}
