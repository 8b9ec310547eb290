//! `lowbit train` on volumes and `lowbit segment`, as one types them.

mod common;

use std::path::Path;

use common::{Ran, lowbit, run};

/// A NumPy array of bytes.
fn npy(path: &Path, shape: [usize; 3], values: &[u8]) {
    let [d, h, w] = shape;
    let header = format!(
        "{:<117}\n",
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({d}, {h}, {w}), }}")
    );
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, [b"\x93NUMPY\x01\0v\0", header.as_bytes(), values].concat()).unwrap();
}

/// A bright box of 4³ in a dark volume, and its mask.
fn volume(folder: &Path, name: &str, shape: [usize; 3], corner: [usize; 3]) {
    let [_, h, w] = shape;
    let inside = |i: usize| {
        let at = [i / (h * w), i / w % h, i % w];
        at.iter().zip(corner).all(|(&a, c)| (c..c + 4).contains(&a))
    };
    let all = 0..shape.iter().product();
    let mask: Vec<u8> = all.map(|i| u8::from(inside(i))).collect();
    let voxels: Vec<u8> = mask
        .iter()
        .enumerate()
        .map(|(i, m)| 40 + 150 * m + (i * 31 % 23) as u8)
        .collect();
    npy(&folder.join("images").join(name), shape, &voxels);
    npy(&folder.join("labels").join(name), shape, &mask);
}

const RECIPE: &str = "model = 'zoo:unet3d'\nsteps = 40\nbatch = 2\n[zoo]\nwidth = 4\nsize = 12\n[data]\nkind = 'volumes'\nclasses = ['background', 'box']\n\
     [eval]\nkind = 'volumes'\n[method]\nname = 'affine'\ngrid = 'affine4'\n[activation]\nbits = 4\nrule = 'affine'\ncalibration = 2\n\
     [optimizer]\nrate = 0.01\nclip = 0.0\n";

#[test]
fn a_network_is_trained_checked_and_finds_boxes_in_a_volume_of_another_size() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (k, corner) in [[1, 2, 3], [6, 5, 1], [3, 7, 7], [7, 1, 5]]
        .into_iter()
        .enumerate()
    {
        volume(folder.path(), &format!("{k}.npy"), [12; 3], corner);
    }
    std::fs::write(at("recipe.toml"), RECIPE).unwrap();
    let mut command = lowbit();
    command.arg("train").arg(at("recipe.toml")).args(["-t", "1"]);
    for key in ["data.path", "eval.path", "output"] {
        let value = if key == "output" {
            at("run")
        } else {
            folder.path().to_owned()
        };
        command.args(["--set", &format!("{key}={}", value.display())]);
    }
    let ran = Ran::of(&command.output().unwrap()).code(0);
    assert!(
        ran.stdout.contains("dice of box")
            && ran
                .stdout
                .contains("voxels that differ from the f32 training forward"),
        "{}",
        ran.stdout
    );
    let page = std::fs::read_to_string(at("run/report.html")).unwrap();
    for caption in ["truth, slice", "packed model, mean dice of the volume 0."] {
        assert!(page.contains(caption), "{caption}");
    }
    let model = at("run/model.onnx");
    run("verify -t 1", &[&model]).code(0);

    volume(&at("large"), "v.npy", [17, 20, 13], [9, 11, 6]);
    let (input, truth, mask) = (
        at("large/images/v.npy"),
        at("large/labels/v.npy"),
        at("mask.nii.gz"),
    );
    let segment = |more: &[&str]| {
        let mut command = lowbit();
        command
            .arg("segment")
            .args([&model, &input])
            .arg("-o")
            .arg(&mask)
            .args(["-t", "1"])
            .args(more);
        Ran::of(&command.output().unwrap())
    };
    let (overlay, truth) = (at("slices"), truth.display().to_string());
    let with_truth = [
        "--truth",
        &truth,
        "--overlay",
        overlay.to_str().unwrap(),
        "--overlap",
        "8",
    ];
    let found = segment(&[&with_truth[..], &["--json"]].concat()).code(0).json();
    assert!(found["classes"][0]["dice"].as_f64().unwrap() > 0.5, "{found}");
    assert_eq!(
        (found["shape"].clone(), found["patches"].as_u64()),
        (serde_json::json!([17, 20, 13]), Some(12))
    );
    assert!(mask.exists() && overlay.join("axis2.png").exists());
    let table = segment(&with_truth).code(0).stdout;
    assert!(
        table.contains("box") && table.contains("17×20×13 voxels in 12 patches of 12×12×12"),
        "{table}"
    );
    segment(&[&with_truth[..], &["--min-dice", "1"]].concat()).code(1);

    assert!(
        segment(&["--patch", "8,8"])
            .code(2)
            .stderr
            .contains("three sides")
    );
    assert!(
        segment(&["--patch", "10,12,12"])
            .code(2)
            .stderr
            .contains("multiple of 4")
    );
    assert!(
        segment(&["--truth", "absent.npy"])
            .code(5)
            .stderr
            .contains("absent.npy")
    );
    std::fs::write(at("cut.nii.gz"), b"\x1f\x8b nothing").unwrap();
    assert!(
        run("segment -o mask.npy", &[&model, &at("cut.nii.gz")])
            .code(3)
            .stderr
            .contains("cut.nii.gz")
    );
    std::fs::write(at("cut.nii"), [0; 400]).unwrap();
    assert!(
        run("segment -o mask.npy", &[&model, &at("cut.nii")])
            .code(3)
            .stderr
            .contains("cut.nii")
    );
    let detector =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/models/torchscript_yolov8.onnx");
    assert!(
        run("segment -o mask.npy", &[&detector, &input])
            .code(4)
            .stderr
            .contains("lowbit.segment")
    );
}
