//! Configuration files: every long flag is a key. Flags win over the file, the file over defaults.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use lowbit::config::{self, Key, Setting, Takes};
use lowbit::{Error, ErrorKind, Result};

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
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::new(
            ErrorKind::Io,
            format!("{}: {e}; --config takes a TOML file", path.display()),
        )
    })?;
    let mut extra: Vec<OsString> = Vec::new();
    for (key, setting) in config::read(&text, command.get_name(), &keys(command)).map_err(wrong)? {
        let argument = argument(command, &key);
        if is_given(&given, &key, argument.and_then(Arg::get_short)) {
            continue;
        }
        match setting {
            Setting::Switch(true) => extra.push(format!("--{key}").into()),
            Setting::Switch(false) => {}
            Setting::Values(values) => extra.extend(values.iter().map(|v| format!("--{key}={v}").into())),
        }
    }
    let mut merged = given;
    let at = 2.min(merged.len());
    merged.splice(at..at, extra);
    Ok(merged)
}

/// What the file may say for a command.
fn keys(command: &Command) -> Vec<Key> {
    let named = |a: &Arg| a.get_long().filter(|k| !NEVER.contains(k)).map(String::from);
    let key = |a: &Arg| {
        let takes = match a.get_action() {
            ArgAction::SetTrue => Takes::Switch,
            ArgAction::Append => Takes::Many,
            _ => Takes::One,
        };
        named(a).map(|name| Key { name, takes })
    };
    command.get_arguments().filter_map(key).collect()
}

fn argument<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|a| a.get_long() == Some(key))
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
    let setting = |key: Key| {
        let id = argument(command, &key.name)?.get_id().as_str();
        let setting = match key.takes {
            Takes::Switch => Setting::Switch(matches.get_flag(id)),
            _ => {
                let raw = matches.get_raw(id)?;
                Setting::Values(raw.map(|v| v.to_string_lossy().into_owned()).collect())
            }
        };
        Some((key, setting))
    };
    let settings: Vec<(Key, Setting)> = keys(command).into_iter().filter_map(setting).collect();
    format!("# lowbit {name}\n{}", config::write(&settings))
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
