//! A folder of this machine in place of a store: one file a key; the lock is a lock of the kernel on a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::StoreError;
use super::kv::{Acquired, Item};

/// The only session; it is the process.
const SESSION: &str = "process";

pub(crate) struct Folder {
    root: PathBuf,
    /// Open while this process has the lock.
    lock: Mutex<Option<File>>,
}

impl Folder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, lock: Mutex::default() }
    }

    fn file(&self, key: &str) -> PathBuf {
        // A name that is only dots is escaped as nobody else's is.
        let parts = key
            .split('/')
            .map(|part| if part.starts_with('.') { format!("%{part}") } else { part.to_owned() });
        parts.fold(self.root.clone(), |path, part| path.join(part))
    }

    /// Beside the key, because the key's file is replaced with each write.
    fn guard(&self, key: &str) -> PathBuf {
        self.file(&format!("{key}.held"))
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Item>, StoreError> {
        let path = self.file(key);
        let value = match std::fs::read(&path) {
            Ok(value) => value,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::file(&path, error)),
        };
        let session = self.is_held(key)?.then(|| SESSION.to_owned());
        Ok(Some(Item { key: key.to_owned(), value, index: 0, flags: 0, session }))
    }

    fn is_held(&self, key: &str) -> Result<bool, StoreError> {
        if self.lock.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(true);
        }
        let path = self.guard(key);
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::file(&path, error)),
            Ok(file) => Ok(matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))),
        }
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Item>, StoreError> {
        let path = self.file(prefix.trim_end_matches('/'));
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::file(&path, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| StoreError::file(&path, error))?.file_name();
            names.extend(name.into_string().ok().filter(|name| !name.ends_with(".new")));
        }
        names.sort();
        let items = names.iter().filter_map(|name| self.get(&format!("{prefix}{name}")).transpose());
        items.collect()
    }

    pub(super) fn put(&self, key: &str, value: &[u8], read: Option<&Item>) -> Result<bool, StoreError> {
        if self.get(key)?.map(|item| item.value) != read.map(|item| item.value.clone()) {
            return Ok(false);
        }
        let path = self.file(key);
        self.write(&path, value).map_err(|error| StoreError::file(&path, error))?;
        Ok(true)
    }

    /// The new file is on the disk before it takes the old one's place.
    fn write(&self, path: &Path, value: &[u8]) -> std::io::Result<()> {
        make_folder(path)?;
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = File::create(&new)?;
        file.write_all(value)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    }

    pub(super) fn delete(&self, read: &Item) -> Result<bool, StoreError> {
        if self.get(&read.key)?.is_none_or(|item| item.value != read.value) {
            return Ok(false);
        }
        let path = self.file(&read.key);
        std::fs::remove_file(&path).map_err(|error| StoreError::file(&path, error))?;
        Ok(true)
    }

    pub(super) fn open(&self) -> String {
        SESSION.to_owned()
    }

    pub(super) fn renew(&self) -> bool {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn acquire(&self, key: &str, value: &[u8]) -> Result<Acquired, StoreError> {
        let path = self.guard(key);
        let open = || {
            make_folder(&path)?;
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)
        };
        let file = open().map_err(|error| StoreError::file(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Acquired::No),
            Err(TryLockError::Error(error)) => return Err(StoreError::file(&path, error)),
        }
        let place = self.file(key);
        self.write(&place, value).map_err(|error| StoreError::file(&place, error))?;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(Acquired::Yes)
    }

    pub(super) fn close(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}
