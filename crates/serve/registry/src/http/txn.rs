//! `/v1/txn`: several operations on keys, all or none of them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_registry::{Command, KvEntry, Outcome, Refusal, TxnError, TxnOp, TxnVerb};

use super::{Answer, Context, Reply, Request, Route, Shared, Verb};
use crate::store::WriteError;

/// The largest body, in bytes: Consul's `txn_max_req_len`.
const MOST: usize = 512 * 1024;
const MOST_OPERATIONS: usize = 64;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::data("/v1/txn", &[Verb::Put], txn)]
}

/// One element of the body. Everything but `KV` is there to be refused by name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Operation {
    #[serde(rename = "KV")]
    kv: Option<KvOperation>,
    #[serde(rename = "Node")]
    node: Option<Value>,
    #[serde(rename = "Service")]
    service: Option<Value>,
    #[serde(rename = "Check")]
    check: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct KvOperation {
    verb: String,
    key: String,
    value: Option<String>,
    flags: u64,
    index: u64,
    session: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Results<'a> {
    results: Option<Vec<Row>>,
    errors: Option<&'a [TxnError]>,
    #[serde(flatten)]
    read: Option<ReadOnly>,
}

#[derive(Serialize)]
struct Row {
    #[serde(rename = "KV")]
    kv: Arc<KvEntry>,
}

/// What a transaction that only reads has in addition.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReadOnly {
    index: u64,
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
}

const READ_ONLY: ReadOnly = ReadOnly { index: 0, last_contact: 0, known_leader: true, consistency_level: "" };

fn txn(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move {
        match request.body(MOST, "txn_max_req_len") {
            Ok(body) => run(&context, &body).await.unwrap_or_else(|refused| refused),
            Err(refused) => refused,
        }
    })
}

async fn run(context: &Context, body: &[u8]) -> Result<Answer, Answer> {
    let unreadable = |what| Answer::bad(format!("Failed to parse body: {what}"));
    let operations: Option<Vec<Operation>> = context.parse(body).map_err(unreadable)?;
    let operations = operations.unwrap_or_default();
    if operations.len() > MOST_OPERATIONS {
        let text =
            format!("Transaction contains too many operations ({} > {MOST_OPERATIONS})", operations.len());
        return Err(Answer::text(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let operations = kv_operations(operations).map_err(unreadable)?;
    let reads = operations.iter().all(|one| TxnVerb::parse(&one.verb).is_none_or(TxnVerb::reads));
    let operations = known_operations(operations, reads)?;
    match context.try_write(Command::Txn(operations)).await {
        Ok(Outcome::Txn(entries)) => Ok(answer(StatusCode::OK, Some(entries), None, reads)),
        Ok(_) => Ok(answer(StatusCode::OK, Some(Vec::new()), None, reads)),
        Err(WriteError::Refused(Refusal::Txn(errors))) => Err(rolled_back(&errors, reads)),
        Err(error) => Err(super::context::refused(&error)),
    }
}

fn kv_operations(operations: Vec<Operation>) -> Result<Vec<KvOperation>, String> {
    let mut found = Vec::with_capacity(operations.len());
    for Operation { kv, node, service, check } in operations {
        if node.is_some() || service.is_some() || check.is_some() {
            return Err(
                "operations on Node, Service and Check are not supported; expected KV alone".to_owned()
            );
        }
        found.extend(kv);
    }
    Ok(found)
}

fn known_operations(operations: Vec<KvOperation>, reads: bool) -> Result<Vec<TxnOp>, Answer> {
    let mut known = Vec::with_capacity(operations.len());
    let mut errors = Vec::new();
    for (op_index, operation) in operations.into_iter().enumerate() {
        let KvOperation { verb, key, value, flags, index, session } = operation;
        let value = STANDARD
            .decode(value.unwrap_or_default())
            .map_err(|wrong| Answer::bad(format!("Failed to parse body: illegal base64 data: {wrong}")))?;
        match TxnVerb::parse(&verb) {
            Some(verb) => known.push(TxnOp { verb, key: key.into_bytes(), value, flags, index, session }),
            None => errors.push(TxnError { op_index, what: format!("unknown KV verb {verb:?}") }),
        }
    }
    if errors.is_empty() { Ok(known) } else { Err(rolled_back(&errors, reads)) }
}

/// 409 with what failed.
fn rolled_back(errors: &[TxnError], reads: bool) -> Answer {
    answer(StatusCode::CONFLICT, None, Some(errors), reads)
}

fn answer(
    status: StatusCode,
    entries: Option<Vec<Arc<KvEntry>>>,
    errors: Option<&[TxnError]>,
    reads: bool,
) -> Answer {
    let results = entries.map(|entries| entries.into_iter().map(|kv| Row { kv }).collect());
    let answer = Answer::json(&Results { results, errors, read: reads.then_some(READ_ONLY) }).status(status);
    if reads { answer.known_leader(true) } else { answer }
}
