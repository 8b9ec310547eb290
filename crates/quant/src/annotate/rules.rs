//! Overrides by role, name, pattern or operator type: `depthwise=int8`, `/head/conv=float`, `re:^/stem=int8`, `type:Gemm=affine8`.

use std::fmt;
use std::str::FromStr;

use super::Role;
use crate::grid::Grid;
use crate::names::nearest;

/// What an override does with the layers it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Another grid.
    Grid(Grid),
    /// The layer stays float.
    Float,
}

#[derive(Debug, Clone)]
enum Pattern {
    Role(Role),
    Name(String),
    Regex(Box<regex_lite::Regex>),
    Type(String),
}

/// One override, `PATTERN=ACTION`. Later overrides win.
#[derive(Debug, Clone)]
pub struct Rule {
    text: String,
    pattern: Pattern,
    action: Action,
}

impl Rule {
    /// What it does.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Whether it names a layer.
    pub fn matches(&self, name: &str, op: &str, role: Role) -> bool {
        match &self.pattern {
            Pattern::Role(r) => *r == role,
            Pattern::Name(n) => n == name,
            Pattern::Regex(r) => r.is_match(name),
            Pattern::Type(t) => t == op,
        }
    }

    /// A name near a pattern that matched nothing, of the same kind.
    pub(super) fn suggestion(&self, layers: &[(&str, &str, Role)]) -> Option<String> {
        match &self.pattern {
            Pattern::Role(_) | Pattern::Regex(_) => None,
            Pattern::Name(n) => {
                let roles = Role::ALL.iter().map(|r| r.as_str());
                nearest(n, layers.iter().map(|l| l.0).chain(roles)).map(str::to_string)
            }
            Pattern::Type(t) => nearest(t, layers.iter().map(|l| l.1)).map(|t| format!("type:{t}")),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((pattern, action)) = text.rsplit_once('=') else {
            return Err(format!("\"{text}\" is not PATTERN=GRID or PATTERN=float"));
        };
        let action = match action {
            "float" => Action::Float,
            grid => Action::Grid(grid.parse().map_err(|e| format!("{text}: {e}"))?),
        };
        let pattern = if let Some(re) = pattern.strip_prefix("re:") {
            let re = regex_lite::Regex::new(re).map_err(|e| format!("{text}: {e}"))?;
            Pattern::Regex(Box::new(re))
        } else if let Some(op) = pattern.strip_prefix("type:") {
            Pattern::Type(op.to_string())
        } else if let Ok(role) = pattern.parse() {
            Pattern::Role(role)
        } else {
            Pattern::Name(pattern.to_string())
        };
        Ok(Rule {
            text: text.to_string(),
            pattern,
            action,
        })
    }
}
