//! The embedded models are those that the manifest says, made by the recipes of the repository.

use std::path::Path;

use lowbit::demo::{FIRST_SEED, files, manifest, models, system_files, systems};
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn recipe(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../recipes")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn hashes_of_models_and_recipes_are_the_manifests() {
    let mut bytes = 0;
    for (entry, file) in files().unwrap() {
        assert_eq!(sha256(file), entry.sha256, "{}", entry.file);
        assert_eq!(
            sha256(recipe(&entry.recipe).as_bytes()),
            entry.recipe_sha256,
            "{}",
            entry.recipe
        );
        assert!(entry.command.contains(&entry.recipe));
        bytes += file.len();
    }
    assert!(bytes <= 3_000_000, "{bytes} bytes are embedded");
    let mut bytes = 0;
    for (system, file) in system_files().unwrap() {
        assert_eq!(sha256(file), system.sha256, "{}", system.file);
        for (name, hash) in &system.recipes {
            assert_eq!(&sha256(recipe(name).as_bytes()), hash, "{name}");
            assert!(system.command.contains(name));
        }
        bytes += file.len();
    }
    assert!(bytes <= 300_000, "{bytes} bytes of other systems are embedded");
}

/// The recipe that each file holds is the one of the repository, with no override.
#[test]
fn models_were_made_by_their_recipes_as_they_are() {
    let detectors = models().unwrap().into_iter().map(|(e, m)| (e.recipe, m));
    let others = systems().unwrap().into_iter().map(|(s, m)| {
        let [_, (own, _)] = s.recipes;
        (own, m)
    });
    for (name, model) in detectors.chain(others) {
        let stored = &model.graph().metadata["lowbit.recipe"];
        // Read again, so that keys of later versions have their defaults on both sides.
        let whole = |text: &str| train::recipe::Recipe::parse(text, &[]).unwrap().to_toml();
        assert_eq!(whole(stored), whole(&recipe(&name)), "{name}");
    }
}

#[test]
fn scenes_of_recipes_and_of_the_demo_have_no_seed_in_common() {
    let manifest = manifest().unwrap();
    let others = manifest.systems.into_iter().flat_map(|s| s.recipes.map(|r| r.0));
    let names = manifest.models.into_iter().map(|m| m.recipe).chain(others);
    for name in names {
        let parsed = train::recipe::Recipe::parse(&recipe(&name), &[]).unwrap();
        let kinds = ["data", "eval"].map(|key| {
            assert!(parsed.count(&format!("{key}.seed")) < FIRST_SEED, "{name}");
            parsed.text(&format!("{key}.kind")).to_string()
        });
        let kinds = kinds.each_ref().map(String::as_str);
        let drawn = [["synth"; 2], ["synth-volumes"; 2], ["synth-cube", "cube"]];
        assert!(drawn.contains(&kinds), "{name}: {kinds:?}");
        // A scene of pixels is one: its fields are for training or for test as a whole.
        if kinds[1] == "cube" {
            continue;
        }
        let last = parsed.count("data.first") + parsed.count("data.count");
        let apart =
            parsed.count("data.seed") != parsed.count("eval.seed") || last <= parsed.count("eval.first");
        assert!(apart, "{name}");
    }
}
