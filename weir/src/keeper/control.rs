//! The sockets beside those of the traffic: of the control API, of the registry and of its DNS.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use weir_model::{Config, Listen, ListenAddress, Listener, Process};

use super::sockets::Sockets;
use crate::journal::Journal;
use crate::message::Role;
use crate::place;

/// All of them, of one configuration. Clones share the open files.
#[derive(Debug, Clone, Default)]
pub(crate) struct ControlSockets {
    streams: Sockets,
    /// Of each stream.
    roles: Vec<Role>,
    datagrams: Vec<(SocketAddr, Arc<OwnedFd>)>,
}

impl ControlSockets {
    /// The sockets for a configuration: what `self` or a process before (`adopted`) has open is shared. `self` stays
    /// as it is. Errors were told.
    pub(crate) fn prepare(
        &self,
        adopted: &Sockets,
        config: &Config,
        journal: &Journal,
    ) -> Option<ControlSockets> {
        let wanted = self.wanted(adopted, config, journal);
        let roles = wanted.iter().map(|(role, _)| *role).collect();
        let listeners: Vec<Listener> = wanted.into_iter().map(|(_, address)| listener(address)).collect();
        let streams = self.streams.joined(adopted).prepare(&listeners, 1, journal)?;
        for listener in &listeners {
            protect(&listener.address, journal)?;
        }
        let datagrams = self.datagrams(&config.process, journal)?;
        Some(ControlSockets { streams, roles, datagrams })
    }

    fn wanted(&self, adopted: &Sockets, config: &Config, journal: &Journal) -> Vec<(Role, ListenAddress)> {
        let process = &config.process;
        let registry = process.registry.iter();
        let mut wanted: Vec<(Role, ListenAddress)> = registry
            .clone()
            .flat_map(|registry| registry.listen.iter().map(|address| (Role::Registry, address.clone())))
            .collect();
        let dns = registry.flat_map(|registry| &registry.dns);
        wanted.extend(dns.map(|address| (Role::Dns, ListenAddress::Inet(*address))));
        wanted.extend(process.admin.listen.iter().map(|address| (Role::Admin, address.clone())));
        let path = match &process.admin.socket {
            Some(path) => Some(path.clone()),
            None => {
                let path = place::control_socket_of(&process.pid);
                let ours = [&self.streams, adopted].into_iter().any(|sockets| sockets.has_path(&path));
                (ours || is_free(&path, journal)).then_some(path)
            }
        };
        wanted.extend(path.map(|path| (Role::Admin, ListenAddress::Unix(path))));
        wanted
    }

    fn datagrams(&self, process: &Process, journal: &Journal) -> Option<Vec<(SocketAddr, Arc<OwnedFd>)>> {
        let addresses = process.registry.iter().flat_map(|registry| &registry.dns);
        let open = |address: &SocketAddr| {
            let same = self.datagrams.iter().find(|(bound, _)| bound == address);
            match same {
                Some((_, socket)) => Ok((*address, Arc::clone(socket))),
                None => weir_net::bind_datagram(*address).map(|socket| (*address, Arc::new(socket))),
            }
        };
        addresses.map(|address| open(address).map_err(|error| journal.emerg(error)).ok()).collect()
    }

    /// What each file is for, and the files.
    pub(crate) fn files(&self) -> (Vec<Role>, Vec<BorrowedFd<'_>>) {
        let (counts, mut files) = self.streams.files();
        // An address that a wildcard's socket accepts for has none of its own.
        let mut roles: Vec<Role> =
            self.roles.iter().zip(counts).filter(|(_, count)| *count > 0).map(|(role, _)| *role).collect();
        roles.extend(self.datagrams.iter().map(|_| Role::DnsDatagram));
        files.extend(self.datagrams.iter().map(|(_, socket)| socket.as_fd()));
        (roles, files)
    }

    /// Those that a new binary takes over.
    pub(crate) fn streams(&self) -> &Sockets {
        &self.streams
    }
}

fn listener(address: ListenAddress) -> Listener {
    Listener { address, options: Listen::default(), servers: Vec::new(), default_server: 0 }
}

/// Whether the default socket can be had: its folder can be made, and no other process answers there.
fn is_free(path: &str, journal: &Journal) -> bool {
    let path = Path::new(path);
    let folder = path.parent().unwrap_or(Path::new("/"));
    if let Err(error) = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder) {
        let folder = folder.display();
        journal.notice(format_args!(
            "there is no control socket: mkdir() \"{folder}\" failed {}; `admin {{ socket PATH; }}` names another place",
            weir_log::Errno(&error)
        ));
        return false;
    }
    let taken = UnixStream::connect(path).is_ok();
    if taken {
        journal.notice(format_args!(
            "there is no control socket: another process answers at {}; `admin {{ socket PATH; }}` gives this one its own",
            path.display()
        ));
    }
    !taken
}

/// Only this user may connect to a socket in the file system: there no token is asked for.
fn protect(address: &ListenAddress, journal: &Journal) -> Option<()> {
    let ListenAddress::Unix(path) = address else { return Some(()) };
    match std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
        Ok(()) => Some(()),
        Err(error) => {
            journal.emerg(format_args!("chmod() \"{path}\" failed {}", weir_log::Errno(&error)));
            None
        }
    }
}
