//! The stages that move a request around before something answers it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use weir_http::rewrite;
use weir_http::route::{self, Found};
use weir_http::site::Alias;
use weir_http::wire::uri::{Escape, escape};
use weir_http::{Place, Request};
use weir_log::Errno;
use weir_model::location::{ErrorPage, Fallback, Overwrite};
use weir_model::{Level, LocationKind, Part, Template};

use crate::exchange::{Exchange, Next};
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
    // First, because what the location returns is not for methods that its block denies.
    limit_except(exchange);
    let live = exchange.live();
    let place = live.site().place(exchange.request.location);
    if !place.rewrite.is_empty() && !matches!(place.kind, LocationKind::Server) {
        let verdict = exchange.evaluate(rewrite::run);
        if !matches!(verdict, rewrite::Verdict::Continue) {
            return returned(exchange, verdict, Next::Access);
        }
    }
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
    match verdict {
        rewrite::Verdict::Continue => go_on,
        rewrite::Verdict::Search if exchange.turn() => Next::FindLocation,
        rewrite::Verdict::Search => Next::Error(500),
        rewrite::Verdict::Return { status, text } => respond::answer_return(exchange, status, text),
        rewrite::Verdict::Close => {
            exchange.keep = false;
            exchange.request.answer.status = 444;
            Next::Abort
        }
    }
}

/// `try_files`.
pub(crate) fn try_files(exchange: &mut Exchange<'_>) -> Next {
    let live = exchange.live();
    let place = live.site().place(exchange.request.location);
    let Some(try_files) = &place.settings.files.try_files else { return Next::Content };
    for candidate in &try_files.files {
        let wants_directory = matches!(candidate.0.last(), Some(Part::Text(text)) if text.ends_with('/'));
        let mut name = tried(exchange, place.alias, candidate);
        if wants_directory {
            name.pop();
        }
        let mut path = exchange.evaluate(|request, scope, _| request.root(scope));
        path.extend_from_slice(&name);
        match std::fs::metadata(Path::new(OsStr::from_bytes(&path))) {
            Ok(found) if found.is_dir() == wants_directory => {
                hit(&mut exchange.request, place.alias, name, wants_directory);
                return Next::Content;
            }
            Ok(_) => {}
            Err(error) => missed(exchange, &path, &error),
        }
    }
    match &try_files.fallback {
        Fallback::Status(status) => Next::Error(*status),
        Fallback::Redirect(template) => {
            let target = tried(exchange, place.alias, template);
            if target.starts_with(b"@") {
                return Next::Named(target);
            }
            let (uri, args) = split_args(&target);
            Next::Redirect { uri, args }
        }
    }
}

/// A name of `try_files`, as it stands behind `root` or `alias`. What `alias` stands in place of is taken off a
/// name that begins with it, unless the name has no variables; nginx does the same to the fallback.
fn tried(exchange: &mut Exchange<'_>, alias: Alias, template: &Template) -> Vec<u8> {
    let mut name = exchange.evaluate(|request, scope, _| request.expanded(scope, template));
    if let (Alias::Name(length), None) = (alias, template.literal())
        && let (Some(of_name), Some(of_uri)) = (name.get(..length), exchange.request.uri.get(..length))
        && of_name == of_uri
    {
        name.drain(..length);
    }
    name
}

/// The place stays; only the file is another.
fn hit(request: &mut Request, alias: Alias, name: Vec<u8>, directory: bool) {
    match alias {
        Alias::None => request.uri = name,
        Alias::Name(length) => {
            request.uri.truncate(length);
            request.uri.extend_from_slice(&name);
        }
        Alias::Whole if directory => {}
        Alias::Whole => {
            request.uri = name;
            request.uri_behind_alias = true;
        }
    }
}

/// A name that is not there is what `try_files` is for; other failures are the operator's to know.
fn missed(exchange: &Exchange<'_>, path: &[u8], error: &std::io::Error) {
    use rustix::io::Errno as Code;
    let code = error.raw_os_error().map(Code::from_raw_os_error);
    if !matches!(code, Some(Code::NOENT | Code::NOTDIR | Code::NAMETOOLONG)) {
        let path = String::from_utf8_lossy(path);
        exchange.log(Level::Crit, format_args!("stat() \"{path}\" failed {}", Errno(error)));
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
    let request = &mut *exchange.request;
    request.answer.status = status;
    // A block of the page that includes this one stands in for it.
    if exchange.pages.as_ref().is_some_and(|pages| pages.has_stub) {
        return Next::Abort;
    }
    // 499: the client is gone; 444: nothing is to be said.
    if matches!(status, 499 | 444) {
        return Next::Abort;
    }
    if matches!(status, 400 | 413 | 414 | 494 | 495 | 496 | 497 | 500 | 501 | 408) {
        exchange.keep = false;
    }
    // The page of an error may end in another error or in a redirect, and that is what the client is told.
    request.error_status = status;
    request.answer.content_type = None;
    let pages = &place.settings.error_pages;
    if !request.error_page_used && !pages.is_empty() && request.turns > 0 {
        request.error_page_used = !place.settings.recursive_error_pages;
        if let Some(page) = pages.iter().find(|page| page.status == status) {
            return error_page(exchange, page).await;
        }
    }
    respond::own_page(exchange, status).await
}

async fn error_page(exchange: &mut Exchange<'_>, page: &ErrorPage) -> Next {
    let target = exchange.evaluate(|request, scope, _| request.expanded(scope, &page.target));
    let request = &mut *exchange.request;
    match page.overwrite {
        Overwrite::Keep => {}
        Overwrite::Answer => request.error_status = 0,
        Overwrite::Status(code) => request.error_status = code,
    }
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
    respond::own_page(exchange, code).await
}

/// An internal redirect to another URI of the server.
pub(crate) fn redirect(exchange: &mut Exchange<'_>, uri: Vec<u8>, args: Vec<u8>) -> Next {
    if !exchange.turn() {
        return Next::Error(500);
    }
    exchange.set_uri(uri, args);
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
            exchange.enter(id);
            exchange.request.internal = true;
            Next::LocationRewrite
        }
        None => {
            exchange.log(Level::Error, format_args!("could not find named location \"{text}\""));
            Next::Error(500)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use weir_http::Facts;
    use weir_model::ListenAddress;

    use super::*;

    fn after(alias: Alias, name: &[u8], directory: bool) -> Request {
        let facts = Facts {
            remote: None,
            remote_port: 0,
            remote_text: "unix:".to_owned(),
            local: ListenAddress::Unix("/s".to_owned()),
            serial: 1,
            accepted: 0,
            proxied: None,
        };
        let mut request = Request::new(Rc::new(facts));
        request.uri = b"/a/b".to_vec();
        hit(&mut request, alias, name.to_vec(), directory);
        request
    }

    #[test]
    fn a_found_name_becomes_the_uri_behind_root_or_alias() {
        assert_eq!(after(Alias::None, b"/found.html", false).uri, b"/found.html");
        assert_eq!(after(Alias::Name(3), b"c.html", false).uri, b"/a/c.html");
    }

    #[test]
    fn a_file_follows_an_alias_that_is_a_whole_path() {
        let file = after(Alias::Whole, b"/a/b", false);
        assert!(file.uri_behind_alias);
        let directory = after(Alias::Whole, b"/c", true);
        assert_eq!((directory.uri.as_slice(), directory.uri_behind_alias), (&b"/a/b"[..], false));
    }

    #[test]
    fn arguments_follow_the_first_question_mark() {
        assert_eq!(split_args(b"/a?b?c"), (b"/a".to_vec(), b"b?c".to_vec()));
        assert_eq!(split_args(b"/a"), (b"/a".to_vec(), Vec::new()));
    }
}
