//! A registry in memory with a clock in the test's hand; after every command it is built anew from its records beside.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::time::Duration;

use weir_registry::{
    Applied, Behavior, CheckDefinition, CheckKind, Command, Identity, KvWrite, Outcome, Record, Refusal,
    ServiceDefinition, SessionRequest, State, Table, Time, Topic,
};

pub(crate) const ONE: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const TWO: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";

pub(crate) struct Registry {
    pub(crate) state: State,
    pub(crate) now: Time,
    pub(crate) rows: BTreeMap<(Table, Vec<u8>), Record>,
    pub(crate) topics: Vec<Topic>,
}

pub(crate) fn identity() -> Identity {
    Identity {
        node: "Node-A".to_owned(),
        node_id: ONE.to_owned(),
        datacenter: "dc1".to_owned(),
        address: "192.0.2.1".to_owned(),
    }
}

impl Registry {
    pub(crate) fn new() -> Self {
        let state = State::new(identity());
        let mut registry = Self { state, now: Time(0), rows: BTreeMap::new(), topics: Vec::new() };
        let applied = registry.state.start(Time(0));
        registry.keep(applied).expect("nothing is refused");
        registry
    }

    pub(crate) fn keep(&mut self, applied: Applied) -> Result<Outcome, Refusal> {
        for record in applied.records {
            let key = (record.table, record.key.clone());
            if record.value.is_some() {
                self.rows.insert(key, record);
            } else {
                self.rows.remove(&key);
            }
        }
        self.topics = applied.topics;
        applied.outcome
    }

    pub(crate) fn apply(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let applied = self.state.apply(self.now, command);
        self.keep(applied)
    }

    pub(crate) fn done(&mut self, command: Command) {
        assert_eq!(self.apply(command), Ok(Outcome::Done));
    }

    pub(crate) fn kv(&mut self, write: KvWrite) -> bool {
        match self.apply(Command::Kv(write)) {
            Ok(Outcome::Bool(yes)) => yes,
            other => panic!("expected true or false, found {other:?}"),
        }
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) -> u64 {
        assert!(self.kv(KvWrite::Set { key: key.into(), value: value.into(), flags: 0 }));
        self.state.kv(key.as_bytes()).index
    }

    pub(crate) fn delete(&mut self, key: &str) {
        assert!(self.kv(KvWrite::Delete { key: key.into() }));
    }

    pub(crate) fn acquire(&mut self, key: &str, session: &str) -> bool {
        let (key, session) = (key.into(), session.to_owned());
        self.kv(KvWrite::Acquire { key, value: b"v".to_vec(), flags: 0, session })
    }

    pub(crate) fn release(&mut self, key: &str, session: &str) -> bool {
        let (key, session) = (key.into(), session.to_owned());
        self.kv(KvWrite::Release { key, value: b"r".to_vec(), flags: 0, session })
    }

    pub(crate) fn session(&mut self, request: SessionRequest) {
        let outcome = self.apply(Command::SessionCreate(request));
        assert!(matches!(outcome, Ok(Outcome::Session(_))), "{outcome:?}");
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        let until = Time(self.now.0 + u64::try_from(time.as_millis()).expect("a short time"));
        while let Some(due) = self.state.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let applied = self.state.handle_timeout(self.now);
            self.keep(applied).expect("nothing is refused");
        }
        self.now = until;
    }

    /// Built anew from the records, as after a crash.
    pub(crate) fn reopened(&self) -> Self {
        let records: Vec<_> = self.rows.values().cloned().collect();
        let now = Time(7_000_000);
        let mut state = State::restore(identity(), records, now).expect("its own records");
        let applied = state.start(now);
        let mut registry = Self { state, now, rows: self.rows.clone(), topics: Vec::new() };
        registry.keep(applied).expect("nothing is refused");
        registry
    }

    pub(crate) fn json(&self, value: &impl serde::Serialize) -> String {
        serde_json::to_string(value).expect("JSON")
    }
}

pub(crate) fn request(id: &str) -> SessionRequest {
    SessionRequest {
        id: id.to_owned(),
        name: String::new(),
        node: String::new(),
        lock_delay: Duration::from_secs(15),
        behavior: Behavior::Release,
        ttl: None,
        ttl_text: String::new(),
        node_checks: vec!["serfHealth".to_owned()],
        service_checks: Vec::new(),
    }
}

pub(crate) fn service(name: &str) -> ServiceDefinition {
    ServiceDefinition { name: name.to_owned(), ..ServiceDefinition::default() }
}

pub(crate) fn ttl(seconds: u64) -> CheckDefinition {
    let kind = CheckKind::Ttl { ttl: Duration::from_secs(seconds) };
    CheckDefinition { kind, ..CheckDefinition::default() }
}

pub(crate) fn register(service: ServiceDefinition, checks: Vec<CheckDefinition>) -> Command {
    Command::AgentServiceRegister { service, checks, replace_checks: false }
}
