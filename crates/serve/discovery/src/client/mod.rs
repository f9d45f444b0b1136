//! A small HTTP/1.1 client for stores: TCP, TLS, unix sockets and the registry of this process.
//!
//! One connection is kept. Of several endpoints the one that worked last is asked; when it fails, the next one is, in
//! turn. Redirects are refused, because a store that answers with one is not the store.

mod connect;
mod error;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::io::DuplexStream;
use tokio::time::Instant;
use weir_model::{Endpoint, Store};

pub use error::ClientError;

/// Opens a connection to the registry of this process.
pub type Connector = Arc<dyn Fn() -> DuplexStream + Send + Sync>;

/// Answers are read up to here, in bytes.
pub const LIMIT: usize = 64 << 20;

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer that is read while it comes.
#[derive(Debug)]
pub struct Stream {
    pub status: StatusCode,
    body: Incoming,
    endpoint: String,
}

/// One store behind one or several endpoints.
pub struct Client {
    store: Store,
    embedded: Option<Connector>,
    /// Index of the endpoint that is asked.
    current: AtomicUsize,
    kept: Mutex<Kept>,
}

/// The connection between two questions.
#[derive(Default)]
struct Kept {
    sender: Option<SendRequest<Full<Bytes>>>,
    /// There is none because the store said that it would close: so it is still the same store.
    agreed: bool,
}

/// The parts of a question.
struct Question<'a> {
    method: &'a Method,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

impl Client {
    /// Connects when it is first used. A token of the store goes along as `X-Consul-Token`.
    #[must_use]
    pub fn new(store: &Store, embedded: Option<Connector>) -> Self {
        Self { store: store.clone(), embedded, current: AtomicUsize::new(0), kept: Mutex::default() }
    }

    /// The endpoint that is asked next, for people.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.current().map_or_else(String::new, |(_, endpoint)| connect::name(&self.store, endpoint))
    }

    /// One exchange, within `timeout` from the start to the last byte of the answer.
    ///
    /// An endpoint that cannot be reached is followed by the next one. GET and HEAD also go on to the next when the
    /// answer breaks off or has status 429 or 500 to 504; if all do, the last answer is given.
    ///
    /// # Errors
    /// When no endpoint gave an answer; [`ClientError::sent`] says whether the request may have had its effect.
    pub async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Reply, ClientError> {
        let question = Question { method: &method, path: path_and_query, headers: &headers, body: &body };
        let repeatable = method == Method::GET || method == Method::HEAD;
        let deadline = Instant::now() + timeout;
        let mut last = Err(ClientError::NoEndpoint);
        for _ in 0..self.store.endpoints.len() {
            let Some((index, endpoint)) = self.current() else { break };
            let answer = match tokio::time::timeout_at(deadline, self.once(endpoint, &question)).await {
                Ok(answer) => answer,
                Err(_) => {
                    self.pass(index);
                    return Err(self.timeout(endpoint, timeout));
                }
            };
            match answer {
                Ok(reply) if repeatable && is_busy(reply.status) => last = Ok(reply),
                Ok(reply) => return Ok(reply),
                Err(error) if error.sent() && !repeatable => {
                    self.pass(index);
                    return Err(error);
                }
                // The answer of another endpoint says more than a connection that failed.
                Err(error) if last.is_err() => last = Err(error),
                Err(_) => {}
            }
            self.pass(index);
        }
        last
    }

    /// Asks on over the connection of the last answer: for questions that are right only for the same store, such as
    /// blocking ones with its index.
    ///
    /// # Errors
    /// When that connection is lost ([`ClientError::Closed`]), or breaks off within the answer. After anything but
    /// [`ClientError::Timeout`] the next endpoint is asked.
    pub async fn ask(
        &self,
        path_and_query: &str,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Reply, ClientError> {
        let question =
            Question { method: &Method::GET, path: path_and_query, headers: &headers, body: &Bytes::new() };
        let (index, endpoint) = self.current().ok_or(ClientError::NoEndpoint)?;
        let exchange = async {
            let sender = self.same_store(endpoint).await?;
            let response = self.exchange(endpoint, sender, &question).await?;
            self.whole(endpoint, response).await
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(Err(error)) => {
                self.pass(index);
                Err(error)
            }
            Ok(reply) => reply,
            Err(_) => Err(self.timeout(endpoint, timeout)),
        }
    }

    /// Like [`Self::ask`] with a POST whose answer is read while it comes; `timeout` is that of its head.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn open(
        &self,
        path_and_query: &str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Stream, ClientError> {
        let question =
            Question { method: &Method::POST, path: path_and_query, headers: &headers, body: &body };
        let (index, endpoint) = self.current().ok_or(ClientError::NoEndpoint)?;
        let exchange = async {
            let sender = self.same_store(endpoint).await?;
            self.exchange(endpoint, sender, &question).await
        };
        let answer = tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(self.timeout(endpoint, timeout)));
        match answer {
            Ok((response, _)) => {
                let endpoint = connect::name(&self.store, endpoint);
                Ok(Stream { status: response.status(), body: response.into_body(), endpoint })
            }
            Err(error) => {
                self.pass(index);
                Err(error)
            }
        }
    }

    /// From now on the next endpoint is asked, over a new connection.
    pub fn next_endpoint(&self) {
        if let Some((index, _)) = self.current() {
            self.pass(index);
        }
    }

    fn current(&self) -> Option<(usize, &Endpoint)> {
        let index = self.current.load(Ordering::Relaxed).checked_rem(self.store.endpoints.len())?;
        self.store.endpoints.get(index).map(|endpoint| (index, endpoint))
    }

    /// Leaves an endpoint, unless another question did so before.
    fn pass(&self, index: usize) {
        let next = (index + 1).checked_rem(self.store.endpoints.len()).unwrap_or(0);
        if self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
        }
    }

    fn take(&self) -> Kept {
        let mut kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        kept.sender = kept.sender.filter(|sender| !sender.is_closed());
        kept
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>, closes: bool) {
        let sender = (!closes).then_some(sender);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept { sender, agreed: closes };
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        connect::connect(&self.store, endpoint, self.embedded.as_ref()).await
    }

    async fn same_store(&self, endpoint: &Endpoint) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        match self.take() {
            Kept { sender: Some(sender), .. } => Ok(sender),
            Kept { agreed: true, .. } => self.connect(endpoint).await,
            Kept { .. } => Err(ClientError::Closed { endpoint: connect::name(&self.store, endpoint) }),
        }
    }

    /// Over the kept connection, or over a new one; also when the kept one was closed just now.
    async fn once(&self, endpoint: &Endpoint, question: &Question<'_>) -> Result<Reply, ClientError> {
        if let Some(sender) = self.take().sender {
            match self.exchange(endpoint, sender, question).await {
                Err(error) if !error.sent() || *question.method == Method::GET => {}
                answer => return self.whole(endpoint, answer?).await,
            }
        }
        let response = self.exchange(endpoint, self.connect(endpoint).await?, question).await?;
        self.whole(endpoint, response).await
    }

    /// Sends, and waits for the head of the answer.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        mut sender: SendRequest<Full<Bytes>>,
        question: &Question<'_>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), ClientError> {
        let name = connect::name(&self.store, endpoint);
        let request = self.request(endpoint, question, &name)?;
        sender.ready().await.map_err(|error| ClientError::exchange(&name, &error))?;
        let response =
            sender.send_request(request).await.map_err(|error| ClientError::exchange(&name, &error))?;
        if response.status().is_redirection() && response.status() != StatusCode::NOT_MODIFIED {
            let location = response.headers().get(header::LOCATION);
            let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            let (status, location) = (response.status().as_u16(), location.unwrap_or_default());
            return Err(ClientError::Redirect { endpoint: name, status, location });
        }
        Ok((response, sender))
    }

    /// Reads the body, and keeps the connection if it may be kept.
    async fn whole(
        &self,
        endpoint: &Endpoint,
        (response, sender): (Response<Incoming>, SendRequest<Full<Bytes>>),
    ) -> Result<Reply, ClientError> {
        let name = connect::name(&self.store, endpoint);
        let closes = closes(&response);
        let (head, body) = response.into_parts();
        let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if announced.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > LIMIT as u64)
        {
            return Err(ClientError::TooLarge { endpoint: name, limit: LIMIT });
        }
        let body = read(body, &name).await?;
        self.keep(sender, closes);
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    fn request(
        &self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        name: &str,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let wrong = |problem: String| ClientError::Request { endpoint: name.to_owned(), problem };
        let mut request = Request::builder()
            .method(question.method)
            .uri(question.path)
            .header(header::HOST, connect::host(endpoint))
            .header(header::USER_AGENT, "weir")
            .header(header::ACCEPT, "*/*")
            .body(Full::new(question.body.clone()))
            .map_err(|error| wrong(error.to_string()))?;
        if let Some(token) = &self.store.token {
            let mut value = HeaderValue::from_str(&token.0)
                .map_err(|_| wrong("the token has characters that a header cannot have".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert("x-consul-token", value);
        }
        for (name, value) in question.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    fn timeout(&self, endpoint: &Endpoint, limit: Duration) -> ClientError {
        ClientError::Timeout { endpoint: connect::name(&self.store, endpoint), limit }
    }
}

impl Stream {
    /// The next piece; absent at the end.
    ///
    /// # Errors
    /// When the connection breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| ClientError::exchange(&self.endpoint, &error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The rest, up to [`LIMIT`].
    ///
    /// # Errors
    /// When the connection breaks off, or the rest is too large.
    pub async fn rest(self) -> Result<Bytes, ClientError> {
        read(self.body, &self.endpoint).await
    }
}

async fn read(mut body: Incoming, endpoint: &str) -> Result<Bytes, ClientError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ClientError::exchange(endpoint, &error))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > LIMIT {
            return Err(ClientError::TooLarge { endpoint: endpoint.to_owned(), limit: LIMIT });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The store says that it closes the connection (RFC 9112, section 9.3).
fn closes(response: &Response<Incoming>) -> bool {
    let says = |word: &str| {
        let values =
            response.headers().get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case(word))
    };
    says("close") || (response.version() == Version::HTTP_10 && !says("keep-alive"))
}

/// The endpoint is there and cannot answer now: 500 is what Consul says without a leader, 429 what it says to clients
/// with too many connections.
fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500..=504)
}
