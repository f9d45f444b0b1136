//! `/v1/kv/`.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use weir_registry::{Command, KvWrite, Outcome, State, Topic};

use super::{Answer, Context, Query, Reply, Request, Route, Shared, Verb, blocking, parse_u64};

/// The largest value, in bytes: Consul's `kv_max_value_size`.
const MOST_VALUE: usize = 512 * 1024;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::data("/v1/kv/", &[Verb::Get, Verb::Put, Verb::Delete], kv)]
}

fn kv(context: Shared, request: Request) -> Reply {
    match request.verb {
        Verb::Get => Box::pin(async move { get(&context, request).await }),
        Verb::Put | Verb::Post => {
            Box::pin(async move { put(&context, request).await.unwrap_or_else(|refused| refused) })
        }
        Verb::Delete => {
            Box::pin(async move { delete(&context, request).await.unwrap_or_else(|refused| refused) })
        }
    }
}

async fn get(context: &Context, mut request: Request) -> Answer {
    let key = std::mem::take(&mut request.rest);
    if request.query.has("keys") {
        let separator = request.query.first("separator").unwrap_or_default().as_bytes().to_vec();
        let topic = Topic::Prefix(key.clone());
        return blocking(context, request, topic, move |state| keys(state, &key, &separator)).await;
    }
    if request.query.has("recurse") {
        let topic = Topic::Prefix(key.clone());
        return blocking(context, request, topic, move |state| list(state, &key)).await;
    }
    if key.is_empty() {
        return missing_key();
    }
    let raw = request.query.has("raw");
    let topic = Topic::Key(key.clone());
    blocking(context, request, topic, move |state| one(state, &key, raw)).await
}

fn keys(state: &State, prefix: &[u8], separator: &[u8]) -> (u64, Answer) {
    let reply = state.kv_keys(prefix, separator);
    let answer = if reply.data.is_empty() { not_found() } else { Answer::json(&reply.data) };
    (reply.index, answer)
}

fn list(state: &State, prefix: &[u8]) -> (u64, Answer) {
    let reply = state.kv_list(prefix);
    let answer = if reply.data.is_empty() { not_found() } else { Answer::json(&reply.data) };
    (reply.index, answer)
}

fn one(state: &State, key: &[u8], raw: bool) -> (u64, Answer) {
    let reply = state.kv(key);
    let answer = match &reply.data {
        None => not_found(),
        // A browser must neither guess a type nor run anything: the bytes are whatever somebody stored.
        Some(entry) if raw => Answer::bytes(Bytes::copy_from_slice(&entry.value), "text/plain")
            .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"))
            .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        Some(entry) => Answer::json(&[entry]),
    };
    (reply.index, answer)
}

async fn put(context: &Context, mut request: Request) -> Result<Answer, Answer> {
    if request.rest.is_empty() {
        return Err(missing_key());
    }
    conflicts(&request.query, &["acquire", "release", "cas"])?;
    let flags = number(&request.query, "flags")?.unwrap_or_default();
    let cas = number(&request.query, "cas")?;
    let value = request.body(MOST_VALUE, "kv_max_value_size")?.to_vec();
    let key = std::mem::take(&mut request.rest);
    let session = |name| request.query.first(name).map(str::to_owned);
    let write = if let Some(session) = session("acquire") {
        KvWrite::Acquire { key, value, flags, session }
    } else if let Some(session) = session("release") {
        KvWrite::Release { key, value, flags, session }
    } else if let Some(index) = cas {
        KvWrite::Cas { key, value, flags, index }
    } else {
        KvWrite::Set { key, value, flags }
    };
    write_key(context, write).await
}

async fn delete(context: &Context, mut request: Request) -> Result<Answer, Answer> {
    conflicts(&request.query, &["recurse", "cas"])?;
    let cas = number(&request.query, "cas")?;
    let key = std::mem::take(&mut request.rest);
    if request.query.has("recurse") {
        return write_key(context, KvWrite::DeleteTree { prefix: key }).await;
    }
    if key.is_empty() {
        return Err(missing_key());
    }
    let write = match cas {
        Some(index) => KvWrite::DeleteCas { key, index },
        None => KvWrite::Delete { key },
    };
    write_key(context, write).await
}

async fn write_key(context: &Context, write: KvWrite) -> Result<Answer, Answer> {
    let done = match context.write(Command::Kv(write)).await? {
        Outcome::Bool(done) => done,
        _ => true,
    };
    Ok(Answer::json(&done))
}

fn missing_key() -> Answer {
    Answer::bad("Missing key name")
}

fn not_found() -> Answer {
    Answer::empty(StatusCode::NOT_FOUND)
}

/// At most one of `names` may be asked for.
fn conflicts(query: &Query, names: &[&str]) -> Result<(), Answer> {
    if names.iter().filter(|name| query.has(name)).count() > 1 {
        return Err(Answer::bad(format!("Conflicting flags: {}", query.shown())));
    }
    Ok(())
}

fn number(query: &Query, name: &str) -> Result<Option<u64>, Answer> {
    let Some(text) = query.first(name) else { return Ok(None) };
    parse_u64(text).map(Some).map_err(|what| Answer::text(StatusCode::INTERNAL_SERVER_ERROR, what))
}
