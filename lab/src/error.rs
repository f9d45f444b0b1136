//! What can go wrong, sorted by who is to blame: the machine, the caller, a program under test.

use std::io;
use std::time::Duration;

/// Why a laboratory cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks a program or a permission.
    #[error("{missing}; {remedy}")]
    Refused { missing: String, remedy: String },
    /// A tool that builds the laboratory failed.
    #[error("`{command}` failed: {output}")]
    Tool { command: String, output: String },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// Something awaited did not come.
    #[error("waited {waited:?} in vain for {what}")]
    Late { what: String, waited: Duration },
    /// The scenario or a call names something that does not exist, or makes no sense.
    #[error("{0}")]
    Wrong(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    pub(crate) fn wrong(text: impl Into<String>) -> Error {
        Error::Wrong(text.into())
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Error {
        Error::Io { what: "a system call".to_owned(), source: errno.into() }
    }
}
