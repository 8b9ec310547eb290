//! Pictures of a run, by its recipe.

use std::path::Path;
use std::sync::Arc;

use data::augment::{Cached, Classes, Options, Pictures, Plan, Source, Subset, Synthetic, order};
use data::synth;
use tasks::detect::Input;
use tasks::detect::names::ClassMap;
use train::exchange::Ranks;
use train::recipe::Recipe;

use crate::{Error, Result};

/// A source with the names its classes index.
pub(super) struct Set {
    pub(super) source: Arc<dyn Source>,
    pub(super) names: Vec<String>,
}

/// The training set, its pictures kept as far as the recipe says.
pub(super) fn open_cached(recipe: &Recipe, input: &Input) -> Result<Set> {
    let set = open(recipe, "data", input)?;
    let most = (recipe.count("data.cache") as usize).saturating_mul(1 << 20);
    Ok(match most {
        0 => set,
        _ => Set {
            source: Arc::new(Cached::new(set.source, most)),
            ..set
        },
    })
}

/// What the recipe trains on (`section` is `data`) or evaluates on (`eval`).
pub(super) fn open(recipe: &Recipe, section: &str, input: &Input) -> Result<Set> {
    let held_out = recipe.text("eval.kind") == "held-out" && section == "eval";
    let part = recipe.number("data.hold_out");
    if held_out && part == 0.0 {
        return Err(Error::usage("nothing is held out").help("say how much with --set data.hold_out=0.2"));
    }
    let set = whole(recipe, if held_out { "data" } else { section }, input)?;
    if part == 0.0 || (section == "eval" && !held_out) {
        return Ok(set);
    }
    let (out, rest) = divided(recipe.count("data.seed"), set.source.len(), part);
    let mut indices = if held_out { out } else { rest };
    if indices.is_empty() {
        return Err(Error::usage(format!("data.hold_out = {part} leaves no pictures")));
    }
    indices.sort_unstable();
    let source = Arc::new(Subset {
        source: set.source,
        indices,
    });
    Ok(Set { source, ..set })
}

/// The part of `n` samples that is held out, and the rest: the first of a permutation by seed.
fn divided(seed: u64, n: usize, part: f64) -> (Vec<usize>, Vec<usize>) {
    let mut all = order(seed, 0, n);
    let rest = all.split_off(((part * n as f64).ceil() as usize).min(n));
    (all, rest)
}

fn whole(recipe: &Recipe, section: &str, input: &Input) -> Result<Set> {
    let key = |name: &str| format!("{section}.{name}");
    let (path, split) = (recipe.text(&key("path")), recipe.text(&key("split")));
    let split = Some(split).filter(|s| !s.is_empty());
    let limits = data::picture::Limits::default();
    match recipe.text(&key("kind")) {
        "synth" => Ok(Set {
            source: Arc::new(Synthetic {
                seed: training_seed(recipe, section)?,
                first: recipe.count(&key("first")),
                count: recipe.count(&key("count")).max(1) as usize,
                options: synth::Options {
                    width: input.width,
                    height: input.height,
                    max_objects: recipe.count("data.max_objects") as usize,
                },
            }),
            names: synth::NAMES.map(String::from).to_vec(),
        }),
        "classes" => {
            let set = data::read::open_classes(Path::new(path), split, &data::read::Limits::default())?;
            Ok(Set {
                names: set.names.clone(),
                source: Arc::new(Classes {
                    set: Arc::new(set),
                    limits,
                }),
            })
        }
        _ => {
            if path.is_empty() {
                return Err(
                    Error::usage(format!("the recipe says no {}", key("path"))).help(format!(
                        "give it with --set {}=DIR, or take --set {}=synth",
                        key("path"),
                        key("kind")
                    )),
                );
            }
            let mut set = lists(Path::new(path), split)?;
            if section == "data" {
                for more in recipe.texts("data.more") {
                    let (path, own) = folder_and_list(more);
                    set.extend(lists(Path::new(path), own.or(split))?);
                }
            }
            Ok(Set {
                names: set.names.clone(),
                source: Arc::new(Pictures {
                    set: Arc::new(set),
                    limits,
                }),
            })
        }
    }
}

/// A folder, and the list behind the last colon; what follows the colon of a drive is no list.
fn folder_and_list(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((path, list)) if !list.contains(['/', '\\']) => (path, Some(list)),
        _ => (text, None),
    }
}

/// The lists of a folder, with + between them, one after the other.
fn lists(path: &Path, split: Option<&str>) -> Result<data::read::Dataset> {
    let limits = data::read::Limits::default();
    let read = |split| data::read::open(path, split, None, &limits);
    let mut lists = (split.unwrap_or_default().split('+')).map(|s| Some(s).filter(|s| !s.is_empty()));
    let mut set = read(lists.next().flatten())?;
    for list in lists {
        set.extend(read(list)?);
    }
    Ok(set)
}

/// The seed of a section, of scenes that the demo does not show: its own are fresh for every model.
pub(super) fn training_seed(recipe: &Recipe, section: &str) -> Result<u64> {
    let key = format!("{section}.seed");
    let seed = recipe.count(&key);
    if seed < synth::DEMO_SEEDS {
        return Ok(seed);
    }
    Err(
        Error::usage(format!("scenes of seed {seed} are kept for the demo"))
            .at(format!("recipe key \"{key}\""))
            .help(format!("take a seed below {}", synth::DEMO_SEEDS)),
    )
}

/// For each class of the data its class in the head.
pub(super) fn classes(set: &Set, head: &[String]) -> Result<Vec<Option<usize>>> {
    let map = ClassMap::new(head, &set.names);
    if map.common.is_empty() {
        return Err(Error::bad(format!(
            "the head's classes ({} …) and the data's ({} …) have none in common",
            head.first().map_or("", String::as_str),
            set.names.first().map_or("", String::as_str)
        ))
        .help("correct the class names in the head description"));
    }
    // Both sides index the common list; its entries have one class of the model each.
    let of_model = |common: usize| map.model.iter().position(|m| *m == Some(common));
    Ok(map.data.iter().map(|d| d.and_then(of_model)).collect())
}

/// How this rank's share of the batches is made.
pub(super) fn plan(recipe: &Recipe, input: &Input, options: Options, ranks: &Ranks) -> Plan {
    Plan {
        seed: recipe.count("seed"),
        batch: recipe.count("batch") as usize / ranks.size(),
        share: (ranks.rank(), ranks.size()),
        input: input.clone(),
        options,
        workers: recipe.count("workers") as usize,
        ahead: 2,
    }
}

/// The recipe's changes of training samples.
pub(super) fn changes(recipe: &Recipe) -> Options {
    let number = |key: &str| recipe.number(key) as f32;
    let list = |key: &str| {
        recipe
            .numbers(key)
            .iter()
            .map(|&x| x as f32)
            .collect::<Vec<f32>>()
    };
    Options {
        flip: number("augment.flip"),
        flip_vertical: number("augment.flip_vertical"),
        scale: list("augment.scale").try_into().unwrap_or([1.0; 2]),
        aspect: number("augment.aspect"),
        mosaic: number("augment.mosaic"),
        hsv: list("augment.hsv").try_into().unwrap_or([0.0; 3]),
        cutout: number("augment.cutout"),
        shift: recipe.count("augment.shift") as usize,
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_out_is_a_part_of_the_list_by_seed_and_trained_on_by_nothing() {
        let (out, rest) = divided(1, 205, 0.2);
        assert_eq!((out.len(), rest.len()), (41, 164));
        let mut all = [out.clone(), rest].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..205));
        assert_eq!(divided(1, 205, 0.2).0, out);
        assert_ne!(divided(2, 205, 0.2).0, out);
        assert!(divided(1, 3, 1.0).1.is_empty());
    }

    #[test]
    fn a_run_reads_several_folders_and_lists() {
        assert_eq!(folder_and_list("cells:train"), ("cells", Some("train")));
        assert_eq!(folder_and_list("cells"), ("cells", None));
        assert_eq!(folder_and_list("C:/cells"), ("C:/cells", None));

        let scratch = testing::scratch("several_folders");
        let folders = ["first", "second"].map(|name| scratch.join(name));
        let options = crate::synth::SynthOptions {
            count: 3,
            ..Default::default()
        };
        for folder in &folders {
            crate::synth(folder, &options, &mut |_: &str, _, _| {}).unwrap();
        }
        let [first, second] = folders.map(|f| f.display().to_string());
        let count = |more: &str| {
            let settings = [format!("data.path={first}"), format!("data.more=[{more}]")];
            let recipe = Recipe::parse("", &settings).unwrap();
            open(&recipe, "data", &super::super::source::no_input()).map(|set| set.source.len())
        };
        assert_eq!(count("").unwrap(), 3);
        assert_eq!(count(&format!("'{second}'")).unwrap(), 6);
        let wrong = count(&format!("'{second}:night'")).unwrap_err();
        assert!(wrong.to_string().contains("night"), "{wrong}");
    }
}
