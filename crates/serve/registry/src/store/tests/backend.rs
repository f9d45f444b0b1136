//! A disk in memory that keeps a journal of what was done to it, can refuse, and can be cut off at any point.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Builder, Database, DatabaseError, StorageBackend};

/// What was done to the disk, in order.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
    /// A write was acknowledged: its number, and the index then.
    Acknowledged(usize, u64),
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    journal: Option<Vec<Step>>,
    /// The disk is full.
    refuse: bool,
}

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<Content>>);

impl Memory {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let content = Content { bytes, journal: None, refuse: false };
        Self(Arc::new(Mutex::new(content)))
    }

    fn with<R>(&self, work: impl FnOnce(&mut Content) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a journal; the answer is what is on the disk now.
    pub(super) fn record(&self) -> Vec<u8> {
        self.with(|content| {
            content.journal = Some(Vec::new());
            content.bytes.clone()
        })
    }

    pub(super) fn note(&self, step: Step) {
        self.with(|content| content.journal.as_mut().expect("a journal").push(step));
    }

    pub(super) fn journal(&self) -> Vec<Step> {
        self.with(|content| content.journal.take().expect("a journal"))
    }

    pub(super) fn refuse(&self, refuse: bool) {
        self.with(|content| content.refuse = refuse);
    }

    pub(super) fn open(&self) -> Result<Database, DatabaseError> {
        Builder::new()
            .set_cache_size(1 << 20)
            .set_check_integrity_on_open(true)
            .create_with_backend(self.clone())
    }
}

fn past_the_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "past the end")
}

fn range(offset: u64, length: usize) -> std::ops::Range<usize> {
    let offset = usize::try_from(offset).expect("a small disk");
    offset..offset + length
}

/// Writes as far as the disk goes.
pub(super) fn apply(bytes: &mut [u8], offset: u64, data: &[u8]) {
    let range = range(offset, data.len());
    let end = range.end.min(bytes.len());
    if range.start < end {
        bytes[range.start..end].copy_from_slice(&data[..end - range.start]);
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|content| content.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|content| {
            let found = content.bytes.get(range(offset, out.len())).ok_or_else(past_the_end)?;
            out.copy_from_slice(found);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(|content| {
            if content.refuse {
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.bytes.resize(usize::try_from(length).expect("a small disk"), 0);
            content.journal.iter_mut().for_each(|journal| journal.push(Step::Length(length)));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|content| {
            if content.refuse {
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.journal.iter_mut().for_each(|journal| journal.push(Step::Sync));
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|content| {
            if content.refuse {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let step = Step::Write(offset, data.to_vec());
            content.journal.iter_mut().for_each(|journal| journal.push(step.clone()));
            let place = content.bytes.get_mut(range(offset, data.len())).ok_or_else(past_the_end)?;
            place.copy_from_slice(data);
            Ok(())
        })
    }
}
