//! Options of connected sockets, and sending files through them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use socket2::SockRef;

/// What the kernel knows of a connection (`$tcpinfo_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// smoothed round trip time, microseconds
    pub rtt: u32,
    /// its variation, microseconds
    pub rttvar: u32,
    /// congestion window, segments
    pub snd_cwnd: u32,
    /// receive window, bytes
    pub rcv_space: u32,
}

/// Sets one integer option.
pub(crate) fn set_int(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    set_ints(fd, level, name, &[value])
}

/// Sets an option that is a row of integers.
pub(crate) fn set_ints(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    values: &[libc::c_int],
) -> io::Result<()> {
    let size = size_of_val(values) as libc::socklen_t;
    // SAFETY: the pointer is to live integers and the length is their size.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, values.as_ptr().cast(), size) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The kernel's figures for a TCP connection.
pub fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    // SAFETY: tcp_info is plain integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer is to a live tcp_info and the length is its size; the kernel writes no more.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpInfo {
        rtt: info.tcpi_rtt,
        rttvar: info.tcpi_rttvar,
        snd_cwnd: info.tcpi_snd_cwnd,
        rcv_space: info.tcpi_rcv_space,
    })
}

/// The next close sends RST and drops what was not sent (`reset_timedout_connection`, status 444).
pub fn set_linger_rst(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_linger(Some(Duration::ZERO))
}

/// TCP_CORK, nginx's `tcp_nopush`: only full segments leave until it is taken off.
pub fn set_cork(fd: BorrowedFd<'_>, cork: bool) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_cork(cork)
}

/// TCP_NODELAY: small segments leave at once.
pub fn set_nodelay(fd: BorrowedFd<'_>, nodelay: bool) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_nodelay(nodelay)
}

/// SO_KEEPALIVE with the system's times (`proxy_socket_keepalive`).
pub fn set_keepalive(fd: BorrowedFd<'_>, keepalive: bool) -> io::Result<()> {
    SockRef::from(&fd).set_keepalive(keepalive)
}

/// Binds a socket that is to connect (`proxy_bind`). With port 0 the system chooses the port at connect, so
/// that one address serves more connections than there are ports. `transparent` allows an address that this
/// host does not have (IP_TRANSPARENT, needs CAP_NET_ADMIN or CAP_NET_RAW).
pub fn bind_outgoing(fd: BorrowedFd<'_>, local: SocketAddr, transparent: bool) -> io::Result<()> {
    let socket = SockRef::from(&fd);
    if transparent {
        match local.ip() {
            IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            IpAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
    }
    if local.port() == 0 {
        set_int(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    }
    socket.bind(&local.into())
}

/// Sends up to `len` bytes of the file `from` at `offset` to `out` without copying them through this process.
/// Returns how many were sent and moves `offset` past them; 0 is the end of the file.
pub fn send_file(
    out: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    offset: &mut u64,
    len: usize,
) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(out, from, Some(offset), len)?)
}
