//! Packets with their control messages: which interface, which addresses, how many hops.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage,
    cmsg_space, recvmsg, sendmsg,
};

/// The larger pair of control messages: those of IPv6.
const CONTROL_SPACE: usize = cmsg_space::<libc::in6_pktinfo>() + cmsg_space::<libc::c_int>();

/// Room for control messages. They begin with a `cmsghdr`, whose alignment they need.
#[repr(align(8))]
struct Control([u8; CONTROL_SPACE]);

/// What is known of a packet besides its bytes.
pub(crate) struct Packet {
    /// bytes in the buffer
    pub(crate) length: usize,
    pub(crate) interface: u32,
    /// IPv6 only, as the next two; IPv4 has them in its header
    pub(crate) source: Option<Ipv6Addr>,
    pub(crate) destination: Option<Ipv6Addr>,
    pub(crate) hop_limit: Option<u8>,
}

/// Takes the next packet into `buffer`; `None` when none waits.
pub(crate) fn receive_packet(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Packet>> {
    let mut control = Control([0; CONTROL_SPACE]);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = loop {
        let space = Some(&mut control.0[..]);
        match recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut parts, space, MsgFlags::MSG_DONTWAIT) {
            Ok(received) => break received,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
    };
    let source = received.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in6).map(SockaddrIn6::ip);
    let mut packet =
        Packet { length: received.bytes, interface: 0, source, destination: None, hop_limit: None };
    for message in received.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                packet.interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                packet.interface = info.ipi6_ifindex;
                packet.destination = Some(info.ipi6_addr.s6_addr.into());
            }
            ControlMessageOwned::Ipv6HopLimit(hops) => packet.hop_limit = u8::try_from(hops).ok(),
            _ => {}
        }
    }
    Ok(Some(packet))
}

/// Sends by an interface (0: by the routing table) from `source` to `destination`, which are of one family.
pub(crate) fn send_packet(
    fd: BorrowedFd<'_>,
    interface: u32,
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    packet: &[u8],
) -> io::Result<()> {
    match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(to)) => send_v4(fd, interface, to, packet),
        (IpAddr::V6(from), IpAddr::V6(to)) => send_v6(fd, interface, from, to, hop_limit, packet),
        _ => {
            let text = format!("source {source} and destination {destination} are of two address families");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

fn send_v4(fd: BorrowedFd<'_>, interface: u32, to: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
    // The source stands in the packet's own header; given here too it would have to be an address of this host.
    let unset = libc::in_addr { s_addr: 0 };
    let info = libc::in_pktinfo {
        ipi_ifindex: i32::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?,
        ipi_spec_dst: unset,
        ipi_addr: unset,
    };
    let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
    send_whole(fd, &[ControlMessage::Ipv4PacketInfo(&info)], &to, packet)
}

fn send_v6(
    fd: BorrowedFd<'_>,
    interface: u32,
    from: Ipv6Addr,
    to: Ipv6Addr,
    hop_limit: u8,
    packet: &[u8],
) -> io::Result<()> {
    let info =
        libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: interface };
    let hops = libc::c_int::from(hop_limit);
    let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, interface));
    send_whole(fd, &[ControlMessage::Ipv6PacketInfo(&info), ControlMessage::Ipv6HopLimit(&hops)], &to, packet)
}

fn send_whole(
    fd: BorrowedFd<'_>,
    control: &[ControlMessage<'_>],
    to: &impl SockaddrLike,
    packet: &[u8],
) -> io::Result<()> {
    loop {
        match sendmsg(
            fd.as_raw_fd(),
            &[IoSlice::new(packet)],
            control,
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            Some(to),
        ) {
            // A datagram leaves whole or not at all.
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
