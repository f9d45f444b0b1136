//! The log files: opened here, where the rights are, and handed to the worker.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use weir_log::{ErrorLog, LogFile, Output, Sink, Syslog, open_append};
use weir_model::log::AccessTarget;
use weir_model::{Config, LogTarget};

use crate::journal::Journal;
use crate::place;

/// The open log files of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    files: BTreeMap<String, OwnedFd>,
}

impl Logs {
    /// Opens all files that a configuration names. Errors were told.
    pub(crate) fn open(config: &Config, journal: &Journal) -> Option<Logs> {
        let mut files = BTreeMap::new();
        for path in paths(config) {
            place::make_state_folder(&path);
            match open_append(Path::new(&path)) {
                Ok(fd) => drop(files.insert(path, fd)),
                Err(error) => {
                    journal.emerg(format_args!("open() \"{path}\" failed {}", weir_log::Errno(&error)));
                    return None;
                }
            }
        }
        Some(Logs { files })
    }

    /// Opens all files again after a rotation; one that cannot be opened stays as it is.
    pub(crate) fn reopen(&mut self, journal: &Journal) {
        for (path, fd) in &mut self.files {
            match open_append(Path::new(path)) {
                Ok(fresh) => *fd = fresh,
                Err(error) => {
                    journal.emerg(format_args!("open() \"{path}\" failed {}", weir_log::Errno(&error)));
                }
            }
        }
    }

    /// Paths and files, in one order.
    pub(crate) fn files(&self) -> (Vec<String>, Vec<BorrowedFd<'_>>) {
        (self.files.keys().cloned().collect(), self.files.values().map(AsFd::as_fd).collect())
    }

    /// The first file of the main level's log.
    pub(crate) fn main_file(&self, config: &Config) -> Option<OwnedFd> {
        let paths = config.process.error_log.iter().filter_map(|log| match &log.target {
            LogTarget::File(path) => Some(path),
            _ => None,
        });
        paths.into_iter().find_map(|path| self.files.get(path)?.try_clone().ok())
    }

    /// The log of the main level.
    pub(crate) fn error_log(&self, config: &Config) -> ErrorLog {
        error_log(&config.process.error_log, |path| self.files.get(path)?.try_clone().ok())
    }
}

/// Puts an error log together; `open` gives the file of a path.
pub(crate) fn error_log(lines: &[weir_model::ErrorLog], open: impl Fn(&str) -> Option<OwnedFd>) -> ErrorLog {
    let sink = |target: &LogTarget| -> io::Result<Sink> {
        Ok(match target {
            LogTarget::File(path) => {
                let fd = open(path).ok_or(io::ErrorKind::NotFound)?;
                Sink::File(Arc::new(LogFile::new(fd)))
            }
            LogTarget::Stderr => Sink::Stderr,
            LogTarget::Syslog(target) => Sink::Syslog(Arc::new(Syslog::new(target)?)),
            LogTarget::Memory => Sink::Memory,
        })
    };
    let outputs = lines.iter().map(|line| {
        // A log that cannot be had must not be missed in silence: standard error stands in for it.
        let sink = sink(&line.target).unwrap_or(Sink::Stderr);
        Output { sink, level: line.level }
    });
    ErrorLog::new(outputs.collect())
}

/// The files of all logs on all levels, each once.
fn paths(config: &Config) -> Vec<String> {
    let settings = || config.http.iter().flat_map(|http| http.locations.iter().map(|l| &l.settings));
    let errors = settings().flat_map(|s| s.error_log.iter()).chain(&config.process.error_log);
    let accesses = settings().flat_map(|s| s.access_log.iter());
    let targets = errors.map(|log| &log.target).chain(accesses.filter_map(|log| match &log.target {
        AccessTarget::Log(target) => Some(target),
        AccessTarget::Template(_) => None,
    }));
    let mut paths: Vec<String> = targets
        .filter_map(|target| match target {
            LogTarget::File(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths
}
