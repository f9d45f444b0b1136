//! The machine as variables see it.

use std::cell::RefCell;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use weir_http::evaluate;
use weir_log::clock;
use weir_model::{Builtin, FileTest, Level};

use crate::connection::Client;

/// Answers for one client's requests.
pub(crate) struct World<'c> {
    client: &'c Client,
    /// Lines for the error log of the request.
    notes: RefCell<Vec<(Level, String)>>,
}

impl<'c> World<'c> {
    pub(crate) fn new(client: &'c Client) -> Self {
        Self { client, notes: RefCell::default() }
    }

    /// The lines that came up meanwhile.
    pub(crate) fn into_notes(self) -> Vec<(Level, String)> {
        self.notes.into_inner()
    }
}

/// What stands at a path, links followed.
pub(crate) fn metadata(path: &[u8]) -> Option<Metadata> {
    std::fs::metadata(Path::new(std::ffi::OsStr::from_bytes(path))).ok()
}

impl evaluate::World for World<'_> {
    fn unix_ms(&self) -> u64 {
        clock::now().unix_ms
    }

    fn mono_ms(&self) -> u64 {
        clock::mono_ms()
    }

    fn time(&self, which: Builtin, out: &mut Vec<u8>) {
        if let Builtin::DateGmt | Builtin::DateLocal = which {
            let text = clock::formatted("%A, %d-%b-%Y %H:%M:%S %Z", which == Builtin::DateGmt);
            out.extend_from_slice(text.unwrap_or_default().as_bytes());
            return;
        }
        clock::with(|texts| {
            let text = match which {
                Builtin::TimeIso8601 => texts.iso8601(),
                _ => texts.local(),
            };
            out.extend_from_slice(text.as_bytes());
        });
    }

    fn hostname(&self) -> &str {
        &self.client.thread.shared.hostname
    }

    fn request_id(&self) -> [u8; 32] {
        let mut random = [0_u8; 16];
        if getrandom::fill(&mut random).is_err() {
            // Unique still, if not a secret: nothing relies on it being one.
            let serial = self.client.facts.serial.to_be_bytes();
            random[..8].copy_from_slice(&serial);
            random[8..].copy_from_slice(&clock::now().unix_ms.to_be_bytes());
        }
        let mut text = [0_u8; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(random) {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        text
    }

    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = std::fs::canonicalize(Path::new(std::ffi::OsStr::from_bytes(path))).ok()?;
        Some(path.into_os_string().into_vec())
    }

    fn file(&self, path: &[u8], test: FileTest) -> bool {
        let Some(found) = metadata(path) else { return false };
        match test {
            FileTest::File => found.is_file(),
            FileTest::Directory => found.is_dir(),
            FileTest::Exists => true,
            FileTest::Executable => found.permissions().mode() & 0o111 != 0,
        }
    }

    fn tcp_info(&self, which: Builtin) -> Option<u64> {
        if !self.client.stream.is_tcp() {
            return None;
        }
        let info = weir_net::tcp_info(self.client.stream.fd()).ok()?;
        Some(u64::from(match which {
            Builtin::TcpinfoRtt => info.rtt,
            Builtin::TcpinfoRttvar => info.rttvar,
            Builtin::TcpinfoSndCwnd => info.snd_cwnd,
            _ => info.rcv_space,
        }))
    }

    fn connections(&self, which: Builtin) -> u64 {
        sum(self.client, |counters| match which {
            Builtin::ConnectionsReading => counters.reading.load(Relaxed),
            Builtin::ConnectionsWriting => counters.writing.load(Relaxed),
            Builtin::ConnectionsWaiting => counters.waiting.load(Relaxed),
            _ => counters.active.load(Relaxed),
        })
    }

    fn note(&self, level: Level, line: String) {
        self.notes.borrow_mut().push((level, line));
    }
}

/// A counter over all threads.
pub(crate) fn sum(client: &Client, read: impl Fn(&crate::thread::Counters) -> u64) -> u64 {
    let all = client.thread.shared.counters.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    all.iter().map(|counters| read(counters)).sum()
}
