//! News of links and addresses.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};

use crate::socket::{RECEIVE, messages, receive};
use crate::{AddressInfo, LinkInfo, decode};

/// Bytes that may wait to be read, some 10,000 events; as root beyond `net.core.rmem_max`.
const BUFFER: usize = 4 * 1024 * 1024;

// rtnetlink(7)
const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

/// A change in the network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is new or has changed.
    Link(LinkInfo),
    LinkGone {
        index: u32,
        name: String,
    },
    /// An address is new or has changed; renewed leases are among them.
    Address(AddressInfo),
    AddressGone {
        info: AddressInfo,
        /// The netlink port of who asked for it ([`crate::Netlink::port`]). `None`: the kernel itself, because a
        /// lease ended or the interface went; also for every IPv6 address and for requests by ioctl(2), where the
        /// kernel does not tell.
        by: Option<u32>,
    },
    /// News were lost: read links and addresses anew.
    Overrun,
}

/// A subscription to the links and the IPv4 and IPv6 addresses of the network namespace in which it was opened.
/// Readable when there are events.
pub struct Monitor {
    socket: Socket,
    received: Vec<u8>,
}

impl Monitor {
    /// # Errors
    /// Those of socket(2), bind(2) and setsockopt(2). No privilege is needed.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
        }
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))?;
        Ok(Self { socket, received: vec![0; RECEIVE] })
    }

    /// Appends all events that are there to `out`, in their order; never blocks.
    ///
    /// # Errors
    /// Those of recvfrom(2), except for `ENOBUFS`, which is [`Event::Overrun`].
    pub fn read(&mut self, out: &mut Vec<Event>) -> io::Result<()> {
        loop {
            match receive(&self.socket, &mut self.received, RecvFlags::DONTWAIT) {
                Ok(length) => {
                    let datagram = self.received.get(..length).unwrap_or_default();
                    out.extend(messages(datagram).filter_map(|message| {
                        event(message.message_type(), message.payload(), message.port_number())
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if lost(&error) => out.push(Event::Overrun),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A datagram that does not fit is gone as well.
fn lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData || error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}

fn event(kind: u16, payload: &[u8], port: u32) -> Option<Event> {
    match kind {
        RTM_NEWLINK => decode::link(payload).map(Event::Link),
        RTM_DELLINK => {
            decode::link(payload).map(|link| Event::LinkGone { index: link.index, name: link.name })
        }
        RTM_NEWADDR => decode::address(payload).map(Event::Address),
        RTM_DELADDR => decode::address(payload)
            .map(|info| Event::AddressGone { info, by: Some(port).filter(|port| *port != 0) }),
        _ => None,
    }
}
