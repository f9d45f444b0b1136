//! Answers on their way out: head filters, framing, writing.

use std::future::poll_fn;
use std::io::IoSlice;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use weir_http::answer::number;
use weir_http::browser::Browser;
use weir_http::wire::chunked::write_chunk_head;
use weir_http::wire::status::error_page;
use weir_log::clock;
use weir_model::location::LingeringClose;
use weir_model::{Level, ListenAddress};

use crate::conditions::{self, Verdict};
use crate::exchange::{Exchange, Next, Sink};
use crate::throttle::{self, Throttle};
use crate::{body, expires, files, filter};

/// The client is gone or too slow; nothing more can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// Runs the head filters and writes the head into `out`. From here on the status stands.
pub(crate) fn head(exchange: &mut Exchange<'_>, out: &mut Vec<u8>) {
    filter(exchange);
    write_head(exchange, out);
}

/// Runs the head filters: what configuration adds to the head, before its length and framing are decided.
pub(crate) fn filter(exchange: &mut Exchange<'_>) {
    let live = exchange.live();
    let place = live.site().place(exchange.request.location);
    let settings = &place.settings.response;
    if exchange.request.error_status != 0 && exchange.request.answer.status != exchange.request.error_status {
        exchange.request.answer.status = exchange.request.error_status;
        exchange.request.answer.reason.clear();
    }
    expires::apply(exchange, settings.expires.as_ref());
    add_headers(exchange, settings);
    files::charset(exchange, settings.charset.as_ref());
    let filtered = settings.gzip.on || settings.ssi.on || matches!(exchange.sink, Sink::Output(_));
    exchange.filter = if filtered { filter::choose(exchange) } else { None };
}

/// Writes a head that was filtered into `out`. From here on the status stands.
pub(crate) fn write_head(exchange: &mut Exchange<'_>, out: &mut Vec<u8>) {
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings.response;
    absolute_location(exchange, settings);
    frame(exchange, settings.chunked_transfer_encoding);
    keep_alive(exchange);
    exchange.head_sent = true;
    if matches!(exchange.sink, Sink::Client) {
        let tokens = settings.server_tokens;
        clock::with(|texts| exchange.request.answer.write(texts.http_date().as_bytes(), tokens, out));
    }
}

fn add_headers(exchange: &mut Exchange<'_>, settings: &weir_model::location::Response) {
    let status = exchange.request.answer.status;
    let usual = is_decorated(status);
    for header in settings.add_headers.iter().filter(|header| usual || header.always) {
        let value = exchange.evaluate(|request, scope, _| request.expanded(scope, &header.value));
        let answer = &mut exchange.request.answer;
        if header.name.eq_ignore_ascii_case("last-modified") {
            answer.last_modified = Some(value).filter(|value| !value.is_empty());
            continue;
        }
        if header.name.eq_ignore_ascii_case("etag") {
            answer.remove("etag");
        }
        if header.name.eq_ignore_ascii_case("location") {
            answer.location = Some(value).filter(|value| !value.is_empty());
            continue;
        }
        if !value.is_empty() {
            answer.push(header.name.as_bytes(), &value);
        }
    }
    let trailers = settings.add_trailers.iter().any(|trailer| usual || trailer.always);
    exchange.request.answer.has_trailers |= trailers;
}

/// A Location without a host gets one (`absolute_redirect`).
fn absolute_location(exchange: &mut Exchange<'_>, settings: &weir_model::location::Response) {
    let Some(location) = &exchange.request.answer.location else { return };
    if !settings.absolute_redirect || !location.starts_with(b"/") {
        return;
    }
    let location = location.clone();
    let live = exchange.live();
    let http = live.site().http();
    let request = &exchange.request;
    let mut url = b"http://".to_vec();
    let name = weir_http::request::server_name(http, request.server);
    if settings.server_name_in_redirect && !name.is_empty() {
        url.extend_from_slice(name.as_bytes());
    } else if !request.host.is_empty() {
        url.extend_from_slice(&request.host);
    } else {
        local_host(&request.facts.local, &mut url);
    }
    if let (true, ListenAddress::Inet(address)) = (settings.port_in_redirect, &request.facts.local)
        && address.port() != 80
    {
        url.push(b':');
        number(u64::from(address.port()), &mut url);
    }
    url.extend_from_slice(&location);
    exchange.request.answer.location = Some(url);
}

fn local_host(local: &ListenAddress, out: &mut Vec<u8>) {
    let text = match local {
        ListenAddress::Inet(std::net::SocketAddr::V6(address)) => format!("[{}]", address.ip()),
        ListenAddress::Inet(address) => address.ip().to_string(),
        ListenAddress::Unix(path) => format!("unix:{path}"),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Decides how the end of the body is told.
fn frame(exchange: &mut Exchange<'_>, chunked_allowed: bool) {
    let request = &mut *exchange.request;
    let status = request.answer.status;
    request.answer.chunked = false;
    if status < 200 || status == 204 || status == 304 || request.answer.upgrade {
        if status == 204 {
            request.answer.content_length = None;
            request.answer.content_type = None;
            request.answer.last_modified = None;
        }
        return;
    }
    // No body follows whose end would have to be told (RFC 9110, section 9.3.2).
    if request.is_head() {
        return;
    }
    let trailers = request.answer.has_trailers && request.is_http11();
    if request.answer.content_length.is_some() && !trailers {
        return;
    }
    if request.is_http11() && chunked_allowed {
        if trailers {
            request.answer.content_length = None;
        }
        request.answer.chunked = request.answer.content_length.is_none();
    } else if request.answer.content_length.is_none() {
        exchange.keep = false;
    }
}

fn keep_alive(exchange: &mut Exchange<'_>) {
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings.client;
    let request = &exchange.request;
    let age = clock::mono_ms().saturating_sub(request.facts.accepted);
    let user_agent = request.header("user-agent").unwrap_or_default();
    let disabled = match Browser::of(user_agent) {
        Browser::Msie { old: true } => settings.keepalive_disable_msie6 && request.method() == b"POST",
        Browser::Safari => settings.keepalive_disable_safari,
        _ => false,
    };
    let keep = exchange.keep
        && settings.keepalive_timeout.0 > 0
        && request.number < settings.keepalive_requests
        && age < settings.keepalive_time.0
        && !disabled
        && !exchange.client.thread.quitting.get();
    exchange.keep = keep;
    let answer = &mut exchange.request.answer;
    answer.keep_alive = keep;
    answer.keep_alive_header = settings.keepalive_header;
}

/// Whether the answer has no body on the wire.
pub(crate) fn is_bodyless(exchange: &Exchange<'_>) -> bool {
    let status = exchange.request.answer.status;
    exchange.request.is_head() || status < 200 || status == 204 || status == 304
}

/// Sends a whole answer with a body from memory.
pub(crate) async fn text(exchange: &mut Exchange<'_>, status: u16, content_type: &[u8], body: &[u8]) -> Next {
    let answer = &mut exchange.request.answer;
    answer.status = status;
    answer.content_type = Some(content_type.to_vec()).filter(|value| !value.is_empty());
    answer.content_length = Some(body.len() as u64);
    whole(exchange, body).await
}

/// Sends the head that was prepared and a body from memory.
pub(crate) async fn whole(exchange: &mut Exchange<'_>, body: &[u8]) -> Next {
    filter(exchange);
    if exchange.filter.is_some() {
        return filter::whole(exchange, body).await;
    }
    let mut out = exchange.client.thread.buffers.small();
    write_head(exchange, &mut out);
    let mut body_length = 0;
    if !is_bodyless(exchange) {
        if let Sink::Collect { body: collected, limit } = &mut exchange.sink {
            let room = limit.saturating_sub(collected.len());
            collected.extend_from_slice(&body[..body.len().min(room)]);
        } else {
            let start = out.len();
            chunk(exchange, body, &mut out);
            if exchange.request.answer.chunked {
                last_chunk(exchange, &mut out);
            }
            body_length = out.len() - start;
        }
    }
    let sent = match Throttle::of(exchange) {
        Some(throttle) if matches!(exchange.sink, Sink::Client) => {
            Box::pin(throttle::write(exchange, Some(&throttle), &out)).await
        }
        _ => write(exchange, &out).await,
    };
    exchange.client.thread.buffers.give(out);
    match sent {
        Ok(()) => {
            exchange.request.body_sent += body_length as u64;
            exchange.request.complete = true;
            Next::Done
        }
        Err(Gone) => Next::Abort,
    }
}

/// Whether answers of this status get what `expires`, and `add_header` and `add_trailer` without `always`, say.
pub(crate) fn is_decorated(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}

/// Appends a piece of the body as the answer's framing wants it.
pub(crate) fn chunk(exchange: &Exchange<'_>, data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    if exchange.request.answer.chunked {
        write_chunk_head(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    } else {
        out.extend_from_slice(data);
    }
}

/// Appends the end of a chunked body with its trailers.
pub(crate) fn last_chunk(exchange: &mut Exchange<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if exchange.request.answer.has_trailers {
        let live = exchange.live();
        let settings = &live.site().place(exchange.request.location).settings;
        if settings.proxy.pass_trailers {
            let request = &mut *exchange.request;
            request.answer.trailers.clone_from(&request.upstream.trailers);
        }
        let status = exchange.request.answer.status;
        let usual = is_decorated(status);
        let added = &settings.response.add_trailers;
        for trailer in added.iter().filter(|trailer| usual || trailer.always) {
            let value = exchange.evaluate(|request, scope, _| request.expanded(scope, &trailer.value));
            if !value.is_empty() {
                exchange.request.answer.trailers.push((trailer.name.as_bytes().to_vec(), value));
            }
        }
        for (name, value) in &exchange.request.answer.trailers {
            trailer_line(name, value, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn trailer_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `return CODE [TEXT]`.
pub(crate) fn answer_return(exchange: &mut Exchange<'_>, status: u16, text: Option<Vec<u8>>) -> Next {
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        if let Some(target) = text {
            exchange.request.answer.location = Some(target);
        }
        return Next::Error(status);
    }
    if text.is_none() && status >= 400 {
        return Next::Error(status);
    }
    exchange.request.answer.status = status;
    Next::Return { text: text.unwrap_or_default() }
}

/// Sends the body that `return` gave.
pub(crate) async fn returned(exchange: &mut Exchange<'_>, body: &[u8]) -> Next {
    let status = exchange.request.answer.status;
    if let Err(error) = body::unwanted(exchange).await {
        return Next::Error(error.status());
    }
    let content_type = files::content_type(exchange);
    match conditions::check(exchange) {
        Verdict::Send => text(exchange, status, &content_type, body).await,
        Verdict::NotModified => whole(exchange, b"").await,
        Verdict::Failed => Next::Error(412),
    }
}

/// A page for a status, as nginx's own look.
pub(crate) async fn own_page(exchange: &mut Exchange<'_>, status: u16) -> Next {
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings.response;
    let shown = weir_http::wire::status::visible(exchange.request.error_status);
    exchange.request.error_status = shown;
    exchange.invited = true;
    if body::unwanted(exchange).await.is_err() {
        exchange.keep = false;
    }
    let user_agent = exchange.request.header("user-agent").unwrap_or_default();
    let padding = settings.msie_padding && status >= 400 && Browser::of(user_agent).is_msie();
    let mut page = Vec::new();
    let has_page = error_page(status, settings.server_tokens, padding, &mut page);
    let answer = &mut exchange.request.answer;
    answer.status = shown;
    answer.last_modified = None;
    answer.remove("etag");
    answer.remove("accept-ranges");
    answer.content_type = has_page.then(|| b"text/html".to_vec());
    answer.content_length = Some(page.len() as u64);
    whole(exchange, &page).await
}

/// Writes bytes that are ready for the wire.
pub(crate) async fn write(exchange: &mut Exchange<'_>, bytes: &[u8]) -> Result<(), Gone> {
    write_two(exchange, bytes, b"").await
}

/// Writes two pieces with as few system calls as possible.
pub(crate) async fn write_two(exchange: &mut Exchange<'_>, first: &[u8], second: &[u8]) -> Result<(), Gone> {
    if !matches!(exchange.sink, Sink::Client) {
        return Ok(());
    }
    let limit = send_timeout(exchange);
    let (mut first, mut second) = (first, second);
    while !first.is_empty() || !second.is_empty() {
        let stream = &mut exchange.client.stream;
        let wrote = exchange
            .client
            .deadline
            .within(limit, |cx| {
                if second.is_empty() {
                    stream.poll_write(cx, first)
                } else {
                    stream.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)])
                }
            })
            .await;
        match wrote {
            Ok(Ok(count @ 1..)) => {
                exchange.request.sent += count as u64;
                let of_first = count.min(first.len());
                first = &first[of_first..];
                second = &second[count - of_first..];
            }
            Ok(_) => {
                exchange.keep = false;
                return Err(Gone);
            }
            Err(_) => {
                timed_out(exchange);
                return Err(Gone);
            }
        }
    }
    Ok(())
}

/// The client did not take what was sent in time.
pub(crate) fn timed_out(exchange: &mut Exchange<'_>) {
    exchange.log(
        Level::Info,
        format_args!("client timed out (110: Connection timed out) while sending to client"),
    );
    exchange.keep = false;
    let live = exchange.live();
    exchange.reset = live.site().place(exchange.request.location).settings.client.reset_timedout_connection;
}

/// `send_timeout` of the place.
pub(crate) fn send_timeout(exchange: &Exchange<'_>) -> Duration {
    exchange.live.site().place(exchange.request.location).settings.client.send_timeout.duration()
}

/// Ends a connection so that the client can read all of the answer: what it still sends is read and dropped
/// for a while, because closing over unread bytes resets the connection (RFC 9112, section 9.6).
pub(crate) async fn close(exchange: &mut Exchange<'_>) {
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings.client;
    let pending = exchange.body.is_awaited()
        || exchange.request.bytes.len() > exchange.body.consumed(&exchange.request)
        || exchange.request.head.len == 0 && exchange.head_sent;
    let linger = match settings.lingering_close {
        LingeringClose::Off => false,
        LingeringClose::On => pending,
        LingeringClose::Always => true,
    };
    if !linger || !exchange.head_sent || exchange.request.answer.status == 444 {
        return;
    }
    if exchange.client.stream.shutdown_write().is_err() {
        return;
    }
    let end = Instant::now() + settings.lingering_time.duration();
    let mut dropped = exchange.client.thread.buffers.small();
    loop {
        let until = end.min(Instant::now() + settings.lingering_timeout.duration());
        dropped.clear();
        let stream = &mut exchange.client.stream;
        let deadline = &mut exchange.client.deadline;
        let quitting = exchange.client.thread.quitting.get();
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = stream.poll_read(cx, &mut dropped) {
                return Poll::Ready(read.ok());
            }
            if quitting {
                return Poll::Ready(None);
            }
            deadline.poll(cx, until).map(|()| None)
        })
        .await;
        match read {
            Some(1..) => {}
            _ => break,
        }
    }
    exchange.client.thread.buffers.give(dropped);
}
