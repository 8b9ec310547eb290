//! The command to type next: how the low-bit model was made, with the changes that the ranking asks for.

use graph::Graph;

use super::rank::{Finding, Part, Ranked};
use super::sites::{Rounds, Site};
use crate::Model;
use crate::config::{self, Key, Setting, Takes};
use crate::evaluate::DataSource;

/// Places that the next command changes.
const CHANGED: usize = 3;

/// A place of less than this share of all scores is left as it is.
const SHARE: f64 = 0.05;

/// Settings of `quantize`, by its flags.
pub(super) type Settings = Vec<(Key, Setting)>;

/// The settings of the next `quantize`; `ranked` is sorted, with the place of each entry.
pub(super) fn settings(
    float: &Graph,
    low: &Model,
    source: &DataSource,
    ranked: &[(Ranked, &Site)],
) -> Settings {
    let record = low.graph().metadata.get("lowbit.quantize");
    let record: serde_json::Value = record
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut all = Settings::new();
    let mut one = |name: &str, value: String| {
        let takes = Takes::One;
        let key = Key {
            name: name.into(),
            takes,
        };
        all.push((key, Setting::Values(vec![value])));
    };
    let text = |key: &str| record[key].as_str().map(str::to_string);
    let budget = |i: usize| record["budget"][i].as_str();
    match (budget(0).zip(budget(1)), text("grid")) {
        (Some((flag, value)), _) => one(flag, value.into()),
        (None, Some(grid)) => match grid.strip_suffix(" bits a weight") {
            // As files before `budget` have it.
            Some(bits) => one("average-bits", bits.into()),
            None => one("grid", grid),
        },
        (None, None) => one("grid", most_common(low.graph())),
    }
    if let Some(bits) = record["act_bits"].as_u64().filter(|b| *b != 8) {
        one("act-bits", bits.to_string());
    }
    let rows = record["extra_rows"].as_f64().filter(|r| *r > 0.0);
    if let Some(rows) = rows {
        one("extra-rows", (100.0 * rows).to_string());
    }
    if let Some(decibels) = record["extra_rows_until"].as_f64() {
        one("extra-rows-until", decibels.to_string());
    }
    if record["correction"] == false {
        let key = Key {
            name: "no-correction".into(),
            takes: Takes::Switch,
        };
        all.push((key, Setting::Switch(true)));
    }
    let mut one = |name: &str, value: String| {
        let key = Key {
            name: name.into(),
            takes: Takes::One,
        };
        all.push((key, Setting::Values(vec![value])));
    };
    one("calib", source.path.to_string_lossy().into_owned());
    if let Some(split) = &source.split {
        one("calib-split", split.clone());
    }
    let worst = ranked.iter().filter(|r| r.0.finding != Finding::Rounding);
    let observer = worst.clone().find_map(|r| match r.0.finding {
        Finding::Clipped => Some("min-max"),
        Finding::Coarse => Some("mse"),
        _ => None,
    });
    if let Some(observer) = observer {
        one("observer", observer.into());
    }
    let mut rules: Vec<String> = record["rules"]
        .as_array()
        .map(|all| {
            all.iter()
                .filter_map(|r| r.as_str())
                .map(str::to_string)
                .collect()
        })
        .unwrap_or_default();
    for (ranked, site) in changed(ranked) {
        for rule in rules_for(float, ranked, site) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    if !rules.is_empty() {
        let key = Key {
            name: "tensor-type".into(),
            takes: Takes::Many,
        };
        all.push((key, Setting::Values(rules)));
    }
    all
}

/// The places worth a change: the worst, as far as each makes a part of all that is wrong.
fn changed<'a>(ranked: &'a [(Ranked, &'a Site)]) -> impl Iterator<Item = &'a (Ranked, &'a Site)> {
    let all: f64 = ranked.iter().map(|r| r.0.score).filter(|s| s.is_finite()).sum();
    let large = move |r: &&(Ranked, &Site)| r.0.score >= SHARE * all;
    ranked.iter().take(CHANGED).filter(large)
}

/// Overrides that take a place's error away: more bits for weights, float for the layers that read an edge.
fn rules_for(float: &Graph, ranked: &Ranked, site: &Site) -> Vec<String> {
    let name = |n: usize| pattern(&float.nodes[n].name);
    match (ranked.part, ranked.finding, &site.rounds) {
        // A fresh rounding is the cure.
        (_, Finding::Scale | Finding::Clipped | Finding::Coarse, _) => Vec::new(),
        (Part::Weights, _, Rounds::Weight { weight, .. }) => {
            let wider = if weight.bits * weight.points.len() as u32 >= 7 {
                "float"
            } else {
                "int8"
            };
            site.node
                .map(|n| format!("{}={wider}", name(n)))
                .into_iter()
                .collect()
        }
        _ => {
            let readers = readers(float, site.value);
            readers
                .into_iter()
                .map(|n| format!("{}=float", name(n)))
                .collect()
        }
    }
}

/// Weighted layers behind an edge, through whatever only passes values on.
fn readers(graph: &Graph, value: graph::ValueId) -> Vec<usize> {
    let consumers = graph.consumers();
    let (mut open, mut found, mut seen) = (vec![value], Vec::new(), std::collections::BTreeSet::new());
    while let Some(v) = open.pop() {
        for &n in consumers.get(&v).into_iter().flatten() {
            if !seen.insert(n) {
                continue;
            }
            match graph
                .constant_input(&graph.nodes[n], 1)
                .is_some_and(|w| w.shape().len() > 1)
            {
                true => found.push(n),
                false => open.extend(&graph.nodes[n].outputs),
            }
        }
    }
    found.sort_unstable();
    found.truncate(4);
    found
}

/// A node's name as `--tensor-type` takes it: what could be read as a role or another pattern is a regular expression of itself.
fn pattern(name: &str) -> String {
    let special =
        name.parse::<crate::quantize::Role>().is_ok() || name.starts_with("re:") || name.starts_with("type:");
    match special {
        false => name.to_string(),
        true => {
            let escape = |c: char| match c.is_alphanumeric() {
                true => c.to_string(),
                false => format!("\\{c}"),
            };
            format!("re:^{}$", name.chars().map(escape).collect::<String>())
        }
    }
}

fn most_common(graph: &Graph) -> String {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for weight in graph.weights.values() {
        *counts.entry(&weight.grid).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|c| c.1);
    most.map_or("int8", |c| c.0).to_string()
}

/// The settings as a file for `quantize --config`.
pub(super) fn config(settings: &Settings) -> String {
    config::write(settings)
}

/// The settings as a command line.
pub(super) fn command(float: &Model, settings: &Settings) -> String {
    let path = float.path().map_or("FLOAT.onnx".into(), |p| p.to_string_lossy());
    let mut line = format!("lowbit quantize {}", quoted(&path));
    for (key, setting) in settings {
        match setting {
            Setting::Switch(_) => line.push_str(&format!(" --{}", key.name)),
            Setting::Values(values) => {
                for value in values {
                    line.push_str(&format!(" --{} {}", key.name, quoted(value)));
                }
            }
        }
    }
    line
}

/// As a POSIX shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_reach_the_shell_and_the_rules_whole() {
        assert_eq!(quoted("/model.0/conv/Conv"), "/model.0/conv/Conv");
        assert_eq!(quoted("it's 1"), "'it'\\''s 1'");
        assert_eq!(quoted(""), "''");
        assert_eq!(pattern("/model.0/Conv"), "/model.0/Conv");
        for name in ["first", "re:x", "type:Conv"] {
            let rule: crate::quantize::Rule = format!("{}=float", pattern(name)).parse().unwrap();
            assert!(
                rule.matches(name, "Gemm", crate::quantize::Role::Linear),
                "{name}"
            );
        }
    }
}
