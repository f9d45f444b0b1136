//! Files of a host, read and written from outside: absolute paths are the host's own.

use std::fs::{self, Permissions};
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::error::{Error, Result};
use crate::host::Host;

impl Host {
    /// Where a path of the host is, seen from outside, while the host runs. Symbolic links with absolute targets lead
    /// elsewhere.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.space().outside(Path::new(path))
    }

    /// Writes a file, with the folders above it. A name that ends in `.sh` becomes executable.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let mode = if path.ends_with(".sh") { 0o755 } else { 0o644 };
        self.write_mode(path, text, mode)
    }

    /// As [`Host::write`], with the mode bits.
    pub fn write_mode(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        let file = self.outside(path);
        let name = format!("{}:{path}", self.name());
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(Error::io(&*name))?;
        }
        // A file of the machine may belong to a user who does not exist here: it is replaced.
        let _ = fs::remove_file(&file);
        fs::write(&file, text).map_err(Error::io(&*name))?;
        fs::set_permissions(&file, Permissions::from_mode(mode)).map_err(Error::io(name))
    }

    pub fn read(&self, path: &str) -> Result<String> {
        let bytes = fs::read(self.outside(path)).map_err(Error::io(format!("{}:{path}", self.name())))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until a file is there.
    pub fn wait_file(&self, path: &str, patience: Duration) -> Result<()> {
        self.wait_text(path, "", patience)
    }

    /// Waits until a file holds some text.
    pub fn wait_text(&self, path: &str, text: &str, patience: Duration) -> Result<()> {
        let file = self.outside(path);
        let there = || fs::read(&file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text));
        let folder = file.parent().unwrap_or(&file);
        fs::create_dir_all(folder).map_err(Error::io(format!("{}:{path}", self.name())))?;
        let notices = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let kinds = inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&notices, folder, kinds)?;
        let end = Instant::now() + patience;
        let mut room = [MaybeUninit::uninit(); 4096];
        while !there() {
            let left = end.saturating_duration_since(Instant::now());
            let time = Timespec::try_from(left).map_err(|_| Error::wrong("the time to wait is too long"))?;
            if matches!(poll(&mut [PollFd::new(&notices, PollFlags::IN)], Some(&time)), Ok(0)) {
                let what = format!("\"{text}\" in {path} of {}", self.name());
                return Err(Error::Late { what, waited: patience });
            }
            let mut reader = inotify::Reader::new(&notices, &mut room);
            while reader.next().is_ok() {}
        }
        Ok(())
    }
}
