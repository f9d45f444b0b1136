//! Why a store was not read or written.

use crate::proxies::ProxyError;

/// Why a store was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Tried on by every operation but [`crate::store::Store::reach`].
    #[error("{problem}")]
    Unreachable { problem: String },
    #[error("the store answers {status} ({text}) when asked to {doing}; {hint}")]
    Refused { doing: String, status: u16, text: String, hint: &'static str },
    #[error("the store's key {key} is unreadable: {problem}; expected {expected}")]
    Unreadable { key: String, problem: String, expected: &'static str },
    #[error(
        "server {server} has no key {key} in the store; name one that is there, or another prefix with --prefix"
    )]
    UnknownServer { server: String, key: String },
    #[error("key {key} was changed back by others {rounds} times; stop the other writer, then resume")]
    Contended { key: String, rounds: u32 },
    #[error("key {key} was written by another release; expected to be alone: look with weir rollout status")]
    Overtaken { key: String },
    #[error("the lock is lost ({why}); nothing is written without it")]
    LockLost { why: String },
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
}

impl StoreError {
    pub(crate) fn unreachable(problem: impl Into<String>) -> Self {
        Self::Unreachable { problem: problem.into() }
    }

    pub(crate) fn unreadable(key: &str, problem: impl ToString, expected: &'static str) -> Self {
        Self::Unreadable { key: key.to_owned(), problem: problem.to_string(), expected }
    }

    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }

    /// It may pass by itself.
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Proxy(ProxyError::Unreachable { .. }))
    }
}
