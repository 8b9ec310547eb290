//! Scenes that scipy and spectral wrote (`tools/goldens/cubes.py`), and files that are none.

use std::path::{Path, PathBuf};

use data::cube::{read, read_cube, read_labels};
use data::volume::{Limits, VolumeError};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cubes")
}

fn numbers(v: &Value) -> Vec<f32> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap() as f32)
        .collect()
}

#[test]
fn every_way_to_store_a_scene_is_read_as_its_own_program_reads_it() {
    let expected = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let expected = expected.as_object().unwrap();
    assert_eq!(expected.len(), 8);
    for (name, want) in expected {
        let have =
            read(&folder().join(name), None, &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let shape: Vec<f32> = have.shape.iter().map(|&d| d as f32).collect();
        assert_eq!(
            (shape, have.values),
            (numbers(&want["shape"]), numbers(&want["values"])),
            "{name}"
        );
    }
}

#[test]
fn arrays_are_found_by_name_and_labels_fit_their_cube() {
    let limits = Limits::default();
    let several = folder().join("several.mat");
    let cube = read_cube(&several, None, &limits).unwrap();
    assert_eq!(cube.shape, [3, 4, 5]);
    let labels = read_labels(&folder().join("labels.hdr"), &cube, &limits).unwrap();
    assert_eq!(labels, (0..12).map(|i| i % 4).collect::<Vec<u8>>());
    assert_eq!(read(&several, Some("gt"), &limits).unwrap().shape, [3, 4]);
    let missing = read(&several, Some("truth"), &limits).unwrap_err().to_string();
    assert!(
        missing.contains("\"truth\"") && missing.contains("gt, cube"),
        "{missing}"
    );
    let flat = read_cube(&several, Some("gt"), &limits).unwrap_err();
    assert!(matches!(flat, VolumeError::Unsupported(_)), "{flat}");
    let other = read_labels(&folder().join("bip.hdr"), &cube, &limits)
        .unwrap_err()
        .to_string();
    assert!(other.contains("[3, 4, 5]"), "{other}");
}

/// Every file cut at every length, and every bit of its first part turned: an error or an array, within the limits.
#[test]
fn damaged_files_are_refused_without_a_panic() {
    let limits = Limits {
        bytes: 1 << 16,
        elements: 1 << 12,
    };
    let scratch = testing::scratch("damaged_cubes");
    for (name, data) in [
        ("plain.mat", None),
        ("compressed.mat", None),
        ("several.mat", None),
        ("bil_big.hdr", Some("bil_big.img")),
    ] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        if let Some(data) = data {
            std::fs::copy(folder().join(data), scratch.join(data)).unwrap();
        }
        let path = scratch.join(name);
        let read_again = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            if let Ok(volume) = read(&path, None, &limits) {
                assert!(volume.values.len() <= limits.elements);
            }
        };
        for n in (0..bytes.len()).step_by(3) {
            read_again(&bytes[..n]);
        }
        for i in 0..bytes.len().min(400) {
            let mut turned = bytes.clone();
            turned[i] ^= 1 << (i % 8);
            read_again(&turned);
        }
    }
}

#[test]
fn other_files_are_named() {
    let limits = Limits::default();
    let scratch = testing::scratch("other_cubes");
    let refused = |name: &str, bytes: &[u8]| {
        let path = scratch.join(name);
        std::fs::write(&path, bytes).unwrap();
        read(&path, None, &limits).unwrap_err().to_string()
    };
    assert!(
        refused(
            "new.mat",
            &[b"MATLAB 7.3 MAT-file".as_slice(), &[0; 200]].concat()
        )
        .contains("save it with -v7")
    );
    assert!(refused("alone.hdr", b"ENVI\nsamples = 1\nlines = 1\ndata type = 1\n").contains("beside it"));
    assert!(refused("scene.tif", b"II").contains(".npy, .npz, .mat or .hdr"));
}
