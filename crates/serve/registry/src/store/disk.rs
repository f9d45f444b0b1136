//! The database file: opened, read whole, written in transactions.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError,
};
use weir_registry::{Record, Table};

use super::error::{Kept, OpenError};

/// Rows: the number of the table and the key; the CRC-32 of both and of the value, and the value.
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("registry");
const FILE: &str = "registry.redb";
/// A first database is made under this name: the other one never stands for an unfinished file.
const FRESH: &str = "registry.redb.new";
/// The state is in memory: the database's own cache can be small.
const CACHE: usize = 4 << 20;

type Reopen = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// The database of a registry.
pub(super) struct Disk {
    path: PathBuf,
    /// Absent after a failed write: the database has to be opened again.
    database: Option<Database>,
    reopen: Reopen,
}

impl Disk {
    pub(super) fn open(folder: &Path) -> Result<(Self, Vec<Record>), OpenError> {
        let path = folder.join(FILE);
        let io = |e: io::Error| OpenError::Io { path: path.clone(), reason: e.to_string() };
        fs::create_dir_all(folder).map_err(io)?;
        let database = if fs::exists(&path).map_err(io)? {
            guarded(|| open_file(&path)).map_err(|e| refused(&path, e))?
        } else {
            first(folder, &path)?
        };
        let again = path.clone();
        Self::with(path, database, Box::new(move || open_file(&again)))
    }

    /// `reopen` is called after a write has failed, when the database is closed.
    pub(super) fn with(
        path: PathBuf,
        database: Database,
        reopen: Reopen,
    ) -> Result<(Self, Vec<Record>), OpenError> {
        let records = guarded(|| read(&database)).map_err(|e| refused(&path, e))?;
        Ok((Self { path, database: Some(database), reopen }, records))
    }

    pub(super) fn corrupted(&self, reason: String) -> OpenError {
        corrupted(&self.path, reason)
    }

    /// The first write.
    pub(super) fn begin(&mut self, records: &[Record]) -> Result<(), OpenError> {
        let path = self.path.clone();
        self.write(records).map_err(|reason| OpenError::Io { path, reason })
    }

    /// Writes records in one transaction, the later of two of the same row. After an error it is unknown whether they are
    /// there: [`Disk::recover`] tells.
    pub(super) fn write(&mut self, records: &[Record]) -> Result<(), String> {
        self.transact(records, false)
    }

    /// Writes records in place of all that is there.
    pub(super) fn replace(&mut self, records: &[Record]) -> Result<(), String> {
        self.transact(records, true)
    }

    /// Whether the database has to be opened again before a write.
    pub(super) fn is_broken(&self) -> bool {
        self.database.is_none()
    }

    /// Opens the database again after a failed write; the records tell which of the last writes are there.
    pub(super) fn recover(&mut self) -> Result<Vec<Record>, String> {
        let opened = guarded(|| -> Result<_, Flaw> {
            let database = (self.reopen)()?;
            let records = read(&database)?;
            Ok((database, records))
        });
        let (database, records) = opened.map_err(|flaw| flaw.to_string())?;
        self.database = Some(database);
        Ok(records)
    }

    fn transact(&mut self, records: &[Record], replace: bool) -> Result<(), String> {
        let Some(database) = &self.database else {
            return Err("the database is closed".to_owned());
        };
        let outcome = guarded(|| transact(database, records, replace));
        outcome.map_err(|flaw| {
            self.database = None;
            flaw.to_string()
        })
    }
}

/// What the database says against it.
#[derive(Debug, thiserror::Error)]
enum Flaw {
    #[error("it is open in another process")]
    Locked,
    #[error("{0}")]
    Corrupted(String),
    #[error("{0}")]
    Io(String),
}

impl<E: Into<redb::Error>> From<E> for Flaw {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::Locked,
            redb::Error::Corrupted(reason) => Self::Corrupted(reason),
            redb::Error::Io(e)
                if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Corrupted(e.to_string())
            }
            error @ (redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }) => Self::Corrupted(error.to_string()),
            error => Self::Io(error.to_string()),
        }
    }
}

/// A damaged file may also make the database panic; that is no reason to take the process along.
fn guarded<T, E: Into<Flaw>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Flaw> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(Flaw::Corrupted("its pages contradict each other".to_owned())),
    }
}

fn refused(path: &Path, flaw: Flaw) -> OpenError {
    match flaw {
        Flaw::Locked => OpenError::Locked { path: path.to_owned() },
        Flaw::Corrupted(reason) => corrupted(path, reason),
        Flaw::Io(reason) => OpenError::Io { path: path.to_owned(), reason },
    }
}

/// Keeps a copy beside the damaged file; its name has the checksum of it, so that trying again makes no second one.
fn corrupted(path: &Path, reason: String) -> OpenError {
    let kept = fs::read(path).and_then(|bytes| {
        let copy = path.with_file_name(format!("{FILE}.damaged-{:08x}", crc32fast::hash(&bytes)));
        if !fs::exists(&copy)? {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.sync_all()?;
        }
        Ok(copy)
    });
    let copy = kept.map_or_else(|e| Kept::Failed(e.to_string()), Kept::At);
    OpenError::Corrupted { path: path.to_owned(), reason, copy }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    let length = fs::metadata(path).map_err(StorageError::Io)?.len();
    if length == 0 {
        return Err(StorageError::Corrupted("the file is empty".to_owned()).into());
    }
    builder().open(path)
}

/// Makes the first database of a folder.
fn first(folder: &Path, path: &Path) -> Result<Database, OpenError> {
    let fresh = folder.join(FRESH);
    let flaw = |reason: String| OpenError::Io { path: path.to_owned(), reason };
    let io = |e: io::Error| flaw(e.to_string());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&fresh)
        .map_err(io)?;
    let made = guarded(|| -> Result<_, Flaw> {
        let database = builder().create_with_backend(FileBackend::new(file)?)?;
        create_rows(&database)?;
        Ok(database)
    });
    let database = match made {
        // An unfinished attempt of an earlier start: nothing was ever in it.
        Err(Flaw::Corrupted(_)) => {
            fs::remove_file(&fresh).map_err(io)?;
            return Err(flaw("a first attempt to make it was cut off; it is removed, try again".to_owned()));
        }
        made => made.map_err(|e| refused(path, e))?,
    };
    fs::rename(&fresh, path).map_err(io)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok(database)
}

/// The table of a new database.
pub(super) fn create_rows(database: &Database) -> Result<(), redb::Error> {
    transact(database, &[], false)
}

fn transact(database: &Database, records: &[Record], replace: bool) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    if replace {
        transaction.delete_table(ROWS)?;
    }
    {
        let mut rows = transaction.open_table(ROWS)?;
        for record in records {
            let key = row_key(record);
            match &record.value {
                Some(value) => {
                    rows.insert(key.as_slice(), sealed(&key, value).as_slice())?;
                }
                None => {
                    rows.remove(key.as_slice())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn row_key(record: &Record) -> Vec<u8> {
    let mut key = Vec::with_capacity(record.key.len() + 1);
    key.push(record.table as u8);
    key.extend_from_slice(&record.key);
    key
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut row = checksum(key, value).to_vec();
    row.extend_from_slice(value);
    row
}

fn read(database: &Database) -> Result<Vec<Record>, Flaw> {
    let transaction = database.begin_read()?;
    let rows = match transaction.open_table(ROWS) {
        Ok(rows) => rows,
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(Flaw::Corrupted("it has no table of a registry".to_owned()));
        }
        Err(e) => return Err(e.into()),
    };
    rows.iter()?
        .map(|row| {
            let (key, value) = row?;
            unsealed(key.value(), value.value())
        })
        .collect()
}

fn unsealed(key: &[u8], row: &[u8]) -> Result<Record, Flaw> {
    let named = || String::from_utf8_lossy(key).into_owned();
    let Some((sum, value)) = row.split_first_chunk::<4>() else {
        return Err(Flaw::Corrupted(format!("the row {:?} has no checksum", named())));
    };
    if *sum != checksum(key, value) {
        return Err(Flaw::Corrupted(format!("the row {:?} does not have its checksum", named())));
    }
    let table = key.first().and_then(|number| Table::of(*number));
    let (Some(table), Some(key)) = (table, key.get(1..)) else {
        return Err(Flaw::Corrupted(format!("the row {:?} belongs to no known table", named())));
    };
    Ok(Record { table, key: key.to_vec(), value: Some(value.to_vec()) })
}
