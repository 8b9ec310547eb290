//! Volumes that nibabel and numpy wrote (`tools/goldens/volumes.py`), and masks beside those that they write.

use std::path::{Path, PathBuf};

use data::volume::{Format, Limits, Volume, VolumeError, decode, encode, read, read_arrays};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/volumes")
}

fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

fn load(name: &str) -> Volume {
    read(&folder().join(name), None, &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn mask() -> Vec<u8> {
    json("mask.json")
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as u8)
        .collect()
}

#[test]
fn every_way_to_store_a_volume_is_read_as_its_own_program_reads_it() {
    let expected = json("expected.json");
    let expected = expected.as_object().unwrap();
    assert_eq!(expected.len(), 16);
    for (name, want) in expected {
        let have = load(name);
        let numbers = |v: &Value| -> Vec<f32> {
            v.as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_f64().unwrap() as f32)
                .collect()
        };
        let mut shape: Vec<f32> = numbers(&want["shape"]);
        // A volume at one time has three axes here.
        shape.truncate(3);
        assert_eq!(
            have.shape.iter().map(|&d| d as f32).collect::<Vec<_>>(),
            shape,
            "{name}"
        );
        assert_eq!(have.values, numbers(&want["values"]), "{name}");
        assert_eq!(have.spacing().to_vec(), numbers(&want["spacing"]), "{name}");
    }
}

#[test]
fn arrays_of_an_archive_are_found_by_name() {
    for name in ["stored.npz", "deflated.npz"] {
        let path = folder().join(name);
        let all = read_arrays(&path, &Limits::default()).unwrap();
        assert_eq!(
            all.iter().map(|a| a.0.as_str()).collect::<Vec<_>>(),
            ["image", "label"]
        );
        assert_eq!(
            read(&path, Some("label"), &Limits::default())
                .unwrap()
                .labels()
                .unwrap(),
            mask()
        );
        let missing = read(&path, Some("mask"), &Limits::default()).unwrap_err();
        assert!(missing.to_string().contains("image, label"), "{missing}");
    }
}

#[test]
fn masks_are_the_files_that_numpy_and_nibabel_write() {
    let file = |name: &str| std::fs::read(folder().join(name)).unwrap();
    assert_eq!(
        encode(Format::Npy, &[3, 4, 5], &mask(), None).unwrap(),
        file("mask.npy")
    );
    let of = load("big.nii");
    let have = encode(Format::Nifti, &[3, 4, 5], &mask(), of.geometry.as_ref()).unwrap();
    assert_eq!(have, file("mask_of_big.nii"));
    for format in [Format::Nifti, Format::NiftiGz, Format::Npy, Format::Npz] {
        let bytes = encode(format, &[3, 4, 5], &mask(), of.geometry.as_ref()).unwrap();
        let back = decode(format, &bytes, &Limits::default()).unwrap();
        assert_eq!(
            (back.shape.as_slice(), back.labels().unwrap()),
            (&[3, 4, 5][..], mask())
        );
    }
}

#[test]
fn files_that_are_cut_changed_or_larger_than_they_may_be_are_refused_in_words() {
    let small = Limits {
        bytes: 100,
        elements: 100,
    };
    for name in ["int16.nii.gz", "deflated.npz"] {
        let fault = read(&folder().join(name), None, &small).unwrap_err();
        assert!(
            matches!(fault, VolumeError::Limit(_) | VolumeError::Bad(_)),
            "{name}: {fault}"
        );
        assert!(fault.to_string().contains("100 bytes"), "{name}: {fault}");
    }
    let few = Limits {
        bytes: 1 << 20,
        elements: 59,
    };
    for name in ["int16.nii", "i2.npy", "stored.npz"] {
        let fault = read(&folder().join(name), None, &few).unwrap_err();
        assert!(
            matches!(&fault, VolumeError::Limit(what) if what.contains("59")),
            "{name}: {fault}"
        );
    }
    let bytes = std::fs::read(folder().join("int16.nii.gz")).unwrap();
    for n in 0..bytes.len() {
        assert!(
            decode(Format::NiftiGz, &bytes[..n], &Limits::default()).is_err(),
            "{n}"
        );
    }
    for other in ["volume.mha", "volume"] {
        let fault = read(Path::new(other), None, &Limits::default()).unwrap_err();
        assert!(fault.to_string().contains(".nii.gz"), "{fault}");
    }
    assert!(
        load("f4.npy")
            .labels()
            .unwrap_err()
            .to_string()
            .contains("no label")
    );
}
