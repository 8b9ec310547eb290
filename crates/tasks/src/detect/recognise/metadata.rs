//! What Ultralytics writes into the metadata of its exports.

/// The integers in a text such as `[320, 320]`.
pub(super) fn integers(text: &str) -> Vec<usize> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|t| t.parse().ok())
        .collect()
}

/// Class names of Ultralytics' `names`: a Python dictionary `{0: 'person', 1: "d'or"}` or list `['a', 'b']`. `None` when
/// the text is anything else, or the keys are not 0, 1, 2 ….
pub(super) fn python_names(text: &str) -> Option<Vec<String>> {
    let dict = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    let list = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let mut rest = dict.or(list)?.trim();
    let mut names = Vec::new();
    while !rest.is_empty() {
        if dict.is_some() {
            let (key, after) = rest.split_once(':')?;
            if key.trim().parse() != Ok(names.len()) {
                return None;
            }
            rest = after.trim_start();
        }
        let mut chars = rest.char_indices();
        let quote = chars.next().map(|(_, c)| c).filter(|c| matches!(c, '\'' | '"'))?;
        let mut name = String::new();
        let end = loop {
            match chars.next()? {
                (_, '\\') => name.push(chars.next()?.1),
                (at, c) if c == quote => break at + 1,
                (_, c) => name.push(c),
            }
        };
        names.push(name);
        rest = rest.get(end..)?.trim_start();
        rest = rest
            .strip_prefix(',')
            .or(rest.is_empty().then_some(""))?
            .trim_start();
    }
    (!names.is_empty()).then_some(names)
}
