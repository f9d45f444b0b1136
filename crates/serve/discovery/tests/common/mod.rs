//! What the tests of sources share: following one, fake stores, real ones.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod fake;
pub mod real;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_model::{
    Endpoint, Level, ListenAddress, Millis, Origin, Peer, PeerList, Source, Store, UpstreamKey,
};
use weir_serve_discovery::{Discovery, Log, Options, Update, What};

/// Far above what anything takes here; only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What is awaited comes, or the test fails with its name.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

/// One process that follows sources.
pub struct Process {
    pub discovery: Discovery,
    pub updates: UnboundedReceiver<Update>,
    pub lines: Arc<Mutex<Vec<(Level, String)>>>,
}

impl Process {
    pub fn new(state: Option<&Path>) -> Self {
        let (report, updates) = unbounded_channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log: Log = {
            let lines = Arc::clone(&lines);
            Arc::new(move |level, line| lines.lock().expect("no panic").push((level, line)))
        };
        let options =
            Options { state_folder: state.map(Into::into), embedded: None, report, log, substitute: None };
        Self { discovery: Discovery::new(options), updates, lines }
    }

    /// Follows one source of an upstream `app`.
    pub fn follow(&mut self, source: Source) {
        self.discovery.follow(vec![(key("app"), 0, source)]);
    }

    pub async fn update(&mut self) -> What {
        let update = soon("update", self.updates.recv()).await.expect("the discovery lives");
        assert_eq!((update.key, update.source), (key("app"), 0));
        update.what
    }

    /// The next list, after any number of failures.
    pub async fn list(&mut self) -> PeerList {
        loop {
            if let What::List(list) = self.update().await {
                return list;
            }
        }
    }

    /// The next list with these peers, whatever comes before it.
    pub async fn peers(&mut self, expected: &[&str]) -> PeerList {
        let mut seen = Vec::new();
        let wanted = async {
            loop {
                match self.updates.recv().await.expect("the discovery lives").what {
                    What::List(list) if addresses(&list) == expected => return list,
                    other => seen.push(other),
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wanted).await {
            Ok(list) => list,
            Err(_) => panic!("no list of {expected:?}, but {seen:#?}"),
        }
    }

    /// The next failure.
    /// The next failure; a list may come before it, because an index alone may move.
    pub async fn failure(&mut self) -> String {
        loop {
            if let What::Failed { error, .. } = self.update().await {
                return error;
            }
        }
    }

    pub fn errors(&self) -> Vec<String> {
        let lines = self.lines.lock().expect("no panic");
        lines.iter().filter(|(level, _)| *level <= Level::Error).map(|(_, line)| line.clone()).collect()
    }
}

pub fn key(name: &str) -> UpstreamKey {
    UpstreamKey { name: name.to_owned(), port: 0, implicit: false }
}

pub fn addresses(list: &PeerList) -> Vec<String> {
    list.peers.iter().map(|peer| peer.address.to_string()).collect()
}

pub fn source(origin: Origin) -> Source {
    Source {
        origin,
        template: Peer { max_fails: 2, ..Peer::new(ListenAddress::Unix(String::new()), "") },
        replaces_servers: true,
        interval: Millis(200),
        timeout: Millis(360_000),
        strong_dependency: false,
        dump: None,
    }
}

pub fn store(ports: &[u16]) -> Store {
    let endpoints = ports.iter().map(|port| Endpoint::Host { host: "127.0.0.1".to_owned(), port: *port });
    Store { endpoints: endpoints.collect(), token: None, tls: None }
}

pub fn consul_keys(ports: &[u16]) -> Origin {
    Origin::ConsulKv { store: store(ports), path: "/v1/kv/upstreams/app/".to_owned() }
}
