//! Sockets for the two ways in which neighbours learn who has an address: ARP and IPv6 neighbour discovery.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrLike, bind, recvfrom, sendto};
use socket2::{Domain, SockFilter, Socket, Type};

use crate::message::send_packet;
use crate::raw::{membership, open_raw, receive_v6, widen};
use crate::tcp::set_ints;
use crate::{RawArrival, RawError};

/// Neighbor Solicitation (RFC 4861 section 4.3).
const SOLICITATION: u8 = 135;
/// Neighbor Advertisement (RFC 4861 section 4.4).
const ADVERTISEMENT: u8 = 136;
/// Routers would lower it, so 255 proves a neighbour (RFC 4861 section 7.1.1).
const NEIGHBOUR_HOPS: u8 = 255;
/// `ICMP6_FILTER` of linux/icmpv6.h: a bit for each type, set where the type is blocked.
const ICMP6_FILTER: i32 = 1;

/// ARP frames of all interfaces of the network namespace in which it was opened. It never blocks.
#[derive(Debug)]
pub struct ArpSocket {
    socket: Socket,
}

impl ArpSocket {
    /// Opens a socket that hears the ARP frames that arrive at any interface for this host or for all. What this
    /// host sends is not among them, nor what belongs to a VLAN that has no interface here.
    pub fn open() -> Result<ArpSocket, RawError> {
        // With protocol 0 it hears nothing until the filter is in place.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)
            .map_err(|e| RawError::new("socket(AF_PACKET, SOCK_RAW, 0)", e))?;
        socket.attach_filter(&arp_filter()).map_err(RawError::option("SO_ATTACH_FILTER"))?;
        widen(&socket)?;
        bind(socket.as_raw_fd(), &link_address(0, &[])?)
            .map_err(|e| RawError::new("bind(AF_PACKET, ETH_P_ARP)", e))?;
        Ok(ArpSocket { socket })
    }

    /// The next frame that waits, from its Ethernet header on, and the index of its interface; `None` when there
    /// is nothing more. One longer than `buffer` is cut.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<(u32, &'b [u8])>> {
        let (length, from) = loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer) {
                Ok(received) => break received,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        };
        let interface = from.and_then(|from| u32::try_from(from.ifindex()).ok()).unwrap_or(0);
        Ok(Some((interface, buffer.get(..length).unwrap_or_default())))
    }

    /// Sends a frame, from its Ethernet header on, by the interface with this index.
    pub fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        let Some(destination) = frame.first_chunk::<6>() else {
            let text = format!("a frame of {} bytes; expected an Ethernet header of 14 first", frame.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let to = link_address(interface, destination).map_err(|e| e.reason)?;
        loop {
            match sendto(self.socket.as_raw_fd(), frame, &to, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Readable when a frame waits.
impl AsFd for ArpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Passes ARP (by EtherType, RFC 826) that is meant for this host or for all. So it drops what leaves this host,
/// and what carried a VLAN tag that no interface here takes off, which the kernel counts as another host's: that is
/// another network.
fn arp_filter() -> [SockFilter; 6] {
    let load_half = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    let load_word = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let at_least = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    let verdict = (libc::BPF_RET | libc::BPF_K) as u16;
    // PACKET_HOST, _BROADCAST and _MULTICAST are below, PACKET_OUTGOING is above.
    let others = u32::from(libc::PACKET_OTHERHOST);
    [
        SockFilter::new(load_half, 0, 0, 12),
        SockFilter::new(equal, 0, 3, libc::ETH_P_ARP as u32),
        SockFilter::new(load_word, 0, 0, (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32),
        SockFilter::new(at_least, 1, 0, others),
        SockFilter::new(verdict, 0, 0, u32::MAX),
        SockFilter::new(verdict, 0, 0, 0),
    ]
}

/// ARP at an interface; index 0 is all of them.
fn link_address(interface: u32, hardware: &[u8]) -> Result<LinkAddr, RawError> {
    let invalid = || RawError::new(format!("sockaddr_ll of interface {interface}"), Errno::EINVAL);
    let mut sll_addr = [0; 8];
    sll_addr.get_mut(..hardware.len()).ok_or_else(invalid)?.copy_from_slice(hardware);
    let raw = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ARP as u16).to_be(),
        sll_ifindex: i32::try_from(interface).map_err(|_| invalid())?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: hardware.len() as u8,
        sll_addr,
    };
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer is to a live sockaddr_ll and the length is its size.
    unsafe { LinkAddr::from_raw((&raw const raw).cast(), Some(size)) }.ok_or_else(invalid)
}

/// Neighbour solicitations and advertisements (ICMPv6 135 and 136) of all interfaces of the network namespace in
/// which it was opened. It never blocks.
#[derive(Debug)]
pub struct NdSocket {
    socket: Socket,
}

impl NdSocket {
    /// Opens a socket that hears both kinds of message when they go to a group joined with [`NdSocket::join`]
    /// or to an address of this host. What it sends to a group does not come back to this host.
    pub fn open() -> Result<NdSocket, RawError> {
        let socket = open_raw(true, libc::IPPROTO_ICMPV6)?;
        let mut blocked = [!0; 8];
        for kind in [SOLICITATION, ADVERTISEMENT] {
            blocked[usize::from(kind >> 5)] &= !(1 << (kind & 31));
        }
        set_ints(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)
            .map_err(RawError::option("ICMP6_FILTER"))?;
        Ok(NdSocket { socket })
    }

    /// Hears `group` on the interface with this index: ff02::1 for unsolicited advertisements, an address'
    /// solicited-node group for solicitations, also those of duplicate address detection.
    pub fn join(&self, interface: u32, group: Ipv6Addr) -> Result<(), RawError> {
        membership(&self.socket, true, interface, IpAddr::V6(group))
    }

    /// Hears `group` no more on that interface.
    pub fn leave(&self, interface: u32, group: Ipv6Addr) -> Result<(), RawError> {
        membership(&self.socket, false, interface, IpAddr::V6(group))
    }

    /// The next message that waits, from its ICMPv6 type on; `None` when there is nothing more. The kernel
    /// checked its checksum. One longer than `buffer` is cut.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<RawArrival<'b>>> {
        receive_v6(&self.socket, buffer)
    }

    /// Sends a message, from its ICMPv6 type on, by the interface with this index and with hop limit 255.
    /// `source` need not be an address of this host. The kernel fills in the checksum.
    pub fn send(
        &self,
        interface: u32,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        message: &[u8],
    ) -> io::Result<()> {
        send_packet(self.as_fd(), interface, source.into(), destination.into(), NEIGHBOUR_HOPS, message)
    }
}

/// Readable when a message waits.
impl AsFd for NdSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
