//! `lowbit train` on a hyperspectral scene, float then spiking, `verify`, `eval` and `segment`, as one types them.

mod common;

use std::path::Path;

use common::{Ran, lowbit, run};

/// A NumPy array of bytes.
fn npy(path: &Path, shape: &str, values: &[u8]) {
    let header = format!(
        "{:<117}\n",
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}")
    );
    std::fs::write(path, [b"\x93NUMPY\x01\0v\0", header.as_bytes(), values].concat()).unwrap();
}

/// Two fields of 12 × 10 pixels, of rising and of falling spectra; every third column trains.
fn scene(folder: &Path) {
    let (rows, columns, bands) = (12, 20, 13);
    let (mut cube, mut labels, mut split) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..rows * columns {
        let (row, column) = (i / columns, i % columns);
        let right = column >= columns / 2;
        labels.push(if row == 0 { 0 } else { 1 + u8::from(right) });
        split.push(if column % 3 == 0 { 1 } else { 3 });
        for band in 0..bands {
            let level = if right { 12 - band } else { band };
            cube.push((60 + 6 * level + (i * 31 + band * 17) % 23) as u8);
        }
    }
    npy(&folder.join("cube.npy"), "12, 20, 13", &cube);
    npy(&folder.join("gt.npy"), "12, 20", &labels);
    npy(&folder.join("split.npy"), "12, 20", &split);
}

const DATA: &str = "batch = 16\n[data]\nkind = 'cube'\nlabels = 'gt.npy'\nsplit = 'split.npy'\nclasses = ['rising', 'falling']\n\
     [eval]\nkind = 'cube'\n[optimizer]\nrate = 0.002\nclip = 0.0\n";
const FLOAT: &str = "model = 'zoo:h32s'\nsteps = 30\n";
const SPIKING: &str = "steps = 30\n[method]\nname = 'symmetric'\ngrid = 'int6'\ngranularity = 'tensor'\n[spiking]\nsteps = 5\n[dropout]\nrate = 0.2\n[activation]\ncalibration = 64\n";

fn train(folder: &Path, name: &str, recipe: &str, more: &[String]) -> serde_json::Value {
    let file = folder.join(format!("{name}.toml"));
    let (head, tables) = recipe
        .split_once('[')
        .map_or((recipe, String::new()), |(h, t)| (h, format!("[{t}")));
    std::fs::write(&file, format!("{head}{DATA}{tables}")).unwrap();
    let mut command = lowbit();
    command.arg("train").arg(&file).args(["-t", "1", "--json"]);
    let settings = [
        format!("data.path={}", folder.join("cube.npy").display()),
        format!("output={}", folder.join(name).display()),
    ];
    for setting in settings.iter().chain(more) {
        command.args(["--set", setting]);
    }
    Ran::of(&command.output().unwrap()).code(0).json()
}

#[test]
fn a_scene_is_learned_by_neurons_that_spike_checked_judged_and_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    scene(folder.path());
    let float = [String::from("method.name=float")];
    let float = train(folder.path(), "cnn", FLOAT, &float);
    assert!(float["score"].as_f64().unwrap() > 0.95, "{float}");
    let start = [format!("model={}", at("cnn/model.onnx").display())];
    let spiking = train(folder.path(), "snn", SPIKING, &start);
    assert!(spiking["score"].as_f64().unwrap() > 0.9, "{spiking}");
    assert!(
        spiking["rounded_score"].is_f64() && spiking["agreement"]["trained_score"].is_f64(),
        "{spiking}"
    );
    assert_eq!(spiking["agreement"]["what"], "pixels");
    let page = std::fs::read_to_string(at("snn/report.html")).unwrap();
    for caption in [">truth<", ">float, ", ">packed model, "] {
        assert!(page.contains(caption), "{caption}");
    }
    let model = at("snn/model.onnx");
    run("verify -t 1", &[&model]).code(0);

    let [cube, labels, split] =
        ["cube.npy", "gt.npy", "split.npy"].map(|name| at(name).display().to_string());
    let judge = |more: &[&str]| {
        let mut command = lowbit();
        command
            .arg("eval")
            .arg(&model)
            .args(["-t", "1", "--data", &cube])
            .args(more);
        Ran::of(&command.output().unwrap())
    };
    let all = ["--labels", &labels, "--split", &split];
    let judged = judge(&[&all[..], &["--json"]].concat()).code(0).json();
    assert_eq!(judged["overall"], spiking["score"]);
    // 13 test columns in 11 labelled rows.
    assert_eq!(judged["pixels"].as_u64(), Some(143));
    let layers = judged["energy"]["layers"].as_array().unwrap();
    let activity: Vec<f64> = layers.iter().filter_map(|l| l["activity"].as_f64()).collect();
    assert!(
        activity.len() == 4 && activity.iter().all(|&r| r > 0.0 && r < 5.0),
        "{judged}"
    );
    let table = judge(&all).code(0).stdout;
    assert!(
        table.contains("kappa") && table.contains("spikes per neuron over 5 steps"),
        "{table}"
    );
    judge(&[&all[..], &["--min-oa", "1"]].concat()).code(if judged["overall"] == 1.0 { 0 } else { 1 });
    assert!(judge(&[]).code(2).stderr.contains("--labels FILE"));
    std::fs::write(at("pim.toml"), "source = 'a device'\n").unwrap();
    let incomplete = at("pim.toml").display().to_string();
    assert!(
        judge(&[&all[..], &["--energy", &incomplete]].concat())
            .code(3)
            .stderr
            .contains("pim.toml")
    );

    let map = |output: &Path, input: &Path| {
        let mut command = lowbit();
        command
            .arg("segment")
            .args([&model, &input.to_owned()])
            .arg("-o")
            .arg(output)
            .args(["-t", "1"]);
        Ran::of(&command.output().unwrap())
    };
    let picture = map(&at("map.png"), &at("cube.npy")).code(0).stdout;
    assert!(
        picture.contains("12×20 pixels of 13 bands") && at("map.png").exists(),
        "{picture}"
    );
    map(&at("map.npy"), &at("cube.npy")).code(0);
    let labels = std::fs::read(at("map.npy")).unwrap();
    assert!(labels[128..].iter().all(|l| [1, 2].contains(l)) && labels.len() == 128 + 240);
    assert!(
        map(&at("map.gif"), &at("cube.npy"))
            .code(2)
            .stderr
            .contains(".png, .npy or .npz")
    );
    npy(&at("wide.npy"), "2, 2, 14", &[0; 56]);
    assert!(
        map(&at("map.png"), &at("wide.npy"))
            .code(3)
            .stderr
            .contains("14 bands")
    );
    assert!(
        map(&at("map.png"), &at("gt.npy"))
            .code(4)
            .stderr
            .contains("rows, columns and bands")
    );
}
