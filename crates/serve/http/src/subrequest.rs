//! Requests that a request makes of its own server: for `auth_request`, `mirror` and pages that include others.

use std::rc::Rc;

use weir_http::Request;
use weir_http::evaluate::size;
use weir_http::request::UriState;
use weir_http::wire::status::visible;
use weir_model::{Builtin, Template, Variable};

use crate::access::limit_conn::Guard;
use crate::body::{Gathered, Reader};
use crate::connection::Client;
use crate::exchange::{Exchange, Next, Sink};
use crate::filter::{self, ssi::Pages};
use crate::log;
use crate::respond::{self, Gone};

/// What a subrequest was answered.
#[derive(Debug, Default)]
pub(crate) struct SubAnswer {
    /// 444 when its place closes the connection.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl SubAnswer {
    /// Values of a header, by its name in lower case.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let found = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }
}

/// Serves `uri` with `args` for a request that waits for the answer: GET without a body. `set` are variables of
/// the parent and what they become once the answer is there, as the subrequest sees it.
pub(crate) async fn run(
    parent: &mut Exchange<'_>,
    uri: &[u8],
    args: &[u8],
    set: &[(Variable, Template)],
) -> SubAnswer {
    let mut request = derive(parent, uri, args);
    // As in nginx there is one set of variables for both.
    request.variables = std::mem::take(&mut parent.request.variables);
    let (live, listener) = (parent.live(), parent.listener);
    let mut sub = Exchange::new(parent.client, live, listener, request);
    prepare(&mut sub);
    Box::pin(sub.run(Next::ServerRewrite)).await;
    log_subrequest(&mut sub);
    let mut own = Vec::new();
    for (variable, template) in set {
        let value = sub.evaluate(|request, scope, _| request.expanded(scope, template));
        match variable {
            Variable::User(index) => sub.request.set(*index, value),
            other => own.push((other, value)),
        }
    }
    let answer = answer(&sub);
    let Exchange { request, guards, .. } = sub;
    hand_back(parent, request, guards);
    for (variable, value) in own {
        set_own(&mut parent.request, variable, value);
    }
    answer
}

/// Serves `uri` with `args` into the page that includes it, or into memory: then the body is returned, when the
/// answer is a success, and at most `into_memory` bytes of it. `stub` stands in for an answer that is an error or
/// empty. Fails when the page cannot go on.
pub(crate) async fn include(
    parent: &mut Exchange<'_>,
    uri: &[u8],
    args: &[u8],
    pages: Box<Pages>,
    stub: Option<&[u8]>,
    into_memory: Option<usize>,
) -> Result<Vec<u8>, Gone> {
    let mut request = derive(parent, uri, args);
    request.variables = std::mem::take(&mut parent.request.variables);
    let content_type = parent.request.answer.content_type.clone();
    let of_parent = match into_memory {
        None => std::mem::replace(&mut parent.sink, Sink::Client),
        Some(limit) => Sink::Collect { body: Vec::new(), limit },
    };
    let (live, listener) = (parent.live(), parent.listener);
    let mut sub = Exchange::new(parent.client, live, listener, request);
    sub.is_sub = true;
    sub.sink = of_parent;
    sub.pages = Some(pages);
    Box::pin(sub.run(Next::ServerRewrite)).await;
    if let Some(stub) = stub {
        Box::pin(stand_in(&mut sub, stub, content_type)).await;
    }
    log_subrequest(&mut sub);
    let Exchange { request, guards, sink, pages, reset, .. } = sub;
    let (complete, success) = (request.complete, request.answer.status < 300);
    parent.reset |= reset;
    parent.request.sent += request.sent;
    parent.request.body_sent += request.body_sent;
    hand_back(parent, request, guards);
    if into_memory.is_some() {
        let Sink::Collect { body, .. } = sink else { return Ok(Vec::new()) };
        return Ok(if complete && success { body } else { Vec::new() });
    }
    parent.sink = sink;
    if let (Some(pages), Some(of_parent)) = (pages, &mut parent.pages) {
        of_parent.emitted |= pages.emitted;
    }
    if complete {
        return Ok(Vec::new());
    }
    filter::cut(parent).await;
    parent.keep = false;
    Err(Gone)
}

/// Answers with a block of the including page, unless the page itself has come or its client is gone.
async fn stand_in(sub: &mut Exchange<'_>, stub: &[u8], content_type: Option<Vec<u8>>) {
    let broken = sub.head_sent && !sub.request.complete || matches!(sub.request.answer.status, 444 | 499);
    let Some(pages) = &mut sub.pages else { return };
    if broken || pages.emitted {
        return;
    }
    pages.has_stub = false;
    sub.request.error_status = 0;
    let answer = &mut sub.request.answer;
    answer.clear();
    answer.status = 200;
    answer.content_type = content_type;
    answer.content_length = Some(stub.len() as u64);
    respond::whole(sub, stub).await;
}

/// Gives a parent back what its subrequest had of it.
fn hand_back(parent: &mut Exchange<'_>, mut request: Box<Request>, guards: Vec<Guard>) {
    // Limits count the request that the client sent.
    parent.guards.extend(guards);
    parent.request.limit_req_status = request.limit_req_status;
    parent.request.limit_conn_status = request.limit_conn_status;
    parent.request.request_id = request.request_id;
    parent.request.variables = std::mem::take(&mut request.variables);
    parent.client.thread.buffers.give_request(request);
}

/// Serves a URI, or a named location, once a request is answered (`post_action`). Nobody sees the answer; what
/// the client was sent is known to its variables.
pub(crate) async fn follow(parent: &mut Exchange<'_>, target: &str) {
    let named = target.starts_with('@');
    let uri = if named { parent.request.uri.clone() } else { target.as_bytes().to_vec() };
    let mut request = derive(parent, &uri, b"");
    let of_parent = &*parent.request;
    request.variables.clone_from(&of_parent.variables);
    request.answer.status = of_parent.answer.status;
    (request.sent, request.body_sent) = (of_parent.sent, of_parent.body_sent);
    request.complete = of_parent.complete;
    let (live, listener) = (parent.live(), parent.listener);
    let mut sub = Exchange::new(parent.client, live, listener, request);
    prepare(&mut sub);
    let next = if named { Next::Named(target.as_bytes().to_vec()) } else { Next::ServerRewrite };
    Box::pin(sub.run(next)).await;
    log_subrequest(&mut sub);
    let Exchange { request, guards, .. } = sub;
    parent.guards.extend(guards);
    parent.client.thread.buffers.give_request(request);
}

/// Serves `uri` with `args` beside a request that does not wait: with its method, and its body if given.
pub(crate) fn spawn(parent: &Exchange<'_>, uri: &[u8], args: &[u8], body: Option<&Rc<Gathered>>) {
    // Without a descriptor for it there is no copy of the request; the request itself is served.
    let Ok(mut client) = Client::detached(parent.client) else { return };
    let mut request = derive(parent, uri, args);
    request.method = parent.request.method().to_vec();
    request.variables.clone_from(&parent.request.variables);
    let mut reader = Reader::None;
    if let Some(body) = body {
        request.head.content_length = parent.request.head.content_length;
        request.head.chunked = parent.request.head.chunked;
        reader = Reader::replay(Rc::clone(body), request.head.len as usize);
    }
    let (live, listener) = (parent.live(), parent.listener);
    tokio::task::spawn_local(async move {
        let mut sub = Exchange::new(&mut client, live, listener, request);
        prepare(&mut sub);
        sub.body = reader;
        Box::pin(sub.run(Next::ServerRewrite)).await;
        log_subrequest(&mut sub);
        let Exchange { request, client, .. } = sub;
        client.thread.buffers.give_request(request);
    });
}

fn prepare(sub: &mut Exchange<'_>) {
    sub.is_sub = true;
    // Only the head is of interest.
    sub.sink = Sink::Collect { body: Vec::new(), limit: 0 };
}

/// A request of the same client and server for another URI: GET without a body, with the client's headers.
fn derive(parent: &Exchange<'_>, uri: &[u8], args: &[u8]) -> Box<Request> {
    let from = &*parent.request;
    let buffers = &parent.client.thread.buffers;
    let mut request = buffers.request(Rc::clone(&from.facts));
    request.bytes = buffers.small();
    let head = match from.head.len as usize {
        0 => from.bytes.len(),
        len => len.min(from.bytes.len()),
    };
    request.bytes.extend_from_slice(&from.bytes[..head]);
    request.head.clone_from(&from.head);
    request.head.content_length = None;
    request.head.chunked = false;
    request.head.expect_continue = false;
    request.server = from.server;
    request.location = parent.live.site().http().servers[from.server].root;
    request.host.extend_from_slice(&from.host);
    request.request_port = from.request_port;
    request.uri.extend_from_slice(uri);
    request.args.extend_from_slice(args);
    request.uri_state = UriState::Changed;
    request.internal = true;
    request.is_sub = true;
    request.method.extend_from_slice(b"GET");
    request.remote_user.clone_from(&from.remote_user);
    request.real = from.real;
    request.started = weir_log::clock::mono_ms();
    request.pipelined = from.pipelined;
    request.number = from.number;
    request.request_id = from.request_id;
    request.request_length = from.request_length;
    request.limit_req_status = from.limit_req_status;
    request.limit_conn_status = from.limit_conn_status;
    request
}

fn log_subrequest(sub: &mut Exchange<'_>) {
    if sub.live.site().place(sub.request.location).settings.log_subrequest {
        log::access(sub);
    }
}

fn answer(sub: &Exchange<'_>) -> SubAnswer {
    let answer = &sub.request.answer;
    let mut headers: Vec<_> = answer.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    // A peer's challenge stays behind when `proxy_intercept_errors` makes a page of our own.
    let challenge = |name: &[u8]| name.eq_ignore_ascii_case(b"www-authenticate");
    if !headers.iter().any(|(name, _)| challenge(name)) {
        let head = &sub.request.upstream;
        let fields =
            head.fields.iter().map(|field| (field.name.of(&head.bytes), field.value.of(&head.bytes)));
        let fields = fields.filter(|(name, _)| challenge(name));
        headers.extend(fields.map(|(name, value)| (name.to_vec(), value.to_vec())));
    }
    let status = if answer.status == 444 { 444 } else { visible(answer.status) };
    SubAnswer { status, headers }
}

/// Sets a built-in variable that can be set.
fn set_own(request: &mut Request, variable: &Variable, value: Vec<u8>) {
    match variable {
        Variable::Builtin(Builtin::Args) => {
            request.args = value;
            request.uri_state = UriState::Changed;
        }
        Variable::Builtin(Builtin::LimitRate) => request.limit_rate = size(&value).or(request.limit_rate),
        _ => {}
    }
}
