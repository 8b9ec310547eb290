//! One file of a volume or a hyperspectral cube: NIfTI, NumPy, MATLAB, ENVI.

use data::volume::{Format, Limits, Volume, VolumeError, decode};

#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "\u{93}NUMPY", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5), }", "'|u1'", "'>i8'", "True", "(0,)", "n+1\0", "ni1\0", "PK\x03\x04",
    "MATLAB 5.0 MAT-file", "ENVI\n", "samples = 4", "lines = 3", "bands = 99999999", "data type = 12", "interleave = bil", "byte order = 1",
    "header offset = 4", "data file = ../a", "{", "}",
];

const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    elements: 1 << 18,
};

/// Numbers beside an ENVI header.
const NUMBERS: [u8; 240] = [7; 240];

fn check(read: Result<Volume, VolumeError>) {
    if let Ok(volume) = read {
        let elements: usize = volume.shape.iter().product();
        assert_eq!(volume.values.len(), elements);
        assert!(elements <= LIMITS.elements, "{elements} elements");
        assert!(
            volume.spacing().iter().all(|s| s.is_finite() && *s > 0.0),
            "{:?}",
            volume.spacing()
        );
        let _ = volume.labels();
    }
}

pub fn target(bytes: &[u8]) {
    for format in [Format::Nifti, Format::NiftiGz, Format::Npy, Format::Npz] {
        check(decode(format, bytes, &LIMITS));
    }
    let root = super::folder(
        "array",
        &[("a.mat", bytes), ("b.hdr", bytes), ("b.img", &NUMBERS)],
    );
    for name in ["a.mat", "b.hdr"] {
        check(data::cube::read(&root.join(name), None, &LIMITS));
    }
}
