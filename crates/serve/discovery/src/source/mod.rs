//! The ways to follow a source, one file each.

mod consul;
mod dns;
mod etcd2;
mod etcd3;
mod folder;

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use weir_discovery::Backoff;
use weir_model::{Origin, Store};

use crate::client::{Client, Reply};
use crate::follower::Follower;

/// An answer that is due at once may take so long, where the source may take longer for a blocking one.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Follows until it is dropped.
pub(crate) async fn follow(follower: &mut Follower) {
    match follower.source.origin.clone() {
        Origin::ConsulKv { store, path } => consul::follow(follower, &store, &path, consul::Kind::Keys).await,
        Origin::ConsulServices { store, path } => {
            consul::follow(follower, &store, &path, consul::Kind::Services).await
        }
        Origin::ConsulHealth { store, path } => {
            consul::follow(follower, &store, &path, consul::Kind::Health).await
        }
        Origin::Etcd2 { store, path } => etcd2::follow(follower, &store, &path).await,
        Origin::Etcd3 { store, prefix } => etcd3::follow(follower, &store, &prefix).await,
        Origin::Dns(query) => dns::follow(follower, &query).await,
        Origin::Folder { path } => folder::follow(follower, &path).await,
    }
}

/// The pauses after failures of a source.
struct Pauses(Backoff);

impl Pauses {
    fn of(follower: &Follower) -> Self {
        Self(Backoff::new(follower.source.interval.duration()))
    }

    /// Tells what is wrong, and waits.
    async fn failed(&mut self, follower: &mut Follower, error: &str, endpoint: String) {
        follower.failed(error, endpoint);
        self.quietly(follower).await;
    }

    async fn quietly(&mut self, follower: &mut Follower) {
        let pause = self.0.failed(fastrand::u64(..));
        follower.meanwhile(tokio::time::sleep(pause)).await;
    }

    fn succeeded(&mut self) {
        self.0.succeeded();
    }
}

/// What is wrong with an answer that has another status than the one of success.
fn status_error(reply: &Reply) -> String {
    let text: String = String::from_utf8_lossy(&reply.body).chars().take(200).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let remedy = match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; the token has to allow reading this path",
        StatusCode::NOT_FOUND => "; does the address lead to the store itself?",
        StatusCode::TOO_MANY_REQUESTS => "; raise http_max_conns_per_client of the store",
        _ => "",
    };
    if text.is_empty() {
        format!("it answers {} without a word{remedy}", reply.status)
    } else {
        format!("it answers {}: {text}{remedy}", reply.status)
    }
}

/// A number in a header of an answer.
fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// A path with more parameters than it has.
fn with_query(path: &str, parameters: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{parameters}")
}

/// The client of a store whose token is written into headers of another name than Consul's.
fn without_token(store: &Store, follower: &Follower) -> Client {
    Client::new(&Store { token: None, ..store.clone() }, follower.options.embedded.clone())
}
