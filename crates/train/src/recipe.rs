//! A run as text: TOML, every key known, documented and with a default. The recipe is the whole description of a run: what overrides it
//! (`--set key=value`) changes the recipe, and the recipe is stored in every checkpoint and model.
//!
//! ```
//! use train::recipe::Recipe;
//! let recipe = Recipe::parse("model = \"net.onnx\"\n[method]\ngrid = \"lbw3\"\n", &["steps=20".into()]).unwrap();
//! assert_eq!((recipe.text("method.grid"), recipe.count("steps")), ("lbw3", 20));
//! let error = Recipe::parse("[optimiser]\nrate = 0.1\n", &[]).unwrap_err();
//! assert!(error.to_string().contains("\"optimizer.rate\""));
//! ```

mod check;
mod error;
mod keys;

use std::collections::BTreeMap;

use quant::names::nearest;
use toml::Value;

pub use error::{Fault, Place, RecipeError, line};
pub use keys::{FREE, KEYS, Key};

/// Where a run computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// On this machine's processor.
    Cpu,
    /// On the CUDA device of this number.
    Cuda(usize),
    /// On the first CUDA device where it can be used, else on the processor.
    Auto,
}

/// A complete, checked recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    values: BTreeMap<&'static str, Value>,
}

impl Recipe {
    /// Reads a recipe and overrides: `key=value` with a TOML value, or bare text.
    ///
    /// # Errors
    /// Text that is no TOML, keys that do not exist (with the nearest one), values of another type or outside of their range; with the line or
    /// the override.
    pub fn parse(text: &str, settings: &[String]) -> Result<Recipe, RecipeError> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| RecipeError {
            place: error::place_of(text, &e),
            fault: Fault::Toml(e.message().to_string()),
        })?;
        let mut given = Vec::new();
        flatten("", &Value::Table(table), &mut given);
        let mut recipe = Recipe {
            values: KEYS.iter().map(|k| (k.name, literal(k.default))).collect(),
        };
        for (key, value) in given {
            recipe.set(&key, value).map_err(|fault| RecipeError {
                place: error::place_of_key(text, &key),
                fault,
            })?;
        }
        for setting in settings {
            let assigned = setting.split_once('=').ok_or(Fault::Setting);
            assigned
                .and_then(|(key, value)| recipe.set(key.trim(), literal(value.trim())))
                .map_err(|fault| RecipeError {
                    place: Place::Setting(setting.clone()),
                    fault,
                })?;
        }
        recipe.check().map_err(|fault| {
            let Fault::Value { key, .. } = &fault else {
                unreachable!("a check refuses the value of a key");
            };
            let of_key = |s: &&String| s.split_once('=').is_some_and(|(k, _)| k.trim() == key);
            let place = match settings.iter().rev().find(of_key) {
                Some(setting) => Place::Setting(setting.clone()),
                None => error::place_of_key(text, key),
            };
            RecipeError { place, fault }
        })?;
        Ok(recipe)
    }

    fn set(&mut self, key: &str, value: Value) -> Result<(), Fault> {
        let known = KEYS.iter().find(|k| k.name == key).ok_or_else(|| unknown(key))?;
        self.values.insert(known.name, converted(known, value)?);
        Ok(())
    }

    fn get(&self, key: &str) -> &Value {
        self.values
            .get(key)
            .unwrap_or_else(|| panic!("{key} is no key of a recipe"))
    }

    /// A text.
    ///
    /// # Panics
    /// Here and below: when there is no such key, or it is of another type.
    pub fn text(&self, key: &str) -> &str {
        self.get(key)
            .as_str()
            .unwrap_or_else(|| panic!("{key} is no text"))
    }

    /// A number.
    pub fn number(&self, key: &str) -> f64 {
        let value = self.get(key);
        value
            .as_float()
            .or(value.as_integer().map(|i| i as f64))
            .unwrap_or_else(|| panic!("{key} is no number"))
    }

    /// A whole number, not negative.
    pub fn count(&self, key: &str) -> u64 {
        self.get(key)
            .as_integer()
            .unwrap_or_else(|| panic!("{key} is no whole number"))
            .max(0) as u64
    }

    /// Yes or no.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key)
            .as_bool()
            .unwrap_or_else(|| panic!("{key} is neither true nor false"))
    }

    /// A list of numbers.
    pub fn numbers(&self, key: &str) -> Vec<f64> {
        let number = |v: &Value| v.as_float().or(v.as_integer().map(|i| i as f64));
        self.get(key)
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(number)
            .collect()
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Vec<&str> {
        self.get(key)
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        device(self.text("device")).unwrap_or(Device::Cpu)
    }

    /// The recipe as TOML, a key a line, without the keys that change no number ([`FREE`]): what checkpoints and models keep, and what decides
    /// whether a run may go on.
    pub fn to_toml(&self) -> String {
        let keys = KEYS.iter().filter(|k| !FREE.contains(&k.name));
        keys.map(|k| format!("{} = {}\n", k.name, self.values[k.name]))
            .collect()
    }
}

fn device(text: &str) -> Option<Device> {
    match text {
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        "auto" => Some(Device::Auto),
        _ => text.strip_prefix("cuda:")?.parse().ok().map(Device::Cuda),
    }
}

/// Dotted keys of all values that are no tables.
fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let name = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&name, value, out);
            }
        }
        value => out.push((prefix.to_string(), value.clone())),
    }
}

/// A TOML value, or the text itself.
fn literal(text: &str) -> Value {
    let parsed = format!("x = {text}").parse::<toml::Table>();
    let value = parsed
        .ok()
        .filter(|t| t.len() == 1)
        .and_then(|mut t| t.remove("x"));
    value.unwrap_or_else(|| Value::String(text.to_string()))
}

fn unknown(key: &str) -> Fault {
    Fault::Unknown {
        key: key.into(),
        nearest: nearest(key, KEYS.iter().map(|k| k.name)),
    }
}

/// The value in the type of the key's default; whole numbers may stand for others.
fn converted(key: &Key, value: Value) -> Result<Value, Fault> {
    let default = literal(key.default);
    let want = match (&default, &value) {
        (Value::Float(_), Value::Integer(i)) => return Ok(Value::Float(*i as f64)),
        (Value::Array(a), Value::Array(b)) => {
            let numbers = a.iter().any(|v| v.as_float().is_some());
            let right = |v: &Value| match numbers {
                true => v.as_float().is_some() || v.as_integer().is_some(),
                false => v.as_str().is_some(),
            };
            if b.iter().all(right) {
                return Ok(value);
            }
            if numbers {
                "a list of numbers"
            } else {
                "a list of texts"
            }
        }
        _ if default.same_type(&value) => return Ok(value),
        (Value::Float(_), _) => "a number",
        (Value::Integer(_), _) => "a whole number",
        (Value::Boolean(_), _) => "true or false",
        (Value::Array(_), _) => "a list",
        _ => "a text",
    };
    Err(Fault::Value {
        key: key.name.into(),
        value: value.to_string(),
        want: want.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_a_recipe_and_it_reads_itself_back() {
        let recipe = Recipe::parse("", &[]).unwrap();
        assert_eq!(recipe.number("optimizer.rate"), 0.001);
        assert_eq!(recipe.numbers("augment.hsv"), [0.015, 0.5, 0.4]);
        assert_eq!(Recipe::parse(&recipe.to_toml(), &[]), Ok(recipe));
        for key in KEYS {
            assert!(!key.doc.is_empty() && !key.doc.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn faults_are_named_with_a_way_out() {
        let refused = |text: &str, settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
            Recipe::parse(text, &settings).unwrap_err().to_string()
        };
        assert!(refused("[metod]\ngrid = \"lbw4\"", &[]).contains("\"method.grid\""));
        assert!(refused("", &["stepz=3"]).contains("\"steps\""));
        assert!(refused("", &["steps"]).contains("KEY=VALUE"));
        assert!(refused("steps = 0", &[]).contains("at least 1"));
        assert!(refused("steps = \"many\"", &[]).contains("a whole number"));
        assert!(refused("augment.flip = 2", &[]).contains("0 … 1"));
        assert!(refused("augment.scale = [2, 1]", &[]).contains("ascending"));
        assert!(refused("method.rules = [1]", &[]).contains("a list of texts"));
        assert!(refused("method.name = \"lsp\"", &[]).contains("\"lsq\""));
        assert!(refused("steps = ", &[]).contains("no TOML"));
        assert!(refused("device = \"cuda:first\"", &[]).contains("cuda:N"));
    }

    #[test]
    fn faults_name_the_line_or_the_override() {
        let text = "steps = 3\n\n[optimizer] # a comment\nrate = 0.1\nmomentun = 0.9\nclip = -1\n\n[xylophone.\"a.b\"]\nz = 1\n";
        let refused = |without: &[&str], settings: &[&str]| {
            let keep = |l: &&str| !without.iter().any(|w| l.starts_with(w));
            let lines: Vec<&str> = text.lines().map(|l| if keep(&l) { l } else { "" }).collect();
            let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
            Recipe::parse(&lines.join("\n"), &settings)
                .unwrap_err()
                .to_string()
        };
        let near = "line 5: there is no key \"optimizer.momentun\"; did you mean \"optimizer.momentum\"? (`lowbit train --keys` lists all)";
        assert_eq!(refused(&[], &[]), near);
        let far = "line 9: there is no key \"xylophone.a.b.z\" (`lowbit train --keys` lists all)";
        assert_eq!(refused(&["momentun"], &[]), far);
        let rest = ["momentun", "[xylo", "z ="];
        let unset = refused(&rest, &["optimizer.rate=5000"]);
        assert_eq!(
            unset,
            "--set optimizer.rate=5000: \"optimizer.rate\" is 5000.0, but must be within 0 … 1000"
        );
        assert!(refused(&rest, &["steps"]).starts_with("--set steps: "));
        assert!(
            Recipe::parse("a = 1\nsteps = \n", &[])
                .unwrap_err()
                .to_string()
                .starts_with("line 2: ")
        );
        let fine = Recipe::parse("[optimizer]\n\nrate = 5000", &[]).unwrap_err();
        assert_eq!(fine.place, Place::Line(3));
    }

    #[test]
    fn settings_override_the_text_and_may_be_bare() {
        let settings = [
            "method.grid=pow2-4".to_string(),
            "augment.scale=[1, 1]".into(),
            "seed=7".into(),
        ];
        let recipe = Recipe::parse("[method]\ngrid = \"lbw2\"\n", &settings).unwrap();
        assert_eq!((recipe.text("method.grid"), recipe.count("seed")), ("pow2-4", 7));
        assert_eq!(recipe.numbers("augment.scale"), [1.0, 1.0]);
    }
}
