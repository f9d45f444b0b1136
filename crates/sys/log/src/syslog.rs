//! Datagrams to a syslog server (RFC 3164), which never block and whose failures are only counted.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use weir_model::SyslogTarget;

use crate::clock;

/// The port of `server=host` without one.
const PORT: u16 = 514;

#[derive(Debug)]
enum Address {
    Inet(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

#[derive(Debug, Default)]
struct State {
    /// absent before the first message and after a failure
    socket: Option<Socket>,
    message: Vec<u8>,
}

/// A syslog server; for use by many threads.
#[derive(Debug)]
pub struct Syslog {
    address: Address,
    facility: u8,
    severity: u8,
    /// what stands between the time and the message: `host tag: ` or `tag: `
    origin: String,
    state: Mutex<State>,
    failures: AtomicU64,
}

impl Syslog {
    /// Prepares a target. No socket is opened yet; a host name is resolved here, which may block.
    pub fn new(target: &SyslogTarget) -> io::Result<Syslog> {
        let address = match target.address.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Inet(resolve(&target.address)?),
        };
        let origin = if target.hostname {
            format!("{} {}: ", hostname(), target.tag)
        } else {
            format!("{}: ", target.tag)
        };
        Ok(Syslog {
            address,
            facility: target.facility,
            severity: target.severity,
            origin,
            state: Mutex::default(),
            failures: AtomicU64::new(0),
        })
    }

    /// Sends one message with the target's own severity, without waiting.
    pub fn send(&self, message: &[u8]) {
        self.send_as(self.severity, message);
    }

    /// Sends one message with a severity of 0 (emerg) to 7 (debug), without waiting. After a failure the next
    /// message gets a new socket, so a server that comes back is found again.
    pub fn send_as(&self, severity: u8, message: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { socket, message: datagram } = &mut *state;
        datagram.clear();
        let priority = u32::from(self.facility) * 8 + u32::from(severity);
        datagram.extend_from_slice(format!("<{priority}>").as_bytes());
        clock::with(|time| datagram.extend_from_slice(time.syslog().as_bytes()));
        datagram.push(b' ');
        datagram.extend_from_slice(self.origin.as_bytes());
        datagram.extend_from_slice(message);
        if let Err(error) = self.transmit(socket, datagram) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            // A full queue is no reason for a new socket.
            if error.kind() != io::ErrorKind::WouldBlock {
                *socket = None;
            }
        }
    }

    /// How many messages could not be sent.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn transmit(&self, socket: &mut Option<Socket>, datagram: &[u8]) -> io::Result<usize> {
        let socket = match socket {
            Some(socket) => socket,
            None => socket.insert(self.connect()?),
        };
        match socket {
            Socket::Udp(socket) => socket.send(datagram),
            Socket::Unix(socket) => socket.send(datagram),
        }
    }

    fn connect(&self) -> io::Result<Socket> {
        match &self.address {
            Address::Inet(addr) => {
                let any: SocketAddr =
                    if addr.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(addr)?;
                Ok(Socket::Udp(socket))
            }
            Address::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path)?;
                Ok(Socket::Unix(socket))
            }
        }
    }
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    if let Ok(addr) = address.parse() {
        return Ok(addr);
    }
    let found = match address.to_socket_addrs() {
        // No port in it, or one that is none; the second look-up tells which.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
            let host = address.trim_start_matches('[').trim_end_matches(']');
            (host, PORT).to_socket_addrs()?.next()
        }
        other => other?.next(),
    };
    found.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("host not found in syslog server \"{address}\""))
    })
}

/// This host's name in lower case, as nginx sends it.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}
