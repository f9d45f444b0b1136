//! A client's connection: wait, read a head, serve it, and again.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::time::Instant;
use weir_http::Facts;
use weir_http::wire::head::{HeadLimits, Progress};
use weir_log::clock;
use weir_model::{KeepAlive, Level, ListenAddress};

use crate::buffers::SMALL;
use crate::deadline::{self, Deadline};
use crate::exchange::{After, Exchange};
use crate::live::Live;
use crate::proxy_protocol;
use crate::stream::Stream;
use crate::thread::{self, Thread};

/// A client's connection between and during requests. Small: thousands of them idle.
pub(crate) struct Client {
    pub(crate) thread: Rc<Thread>,
    pub(crate) stream: Stream,
    pub(crate) deadline: Deadline,
    pub(crate) facts: Rc<Facts>,
    /// The address that accepted, as configured.
    pub(crate) address: Rc<ListenAddress>,
    /// Bytes that were read beyond the last request.
    pub(crate) rest: Vec<u8>,
    pub(crate) requests: u64,
    /// From here on a waiting request watches whether its client is still there.
    pub(crate) watch_from: Instant,
    /// The generation and the listener's index in it, as last looked up.
    listener: Cell<(u64, Option<usize>)>,
    slot: usize,
}

/// A new connection is not watched for its client's leaving while its first request is this young: nearly all
/// are answered by then, and watching costs system calls.
const UNWATCHED: Duration = Duration::from_millis(2);

/// No generation has this number.
const NOT_LOOKED_UP: (u64, Option<usize>) = (u64::MAX, None);

/// Slot of a client whose waker was not enlisted.
const UNLISTED: usize = usize::MAX;

impl Client {
    /// A client for a request that is made beside another one: what it sends reaches nobody.
    pub(crate) fn detached(client: &Self) -> std::io::Result<Self> {
        let (stream, _) = tokio::net::UnixStream::pair()?;
        client.thread.counters.active.fetch_add(1, Relaxed);
        Ok(Self {
            thread: Rc::clone(&client.thread),
            stream: Stream::Unix(stream),
            deadline: Deadline::default(),
            facts: Rc::clone(&client.facts),
            address: Rc::clone(&client.address),
            rest: Vec::new(),
            requests: client.requests,
            watch_from: client.watch_from,
            listener: Cell::new(NOT_LOOKED_UP),
            slot: UNLISTED,
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.slot != UNLISTED {
            self.thread.discharge(self.slot);
        }
        if self.thread.counters.active.fetch_sub(1, Relaxed) == 1 && self.thread.quitting.get() {
            self.thread.drained.notify_one();
        }
    }
}

/// Starts serving an accepted connection.
pub(crate) fn spawn(
    thread: &Rc<Thread>,
    address: Rc<ListenAddress>,
    stream: Stream,
    peer: Option<SocketAddr>,
) {
    let counters = &thread.counters;
    counters.accepted.fetch_add(1, Relaxed);
    counters.handled.fetch_add(1, Relaxed);
    counters.active.fetch_add(1, Relaxed);
    let local = local_address(&stream, &address);
    let facts = Facts {
        remote: peer.map(|peer| peer.ip()),
        remote_port: peer.map_or(0, |peer| peer.port()),
        remote_text: peer.map_or_else(|| "unix:".to_owned(), |peer| peer.ip().to_string()),
        local,
        serial: thread.shared.serial.fetch_add(1, Relaxed) + 1,
        accepted: clock::mono_ms(),
        proxied: None,
    };
    let client = Client {
        thread: Rc::clone(thread),
        stream,
        deadline: Deadline::default(),
        facts: Rc::new(facts),
        address,
        rest: Vec::new(),
        requests: 0,
        watch_from: deadline::now() + UNWATCHED,
        listener: Cell::new(NOT_LOOKED_UP),
        slot: UNLISTED,
    };
    tokio::task::spawn_local(serve(client));
}

/// The address that the client connected to; only a wildcard leaves it open.
fn local_address(stream: &Stream, address: &ListenAddress) -> ListenAddress {
    match address {
        ListenAddress::Inet(bound) if bound.ip().is_unspecified() => {
            let local = rustix::net::getsockname(stream.fd()).ok();
            let local = local.and_then(|local| SocketAddr::try_from(local).ok());
            local.map_or_else(|| address.clone(), ListenAddress::Inet)
        }
        _ => address.clone(),
    }
}

async fn serve(mut client: Client) {
    client.slot = poll_fn(|cx| Poll::Ready(client.thread.enlist(cx.waker().clone()))).await;
    let live = client.thread.live();
    let Some(listener) = listener_of(&live, &client) else { return };
    let options = &live.site().http().listeners[listener].options;
    if let Some(keepalive) = options.so_keepalive {
        set_keepalive(&client.stream, keepalive);
    }
    if options.proxy_protocol && !read_proxy_header(&mut client, &live, listener).await {
        return;
    }
    drop(live);
    let mut idle = None;
    loop {
        let counters = Arc::clone(&client.thread.counters);
        let mut bytes = Vec::new();
        if client.stream.is_fresh() {
            match first_bytes(&client) {
                Ok(found) => bytes = found,
                Err(_) => return,
            }
        }
        if client.rest.is_empty() && bytes.is_empty() {
            counters.waiting.fetch_add(1, Relaxed);
            let readable = wait(&mut client, idle).await;
            counters.waiting.fetch_sub(1, Relaxed);
            if !readable {
                return;
            }
        }
        let after = Box::pin(one(&mut client, bytes)).await;
        match after {
            After::KeepAlive(timeout) => idle = Some(timeout),
            After::Close => return thread::close(client),
        }
    }
}

/// What a new connection has brought along, empty when nothing has come. Most clients send their request right
/// behind the handshake, so that it is here before the connection is.
fn first_bytes(client: &Client) -> std::io::Result<Vec<u8>> {
    let mut bytes = client.thread.buffers.small();
    match rustix::net::recv(client.stream.fd(), spare_capacity(&mut bytes), RecvFlags::empty()) {
        Ok((1.., _)) => return Ok(bytes),
        Ok(_) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    client.thread.buffers.give(bytes);
    Ok(Vec::new())
}

/// Waits for the next request. The first one has the header timeout, later ones the keep-alive timeout.
/// False when the connection is to be closed.
async fn wait(client: &mut Client, idle: Option<Duration>) -> bool {
    let limit = match idle {
        Some(limit) => limit,
        None => {
            let live = client.thread.live();
            listener_of(&live, client)
                .and_then(|listener| {
                    let http = live.site().http();
                    http.servers.get(http.listeners.get(listener)?.default_server)
                })
                .map_or(Duration::from_secs(60), |server| server.client_header_timeout.duration())
        }
    };
    let thread = Rc::clone(&client.thread);
    let stream = &mut client.stream;
    let ready = client
        .deadline
        .within(limit, |cx| {
            if let Poll::Ready(ready) = stream.poll_readable(cx) {
                return Poll::Ready(ready.is_ok());
            }
            if idle.is_some() && thread.quitting.get() { Poll::Ready(false) } else { Poll::Pending }
        })
        .await;
    ready.unwrap_or(false)
}

/// Index of the listener that a connection belongs to in a generation.
pub(crate) fn listener_of(live: &Live, client: &Client) -> Option<usize> {
    let (number, known) = client.listener.get();
    if number == live.shared.number {
        return known;
    }
    let by_address = &live.shared.by_address;
    // A wildcard socket also accepts for addresses that are listed on their own.
    let found = by_address.get(&client.facts.local).or_else(|| by_address.get(&*client.address)).copied();
    client.listener.set((live.shared.number, found));
    found
}

fn set_keepalive(stream: &Stream, keepalive: KeepAlive) {
    let (KeepAlive::On | KeepAlive::Off) = keepalive else { return };
    // A connection without probes still works.
    let _ = weir_net::set_keepalive(stream.fd(), keepalive == KeepAlive::On);
}

async fn read_proxy_header(client: &mut Client, live: &Live, listener: usize) -> bool {
    let http = live.site().http();
    let server = &http.servers[http.listeners[listener].default_server];
    let mut buffer = client.thread.buffers.small();
    let limit = server.client_header_timeout.duration();
    let found = loop {
        match proxy_protocol::parse(&buffer) {
            Ok(proxy_protocol::Parsed::Header { header, len }) => {
                client.rest.extend_from_slice(&buffer[len..]);
                break Some(header);
            }
            Ok(proxy_protocol::Parsed::Partial) => {}
            Err(error) => {
                live.shared.error_logs[server.root.0 as usize].log(
                    Level::Error,
                    Some(client.facts.serial),
                    format_args!("broken header: {error} while reading PROXY protocol"),
                    &weir_log::Context { client: Some(&client.facts.remote_text), ..weir_log::Context::NONE },
                );
                break None;
            }
        }
        let stream = &mut client.stream;
        match client.deadline.within(limit, |cx| stream.poll_read(cx, &mut buffer)).await {
            Ok(Ok(1..)) => {}
            _ => break None,
        }
    };
    client.thread.buffers.give(buffer);
    match found {
        Some(header) => {
            let mut facts = (*client.facts).clone();
            facts.proxied = Some(Box::new(header));
            client.facts = Rc::new(facts);
            true
        }
        None => false,
    }
}

/// Reads one head and serves it.
async fn one(client: &mut Client, bytes: Vec<u8>) -> After {
    let thread = Rc::clone(&client.thread);
    let live = thread.live();
    let Some(listener) = listener_of(&live, client) else { return After::Close };
    let mut request = thread.buffers.request(Rc::clone(&client.facts));
    request.bytes = if bytes.is_empty() { thread.buffers.small() } else { bytes };
    request.pipelined = !client.rest.is_empty();
    if request.pipelined {
        request.bytes.extend_from_slice(&client.rest);
        client.rest = Vec::new();
    }
    client.requests += 1;
    request.number = client.requests;
    request.started = clock::mono_ms();
    let http = live.site().http();
    let server_index = http.listeners[listener].default_server;
    let server = &http.servers[server_index];
    request.server = server_index;
    request.location = server.root;
    let (buffers, line) = server.large_client_header_buffers;
    let limits = HeadLimits {
        line: line as usize,
        buffers: buffers as usize,
        first: server.client_header_buffer_size as usize,
        max_headers: server.max_headers as usize,
        ignore_invalid_headers: server.ignore_invalid_headers,
        underscores_in_headers: server.underscores_in_headers,
    };
    thread.counters.reading.fetch_add(1, Relaxed);
    let read = read_head(client, &mut request, &limits, server.client_header_timeout.duration()).await;
    thread.counters.reading.fetch_sub(1, Relaxed);
    let mut exchange = Exchange::new(client, live, listener, request);
    match read {
        Head::Complete => {
            thread.counters.requests.fetch_add(1, Relaxed);
            thread.counters.writing.fetch_add(1, Relaxed);
            exchange.serve().await;
            thread.counters.writing.fetch_sub(1, Relaxed);
        }
        Head::Refused(error) => {
            thread.counters.requests.fetch_add(1, Relaxed);
            exchange.refuse(error).await;
        }
        Head::TimedOut => exchange.head_timed_out().await,
        Head::Gone => {
            exchange.head_gone();
        }
    }
    exchange.finish().await
}

enum Head {
    Complete,
    Refused(weir_http::wire::head::HeadError),
    TimedOut,
    Gone,
}

async fn read_head(
    client: &mut Client,
    request: &mut weir_http::Request,
    limits: &HeadLimits,
    timeout: Duration,
) -> Head {
    // The timeout is for the whole head, so that one byte at a time gains nothing.
    let mut until = None;
    loop {
        if !request.bytes.is_empty() {
            match request.head.advance(&request.bytes, limits) {
                Ok(Progress::Complete) => return Head::Complete,
                Ok(Progress::Partial) => {}
                Err(error) => return Head::Refused(error),
            }
        }
        if request.bytes.len() == request.bytes.capacity() {
            request.bytes.reserve(SMALL);
        }
        let stream = &mut client.stream;
        let deadline = &mut client.deadline;
        let bytes = &mut request.bytes;
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = stream.poll_read(cx, bytes) {
                return Poll::Ready(Some(read));
            }
            let at = *until.get_or_insert_with(|| deadline::now() + timeout);
            deadline.poll(cx, at).map(|()| None)
        })
        .await;
        match read {
            None if request.bytes.is_empty() => return Head::Gone,
            None => return Head::TimedOut,
            Some(Ok(1..)) => {}
            Some(_) => return Head::Gone,
        }
    }
}
