//! The few forms of YAML that YOLO's data files use: top-level keys with a scalar, a list or a map of scalars, in
//! block or flow style. Unknown keys (`download: |`, `nc`, `roboflow`) are passed over with their block.

use std::path::Path;

use super::{ReadError, text};

/// What is used of a data file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Config {
    /// Folder from which the splits are meant.
    pub(super) path: Option<String>,
    /// Folders or lists of each split.
    pub(super) splits: Vec<(String, Vec<String>)>,
    /// Class names.
    pub(super) names: Vec<String>,
}

/// A key with the text that belongs to it: the rest of its line and the lines below it.
struct Block<'a> {
    line: usize,
    key: &'a str,
    rest: &'a str,
    below: Vec<(usize, &'a str)>,
}

impl Block<'_> {
    /// Whether a list or map in flow style still waits for its bracket.
    fn is_open(&self) -> bool {
        let close = match self.rest.chars().next() {
            Some('[') => ']',
            Some('{') => '}',
            _ => return false,
        };
        let last = self
            .below
            .last()
            .map_or(self.rest, |(_, row)| uncommented(row).trim());
        !last.ends_with(close)
    }
}

/// Reads the text of a data file.
pub(super) fn parse(path: &Path, content: &str) -> Result<Config, ReadError> {
    let mut config = Config::default();
    let mut named = false;
    for block in blocks(path, content)? {
        match block.key {
            "path" => {
                config.path = scalars(path, &block)?
                    .into_iter()
                    .next()
                    .filter(|p| !p.is_empty())
            }
            "train" | "val" | "test" => {
                let sources: Vec<String> = scalars(path, &block)?
                    .into_iter()
                    .filter(|s| !s.is_empty())
                    .collect();
                if !sources.is_empty() {
                    config.splits.push((block.key.to_owned(), sources));
                }
            }
            "names" => {
                config.names = names(path, &block)?;
                named = true;
            }
            _ => {}
        }
    }
    if !named || config.names.is_empty() {
        return Err(ReadError::syntax(
            path,
            1,
            "no class names: a data file has a key `names` with a list or map",
        ));
    }
    Ok(config)
}

fn blocks<'a>(path: &Path, content: &'a str) -> Result<Vec<Block<'a>>, ReadError> {
    let mut out: Vec<Block> = Vec::new();
    for (k, raw) in content.lines().enumerate() {
        let (line, row) = (k + 1, raw.trim_end());
        let body = row.trim_start();
        if body.is_empty() || body.starts_with('#') || row.starts_with("---") || row == "..." {
            continue;
        }
        let belongs =
            body.len() < row.len() || item(body).is_some() || out.last().is_some_and(Block::is_open);
        if belongs {
            match out.last_mut() {
                Some(block) => block.below.push((line, row)),
                None => {
                    return Err(ReadError::syntax(
                        path,
                        line,
                        "an indented line before the first key",
                    ));
                }
            }
            continue;
        }
        let Some((key, rest)) = row.split_once(':') else {
            return Err(ReadError::syntax(
                path,
                line,
                format!("{} is not `key: value`", text::quoted(row)),
            ));
        };
        out.push(Block {
            line,
            key: key.trim().trim_matches(['"', '\'']),
            rest: uncommented(rest).trim(),
            below: Vec::new(),
        });
    }
    Ok(out)
}

/// A scalar, or the scalars of a list.
fn scalars(path: &Path, block: &Block) -> Result<Vec<String>, ReadError> {
    if block.rest.starts_with('[') {
        return flow(path, block);
    }
    if !block.rest.is_empty() && !matches!(block.rest, "|" | ">" | "null" | "~") {
        return Ok(vec![scalar(path, block.line, block.rest)?]);
    }
    let mut out = Vec::new();
    for (line, row) in &block.below {
        if let Some(item) = item(row) {
            out.push(scalar(path, *line, uncommented(item).trim())?);
        }
    }
    Ok(out)
}

/// What follows the dash of a list.
fn item(row: &str) -> Option<&str> {
    let body = row.trim_start();
    if body == "-" {
        Some("")
    } else {
        body.strip_prefix("- ")
    }
}

fn names(path: &Path, block: &Block) -> Result<Vec<String>, ReadError> {
    if block.rest.starts_with('[') {
        return flow(path, block);
    }
    let mut pairs = Vec::new();
    if block.rest.starts_with('{') {
        for part in flow(path, block)? {
            // The parts are unquoted already where they are quoted as a whole; keys of a map never are.
            pairs.push(pair(path, block.line, &part)?);
        }
    } else if !block.rest.is_empty() {
        return Err(ReadError::syntax(
            path,
            block.line,
            "`names` is neither a list nor a map",
        ));
    } else if block.below.iter().any(|(_, row)| item(row).is_some()) {
        return scalars(path, block);
    } else {
        for (line, row) in &block.below {
            pairs.push(pair(path, *line, uncommented(row).trim())?);
        }
    }
    let n = pairs.len();
    let mut out: Vec<Option<String>> = vec![None; n];
    for (line, index, name) in pairs {
        match out.get_mut(index) {
            Some(slot @ None) => *slot = Some(name),
            Some(Some(_)) => {
                return Err(ReadError::syntax(
                    path,
                    line,
                    format!("class {index} is named twice"),
                ));
            }
            None => {
                let what = format!(
                    "class {index} of {n}: the numbers must be 0 … {}",
                    n.saturating_sub(1)
                );
                return Err(ReadError::syntax(path, line, what));
            }
        }
    }
    Ok(out.into_iter().flatten().collect())
}

/// `3: name`.
fn pair(path: &Path, line: usize, part: &str) -> Result<(usize, usize, String), ReadError> {
    let wrong = || {
        ReadError::syntax(
            path,
            line,
            format!("{} is not `number: name`", text::quoted(part)),
        )
    };
    let (key, value) = part.split_once(':').ok_or_else(wrong)?;
    let index = key
        .trim()
        .trim_matches(['"', '\''])
        .parse()
        .map_err(|_| wrong())?;
    Ok((line, index, scalar(path, line, value.trim())?))
}

/// The parts of `[a, 'b', "c"]` or `{0: a, 1: b}`, which may run over several lines.
fn flow(path: &Path, block: &Block) -> Result<Vec<String>, ReadError> {
    let mut all = block.rest.to_owned();
    for (_, row) in &block.below {
        all.push(' ');
        all.push_str(uncommented(row).trim());
    }
    let (open, close) = if all.starts_with('[') {
        ('[', ']')
    } else {
        ('{', '}')
    };
    let inner = all
        .trim()
        .strip_prefix(open)
        .and_then(|s| s.strip_suffix(close))
        .ok_or_else(|| ReadError::syntax(path, block.line, format!("`{open}` without `{close}`")))?;
    let mut parts = vec![String::new()];
    let mut quote = Quote::default();
    for c in inner.chars() {
        if quote.passes(c) && c == ',' {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    // A comma may stand after the last part.
    if parts.last().is_some_and(|p| p.trim().is_empty()) {
        parts.pop();
    }
    parts
        .iter()
        .map(|p| {
            if open == '[' {
                scalar(path, block.line, p.trim())
            } else {
                Ok(p.trim().to_owned())
            }
        })
        .collect()
}

/// Whether the walk over a text is inside quotes.
#[derive(Default)]
struct Quote {
    open: Option<char>,
    escaped: bool,
    /// The last character belongs to a plain word: an apostrophe after it opens nothing.
    word: bool,
}

impl Quote {
    /// Takes the next character; whether it stands outside quotes.
    fn passes(&mut self, c: char) -> bool {
        match self.open {
            None if !self.word && (c == '"' || c == '\'') => self.open = Some(c),
            None => {
                self.word = c.is_alphanumeric();
                return true;
            }
            Some('"') if self.escaped => self.escaped = false,
            Some('"') if c == '\\' => self.escaped = true,
            Some(q) if c == q => self.open = None,
            Some(_) => {}
        }
        false
    }
}

/// The text before a comment: ` #` outside quotes.
fn uncommented(row: &str) -> &str {
    let mut quote = Quote::default();
    let mut space = true;
    for (at, c) in row.char_indices() {
        let outside = quote.passes(c);
        if outside && c == '#' && space {
            return &row[..at];
        }
        space = c.is_whitespace();
    }
    row
}

/// A plain or quoted scalar.
fn scalar(path: &Path, line: usize, part: &str) -> Result<String, ReadError> {
    let unclosed = || {
        ReadError::syntax(
            path,
            line,
            format!("the quotation {} is not closed", text::quoted(part)),
        )
    };
    if let Some(inner) = part.strip_prefix('\'') {
        return Ok(inner.strip_suffix('\'').ok_or_else(unclosed)?.replace("''", "'"));
    }
    if part.starts_with('"') {
        // YAML's double-quoted style is JSON's strings, but for escapes that do not occur in such files.
        return serde_json::from_str(part).map_err(|_| unclosed());
    }
    Ok(part.to_owned())
}
