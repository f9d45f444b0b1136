//! Documents of etcd's v3 API as its JSON gateway writes them: bytes as base64, 64-bit numbers as text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_model::Peer;

use crate::consul;
use crate::entry::Document;
use crate::error::{self, Defect};

/// The keys with a prefix, as they are at one revision of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    revision: u64,
}

/// What a message of a watch means for the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The watch began, or goes on without an event.
    Nothing,
    Changed,
    /// The store ended the watch, because it has forgotten the revision: the keys have to be read again.
    Relist,
}

/// The body of `/v3/kv/range` for all keys with a prefix.
#[must_use]
pub fn range(prefix: &str) -> String {
    let (key, end) = bounds(prefix);
    json!({ "key": key, "range_end": end }).to_string()
}

/// The body of `/v3/watch` for all keys with a prefix, from a revision on.
#[must_use]
pub fn watch(prefix: &str, revision: u64) -> String {
    let (key, end) = bounds(prefix);
    json!({ "create_request": { "key": key, "range_end": end, "start_revision": revision.to_string() } })
        .to_string()
}

/// The end of a range is its prefix with the last byte one higher; `\0` stands for the end of all keys.
fn bounds(prefix: &str) -> (String, String) {
    let mut end = prefix.as_bytes().to_vec();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    let key = if prefix.is_empty() { &[0][..] } else { prefix.as_bytes() };
    (STANDARD.encode(key), STANDARD.encode(end))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Header {
    revision: Number,
}

/// The gateway writes 64-bit numbers as text, other JSON writers as numbers.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Number {
    #[default]
    Absent,
    Plain(u64),
    Text(String),
}

impl Number {
    fn value(&self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Plain(number) => *number,
            Self::Text(text) => text.parse().unwrap_or(0),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pair {
    key: String,
    value: String,
}

impl Pair {
    fn decode(&self) -> Result<(Vec<u8>, Vec<u8>), Defect> {
        let decode = |text: &str| {
            STANDARD.decode(text).map_err(|error| unreadable(format!("{text:?} is no base64: {error}")))
        };
        Ok((decode(&self.key)?, decode(&self.value)?))
    }
}

#[derive(Deserialize)]
struct RangeBody {
    header: Option<Header>,
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct WatchBody {
    result: Option<WatchResult>,
    error: Option<WatchError>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WatchResult {
    header: Header,
    canceled: bool,
    compact_revision: Number,
    cancel_reason: String,
    events: Vec<Event>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    /// `PUT`, which is left out, or `DELETE`.
    r#type: String,
    kv: Pair,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WatchError {
    grpc_code: i64,
    message: String,
}

const EXPECTED: &str = "an answer of etcd's JSON gateway";

fn unreadable(problem: String) -> Defect {
    Defect::Unreadable { problem, expected: EXPECTED }
}

impl Keys {
    /// Reads the answer to [`range`].
    ///
    /// # Errors
    /// When the store says so, or when the body is nothing of the gateway.
    pub fn list(body: &[u8]) -> Result<Self, Defect> {
        let range: RangeBody = error::json(body, EXPECTED)?;
        let Some(header) = range.header else { return Err(refusal(&error::json(body, EXPECTED)?)) };
        let values = range.kvs.iter().map(Pair::decode).collect::<Result<_, _>>()?;
        Ok(Self { values, revision: header.revision.value() })
    }

    /// Applies one message of the watch.
    ///
    /// # Errors
    /// When the store says so, or when the message is nothing of the gateway; the keys are then as they were.
    pub fn apply(&mut self, message: &[u8]) -> Result<Step, Defect> {
        let message: WatchBody = error::json(message, EXPECTED)?;
        if let Some(error) = message.error {
            return Err(Defect::Store { code: error.grpc_code, message: error.message });
        }
        let result = message.result.ok_or_else(|| unreadable("it has no \"result\"".to_owned()))?;
        if result.canceled {
            return match result.compact_revision.value() {
                0 => Err(Defect::Store {
                    code: 0,
                    message: format!("watch canceled: {}", result.cancel_reason),
                }),
                _ => Ok(Step::Relist),
            };
        }
        if result.events.is_empty() {
            return Ok(Step::Nothing);
        }
        let events: Vec<_> = result
            .events
            .iter()
            .map(|event| event.kv.decode().map(|pair| (event.r#type == "DELETE", pair)))
            .collect::<Result<_, _>>()?;
        for (deleted, (key, value)) in events {
            if deleted {
                self.values.remove(&key);
            } else {
                self.values.insert(key, value);
            }
        }
        self.revision = self.revision.max(result.header.revision.value());
        Ok(Step::Changed)
    }

    /// The revision of the store that these are from.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// One key, one peer, as in Consul's key-value store.
    #[must_use]
    pub fn document(&self, template: &Peer) -> Document {
        let mut document = Document::default();
        for (key, value) in &self.values {
            consul::key(&mut document, &String::from_utf8_lossy(key), value, template);
        }
        document
    }
}

/// The body of `/v3/auth/authenticate`.
#[must_use]
pub fn login(user: &str, password: &str) -> String {
    json!({ "name": user, "password": password }).to_string()
}

/// Reads the token out of the answer to [`login`].
///
/// # Errors
/// When the store refuses the password, or when the body is nothing of the gateway.
pub fn token(body: &[u8]) -> Result<String, Defect> {
    let value: Value = error::json(body, EXPECTED)?;
    match value.get("token").and_then(Value::as_str).filter(|token| !token.is_empty()) {
        Some(token) => Ok(token.to_owned()),
        None => Err(refusal(&value)),
    }
}

/// What the gateway says instead of an answer; etcd 3.4 writes its words as `error` and as `message`.
fn refusal(value: &Value) -> Defect {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    match text("message").or(text("error")) {
        Some(message) => {
            let code = value.get("code").and_then(Value::as_i64).unwrap_or_default();
            Defect::Store { code, message: message.to_owned() }
        }
        None => unreadable("it is no answer to this question".to_owned()),
    }
}
