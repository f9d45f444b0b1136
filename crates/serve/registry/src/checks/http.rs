//! HTTP checks: 2xx passes, 429 warns, everything else is critical. Redirects are not followed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use weir_registry::Status;

use super::probe::{OUTPUT_LIMIT, Verdict, connect};
use super::tls;

/// Bytes of an answer's head that are taken.
const HEAD_LIMIT: usize = 16 * 1024;

/// The request of an HTTP check, as its definition says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) url: String,
    /// Empty: GET.
    pub(crate) method: String,
    pub(crate) header: BTreeMap<String, Vec<String>>,
    pub(crate) body: String,
    pub(crate) skip_verify: bool,
}

impl Ask {
    fn method(&self) -> &str {
        if self.method.is_empty() { "GET" } else { &self.method }
    }

    /// The beginning of an output that says why there was no answer: `Get "http://..."`.
    pub(crate) fn failed(&self) -> String {
        let mut method = self.method().to_lowercase();
        if let Some(first) = method.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        format!("{method} {:?}", self.url)
    }
}

pub(crate) async fn probe(ask: &Ask, timeout: Duration) -> Verdict {
    match exchange(ask, timeout).await {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::critical(format!("{}: {reason}", ask.failed())),
    }
}

async fn exchange(ask: &Ask, timeout: Duration) -> Result<Verdict, String> {
    let (uri, address) = destination(&ask.url)?;
    let request = request(ask, &uri)?;
    // The body has the rest of the time, less a little: a head that came in time counts although its body drips.
    let deadline = tokio::time::Instant::now() + timeout.mul_f32(0.95);
    let stream = connect(&address).await?;
    if uri.scheme_str() == Some("https") {
        let host = uri.host().unwrap_or_default();
        let stream = tls::handshake(stream, host, ask.skip_verify, &[]).await?;
        send(ask, request, stream, deadline).await
    } else {
        send(ask, request, stream, deadline).await
    }
}

/// The URL, and where to connect.
fn destination(url: &str) -> Result<(Uri, String), String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("the URL cannot be read ({error}); expected http://host:port/path"))?;
    let port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        other => {
            return Err(format!(
                "unsupported protocol scheme {:?}; expected http or https",
                other.unwrap_or_default()
            ));
        }
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a user in the URL is not sent; give an Authorization header instead".to_owned());
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("no Host in request URL")?;
    let address = format!("{host}:{}", uri.port_u16().unwrap_or(port));
    Ok((uri, address))
}

fn request(ask: &Ask, uri: &Uri) -> Result<Request<Full<Bytes>>, String> {
    let method = Method::from_bytes(ask.method().as_bytes())
        .map_err(|_| format!("invalid method {:?}", ask.method))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(Bytes::from(ask.body.clone())));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| format!("the path {path:?} cannot be sent"))?;
    *request.headers_mut() = headers(ask, uri)?;
    Ok(request)
}

fn headers(ask: &Ask, uri: &Uri) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in &ask.header {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("invalid header name {name:?}"))?;
        for value in values {
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("the value of header {name} cannot be sent"))?;
            headers.append(name.clone(), value);
        }
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host =
        HeaderValue::from_str(authority).map_err(|_| "the host of the URL cannot be sent".to_owned())?;
    headers.entry(HOST).or_insert(host);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("Weir Health Check"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("text/plain, text/*, */*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

async fn send<S>(
    ask: &Ask,
    request: Request<Full<Bytes>>,
    stream: S,
    deadline: tokio::time::Instant,
) -> Result<Verdict, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("no HTTP: {error}"))?;
    // The set ends the connection when this function ends, on its timeout too.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| format!("no HTTP answer: {error}"))?;
    let line = status_line(&response);
    let status = verdict(response.status());
    let moved = location(&response);
    let body = tokio::time::timeout_at(deadline, read(response.into_body()));
    let body = body.await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    Ok(Verdict { status, output: format!("HTTP {} {}: {line}{moved} Output: {text}", ask.method(), ask.url) })
}

fn verdict(status: StatusCode) -> Status {
    match status {
        status if status.is_success() => Status::Passing,
        StatusCode::TOO_MANY_REQUESTS => Status::Warning,
        _ => Status::Critical,
    }
}

fn status_line(response: &Response<Incoming>) -> String {
    let code = response.status();
    let sent = response
        .extensions()
        .get::<hyper::ext::ReasonPhrase>()
        .map(|reason| String::from_utf8_lossy(reason.as_bytes()));
    let reason = sent.as_deref().or(code.canonical_reason()).unwrap_or_default();
    format!("{} {reason}", code.as_str())
}

/// Where a redirect points, as it is the reason for the check's failure.
fn location(response: &Response<Incoming>) -> String {
    match response.headers().get(LOCATION).filter(|_| response.status().is_redirection()) {
        Some(location) => {
            format!(" (redirect to {}, not followed)", String::from_utf8_lossy(location.as_bytes()))
        }
        None => String::new(),
    }
}

/// The first bytes of a body; one that breaks off counts as far as it came.
async fn read(mut body: Incoming) -> Bytes {
    let mut taken = BytesMut::new();
    while taken.len() < OUTPUT_LIMIT {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    let room = OUTPUT_LIMIT - taken.len();
                    taken.extend_from_slice(data.get(..room).unwrap_or(&data));
                }
            }
            Some(Err(_)) | None => break,
        }
    }
    taken.freeze()
}
