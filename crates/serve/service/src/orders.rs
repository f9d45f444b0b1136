//! One-time orders: register, deregister, drain and list.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::check::Check;
use crate::drain::{Proxy, quiet};
use crate::plan::{Form, Instance, Plan};
use crate::transport::{Log, Transport, escape};
use crate::{key, service};

const PATIENCE: Duration = Duration::from_secs(5);

/// One instance, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub service: String,
    pub id: String,
    pub address: String,
    /// `passing`, `warning`, `critical`, `maintenance`; of keys `up` and `down`.
    pub status: String,
    pub tags: Vec<String>,
}

/// Registers once, with a check that the registry runs itself, or as a key that stays until it is deleted. Returns the id,
/// or the key.
///
/// # Errors
/// A text for people.
pub async fn register(transport: &dyn Transport, plan: &Plan) -> Result<String, String> {
    let instance = Instance::of(plan).await?;
    if let Form::Key { prefix } = &plan.form {
        let key = key::name(prefix, &instance);
        key::set(transport, &key, &Value::Object(key::attributes(&instance)).to_string()).await?;
        return Ok(key);
    }
    let mut body = service::definition(&instance);
    let mut check = match &plan.check {
        Check::Tcp { port, .. } => {
            json!({ "TCP": std::net::SocketAddr::new(instance.address.ip(), *port).to_string() })
        }
        Check::Http { host, port, path } => json!({ "HTTP": url(&instance, host, *port, path) }),
    };
    if let Some(check) = check.as_object_mut() {
        let fields = json!({
            "CheckID": format!("service:{}", instance.id),
            "Interval": format!("{}ms", plan.interval.as_millis()), "Timeout": "2s",
            "SuccessBeforePassing": plan.rise.saturating_sub(1), "FailuresBeforeCritical": plan.fall.saturating_sub(1),
        });
        check.extend(fields.as_object().cloned().unwrap_or_default());
    }
    body.insert("Check".to_owned(), check);
    service::put(transport, "/v1/agent/service/register?replace-existing-checks=true", &Value::Object(body))
        .await?;
    Ok(instance.id)
}

/// What is 127.0.0.1 here is another machine for a registry elsewhere.
fn url(instance: &Instance, host: &str, port: u16, path: &str) -> String {
    let own = host == "127.0.0.1";
    let host = if own { instance.address.ip().to_string() } else { host.to_owned() };
    if host.contains(':') {
        format!("http://[{host}]:{port}{path}")
    } else {
        format!("http://{host}:{port}{path}")
    }
}

/// Done also when it is not there.
///
/// # Errors
/// A text for people.
pub async fn deregister(transport: &dyn Transport, form: &Form, id: &str) -> Result<(), String> {
    match form {
        Form::Service => service::deregister(transport, id).await,
        Form::Key { .. } => key::delete(transport, id).await,
    }
}

/// Takes an instance out of traffic, or puts it back. Given a peer `ADDRESS:PORT` and proxies, it waits until nobody is
/// served there, for at most `limit`: false says that it took longer.
///
/// # Errors
/// A text for people.
pub async fn drain(
    transport: Arc<dyn Transport>,
    form: &Form,
    id: &str,
    on: bool,
    wait: Option<(&str, &str, &[Proxy], Duration)>,
    log: &Log,
) -> Result<bool, String> {
    match form {
        Form::Service => {
            let done = service::maintenance(&*transport, id, on, "drained by weir service drain").await;
            done.map_err(crate::lease::Problem::text)?;
        }
        Form::Key { .. } => key::mark(&*transport, id, on).await?,
    }
    match wait {
        Some((upstream, peer, proxies, limit)) if on => {
            Ok(quiet(proxies, upstream, peer, Instant::now() + limit, log).await)
        }
        _ => Ok(true),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    node: Node,
    service: Service,
    #[serde(default)]
    checks: Vec<HealthCheck>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    address: String,
    port: u16,
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthCheck {
    #[serde(rename = "CheckID")]
    check_id: String,
    status: String,
}

/// The instances of one service, or of all of them; of keys, those below the prefix.
///
/// # Errors
/// A text for people.
pub async fn list(transport: &dyn Transport, form: &Form, name: Option<&str>) -> Result<Vec<Row>, String> {
    if let Form::Key { prefix } = form {
        return Ok(key::list(transport, prefix)
            .await?
            .iter()
            .map(|entry| row_of_key(prefix, entry))
            .collect());
    }
    let names: Vec<String> = match name {
        Some(name) => vec![name.to_owned()],
        None => {
            let all = ask(transport, "/v1/catalog/services").await?;
            let all: serde_json::Map<String, Value> = understood(&all)?;
            all.into_iter().map(|(name, _)| name).collect()
        }
    };
    let mut rows = Vec::new();
    for name in names {
        let found = ask(transport, &format!("/v1/health/service/{}", escape(&name))).await?;
        let found: Vec<Health> = understood(&found)?;
        rows.extend(found.into_iter().map(|health| row_of_service(&name, health)));
    }
    Ok(rows)
}

fn row_of_key(prefix: &str, entry: &key::Entry) -> Row {
    let attributes = entry.attributes();
    let address = entry.key.rsplit('/').next().unwrap_or_default().to_owned();
    let status = if key::is_down(&attributes) { "down" } else { "up" };
    Row {
        service: prefix.to_owned(),
        id: entry.key.clone(),
        address,
        status: status.to_owned(),
        tags: Vec::new(),
    }
}

fn row_of_service(name: &str, health: Health) -> Row {
    let any = |status: &str| health.checks.iter().any(|check| check.status == status);
    let status = match () {
        () if health.checks.iter().any(|check| check.check_id.contains("_maintenance")) => "maintenance",
        () if any("critical") => "critical",
        () if any("warning") => "warning",
        () => "passing",
    };
    let host = if health.service.address.is_empty() { health.node.address } else { health.service.address };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Row {
        service: name.to_owned(),
        id: health.service.id,
        address: format!("{host}:{}", health.service.port),
        status: status.to_owned(),
        tags: health.service.tags.unwrap_or_default(),
    }
}

async fn ask(transport: &dyn Transport, path: &str) -> Result<Vec<u8>, String> {
    transport.send("GET", path, Vec::new(), PATIENCE).await?.accepted()
}

fn understood<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("an answer that is not understood: {error}"))
}
