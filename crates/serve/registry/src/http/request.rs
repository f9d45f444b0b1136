//! What a handler is asked: everything is owned and small, so that a request that waits costs little.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::StatusCode;

use super::Answer;

/// The methods that an endpoint can have; `OPTIONS` is answered by the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// What the connection has read of a request's head.
pub(crate) struct Head {
    pub(crate) method: String,
    /// Path and query as they were sent.
    pub(crate) target: Vec<u8>,
    /// `X-Consul-Token`, or what stands behind `Authorization: Bearer`.
    pub(crate) token: Option<String>,
}

/// What the connection has read of a request's body.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    /// Longer than anything that the route takes; the bytes that it has or, of a chunked one, "more than N".
    TooLarge(String),
}

/// One request to one endpoint.
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// What stands behind the route's path, percent-decoded: any bytes.
    pub(crate) rest: Vec<u8>,
    pub(crate) query: Query,
    /// The standard options; the defaults where the route ignores them.
    pub(crate) options: super::QueryOptions,
    pub(crate) body: Body,
    /// Who asks; absent where it is not asked over IP.
    pub(crate) peer: Option<IpAddr>,
}

impl Request {
    /// `rest` as a name.
    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&self.rest).into_owned()
    }

    /// The whole body, of at most `limit` bytes; once. `setting` is what Consul's documentation names for the limit.
    pub(crate) fn body(&mut self, limit: usize, setting: &str) -> Result<Bytes, Answer> {
        let size = match std::mem::replace(&mut self.body, Body::Whole(Bytes::new())) {
            Body::Whole(bytes) if bytes.len() <= limit => return Ok(bytes),
            Body::Whole(bytes) => bytes.len().to_string(),
            Body::TooLarge(size) => size,
        };
        let text = format!(
            "Request body({size} bytes) too large, max size: {limit} bytes. See https://www.consul.io/docs/agent/options.html#{setting}."
        );
        Err(Answer::text(StatusCode::PAYLOAD_TOO_LARGE, text).close())
    }
}

/// The decoded pairs behind `?`, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// As Go's `url.Query` reads: pairs with a malformed escape are left out, `+` is a space.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split(['&', ';']).filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(key)?, unescape(value)?))
        });
        Self(pairs.collect())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.first(key).is_some()
    }

    /// The first value of `key`; empty where the key stands without one.
    pub(crate) fn first(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// The query again, sorted by name, to be shown to who asked; without the token.
    pub(crate) fn shown(&self) -> String {
        let mut pairs: Vec<_> = self.0.iter().filter(|(name, _)| name != "token").collect();
        pairs.sort_by_key(|(name, _)| name);
        let pair = |(name, value): &&(String, String)| {
            format!("{}={}", super::path::escape(name.as_bytes()), super::path::escape(value.as_bytes()))
        };
        pairs.iter().map(pair).collect::<Vec<_>>().join("&")
    }

    /// Every value of `key`.
    pub(crate) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

fn unescape(text: &str) -> Option<String> {
    let bytes = percent_decode(text.replace('+', " ").as_bytes())?;
    Some(
        String::from_utf8(bytes)
            .unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()),
    )
}

/// The bytes that `text` stands for; nothing where a `%` is not followed by two hex digits.
pub(crate) fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (hex(rest.next()?)?, hex(rest.next()?)?);
        decoded.push(high << 4 | low);
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_go_reads_it() {
        let query = Query::parse("recurse&tag=a&tag=b%20c&bad=%zz&empty=&plus=a+b&index=7;wait=1s");
        assert!(query.has("recurse"));
        assert_eq!(query.first("recurse"), Some(""));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b c"]);
        assert!(!query.has("bad"));
        assert_eq!(query.first("plus"), Some("a b"));
        assert_eq!(query.first("wait"), Some("1s"));
    }

    #[test]
    fn an_escape_gives_any_byte_or_nothing() {
        assert_eq!(percent_decode(b"a%2Fb%ff"), Some(b"a/b\xff".to_vec()));
        assert_eq!(percent_decode(b"a%2"), None);
        assert_eq!(percent_decode(b"%+1"), None);
    }
}
