//! `proxy_pass`: choose a peer, send, read the head, retry by policy, relay the body.

mod answer;
mod connect;
mod park;
mod peers;
pub(crate) mod pool;
mod relay;
mod send;
mod sessions;
pub(crate) mod sticky;
mod tunnel;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use weir_balance::Outcome;
use weir_http::pass::{self, BodyLength, Destination};
use weir_http::request::Try;
use weir_http::retry::{self, Event, Situation};
use weir_http::wire::head::Progress;
use weir_http::wire::response::{ResponseError, ResponseHead};
use weir_log::{Errno, clock};
use weir_model::{Level, Proxy, ProxyPass};

use crate::body::{self, BodyError, Gathered};
use crate::deadline;
use crate::exchange::{Exchange, Next, Sink};
use crate::log;
use connect::ConnectError;
use peers::{NoPeers, Peers};
use pool::Link;
use send::{SendError, Sending};

/// Why a try failed before the peer's head was complete.
enum Failure {
    Event(Event),
    /// A connection from the pool had been closed by its peer, and nothing was answered.
    Stale,
    Client(BodyError),
    ClientGone,
    /// A temporary file could not be read.
    Internal,
}

/// A peer's answer: its head, the bytes behind it, and the connection they come from.
struct Answered {
    link: Link,
    head: ResponseHead,
    /// Starts with the head.
    bytes: Vec<u8>,
}

/// Serves a request by a peer.
pub(crate) async fn pass(exchange: &mut Exchange<'_>, pass: &ProxyPass) -> Next {
    let live = exchange.live();
    let proxy = &live.site().place(exchange.request.location).settings.proxy;
    let destination =
        match exchange.evaluate(|request, scope, _| pass::destination(request, scope, &pass.target)) {
            Ok(destination) => destination,
            Err(error) => {
                exchange.log(Level::Error, format_args!("{error}"));
                return Next::Error(500);
            }
        };
    let mut peers = match Peers::of(exchange, &live, proxy, &destination).await {
        Ok(peers) => peers,
        Err(NoPeers::Status(status)) => return Next::Error(status),
        Err(NoPeers::ClientGone) => return client_left(exchange),
    };
    if peers.waits() && Box::pin(park::wait(exchange, &peers, proxy)).await.is_err() {
        return client_left(exchange);
    }
    let (gathered, streams) = match read_body(exchange, proxy).await {
        Ok(read) => read,
        Err(error) => return body::failed(exchange, &error),
    };
    if !streams {
        show_body(exchange, &gathered);
    }
    let length = body_length(exchange, proxy, &gathered, streams);
    let (gathered, length) = replaced_body(exchange, proxy, gathered, length);
    let mut head = exchange.client.thread.buffers.small();
    write_head(exchange, &destination, length, &mut head);
    let chunked = length == BodyLength::Chunked;
    let mut sending = Sending::new(head, gathered, streams, chunked);
    let next = tries(exchange, proxy, &mut peers, &mut sending).await;
    let at_hand = proxy.pass_request_body && proxy.set_body.is_none() && !sending.spent;
    let (head, gathered) = sending.into_parts();
    exchange.client.thread.buffers.give(head);
    if matches!(next, Next::Error(_)) {
        peers.bind(exchange);
    }
    peers.end();
    let goes_on = match next {
        Next::Done | Next::Abort => false,
        Next::Error(status) => answer::has_error_page(exchange, status),
        _ => true,
    };
    // Another location may pass the request on.
    if goes_on
        && at_hand
        && let Err(error) = body::keep(exchange, gathered).await
    {
        return body::failed(exchange, &error);
    }
    next
}

/// Reads the client's body as far as it is to be at hand before a peer is asked. True when the rest of it goes to the
/// peer while it arrives.
async fn read_body(exchange: &mut Exchange<'_>, proxy: &Proxy) -> Result<(Gathered, bool), BodyError> {
    if streams_body(exchange, proxy) {
        let (gathered, whole) = body::at_hand(exchange).await?;
        Ok((gathered, !whole))
    } else if proxy.pass_request_body {
        Ok((body::gather(exchange).await?, false))
    } else {
        Ok((Gathered::default(), false))
    }
}

fn write_head(exchange: &mut Exchange<'_>, destination: &Destination, length: BodyLength, out: &mut Vec<u8>) {
    exchange.evaluate(|request, scope, place| {
        pass::write_request(request, scope, place, destination, length, out);
    });
}

/// Whether the body goes to the peer while it arrives.
fn streams_body(exchange: &Exchange<'_>, proxy: &Proxy) -> bool {
    let chunked = exchange.request.head.chunked;
    !proxy.request_buffering
        && proxy.pass_request_body
        && proxy.set_body.is_none()
        && exchange.body.is_pending()
        && !exchange.body.is_discarded()
        && !(chunked && proxy.http_1_0)
}

fn body_length(exchange: &Exchange<'_>, proxy: &Proxy, gathered: &Gathered, streams: bool) -> BodyLength {
    let head = &exchange.request.head;
    match (streams, head.chunked, head.content_length) {
        (true, true, _) => BodyLength::Chunked,
        (true, false, Some(length)) => BodyLength::Known(length),
        _ if !proxy.pass_request_body => head.content_length.map_or(BodyLength::None, BodyLength::Known),
        (false, true, _) => BodyLength::Known(gathered.len()),
        // It was read for somebody else, or refused.
        (_, _, Some(length)) if length != gathered.len() => BodyLength::None,
        (_, _, Some(length)) => BodyLength::Known(length),
        (_, _, None) => BodyLength::None,
    }
}

/// `proxy_set_body` stands in place of the client's body.
fn replaced_body(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    gathered: Gathered,
    length: BodyLength,
) -> (Gathered, BodyLength) {
    match &proxy.set_body {
        None => (gathered, length),
        Some(template) => {
            let memory = exchange.evaluate(|request, scope, _| request.expanded(scope, template));
            let length = BodyLength::Known(memory.len() as u64);
            (Gathered { memory, file: None }, length)
        }
    }
}

/// `$request_body` and `$request_body_file`.
fn show_body(exchange: &mut Exchange<'_>, gathered: &Gathered) {
    if gathered.len() == 0 && gathered.file.is_none() {
        return;
    }
    exchange.request.body.memory.clone_from(&gathered.memory);
    exchange.request.body.file =
        gathered.file.as_ref().map(|spill| spill.path.to_string_lossy().into_owned());
}

/// Asks peer after peer until one answers or the policy ends it.
async fn tries(exchange: &mut Exchange<'_>, proxy: &Proxy, peers: &mut Peers, sending: &mut Sending) -> Next {
    let begun = clock::mono_ms();
    let mut redirected = !exchange.request.tries.is_empty();
    let mut made = 0_u32;
    let bound = connect::local_address(exchange, proxy);
    let mut fresh_only = false;
    loop {
        if !fresh_only {
            let mut name = peers.next(exchange);
            if name.is_none() && made == 0 && peers.waits() {
                // The last one went while the body was read.
                if Box::pin(park::wait(exchange, peers, proxy)).await.is_err() {
                    return client_left(exchange);
                }
                name = peers.next(exchange);
            }
            let Some(name) = name else {
                return no_live_upstreams(exchange, peers, redirected);
            };
            let after_redirect = std::mem::take(&mut redirected);
            exchange.request.tries.push(Try::new(name, after_redirect));
            made = made.saturating_add(1);
        }
        let started = clock::mono_ms();
        let outcome = attempt(exchange, proxy, peers, sending, bound, fresh_only, made, started).await;
        let event = match outcome {
            Ok(answered) => {
                let situation = situation(exchange, proxy, sending, peers, made, begun);
                let event = Event::Status(answered.head.status);
                if !retry::may_retry(&proxy.next_upstream, event, &situation) {
                    return answer::deliver(exchange, proxy, peers, sending, answered, started).await;
                }
                exchange.client.thread.buffers.give(answered.bytes);
                exchange.client.thread.buffers.give_head(answered.head);
                event
            }
            Err(Failure::Stale) => {
                // Nothing was answered and the connection was old: the same peer gets a new one.
                fresh_only = true;
                sending.again();
                continue;
            }
            Err(Failure::Event(event)) => event,
            Err(failure) => {
                peers.release(Outcome::Neutral);
                answer::end_try(exchange, started);
                return given_up(exchange, failure);
            }
        };
        fresh_only = false;
        let uncounted = matches!(event, Event::Status(403 | 404));
        peers.release(if uncounted { Outcome::NextUncounted } else { Outcome::Failure });
        note_end(exchange, event, started);
        let situation = situation(exchange, proxy, sending, peers, made, begun);
        if !retry::may_retry(&proxy.next_upstream, event, &situation) {
            return Next::Error(retry::final_status(event));
        }
        sending.again();
    }
}

/// The end of a request that no peer is to blame for.
fn given_up(exchange: &mut Exchange<'_>, failure: Failure) -> Next {
    match failure {
        Failure::Client(error) => {
            let error = body::unreadable(exchange, error);
            body::failed(exchange, &error)
        }
        Failure::ClientGone => client_left(exchange),
        Failure::Internal | Failure::Event(_) | Failure::Stale => Next::Error(500),
    }
}

fn situation(
    exchange: &Exchange<'_>,
    proxy: &Proxy,
    sending: &Sending,
    peers: &Peers,
    made: u32,
    begun: u64,
) -> Situation {
    Situation {
        tries_left: tries_left(proxy, peers, made),
        elapsed: clock::mono_ms().saturating_sub(begun),
        timeout: proxy.next_upstream_timeout.0,
        non_idempotent: retry::is_non_idempotent(exchange.request.method()),
        request_sent: sending.sent > 0,
        body_spent: sending.spent,
    }
}

/// Tries that a request has after `made` of them (`proxy_next_upstream_tries`).
fn tries_left(proxy: &Proxy, peers: &Peers, made: u32) -> u32 {
    let left = peers.tries_left(made);
    match proxy.next_upstream_tries {
        0 => left,
        limit => left.min(limit.saturating_sub(made)),
    }
}

fn note_end(exchange: &mut Exchange<'_>, event: Event, started: u64) {
    answer::end_try(exchange, started);
    if let Some(last) = exchange.request.tries.last_mut() {
        last.status.get_or_insert(retry::final_status(event));
    }
}

fn no_live_upstreams(exchange: &mut Exchange<'_>, peers: &Peers, after_redirect: bool) -> Next {
    log::error(
        exchange,
        Level::Error,
        format_args!("no live upstreams while connecting to upstream"),
        Some(&url(exchange, peers.name())),
    );
    let peer = peers.name().into();
    let mut unanswered = Try::new(peer, after_redirect);
    unanswered.status = Some(502);
    unanswered.response = Some(0);
    exchange.request.tries.push(unanswered);
    Next::Error(502)
}

/// 499: nobody waits for the answer any more.
fn client_left(exchange: &mut Exchange<'_>) -> Next {
    exchange.log(
        Level::Info,
        format_args!("epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too"),
    );
    exchange.request.answer.status = 499;
    exchange.keep = false;
    Next::Abort
}

/// `http://PEER/URI` for the error log.
fn url(exchange: &Exchange<'_>, peer: &str) -> Vec<u8> {
    let mut url = b"http://".to_vec();
    url.extend_from_slice(peer.as_bytes());
    url.extend_from_slice(exchange.request.text(exchange.request.head.target));
    url
}

/// Logs what went wrong with the peer that is being asked.
fn complain(exchange: &Exchange<'_>, level: Level, message: std::fmt::Arguments<'_>) {
    let peer = exchange.request.tries.last().map_or("", |last| &*last.peer);
    log::error(exchange, level, message, Some(&url(exchange, peer)));
}

/// One try with the chosen peer, up to its complete head.
async fn attempt(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    peers: &Peers,
    sending: &mut Sending,
    bound: Option<std::net::SocketAddr>,
    fresh_only: bool,
    made: u32,
    started: u64,
) -> Result<Answered, Failure> {
    let idle = if fresh_only { None } else { peers.idle(bound, started) };
    let mut link = match idle {
        Some(link) => link,
        None => open(exchange, proxy, peers, bound, made).await?,
    };
    if let Some(last) = exchange.request.tries.last_mut() {
        last.connect = Some(clock::mono_ms().saturating_sub(started));
    }
    link.requests += 1;
    let mut bytes = exchange.client.thread.buffers.small();
    let mut head = exchange.client.thread.buffers.head();
    let result = converse(exchange, proxy, sending, &mut link, &mut head, &mut bytes).await;
    if let Some(last) = exchange.request.tries.last_mut() {
        last.sent += sending.sent;
        last.received += bytes.len() as u64;
    }
    match result {
        Ok(time) => {
            peers.note(|state| state.count_answer(head.status, time));
            if let Some(last) = exchange.request.tries.last_mut() {
                last.status = Some(head.status);
                last.header = Some(clock::mono_ms().saturating_sub(started));
            }
            Ok(Answered { link, head, bytes })
        }
        Err(failure) => {
            if let Failure::Event(Event::Timeout) = failure {
                peers.note(|state| state.count_timeout());
            }
            exchange.client.thread.buffers.give(bytes);
            exchange.client.thread.buffers.give_head(head);
            Err(failure)
        }
    }
}

async fn open(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    peers: &Peers,
    bound: Option<std::net::SocketAddr>,
    made: u32,
) -> Result<Link, Failure> {
    let is_lost = || proxy.next_upstream.error && tries_left(proxy, peers, made) > 0 && peers.is_lost();
    match connect::connect(exchange, peers.address(), bound, proxy, is_lost).await {
        Ok(link) => Ok(link),
        Err(ConnectError::Failed(error)) => {
            complain(
                exchange,
                Level::Error,
                format_args!("connect() failed {} while connecting to upstream", Errno(&error)),
            );
            peers.note(|state| state.count_connect_error());
            Err(Failure::Event(Event::Error))
        }
        Err(ConnectError::Timeout) => {
            complain(
                exchange,
                Level::Error,
                format_args!("upstream timed out (110: Connection timed out) while connecting to upstream"),
            );
            peers.note(|state| state.count_connect_error());
            Err(Failure::Event(Event::Timeout))
        }
        Err(ConnectError::PeerLost) => {
            complain(
                exchange,
                Level::Error,
                format_args!("upstream server was taken away while connecting to upstream"),
            );
            Err(Failure::Event(Event::Error))
        }
        Err(ConnectError::ClientGone) => Err(Failure::ClientGone),
    }
}

/// What one look at both ends brought.
enum Turn {
    Head,
    SendFailed(SendError),
    ReadFailed(std::io::Error),
    Closed,
    Bad(ResponseError),
    TooBig,
    ClientGone,
    Timeout,
}

/// Sends the request and reads the head of the answer, both at once: a peer may answer early. Returns how long the head
/// took from the end of the request, by the clock of the turns.
async fn converse(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    sending: &mut Sending,
    link: &mut Link,
    head: &mut ResponseHead,
    bytes: &mut Vec<u8>,
) -> Result<Duration, Failure> {
    let watch = !proxy.ignore_client_abort && matches!(exchange.sink, Sink::Client);
    let limit = usize::try_from(proxy.buffer_size).unwrap_or(usize::MAX);
    if exchange.is_accompanied() {
        deadline::after_others().await;
    }
    let mut awaits_client = false;
    let mut send_failed = None;
    let mut end: Option<Instant> = None;
    let mut progress = 0;
    let mut asked = deadline::now();
    let turn = poll_fn(|cx| {
        if !sending.done && send_failed.is_none() {
            let (client, request) = (&mut *exchange.client, &mut *exchange.request);
            let sent = sending.poll(cx, &mut link.stream, client, &mut exchange.body, request);
            match sent {
                Poll::Ready(Ok(())) => (end, asked) = (None, deadline::now()),
                // The peer may have said why before it closed: what it sent is read first.
                Poll::Ready(Err(error @ SendError::Peer(_))) => send_failed = Some(error),
                Poll::Ready(Err(error)) => return Poll::Ready(Turn::SendFailed(error)),
                Poll::Pending => {}
            }
            if sending.sent != progress {
                progress = sending.sent;
                end = None;
            }
        }
        while let Poll::Ready(read) = link.stream.poll_read(cx, bytes) {
            match read {
                Ok(0) => return Poll::Ready(send_failed.take().map_or(Turn::Closed, Turn::SendFailed)),
                Ok(_) => end = None,
                Err(error) => {
                    return Poll::Ready(send_failed.take().map_or(Turn::ReadFailed(error), Turn::SendFailed));
                }
            }
            match advance(head, bytes, limit) {
                Some(turn) => return Poll::Ready(turn),
                None => continue,
            }
        }
        if send_failed.is_none() && watch && exchange.client_gone(cx) {
            return Poll::Ready(Turn::ClientGone);
        }
        if sending.awaits_client() != awaits_client {
            awaits_client = !awaits_client;
            end = None;
        }
        let limit = match (awaits_client, sending.done) {
            (true, _) => {
                let live = exchange.live();
                live.site().place(exchange.request.location).settings.client.body_timeout
            }
            (false, true) => proxy.read_timeout,
            (false, false) => proxy.send_timeout,
        };
        let at = *end.get_or_insert_with(|| deadline::now() + limit.duration());
        exchange.client.deadline.poll(cx, at).map(|()| {
            // It is not the peer that is slow.
            if awaits_client {
                Turn::SendFailed(SendError::Client(BodyError::Timeout))
            } else {
                Turn::Timeout
            }
        })
    })
    .await;
    conclude(exchange, sending, link, bytes.is_empty(), turn)?;
    Ok(deadline::now().saturating_duration_since(asked))
}

/// Reads the head as far as it is there. Interim answers are passed over (RFC 9110, section 15.2).
fn advance(head: &mut ResponseHead, bytes: &mut Vec<u8>, limit: usize) -> Option<Turn> {
    loop {
        match head.advance(bytes) {
            Ok(Progress::Complete) if (100..200).contains(&head.status) && head.status != 101 => {
                bytes.drain(..(head.len as usize).min(bytes.len()));
                head.clear();
            }
            Ok(Progress::Complete) if head.len as usize > limit => return Some(Turn::TooBig),
            Ok(Progress::Complete) => return Some(Turn::Head),
            Ok(Progress::Partial) if bytes.len() >= limit => return Some(Turn::TooBig),
            Ok(Progress::Partial) => return None,
            Err(error) => return Some(Turn::Bad(error)),
        }
    }
}

fn conclude(
    exchange: &Exchange<'_>,
    sending: &Sending,
    link: &Link,
    unanswered: bool,
    turn: Turn,
) -> Result<(), Failure> {
    let phase = if sending.done { "reading response header from" } else { "sending request to" };
    // A request that cannot be repeated safely is only repeated when its peer cannot have seen it.
    let repeatable = !sending.spent && !retry::is_non_idempotent(exchange.request.method());
    let stale = link.reused && unanswered && repeatable;
    match turn {
        Turn::Head => return Ok(()),
        Turn::ClientGone => return Err(Failure::ClientGone),
        Turn::SendFailed(SendError::Client(error)) => return Err(Failure::Client(error)),
        Turn::SendFailed(SendError::File(error)) => {
            exchange.log(
                Level::Crit,
                format_args!("pread() failed {} while sending request to upstream", Errno(&error)),
            );
            return Err(Failure::Internal);
        }
        Turn::Closed | Turn::ReadFailed(_) | Turn::SendFailed(SendError::Peer(_)) if stale => {
            return Err(Failure::Stale);
        }
        Turn::SendFailed(SendError::Peer(error)) => complain(
            exchange,
            Level::Error,
            format_args!("writev() failed {} while sending request to upstream", Errno(&error)),
        ),
        Turn::ReadFailed(error) => {
            complain(
                exchange,
                Level::Error,
                format_args!("recv() failed {} while {phase} upstream", Errno(&error)),
            );
        }
        Turn::Closed => complain(
            exchange,
            Level::Error,
            format_args!("upstream prematurely closed connection while {phase} upstream"),
        ),
        Turn::Bad(error) => {
            complain(
                exchange,
                Level::Error,
                format_args!("{error} while reading response header from upstream"),
            );
            return Err(Failure::Event(Event::InvalidHeader));
        }
        Turn::TooBig => {
            complain(
                exchange,
                Level::Error,
                format_args!("upstream sent too big header while reading response header from upstream"),
            );
            return Err(Failure::Event(Event::InvalidHeader));
        }
        Turn::Timeout => {
            complain(
                exchange,
                Level::Error,
                format_args!("upstream timed out (110: Connection timed out) while {phase} upstream"),
            );
            return Err(Failure::Event(Event::Timeout));
        }
    }
    Err(Failure::Event(Event::Error))
}
