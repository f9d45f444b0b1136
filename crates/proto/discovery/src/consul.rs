//! Documents of Consul's HTTP API: the key-value store, the catalog, the health of a service.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use weir_model::Peer;

use crate::attributes;
use crate::entry::{Document, Entry, Target};
use crate::error::{Defect, json};

#[derive(Deserialize)]
struct Pair<'a> {
    #[serde(rename = "Key", borrow)]
    key: Cow<'a, str>,
    #[serde(rename = "Value", borrow)]
    value: Option<Cow<'a, str>>,
}

/// Reads `/v1/kv/PREFIX?recurse`: one key, one peer. What follows the last `/` of a key is its address; a key that ends
/// with `/` is a folder and says nothing.
///
/// # Errors
/// When the body is not such a list at all.
pub fn keys(body: &[u8], template: &Peer) -> Result<Document, Defect> {
    let pairs: Vec<Pair<'_>> = json(body, "a list of keys as Consul's /v1/kv gives it")?;
    let mut document = Document::default();
    for pair in pairs {
        let value = STANDARD.decode(pair.value.as_deref().unwrap_or_default());
        match value {
            Ok(value) => key(&mut document, &pair.key, &value, template),
            Err(error) => document.reject(last(&pair.key), format_args!("its value is no base64: {error}")),
        }
    }
    Ok(document)
}

/// One key of a key-value store with the JSON object of its value; an empty value is all defaults.
pub(crate) fn key(document: &mut Document, key: &str, value: &[u8], template: &Peer) {
    let name = last(key);
    if name.is_empty() {
        return;
    }
    let mut entry = match Entry::parse(name, None, template) {
        Ok(entry) => entry,
        Err(why) => return document.reject(name, why),
    };
    if !value.trim_ascii().is_empty() {
        match serde_json::from_slice(value) {
            Ok(Value::Object(object)) => {
                attributes::object(&mut entry.peer, &object, |line| document.reject(name, line));
            }
            Ok(other) => {
                return document
                    .reject(name, format_args!(r#"its value is {other}, expected {{"weight":1}}"#));
            }
            Err(error) => {
                return document.reject(
                    name,
                    format_args!(r#"its value is no JSON ({error}), expected {{"weight":1}}"#),
                );
            }
        }
    }
    document.entries.push(entry);
}

fn last(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, last)| last)
}

#[derive(Deserialize)]
struct CatalogEntry<'a> {
    #[serde(rename = "Address", borrow, default)]
    node: Cow<'a, str>,
    #[serde(rename = "ServiceAddress", borrow, default)]
    address: Cow<'a, str>,
    #[serde(rename = "ServicePort", default)]
    port: i64,
    #[serde(rename = "ServiceTags", borrow, default)]
    tags: Option<Vec<Cow<'a, str>>>,
}

/// Reads `/v1/catalog/service/NAME`. A service without an address of its own has its node's.
///
/// # Errors
/// When the body is not such a list at all.
pub fn services(body: &[u8], template: &Peer) -> Result<Document, Defect> {
    let list: Vec<CatalogEntry<'_>> = json(body, "a list as Consul's /v1/catalog/service gives it")?;
    let mut document = Document::default();
    for one in list {
        service(&mut document, &one.address, &one.node, one.port, one.tags.as_deref(), template);
    }
    Ok(document)
}

#[derive(Deserialize)]
struct HealthEntry<'a> {
    #[serde(rename = "Node", borrow)]
    node: Node<'a>,
    #[serde(rename = "Service", borrow)]
    service: Service<'a>,
    #[serde(rename = "Checks", borrow, default)]
    checks: Option<Vec<CheckStatus<'a>>>,
}

#[derive(Deserialize)]
struct Node<'a> {
    #[serde(rename = "Address", borrow, default)]
    address: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Service<'a> {
    #[serde(rename = "Address", borrow, default)]
    address: Cow<'a, str>,
    #[serde(rename = "Port", default)]
    port: i64,
    #[serde(rename = "Tags", borrow, default)]
    tags: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
struct CheckStatus<'a> {
    #[serde(rename = "Status", borrow)]
    status: Cow<'a, str>,
}

/// Reads `/v1/health/service/NAME`. A service with a check that is `critical`, or in maintenance, is down; with one that
/// is otherwise not `passing` it drains. In both cases requests that run are not cut, and no new one comes; the upsync
/// module calls both down.
///
/// # Errors
/// When the body is not such a list at all.
pub fn health(body: &[u8], template: &Peer) -> Result<Document, Defect> {
    let list: Vec<HealthEntry<'_>> = json(body, "a list as Consul's /v1/health/service gives it")?;
    let mut document = Document::default();
    for one in list {
        let Service { address, port, tags } = one.service;
        let added = service(&mut document, &address, &one.node.address, port, tags.as_deref(), template);
        let checks = one.checks.unwrap_or_default();
        if let Some(peer) = added {
            let dead = |check: &CheckStatus<'_>| matches!(&*check.status, "critical" | "maintenance");
            peer.down = checks.iter().any(dead);
            peer.drain = !peer.down && (peer.drain || checks.iter().any(|check| check.status != "passing"));
        }
    }
    Ok(document)
}

fn service<'a>(
    document: &'a mut Document,
    address: &str,
    node: &str,
    port: i64,
    tags: Option<&[Cow<'_, str>]>,
    template: &Peer,
) -> Option<&'a mut Peer> {
    let host = if address.is_empty() { node } else { address };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let target = port.ok_or_else(|| "its port is none, expected 1 to 65535".to_owned());
    let target = match target.and_then(|port| Target::host(host, port)) {
        Ok(target) => target,
        Err(why) => {
            document.reject(&name, why);
            return None;
        }
    };
    let mut entry = Entry::new(target, name.clone(), template);
    let tags = tags.unwrap_or_default().iter().map(|tag| &**tag);
    attributes::tags(&mut entry.peer, tags, |line| document.reject(&name, line));
    document.entries.push(entry);
    document.entries.last_mut().map(|entry| &mut entry.peer)
}
