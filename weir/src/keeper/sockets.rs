//! The listening sockets: opened before a configuration is tried, kept while workers come and go.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use weir_log::Level;
use weir_model::{Listen, ListenAddress, Listener};
use weir_net::{BindError, ListenSpec};

use crate::journal::Journal;

/// One address and its sockets: one a data thread, or more after `worker_processes` was lowered; none if the
/// socket of a wildcard accepts for it. A unix socket has one file, whatever their number.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    pub(crate) address: ListenAddress,
    options: Option<Listen>,
    fds: Vec<Arc<OwnedFd>>,
}

/// All sockets of one configuration. Clones share the open files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sockets {
    all: Vec<Socket>,
}

/// How often, and how many milliseconds apart, an address that is in use is tried again: as nginx does.
const TRIES: u32 = 5;
const PAUSE: u64 = 500;

impl Sockets {
    /// Takes over what another process listened on. Several sockets of one address belong together.
    pub(crate) fn adopt(fds: Vec<OwnedFd>, journal: &Journal) -> Sockets {
        let mut sockets = Sockets::default();
        for fd in fds {
            match weir_net::bound_addr(fd.as_fd()) {
                Ok(address) => match sockets.all.iter_mut().find(|socket| socket.address == address) {
                    Some(socket) => socket.fds.push(Arc::new(fd)),
                    None => sockets.all.push(Socket { address, options: None, fds: vec![Arc::new(fd)] }),
                },
                Err(error) => journal.say(
                    Level::Crit,
                    format_args!("getsockname() of the inherited socket failed {}", weir_log::Errno(&error)),
                ),
            }
        }
        sockets
    }

    /// The sockets for another configuration: those of the same address are shared, the others are opened.
    /// `self` stays as it is, so a configuration that fails later changes nothing. Errors were told.
    pub(crate) fn prepare(
        &self,
        listeners: &[Listener],
        copies: usize,
        journal: &Journal,
    ) -> Option<Sockets> {
        for attempt in 1..=TRIES {
            match self.open(listeners, copies) {
                Ok(next) => return Some(next),
                Err(errors) => {
                    let waiting = errors.iter().all(BindError::is_in_use);
                    errors.iter().for_each(|error| journal.emerg(error));
                    if !waiting {
                        return None;
                    }
                    if attempt < TRIES {
                        journal.notice(format_args!("try again to bind() after {PAUSE}ms"));
                        std::thread::sleep(std::time::Duration::from_millis(PAUSE));
                    }
                }
            }
        }
        journal.emerg("still could not bind()");
        None
    }

    fn open(&self, listeners: &[Listener], copies: usize) -> Result<Sockets, Vec<BindError>> {
        let mut next = Sockets::default();
        let mut errors = Vec::new();
        for listener in listeners {
            if listeners.iter().any(|other| covers(&other.address, &listener.address)) {
                next.all.push(Socket { address: listener.address.clone(), options: None, fds: Vec::new() });
                continue;
            }
            match self.socket(listener, copies) {
                Ok(socket) => next.all.push(socket),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(next) } else { Err(errors) }
    }

    fn socket(&self, listener: &Listener, copies: usize) -> Result<Socket, BindError> {
        let spec = ListenSpec { addr: listener.address.clone(), options: listener.options.clone() };
        let options = Some(listener.options.clone());
        let same = |socket: &&Socket| socket.address == listener.address && !socket.fds.is_empty();
        let Some(old) = self.all.iter().find(same) else {
            let fds = weir_net::listen(&spec, copies)?.into_iter().map(Arc::new).collect();
            return Ok(Socket { address: listener.address.clone(), options, fds });
        };
        // One that was shut down is still bound, and listens again by the same call.
        for fd in old.fds.iter().filter(|fd| old.options != options || !is_listening(fd)) {
            weir_net::apply_options(fd.as_fd(), &spec)?;
        }
        let missing = copies.saturating_sub(old.fds.len());
        let more = weir_net::add_listeners(&spec, old.fds[0].as_fd(), missing)?;
        let fds = old.fds.iter().cloned().chain(more.into_iter().map(Arc::new)).collect();
        Ok(Socket { address: listener.address.clone(), options, fds })
    }

    /// All sockets of both; of one address those of `self`.
    pub(crate) fn joined(&self, other: &Sockets) -> Sockets {
        let mut all = self.all.clone();
        let missing = |socket: &&Socket| !self.all.iter().any(|own| own.address == socket.address);
        all.extend(other.all.iter().filter(missing).cloned());
        Sockets { all }
    }

    /// Whether there is a socket at a path.
    pub(crate) fn has_path(&self, path: &str) -> bool {
        self.all.iter().any(|socket| matches!(&socket.address, ListenAddress::Unix(own) if own == path))
    }

    /// The number of sockets of each listener, and all of them in order.
    pub(crate) fn files(&self) -> (Vec<usize>, Vec<BorrowedFd<'_>>) {
        let counts = self.all.iter().map(|socket| socket.fds.len()).collect();
        let files = self.all.iter().flat_map(|socket| socket.fds.iter().map(|fd| fd.as_fd())).collect();
        (counts, files)
    }

    /// A copy of one socket of each listener, with its address: what has to listen as long as the proxy serves.
    pub(crate) fn copies(&self) -> Vec<(String, OwnedFd)> {
        let all =
            self.all.iter().flat_map(|socket| socket.fds.iter().map(|fd| (socket.address.to_string(), fd)));
        all.filter_map(|(address, fd)| Some((address, fd.try_clone().ok()?))).collect()
    }

    /// Removes the files of unix sockets that `next` has no more.
    pub(crate) fn remove_files(&self, next: &Sockets, journal: &Journal) {
        for socket in &self.all {
            let ListenAddress::Unix(path) = &socket.address else { continue };
            if next.all.iter().any(|other| other.address == socket.address) {
                continue;
            }
            if let Err(error) = std::fs::remove_file(path) {
                let errno = weir_log::Errno(&error);
                journal.emerg(format_args!("unlink() unix:{path} failed {errno}"));
            }
        }
    }
}

/// Whether a socket still takes connections; one that cannot be asked is taken to.
pub(super) fn is_listening(socket: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(true)
}

/// Whether a wildcard's socket gets the connections of another address: the kernel refuses to listen on both, so
/// nginx binds the wildcard alone and looks at each connection's own address.
fn covers(wildcard: &ListenAddress, address: &ListenAddress) -> bool {
    match (wildcard, address) {
        (ListenAddress::Inet(wildcard), ListenAddress::Inet(address)) => {
            wildcard.ip().is_unspecified()
                && wildcard.is_ipv4() == address.is_ipv4()
                && wildcard.port() == address.port()
                && !address.ip().is_unspecified()
        }
        _ => false,
    }
}
