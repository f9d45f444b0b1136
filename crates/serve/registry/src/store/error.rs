//! What can go wrong when the registry is opened or written.

use std::io;
use std::path::PathBuf;

use weir_registry::Refusal;

/// Why a registry was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Worth another try: who has it open may be about to end.
    #[error(
        "the registry {path:?} is open in another process; expected to have it alone: stop the other process or name \
         another folder"
    )]
    Locked { path: PathBuf },
    #[error(
        "the registry {path:?} is damaged: {reason}; {copy}; it is not replaced by an empty one: put a good copy in its \
         place, or move it away and restore a snapshot"
    )]
    Corrupted { path: PathBuf, reason: String, copy: Kept },
    /// The disk or its permissions.
    #[error("cannot open the registry {path:?}: {reason}; check the folder, its owner and the free space")]
    Io { path: PathBuf, reason: String },
    #[error("cannot start the registry's thread: {0}")]
    Thread(#[source] io::Error),
    #[error("cannot make an id for the registry's node: {0}")]
    Random(#[source] getrandom::Error),
}

/// What became of the copy of a damaged file.
#[derive(Debug)]
pub enum Kept {
    At(PathBuf),
    Failed(String),
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(path) => write!(f, "a copy is kept as {path:?}"),
            Self::Failed(reason) => write!(f, "no copy could be made of it: {reason}"),
        }
    }
}

/// Why a command was not obeyed. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// By the registry's rules.
    #[error(transparent)]
    Refused(Refusal),
    /// The disk does not take anything now; each further command tries again.
    #[error("the registry is read-only because its disk does not take writes: {reason}")]
    ReadOnly { reason: String },
    #[error("this is no snapshot of a registry: {0}")]
    Snapshot(String),
    #[error("the registry is closed")]
    Closed,
}
