//! One request and its answer: the stages it goes through, in order.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use weir_http::evaluate::Scope;
use weir_http::request::UriState;
use weir_http::wire::head::HeadError;
use weir_http::wire::{host, uri};
use weir_http::{Place, Request};
use weir_model::{Handler, Level, LocationId};

use crate::body::Reader;
use crate::connection::Client;
use crate::filter::{Filter, Output, ssi::Pages};
use crate::live::Live;
use crate::world::World;
use crate::{access, body, files, log, mirror, peer_pages, proxy, respond, stages, status, subrequest};

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Another request may come within this time.
    KeepAlive(Duration),
    Close,
}

/// Where a request goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    ServerRewrite,
    FindLocation,
    LocationRewrite,
    Access,
    TryFiles,
    Content,
    /// The answer has its status; the body is what `return` gave.
    Return {
        text: Vec<u8>,
    },
    /// The answer is this status: `error_page` or a page of our own.
    Error(u16),
    /// Another URI of this server, with arguments.
    Redirect {
        uri: Vec<u8>,
        args: Vec<u8>,
    },
    /// A named location.
    Named(Vec<u8>),
    /// The answer was sent.
    Done,
    /// The connection is of no more use.
    Abort,
}

/// Where the answer goes.
#[derive(Debug)]
pub(crate) enum Sink {
    Client,
    /// A subrequest: the body is collected up to a bound, or dropped.
    Collect {
        body: Vec<u8>,
        limit: usize,
    },
    /// It goes through filters, or into the page that includes it.
    Output(Box<Output>),
}

/// One request while it is served.
pub(crate) struct Exchange<'c> {
    pub(crate) client: &'c mut Client,
    pub(crate) live: Rc<Live>,
    pub(crate) listener: usize,
    pub(crate) request: Box<Request>,
    pub(crate) body: Reader,
    pub(crate) sink: Sink,
    pub(crate) head_sent: bool,
    /// The connection may serve another request.
    pub(crate) keep: bool,
    /// `100 Continue` was sent, or must not be sent any more.
    pub(crate) invited: bool,
    /// Close with RST.
    pub(crate) reset: bool,
    /// This is a subrequest: no log line, no access checks of its own connection.
    pub(crate) is_sub: bool,
    /// Its places in `limit_conn` zones.
    pub(crate) guards: Vec<access::limit_conn::Guard>,
    /// What the body of the answer goes through, between its head being filtered and written.
    pub(crate) filter: Option<Box<Filter>>,
    /// There once a page with server-side includes was met.
    pub(crate) pages: Option<Box<Pages>>,
    logged: bool,
}

impl<'c> Exchange<'c> {
    pub(crate) fn new(
        client: &'c mut Client,
        live: Rc<Live>,
        listener: usize,
        request: Box<Request>,
    ) -> Self {
        Self {
            client,
            live,
            listener,
            request,
            body: Reader::None,
            sink: Sink::Client,
            head_sent: false,
            keep: true,
            invited: false,
            reset: false,
            is_sub: false,
            guards: Vec::new(),
            filter: None,
            pages: None,
            logged: false,
        }
    }

    /// The place whose settings hold now. Borrows nothing of the exchange.
    pub(crate) fn live(&self) -> Rc<Live> {
        Rc::clone(&self.live)
    }

    /// Runs `use_it` with the request and what its variables are evaluated in.
    pub(crate) fn evaluate<R>(&mut self, use_it: impl FnOnce(&mut Request, Scope<'_>, &Place) -> R) -> R {
        let live = Rc::clone(&self.live);
        let world = World::new(self.client);
        let scope = Scope { site: live.site(), world: &world };
        let place = live.site().place(self.request.location);
        let value = use_it(&mut self.request, scope, place);
        for (level, line) in world.into_notes() {
            self.log(level, format_args!("{line}"));
        }
        value
    }

    /// Whether other requests run on this thread.
    pub(crate) fn is_accompanied(&self) -> bool {
        self.client.thread.counters.writing.load(Relaxed) > 1
    }

    /// Writes a line to the error log of the place, with what is known of the request.
    pub(crate) fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        log::error(self, level, message, None);
    }

    /// Serves a request whose head was read.
    pub(crate) async fn serve(&mut self) {
        self.request.request_length = u64::from(self.request.head.len);
        let next = self.identify();
        access::real_ip(self);
        self.run(next).await;
        let live = self.live();
        if let Some(uri) = &live.site().place(self.request.location).settings.post_action {
            Box::pin(subrequest::follow(self, uri)).await;
        }
    }

    /// Goes through the stages from `next` on until the request is answered or given up.
    pub(crate) async fn run(&mut self, mut next: Next) {
        loop {
            next = match next {
                Next::ServerRewrite => stages::server_rewrite(self),
                Next::FindLocation => stages::find_location(self),
                Next::LocationRewrite => stages::location_rewrite(self),
                Next::Access => access::check(self).await,
                Next::TryFiles => stages::try_files(self),
                Next::Content => self.content().await,
                Next::Return { text } => respond::returned(self, &text).await,
                Next::Error(status) => stages::error(self, status).await,
                Next::Redirect { uri, args } => stages::redirect(self, uri, args),
                Next::Named(name) => stages::named(self, &name),
                Next::Done => return,
                Next::Abort => {
                    self.keep = false;
                    return;
                }
            };
        }
    }

    async fn content(&mut self) -> Next {
        let live = self.live();
        let place = live.site().place(self.request.location);
        if !place.settings.mirror.is_empty()
            && !self.is_sub
            && let Err(next) = Box::pin(mirror::start(self)).await
        {
            return next;
        }
        match &place.handler {
            Handler::Static => files::serve(self).await,
            Handler::Proxy(pass) => Box::pin(proxy::pass(self, pass)).await,
            Handler::StubStatus => status::stub(self).await,
            Handler::EmptyGif => status::empty_gif(self).await,
            Handler::UpstreamShow => peer_pages::upstream_show(self).await,
            Handler::CheckStatus(format) => peer_pages::check_status(self, *format).await,
        }
    }

    /// Finds the server, reads the URI, and decides what the connection can do afterwards.
    fn identify(&mut self) -> Next {
        let live = self.live();
        let site = live.site();
        let request = &mut *self.request;
        let head = &request.head;
        self.keep = match head.version {
            weir_http::wire::head::Version::Http11 => !head.connection_close,
            weir_http::wire::head::Version::Http10 => head.connection_keep_alive && !head.connection_close,
        };
        self.body = Reader::of(head);
        let sent_host = head.absolute.as_ref().map(|absolute| absolute.host).or(head.host);
        if let Some(span) = sent_host {
            let value = request.text(span).to_vec();
            match host::parse_host(&value, &mut request.host) {
                Ok(parts) => request.request_port = parts.port,
                Err(error) => {
                    self.log(Level::Info, format_args!("client sent invalid host header: {error}"));
                    return Next::Error(400);
                }
            }
        }
        if let Some(names) = site.names.get(self.listener) {
            let (server, matched) = names.find(&request.host, &mut request.captures);
            if let Some(matcher) = matched {
                let subject = request.host.clone();
                request.matched(matcher, &subject);
            }
            request.server = server;
        }
        let server = &site.http().servers[request.server];
        request.location = server.root;
        let head = &request.head;
        let target = head.absolute.as_ref().map_or(head.target, |absolute| absolute.path);
        match uri::normalize(
            target.of(&request.bytes),
            server.merge_slashes,
            &mut request.uri,
            &mut request.args,
        ) {
            Ok(flags) => {
                request.quoted = flags.quoted;
                Next::ServerRewrite
            }
            Err(error) => self.invalid_uri(&error),
        }
    }

    fn invalid_uri(&mut self, error: &uri::UriError) -> Next {
        self.log(Level::Info, format_args!("client sent invalid request: {error}"));
        // Half a path is none.
        self.request.uri.clear();
        self.request.args.clear();
        Next::Error(400)
    }

    /// Answers a head that was refused; nothing of it reaches anybody.
    pub(crate) async fn refuse(&mut self, error: HeadError) {
        self.log(Level::Info, format_args!("{error} while reading client request headers"));
        self.keep = false;
        self.request.request_length = self.request.bytes.len() as u64;
        let mut next = Next::Error(error.status());
        // An `error_page` of the server may take over; it cannot loop for ever.
        for _ in 0..weir_http::request::TURNS {
            next = match next {
                Next::Error(status) => stages::error(self, status).await,
                Next::Return { text } => respond::returned(self, &text).await,
                Next::Done | Next::Abort => return,
                Next::Redirect { uri, args } => stages::redirect(self, uri, args),
                Next::Named(name) => stages::named(self, &name),
                Next::FindLocation => stages::find_location(self),
                Next::LocationRewrite => stages::location_rewrite(self),
                Next::ServerRewrite => stages::server_rewrite(self),
                Next::Access => Next::TryFiles,
                Next::TryFiles => stages::try_files(self),
                Next::Content => self.content().await,
            };
        }
    }

    /// The head did not arrive in time.
    pub(crate) async fn head_timed_out(&mut self) {
        self.log(
            Level::Info,
            format_args!("client timed out (110: Connection timed out) while reading client request headers"),
        );
        self.keep = false;
        self.request.answer.status = 408;
        self.request.request_length = self.request.bytes.len() as u64;
        log::access(self);
        self.logged = true;
    }

    /// The client left before its head was complete.
    pub(crate) fn head_gone(&mut self) {
        self.keep = false;
        self.request.request_length = self.request.bytes.len() as u64;
        if self.request.bytes.is_empty() {
            self.logged = true;
            return;
        }
        self.log(
            Level::Info,
            format_args!("client prematurely closed connection while reading client request headers"),
        );
        self.request.answer.status = 400;
        log::access(self);
        self.logged = true;
    }

    /// Logs the request, settles the rest of its body and says what becomes of the connection.
    pub(crate) async fn finish(mut self) -> After {
        if !self.logged {
            log::access(&mut self);
        }
        let live = self.live();
        let settings = &live.site().place(self.request.location).settings.client;
        let timeout = settings.keepalive_timeout.duration();
        let mut keep = self.keep && !self.client.thread.quitting.get() && self.request.answer.keep_alive;
        if keep {
            keep = body::discard(&mut self).await;
        }
        if keep {
            let used = self.body.consumed(&self.request);
            if let Some(rest) = self.request.bytes.get(used..).filter(|rest| !rest.is_empty()) {
                self.client.rest = rest.to_vec();
            }
        } else if self.reset {
            // The peer of a connection that is reset sees it whether or not this works.
            let _ = weir_net::set_linger_rst(self.client.stream.fd());
        } else {
            respond::close(&mut self).await;
        }
        let Exchange { client, request, .. } = self;
        client.thread.buffers.give_request(request);
        if keep { After::KeepAlive(timeout) } else { After::Close }
    }

    /// Whether the client has closed its connection. Bytes of its next request are kept.
    pub(crate) fn client_gone(&mut self, cx: &mut Context<'_>) -> bool {
        if self.body.is_pending() || !matches!(self.sink, Sink::Client) {
            return false;
        }
        let client = &mut *self.client;
        if client.stream.is_fresh() {
            if client.deadline.poll(cx, client.watch_from).is_pending() {
                return false;
            }
            if client.stream.register().is_err() {
                return true;
            }
        }
        let request = &mut *self.request;
        if request.bytes.len() == request.bytes.capacity() {
            return false;
        }
        matches!(client.stream.poll_read(cx, &mut request.bytes), Poll::Ready(Ok(0) | Err(_)))
    }

    /// Moves the request to a location.
    pub(crate) fn enter(&mut self, id: LocationId) {
        self.request.location = id;
        self.request.valid_location = true;
    }

    /// Sends the request to another URI of its server. False when it went around too often.
    pub(crate) fn turn(&mut self) -> bool {
        self.request.turns = self.request.turns.saturating_sub(1);
        if self.request.turns > 0 {
            return true;
        }
        let uri = String::from_utf8_lossy(&self.request.uri).into_owned();
        self.log(
            Level::Error,
            format_args!("rewrite or internal redirection cycle while processing \"{uri}\""),
        );
        false
    }

    /// Takes a new URI for an internal redirect.
    pub(crate) fn set_uri(&mut self, uri: Vec<u8>, args: Vec<u8>) {
        self.request.uri = uri;
        self.request.args = args;
        self.request.uri_state = UriState::Changed;
        self.request.uri_behind_alias = false;
        self.request.internal = true;
    }
}
