//! etcd's v3 API by its JSON gateway: a range, then a watch from the revision behind it.

use bytes::{Bytes, BytesMut};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::Instant;
use weir_discovery::etcd3::{self, Keys, Step};
use weir_discovery::{Defect, Pace};
use weir_model::{Secret, Store};

use super::{AT_ONCE, Pauses, status_error, without_token};
use crate::client::{Client, ClientError, LIMIT, Reply};
use crate::follower::Follower;

/// The paths of the gateway: `/v3` from etcd 3.4 on, `/v3beta` in 3.3 and 3.4.
const ROOTS: [&str; 2] = ["/v3", "/v3beta"];

struct Gateway<'a> {
    client: Client,
    prefix: &'a str,
    token: Option<Secret>,
    root: &'static str,
    /// With the authorization, once it is known.
    headers: Option<HeaderMap>,
}

pub(crate) async fn follow(follower: &mut Follower, store: &Store, prefix: &str) {
    let client = without_token(store, follower);
    let mut gateway = Gateway { client, prefix, token: store.token.clone(), root: ROOTS[0], headers: None };
    let mut pauses = Pauses::of(follower);
    loop {
        let keys = match follower.meanwhile(gateway.list()).await {
            Ok(keys) => keys,
            Err(error) => {
                let endpoint = gateway.client.endpoint();
                gateway.client.next_endpoint();
                pauses.failed(follower, &error, endpoint).await;
                continue;
            }
        };
        adopt(follower, &gateway, &keys).await;
        pauses.succeeded();
        match gateway.watch(follower, keys).await {
            Ok(()) => pauses.quietly(follower).await,
            Err(error) => {
                let endpoint = gateway.client.endpoint();
                pauses.failed(follower, &error, endpoint).await;
            }
        }
    }
}

async fn adopt(follower: &mut Follower, gateway: &Gateway<'_>, keys: &Keys) {
    let document = keys.document(&follower.source.template);
    follower.adopt(keys.revision(), gateway.client.endpoint(), document).await;
}

impl Gateway<'_> {
    /// Reads everything, after a login if one is needed.
    async fn list(&mut self) -> Result<Keys, String> {
        let body = etcd3::range(self.prefix);
        let mut reply = self.post("kv/range", body.clone()).await?;
        if reply.status == StatusCode::NOT_FOUND {
            self.root = ROOTS.into_iter().find(|root| *root != self.root).unwrap_or(ROOTS[0]);
            reply = self.post("kv/range", body).await?;
        }
        match (reply.status, Keys::list(&reply.body)) {
            (StatusCode::OK, Ok(keys)) => Ok(keys),
            (StatusCode::OK, Err(defect)) => Err(defect.to_string()),
            (status, read) => {
                // A token lives for some minutes only.
                if status == StatusCode::UNAUTHORIZED {
                    self.headers = None;
                }
                Err(match read {
                    Err(defect @ Defect::Store { .. }) => defect.to_string(),
                    _ => status_error(&reply),
                })
            }
        }
    }

    async fn post(&mut self, method: &str, body: String) -> Result<Reply, String> {
        let headers = self.authorized().await?;
        self.send(method, body, headers).await
    }

    async fn send(&self, method: &str, body: String, headers: HeaderMap) -> Result<Reply, String> {
        let path = format!("{}/{method}", self.root);
        let reply = self.client.send(Method::POST, &path, headers, body.into(), AT_ONCE).await;
        reply.map_err(|error| error.to_string())
    }

    /// `user:password` is changed into a token; another word is one.
    async fn authorized(&mut self) -> Result<HeaderMap, String> {
        if let Some(headers) = &self.headers {
            return Ok(headers.clone());
        }
        let mut headers = HeaderMap::new();
        if let Some(Secret(word)) = &self.token {
            let token = match word.split_once(':') {
                None => word.clone(),
                Some((user, password)) => self.login(user, password).await?,
            };
            let mut value = HeaderValue::try_from(token)
                .map_err(|_| "the token has characters that a header cannot have".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        self.headers = Some(headers.clone());
        Ok(headers)
    }

    async fn login(&self, user: &str, password: &str) -> Result<String, String> {
        let reply = self.send("auth/authenticate", etcd3::login(user, password), HeaderMap::new()).await?;
        match etcd3::token(&reply.body) {
            Ok(token) if reply.status == StatusCode::OK => Ok(token),
            Err(defect @ Defect::Store { .. }) => Err(format!("no login: {defect}")),
            _ => Err(format!("no login: {}", status_error(&reply))),
        }
    }

    /// Follows the events until everything has to be read again.
    async fn watch(&mut self, follower: &mut Follower, mut keys: Keys) -> Result<(), String> {
        let body = etcd3::watch(self.prefix, keys.revision().saturating_add(1));
        let path = format!("{}/watch", self.root);
        let headers = self.authorized().await?;
        let opened = follower.meanwhile(self.client.open(&path, headers, body.into(), AT_ONCE)).await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(ClientError::Closed { .. }) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        if stream.status != StatusCode::OK {
            return Err(format!("it answers {} to a watch", stream.status));
        }
        let mut lines = Lines::default();
        let (mut pace, start) = (Pace::default(), Instant::now());
        loop {
            let piece = follower.meanwhile(stream.next()).await.map_err(|error| error.to_string())?;
            let Some(piece) = piece else { return Err("it ended the watch".to_owned()) };
            let read = Instant::now();
            let mut changed = false;
            for line in lines.add(&piece)? {
                match keys.apply(&line).map_err(|defect| defect.to_string())? {
                    Step::Nothing => {}
                    Step::Changed => changed = true,
                    Step::Relist => return Ok(()),
                }
            }
            if changed {
                adopt(follower, self, &keys).await;
                let pause = pace.pause(start.elapsed(), read.elapsed());
                follower.meanwhile(tokio::time::sleep(pause)).await;
            }
        }
    }
}

/// Messages of a watch are lines.
#[derive(Default)]
struct Lines(BytesMut);

impl Lines {
    fn add(&mut self, piece: &Bytes) -> Result<Vec<Bytes>, String> {
        let mut from = self.0.len();
        self.0.extend_from_slice(piece);
        let mut lines = Vec::new();
        while let Some(end) = self.0.iter().skip(from).position(|byte| *byte == b'\n') {
            let line = self.0.split_to(from + end + 1).freeze();
            if !line.trim_ascii().is_empty() {
                lines.push(line);
            }
            from = 0;
        }
        if self.0.len() > LIMIT {
            return Err(format!("a message is longer than {LIMIT} bytes"));
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_their_lines_do() {
        let mut lines = Lines::default();
        let mut add = |text: &'static str| lines.add(&Bytes::from(text)).expect("short");
        assert_eq!(add("{\"a\""), Vec::<Bytes>::new());
        assert_eq!(add(":1}\n{\"b\":2}\n\n{\"c"), ["{\"a\":1}\n", "{\"b\":2}\n"]);
        assert_eq!(add("\":3}\n"), ["{\"c\":3}\n"]);
    }
}
