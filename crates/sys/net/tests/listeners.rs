//! Listening sockets against the real kernel, on loopback.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use weir_model::{KeepAlive, ListenAddress};
use weir_net::{Call, ListenSpec, add_listeners, apply_options, bound_addr, listen, probe};

fn loopback() -> ListenSpec {
    ListenSpec::new(ListenAddress::Inet("127.0.0.1:0".parse().expect("an address")))
}

fn unix(path: &Path) -> ListenAddress {
    ListenAddress::Unix(path.to_str().expect("a plain path").to_owned())
}

fn inet(socket: &OwnedFd) -> SocketAddr {
    match bound_addr(socket.as_fd()).expect("a bound socket") {
        ListenAddress::Inet(addr) => addr,
        ListenAddress::Unix(path) => panic!("expected an internet address, got {path}"),
    }
}

fn spec_of(socket: &OwnedFd) -> ListenSpec {
    ListenSpec::new(ListenAddress::Inet(inet(socket)))
}

/// Index of the socket that has a connection to accept.
fn ready(sockets: &[OwnedFd]) -> usize {
    let mut fds: Vec<_> = sockets.iter().map(|s| PollFd::new(s, PollFlags::IN)).collect();
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&limit)).expect("poll"), 1, "one socket has the connection");
    fds.iter().position(|f| !f.revents().is_empty()).expect("poll counted one")
}

/// Connects until every one of the sockets was given a connection.
fn all_are_served(sockets: &[OwnedFd]) {
    let addr = inet(&sockets[0]);
    let mut seen = vec![false; sockets.len()];
    for _ in 0..1000 {
        let client = TcpStream::connect(addr).expect("connect");
        let which = ready(sockets);
        rustix::net::accept(&sockets[which]).expect("accept");
        drop(client);
        seen[which] = true;
        if seen.iter().all(|s| *s) {
            return;
        }
    }
    panic!("some sockets were never given a connection: {seen:?}");
}

#[test]
fn copies_share_the_connections() {
    let sockets = listen(&loopback(), 4).expect("listen");
    assert_eq!(sockets.len(), 4);
    all_are_served(&sockets);
}

#[test]
fn more_listeners_join_later() {
    let mut sockets = listen(&loopback(), 1).expect("listen");
    let spec = spec_of(&sockets[0]);
    sockets.extend(add_listeners(&spec, sockets[0].as_fd(), 2).expect("two more"));
    all_are_served(&sockets);
    sockets.extend(add_listeners(&spec, sockets[0].as_fd(), 1).expect("one more"));
    all_are_served(&sockets);
}

#[test]
fn a_second_instance_is_refused() {
    let sockets = listen(&loopback(), 3).expect("listen");
    let spec = spec_of(&sockets[0]);
    for copies in [1, 2] {
        let error = listen(&spec, copies).expect_err("the port is taken");
        assert_eq!(error.call, Call::Bind);
        assert!(error.is_in_use());
        assert_eq!(
            error.to_string(),
            format!("bind() to {} failed (98: Address already in use)", inet(&sockets[0]))
        );
    }
}

#[test]
fn a_port_of_another_program_is_refused() {
    let other = TcpListener::bind("127.0.0.1:0").expect("bind");
    let spec = ListenSpec::new(ListenAddress::Inet(other.local_addr().expect("bound")));
    assert!(listen(&spec, 2).expect_err("the port is taken").is_in_use());
    probe(&spec).expect("a test of the configuration accepts an address in use");
}

#[test]
fn an_address_of_another_host_can_be_bound() {
    let spec = ListenSpec::new(ListenAddress::Inet("192.0.2.7:0".parse().expect("an address")));
    let sockets = listen(&spec, 2).expect("listen on an address that is not here");
    assert_eq!(inet(&sockets[0]), inet(&sockets[1]));
    assert_eq!(inet(&sockets[1]).ip().to_string(), "192.0.2.7");
}

#[test]
fn ipv6_leaves_ipv4_alone() {
    let sockets = listen(&ListenSpec::new(ListenAddress::Inet("[::]:0".parse().expect("an address"))), 1);
    let sockets = sockets.expect("listen");
    let port = inet(&sockets[0]).port();
    let refused = TcpStream::connect(("127.0.0.1", port)).expect_err("only IPv6");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    TcpStream::connect(("::1", port)).expect("IPv6");
    let mut both = ListenSpec::new(ListenAddress::Inet("[::]:0".parse().expect("an address")));
    both.options.ipv6only = false;
    let sockets = listen(&both, 1).expect("listen");
    TcpStream::connect(("127.0.0.1", inet(&sockets[0]).port())).expect("both families");
}

#[test]
fn options_are_set() {
    let mut spec = loopback();
    spec.options.rcvbuf = Some(64 << 10);
    spec.options.sndbuf = Some(32 << 10);
    spec.options.fastopen = Some(16);
    spec.options.deferred = true;
    spec.options.so_keepalive = Some(KeepAlive::Tuned { idle: Some(77), interval: None, count: Some(3) });
    let sockets = listen(&spec, 2).expect("listen");
    for socket in &sockets {
        let socket = socket2::SockRef::from(socket);
        assert!(socket.keepalive().expect("SO_KEEPALIVE"));
        assert_eq!(socket.tcp_keepalive_time().expect("TCP_KEEPIDLE"), Duration::from_secs(77));
        assert_eq!(socket.tcp_keepalive_retries().expect("TCP_KEEPCNT"), 3);
        // The kernel doubles what it is asked for.
        assert_eq!(socket.recv_buffer_size().expect("SO_RCVBUF"), 128 << 10);
        assert_eq!(socket.send_buffer_size().expect("SO_SNDBUF"), 64 << 10);
        assert!(socket.reuse_port().expect("SO_REUSEPORT"));
        assert!(socket.is_listener().expect("SO_ACCEPTCONN"));
        assert!(socket.nonblocking().expect("O_NONBLOCK"));
    }
    spec.options.so_keepalive = Some(KeepAlive::Off);
    spec.options.backlog = 17;
    apply_options(sockets[0].as_fd(), &spec).expect("reapply");
    assert!(!socket2::SockRef::from(&sockets[0]).keepalive().expect("SO_KEEPALIVE"));
}

#[test]
fn unix_sockets() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.sock");
    let spec = ListenSpec::new(unix(&path));
    let sockets = listen(&spec, 3).expect("listen");
    assert_eq!(sockets.len(), 3);
    let file = std::fs::metadata(&path).expect("the socket's file");
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o666);
    UnixStream::connect(&path).expect("connect");
    for socket in &sockets {
        assert_eq!(bound_addr(socket.as_fd()).expect("bound"), unix(&path));
    }

    let error = listen(&spec, 1).expect_err("somebody answers there");
    assert!(error.is_in_use());
    assert_eq!(
        error.to_string(),
        format!("bind() to unix:{} failed (98: Address already in use)", path.display())
    );

    drop(sockets);
    listen(&spec, 1).expect("a file that nobody answers for is replaced");
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("data");
    std::fs::write(&path, "precious").expect("write");
    let error = listen(&ListenSpec::new(unix(&path)), 1);
    // connect(2) to a regular file says ECONNREFUSED too, so only a socket may be replaced.
    assert!(error.expect_err("the name is taken").is_in_use());
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
}

#[test]
fn outgoing_addresses() {
    let server = TcpListener::bind("127.0.0.1:0").expect("bind");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    weir_net::bind_outgoing(socket.as_fd(), "127.0.0.3:0".parse().expect("an address"), false).expect("bind");
    socket.connect(&server.local_addr().expect("bound").into()).expect("connect");
    let (accepted, peer) = server.accept().expect("accept");
    assert_eq!(peer.ip().to_string(), "127.0.0.3");
    let info = weir_net::tcp_info(accepted.as_fd()).expect("TCP_INFO");
    assert!(info.snd_cwnd > 0 && info.rcv_space > 0, "{info:?}");

    weir_net::set_nodelay(accepted.as_fd(), true).expect("TCP_NODELAY");
    weir_net::set_cork(accepted.as_fd(), true).expect("TCP_CORK");
    weir_net::set_linger_rst(accepted.as_fd()).expect("SO_LINGER");
    drop(accepted);
    let mut client = TcpStream::from(socket);
    assert_eq!(client.read(&mut [0]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn files_are_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("f"), b"0123456789").expect("write");
    let file = std::fs::File::open(dir.path().join("f")).expect("open");
    let (a, mut b) = UnixStream::pair().expect("pair");
    let mut offset = 2;
    assert_eq!(weir_net::send_file(a.as_fd(), file.as_fd(), &mut offset, 5).expect("sendfile"), 5);
    assert_eq!(offset, 7);
    assert_eq!(weir_net::send_file(a.as_fd(), file.as_fd(), &mut offset, 5).expect("sendfile"), 3);
    assert_eq!(weir_net::send_file(a.as_fd(), file.as_fd(), &mut offset, 5).expect("sendfile"), 0);
    drop(a);
    let mut got = String::new();
    b.read_to_string(&mut got).expect("read");
    assert_eq!(got, "23456789");
}

#[test]
fn stale_check_needs_a_listener() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("b.sock");
    drop(UnixListener::bind(&path).expect("bind"));
    assert!(path.exists(), "the file outlives its server");
    listen(&ListenSpec::new(unix(&path)), 1).expect("a stale file is replaced");
}
