//! Sockets of probes: opening, sending and receiving without waiting, closing without leftovers.

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, getpeername, recv,
    send, socket_with, sockopt,
};
use weir_model::ListenAddress;

/// Where probes of a target go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    Inet(SocketAddr),
    Unix(SocketAddrUnix),
}

impl Remote {
    /// `port` 0 leaves the address's own; paths have no port.
    pub(crate) fn new(address: &ListenAddress, port: u16) -> Result<Self, Errno> {
        match address {
            ListenAddress::Inet(address) => {
                let mut address = *address;
                if port != 0 {
                    address.set_port(port);
                }
                Ok(Self::Inet(address))
            }
            ListenAddress::Unix(path) => Ok(Self::Unix(SocketAddrUnix::new(path.as_str())?)),
        }
    }

    fn family(&self) -> AddressFamily {
        match self {
            Self::Inet(SocketAddr::V4(_)) => AddressFamily::INET,
            Self::Inet(SocketAddr::V6(_)) => AddressFamily::INET6,
            Self::Unix(_) => AddressFamily::UNIX,
        }
    }
}

/// How many connections are open at present.
pub(crate) type Count = Rc<Cell<usize>>;

/// A connection to a peer, or the attempt at one.
#[derive(Debug)]
pub(crate) struct Connection {
    fd: OwnedFd,
    count: Count,
    inet: bool,
    pub(crate) connected: bool,
    /// Probes that it carried.
    pub(crate) probes: u32,
    pub(crate) registered: Registered,
}

/// What the event queue tells of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Registered {
    Nothing,
    Reads,
    ReadsAndWrites,
}

/// The system's own limits: no word about the peer.
pub(crate) fn is_lack(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

impl Connection {
    /// Begins to connect.
    pub(crate) fn open(remote: &Remote, count: &Count) -> Result<Self, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(remote.family(), SocketType::STREAM, flags, None)?;
        let result = match remote {
            Remote::Inet(address) => connect(&fd, address),
            Remote::Unix(address) => connect(&fd, address),
        };
        let connected = match result {
            Ok(()) => true,
            Err(Errno::INPROGRESS | Errno::INTR) => false,
            Err(error) => return Err(error),
        };
        count.set(count.get() + 1);
        let inet = !matches!(remote, Remote::Unix(_));
        let count = Rc::clone(count);
        Ok(Self { fd, count, inet, connected, probes: 0, registered: Registered::Nothing })
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether the connection is made by now.
    pub(crate) fn is_established(&mut self) -> Result<bool, Errno> {
        if !self.connected {
            match getpeername(&self.fd) {
                Ok(_) => self.connected = true,
                Err(Errno::NOTCONN) => sockopt::socket_error(&self.fd)??,
                Err(error) => return Err(error),
            }
        }
        Ok(self.connected)
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        send(&self.fd, bytes, SendFlags::NOSIGNAL)
    }

    /// 0: the peer closed.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        recv(&self.fd, buffer, RecvFlags::empty()).map(|(taken, _)| taken)
    }

    /// Whether the connection is still good, as far as the kernel knows; takes nothing from it. False: the peer closed.
    pub(crate) fn peek(&self) -> Result<bool, Errno> {
        match recv(&self.fd, &mut [0; 1], RecvFlags::PEEK) {
            Ok((taken, _)) => Ok(taken != 0),
            Err(Errno::AGAIN) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Has the kernel ask an idle peer every second, and give up when it does not confirm for `limit`: the only way to notice
    /// a dead host on a connection on which nothing is said.
    pub(crate) fn watch_host(&self, limit: Duration) -> Result<(), Errno> {
        if !self.inet {
            return Ok(());
        }
        let second = Duration::from_secs(1);
        sockopt::set_tcp_keepidle(&self.fd, second)?;
        sockopt::set_tcp_keepintvl(&self.fd, second)?;
        sockopt::set_tcp_user_timeout(&self.fd, u32::try_from(limit.as_millis()).unwrap_or(u32::MAX))?;
        sockopt::set_socket_keepalive(&self.fd, true)
    }

    /// Closes so that the connection leaves no TIME_WAIT here: thousands of checks a second would use up all ports.
    pub(crate) fn reset(self) {
        if self.inet {
            // Where it fails, the close is an ordinary one.
            let _ = weir_net::set_linger_rst(self.fd.as_fd());
        }
    }

    /// Closes after an answer: in order when the peer has closed already.
    pub(crate) fn end(self) {
        match recv(&self.fd, &mut [0; 1], RecvFlags::PEEK) {
            Ok((0, _)) => {}
            _ => self.reset(),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.count.set(self.count.get().saturating_sub(1));
    }
}
