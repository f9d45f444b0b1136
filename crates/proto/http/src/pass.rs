//! The request that a peer gets (nginx document "ngx_http_proxy_module").

use weir_model::{ProxyTarget, Template};

use crate::answer::number;
use crate::evaluate::Scope;
use crate::request::{Request, UriState};
use crate::site::Place;
use crate::wire::uri::{Escape, escape};

/// Where `proxy_pass` leads for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Index into the upstreams of the configuration.
    Upstream(usize),
    /// A name that no upstream block has: an address, or a host to resolve.
    Host {
        host: String,
        port: u16,
    },
    Unix(String),
}

/// A target with the URI part that `proxy_pass` gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub target: Target,
    pub uri: Option<String>,
    /// The URI came from variables: it is the whole URI that is sent.
    pub whole_uri: bool,
}

/// Why `proxy_pass` with variables leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("invalid URL prefix in \"{0}\"")]
    Scheme(String),
    #[error("https is not supported in \"{0}\"")]
    Https(String),
    #[error("no host in upstream \"{0}\"")]
    NoHost(String),
    #[error("invalid port in upstream \"{0}\"")]
    Port(String),
}

/// Evaluates `proxy_pass` and sets `$proxy_host` and `$proxy_port`.
///
/// # Errors
/// When variables give something that is no http URL.
pub fn destination(
    request: &mut Request,
    scope: Scope<'_>,
    target: &ProxyTarget,
) -> Result<Destination, TargetError> {
    match target {
        ProxyTarget::Group { upstream, host, port, uri } => {
            request.proxy_host.clear();
            request.proxy_host.extend_from_slice(host.as_bytes());
            request.proxy_port.clear();
            request.proxy_port.extend_from_slice(port.as_bytes());
            Ok(Destination { target: Target::Upstream(*upstream), uri: uri.clone(), whole_uri: false })
        }
        ProxyTarget::Template(template) => evaluated(request, scope, template),
    }
}

fn evaluated(
    request: &mut Request,
    scope: Scope<'_>,
    template: &Template,
) -> Result<Destination, TargetError> {
    let url = String::from_utf8_lossy(&request.expanded(scope, template)).into_owned();
    if url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return Err(TargetError::Https(url));
    }
    let Some(rest) =
        url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).and_then(|_| url.get(7..))
    else {
        return Err(TargetError::Scheme(url));
    };
    if let Some(path) = rest.strip_prefix("unix:") {
        let (path, uri) = path.split_once(':').map_or((path, None), |(path, uri)| (path, Some(uri)));
        request.proxy_host = b"localhost".to_vec();
        request.proxy_port.clear();
        return Ok(Destination {
            target: Target::Unix(path.to_owned()),
            whole_uri: uri.is_some_and(|uri| !uri.is_empty()),
            uri: uri.filter(|uri| !uri.is_empty()).map(str::to_owned),
        });
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, uri) = rest.split_at(end);
    let uri = match uri.as_bytes().first() {
        None => None,
        Some(b'/') => Some(uri.to_owned()),
        Some(_) => Some(format!("/{uri}")),
    };
    let (host, port) = split_authority(authority).ok_or_else(|| TargetError::Port(url.clone()))?;
    if host.is_empty() {
        return Err(TargetError::NoHost(url));
    }
    request.proxy_host = match port {
        Some(80) | None => host.as_bytes().to_vec(),
        Some(_) => authority.as_bytes().to_vec(),
    };
    request.proxy_port = port.unwrap_or(80).to_string().into_bytes();
    let target = match known_group(scope, host, port) {
        Some(index) => Target::Upstream(index),
        None => Target::Host { host: host.to_owned(), port: port.unwrap_or(80) },
    };
    Ok(Destination { target, whole_uri: uri.is_some(), uri })
}

/// The `upstream` block of a name without port, or the group that another `proxy_pass` made of name and port.
fn known_group(scope: Scope<'_>, host: &str, port: Option<u16>) -> Option<usize> {
    let groups = &scope.site.upstreams;
    let mut key = (host.to_ascii_lowercase(), 0);
    if port.is_none()
        && let Some(&index) = groups.get(&key)
    {
        return Some(index);
    }
    key.1 = port.unwrap_or(80);
    groups.get(&key).copied()
}

fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let colon = match authority.rfind(']') {
        Some(end) => authority.get(end..)?.find(':').map(|at| at + end),
        None => authority.rfind(':'),
    };
    match colon {
        None => Some((authority, None)),
        Some(at) => {
            let port: u16 = authority.get(at + 1..)?.parse().ok()?;
            Some((authority.get(..at)?, Some(port)))
        }
    }
}

/// How the body goes to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    None,
    Known(u64),
    Chunked,
}

/// Writes the request line and head for the peer.
pub fn write_request(
    request: &mut Request,
    scope: Scope<'_>,
    place: &Place,
    destination: &Destination,
    body: BodyLength,
    out: &mut Vec<u8>,
) {
    let proxy = &place.settings.proxy;
    match &proxy.method {
        Some(template) => request.expand(scope, template, out),
        None => out.extend_from_slice(request.method()),
    }
    out.push(b' ');
    write_uri(request, place, destination, out);
    out.extend_from_slice(if proxy.http_1_0 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    write_host(request, scope, place, out);
    let mut content_length_set = false;
    for (name, template) in &proxy.set_headers {
        if name.eq_ignore_ascii_case("host") {
            continue;
        }
        content_length_set |= name.eq_ignore_ascii_case("content-length");
        let start = out.len();
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        let value = out.len();
        request.expand(scope, template, out);
        if out.len() == value {
            out.truncate(start);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    match body {
        BodyLength::Known(length) if !content_length_set => {
            out.extend_from_slice(b"Content-Length: ");
            number(length, out);
            out.extend_from_slice(b"\r\n");
        }
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        _ => {}
    }
    if proxy.pass_request_headers {
        for field in &request.head.fields {
            let name = request.text(field.name);
            if place.replaced_headers.iter().any(|replaced| name.eq_ignore_ascii_case(replaced.as_bytes())) {
                continue;
            }
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(request.text(field.value));
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_host(request: &mut Request, scope: Scope<'_>, place: &Place, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b"Host: ");
    let value = out.len();
    let own = place.settings.proxy.set_headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    if let Some((_, template)) = own {
        request.expand(scope, template, out);
    }
    // A request of version 1.1 without Host would be refused by its peer (RFC 9112, section 3.2).
    if out.len() == value && (own.is_none() || !place.settings.proxy.http_1_0) {
        out.extend_from_slice(&request.proxy_host);
    }
    if out.len() == value {
        out.truncate(start);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes the URI that goes to the peer.
pub fn write_uri(request: &Request, place: &Place, destination: &Destination, out: &mut Vec<u8>) {
    let rest = match &destination.uri {
        Some(uri) if destination.whole_uri => {
            out.extend_from_slice(uri.as_bytes());
            return;
        }
        None if request.uri_state == UriState::AsSent => {
            match request.head.absolute.as_ref() {
                Some(authority) => {
                    let path = request.text(authority.path);
                    if !path.starts_with(b"/") {
                        out.push(b'/');
                    }
                    out.extend_from_slice(path);
                }
                None => out.extend_from_slice(request.text(request.head.target)),
            }
            return;
        }
        Some(uri) if request.valid_location => {
            out.extend_from_slice(uri.as_bytes());
            let name = place.kind.name().len().min(request.uri.len());
            request.uri.get(name..).unwrap_or_default()
        }
        _ => &request.uri,
    };
    if request.quoted || request.internal {
        escape(Escape::Uri, rest, out);
    } else {
        out.extend_from_slice(rest);
    }
    if !request.args.is_empty() {
        out.push(b'?');
        out.extend_from_slice(&request.args);
    }
}
