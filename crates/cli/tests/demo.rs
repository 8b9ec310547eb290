//! `lowbit demo`: the whole program with nothing but itself, and the recipes that made its models.

mod common;

use std::path::{Path, PathBuf};

use common::{Ran, lowbit, run};

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../recipes")
        .join(name)
}

#[test]
fn a_few_scenes_give_table_pictures_and_report_and_the_bits_verify() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let short = "demo -q --json --count 3 --shown 2 --runs 2 -o";
    let made = run(short, &[&out]).code(0).json();
    let rows = made["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for (k, row) in rows.iter().enumerate() {
        assert!(
            row["difference"].is_null() && row["verified"].as_u64().unwrap() > 10_000,
            "{row}"
        );
        let share = row["integer_mac_share"].as_f64().unwrap();
        assert_eq!(share, if k == 0 { 0.0 } else { 1.0 }, "{row}");
        assert!((0.0..=1.0).contains(&row["map50"].as_f64().unwrap()));
    }
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(html.matches("<img").count(), 2 * 4);
    for file in ["scenes/1.png", "pictures/0-float.jpg"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    // The same seed gives the same boxes, another seed other scenes; a second run does not walk over the first unasked.
    let again = run(&format!("{short} {} --exist-ok", out.display()), &[])
        .code(0)
        .json();
    assert_eq!(again["rows"][3]["map50"], rows[3]["map50"]);
    let other = folder.path().join("other");
    let moved = run(&format!("{short} {} --seed 5", other.display()), &[])
        .code(0)
        .json();
    assert_ne!(moved["objects"], serde_json::Value::Null);
    assert_ne!(
        std::fs::read(out.join("scenes/0.png")).unwrap(),
        std::fs::read(other.join("scenes/0.png")).unwrap()
    );
    run(short, &[&out]).code(2);
    run("demo -q --count 0 -o", &[&folder.path().join("none")]).code(2);
}

/// The other systems: far above chance on inputs of the demo's own seed, the bits verify, and the page shows each.
#[test]
fn all_systems_are_judged_on_fresh_inputs_verified_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let made = run("demo --all -q --json --count 24 --shown 1 --runs 2 -o", &[&out])
        .code(0)
        .json();
    assert!(made["scene_seed"].as_u64().unwrap() >= 1 << 32);
    let systems = made["systems"].as_array().unwrap();
    // Guessing: hardly any box is right, a body of a twentieth of the volume, one of eight materials.
    let least = [("mAP50", 0.1), ("mean dice", 0.6), ("overall accuracy", 0.7)];
    assert_eq!(systems.len(), least.len());
    for (system, (measure, score)) in systems.iter().zip(least) {
        assert_eq!(system["measure"], measure);
        assert!(system["score"].as_f64().unwrap() > score, "{system}");
        assert!(
            system["difference"].is_null() && system["verified"].as_u64().unwrap() > 10_000,
            "{system}"
        );
        assert_eq!(system["integer_mac_share"], 1.0, "{system}");
        assert!(system["bits_per_weight"].as_f64().unwrap() < 8.0);
    }
    let own = |i: usize, kind: &str| systems[i]["own"][kind].clone();
    assert!(own(0, "pruned")["share"].as_f64().unwrap() > 0.35);
    assert_eq!(own(1, "volumes")["dice"].as_array().unwrap().len(), 2);
    let energy = &own(2, "spiking")["energy"];
    assert_eq!((&energy["steps"], &energy["bits"]), (&5.into(), &6.into()));
    assert!(energy["ratio_float32_to_bits"].as_f64().unwrap() > 1.0);

    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    // The scene by four detectors and by two more; scan, truth, found; bands, truth, found.
    assert_eq!(html.matches("<img").count(), 4 + 2 + 3 + 3);
    assert!(html.contains("cap") && html.contains("roof, old") && !html.contains("src=\"http"));
    assert!(out.join("systems/2-0-2.jpg").is_file());
}

/// A few steps of the same recipes: what comes out has the layers, grids and edges of what is embedded.
#[test]
fn the_recipes_make_models_like_the_embedded_ones() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    run("demo --write-models", &[&models]).code(0);
    let float = short(&folder.path().join("float"), "demo-float.toml", &[]);
    let start = format!("model={}", float.display());
    assert_eq!(layers(&float), layers(&models.join("float.onnx")));
    for bits in [6, 4, 2] {
        let name = format!("lbw{bits}");
        let recipe = format!("demo-{name}.toml");
        let made = short(&folder.path().join(&name), &recipe, &[&start]);
        assert_eq!(
            layers(&made),
            layers(&models.join(format!("{name}.onnx"))),
            "{name}"
        );
        if bits == 4 {
            run("verify -q", &[&made]).code(0);
        }
    }
    let pruned = short(&folder.path().join("wpc"), "demo-wpc.toml", &[&start]);
    assert_eq!(layers(&pruned), layers(&models.join("wpc.onnx")));
    for (float, low, file) in [
        ("demo-unet-float", "demo-unet-w4a4", "unet-w4a4.onnx"),
        ("demo-cnn", "demo-snn", "snn.onnx"),
    ] {
        let none = "eval.kind=";
        let start = short(&folder.path().join(float), &format!("{float}.toml"), &[none]);
        let start = format!("model={}", start.display());
        let made = short(&folder.path().join(low), &format!("{low}.toml"), &[none, &start]);
        assert_eq!(layers(&made), layers(&models.join(file)), "{low}");
    }
}

fn short(output: &Path, name: &str, more: &[&str]) -> PathBuf {
    let mut command = lowbit();
    command.arg("train").arg(recipe(name)).arg("-q");
    let output_key = format!("output={}", output.display());
    let settings = [
        "steps=2",
        "batch=2",
        "data.count=8",
        "data.cache=0",
        "eval.count=1",
        "batch_norm.reestimate=1",
        "activation.calibration=2",
        output_key.as_str(),
    ];
    for setting in settings.iter().chain(more) {
        command.args(["--set", setting]);
    }
    Ran::of(&command.output().unwrap()).code(0);
    output.join("model.onnx")
}

/// Name, operator, grid and integer or not of every layer.
fn layers(model: &Path) -> Vec<String> {
    let made = run("inspect --json", &[model]).code(0).json();
    let one = |l: &serde_json::Value| format!("{} {} {} {}", l["name"], l["op"], l["grid"], l["integer"]);
    made["layers"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn no_recipe_can_train_on_the_demos_scenes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, key) in [
        ("demo-float.toml", "data.seed"),
        ("demo-float.toml", "eval.seed"),
        ("demo-unet-float.toml", "data.seed"),
        ("demo-unet-float.toml", "eval.seed"),
        ("demo-cnn.toml", "data.seed"),
    ] {
        let mut command = lowbit();
        command.arg("train").arg(recipe(name)).arg("-q");
        command.args(["--set", &format!("{key}={}", 1u64 << 32)]);
        command.args(["--set", &format!("output={}", folder.path().join("x").display())]);
        let ran = Ran::of(&command.output().unwrap()).code(2);
        assert!(
            ran.stderr.contains("kept for the demo") && ran.stderr.contains(key),
            "{}",
            ran.stderr
        );
    }
}
