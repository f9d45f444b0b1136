//! Errors in the words that nginx uses, because operators grep for them.

use std::fmt;
use std::io;

use weir_model::ListenAddress;

/// `111: Connection refused`: the error number and the system's text for it, without brackets.
/// Errors that come from no system call render as their own text.
pub fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => {
            let suffix = format!(" (os error {code})");
            format!("{code}: {}", text.strip_suffix(&suffix).unwrap_or(&text))
        }
        None => text,
    }
}

/// The system call of a listener that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// socket(2)
    Socket,
    /// setsockopt(2) with the named option
    Option(&'static str),
    /// bind(2)
    Bind,
    /// listen(2) with this backlog
    Listen(i32),
    /// chmod(2) of a Unix socket's file
    Chmod,
}

/// A listener that could not be opened.
#[derive(Debug)]
pub struct BindError {
    /// what was called
    pub call: Call,
    /// what was to be listened on
    pub addr: ListenAddress,
    /// what the system answered
    pub source: io::Error,
}

impl BindError {
    pub(crate) fn new(call: Call, addr: &ListenAddress, source: io::Error) -> BindError {
        BindError { call, addr: addr.clone(), source }
    }

    /// Whether somebody else holds the address: the one failure that waiting may cure.
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = &self.addr;
        match self.call {
            Call::Socket => write!(f, "socket() {addr} failed")?,
            Call::Option(name) => write!(f, "setsockopt({name}) {addr} failed")?,
            Call::Bind => write!(f, "bind() to {addr} failed")?,
            Call::Listen(backlog) => write!(f, "listen() to {addr}, backlog {backlog} failed")?,
            Call::Chmod => write!(f, "chmod() \"{addr}\" failed")?,
        }
        write!(f, " ({})", errno_text(&self.source))
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
