//! `/v1/session/`.

use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use weir_registry::{Behavior, Command, Outcome, Refusal, ServiceCheck, SessionRequest, Topic};

use super::{Answer, Context, Reply, Request, Route, Shared, Verb, blocking, duration};

/// The largest body, in bytes.
const MOST: usize = 64 * 1024;
/// The node's own check: a session depends on it unless it names others.
const NODE_CHECK: &str = "serfHealth";
const DEFAULT_LOCK_DELAY: Duration = Duration::from_secs(15);
/// A lock delay below so many nanoseconds was meant in seconds.
const SECONDS_BELOW: i64 = 1_000;
const UUID_LENGTH: usize = 36;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/session/create", &[Verb::Put], create),
        Route::data("/v1/session/destroy/", &[Verb::Put], destroy),
        Route::data("/v1/session/renew/", &[Verb::Put], renew),
        Route::data("/v1/session/info/", &[Verb::Get], info).with_failed_reads(),
        Route::data("/v1/session/node/", &[Verb::Get], of_node).with_failed_reads(),
        Route::data("/v1/session/list", &[Verb::Get], list).with_failed_reads(),
    ]
}

/// `session/create`, as clients write it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Create {
    name: String,
    node: String,
    lock_delay: Value,
    behavior: String,
    #[serde(rename = "TTL")]
    ttl: String,
    checks: Option<Vec<String>>,
    node_checks: Option<Vec<String>>,
    service_checks: Vec<ServiceCheck>,
}

fn create(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move {
        let body = match request.body(MOST, "http_max_body_size") {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        create_from(&context, &body).await.unwrap_or_else(|refused| refused)
    })
}

async fn create_from(context: &Context, body: &[u8]) -> Result<Answer, Answer> {
    let wanted: Create = if body.is_empty() { Create::default() } else { context.decode(body)? };
    let session = session_request(wanted)?;
    let answer = serde_json::json!({ "ID": session.id });
    context.write(Command::SessionCreate(session)).await?;
    Ok(Answer::json(&answer))
}

fn session_request(wanted: Create) -> Result<SessionRequest, Answer> {
    let behavior = match wanted.behavior.as_str() {
        "" | "release" => Behavior::Release,
        "delete" => Behavior::Delete,
        other => return Err(failed(Refusal::Behavior(other.to_owned()).to_string())),
    };
    Ok(SessionRequest {
        id: crate::uuid::random().map_err(|error| failed(format!("no random numbers for an id: {error}")))?,
        name: wanted.name,
        node: wanted.node,
        lock_delay: lock_delay(&wanted.lock_delay)?,
        behavior,
        ttl: ttl(&wanted.ttl)?,
        ttl_text: wanted.ttl,
        node_checks: wanted.node_checks.or(wanted.checks).unwrap_or_else(|| vec![NODE_CHECK.to_owned()]),
        service_checks: wanted.service_checks,
    })
}

/// A number counts nanoseconds, a text is a duration; what is far too short for either was meant in seconds.
fn lock_delay(value: &Value) -> Result<Duration, Answer> {
    let nanos = match value {
        Value::Null => return Ok(DEFAULT_LOCK_DELAY),
        Value::String(text) => duration::parse(text)
            .ok_or_else(|| Answer::bad(format!("Request decode failed: time: invalid duration {text:?}")))?,
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)).unwrap_or(0)
        }
        other => {
            return Err(Answer::bad(format!(
                "Request decode failed: LockDelay is {other}; expected a duration like \"15s\""
            )));
        }
    };
    let nanos = if nanos < SECONDS_BELOW { nanos.saturating_mul(1_000_000_000) } else { nanos };
    Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()))
}

/// Nothing for a session that lasts until it is destroyed. The bounds are the registry's business.
fn ttl(text: &str) -> Result<Option<Duration>, Answer> {
    if text.is_empty() {
        return Ok(None);
    }
    let nanos = duration::parse(text)
        .ok_or_else(|| failed(format!("Session TTL '{text}' invalid: time: invalid duration {text:?}")))?;
    match u64::try_from(nanos) {
        Ok(0) => Ok(None),
        Ok(nanos) => Ok(Some(Duration::from_nanos(nanos))),
        Err(_) => Err(failed(format!("Invalid Session TTL '{nanos}', must be between [10s=24h0m0s]"))),
    }
}

fn destroy(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let id = match named(&request, "Missing session") {
            Ok(id) => id,
            Err(refused) => return refused,
        };
        if let Some(malformed) = malformed(&id) {
            return malformed;
        }
        match context.write(Command::SessionDestroy { id }).await {
            Ok(_) => Answer::json(&true),
            Err(refused) => refused,
        }
    })
}

fn renew(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let id = match named(&request, "Missing session") {
            Ok(id) => id,
            Err(refused) => return refused,
        };
        match context.write(Command::SessionRenew { id }).await {
            Ok(Outcome::Session(session)) => Answer::json(&[session]),
            Ok(_) => Answer::json(&true),
            Err(refused) => refused,
        }
    })
}

fn info(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let id = match named(&request, "Missing session") {
            Ok(id) => id,
            Err(refused) => return refused,
        };
        if let Some(malformed) = malformed(&id) {
            return malformed.failed_read();
        }
        blocking(&context, request, Topic::Sessions, move |state| {
            let reply = state.session(&id);
            (reply.index, Answer::json(&Vec::from_iter(&reply.data)))
        })
        .await
    })
}

fn of_node(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let node = match named(&request, "Missing node name") {
            Ok(node) => node,
            Err(refused) => return refused,
        };
        blocking(&context, request, Topic::Sessions, move |state| {
            let reply = state.node_sessions(&node);
            (reply.index, Answer::json(&reply.data))
        })
        .await
    })
}

fn list(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        blocking(&context, request, Topic::Sessions, |state| {
            let reply = state.sessions();
            (reply.index, Answer::json(&reply.data))
        })
        .await
    })
}

/// What Consul's index says of an id that can be nobody's.
fn malformed(id: &str) -> Option<Answer> {
    let text = format!("failed session lookup: index error: UUID must be {UUID_LENGTH} characters");
    (id.len() != UUID_LENGTH).then(|| failed(text))
}

fn named(request: &Request, missing: &str) -> Result<String, Answer> {
    if request.rest.is_empty() { Err(Answer::bad(missing)) } else { Ok(request.name()) }
}

fn failed(text: String) -> Answer {
    Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}
