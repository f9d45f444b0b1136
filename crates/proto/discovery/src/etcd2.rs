//! Documents of etcd's v2 API.

use serde::Deserialize;
use weir_model::Peer;

use crate::consul;
use crate::entry::Document;
use crate::error::{Defect, json};

#[derive(Deserialize)]
struct Body {
    node: Option<Node>,
    #[serde(rename = "errorCode")]
    error: Option<i64>,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    key: String,
    #[serde(default)]
    dir: bool,
    #[serde(default)]
    value: String,
    #[serde(default)]
    nodes: Vec<Node>,
}

/// `errorCode` of a key that does not exist.
const NOT_FOUND: i64 = 100;

/// `errorCode` of a wait for an index that the store has forgotten: it keeps 1000 events.
pub const EVENTS_CLEARED: i64 = 401;

/// Reads `GET /v2/keys/PATH?recursive=true&sorted=true`: one key, one peer, at any depth. A path that does not exist has none.
///
/// # Errors
/// When the store says so, or when the body is nothing of the v2 API.
pub fn list(body: &[u8], template: &Peer) -> Result<Document, Defect> {
    let mut document = Document::default();
    let body = read(body)?;
    match body {
        Body { error: Some(NOT_FOUND), .. } => {}
        Body { error: Some(code), message, .. } => return Err(Defect::Store { code, message }),
        Body { node: None, .. } => {
            return Err(Defect::Unreadable { problem: "it has no \"node\"".to_owned(), expected: EXPECTED });
        }
        Body { node: Some(root), .. } => {
            let mut nodes = vec![root];
            while let Some(node) = nodes.pop() {
                if node.dir {
                    nodes.extend(node.nodes.into_iter().rev());
                } else {
                    consul::key(&mut document, &node.key, node.value.as_bytes(), template);
                }
            }
        }
    }
    Ok(document)
}

/// Reads the answer to `?wait=true`: something changed, and the list has to be read again.
///
/// # Errors
/// When the store says so ([`EVENTS_CLEARED`] above all), or when the body is nothing of the v2 API.
pub fn event(body: &[u8]) -> Result<(), Defect> {
    match read(body)? {
        Body { error: Some(code), message, .. } => Err(Defect::Store { code, message }),
        _ => Ok(()),
    }
}

const EXPECTED: &str = "a node as etcd's /v2/keys gives it";

fn read(body: &[u8]) -> Result<Body, Defect> {
    json(body, EXPECTED)
}
