//! An instance as a service of the agent, with a check that is reported.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::lease::{Problem, Wish};
use crate::plan::Instance;
use crate::transport::{Transport, escape};

const PATIENCE: Duration = Duration::from_secs(5);
/// A service whose lease has run out, or whose check fails, stays for so long, out of traffic.
const REAP: &str = "10m";

/// The body of `agent/service/register`, without its check.
pub(crate) fn definition(instance: &Instance) -> Map<String, Value> {
    let plan = &instance.plan;
    let meta: Map<String, Value> =
        plan.meta.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let definition = json!({
        "Name": plan.service, "ID": instance.id, "Tags": plan.tags, "Meta": meta,
        "Address": instance.address.ip().to_string(), "Port": instance.address.port(),
        "Weights": { "Passing": plan.weight, "Warning": plan.weight },
    });
    match definition {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Registers with a check that has to be renewed.
pub(crate) async fn register(
    transport: &dyn Transport,
    instance: &Instance,
    wish: &Wish,
) -> Result<(), String> {
    let mut body = definition(instance);
    let check = json!({
        "CheckID": format!("service:{}", instance.id), "Name": "weir service run",
        "TTL": format!("{}s", instance.plan.ttl.as_secs()), "Status": wish.first_status(),
        "DeregisterCriticalServiceAfter": REAP,
    });
    body.insert("Check".to_owned(), check);
    put(transport, "/v1/agent/service/register?replace-existing-checks=true", &Value::Object(body)).await
}

/// The query of a registration that lives as long as its connection.
pub(crate) fn query(instance: &Instance, wish: &Wish) -> String {
    let plan = &instance.plan;
    let mut query = format!(
        "/v1/weir/register?service={}&id={}&address={}&port={}&status={}",
        escape(&plan.service),
        escape(&instance.id),
        instance.address.ip(),
        instance.address.port(),
        wish.first_status(),
    );
    for tag in &plan.tags {
        query.push_str(&format!("&tag={}", escape(tag)));
    }
    for (key, value) in &plan.meta {
        query.push_str(&format!("&meta={}", escape(&format!("{key}:{value}"))));
    }
    if plan.weight != 1 {
        query.push_str(&format!("&weight={}", plan.weight));
    }
    query
}

/// Says how the instance is, which also renews its check.
pub(crate) async fn report(
    transport: &dyn Transport,
    instance: &Instance,
    wish: &Wish,
) -> Result<(), Problem> {
    let path = format!("/v1/agent/check/update/{}", escape(&format!("service:{}", instance.id)));
    let body = json!({ "Status": wish.status(), "Output": wish.output() });
    told(transport, &path, &body).await
}

pub(crate) async fn maintenance(
    transport: &dyn Transport,
    id: &str,
    on: bool,
    reason: &str,
) -> Result<(), Problem> {
    let path = format!("/v1/agent/service/maintenance/{}?enable={on}&reason={}", escape(id), escape(reason));
    told(transport, &path, &Value::Null).await
}

/// Done also when there is no such service.
pub(crate) async fn deregister(transport: &dyn Transport, id: &str) -> Result<(), String> {
    let path = format!("/v1/agent/service/deregister/{}", escape(id));
    match told(transport, &path, &Value::Null).await {
        Ok(()) => Ok(()),
        Err(Problem::Lost(text)) if text.contains("nknown service") => Ok(()),
        Err(problem) => Err(problem.text()),
    }
}

pub(crate) async fn put(transport: &dyn Transport, path: &str, body: &Value) -> Result<(), String> {
    told(transport, path, body).await.map_err(Problem::text)
}

/// 404 and 500 are what agents say of what they do not know.
async fn told(transport: &dyn Transport, path: &str, body: &Value) -> Result<(), Problem> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let reply = transport.send("PUT", path, body, PATIENCE).await.map_err(Problem::Failed)?;
    let unknown = matches!(reply.status, 404 | 500);
    reply
        .accepted()
        .map(drop)
        .map_err(|text| if unknown { Problem::Lost(text) } else { Problem::Failed(text) })
}
