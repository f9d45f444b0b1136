//! A peer's head becomes the head for the client.

use weir_balance::Outcome;
use weir_http::redirect;
use weir_http::wire::head::Version;
use weir_http::wire::response::ResponseHead;
use weir_log::clock;
use weir_model::{Level, Proxy};

use super::peers::Peers;
use super::relay::{self, Framing};
use super::send::Sending;
use super::{Answered, complain, tunnel};
use crate::exchange::{Exchange, Next};
use crate::stages::split_args;

/// What X-Accel-* headers ask for.
#[derive(Debug, Default)]
struct Accel {
    redirect: Option<Vec<u8>>,
    buffering: Option<bool>,
}

/// Passes an answer to the client, or goes where it points.
pub(super) async fn deliver(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    peers: &mut Peers,
    sending: &mut Sending,
    answered: Answered,
    started: u64,
) -> Next {
    let status = answered.head.status;
    keep_head(exchange, &answered);
    peers.answered(exchange);
    if status == 101 && exchange.is_sub {
        complain(exchange, Level::Error, format_args!("connection upgrade in subrequest"));
        return give_up(exchange, peers, answered, started, Next::Abort);
    }
    if status == 101 && exchange.request.head.upgrade.is_some() {
        let next = tunnel::run(exchange, proxy, peers, answered).await;
        peers.settle(exchange, Outcome::Success);
        end_try(exchange, started);
        return next;
    }
    if status == 101 {
        complain(
            exchange,
            Level::Error,
            format_args!(
                "upstream sent status 101 for a request without \"Upgrade\" while reading response header from upstream"
            ),
        );
        exchange.client.thread.buffers.give(answered.bytes);
        end_try(exchange, started);
        peers.release(Outcome::Failure);
        return Next::Error(502);
    }
    if proxy.intercept_errors && status >= 300 && has_error_page(exchange, status) {
        if status == 401 {
            copy_challenge(exchange, &answered);
        }
        return give_up(exchange, peers, answered, started, Next::Error(status));
    }
    let accel = fill(exchange, proxy, peers, &answered);
    if let Some(target) = accel.redirect {
        let next = accelerated(exchange, target);
        return give_up(exchange, peers, answered, started, next);
    }
    let bodyless = exchange.request.is_head() || status == 204 || status == 304 || status < 200;
    let framing = Framing::of(&answered.head, bodyless);
    let buffered = accel.buffering.unwrap_or(proxy.buffering);
    let finished = relay::run(exchange, proxy, sending, answered, framing, buffered).await;
    end_try(exchange, started);
    match finished {
        relay::End::Complete { link } => {
            if let (Some(link), Some(pool)) = (link, peers.pool()) {
                pool.put(peers.address().clone(), link, clock::mono_ms());
            }
            peers.settle(exchange, Outcome::Success);
            exchange.request.complete = true;
            Next::Done
        }
        relay::End::PeerFailed => {
            peers.release(Outcome::Failure);
            Next::Abort
        }
        relay::End::ClientGone => {
            peers.settle(exchange, Outcome::Neutral);
            Next::Abort
        }
    }
}

fn end_try(exchange: &mut Exchange<'_>, started: u64) {
    if let Some(last) = exchange.request.tries.last_mut() {
        last.response = Some(clock::mono_ms().saturating_sub(started));
    }
}

fn give_up(
    exchange: &mut Exchange<'_>,
    peers: &mut Peers,
    answered: Answered,
    started: u64,
    next: Next,
) -> Next {
    exchange.client.thread.buffers.give(answered.bytes);
    end_try(exchange, started);
    peers.settle(exchange, Outcome::Success);
    next
}

fn has_error_page(exchange: &Exchange<'_>, status: u16) -> bool {
    let place = exchange.live.site().place(exchange.request.location);
    place.settings.error_pages.iter().any(|page| page.status == status)
        && (exchange.request.error_status == 0 || place.settings.recursive_error_pages)
}

fn copy_challenge(exchange: &mut Exchange<'_>, answered: &Answered) {
    for field in &answered.head.fields {
        if field.name.of(&answered.bytes).eq_ignore_ascii_case(b"www-authenticate") {
            exchange.request.answer.push(b"WWW-Authenticate", field.value.of(&answered.bytes));
        }
    }
}

/// Keeps the head for `$upstream_http_*`, where the configuration asks for it.
fn keep_head(exchange: &mut Exchange<'_>, answered: &Answered) {
    let upstream = &mut exchange.request.upstream;
    upstream.bytes.clear();
    upstream.bytes.extend_from_slice(answered.bytes.get(..answered.head.len as usize).unwrap_or_default());
    upstream.fields.clone_from(&answered.head.fields);
    upstream.trailers.clear();
}

/// Where X-Accel-Redirect leads.
fn accelerated(exchange: &mut Exchange<'_>, target: Vec<u8>) -> Next {
    let answer = &mut exchange.request.answer;
    answer.content_length = None;
    answer.reason.clear();
    answer.last_modified = None;
    answer.location = None;
    if target.starts_with(b"@") {
        return Next::Named(target);
    }
    if !exchange.request.is_head() {
        exchange.request.method = b"GET".to_vec();
    }
    let (uri, args) = split_args(&target);
    Next::Redirect { uri, args }
}

/// Fills the answer from the peer's head and returns what it asks of Weir itself.
fn fill(exchange: &mut Exchange<'_>, proxy: &Proxy, peers: &Peers, answered: &Answered) -> Accel {
    let Answered { head, bytes, .. } = answered;
    let answer = &mut exchange.request.answer;
    answer.clear();
    answer.status = head.status;
    answer.reason.extend_from_slice(head.reason.of(bytes));
    answer.content_length = head.content_length;
    peers.bind(exchange);
    let mut accel = Accel::default();
    for field in &head.fields {
        let (name, value) = (field.name.of(bytes), field.value.of(bytes));
        header(exchange, proxy, name, value, &mut accel);
    }
    if accel.redirect.is_some() {
        keep_for_redirect(exchange, answered);
        peers.bind(exchange);
    }
    accel
}

/// Headers that survive X-Accel-Redirect, as nginx keeps them.
fn keep_for_redirect(exchange: &mut Exchange<'_>, answered: &Answered) {
    const KEPT: &[&[u8]] = &[b"set-cookie", b"content-disposition", b"cache-control", b"expires", b"accept-ranges"];
    let content_type = exchange.request.answer.content_type.take();
    exchange.request.answer.clear();
    exchange.request.answer.content_type = content_type;
    for field in &answered.head.fields {
        let name = field.name.of(&answered.bytes);
        if KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept)) {
            exchange.request.answer.push(name, field.value.of(&answered.bytes));
        }
    }
}

/// A header that is looked at or never passed. Everything else goes through as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    ContentType,
    LastModified,
    Location,
    Refresh,
    SetCookie,
    Server,
    Date,
    /// Framing and connection headers, which are made anew.
    Hop,
    Accel,
    Pad,
    Other,
}

fn known(name: &[u8]) -> Known {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    match name.len() {
        4 if is(b"date") => Known::Date,
        5 if is(b"x-pad") => Known::Pad,
        6 if is(b"server") => Known::Server,
        7 if is(b"refresh") => Known::Refresh,
        7 if is(b"upgrade") => Known::Hop,
        8 if is(b"location") => Known::Location,
        10 if is(b"connection") || is(b"keep-alive") => Known::Hop,
        10 if is(b"set-cookie") => Known::SetCookie,
        12 if is(b"content-type") => Known::ContentType,
        13 if is(b"last-modified") => Known::LastModified,
        14 if is(b"content-length") => Known::Hop,
        17 if is(b"transfer-encoding") => Known::Hop,
        _ if name.get(..8).is_some_and(|head| head.eq_ignore_ascii_case(b"x-accel-")) => Known::Accel,
        _ => Known::Other,
    }
}

fn contains(list: &[String], name: &[u8]) -> bool {
    list.iter().any(|listed| name.eq_ignore_ascii_case(listed.as_bytes()))
}

fn header(exchange: &mut Exchange<'_>, proxy: &Proxy, name: &[u8], value: &[u8], accel: &mut Accel) {
    let known = known(name);
    if known == Known::Accel && !contains(&proxy.ignore_headers, name) {
        accelerate(exchange, name, value, accel);
    }
    let hidden_by_default = matches!(known, Known::Accel | Known::Pad | Known::Server | Known::Date);
    let hidden = (hidden_by_default && !contains(&proxy.pass_headers, name)) || contains(&proxy.hide_headers, name);
    if hidden || known == Known::Hop {
        return;
    }
    let answer = &mut exchange.request.answer;
    match known {
        Known::ContentType => answer.content_type = Some(value.to_vec()),
        Known::LastModified => answer.last_modified = Some(value.to_vec()),
        Known::Server => answer.server = Some(value.to_vec()),
        Known::Date => answer.date = Some(value.to_vec()),
        Known::Location => {
            let changed =
                exchange.evaluate(|request, scope, place| redirect::location(request, scope, place, value));
            match changed {
                Some(changed) => exchange.request.answer.location = Some(changed),
                // A relative Location of the peer itself stays relative.
                None => exchange.request.answer.push(name, value),
            }
        }
        Known::Refresh => {
            let changed =
                exchange.evaluate(|request, scope, place| redirect::refresh(request, scope, place, value));
            exchange.request.answer.push(name, changed.as_deref().unwrap_or(value));
        }
        Known::SetCookie => {
            let changed =
                exchange.evaluate(|request, scope, place| redirect::set_cookie(request, scope, place, value));
            exchange.request.answer.push(name, changed.as_deref().unwrap_or(value));
        }
        _ => answer.push(name, value),
    }
}

fn accelerate(exchange: &mut Exchange<'_>, name: &[u8], value: &[u8], accel: &mut Accel) {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    if is(b"x-accel-redirect") {
        accel.redirect = Some(value.to_vec());
    } else if is(b"x-accel-buffering") {
        accel.buffering = match value {
            _ if value.eq_ignore_ascii_case(b"no") => Some(false),
            _ if value.eq_ignore_ascii_case(b"yes") => Some(true),
            _ => None,
        };
    } else if is(b"x-accel-limit-rate") {
        let rate = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        exchange.request.limit_rate = rate.or(exchange.request.limit_rate);
    } else if is(b"x-accel-charset") {
        exchange.request.answer.charset = Some(value.to_vec());
    }
}

/// Whether the peer keeps the connection open after this answer.
pub(super) fn may_reuse(head: &ResponseHead) -> bool {
    match head.version {
        Version::Http11 => !head.connection_close,
        Version::Http10 => head.connection_keep_alive && !head.connection_close,
    }
}
