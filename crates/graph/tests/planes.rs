//! Ternary weights with pruned groups: stored as a mask and two planes, in the bytes of the method's formula, and decoded alike by every reader.

mod common;

use std::ffi::OsStr;

use common::annotated::pruned;
use graph::onnx::{Form, LoadError, ReadOptions, WriteOptions, read, write};
use graph::{Graph, Planes, WeightAnnotation, planes};
use sha2::{Digest, Sha256};

const CASES: [([usize; 4], [usize; 3]); 6] = [
    ([32, 16, 3, 3], [16, 4, 1]),
    ([64, 64, 1, 1], [16, 4, 1]),
    ([24, 20, 3, 3], [1, 8, 9]),
    ([17, 37, 3, 3], [8, 16, 1]),
    ([16, 48, 3, 3], [1, 16, 1]),
    ([5, 70, 1, 1], [1, 2, 1]),
];

fn file(g: &Graph, form: Form) -> Vec<u8> {
    let options = WriteOptions {
        form,
        producer_version: "test".into(),
    };
    write(g, &options).unwrap()
}

fn weight(g: &Graph) -> &WeightAnnotation {
    g.weights.values().next().unwrap()
}

fn holds(file: &[u8], operator: &[u8]) -> bool {
    file.windows(operator.len()).any(|w| w == operator)
}

#[test]
fn mask_and_planes_come_back_as_the_same_codes() {
    for (seed, (shape, group)) in CASES.into_iter().cycle().take(48).enumerate() {
        let g = pruned(seed as u64, shape, group, 0.5);
        let packed = file(&g, Form::Packed);
        assert!(holds(&packed, b"DecodePlanes"), "{shape:?}");
        assert!(
            !holds(&packed, b"MatMulInteger"),
            "no function that nothing calls"
        );
        let again = read(&packed, &ReadOptions::default()).unwrap();
        assert_eq!(weight(&again), weight(&g), "{shape:?} {group:?}");
        assert!(file(&again, Form::Packed) == packed, "{shape:?} {group:?}");
    }
}

/// §7 of the method: 2·(1 − ρ) + 1/s bits a weight, and a f32 a scale.
#[test]
fn a_pruned_weight_takes_the_bits_of_the_formula() {
    for (shape, group) in [
        ([32, 16, 3, 3], [16, 4, 1]),
        ([64, 64, 1, 1], [16, 4, 1]),
        ([64, 64, 3, 3], [1, 16, 1]),
    ] {
        let g = pruned(2, shape, group, 0.4);
        let w = weight(&g);
        let planes = Planes::of(w).unwrap();
        assert_eq!(planes.group, group);
        let (n, s) = (w.len() as f64, group.iter().product::<usize>() as f64);
        let bits = n * (2.0 * (1.0 - planes.pruned()) + 1.0 / s);
        // Three streams of whole bytes.
        let stored = (w.stored_bits() - 32) as f64;
        assert!(
            (bits..bits + 24.0).contains(&stored),
            "{stored} bits, formula {bits}"
        );
        let streams = [&planes.mask, &planes.plus, &planes.minus].map(|s| tensor::bits::pack(s, 1));
        let packed = file(&g, Form::Packed);
        assert_eq!(streams.iter().map(Vec::len).sum::<usize>(), planes.bytes());
        assert!(holds(&packed, &streams[0]) && holds(&packed, &[&streams[1][..], &streams[2]].concat()));
        assert!(packed.len() < 4500 + planes.bytes(), "{} bytes", packed.len());
    }
}

#[test]
fn codes_stay_codes_where_planes_would_not_be_smaller() {
    let g = pruned(1, [32, 16, 3, 3], [16, 4, 1], 0.0);
    assert_eq!(Planes::of(weight(&g)), None);
    assert!(!holds(&file(&g, Form::Packed), b"DecodePlanes"));
    let mut w = weight(&pruned(1, [32, 16, 3, 3], [16, 4, 1], 0.9)).clone();
    assert!(Planes::of(&w).is_some());
    let changes: [fn(&mut WeightAnnotation); 6] = [
        |w| w.levels[1] = 2,
        |w| w.zero_points = Some(vec![0; w.points[0].scales.len()]),
        |w| w.points.push(w.points[0].clone()),
        |w| w.points[0].codes[0] = 2,
        |w| w.points[0].codes.fill(0),
        |w| w.shape = vec![w.points[0].codes.len()],
    ];
    for change in changes {
        let mut other = w.clone();
        change(&mut other);
        assert_eq!(Planes::of(&other), None);
    }
    // Codes that do not fit the shape give an answer, not a panic.
    w.shape = vec![4, 0, 3, 3];
    assert_eq!(Planes::of(&w), None);
}

#[test]
fn onnxruntime_and_python_decode_the_same_weights() {
    let test = "onnxruntime_and_python_decode_the_same_weights";
    let folder = common::scratch(test);
    let mut files = Vec::new();
    for (seed, (shape, group)) in CASES.into_iter().cycle().take(12).enumerate() {
        let g = pruned(seed as u64, shape, group, 0.5);
        let put = |form: Form| {
            let path = folder.join(format!("{form:?}{seed}.onnx"));
            std::fs::write(&path, file(&g, form)).unwrap();
            path
        };
        files.extend([put(Form::Float), put(Form::Packed)]);
        let packed = files.last().unwrap();
        let Some(report) = common::python(test, "../../docs/read_lowbit.py", &[packed.as_os_str()]) else {
            return;
        };
        let w = weight(&g);
        let raw: Vec<u8> = w.decode().iter().flat_map(|x| x.to_le_bytes()).collect();
        let hash: String = Sha256::digest(raw).iter().map(|b| format!("{b:02x}")).collect();
        let dims: Vec<String> = w.shape.iter().map(ToString::to_string).collect();
        assert_eq!(
            report.trim(),
            format!("w ternary {}x1 {hash}", dims.join("x")),
            "{shape:?}"
        );
    }
    let mut arguments = vec![OsStr::new("0")];
    arguments.extend(files.iter().map(|p| p.as_os_str()));
    common::python(test, "tests/python/same_outputs.py", &arguments);
}

/// Guards the format: files of version 1 must load for ever. `LOWBIT_BLESS=1` writes the file anew.
#[test]
fn the_golden_file_is_read_and_written() {
    let g = pruned(20_261_128, [24, 20, 3, 3], [16, 4, 1], 0.4);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/packed_v1_planes.onnx");
    if std::env::var_os("LOWBIT_BLESS").is_some() {
        std::fs::write(&path, file(&g, Form::Packed)).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    let again = read(&golden, &ReadOptions::default()).unwrap();
    assert_eq!(weight(&again), weight(&g));
    assert!(file(&g, Form::Packed) == golden, "the writer gives other bytes");
}

/// Reads a packed file after an edit of the bytes behind `mark`, with a new digest.
fn edited(mark: &[u8], edit: impl FnOnce(&mut [u8])) -> LoadError {
    let mut bytes = file(&pruned(2, [32, 16, 3, 3], [16, 4, 1], 0.5), Form::Packed);
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what).unwrap();
    let at = find(&bytes, mark) + mark.len();
    edit(&mut bytes[at..]);
    let at = find(&bytes, b"lowbit.digest") + b"lowbit.digest".len() + 2;
    bytes[at..at + 64].fill(b'0');
    let hex: String = Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    bytes[at..at + 64].copy_from_slice(hex.as_bytes());
    read(&bytes, &ReadOptions::default()).expect_err("the edit must be refused")
}

#[test]
fn planes_that_contradict_themselves_or_the_mask_are_refused() {
    let says = |e: LoadError, what: &str| {
        assert_eq!(e.node(), Some("w/decode"), "{e}");
        assert!(e.to_string().contains(what), "{e}");
    };
    // Behind the name and the tag of a tensor's data: their length, in two bytes from 128 on, then the data.
    let data = |b: &[u8]| match usize::from(b[0]) {
        low if low >= 128 => (2, low & 127 | usize::from(b[1]) << 7),
        len => (1, len),
    };
    // The same weight in both planes.
    says(
        edited(b"w/planes\x4a", |b| {
            let (from, len) = data(b);
            let (plus, minus) = b[from..from + len].split_at_mut(len / 2);
            let at = plus.iter().position(|byte| *byte != 0).unwrap();
            minus[at] |= plus[at];
        }),
        "it has a bit in both planes",
    );
    // One group more or less than the planes have weights for.
    for bit in [1, 128] {
        says(
            edited(b"w/mask\x4a", |b| {
                let (from, _) = data(b);
                b[from + 1] ^= bit;
            }),
            "kept weights, at least one, take",
        );
    }
    says(
        edited(b"w/decode", |b| swap(b, b"group\x40\x10", b"group\x40\x21")),
        "not three extents within [32, 16, 9]",
    );
    says(
        edited(b"w/decode", |b| swap(b, b"group\x40\x10", b"group\x40\x08")),
        "mask is not one bit",
    );
    says(
        edited(b"w/decode", |b| swap(b, b"axis\x18\x00", b"axis\x18\x05")),
        "axis is no axis",
    );
    says(
        edited(b"w/decode", |b| swap(b, b"\x05group", b"\x05grouq")),
        "attribute group is missing",
    );
}

fn swap(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
}

#[test]
fn groups_at_the_ends_may_be_short() {
    assert_eq!(planes::extent(&[17, 37, 3, 3]), Some([17, 37, 9]));
    assert_eq!(planes::extent(&[17, 37]), Some([17, 37, 1]));
    assert_eq!(planes::extent(&[17]), None);
    assert_eq!(planes::counts([17, 37, 9], [8, 16, 1]), [3, 3, 9]);
}
