//! Text with variables, as in `proxy_set_header X-Real-IP $remote_addr`.

use serde::{Deserialize, Serialize};

use crate::Variable;

/// A sequence of literal text, variables and captures of the last matched regex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub Vec<Part>);

/// One piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Text(String),
    Variable(Variable),
    /// `$1` to `$9`.
    Capture(u8),
}

impl Template {
    /// A template of text alone.
    #[must_use]
    pub fn text(text: &str) -> Self {
        if text.is_empty() { Self(Vec::new()) } else { Self(vec![Part::Text(text.to_owned())]) }
    }

    /// The text, when there is nothing to evaluate.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}
