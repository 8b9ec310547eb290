//! Configuration files: settings of a command as TOML, one key per long flag. What a command knows is given as a list of [`Key`]s, so
//! that nothing here depends on how arguments are parsed.

use quant::names::{did_you_mean, nearest};
use toml::Value;

/// How many values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// true or false.
    Switch,
    /// One number or string.
    One,
    /// One, or an array of them.
    Many,
}

/// A key that a command knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The long flag without its dashes.
    pub name: String,
    /// How many values it takes.
    pub takes: Takes,
}

/// A key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// Of a [`Takes::Switch`].
    Switch(bool),
    /// Of the others, as they would stand on a command line.
    Values(Vec<String>),
}

/// The settings of a file, sorted by key.
///
/// # Errors
/// The sentence that says what is wrong: no TOML (with its line), a key that the command does not know (with the nearest), a value
/// of another kind.
///
/// ```
/// use lowbit::config::{Key, Setting, Takes, read};
/// let keys = [Key { name: "threads".into(), takes: Takes::One }];
/// let settings = read("threads = 2", "bench", &keys).unwrap();
/// assert_eq!(settings, [("threads".into(), Setting::Values(vec!["2".into()]))]);
/// assert!(read("thread = 2", "bench", &keys).unwrap_err().contains("did you mean \"threads\"?"));
/// ```
pub fn read(text: &str, command: &str, keys: &[Key]) -> Result<Vec<(String, Setting)>, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(0, |s| train::recipe::line(text, s.start));
        format!("line {line}: {}", e.message())
    })?;
    table
        .into_iter()
        .map(|(name, value)| {
            let key = keys
                .iter()
                .find(|k| k.name == name)
                .ok_or_else(|| unknown(&name, command, keys))?;
            let setting = setting(key, value)?;
            Ok((name, setting))
        })
        .collect()
}

fn unknown(name: &str, command: &str, keys: &[Key]) -> String {
    // Names of a file may be of any length and hold anything.
    let name: String = name.chars().take(64).collect();
    let near = did_you_mean(nearest(&name, keys.iter().map(|k| k.name.as_str())));
    format!(
        "there is no key \"{}\" for {command}{near} (`lowbit {command} --help` lists the flags, which are the keys)",
        crate::text::printable(&name)
    )
}

fn setting(key: &Key, value: Value) -> Result<Setting, String> {
    let name = &key.name;
    let one = |value: &Value| match value {
        Value::String(s) => Ok(s.clone()),
        Value::Array(_) | Value::Table(_) => Err(format!("\"{name}\" takes one value")),
        other => Ok(other.to_string()),
    };
    match (key.takes, value) {
        (Takes::Switch, Value::Boolean(on)) => Ok(Setting::Switch(on)),
        (Takes::Switch, _) => Err(format!("\"{name}\" must be true or false")),
        (Takes::Many, Value::Array(values)) => {
            Ok(Setting::Values(values.iter().map(one).collect::<Result<_, _>>()?))
        }
        (_, value) => Ok(Setting::Values(vec![one(&value)?])),
    }
}

/// Settings as TOML, which [`read`] takes back.
pub fn write(settings: &[(Key, Setting)]) -> String {
    let mut table = toml::Table::new();
    for (key, setting) in settings {
        let value = match (key.takes, setting) {
            (_, Setting::Switch(on)) => Value::Boolean(*on),
            (Takes::Many, Setting::Values(all)) => Value::Array(all.iter().map(|v| typed(v)).collect()),
            (_, Setting::Values(all)) => match all.last() {
                Some(last) => typed(last),
                None => continue,
            },
        };
        table.insert(key.name.clone(), value);
    }
    table.to_string()
}

/// Numbers that come back as they were; everything else is a string.
fn typed(text: &str) -> Value {
    if let Ok(n) = text.parse::<i64>()
        && n.to_string() == text
    {
        return Value::Integer(n);
    }
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && Value::Float(x).to_string() == text => Value::Float(x),
        _ => Value::String(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Key> {
        let key = |name: &str, takes| Key {
            name: name.into(),
            takes,
        };
        vec![
            key("quiet", Takes::Switch),
            key("threads", Takes::One),
            key("tensor-type", Takes::Many),
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for values in [
            vec!["1"],
            vec!["0.5", "-0", "1e3"],
            vec!["nan", "01", "x = \"y\"\n[z]"],
            vec![],
        ] {
            let values: Vec<String> = values.into_iter().map(Into::into).collect();
            let many = ("tensor-type".to_string(), Setting::Values(values));
            let text = write(&[(keys()[2].clone(), many.1.clone())]);
            assert_eq!(read(&text, "quantize", &keys()).unwrap(), [many], "{text}");
        }
    }

    #[test]
    fn a_wrong_file_says_where_and_why() {
        for (text, expect) in [
            ("threads = 1\na = [\n", "line "),
            ("thread = 7", "did you mean \"threads\"?"),
            ("quiet = 3", "\"quiet\" must be true or false"),
            ("threads = [1, 2]", "\"threads\" takes one value"),
            ("tensor-type = [[1]]", "\"tensor-type\" takes one value"),
            ("threads = {a = 1}", "\"threads\" takes one value"),
            ("\"\\u001b[2J\" = 1", "there is no key"),
        ] {
            let e = read(text, "doctor", &keys()).unwrap_err();
            assert!(e.contains(expect) && !e.contains(char::is_control), "{text}: {e}");
        }
    }
}
