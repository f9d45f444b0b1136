//! A peer's head becomes the head for the client.

use weir_balance::Outcome;
use weir_http::redirect;
use weir_http::ssi::text::link;
use weir_http::wire::head::Version;
use weir_http::wire::response::ResponseHead;
use weir_log::clock;
use weir_model::{Level, Proxy};

use super::peers::Peers;
use super::relay::{self, Framing};
use super::send::Sending;
use super::{Answered, complain, tunnel};
use crate::exchange::{Exchange, Next};

/// What is learned from the headers of an answer on their way.
#[derive(Debug, Default)]
struct Seen {
    /// X-Accel-Buffering.
    buffering: Option<bool>,
    /// A bit for each `Known` header that has come.
    single: u32,
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
        let upgraded = peers.upgrade();
        let next = tunnel::run(exchange, proxy, peers, answered).await;
        drop(upgraded);
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
    if let Some(target) = accel_redirect(proxy, &answered) {
        let target = target.to_vec();
        fill_for_redirect(exchange, proxy, peers, &answered);
        let next = accelerated(exchange, target);
        return give_up(exchange, peers, answered, started, next);
    }
    let seen = fill(exchange, proxy, peers, &answered);
    let bodyless = exchange.request.is_head() || status == 204 || status == 304 || status < 200;
    let framing = Framing::of(&answered.head, bodyless);
    let buffered = seen.buffering.unwrap_or(proxy.buffering);
    let finished = relay::run(exchange, proxy, sending, answered, framing, buffered).await;
    end_try(exchange, started);
    match finished {
        relay::End::Complete { link } => {
            if let Some(link) = link {
                peers.keep(link);
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

/// Notes how long the peer took until it was done.
pub(super) fn end_try(exchange: &mut Exchange<'_>, started: u64) {
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

pub(super) fn has_error_page(exchange: &Exchange<'_>, status: u16) -> bool {
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

/// The value of X-Accel-Redirect, when it is to be followed.
fn accel_redirect<'a>(proxy: &Proxy, answered: &'a Answered) -> Option<&'a [u8]> {
    const NAME: &[u8] = b"x-accel-redirect";
    let Answered { head, bytes, .. } = answered;
    let mut fields = head.fields.iter().filter(|field| field.name.len() == NAME.len());
    let field = fields.find(|field| field.name.of(bytes).eq_ignore_ascii_case(NAME))?;
    (!contains(&proxy.ignore_headers, NAME)).then(|| field.value.of(bytes))
}

/// Where X-Accel-Redirect leads.
fn accelerated(exchange: &mut Exchange<'_>, target: Vec<u8>) -> Next {
    if target.starts_with(b"@") {
        return Next::Named(target);
    }
    // Nothing is put before the target; only what it decodes to is looked at.
    let (uri, args) = match link(&target, b"") {
        Ok(split) => split,
        Err(problem) => {
            exchange.log(Level::Error, format_args!("{problem}"));
            return Next::Error(404);
        }
    };
    if !exchange.request.is_head() {
        exchange.request.method = b"GET".to_vec();
    }
    Next::Redirect { uri, args }
}

/// Fills the answer from the peer's head and returns what it asks of Weir itself. What is in the answer already was
/// put there on the way here and stays.
fn fill(exchange: &mut Exchange<'_>, proxy: &Proxy, peers: &Peers, answered: &Answered) -> Seen {
    let Answered { head, bytes, .. } = answered;
    let answer = &mut exchange.request.answer;
    answer.status = head.status;
    answer.reason.clear();
    answer.reason.extend_from_slice(head.reason.of(bytes));
    answer.content_length = head.content_length;
    peers.bind(exchange);
    let mut seen = Seen::default();
    for field in &head.fields {
        let (name, value) = (field.name.of(bytes), field.value.of(bytes));
        let known = known(name);
        if known.is_single() && !seen.first(known) {
            duplicate(exchange, answered, name, value);
            continue;
        }
        if known == Known::Accel && !contains(&proxy.ignore_headers, name) {
            accelerate(exchange, name, value, &mut seen);
        }
        let hidden_by_default = matches!(known, Known::Accel | Known::Pad | Known::Server | Known::Date);
        let hidden = (hidden_by_default && !contains(&proxy.pass_headers, name))
            || contains(&proxy.hide_headers, name);
        if !hidden && known != Known::Hop {
            header(exchange, known, name, value);
        }
    }
    if !proxy.pass_headers.is_empty() {
        own_or_none(exchange, proxy);
    }
    seen
}

/// Where a peer's Server and Date are passed, there are none of our own when it sends none.
fn own_or_none(exchange: &mut Exchange<'_>, proxy: &Proxy) {
    let answer = &mut exchange.request.answer;
    for (name, slot) in [(&b"server"[..], &mut answer.server), (b"date", &mut answer.date)] {
        if contains(&proxy.pass_headers, name) {
            slot.get_or_insert_default();
        }
    }
}

/// Takes over the headers that survive X-Accel-Redirect, whether or not they are hidden.
fn fill_for_redirect(exchange: &mut Exchange<'_>, proxy: &Proxy, peers: &Peers, answered: &Answered) {
    let mut seen = Seen::default();
    for field in &answered.head.fields {
        let (name, value) = (field.name.of(&answered.bytes), field.value.of(&answered.bytes));
        let known = known(name);
        match known {
            Known::ContentType | Known::Expires if !seen.first(known) => {}
            Known::ContentType | Known::Expires | Known::SetCookie | Known::Kept => {
                header(exchange, known, name, value);
            }
            Known::Accel if !contains(&proxy.ignore_headers, name) => {
                accelerate(exchange, name, value, &mut seen);
            }
            _ => {}
        }
    }
    peers.bind(exchange);
}

fn duplicate(exchange: &Exchange<'_>, answered: &Answered, name: &[u8], value: &[u8]) {
    let bytes = &answered.bytes;
    let mut fields = answered.head.fields.iter().map(|field| (field.name.of(bytes), field.value.of(bytes)));
    let first = fields.find(|(first, _)| first.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let text = String::from_utf8_lossy;
    complain(
        exchange,
        Level::Warn,
        format_args!(
            "upstream sent duplicate header line: \"{0}: {1}\", previous value: \"{0}: {2}\", ignored while reading response header from upstream",
            text(name),
            text(value),
            text(first.unwrap_or_default()),
        ),
    );
}

/// A header that is looked at or never passed. Everything else goes through as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    ContentType,
    LastModified,
    Location,
    Refresh,
    Etag,
    Expires,
    Server,
    Date,
    SetCookie,
    /// Passed as it is, also behind X-Accel-Redirect.
    Kept,
    /// Framing and connection headers, which are made anew.
    Hop,
    Accel,
    Pad,
    Other,
}

impl Known {
    /// Whether only the first of several counts.
    fn is_single(self) -> bool {
        (self as u32) < Self::SetCookie as u32
    }
}

impl Seen {
    /// Whether a header had not come before.
    fn first(&mut self, known: Known) -> bool {
        let bit = 1 << known as u32;
        let first = self.single & bit == 0;
        self.single |= bit;
        first
    }
}

fn known(name: &[u8]) -> Known {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    match name.len() {
        4 if is(b"date") => Known::Date,
        4 if is(b"etag") => Known::Etag,
        5 if is(b"x-pad") => Known::Pad,
        6 if is(b"server") => Known::Server,
        7 if is(b"refresh") => Known::Refresh,
        7 if is(b"expires") => Known::Expires,
        8 if is(b"location") => Known::Location,
        10 if is(b"connection") || is(b"keep-alive") => Known::Hop,
        10 if is(b"set-cookie") => Known::SetCookie,
        12 if is(b"content-type") => Known::ContentType,
        13 if is(b"last-modified") => Known::LastModified,
        13 if is(b"cache-control") || is(b"accept-ranges") => Known::Kept,
        14 if is(b"content-length") => Known::Hop,
        17 if is(b"transfer-encoding") => Known::Hop,
        19 if is(b"content-disposition") => Known::Kept,
        _ if name.get(..8).is_some_and(|head| head.eq_ignore_ascii_case(b"x-accel-")) => Known::Accel,
        _ => Known::Other,
    }
}

fn contains(list: &[String], name: &[u8]) -> bool {
    list.iter().any(|listed| name.eq_ignore_ascii_case(listed.as_bytes()))
}

/// Puts a peer's header into the answer.
fn header(exchange: &mut Exchange<'_>, known: Known, name: &[u8], value: &[u8]) {
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

fn accelerate(exchange: &mut Exchange<'_>, name: &[u8], value: &[u8], seen: &mut Seen) {
    let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
    if is(b"x-accel-buffering") {
        seen.buffering = match value {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_single_headers_only_the_first_counts() {
        let mut seen = Seen::default();
        for name in
            ["Expires", "ETag", "Date", "Location", "Content-Type", "Last-Modified", "Refresh", "Server"]
        {
            let known = known(name.as_bytes());
            assert!(known.is_single(), "{name}");
            assert_eq!((seen.first(known), seen.first(known)), (true, false), "{name}");
        }
        for name in ["Set-Cookie", "Cache-Control", "Vary", "X-Accel-Buffering", "Connection", "X-Expire"] {
            assert!(!known(name.as_bytes()).is_single(), "{name}");
        }
    }
}
