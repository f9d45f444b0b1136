//! What a handler answers, with Consul's headers.

use std::rc::Rc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Serialize;

use super::pretty::pretty;
use crate::lease::Lease;

const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");

/// Status, headers and body of a response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// `?pretty` applies.
    json: bool,
    /// The response has no end as long as this is held: the body is its first line.
    pub(crate) lease: Option<Rc<Lease>>,
}

impl Answer {
    /// 200 with compact JSON.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("rows have string keys and no failing serializers");
        Self {
            status: StatusCode::OK,
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body: body.into(),
            json: true,
            lease: None,
        }
    }

    /// Plain text without a newline: Consul's form of every error.
    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))],
            body: text.into().into(),
            json: false,
            lease: None,
        }
    }

    /// 400 with a text.
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::text(StatusCode::BAD_REQUEST, text)
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), json: false, lease: None }
    }

    /// Bytes of another type.
    pub(crate) fn bytes(body: impl Into<Bytes>, content_type: &'static str) -> Self {
        Self {
            status: StatusCode::OK,
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static(content_type))],
            body: body.into(),
            json: false,
            lease: None,
        }
    }

    /// The connection stays with this lease.
    pub(crate) fn held(mut self, lease: Lease) -> Self {
        self.lease = Some(Rc::new(lease));
        self
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The three headers of every read of data; the index is at least 1 (a client treats 0 as "do not block").
    pub(crate) fn index(self, index: u64) -> Self {
        self.with(INDEX, HeaderValue::from(index.max(1))).known_leader(true)
    }

    pub(crate) fn known_leader(self, known: bool) -> Self {
        self.with(KNOWN_LEADER, HeaderValue::from_static(if known { "true" } else { "false" }))
            .with(LAST_CONTACT, HeaderValue::from_static("0"))
    }

    /// What a failed lookup of a session carries.
    pub(crate) fn failed_read(self) -> Self {
        self.with(INDEX, HeaderValue::from_static("1")).known_leader(false)
    }

    /// `X-Consul-Effective-Consistency`, of catalog and health reads.
    pub(crate) fn consistent(self) -> Self {
        self.with(CONSISTENCY, HeaderValue::from_static("leader"))
    }

    /// The connection ends after this response: the rest of the request is not read.
    pub(crate) fn close(self) -> Self {
        self.with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// Whether [`Answer::close`] was said.
    pub(crate) fn closes(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == header::CONNECTION)
    }

    /// What `?pretty` makes of it.
    pub(crate) fn indented(mut self) -> Self {
        if self.json {
            self.body = pretty(&self.body).into();
        }
        self
    }
}
