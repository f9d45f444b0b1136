//! The stages that move a request around before something answers it.

use weir_http::Place;
use weir_http::rewrite;
use weir_http::route::{self, Found};
use weir_http::wire::uri::{Escape, escape};
use weir_model::location::{Fallback, Overwrite};
use weir_model::{Level, LocationKind};

use crate::exchange::{Exchange, Next, Sink};
use crate::respond;

/// `rewrite`, `set`, `if` and `return` of the server.
pub(crate) fn server_rewrite(exchange: &mut Exchange<'_>) -> Next {
    let live = exchange.live();
    let root = live.site().http().servers[exchange.request.server].root;
    exchange.enter(root);
    if live.site().place(root).rewrite.is_empty() {
        return Next::FindLocation;
    }
    let verdict = exchange.evaluate(rewrite::run);
    match verdict {
        // The search for a location follows in any case.
        rewrite::Verdict::Search => Next::FindLocation,
        other => returned(exchange, other, Next::FindLocation),
    }
}

/// Finds the location of the URI.
pub(crate) fn find_location(exchange: &mut Exchange<'_>) -> Next {
    let live = exchange.live();
    let site = live.site();
    let request = &mut *exchange.request;
    let root = site.http().servers[request.server].root;
    let uri = std::mem::take(&mut request.uri);
    let (found, matched) = route::find_location(site, root, &uri, &mut request.captures);
    if let Some(matcher) = matched {
        request.matched(matcher, &uri);
    }
    request.uri = uri;
    match found {
        Found::Location(id) => {
            exchange.enter(id);
            let place = site.place(id);
            if place.internal && !exchange.request.internal {
                return Next::Error(404);
            }
            if let Some(next) = too_large(exchange, place) {
                return next;
            }
            Next::LocationRewrite
        }
        Found::AddSlash(id) => {
            exchange.enter(id);
            let mut target = Vec::new();
            escape(Escape::Uri, site.place(id).kind.name().as_bytes(), &mut target);
            if !exchange.request.args.is_empty() {
                target.push(b'?');
                target.extend_from_slice(&exchange.request.args);
            }
            exchange.request.answer.location = Some(target);
            Next::Error(301)
        }
    }
}

fn too_large(exchange: &mut Exchange<'_>, place: &Place) -> Option<Next> {
    let limit = place.settings.client.max_body_size;
    let length = exchange.request.head.content_length?;
    if limit == 0 || length <= limit || exchange.body.is_discarded() {
        return None;
    }
    exchange.log(Level::Error, format_args!("client intended to send too large body: {length} bytes"));
    exchange.body.discard_all();
    Some(Next::Error(413))
}

/// `rewrite`, `set`, `if` and `return` of the location.
pub(crate) fn location_rewrite(exchange: &mut Exchange<'_>) -> Next {
    let live = exchange.live();
    let place = live.site().place(exchange.request.location);
    if !place.rewrite.is_empty() && !matches!(place.kind, LocationKind::Server) {
        let verdict = exchange.evaluate(rewrite::run);
        if !matches!(verdict, rewrite::Verdict::Continue) {
            return returned(exchange, verdict, Next::Access);
        }
    }
    limit_except(exchange);
    Next::Access
}

/// `limit_except`: other methods are served by the settings of its block.
fn limit_except(exchange: &mut Exchange<'_>) {
    let live = exchange.live();
    let place = live.site().place(exchange.request.location);
    let Some((methods, other)) = &place.limit_except else { return };
    let method = exchange.request.method();
    if !methods.iter().any(|allowed| method == allowed.as_bytes()) {
        exchange.request.location = *other;
    }
}

fn returned(exchange: &mut Exchange<'_>, verdict: rewrite::Verdict, go_on: Next) -> Next {
    match exchange.verdict(verdict, go_on) {
        Ok(next) => next,
        Err((status, text)) => respond::answer_return(exchange, status, text),
    }
}

/// `try_files`.
pub(crate) fn try_files(exchange: &mut Exchange<'_>) -> Next {
    let live = exchange.live();
    let place = live.site().place(exchange.request.location);
    let Some(try_files) = &place.settings.files.try_files else { return Next::Content };
    for candidate in &try_files.files {
        let (path, uri) = exchange.evaluate(|request, scope, place| {
            let uri = request.expanded(scope, candidate);
            let mut path = request.root(scope);
            let rest = if place.settings.files.alias {
                uri.get(place.kind.name().len()..).unwrap_or_default()
            } else {
                &uri
            };
            path.extend_from_slice(rest);
            (path, uri)
        });
        let directory = path.ends_with(b"/");
        let kind = crate::world::metadata(&path);
        let hit = match kind {
            Some(kind) => kind.is_dir() == directory,
            None => false,
        };
        if hit {
            let uri = if directory { uri.strip_suffix(b"/").map(<[u8]>::to_vec).unwrap_or_default() } else { uri };
            // The place stays; only the file is another.
            exchange.request.uri = if directory { [uri.as_slice(), b"/"].concat() } else { uri };
            exchange.request.uri_state = weir_http::request::UriState::Changed;
            return Next::Content;
        }
    }
    match &try_files.fallback {
        Fallback::Status(status) => Next::Error(*status),
        Fallback::Redirect(template) => {
            let target = exchange.evaluate(|request, scope, _| request.expanded(scope, template));
            if target.starts_with(b"@") {
                return Next::Named(target);
            }
            let (uri, args) = split_args(&target);
            Next::Redirect { uri, args }
        }
    }
}

/// Path and arguments of an internal target.
pub(crate) fn split_args(target: &[u8]) -> (Vec<u8>, Vec<u8>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (target[..at].to_vec(), target[at + 1..].to_vec()),
        None => (target.to_vec(), Vec::new()),
    }
}

/// A status as answer: the `error_page` of the place, or a page of our own.
pub(crate) async fn error(exchange: &mut Exchange<'_>, status: u16) -> Next {
    if exchange.head_sent {
        return Next::Abort;
    }
    let live = exchange.live();
    let place = live.site().place(exchange.request.location);
    exchange.request.answer.status = status;
    // 499: the client is gone; 444: nothing is to be said.
    if matches!(status, 499 | 444) {
        return Next::Abort;
    }
    if matches!(status, 400 | 413 | 414 | 494 | 495 | 496 | 497 | 500 | 501 | 408) {
        exchange.keep = false;
    }
    let allowed = exchange.request.error_status == 0 || place.settings.recursive_error_pages;
    let page = place.settings.error_pages.iter().find(|page| page.status == status);
    // A subrequest's caller decides what a status means.
    if let (Some(page), true, Sink::Client) = (page, allowed, &exchange.sink) {
        let target = exchange.evaluate(|request, scope, _| request.expanded(scope, &page.target));
        exchange.request.error_page_used = true;
        return error_page(exchange, status, page.overwrite, target);
    }
    if exchange.request.error_status == 0 {
        exchange.request.error_status = status;
    }
    respond::own_page(exchange, status).await
}

fn error_page(exchange: &mut Exchange<'_>, status: u16, overwrite: Overwrite, target: Vec<u8>) -> Next {
    let request = &mut *exchange.request;
    request.answer.location = None;
    request.error_status = match overwrite {
        Overwrite::Keep => status,
        Overwrite::Answer => 0,
        Overwrite::Status(code) => code,
    };
    if target.starts_with(b"/") {
        if request.method() != b"HEAD" {
            request.method = b"GET".to_vec();
        }
        let (uri, args) = split_args(&target);
        return Next::Redirect { uri, args };
    }
    if target.starts_with(b"@") {
        return Next::Named(target);
    }
    let code = match request.error_status {
        code @ (301 | 302 | 303 | 307 | 308) => code,
        _ => 302,
    };
    request.error_status = code;
    request.answer.status = code;
    request.answer.location = Some(target);
    Next::Error(code)
}

/// An internal redirect to another URI of the server.
pub(crate) fn redirect(exchange: &mut Exchange<'_>, uri: Vec<u8>, args: Vec<u8>) -> Next {
    if !exchange.turn() {
        return Next::Error(500);
    }
    exchange.set_uri(uri, args);
    reset_answer(exchange);
    // Server-level rewrites run again, as in nginx.
    Next::ServerRewrite
}

/// An internal redirect to a named location; the URI stays.
pub(crate) fn named(exchange: &mut Exchange<'_>, name: &[u8]) -> Next {
    if !exchange.turn() {
        return Next::Error(500);
    }
    let live = exchange.live();
    let text = String::from_utf8_lossy(name).into_owned();
    let found = live.site().named.get(exchange.request.server).and_then(|named| named.get(&text));
    match found {
        Some(&id) => {
            reset_answer(exchange);
            exchange.enter(id);
            exchange.request.internal = true;
            exchange.request.uri_state = weir_http::request::UriState::Changed;
            Next::LocationRewrite
        }
        None => {
            exchange.log(Level::Error, format_args!("could not find named location \"{text}\""));
            Next::Error(500)
        }
    }
}

/// What an earlier place put into the answer does not belong to the next one.
fn reset_answer(exchange: &mut Exchange<'_>) {
    let status = exchange.request.answer.status;
    exchange.request.answer.clear();
    exchange.request.answer.status = status;
}
