//! etcd's v2 API: a list, then a wait for the next event behind it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::Instant;
use weir_discovery::{Pace, etcd2};
use weir_model::{Secret, Store};

use super::{AT_ONCE, Pauses, number, status_error, with_query, without_token};
use crate::client::{Client, ClientError};
use crate::follower::Follower;

pub(crate) async fn follow(follower: &mut Follower, store: &Store, path: &str) {
    let client = without_token(store, follower);
    let headers = authorization(store.token.as_ref());
    let mut pauses = Pauses::of(follower);
    let (mut pace, start) = (Pace::default(), Instant::now());
    loop {
        let read = Instant::now();
        let index = match list(follower, &client, path, &headers).await {
            Ok(index) => index,
            Err(error) => {
                let endpoint = client.endpoint();
                client.next_endpoint();
                pauses.failed(follower, &error, endpoint).await;
                continue;
            }
        };
        pauses.succeeded();
        let pause = pace.pause(start.elapsed(), read.elapsed());
        follower.meanwhile(tokio::time::sleep(pause)).await;
        if let Err(error) = wait(follower, &client, path, &headers, index).await {
            let endpoint = client.endpoint();
            pauses.failed(follower, &error, endpoint).await;
        }
    }
}

/// Reads everything. The answer is the index of the store.
async fn list(
    follower: &mut Follower,
    client: &Client,
    path: &str,
    headers: &HeaderMap,
) -> Result<u64, String> {
    let limit = AT_ONCE.min(follower.source.timeout.duration());
    // Without it the order is another one at each question, and each would be a change.
    let path = with_query(path, "recursive=true&sorted=true");
    let question = client.send(Method::GET, &path, headers.clone(), Bytes::new(), limit);
    let reply = follower.meanwhile(question).await.map_err(|error| error.to_string())?;
    let index = number(&reply.headers, "x-etcd-index");
    match (reply.status, index) {
        (StatusCode::OK | StatusCode::NOT_FOUND, Some(index)) => {
            let document =
                etcd2::list(&reply.body, &follower.source.template).map_err(|defect| defect.to_string())?;
            follower.adopt(index, client.endpoint(), document).await;
            Ok(index)
        }
        (StatusCode::OK, None) => {
            Err("its answer has no X-Etcd-Index; does the address lead to the store itself?".to_owned())
        }
        _ => Err(status_error(&reply)),
    }
}

/// Waits for the next event. That the store forgot the index, closes a silent connection or has no event within the
/// time is no failure: everything is read again.
async fn wait(
    follower: &mut Follower,
    client: &Client,
    path: &str,
    headers: &HeaderMap,
    index: u64,
) -> Result<(), String> {
    let path = with_query(path, &format!("wait=true&recursive=true&waitIndex={}", index.saturating_add(1)));
    let question = client.ask(&path, headers.clone(), follower.source.timeout.duration());
    let reply = match follower.meanwhile(question).await {
        Ok(reply) => reply,
        Err(ClientError::Timeout { .. } | ClientError::Closed { .. }) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    match etcd2::event(&reply.body) {
        Ok(()) if reply.status == StatusCode::OK => Ok(()),
        Ok(()) => Err(status_error(&reply)),
        Err(weir_discovery::Defect::Store { code: etcd2::EVENTS_CLEARED, .. }) => Ok(()),
        Err(defect) => Err(defect.to_string()),
    }
}

/// `user:password`, or a bearer token.
fn authorization(token: Option<&Secret>) -> HeaderMap {
    let value = token.map(|Secret(token)| match token.contains(':') {
        true => format!("Basic {}", STANDARD.encode(token)),
        false => format!("Bearer {token}"),
    });
    let mut headers = HeaderMap::new();
    if let Some(mut value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}
