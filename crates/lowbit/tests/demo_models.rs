//! The embedded models are those that the manifest says, made by the recipes of the repository.

use std::path::Path;

use lowbit::demo::{FIRST_SEED, files, manifest, models};
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
}

/// The recipe that each file holds is the one of the repository, with no override.
#[test]
fn models_were_made_by_their_recipes_as_they_are() {
    for (entry, model) in models().unwrap() {
        let stored = &model.graph().metadata["lowbit.recipe"];
        let text = recipe(&entry.recipe);
        // Read again, so that keys of later versions have their defaults on both sides.
        let whole = |text: &str| train::recipe::Recipe::parse(text, &[]).unwrap().to_toml();
        assert_eq!(whole(stored), whole(&text), "{}", entry.file);
    }
}

#[test]
fn scenes_of_recipes_and_of_the_demo_have_no_seed_in_common() {
    let names: Vec<String> = manifest().unwrap().models.into_iter().map(|m| m.recipe).collect();
    for name in names {
        let parsed = train::recipe::Recipe::parse(&recipe(&name), &[]).unwrap();
        for key in ["data", "eval"] {
            assert_eq!(parsed.text(&format!("{key}.kind")), "synth");
            assert!(parsed.count(&format!("{key}.seed")) < FIRST_SEED, "{name}");
        }
        let last = parsed.count("data.first") + parsed.count("data.count");
        let apart =
            parsed.count("data.seed") != parsed.count("eval.seed") || last <= parsed.count("eval.first");
        assert!(apart, "{name}");
    }
}
