//! Volumes from end to end, on drawn ones: a bright ball in noise is learned in float, then in affine integers, and found in a larger volume.

use std::path::{Path, PathBuf};

use data::volume::{Format, Limits, encode, read};
use lowbit::training::TrainEvent;
use lowbit::{
    Control, LoadOptions, Model, SegmentOptions, TrainOptions, Trained, VerifyOptions, segment_files, train,
    verify,
};

/// Intensities and labels of a volume with one ball of radius 3 to 4.
fn ball(shape: [usize; 3], seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut random = testing::SplitMix64(seed);
    let center = shape.map(|n| 4.0 + random.unit() * (n as f64 - 9.0));
    let radius = 3.0 + random.unit();
    let mut out = (Vec::new(), Vec::new());
    for i in 0..shape.iter().product() {
        let at = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
        let far: f64 = at.iter().zip(center).map(|(&a, c)| (a as f64 - c).powi(2)).sum();
        let inside = far < radius * radius;
        out.0
            .push((60.0 + 90.0 * random.unit() + if inside { 100.0 } else { 0.0 }) as u8);
        out.1.push(u8::from(inside));
    }
    out
}

fn write(path: &Path, shape: [usize; 3], values: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(
        path,
        encode(Format::of(path).unwrap(), &shape, values, None).unwrap(),
    )
    .unwrap();
}

fn data(folder: &Path) -> PathBuf {
    for seed in 0..6 {
        let (image, label) = ball([12, 16, 12], seed);
        for (kind, values) in [("images", image), ("labels", label)] {
            write(
                &folder.join(kind).join(format!("{seed}.npy")),
                [12, 16, 12],
                &values,
            );
        }
    }
    folder.to_owned()
}

fn options(scratch: &Path, name: &str, settings: &[&str]) -> TrainOptions {
    let recipe = format!(
        "batch = 2\nthreads = 1\n[zoo]\nwidth = 4\ndepth = 12\nheight = 16\nsize = 12\n[data]\nkind = \"volumes\"\npath = '{0}'\n\
         classes = [\"background\", \"ball\"]\npatch = [8.0, 12.0, 8.0]\n[eval]\nkind = \"volumes\"\npath = '{0}'\n\
         [optimizer]\nclip = 0.0\n[activation]\nrule = \"affine\"\ncalibration = 3\n",
        scratch.join("data").display()
    );
    let output = format!("output={}", scratch.join(name).display());
    TrainOptions {
        recipe,
        file: None,
        name: name.into(),
        settings: settings.iter().map(|s| s.to_string()).chain([output]).collect(),
        resume: false,
        control: Control::default(),
        ranks: Default::default(),
    }
}

const FLOAT: [&str; 4] = [
    "model=zoo:unet3d",
    "method.name=float",
    "steps=60",
    "optimizer.rate=0.01",
];

fn float(scratch: &Path) -> Trained {
    train(&options(scratch, "float", &FLOAT), &mut |_| {}).unwrap()
}

#[test]
fn a_ball_is_learned_in_float_and_in_two_and_four_bits_and_found_by_patches() {
    let scratch = testing::scratch("segment");
    data(&scratch.join("data"));
    let start = float(&scratch);
    assert!(start.score.unwrap() > 0.8, "{:?}", start.score);
    assert_eq!((start.classes.len(), start.agreement), (1, None));
    let model = format!("model={}", scratch.join("float/model.onnx").display());
    for (grid, bits, least) in [("affine4", "4", 0.8), ("affine2", "2", 0.5)] {
        let grid_key = format!("method.grid={grid}");
        let bits_key = format!("activation.bits={bits}");
        let low = [
            "method.name=affine",
            &grid_key,
            &bits_key,
            "steps=20",
            "optimizer.rate=0.003",
            &model,
        ];
        let rules = ["method.rules=[\"first=affine8\", \"head=affine8\"]"];
        let settings = [&low[..], &rules].concat();
        let made = train(&options(&scratch, grid, &settings), &mut |_| {}).unwrap();
        assert!(made.score.unwrap() > least, "{grid}: {:?}", made.score);
        assert_eq!(made.quantized_layers, 11, "{grid}");
        let agreement = made.agreement.unwrap();
        assert_eq!(agreement.compared, 6 * 12 * 16 * 12);
        assert!(
            agreement.differing * 1000 < agreement.compared,
            "{grid}: {agreement:?}"
        );
        let packed = Model::load(&scratch.join(grid).join("model.onnx"), &LoadOptions::default()).unwrap();
        let found = verify(&packed, &VerifyOptions::default(), &mut |_: &str, _, _| {}).unwrap();
        assert_eq!(found.difference, None, "{grid}");
        assert!(
            lowbit::Runner::new(&packed, &Default::default())
                .unwrap()
                .integer_mac_share()
                == 1.0,
            "{grid}"
        );
    }
    // A volume that is no multiple of anything, through patches of another size than the model's.
    let packed = Model::load(&scratch.join("affine4/model.onnx"), &LoadOptions::default()).unwrap();
    let (image, label) = ball([21, 19, 27], 77);
    let (volume, truth) = (scratch.join("large.nii.gz"), scratch.join("truth.npz"));
    let bytes: Vec<u8> = image;
    write(&scratch.join("large.npy"), [21, 19, 27], &bytes);
    write(&volume, [21, 19, 27], &bytes);
    write(&truth, [21, 19, 27], &label);
    let mut masks = Vec::new();
    for (input, patch) in [
        ("large.npy", None),
        ("large.npy", Some([16, 16, 16])),
        ("large.npy", Some([24, 20, 28])),
    ] {
        let options = SegmentOptions {
            patch,
            overlap: 8,
            truth: Some(truth.clone()),
            overlay: Some(scratch.join("slices")),
            ..SegmentOptions::default()
        };
        let output = scratch.join("mask.nii.gz");
        let s = segment_files(
            &packed,
            &scratch.join(input),
            &output,
            &options,
            &mut |_: &str, _, _| {},
        )
        .unwrap();
        let mask = read(&output, None, &Limits::default()).unwrap();
        assert_eq!(mask.shape, [21, 19, 27]);
        let count = mask.labels().unwrap().iter().filter(|&&l| l == 1).count();
        assert_eq!((s.classes.len(), s.classes[0].voxels), (1, count as u64));
        assert_eq!(s.classes[0].millilitres, count as f64 / 1000.0);
        assert!(s.classes[0].dice.unwrap() > 0.6, "{patch:?}: {:?}", s.classes);
        assert!(
            ["axis0.png", "axis1.png", "axis2.png"]
                .iter()
                .all(|f| scratch.join("slices").join(f).exists())
        );
        masks.push((s.patches, mask.values));
    }
    assert_eq!(
        masks.iter().map(|m| m.0).collect::<Vec<_>>(),
        [3 * 2 * 4, 2 * 2 * 3, 1]
    );
    let differing = masks[1].1.iter().zip(&masks[2].1).filter(|(a, b)| a != b).count();
    assert!(
        differing * 50 < masks[1].1.len(),
        "{differing} voxels depend on the patches"
    );
    let refused = |input: &Path, output: &Path| {
        let options = SegmentOptions::default();
        segment_files(&packed, input, output, &options, &mut |_: &str, _, _| {})
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&volume, &volume).contains("large.nii.gz"));
    assert!(refused(&volume, &scratch.join("mask.png")).contains(".nii.gz"));
    assert!(refused(&scratch.join("absent.npy"), &scratch.join("m.npy")).contains("absent.npy"));
}

#[test]
fn a_run_that_was_stopped_ends_with_the_same_model() {
    let scratch = testing::scratch("segment_resume");
    data(&scratch.join("data"));
    let settings = [
        "model=zoo:unet3d-transposed",
        "method.name=affine",
        "method.grid=affine3",
        "activation.bits=3",
        "steps=6",
        "log.every=1",
    ];
    let whole = train(&options(&scratch, "whole", &settings), &mut |_| {}).unwrap();
    let mut part = options(&scratch, "part", &settings);
    let control = part.control.clone();
    let stopped = train(&part, &mut |event| {
        if matches!(event, TrainEvent::Line(line) if line.step == 3) {
            control.cancel();
        }
    });
    assert_eq!(stopped.unwrap_err().kind(), lowbit::ErrorKind::Interrupted);
    (part.resume, part.control) = (true, Control::default());
    let resumed = train(&part, &mut |_| {}).unwrap();
    assert_eq!(resumed.model_sha256, whole.model_sha256);
    assert!(whole.agreement.unwrap().compared > 0);
    let packed = Model::load(&scratch.join("whole/model.onnx"), &LoadOptions::default()).unwrap();
    let found = verify(&packed, &VerifyOptions::default(), &mut |_: &str, _, _| {}).unwrap();
    assert_eq!(found.difference, None, "transposed convolutions too");
}

#[test]
fn recipes_and_models_that_do_not_fit_are_told_so() {
    let scratch = testing::scratch("segment_refused");
    data(&scratch.join("data"));
    let refused = |settings: &[&str]| {
        let all = [&FLOAT[..], settings].concat();
        train(&options(&scratch, "none", &all), &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&["data.classes=[]"]).contains("data.classes"));
    assert!(refused(&["data.classes=[\"background\"]"]).contains("data.classes"));
    assert!(refused(&["data.patch=[9.0, 12.0, 8.0]"]).contains("multiple of 4"));
    assert!(refused(&["data.patch=[8.0]"]).contains("three numbers"));
    assert!(refused(&["zoo.depth=13"]).contains("multiples of 4"));
    assert!(refused(&["loss.kind=distill"]).contains("masks"));
    assert!(refused(&["data.path=absent.npz"]).contains("absent.npz"));
    assert!(refused(&["eval.kind=synth"]).contains("eval.kind"));
    let other = Model::load(
        "../graph/tests/models/torchscript_yolov8.onnx".as_ref(),
        &LoadOptions::default(),
    )
    .unwrap();
    assert!(
        other
            .segment_head()
            .unwrap_err()
            .to_string()
            .contains("lowbit.segment")
    );
}
