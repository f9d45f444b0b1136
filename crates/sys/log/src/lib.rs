//! Error and access log sinks: nginx's line form, files, stderr, syslog, and the cached texts of the time.
//! What is worth a line, and which files to open, is left to the caller.

mod access;
pub mod clock;
mod error_log;
mod file;
mod line;
mod syslog;

pub use access::{AccessOptions, AccessSink, Loss};
pub use error_log::{ErrorLog, Output, Sink};
pub use file::{LogFile, open_append};
pub use line::{Context, Errno, escape, startup_line};
pub use syslog::Syslog;
pub use weir_model::{Level, SyslogTarget};
