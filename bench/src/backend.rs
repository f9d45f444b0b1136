//! The application behind the proxies: one epoll loop with canned replies, as cheap as it can be,
//! because it shares the load generator's core. It knows only what the cases ask for.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

use crate::websocket;

/// Length of the body at `/small`, in bytes.
pub(crate) const SMALL: usize = 100;
/// Length of the body at `/16k`, in bytes.
pub(crate) const MEDIUM: usize = 16 * 1024;
/// Length of the body at `/1m`, in bytes.
pub(crate) const LARGE: usize = 1024 * 1024;

const HEAD_LIMIT: usize = 64 * 1024;
const LISTENER: u64 = u64::MAX;

/// The body that `path` answers with, for those who check it; `None` for a path that has none.
pub(crate) fn body(path: &str) -> Option<Vec<u8>> {
    let length = match path {
        "/small" => SMALL,
        "/16k" => MEDIUM,
        "/1m" => LARGE,
        _ => return None,
    };
    Some((0..length).map(|i| b'a' + (i % 26) as u8).collect())
}

/// A listener on a free loopback port with a queue long enough for the cases.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Answers on `listener` until the process ends; returns only on an error of epoll itself.
pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut scratch = vec![0; HEAD_LIMIT];
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let data = event.data;
            if data.u64() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let Some(slot) = connections.get_mut(data.u64() as usize) else {
                continue;
            };
            if let Some(connection) = slot
                && connection.advance(&poll, data, &mut scratch).is_err()
            {
                *slot = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &impl std::os::fd::AsFd,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let slot = stream.as_raw_fd() as usize;
        epoll::add(poll, &stream, EventData::new_u64(slot as u64), EventFlags::IN)?;
        if connections.len() <= slot {
            connections.resize_with(slot + 1, || None);
        }
        connections[slot] = Some(Connection::new(stream));
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Cow<'static, [u8]>,
    sent: usize,
    blocked: bool,
    upgraded: bool,
    close: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            output: Cow::Borrowed(&[]),
            sent: 0,
            blocked: false,
            upgraded: false,
            close: false,
        }
    }

    /// Does what one event allows; an error means that the connection is done.
    fn advance(
        &mut self,
        poll: &impl std::os::fd::AsFd,
        data: EventData,
        scratch: &mut [u8],
    ) -> io::Result<()> {
        if self.sent == self.output.len() {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.input.extend_from_slice(&scratch[..count]);
        }
        loop {
            let blocked = !self.flush()?;
            if blocked != self.blocked {
                self.blocked = blocked;
                let interest = if blocked { EventFlags::OUT } else { EventFlags::IN };
                epoll::modify(poll, &self.stream, data, interest)?;
            }
            if blocked {
                return Ok(());
            }
            if self.close {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if !self.answer()? {
                return Ok(());
            }
        }
    }

    /// Writes what is pending; false when the socket takes no more.
    fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Turns the next whole request or frame into pending output; false when there is none.
    fn answer(&mut self) -> io::Result<bool> {
        let used = if self.upgraded {
            let Some((used, payload)) = websocket::decode(&self.input)? else {
                return Ok(false);
            };
            self.output = Cow::Owned(websocket::encode(&payload, None));
            used
        } else {
            let Some(end) = self.input.windows(4).position(|w| w == b"\r\n\r\n") else {
                return if self.input.len() > HEAD_LIMIT {
                    Err(io::ErrorKind::InvalidData.into())
                } else {
                    Ok(false)
                };
            };
            let (reply, close) = choose(&self.input[..end]);
            self.output = Cow::Borrowed(reply);
            self.upgraded = std::ptr::eq(reply, replies().upgrade.as_slice());
            self.close = close && !self.upgraded;
            end + 4
        };
        self.sent = 0;
        if used == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..used);
        }
        Ok(true)
    }
}

struct Replies {
    small: Vec<u8>,
    medium: Vec<u8>,
    large: Vec<u8>,
    upgrade: Vec<u8>,
    missing: Vec<u8>,
}

fn replies() -> &'static Replies {
    static REPLIES: OnceLock<Replies> = OnceLock::new();
    REPLIES.get_or_init(|| {
        let whole = |path: &str| {
            let body = body(path).expect("the three paths have bodies");
            let mut reply = format!(
                "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            reply.extend_from_slice(&body);
            reply
        };
        Replies {
            small: whole("/small"),
            medium: whole("/16k"),
            large: whole("/1m"),
            upgrade: websocket::ACCEPT.as_bytes().to_vec(),
            missing: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        }
    })
}

/// The reply to a request head, and whether the client asked to close after it.
fn choose(head: &[u8]) -> (&'static [u8], bool) {
    let replies = replies();
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(head);
    let reply = if line.starts_with(b"GET /small ") {
        &replies.small
    } else if line.starts_with(b"GET /16k ") {
        &replies.medium
    } else if line.starts_with(b"GET /1m ") {
        &replies.large
    } else if line.starts_with(b"GET /ws ") {
        &replies.upgrade
    } else {
        &replies.missing
    };
    let wanted = b"connection: close";
    let close = line.ends_with(b"HTTP/1.0")
        || head.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted));
    (reply, close)
}
