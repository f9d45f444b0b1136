//! Consul's API and what speaks it: blocking queries.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use tokio::time::Instant;
use weir_discovery::{Answer, Defect, Document, Index, Pace, consul};
use weir_model::{Peer, Store};

use super::{AT_ONCE, Pauses, number, status_error, with_query};
use crate::client::{Client, ClientError, Reply};
use crate::follower::Follower;

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Keys,
    Services,
    Health,
}

impl Kind {
    fn read(self, body: &[u8], template: &Peer) -> Result<Document, Defect> {
        match self {
            Self::Keys => consul::keys(body, template),
            Self::Services => consul::services(body, template),
            Self::Health => consul::health(body, template),
        }
    }
}

/// A blocking question is answered after this, if nothing changes.
const WAIT: Duration = Duration::from_secs(300);

struct Query<'a> {
    client: Client,
    path: &'a str,
    kind: Kind,
    index: Index,
    wait: Duration,
    timeout: Duration,
    template: Peer,
}

pub(crate) async fn follow(follower: &mut Follower, store: &Store, path: &str, kind: Kind) {
    let timeout = follower.source.timeout.duration();
    let mut query = Query {
        client: Client::new(store, follower.options.embedded.clone()),
        path,
        kind,
        index: Index::default(),
        // Consul adds up to a sixteenth of it.
        wait: WAIT.min(timeout.mul_f32(0.8)),
        timeout,
        template: follower.source.template.clone(),
    };
    let mut pauses = Pauses::of(follower);
    // For a store that does not wait, or closes the connection after each answer: it is asked ever more seldom.
    let mut hasty = Pauses::of(follower);
    let (mut pace, start) = (Pace::default(), Instant::now());
    loop {
        let asked = Instant::now();
        let blocked = query.index.question() != 0;
        let endpoint = query.client.endpoint();
        let reply = match follower.meanwhile(query.ask()).await {
            Ok(reply) => reply,
            Err(error) => {
                // The store may be another one now, so everything is read again.
                query.index.restart();
                match error {
                    ClientError::Closed { .. } if blocked => hasty.quietly(follower).await,
                    error => pauses.failed(follower, &error.to_string(), endpoint).await,
                }
                continue;
            }
        };
        let answered = Instant::now();
        match query.judge(&reply) {
            Judged::Same => {
                follower.unchanged();
                if answered - asked < query.wait / 2 {
                    hasty.quietly(follower).await;
                } else {
                    hasty.succeeded();
                }
            }
            Judged::Lower(error) => pauses.failed(follower, &error, endpoint).await,
            Judged::Wrong(error) => {
                query.index.restart();
                query.client.next_endpoint();
                pauses.failed(follower, &error, endpoint).await;
            }
            Judged::Listed(index, document) => {
                follower.adopt(index, query.client.endpoint(), document).await;
                pauses.succeeded();
                if blocked {
                    hasty.succeeded();
                }
                let pause = match query.index.question() {
                    0 => follower.source.interval.duration(),
                    _ => pace.pause(start.elapsed(), answered.elapsed()),
                };
                if !pause.is_zero() {
                    follower.meanwhile(tokio::time::sleep(pause)).await;
                }
            }
        }
    }
}

enum Judged {
    /// The index of the list.
    Listed(u64, Document),
    Same,
    /// The store went back.
    Lower(String),
    Wrong(String),
}

impl Query<'_> {
    async fn ask(&self) -> Result<Reply, ClientError> {
        let index = self.index.question();
        let recurse = if self.kind == Kind::Keys { "recurse&" } else { "" };
        if index == 0 {
            let path = with_query(self.path, &format!("{recurse}index=0"));
            let limit = AT_ONCE.min(self.timeout);
            return self.client.send(Method::GET, &path, HeaderMap::new(), Bytes::new(), limit).await;
        }
        let wait = self.wait.as_millis();
        let path = with_query(self.path, &format!("{recurse}index={index}&wait={wait}ms"));
        self.client.ask(&path, HeaderMap::new(), self.timeout).await
    }

    fn judge(&mut self, reply: &Reply) -> Judged {
        let shown = number(&reply.headers, "x-consul-index");
        // A prefix without a key.
        let missing = reply.status == StatusCode::NOT_FOUND && self.kind == Kind::Keys && shown.is_some();
        if reply.status != StatusCode::OK && !missing {
            return Judged::Wrong(status_error(reply));
        }
        let before = self.index;
        let answer = self.index.answered(shown);
        match answer {
            Answer::Same => return Judged::Same,
            Answer::Lower => {
                let (shown, before) = (shown.unwrap_or_default(), before.question());
                return Judged::Lower(format!(
                    "its index went back from {before} to {shown}, so this answer is not believed and everything is read again"
                ));
            }
            Answer::Moved | Answer::Absent => {}
        }
        if missing {
            return Judged::Listed(shown.unwrap_or_default(), Document::default());
        }
        match self.kind.read(&reply.body, &self.template) {
            Ok(document) => Judged::Listed(shown.unwrap_or_default(), document),
            Err(defect) => Judged::Wrong(defect.to_string()),
        }
    }
}
