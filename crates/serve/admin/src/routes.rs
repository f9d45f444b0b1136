//! Requests and their answers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use weir_directory::{Applied, Change, Order, PeerStatus, SetError, UpstreamStatus, nearest};

use crate::access::{Origin, Tokens};
use crate::answer::{Health, Listing, Obeyed};
use crate::control::Control;
use crate::metrics::{METRICS_TYPE, metrics};
use crate::orders::{Wish, word};
use crate::parse_time;
use crate::problem::Problem;

/// Bytes of a body.
const BODY: usize = 64 * 1024;
/// How long is waited where the request does not say it, and at most.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);

type Answer<T> = Result<Json<T>, Problem>;

pub(crate) fn router<C: Control>(control: C, tokens: Tokens) -> Router {
    Router::new()
        .route("/v1/health", get(health::<C>))
        .route("/metrics", get(exposed::<C>))
        .route("/v1/upstreams", get(list::<C>))
        .route("/v1/upstreams/{name}", get(show::<C>))
        .route("/v1/upstreams/{name}/wait-applied", get(wait_applied::<C>))
        .route("/v1/upstreams/{name}/peers/{*peer}", put(set::<C>).delete(forget::<C>))
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path", "try GET /v1/upstreams")
        })
        .method_not_allowed_fallback(|| async {
            let hint =
                "states are read by GET, and set by PUT and DELETE on /v1/upstreams/NAME/peers/ADDRESS";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method", hint)
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(Arc::new(tokens), admit))
        .with_state(control)
}

async fn admit(
    State(tokens): State<Arc<Tokens>>,
    Extension(origin): Extension<Origin>,
    request: Request,
    next: Next,
) -> Response {
    match tokens.admit(origin, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watch {
    index: Option<u64>,
    wait: Option<String>,
}

/// With `index` the answer waits until there is something newer, or `wait` is over.
async fn list<C: Control>(
    State(control): State<C>,
    query: Result<Query<Watch>, QueryRejection>,
) -> Answer<Listing> {
    let Query(query) = query.map_err(|error| Problem::bad(error.body_text(), "expected index and wait"))?;
    let patience = patience(query.wait.as_deref(), "wait")?;
    if let Some(known) = query.index
        && control.version().await == known
    {
        let _ = tokio::time::timeout(patience, control.changed(known)).await;
    }
    // In this order what is shown may be newer than the number, and is then shown once more; never older.
    let index = control.version().await;
    Ok(Json(Listing { index, upstreams: control.upstreams().await }))
}

fn patience(text: Option<&str>, name: &str) -> Result<Duration, Problem> {
    let Some(text) = text else { return Ok(PATIENCE) };
    let time = parse_time(text).map_err(|error| Problem::bad(format!("{name}: {error}"), "try 30s"))?;
    Ok(time.min(LONGEST))
}

async fn health<C: Control>(State(control): State<C>) -> Json<Health> {
    Json(Health::of(&control.upstreams().await))
}

async fn exposed<C: Control>(State(control): State<C>) -> impl IntoResponse {
    ([(CONTENT_TYPE, METRICS_TYPE)], metrics(&control.upstreams().await))
}

async fn find<C: Control>(control: &C, name: &str) -> Result<UpstreamStatus, Problem> {
    if let Some(found) = control.upstream(name.to_owned()).await {
        return Ok(found);
    }
    let all = control.upstreams().await;
    let near = nearest(name, all.iter().map(|upstream| upstream.name.as_str()));
    Err(SetError::UnknownUpstream { name: name.to_owned(), near }.into())
}

async fn show<C: Control>(State(control): State<C>, Path(name): Path<String>) -> Answer<UpstreamStatus> {
    find(&control, &name).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Barrier {
    index: u64,
    timeout: Option<String>,
}

async fn wait_applied<C: Control>(
    State(control): State<C>,
    Path(name): Path<String>,
    query: Result<Query<Barrier>, QueryRejection>,
) -> Answer<Applied> {
    const HINT: &str = "expected ?index=N&timeout=30s; N is the index that the store answered to the write";
    let Query(query) = query.map_err(|error| Problem::bad(error.body_text(), HINT))?;
    let patience = patience(query.timeout.as_deref(), "timeout")?;
    let index = query.index;
    match tokio::time::timeout(patience, control.wait_applied(name.clone(), index)).await {
        Ok(Some(applied)) => Ok(Json(applied)),
        Ok(None) => {
            find(&control, &name).await?;
            let error = format!("upstream {name} has no source that counts its changes");
            Err(Problem::new(StatusCode::CONFLICT, error, "only stores and registries have an index"))
        }
        Err(_) => {
            let Applied { index: heard, served } =
                control.applied(name.clone()).await.unwrap_or(Applied { index: 0, served: 0 });
            let error = format!("upstream {name} does not serve index {index} yet");
            let hint = if heard < index {
                format!(
                    "its source has told of index {heard} only: look at its error in /v1/upstreams/{name}"
                )
            } else {
                format!("index {heard} is on its way to the data threads; {served} is served")
            };
            let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, error, hint);
            Err(problem.with("index", heard).with("served", served))
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patience {
    wait: Option<Until>,
    timeout: Option<String>,
    who: Option<String>,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Until {
    /// Every data thread obeys.
    Served,
    /// And no request runs at the peer.
    Quiet,
}

const WAIT_HINT: &str = "expected ?wait=served or ?wait=quiet, and timeout=30s";

async fn set<C: Control>(
    State(control): State<C>,
    Path((upstream, peer)): Path<(String, String)>,
    Extension(origin): Extension<Origin>,
    query: Result<Query<Patience>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Obeyed> {
    let Query(query) = query.map_err(|error| Problem::bad(error.body_text(), WAIT_HINT))?;
    let body = body.map_err(|error| {
        Problem::new(error.status(), error.body_text(), format!("a body has at most {BODY} bytes"))
    })?;
    let wish = Wish::read(&body)?;
    let change = Change {
        upstream,
        peer,
        order: wish.order(),
        expires_ms: wish.span()?,
        who: wish.who.unwrap_or_else(|| origin.name()),
        reason: wish.reason,
        force: wish.force,
    };
    obey(&control, change, &query).await
}

async fn forget<C: Control>(
    State(control): State<C>,
    Path((upstream, peer)): Path<(String, String)>,
    Extension(origin): Extension<Origin>,
    query: Result<Query<Patience>, QueryRejection>,
) -> Answer<Obeyed> {
    let Query(query) = query.map_err(|error| Problem::bad(error.body_text(), WAIT_HINT))?;
    word("who", query.who.as_deref().unwrap_or_default())?;
    let change = Change {
        upstream,
        peer,
        order: Order::Forget,
        who: query.who.clone().unwrap_or_else(|| origin.name()),
        reason: String::new(),
        expires_ms: None,
        force: false,
    };
    obey(&control, change, &query).await
}

async fn obey<C: Control>(control: &C, change: Change, query: &Patience) -> Answer<Obeyed> {
    let patience = patience(query.timeout.as_deref(), "timeout")?;
    let (upstream, peer) = (change.upstream.clone(), change.peer.clone());
    let change = control.set(change).await?;
    // The order may have named the peer by its `server` line.
    let found = status(control, &upstream, &peer).await;
    let peer = found.as_ref().map_or(peer, |found| found.address.clone());
    let (mut served, mut quiet) = (false, false);
    let wait = async {
        if query.wait.is_some() {
            control.served(change).await;
            served = true;
        }
        if query.wait == Some(Until::Quiet) {
            control.quiet(upstream.clone(), peer.clone()).await;
            quiet = true;
        }
    };
    let in_time = tokio::time::timeout(patience, wait).await.is_ok();
    let status = status(control, &upstream, &peer).await;
    if in_time {
        return Ok(Json(Obeyed { change, served, quiet, peer: status }));
    }
    let active = status.as_ref().map_or(0, |peer| peer.active);
    let error = if served {
        format!("{active} requests still run at {peer} of upstream {upstream}")
    } else {
        "not all data threads have taken the order over".to_owned()
    };
    let problem =
        Problem::new(StatusCode::GATEWAY_TIMEOUT, error, "the order holds; send it again to wait longer");
    Err(problem.with("change", change).with("served", served).with("active", active))
}

fn status<C: Control>(
    control: &C,
    upstream: &str,
    peer: &str,
) -> impl Future<Output = Option<PeerStatus>> + Send {
    let asked = control.upstream(upstream.to_owned());
    async move {
        let mut peers = asked.await?.peers;
        let by_address = peers.iter().position(|found| found.address == peer);
        let place = by_address.or_else(|| peers.iter().position(|found| found.server == peer))?;
        Some(peers.swap_remove(place))
    }
}
