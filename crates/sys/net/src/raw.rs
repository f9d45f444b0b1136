//! Raw IP sockets for VRRP: whole packets in and out, each with its interface.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::errno_text;
use crate::message::{receive_packet, send_packet};

/// RFC 9568 section 1.2 and the IANA registry: VRRP over IPv4 and IPv6.
const VRRP: i32 = 112;
/// RFC 4302 section 2: the Authentication Header, in which VRRP version 2 may travel.
const AH: i32 = 51;
/// Bytes that may wait in a socket: a flood must not push out the advertisements of the master.
const RECEIVE_BUFFER: usize = 4 << 20;
/// SO_PRIORITY of what must leave before everything else (`TC_PRIO_CONTROL`).
const CONTROL: u32 = 7;
/// The highest SO_PRIORITY without CAP_NET_ADMIN.
const INTERACTIVE: u32 = 6;
/// Traffic class of routing protocols, precedence 6 (RFC 791 section 3.1, internetwork control).
const INTERNETWORK_CONTROL: u32 = 0xc0;

/// What a [`RawSocket`] hears and sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawProtocol {
    /// VRRP in IPv4, protocol 112
    Vrrp4,
    /// an Authentication Header in IPv4, protocol 51
    Ah4,
    /// VRRP in IPv6, next header 112
    Vrrp6,
}

impl RawProtocol {
    fn is_v6(self) -> bool {
        self == RawProtocol::Vrrp6
    }

    fn number(self) -> i32 {
        match self {
            RawProtocol::Vrrp4 | RawProtocol::Vrrp6 => VRRP,
            RawProtocol::Ah4 => AH,
        }
    }
}

/// A raw or packet socket that could not be opened or set up.
#[derive(Debug)]
pub struct RawError {
    /// the system call with what it was called for
    pub call: String,
    /// what the system answered
    pub reason: io::Error,
}

impl RawError {
    pub(crate) fn new(call: impl Into<String>, reason: impl Into<io::Error>) -> RawError {
        RawError { call: call.into(), reason: reason.into() }
    }

    /// For `map_err` after setting an option.
    pub(crate) fn option<E: Into<io::Error>>(name: &'static str) -> impl FnOnce(E) -> RawError {
        move |reason| RawError::new(format!("setsockopt({name})"), reason)
    }

    /// Whether rights are missing, which no later attempt cures.
    pub fn is_permission(&self) -> bool {
        self.reason.kind() == io::ErrorKind::PermissionDenied
    }
}

impl fmt::Display for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed ({})", self.call, errno_text(&self.reason))?;
        if self.is_permission() {
            f.write_str(
                ": CAP_NET_RAW is missing: run as root, or grant it: setcap cap_net_raw,cap_net_admin+ep BINARY, \
                 or AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN in the unit",
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for RawError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// A packet that arrived, with what the IP header said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawArrival<'b> {
    /// index of the interface it came in by
    pub interface: u32,
    /// sender
    pub source: IpAddr,
    /// a group or an address of this host
    pub destination: IpAddr,
    /// TTL or hop limit
    pub hop_limit: u8,
    /// IPv4: from the IP header on; IPv6: the payload
    pub bytes: &'b [u8],
}

/// A raw socket for one protocol on all interfaces of the network namespace in which it was opened. It never
/// blocks.
#[derive(Debug)]
pub struct RawSocket {
    socket: Socket,
    protocol: RawProtocol,
}

impl RawSocket {
    /// Opens a socket that hears the protocol's packets to the groups joined with [`RawSocket::join`] and to the
    /// addresses of this host. What it sends to a group does not come back to this host.
    ///
    /// An error names the call; without CAP_NET_RAW it says how to grant it.
    pub fn open(protocol: RawProtocol) -> Result<RawSocket, RawError> {
        let socket = open_raw(protocol.is_v6(), protocol.number())?;
        if !protocol.is_v6() {
            socket.set_header_included_v4(true).map_err(RawError::option("IP_HDRINCL"))?;
        }
        Ok(RawSocket { socket, protocol })
    }

    /// Hears `group` on the interface with this index.
    ///
    /// An interface that went away and came back has another index and must be joined again.
    pub fn join(&self, interface: u32, group: IpAddr) -> Result<(), RawError> {
        membership(&self.socket, true, interface, group)
    }

    /// Hears `group` no more on that interface.
    pub fn leave(&self, interface: u32, group: IpAddr) -> Result<(), RawError> {
        membership(&self.socket, false, interface, group)
    }

    /// The next packet that waits; `None` when there is nothing more.
    ///
    /// One longer than `buffer` is cut at its end, so that its length or checksum is wrong.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<RawArrival<'b>>> {
        if self.protocol.is_v6() {
            receive_v6(&self.socket, buffer)
        } else {
            receive_v4(&self.socket, buffer)
        }
    }

    /// Sends a packet by the interface with this index (0: the routing table decides). `source` need not be an
    /// address of this host.
    ///
    /// IPv4: `packet` begins with the IP header, from which source, TTL and type of service are taken as they
    /// stand; `hop_limit` is not used. The kernel fills in the total length and the header's checksum, and the
    /// identification where it is 0 (raw(7)). IPv6: `packet` is the payload; its checksum is left as it is.
    pub fn send(
        &self,
        interface: u32,
        source: IpAddr,
        destination: IpAddr,
        hop_limit: u8,
        packet: &[u8],
    ) -> io::Result<()> {
        if destination.is_ipv6() != self.protocol.is_v6() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("destination {destination} is of the other address family than the socket"),
            ));
        }
        send_packet(self.as_fd(), interface, source, destination, hop_limit, packet)
    }
}

/// Readable when a packet waits.
impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A raw socket with what all of them have in common. The protocol's number names the IP protocol.
pub(crate) fn open_raw(v6: bool, protocol: i32) -> Result<Socket, RawError> {
    let (domain, family) = if v6 { (Domain::IPV6, "AF_INET6") } else { (Domain::IPV4, "AF_INET") };
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::from(protocol)))
        .map_err(|e| RawError::new(format!("socket({family}, SOCK_RAW, {protocol})"), e))?;
    if v6 { prepare_v6(&socket) } else { prepare_v4(&socket) }?;
    widen(&socket)?;
    if socket.set_priority(CONTROL).is_err() {
        socket.set_priority(INTERACTIVE).map_err(RawError::option("SO_PRIORITY"))?;
    }
    Ok(socket)
}

fn prepare_v4(socket: &Socket) -> Result<(), RawError> {
    setsockopt(socket, sockopt::Ipv4PacketInfo, &true).map_err(RawError::option("IP_PKTINFO"))?;
    socket.set_multicast_loop_v4(false).map_err(RawError::option("IP_MULTICAST_LOOP"))?;
    socket.set_multicast_all_v4(false).map_err(RawError::option("IP_MULTICAST_ALL"))
}

fn prepare_v6(socket: &Socket) -> Result<(), RawError> {
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true).map_err(RawError::option("IPV6_RECVPKTINFO"))?;
    socket.set_recv_hoplimit_v6(true).map_err(RawError::option("IPV6_RECVHOPLIMIT"))?;
    socket.set_multicast_loop_v6(false).map_err(RawError::option("IPV6_MULTICAST_LOOP"))?;
    socket.set_multicast_all_v6(false).map_err(RawError::option("IPV6_MULTICAST_ALL"))?;
    // A virtual address or one under duplicate address detection is a source as well.
    socket.set_freebind_v6(true).map_err(RawError::option("IPV6_FREEBIND"))?;
    socket.set_tclass_v6(INTERNETWORK_CONTROL).map_err(RawError::option("IPV6_TCLASS"))
}

/// Makes room for [`RECEIVE_BUFFER`] bytes; without CAP_NET_ADMIN for as many as `net.core.rmem_max` allows.
pub(crate) fn widen(socket: &Socket) -> Result<(), RawError> {
    match rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(RawError::option("SO_RCVBUF")),
    }
}

/// Joins or leaves a group.
pub(crate) fn membership(socket: &Socket, join: bool, interface: u32, group: IpAddr) -> Result<(), RawError> {
    let failed = |reason| {
        let option = match (group.is_ipv6(), join) {
            (false, true) => "IP_ADD_MEMBERSHIP",
            (false, false) => "IP_DROP_MEMBERSHIP",
            (true, true) => "IPV6_ADD_MEMBERSHIP",
            (true, false) => "IPV6_DROP_MEMBERSHIP",
        };
        RawError::new(format!("setsockopt({option}) for {group} on interface {interface}"), reason)
    };
    // Index 0 would be an interface of the kernel's choice.
    if NonZeroU32::new(interface).is_none() {
        return Err(failed(io::Error::from_raw_os_error(libc::ENODEV)));
    }
    let by_index = InterfaceIndexOrAddress::Index(interface);
    match (group, join) {
        (IpAddr::V4(group), true) => socket.join_multicast_v4_n(&group, &by_index),
        (IpAddr::V4(group), false) => socket.leave_multicast_v4_n(&group, &by_index),
        (IpAddr::V6(group), true) => socket.join_multicast_v6(&group, interface),
        (IpAddr::V6(group), false) => socket.leave_multicast_v6(&group, interface),
    }
    .map_err(failed)
}

fn receive_v4<'b>(socket: &Socket, buffer: &'b mut [u8]) -> io::Result<Option<RawArrival<'b>>> {
    let Some(packet) = receive_packet(socket.as_fd(), buffer)? else {
        return Ok(None);
    };
    let bytes = buffer.get(..packet.length).unwrap_or_default();
    let Some(Header { hop_limit, source, destination }) = Header::read(bytes) else {
        let text = format!("an IPv4 packet of {} bytes; expected a header of 20", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    };
    let (source, destination) = (source.into(), destination.into());
    Ok(Some(RawArrival { interface: packet.interface, source, destination, hop_limit, bytes }))
}

/// The next IPv6 packet's payload and where it came from.
pub(crate) fn receive_v6<'b>(socket: &Socket, buffer: &'b mut [u8]) -> io::Result<Option<RawArrival<'b>>> {
    let Some(packet) = receive_packet(socket.as_fd(), buffer)? else {
        return Ok(None);
    };
    Ok(Some(RawArrival {
        interface: packet.interface,
        source: packet.source.unwrap_or(Ipv6Addr::UNSPECIFIED).into(),
        destination: packet.destination.unwrap_or(Ipv6Addr::UNSPECIFIED).into(),
        hop_limit: packet.hop_limit.unwrap_or(0),
        bytes: buffer.get(..packet.length).unwrap_or_default(),
    }))
}

/// What the IPv4 header says (RFC 791 section 3.1).
struct Header {
    hop_limit: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
}

impl Header {
    fn read(packet: &[u8]) -> Option<Header> {
        let fixed: &[u8; 20] = packet.first_chunk()?;
        let address = |at: usize| fixed.get(at..).and_then(<[u8]>::first_chunk::<4>).copied();
        Some(Header { hop_limit: fixed[8], source: address(12)?.into(), destination: address(16)?.into() })
    }
}
