//! The file that tells scripts which process to signal.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use weir_log::Errno;

use crate::journal::Journal;
use crate::place;

/// What the file of a process that gives way to a new binary is called.
pub(crate) fn old(path: &str) -> String {
    format!("{path}.oldbin")
}

/// Writes this process' id. Errors were told.
pub(crate) fn write(path: &str, journal: &Journal) -> Option<()> {
    place::make_state_folder(path);
    // The mode is said, because the umask may be empty, and this file names what root signals.
    let open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path);
    match open.and_then(|mut file| writeln!(file, "{}", std::process::id())) {
        Ok(()) => Some(()),
        Err(error) => {
            journal.emerg(format_args!("open() \"{path}\" failed {}", Errno(&error)));
            None
        }
    }
}

/// Removes the file, unless another server has written its own id into it meanwhile.
pub(crate) fn remove(path: &str, journal: &Journal) {
    if read(path).is_ok_and(|pid| pid != std::process::id()) {
        return;
    }
    if let Err(error) = fs::remove_file(path) {
        journal.alert(format_args!("unlink() \"{path}\" failed {}", Errno(&error)));
    }
}

/// Moves the file, because another process is about to write its own, or has failed to.
pub(crate) fn rename(from: &str, to: &str, journal: &Journal) -> bool {
    let moved = fs::rename(from, to);
    if let Err(error) = &moved {
        journal.alert(format_args!("rename() {from} to {to} failed {}", Errno(error)));
    }
    moved.is_ok()
}

/// Reads the id of a running server; the error is nginx's text.
pub(crate) fn read(path: &str) -> Result<u32, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("open() \"{path}\" failed {}", Errno(&error)))?;
    let number = text.trim_end_matches(['\r', '\n']);
    number.parse().map_err(|_| format!("invalid PID number \"{number}\" in \"{path}\""))
}
