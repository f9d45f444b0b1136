//! An instance as a key of nginx-upsync's layout, bound to a session.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::lease::{Problem, Wish};
use crate::plan::Instance;
use crate::transport::{Transport, escape_key};

const PATIENCE: Duration = Duration::from_secs(5);
/// The least that Consul takes.
const TTL: &str = "10s";
/// Beside `down`: who set it, so that nobody's other `down` is taken back.
const BY: &str = "down_by";
const SELF: &str = "weir service";

/// A row of `/v1/kv/`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    pub(crate) key: String,
    value: Option<String>,
    session: Option<String>,
    modify_index: u64,
}

impl Entry {
    /// The attributes; none where the value is not an object of JSON.
    pub(crate) fn attributes(&self) -> Map<String, Value> {
        let bytes = self.value.as_deref().and_then(|value| STANDARD.decode(value).ok()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Session {
    #[serde(alias = "Session", rename = "ID")]
    id: String,
}

pub(crate) fn name(prefix: &str, instance: &Instance) -> String {
    format!("{prefix}/{}", instance.address)
}

/// What a key has that nobody wrote before.
pub(crate) fn attributes(instance: &Instance) -> Map<String, Value> {
    let attributes = json!({ "weight": instance.plan.weight, "max_fails": 2, "fail_timeout": 10, "down": 0 });
    match attributes {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The session of the first line of a registration that lives as long as its connection.
pub(crate) fn session(line: &[u8]) -> Result<String, String> {
    let found: Session =
        serde_json::from_slice(line).map_err(|error| format!("an answer without a session: {error}"))?;
    Ok(found.id)
}

/// A session that has to be renewed, and deletes its keys when it ends.
pub(crate) async fn create_session(transport: &dyn Transport, key: &str) -> Result<String, String> {
    let body = json!({ "Name": format!("weir:{key}"), "TTL": TTL, "Behavior": "delete", "LockDelay": "0s" });
    let body = body.to_string().into_bytes();
    let reply = transport.send("PUT", "/v1/session/create", body, PATIENCE).await?;
    session(&reply.accepted()?)
}

pub(crate) async fn renew_session(transport: &dyn Transport, id: &str) -> Result<(), Problem> {
    let path = format!("/v1/session/renew/{id}");
    let reply = transport.send("PUT", &path, Vec::new(), PATIENCE).await.map_err(Problem::Failed)?;
    let unknown = reply.status == 404;
    reply
        .accepted()
        .map(drop)
        .map_err(|text| if unknown { Problem::Lost(text) } else { Problem::Failed(text) })
}

pub(crate) async fn destroy_session(transport: &dyn Transport, id: &str) -> Result<(), String> {
    let path = format!("/v1/session/destroy/{id}");
    transport.send("PUT", &path, Vec::new(), PATIENCE).await?.accepted().map(drop)
}

/// Makes the key what it should be: there, held by the session, and down or not.
pub(crate) async fn put(
    transport: &dyn Transport,
    key: &str,
    instance: &Instance,
    session: &str,
    wish: &Wish,
) -> Result<(), Problem> {
    let found = find(transport, key).await.map_err(Problem::Failed)?;
    let held = found.as_ref().and_then(|entry| entry.session.as_deref()) == Some(session);
    let before = found.as_ref().map(Entry::attributes).filter(|attributes| !attributes.is_empty());
    let mut after = before.clone().unwrap_or_else(|| attributes(instance));
    set_down(&mut after, !matches!(wish, Wish::Serve));
    if held && before.as_ref() == Some(&after) {
        return Ok(());
    }
    let value = Value::Object(after).to_string();
    let how = match &found {
        Some(entry) if held => format!("cas={}", entry.modify_index),
        Some(Entry { session: Some(old), .. }) => {
            // Of an earlier life of this instance: its address is here now.
            write(transport, key, &format!("release={old}"), &value).await?;
            format!("acquire={session}")
        }
        _ => format!("acquire={session}"),
    };
    write(transport, key, &how, &value).await
}

/// `down` as it is wished, unless somebody else has set it.
fn set_down(attributes: &mut Map<String, Value>, down: bool) {
    let own = attributes.get(BY).is_some_and(|by| by == SELF);
    if down && !is_down(attributes) {
        attributes.insert("down".to_owned(), 1.into());
        attributes.insert(BY.to_owned(), SELF.into());
    } else if !down && own {
        attributes.insert("down".to_owned(), 0.into());
        attributes.remove(BY);
    }
}

pub(crate) fn is_down(attributes: &Map<String, Value>) -> bool {
    match attributes.get("down") {
        Some(Value::Number(number)) => number.as_i64() != Some(0),
        Some(Value::String(text)) => text != "0",
        Some(Value::Bool(down)) => *down,
        _ => false,
    }
}

/// Sets or takes back `down` whoever set it, for operators.
pub(crate) async fn mark(transport: &dyn Transport, key: &str, down: bool) -> Result<(), String> {
    let entry = find(transport, key).await?.ok_or_else(|| format!("there is no key {key}"))?;
    let mut attributes = entry.attributes();
    attributes.insert("down".to_owned(), u8::from(down).into());
    attributes.remove(BY);
    let value = Value::Object(attributes).to_string();
    write(transport, key, &format!("cas={}", entry.modify_index), &value).await.map_err(Problem::text)
}

/// Writes a key that no session holds.
pub(crate) async fn set(transport: &dyn Transport, key: &str, value: &str) -> Result<(), String> {
    write(transport, key, "flags=0", value).await.map_err(Problem::text)
}

pub(crate) async fn delete(transport: &dyn Transport, key: &str) -> Result<(), String> {
    let path = format!("/v1/kv/{}", escape_key(key));
    transport.send("DELETE", &path, Vec::new(), PATIENCE).await?.accepted().map(drop)
}

async fn write(transport: &dyn Transport, key: &str, how: &str, value: &str) -> Result<(), Problem> {
    let path = format!("/v1/kv/{}?{how}", escape_key(key));
    let body = value.as_bytes().to_vec();
    let reply = transport.send("PUT", &path, body, PATIENCE).await.map_err(Problem::Failed)?;
    let gone = reply.status == 500 && reply.text().contains("session");
    let body =
        reply.accepted().map_err(|text| if gone { Problem::Lost(text) } else { Problem::Failed(text) })?;
    if body.starts_with(b"false") {
        return Err(Problem::Failed(format!("{key} was changed by somebody else just now")));
    }
    Ok(())
}

async fn find(transport: &dyn Transport, key: &str) -> Result<Option<Entry>, String> {
    Ok(entries(transport, &format!("{}?consistent", escape_key(key))).await?.into_iter().next())
}

/// All keys below a prefix.
pub(crate) async fn list(transport: &dyn Transport, prefix: &str) -> Result<Vec<Entry>, String> {
    entries(transport, &format!("{}/?recurse&consistent", escape_key(prefix))).await
}

async fn entries(transport: &dyn Transport, path: &str) -> Result<Vec<Entry>, String> {
    let reply = transport.send("GET", &format!("/v1/kv/{path}"), Vec::new(), PATIENCE).await?;
    if reply.status == 404 {
        return Ok(Vec::new());
    }
    let body = reply.accepted()?;
    serde_json::from_slice(&body).map_err(|error| format!("an answer that is not understood: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn down_is_taken_back_by_who_set_it() {
        let mut own = map(json!({ "weight": 3, "down": 0, "zone": "b" }));
        set_down(&mut own, true);
        assert_eq!(own, map(json!({ "weight": 3, "down": 1, "down_by": "weir service", "zone": "b" })));
        set_down(&mut own, false);
        assert_eq!(own, map(json!({ "weight": 3, "down": 0, "zone": "b" })));
        let mut others = map(json!({ "down": "1" }));
        set_down(&mut others, true);
        set_down(&mut others, false);
        assert_eq!(others, map(json!({ "down": "1" })));
    }
}
