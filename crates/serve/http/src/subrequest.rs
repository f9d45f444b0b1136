//! Requests that a request makes of its own server: for `auth_request` and `mirror`.

use std::rc::Rc;

use weir_http::Request;
use weir_http::evaluate::size;
use weir_http::request::UriState;
use weir_http::wire::status::visible;
use weir_model::Template;

use crate::body::{Gathered, Reader};
use crate::connection::Client;
use crate::exchange::{Exchange, Next, Sink};
use crate::log;

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
/// the parent (indices of the model) and what they become once the answer is there, as the subrequest sees it.
pub(crate) async fn run(
    parent: &mut Exchange<'_>,
    uri: &[u8],
    args: &[u8],
    set: &[(u32, Template)],
) -> SubAnswer {
    let mut request = derive(parent, uri, args);
    // As in nginx there is one set of variables for both.
    request.variables = std::mem::take(&mut parent.request.variables);
    let (live, listener) = (parent.live(), parent.listener);
    let mut sub = Exchange::new(parent.client, Rc::clone(&live), listener, request);
    prepare(&mut sub);
    Box::pin(sub.run(Next::ServerRewrite)).await;
    log_subrequest(&mut sub);
    let http = live.site().http();
    let mut own = Vec::new();
    for (variable, template) in set {
        let value = sub.evaluate(|request, scope, _| request.expanded(scope, template));
        match http.variables.get(*variable as usize).map(|variable| variable.name.as_str()) {
            Some(name @ ("args" | "limit_rate")) => own.push((name, value)),
            _ => sub.request.set(*variable, value),
        }
    }
    let answer = answer(&sub);
    let Exchange { mut request, guards, .. } = sub;
    // Limits count the request that the client sent.
    parent.guards.extend(guards);
    parent.request.limit_req_status = request.limit_req_status;
    parent.request.limit_conn_status = request.limit_conn_status;
    parent.request.request_id = request.request_id;
    parent.request.variables = std::mem::take(&mut request.variables);
    for (name, value) in own {
        set_own(&mut parent.request, name, value);
    }
    parent.client.thread.buffers.give_request(request);
    answer
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
fn set_own(request: &mut Request, name: &str, value: Vec<u8>) {
    if name == "args" {
        request.args = value;
        request.uri_state = UriState::Changed;
    } else {
        request.limit_rate = size(&value).or(request.limit_rate);
    }
}
