//! Why a whole answer is not believed.

/// What is wrong with an answer. The list that was known before stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    #[error("the answer is empty, expected {0}")]
    Empty(&'static str),
    #[error(
        "the answer cannot be read: {problem}; expected {expected}; does the address lead to the store itself?"
    )]
    Unreadable { problem: String, expected: &'static str },
    /// What the store says itself.
    #[error("the store answers error {code}: {message}")]
    Store { code: i64, message: String },
}

/// Reads JSON of a shape.
pub(crate) fn json<'a, T: serde::Deserialize<'a>>(
    body: &'a [u8],
    expected: &'static str,
) -> Result<T, Defect> {
    if body.trim_ascii().is_empty() {
        return Err(Defect::Empty(expected));
    }
    serde_json::from_slice(body)
        .map_err(|problem| Defect::Unreadable { problem: problem.to_string(), expected })
}
