//! What has to be known again after a restart: states that people gave to peers.

use std::io;
use std::path::{Path, PathBuf};

use weir_directory::Memory;

/// The file that holds it.
#[derive(Debug, Clone)]
pub(super) struct MemoryFile {
    path: PathBuf,
}

impl MemoryFile {
    /// In the folder of a process.
    pub(super) fn in_folder(folder: &Path) -> MemoryFile {
        MemoryFile { path: folder.join("states.json") }
    }

    /// What was written last; an empty memory where there is no file.
    pub(super) fn read(&self) -> Result<Memory, String> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Memory::default()),
            Err(error) => return Err(self.failed("read", &error)),
        };
        serde_json::from_slice(&text).map_err(|error| {
            let path = self.path.display();
            format!("{path} is not what this program wrote: {error}; the states of peers that were set by hand are forgotten, remove the file or mend it")
        })
    }

    /// Writes it so that either the old or the new text is there, whatever happens meanwhile.
    pub(super) fn write(&self, memory: &Memory) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(memory).map_err(|error| error.to_string())?;
        weir_net::replace_file(&self.path, &text, 0o600).map_err(|error| self.failed("write", &error))
    }

    fn failed(&self, what: &str, error: &io::Error) -> String {
        let path = self.path.display();
        format!(
            "cannot {what} {path}: {error}; states of peers that are set by hand will not live through a restart"
        )
    }
}
