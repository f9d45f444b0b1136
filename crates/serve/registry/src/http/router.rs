//! From a request to the handler of its endpoint.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue, LOCATION};

use super::request::percent_decode;
use super::request::{Body, Head};
use super::{Answer, Query, QueryOptions, Request, Shared, Verb, access, path};

/// What a handler returns: boxed, so that a waiting connection is as small as its question.
pub(crate) type Reply = Pin<Box<dyn Future<Output = Answer>>>;
pub(crate) type Handler = fn(Shared, Request) -> Reply;

/// One endpoint.
pub(crate) struct Route {
    /// Everything below it belongs to it where it ends with a slash.
    path: &'static str,
    /// In the order of the `Allow` header.
    verbs: &'static [Verb],
    handler: Handler,
    /// Whether `dc`, `ns`, `wait`, `index` and the kinds of consistency are read, and refused where they are wrong.
    options: bool,
    /// The longest body that is read, in bytes; what a handler takes may be less.
    most: usize,
    /// Whether a read that fails carries headers of a read all the same.
    failed_reads: bool,
}

/// Enough for a value, a transaction and every definition.
const MOST: usize = 512 * 1024;

impl Route {
    /// An endpoint that reads the standard options of queries.
    pub(crate) const fn data(path: &'static str, verbs: &'static [Verb], handler: Handler) -> Self {
        Self { path, verbs, handler, options: true, most: MOST, failed_reads: false }
    }

    /// An endpoint that leaves all options to its handler.
    pub(crate) const fn plain(path: &'static str, verbs: &'static [Verb], handler: Handler) -> Self {
        Self { path, verbs, handler, options: false, most: MOST, failed_reads: false }
    }

    /// Another limit of the body.
    pub(crate) const fn most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Reads that fail say so in their headers too: Consul's sessions do.
    pub(crate) const fn with_failed_reads(mut self) -> Self {
        self.failed_reads = true;
        self
    }

    pub(crate) const fn longest_body(&self) -> usize {
        self.most
    }

    pub(crate) fn handle(&self, context: &Shared, request: Request) -> Reply {
        (self.handler)(context.clone(), request)
    }

    fn allow(&self) -> HeaderValue {
        let names: Vec<&str> = self.verbs.iter().map(|verb| verb.name()).collect();
        HeaderValue::from_str(&format!("OPTIONS,{}", names.join(","))).expect("names of methods are ASCII")
    }

    /// What of `path` is the route's argument; nothing if it is another's.
    fn matches<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let rest = path.strip_prefix(self.path.as_bytes())?;
        (rest.is_empty() || self.path.ends_with('/')).then_some(rest)
    }
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// From inside this process.
    Full,
    /// What the token of each request allows.
    Token,
}

/// All endpoints.
pub(crate) struct Router {
    routes: Vec<Route>,
}

impl Router {
    pub(crate) fn new() -> Self {
        let tables = [
            super::kv::routes(),
            super::session::routes(),
            super::txn::routes(),
            super::status::routes(),
            super::operator::routes(),
            super::snapshot::routes(),
            crate::agent::routes(),
            crate::catalog::routes(),
            crate::health::routes(),
            crate::lease::routes(),
        ];
        let mut routes: Vec<Route> = tables.into_iter().flatten().collect();
        // The longest path wins, so that a name below another route is found first.
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        Self { routes }
    }

    /// The route of a request, and the request without its body; or the answer, where nothing is to be done. Nothing of a
    /// body is read before this has allowed it.
    pub(crate) fn find(
        &self,
        context: &Shared,
        rights: Rights,
        head: &Head,
    ) -> Result<(&Route, Request), Answer> {
        let (path, query) = split(&head.target);
        let path = percent_decode(path).ok_or_else(|| Answer::bad("400 Bad Request").close())?;
        let (route, rest) = self.route(&path, query)?;
        let verb = route.verbs.iter().copied().find(|verb| verb.name() == head.method);
        let Some(verb) = verb else { return Err(wrong_method(route, &head.method)) };
        let query = Query::parse(&String::from_utf8_lossy(query.unwrap_or_default()));
        admit(context, rights, verb, &query, head)?;
        let settings = context.settings();
        let options = match route.options {
            true => QueryOptions::parse(&query, &settings.datacenter),
            false => Ok(QueryOptions::default()),
        };
        let options = options.map_err(|refused| match refused.status {
            StatusCode::INTERNAL_SERVER_ERROR if route.failed_reads => refused.failed_read(),
            _ => refused,
        })?;
        let body = Body::Whole(Bytes::new());
        Ok((route, Request { verb, rest: rest.to_vec(), query, options, body, peer: None }))
    }

    /// Whether the tokens allow a request that is answered elsewhere.
    pub(crate) fn allowed(context: &Shared, rights: Rights, head: &Head, verb: Verb) -> Result<(), Answer> {
        let (_, query) = split(&head.target);
        let query = Query::parse(&String::from_utf8_lossy(query.unwrap_or_default()));
        admit(context, rights, verb, &query, head)
    }

    fn route<'p>(&self, path: &'p [u8], query: Option<&[u8]>) -> Result<(&Route, &'p [u8]), Answer> {
        let cleaned = path::clean(path);
        if cleaned != path {
            return Err(redirect(&cleaned, query));
        }
        if let Some(found) = self.routes.iter().find_map(|route| Some((route, route.matches(path)?))) {
            return Ok(found);
        }
        let below = [path, b"/"].concat();
        if self.routes.iter().any(|route| route.path.as_bytes() == below) {
            return Err(redirect(&below, query));
        }
        Err(Answer::empty(StatusCode::NOT_FOUND))
    }
}

fn admit(context: &Shared, rights: Rights, verb: Verb, query: &Query, head: &Head) -> Result<(), Answer> {
    let shown = access::token(query, head.token.as_deref());
    if rights == Rights::Token && !context.settings().tokens.allow(verb, shown) {
        return Err(Answer::text(StatusCode::FORBIDDEN, "Permission denied"));
    }
    Ok(())
}

/// Path and query of a target.
fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(at) => {
            let (path, query) = target.split_at(at);
            (path, query.get(1..))
        }
        None => (target, None),
    }
}

fn redirect(path: &[u8], query: Option<&[u8]>) -> Answer {
    let mut location = path::escape(path).into_bytes();
    if let Some(query) = query {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    match HeaderValue::from_bytes(&location) {
        Ok(location) => Answer::empty(StatusCode::MOVED_PERMANENTLY).with(LOCATION, location),
        Err(_) => Answer::bad("400 Bad Request").close(),
    }
}

fn wrong_method(route: &Route, method: &str) -> Answer {
    if method == "OPTIONS" {
        return Answer::empty(StatusCode::OK).with(ALLOW, route.allow());
    }
    let text = format!("method {method} not allowed");
    Answer::text(StatusCode::METHOD_NOT_ALLOWED, text).with(ALLOW, route.allow())
}
