//! Which host has which address, and since when: the kernel's own notices, read in each network.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, poll};

use crate::error::{Error, Result};
use crate::space::Door;

/// An address came to a host or left it. A renewed lease is no change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Since the laboratory began.
    pub at: Duration,
    pub host: String,
    pub address: IpAddr,
    pub present: bool,
}

/// All changes of all hosts.
#[derive(Default)]
pub(crate) struct Ledger {
    changes: Mutex<Vec<Change>>,
    grown: Condvar,
}

impl Ledger {
    pub(crate) fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, change: Change) {
        self.changes().push(change);
        self.grown.notify_all();
    }

    /// Waits until the changes satisfy `done`; false if `patience` ends before.
    pub(crate) fn wait(&self, patience: Duration, done: impl Fn(&[Change]) -> bool) -> bool {
        let waiting = |changes: &mut Vec<Change>| !done(changes);
        let (_changes, timeout) = self
            .grown
            .wait_timeout_while(self.changes(), patience, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }
}

/// Whether a host has an address after `changes`.
pub(crate) fn has(changes: &[Change], host: &str, address: IpAddr) -> bool {
    changes.iter().rev().find(|c| c.host == host && c.address == address).is_some_and(|c| c.present)
}

/// The thread that listens in one host; it ends with this value.
pub(crate) struct Listener {
    /// Closed to end the thread.
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn start(host: &str, door: Door, ledger: Arc<Ledger>, epoch: Instant) -> Result<Listener> {
        let (stop, stopped) = UnixStream::pair().map_err(Error::io("a socket pair"))?;
        let host = host.to_owned();
        let (ready, begun) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let opened = door.enter().and_then(|()| open());
            match opened {
                Ok(socket) => {
                    let mut book =
                        Book { host, ledger, epoch, present: BTreeSet::new(), seen: BTreeSet::new() };
                    let _ = ready.send(Ok(()));
                    book.listen(&socket, &stopped);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        begun.recv().unwrap_or_else(|_| Err(Error::wrong("the listener for addresses ended")))?;
        Ok(Listener { stop, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const IPV4_ADDRESSES: u32 = 5;
const IPV6_ADDRESSES: u32 = 9;
/// Room for the notices of a thousand addresses at once, bytes.
const ROOM: usize = 4 << 20;

fn open() -> Result<Socket> {
    let what = "a netlink socket";
    let mut socket = Socket::new(NETLINK_ROUTE).map_err(Error::io(what))?;
    socket.bind_auto().map_err(Error::io(what))?;
    let _ = socket.set_rx_buf_sz(ROOM);
    for group in [IPV4_ADDRESSES, IPV6_ADDRESSES] {
        socket.add_membership(group).map_err(Error::io(what))?;
    }
    ask(&socket).map_err(Error::io(what))?;
    Ok(socket)
}

/// Asks for all addresses that are there.
fn ask(socket: &Socket) -> std::io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(drop)
}

struct Book {
    host: String,
    ledger: Arc<Ledger>,
    epoch: Instant,
    /// Interface and address.
    present: BTreeSet<(u32, IpAddr)>,
    /// What was named since the last dump ended; the rest is gone when the next one ends.
    seen: BTreeSet<(u32, IpAddr)>,
}

impl Book {
    fn listen(&mut self, socket: &Socket, stopped: &UnixStream) {
        loop {
            let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
            if poll(&mut fds, None).is_err() || !fds[1].revents().is_empty() {
                return;
            }
            match socket.recv_from_full() {
                Ok((bytes, _)) => self.read(&bytes, self.epoch.elapsed()),
                // Notices were lost (ENOBUFS): what is there is asked for anew.
                Err(_) => {
                    self.seen.clear();
                    if ask(socket).is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn read(&mut self, mut bytes: &[u8], at: Duration) {
        while !bytes.is_empty() {
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else { return };
            let length = (message.header.length as usize).next_multiple_of(4).max(16);
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(new)) => {
                    if let Some(address) = local(&new) {
                        self.seen.insert((new.header.index, address));
                        self.set(new.header.index, address, true, at);
                    }
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(old)) => {
                    if let Some(address) = local(&old) {
                        self.seen.remove(&(old.header.index, address));
                        self.set(old.header.index, address, false, at);
                    }
                }
                NetlinkPayload::Done(_) => {
                    let seen = std::mem::take(&mut self.seen);
                    let gone: Vec<_> = self.present.difference(&seen).copied().collect();
                    for (interface, address) in gone {
                        self.set(interface, address, false, at);
                    }
                }
                _ => {}
            }
            bytes = bytes.get(length..).unwrap_or(&[]);
        }
    }

    fn set(&mut self, interface: u32, address: IpAddr, present: bool, at: Duration) {
        let had = self.has(address);
        if present {
            self.present.insert((interface, address));
        } else {
            self.present.remove(&(interface, address));
        }
        if had != self.has(address) {
            self.ledger.add(Change { at, host: self.host.clone(), address, present });
        }
    }

    /// On any interface: an address may live on one that the program made for it.
    fn has(&self, address: IpAddr) -> bool {
        self.present.iter().any(|(_, other)| *other == address)
    }
}

/// The address itself: `Local` where both ends of a link are named.
fn local(message: &AddressMessage) -> Option<IpAddr> {
    let named = |wanted_local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if wanted_local => Some(*address),
            AddressAttribute::Address(address) if !wanted_local => Some(*address),
            _ => None,
        })
    };
    named(true).or_else(|| named(false))
}
