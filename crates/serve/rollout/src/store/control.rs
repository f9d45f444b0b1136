//! Servers whose states are in the proxies alone.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Entry;
use super::error::StoreError;
use crate::proxies::{Peer, Proxies, ProxyError};

/// How long one proxy may take until all its data threads obey.
const OBEY: Duration = Duration::from_secs(30);

pub(super) async fn peers(proxies: &Proxies) -> Result<Vec<Entry>, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    for (_, upstream) in proxies.read().await? {
        for peer in &upstream.peers {
            let name = peer.name();
            if !entries.iter().any(|entry| entry.address == name) {
                entries.push(Entry { address: name.to_owned(), attributes: attributes(peer) });
            }
        }
    }
    Ok(entries)
}

/// A proxy's words as the attributes of a key.
fn attributes(peer: &Peer) -> Map<String, Value> {
    let mut attributes = Map::new();
    attributes.insert("weight".to_owned(), json!(peer.weight));
    attributes.insert("down".to_owned(), json!(u8::from(peer.state.is_ordered())));
    if peer.backup {
        attributes.insert("backup".to_owned(), json!(1));
    }
    if let Some(percent) = peer.percent {
        attributes.insert("percent".to_owned(), json!(percent));
    }
    attributes
}

/// Tells every proxy, and waits until each obeys; an order that a proxy has already is sent again, because it may not
/// have been obeyed yet.
pub(super) async fn change(
    proxies: &Proxies,
    server: &str,
    alter: &(impl Fn(&mut Map<String, Value>) + Send + Sync),
) -> Result<(), StoreError> {
    let mut found = false;
    for (proxy, upstream) in proxies.read().await? {
        for peer in upstream.peers.iter().filter(|peer| peer.is(server)) {
            found = true;
            let before = attributes(peer);
            let mut after = before.clone();
            alter(&mut after);
            proxies.order(proxy, &peer.address, &wish(&before, &after), OBEY).await?;
        }
    }
    if found { Ok(()) } else { Err(ProxyError::UnknownServer { server: server.to_owned() }.into()) }
}

fn wish(before: &Map<String, Value>, after: &Map<String, Value>) -> Value {
    let down = after.get("down").is_some_and(|down| *down != json!(0) && *down != json!(false));
    let mut wish = json!({ "state": if down { "drain" } else { "up" }, "reason": "release" });
    for name in ["weight", "percent"] {
        if let Some(value) = after.get(name).filter(|value| before.get(name) != Some(value)) {
            wish[name] = value.clone();
        } else if name == "percent" && before.contains_key(name) && !after.contains_key(name) {
            wish[name] = json!(100);
        }
    }
    wish
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn only_what_changed_is_ordered() {
        let before = object(json!({ "weight": 5, "down": 0, "percent": 10 }));
        let wished = |after: Value| wish(&before, &object(after));
        assert_eq!(
            wished(json!({ "weight": 5, "down": 1, "percent": 10 })),
            json!({ "state": "drain", "reason": "release" })
        );
        assert_eq!(
            wished(json!({ "weight": 5, "down": 0 })),
            json!({ "state": "up", "reason": "release", "percent": 100 })
        );
    }
}
