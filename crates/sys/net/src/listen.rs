//! Listening sockets: one for each data thread, which share an address by SO_REUSEPORT.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use weir_model::{KeepAlive, Listen, ListenAddress};

use crate::error::{BindError, Call};
use crate::tcp;

/// One address and the options of nginx's `listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSpec {
    /// where
    pub addr: ListenAddress,
    /// how; what concerns the protocol (PROXY) is left to the server
    pub options: Listen,
}

impl ListenSpec {
    /// An address with nginx's defaults for all options.
    pub fn new(addr: ListenAddress) -> ListenSpec {
        ListenSpec { addr, options: Listen::default() }
    }
}

/// How long a deferred connection may stay silent before it is accepted all the same: nginx's default of
/// `client_header_timeout`, seconds.
const DEFERRED_FOR: libc::c_int = 60;

/// Opens `copies` listening sockets on one address, non-blocking and close-on-exec.
///
/// The first one is bound without SO_REUSEPORT, so that a second instance, or another program that holds
/// the port, is an error and not a silent sharing of connections. A Unix socket is opened once and
/// duplicated.
///
/// # Panics
/// If `copies` is 0.
pub fn listen(spec: &ListenSpec, copies: usize) -> Result<Vec<OwnedFd>, BindError> {
    assert!(copies > 0, "a listener has at least one socket");
    let first = match &spec.addr {
        ListenAddress::Inet(addr) => {
            let socket = open_inet(spec, *addr)?;
            bind(&socket, &(*addr).into(), &spec.addr)?;
            if copies > 1 {
                // Before listen(2): a socket joins the group that shares the port when it starts to listen.
                set_reuse_port(&socket, &spec.addr)?;
            }
            socket
        }
        ListenAddress::Unix(path) => open_unix(spec, Path::new(path))?,
    };
    start(&first, spec)?;
    let mut sockets = vec![OwnedFd::from(first)];
    let first_addr = bound(&sockets[0], &spec.addr)?;
    let spec = &ListenSpec { addr: first_addr, ..spec.clone() };
    let more = add(spec, &sockets[0], copies - 1)?;
    sockets.extend(more);
    Ok(sockets)
}

/// Opens `more` further sockets on an address that `existing` listens on already.
pub fn add_listeners(
    spec: &ListenSpec,
    existing: BorrowedFd<'_>,
    more: usize,
) -> Result<Vec<OwnedFd>, BindError> {
    if more > 0
        && let ListenAddress::Inet(_) = spec.addr
    {
        SockRef::from(&existing)
            .set_reuse_port(true)
            .map_err(|e| BindError::new(Call::Option("SO_REUSEPORT"), &spec.addr, e))?;
    }
    add(spec, &existing, more)
}

fn add(spec: &ListenSpec, existing: &impl AsFd, more: usize) -> Result<Vec<OwnedFd>, BindError> {
    let mut sockets = Vec::with_capacity(more);
    for _ in 0..more {
        match &spec.addr {
            ListenAddress::Inet(addr) => {
                let socket = open_inet(spec, *addr)?;
                set_reuse_port(&socket, &spec.addr)?;
                bind(&socket, &(*addr).into(), &spec.addr)?;
                start(&socket, spec)?;
                sockets.push(socket.into());
            }
            ListenAddress::Unix(_) => {
                let twin = existing.as_fd().try_clone_to_owned();
                sockets.push(twin.map_err(|e| BindError::new(Call::Socket, &spec.addr, e))?);
            }
        }
    }
    Ok(sockets)
}

/// Sets what can be changed on a socket that listens already: backlog, buffers, keep-alive, deferred accept,
/// fast open. For a reload, and for sockets inherited from another process.
pub fn apply_options(socket: BorrowedFd<'_>, spec: &ListenSpec) -> Result<(), BindError> {
    let socket = SockRef::from(&socket);
    socket.set_nonblocking(true).map_err(|e| BindError::new(Call::Option("O_NONBLOCK"), &spec.addr, e))?;
    start(&socket, spec)
}

/// Opens a UDP socket; another process of the same user may open the address beside it, as a binary that replaces this one
/// does.
pub fn bind_datagram(addr: SocketAddr) -> Result<OwnedFd, BindError> {
    let told = ListenAddress::Inet(addr);
    let fail = |call| move |e| BindError::new(call, &ListenAddress::Inet(addr), e);
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))
        .map_err(fail(Call::Socket))?;
    set_reuse_port(&socket, &told)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true).map_err(fail(Call::Option("IPV6_V6ONLY")))?;
    }
    bind(&socket, &addr.into(), &told)?;
    Ok(socket.into())
}

/// Whether an address could be bound, without listening on it; a configuration test must not disturb a server
/// that runs. An address in use counts as good, because the running server is its likely holder.
pub fn probe(spec: &ListenSpec) -> Result<(), BindError> {
    let ListenAddress::Inet(addr) = &spec.addr else {
        return Ok(());
    };
    let socket = open_inet(spec, *addr)?;
    match bind(&socket, &(*addr).into(), &spec.addr) {
        Err(error) if !error.is_in_use() => Err(error),
        _ => Ok(()),
    }
}

/// The address a socket is bound to; tells a port that the system chose, or what an inherited socket is.
pub fn bound_addr(socket: BorrowedFd<'_>) -> io::Result<ListenAddress> {
    let addr = SockRef::from(&socket).local_addr()?;
    if let Some(inet) = addr.as_socket() {
        return Ok(ListenAddress::Inet(inet));
    }
    match addr.as_pathname() {
        Some(path) => Ok(ListenAddress::Unix(path.to_string_lossy().into_owned())),
        None => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the socket has an unsupported protocol family; expected IPv4, IPv6 or a unix path",
        )),
    }
}

fn bound(socket: &OwnedFd, addr: &ListenAddress) -> Result<ListenAddress, BindError> {
    match addr {
        ListenAddress::Inet(_) => {
            bound_addr(socket.as_fd()).map_err(|e| BindError::new(Call::Socket, addr, e))
        }
        ListenAddress::Unix(_) => Ok(addr.clone()),
    }
}

fn open_inet(spec: &ListenSpec, addr: SocketAddr) -> Result<Socket, BindError> {
    let fail = |call| move |e| BindError::new(call, &spec.addr, e);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))
        .map_err(fail(Call::Socket))?;
    socket.set_reuse_address(true).map_err(fail(Call::Option("SO_REUSEADDR")))?;
    // An address that this host does not hold yet (a virtual IP before a failover) can be bound.
    if addr.is_ipv4() {
        socket.set_freebind_v4(true).map_err(fail(Call::Option("IP_FREEBIND")))?;
    } else {
        socket.set_freebind_v6(true).map_err(fail(Call::Option("IPV6_FREEBIND")))?;
        socket.set_only_v6(spec.options.ipv6only).map_err(fail(Call::Option("IPV6_V6ONLY")))?;
    }
    Ok(socket)
}

fn open_unix(spec: &ListenSpec, path: &Path) -> Result<Socket, BindError> {
    let fail = |call| move |e| BindError::new(call, &spec.addr, e);
    let name = SockAddr::unix(path).map_err(fail(Call::Bind))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(fail(Call::Socket))?;
    if let Err(error) = bind(&socket, &name, &spec.addr) {
        if !(error.is_in_use() && is_stale(path)) {
            return Err(error);
        }
        std::fs::remove_file(path).map_err(fail(Call::Bind))?;
        bind(&socket, &name, &spec.addr)?;
    }
    // As nginx: everybody may connect; who should not is kept out by the directory.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(fail(Call::Chmod))?;
    Ok(socket)
}

/// A socket file whose server has gone: it is there, and nobody answers. Connecting to a file that is no socket
/// is refused in the same way, and such a file is not ours to remove.
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

fn bind(socket: &Socket, name: &SockAddr, addr: &ListenAddress) -> Result<(), BindError> {
    socket.bind(name).map_err(|e| BindError::new(Call::Bind, addr, e))
}

fn set_reuse_port(socket: &Socket, addr: &ListenAddress) -> Result<(), BindError> {
    socket.set_reuse_port(true).map_err(|e| BindError::new(Call::Option("SO_REUSEPORT"), addr, e))
}

fn start(socket: &Socket, spec: &ListenSpec) -> Result<(), BindError> {
    let fail = |call| move |e| BindError::new(call, &spec.addr, e);
    if let Some(bytes) = spec.options.rcvbuf {
        socket.set_recv_buffer_size(bytes as usize).map_err(fail(Call::Option("SO_RCVBUF")))?;
    }
    if let Some(bytes) = spec.options.sndbuf {
        socket.set_send_buffer_size(bytes as usize).map_err(fail(Call::Option("SO_SNDBUF")))?;
    }
    if let ListenAddress::Inet(_) = spec.addr {
        set_keepalive(socket, spec.options.so_keepalive).map_err(fail(Call::Option("SO_KEEPALIVE")))?;
        let wait = if spec.options.deferred { DEFERRED_FOR } else { 0 };
        tcp::set_int(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, wait)
            .map_err(fail(Call::Option("TCP_DEFER_ACCEPT")))?;
        if let Some(queue) = spec.options.fastopen {
            tcp::set_int(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)
                .map_err(fail(Call::Option("TCP_FASTOPEN")))?;
        }
    }
    socket.listen(spec.options.backlog).map_err(fail(Call::Listen(spec.options.backlog)))
}

fn set_keepalive(socket: &Socket, keepalive: Option<KeepAlive>) -> io::Result<()> {
    match keepalive {
        None => Ok(()),
        Some(KeepAlive::On) => socket.set_keepalive(true),
        Some(KeepAlive::Off) => socket.set_keepalive(false),
        Some(KeepAlive::Tuned { idle, interval, count }) => {
            let mut times = TcpKeepalive::new();
            if let Some(idle) = idle {
                times = times.with_time(Duration::from_secs(idle.into()));
            }
            if let Some(interval) = interval {
                times = times.with_interval(Duration::from_secs(interval.into()));
            }
            if let Some(count) = count {
                times = times.with_retries(count);
            }
            socket.set_tcp_keepalive(&times)
        }
    }
}
