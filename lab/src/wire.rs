//! Packets of one's own making, sent from a host: what a damaged or hostile router would say.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{Error, Result};
use crate::host::Host;

/// `IPPROTO_RAW` of raw(7): the packet brings its IP header along.
const RAW: i32 = 255;

/// Sends whole IP packets by one interface of a host, whatever their headers say.
pub struct Wire(Socket);

impl Host {
    /// A way to send packets of one's own making by an interface: of IPv6 if `v6`, else of IPv4.
    ///
    /// # Errors
    /// There is no such interface, or raw sockets are not permitted.
    pub fn wire(&self, interface: &str, v6: bool) -> Result<Wire> {
        let open = || -> io::Result<Socket> {
            let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(RAW)))?;
            if v6 {
                socket.set_header_included_v6(true)?;
            } else {
                socket.set_header_included_v4(true)?;
            }
            socket.bind_device(Some(interface.as_bytes()))?;
            Ok(socket)
        };
        // A socket stays in the network in which it was opened.
        let opened = self.space().inside(open)?;
        opened.map(Wire).map_err(Error::io(format!("a raw socket on {interface} of {}", self.name())))
    }
}

impl Wire {
    /// Sends one packet, IP header included. Of an IPv4 header the kernel fills in length and checksum.
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn send(&self, destination: IpAddr, packet: &[u8]) -> Result<()> {
        let to = SocketAddr::new(destination, 0).into();
        self.0.send_to(packet, &to).map(drop).map_err(Error::io(format!("a packet to {destination}")))
    }
}
