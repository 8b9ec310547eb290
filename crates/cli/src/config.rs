//! Configuration files: every long flag is a key. Flags win over the file, the file over defaults.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgAction, ArgMatches, Command};
use lowbit::{Error, ErrorKind, Result};
use toml::Value;

/// Keys that make no sense in a file.
const NEVER: [&str; 4] = ["config", "print-config", "help", "version"];

/// The arguments with those of `--config` put in where the command line does not give them.
pub(crate) fn merged(root: &Command, given: Vec<OsString>) -> Result<Vec<OsString>> {
    let Some(path) = config_path(&given) else {
        return Ok(given);
    };
    let path = Path::new(&path);
    let named = given
        .get(1)
        .and_then(|a| a.to_str())
        .and_then(|n| root.find_subcommand(n));
    let Some(command) = named else {
        return Ok(given);
    };
    let wrong = |message: String| Error::new(ErrorKind::Usage, format!("{}: {message}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::new(ErrorKind::Io, format!("{}: {e}", path.display())))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e
            .span()
            .map_or(0, |s| text[..s.start.min(text.len())].lines().count().max(1));
        wrong(format!("line {line}: {}", e.message()))
    })?;
    let keys: Vec<&str> = command
        .get_arguments()
        .filter_map(|a| a.get_long())
        .filter(|k| !NEVER.contains(k))
        .collect();
    let mut extra: Vec<OsString> = Vec::new();
    for (key, value) in &table {
        let argument = command
            .get_arguments()
            .find(|a| a.get_long() == Some(key.as_str()) && keys.contains(&key.as_str()));
        let Some(argument) = argument else {
            let near = keys
                .iter()
                .min_by_key(|k| strsim::damerau_levenshtein(key, k))
                .copied()
                .unwrap_or_default();
            return Err(wrong(format!(
                "there is no key \"{key}\" for {}; did you mean \"{near}\"?",
                command.get_name()
            )));
        };
        if is_given(&given, key, argument.get_short()) {
            continue;
        }
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            match value {
                Value::Boolean(true) => extra.push(format!("--{key}").into()),
                Value::Boolean(false) => {}
                _ => return Err(wrong(format!("\"{key}\" must be true or false"))),
            }
            continue;
        }
        let values = match value {
            Value::Array(values) if matches!(argument.get_action(), ArgAction::Append) => values.as_slice(),
            Value::Array(_) | Value::Table(_) => {
                return Err(wrong(format!("\"{key}\" takes one value")));
            }
            one => std::slice::from_ref(one),
        };
        for value in values {
            extra.push(format!("--{key}={}", plain(value)).into());
        }
    }
    let mut merged = given;
    let at = 2.min(merged.len());
    merged.splice(at..at, extra);
    Ok(merged)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// The value of the last `--config`.
fn config_path(given: &[OsString]) -> Option<OsString> {
    let mut found = None;
    for (i, a) in given.iter().enumerate() {
        match a.to_str() {
            Some("--") => break,
            Some("--config") => found = given.get(i + 1).cloned(),
            Some(text) => found = text.strip_prefix("--config=").map(Into::into).or(found),
            None => {}
        }
    }
    found
}

fn is_given(given: &[OsString], long: &str, short: Option<char>) -> bool {
    given
        .iter()
        .skip(2)
        .take_while(|a| *a != "--")
        .filter_map(|a| a.to_str())
        .any(|a| {
            let name = a.strip_prefix("--").map(|a| a.split('=').next().unwrap_or(a));
            name == Some(long)
                || short.is_some_and(|s| a.starts_with('-') && !a.starts_with("--") && a[1..].starts_with(s))
        })
}

/// The merged settings of a command as TOML: a file for `--config`.
pub(crate) fn printed(root: &Command, matches: &ArgMatches) -> String {
    let Some((name, matches)) = matches.subcommand() else {
        return String::new();
    };
    let Some(command) = root.find_subcommand(name) else {
        return String::new();
    };
    let mut table = toml::Table::new();
    for argument in command.get_arguments() {
        let Some(key) = argument.get_long().filter(|k| !NEVER.contains(k)) else {
            continue;
        };
        let id = argument.get_id().as_str();
        let value = match argument.get_action() {
            ArgAction::SetTrue => Some(Value::Boolean(matches.get_flag(id))),
            action => {
                let raw = matches.get_raw(id).into_iter().flatten();
                let values: Vec<Value> = raw.map(|v| typed(&v.to_string_lossy())).collect();
                match (action, values.len()) {
                    (_, 0) => None,
                    (ArgAction::Append, _) => Some(Value::Array(values)),
                    _ => values.into_iter().next_back(),
                }
            }
        };
        if let Some(value) = value {
            table.insert(key.to_string(), value);
        }
    }
    format!("# lowbit {name}\n{table}")
}

/// Numbers that come back as they were; everything else is a string.
fn typed(text: &str) -> Value {
    if let Ok(n) = text.parse::<i64>()
        && n.to_string() == text
    {
        return Value::Integer(n);
    }
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x.to_string() == text => Value::Float(x),
        _ => Value::String(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn merge(arguments: &[&str], file: &str) -> Result<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        let mut given: Vec<OsString> = vec!["lowbit".into()];
        given.extend(arguments.iter().map(Into::into));
        given.extend(["--config".into(), path.into_os_string()]);
        let merged = merged(&crate::Cli::command(), given)?;
        Ok(merged[..merged.len() - 2]
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect())
    }

    #[test]
    fn flags_win_and_the_file_fills_the_rest() {
        let merged = merge(
            &["doctor", "--threads=2"],
            "threads = 7\njson = true\nquiet = false",
        )
        .unwrap();
        assert_eq!(merged, ["lowbit", "doctor", "--json", "--threads=2"]);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let e = merge(&["doctor"], "thread = 7").unwrap_err();
        assert!(e.to_string().contains("did you mean \"threads\"?"), "{e}");
        assert_eq!(e.kind(), ErrorKind::Usage);
        let e = merge(&["doctor"], "a = [\n").unwrap_err();
        assert!(e.to_string().contains("line "), "{e}");
        assert!(merge(&["doctor"], "json = 3").is_err());
        assert!(merge(&["doctor"], "threads = [1, 2]").is_err());
    }
}
