//! Upstreams, lists and a directory whose actions are kept.

use std::collections::HashMap;
use std::net::SocketAddr;

use weir_balance::{Bars, Member};
use weir_directory::{
    Action, AdminState, Change, Configured, Directory, Memory, Now, Order, PeerStatus, State, Transition,
    UpstreamStatus,
};
use weir_model::{
    Check, Endpoint, Keepalive, ListenAddress, Method, Millis, Origin, Peer, PeerList, Probe, Source, Store,
    Upstream, UpstreamKey,
};

pub(crate) const START: u64 = 1_700_000_000_000;

pub(crate) fn name(n: u16) -> String {
    format!("10.0.{}.{}:80", n / 256, n % 256)
}

pub(crate) fn peer(n: u16) -> Peer {
    let address: SocketAddr = name(n).parse().expect("an address");
    Peer::new(ListenAddress::Inet(address), &name(n))
}

pub(crate) fn source(path: &str, replaces_servers: bool) -> Source {
    let endpoints = vec![Endpoint::Host { host: "127.0.0.1".to_owned(), port: 8500 }];
    Source {
        origin: Origin::ConsulKv {
            store: Store { endpoints, ..Store::default() },
            path: format!("/v1/kv/{path}"),
        },
        template: peer(0),
        replaces_servers,
        interval: Millis(5000),
        timeout: Millis(300_000),
        strong_dependency: false,
        dump: None,
    }
}

pub(crate) fn check(default_down: bool) -> Check {
    Check {
        probe: Probe::Tcp,
        interval: Millis(1000),
        jitter: Millis(0),
        timeout: Millis(500),
        rise: 2,
        fall: 3,
        default_down,
        persistent: false,
        port: 0,
        keepalive_requests: 1,
    }
}

pub(crate) fn upstream(name: &str, peers: Vec<Peer>) -> Upstream {
    Upstream {
        name: name.to_owned(),
        implicit: false,
        port: 0,
        method: Method::RoundRobin,
        peers,
        keepalive: Keepalive::default(),
        zone: None,
        sticky: None,
        sources: Vec::new(),
        checks: Vec::new(),
        check_panic: true,
        park: Millis(0),
        resolver: None,
    }
}

pub(crate) fn list(index: u64, peers: Vec<Peer>) -> PeerList {
    PeerList { index, peers, endpoint: "http://127.0.0.1:8500".to_owned(), ..PeerList::default() }
}

pub(crate) fn key(name: &str) -> UpstreamKey {
    UpstreamKey { name: name.to_owned(), port: 0, implicit: false }
}

/// A directory, its clock, and what the data threads and the checks were told.
pub(crate) struct Rig {
    pub(crate) directory: Directory,
    pub(crate) now: Now,
    pub(crate) groups: HashMap<UpstreamKey, Vec<Member>>,
    pub(crate) publications: usize,
    pub(crate) transitions: Vec<Transition>,
    pub(crate) notes: Vec<String>,
    /// Verdicts with which checks began, of those that run.
    pub(crate) watched: HashMap<(UpstreamKey, usize, String), Option<bool>>,
    pub(crate) remembered: Memory,
    pub(crate) change: u64,
}

impl Rig {
    pub(crate) fn new(memory: Memory) -> Rig {
        Rig {
            directory: Directory::new(memory.clone()),
            now: Now { mono: 1000, unix: START },
            groups: HashMap::new(),
            publications: 0,
            transitions: Vec::new(),
            notes: Vec::new(),
            watched: HashMap::new(),
            remembered: memory,
            change: 0,
        }
    }

    pub(crate) fn of(upstreams: &[Upstream]) -> Rig {
        let mut rig = Rig::new(Memory::default());
        rig.configure(upstreams);
        rig
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono += ms;
        self.now.unix += ms;
    }

    /// Does everything that the directory asks for.
    pub(crate) fn run(&mut self) {
        while let Some(action) = self.directory.poll_action() {
            match action {
                Action::Publish { change, key, members } => {
                    assert!(change > self.change, "change {change} after {}", self.change);
                    self.change = change;
                    self.publications += 1;
                    self.groups.insert(key, members);
                }
                Action::Watch { key, index, peer, known, .. } => {
                    let before = self.watched.insert((key, index, peer.clone()), known);
                    assert_eq!(before, None, "{peer} was watched already");
                }
                Action::Unwatch { key, index, peer } => {
                    let before = self.watched.remove(&(key, index, peer.clone()));
                    assert!(before.is_some(), "{peer} was not watched");
                }
                Action::Remember => self.remembered = self.directory.memory(),
                Action::Note { text, .. } => self.notes.push(text),
                Action::Transition(transition) => self.transitions.push(transition),
            }
        }
    }

    pub(crate) fn configure(&mut self, upstreams: &[Upstream]) -> Configured {
        let configured = self.directory.configure(self.now, upstreams);
        assert!(configured.change > self.change);
        self.change = configured.change;
        self.groups.clear();
        for (upstream, members) in upstreams.iter().zip(&configured.members) {
            self.groups.insert(upstream.key(), members.clone());
        }
        self.run();
        configured
    }

    pub(crate) fn list(&mut self, name: &str, source: usize, list: PeerList) {
        self.directory.handle_list(self.now, &key(name), source, list);
        self.run();
    }

    pub(crate) fn check(&mut self, upstream: &str, n: u16, passed: bool, reason: &str) {
        self.directory.handle_check(self.now, &key(upstream), &name(n), 0, passed, false, reason.to_owned());
        self.run();
    }

    /// All data threads serve everything so far.
    pub(crate) fn serve(&mut self) {
        self.directory.handle_served(self.change);
        self.run();
    }

    pub(crate) fn set(&mut self, change: Change) -> Result<u64, weir_directory::SetError> {
        let result = self.directory.set(self.now, change);
        self.run();
        result
    }

    pub(crate) fn order(&mut self, n: u16, state: AdminState) -> u64 {
        self.set(order(n, state)).expect("an order that is obeyed")
    }

    pub(crate) fn status(&self, upstream: &str) -> UpstreamStatus {
        self.directory.status_of(self.now, upstream).expect("an upstream of this name")
    }

    pub(crate) fn peer(&self, n: u16) -> PeerStatus {
        let status = self.status("web");
        status.peers.into_iter().find(|peer| peer.address == name(n)).expect("a peer of this address")
    }

    pub(crate) fn state(&self, n: u16) -> State {
        self.peer(n).state
    }

    pub(crate) fn names(&self, upstream: &str) -> Vec<String> {
        self.groups[&key(upstream)].iter().map(|(spec, _)| spec.name.clone()).collect()
    }

    pub(crate) fn bars(&self, upstream: &str, n: u16) -> Bars {
        let members = &self.groups[&key(upstream)];
        let member = members.iter().find(|(spec, _)| spec.name == name(n)).expect("a member of this address");
        member.1.bars()
    }
}

pub(crate) fn order(n: u16, state: AdminState) -> Change {
    Change {
        upstream: "web".to_owned(),
        peer: name(n),
        order: Order::Set { state: Some(state), weight: None, percent: None },
        who: "ann@desk".to_owned(),
        reason: "release 42".to_owned(),
        expires_ms: None,
        force: false,
    }
}

pub(crate) fn weigh(n: u16, weight: u32) -> Change {
    Change {
        order: Order::Set { state: None, weight: Some(weight), percent: None },
        ..order(n, AdminState::Up)
    }
}
