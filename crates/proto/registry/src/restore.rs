//! The state from its records, and the records of a state.

use std::sync::Arc;
use std::time::Duration;

use crate::alarm::Alarm;
use crate::apply::mark_key;
use crate::catalog::named_key;
use crate::command::Outcome;
use crate::record::{Corrupt, Record, Table, pair};
use crate::rows::{Node, Service, Session};
use crate::state::{Applied, Identity, State, Time};
use crate::topic::Topic;

/// How far the index jumps at every start: further than a disk can have lost writes that it had confirmed.
const RESTART_JUMP: u64 = 1000;

impl State {
    /// Builds the state from records, in any order. All times (TTL, lock delay, deregistration) begin anew: nothing
    /// expires because the registry was away. [`State::start`] comes next.
    ///
    /// # Errors
    /// The record that cannot be read.
    pub fn restore(
        identity: Identity,
        records: impl IntoIterator<Item = Record>,
        now: Time,
    ) -> Result<Self, Corrupt> {
        let mut state = Self::new(identity);
        for record in records {
            state.load(&record, now)?;
        }
        state.relink(now);
        Ok(state)
    }

    fn load(&mut self, record: &Record, now: Time) -> Result<(), Corrupt> {
        let name = || String::from_utf8(record.key.clone()).map_err(|_| record.flaw("the key is no UTF-8"));
        match record.table {
            Table::Meta => self.load_meta(record)?,
            Table::Kv => {
                let entry = Arc::new(record.read_kv()?);
                self.kv_index = self.kv_index.max(entry.modify_index);
                if let Some(session) = &entry.session {
                    self.locks.insert_mut((session.clone(), entry.key.clone()));
                }
                self.kv.insert_mut(entry.key.clone(), entry);
            }
            Table::Grave => {
                let index = record.read()?;
                self.kv_index = self.kv_index.max(index);
                self.graves.insert_mut(record.key.clone(), index);
            }
            Table::Mark => {
                let topic: Topic = serde_json::from_slice(&record.key)
                    .map_err(|e| record.flaw(format!("the key is no topic: {e}")))?;
                self.marks.insert_mut(topic, record.read()?);
            }
            Table::Session => {
                let (mut session, ttl): (Session, Option<Duration>) = record.read()?;
                session.ttl_length = ttl;
                self.sessions.insert_mut(name()?, Arc::new(session));
            }
            Table::Delay => {
                let delay: Duration = record.read()?;
                self.alarms.set(now.after(delay), Alarm::Delay(record.key.clone()));
            }
            Table::Node => {
                self.nodes.insert_mut(name()?, Arc::new(record.read::<Node>()?));
            }
            Table::Service => {
                let service = Arc::new(record.read::<Service>()?);
                let key = (service.node.to_lowercase(), service.id.clone());
                self.named.insert_mut(named_key(&service), Arc::clone(&service));
                self.services.insert_mut(key, service);
            }
            Table::Check => {
                let check = Arc::new(record.read_check()?);
                self.link_check(&check.node.to_lowercase(), &check);
            }
        }
        Ok(())
    }

    fn load_meta(&mut self, record: &Record) -> Result<(), Corrupt> {
        match record.key.as_slice() {
            b"index" => self.index = record.read()?,
            b"floor" => self.floor = record.read()?,
            b"dropped" => self.dropped = record.read()?,
            b"node" => self.previous = record.read()?,
            _ => return Err(record.flaw("no such number is known")),
        }
        Ok(())
    }

    /// Gives the own node its id, when neither the configuration nor the records have one.
    pub fn name_node(&mut self, id: String) {
        Arc::make_mut(&mut self.identity).node_id = id;
    }

    /// What follows from the rows once all are there.
    fn relink(&mut self, now: Time) {
        let previous = if self.previous.is_empty() { self.own() } else { self.previous.to_lowercase() };
        if self.identity.node_id.is_empty()
            && let Some(node) = self.nodes.get(&previous)
        {
            let id = node.id.clone();
            self.name_node(id);
        }
        let sessions: Vec<_> = self.sessions.values().cloned().collect();
        for session in sessions {
            self.arm_session(now, &session);
        }
        let checks: Vec<_> = self.checks_on(&previous).cloned().collect();
        for check in checks {
            self.arm_check(now, &check);
        }
    }

    /// Makes the state ready to serve: the index jumps, the own node is registered, and what was registered under
    /// another name of it moves. Once, after [`State::new`] or [`State::restore`].
    pub fn start(&mut self, now: Time) -> Applied {
        if self.index > 0 {
            self.index += RESTART_JUMP;
        }
        let mut change = self.change(now);
        let previous = std::mem::take(&mut self.previous).to_lowercase();
        self.register_self(&mut change);
        if !previous.is_empty() && previous != self.own() {
            self.move_from(&mut change, &previous);
        }
        change.put(Table::Meta, "node", &self.identity.node);
        self.finish(change, Outcome::Done)
    }

    /// The own node has a new name: its services, checks and sessions are still the own node's.
    fn move_from(&mut self, change: &mut crate::state::Change, previous: &str) {
        let name = self.identity.node.clone();
        let services: Vec<_> = self.services_on(previous).cloned().collect();
        for service in services {
            if service.id != crate::health::CONSUL {
                self.put_service(change, Service { node: name.clone(), ..Service::clone(&service) });
            }
        }
        let checks: Vec<_> = self.checks_on(previous).cloned().collect();
        for check in &checks {
            if check.check_id != crate::catalog::SERF {
                let check = crate::rows::Check { node: name.clone(), ..(**check).clone() };
                self.put_check(change, check);
            }
        }
        let of_node = |session: &&Arc<Session>| session.node.to_lowercase() == previous;
        let sessions: Vec<_> = self.sessions.values().filter(of_node).cloned().collect();
        for session in sessions {
            let moved = Session { node: name.clone(), ..Session::clone(&session) };
            change.put(Table::Session, moved.id.as_str(), &(&moved, moved.ttl_length));
            self.sessions.insert_mut(moved.id.clone(), Arc::new(moved));
            self.touch(change, Topic::Sessions);
        }
        self.remove_node(change, previous);
    }

    /// Another registry's records in place of this one's: what a snapshot is restored with. The index goes on from the
    /// higher of the two, and no answer has a lower one than any before. The result is started already; its records
    /// replace all that are on disk, and everybody is to be woken.
    ///
    /// # Errors
    /// The record that cannot be read; this state is as it was.
    pub fn replaced(&self, records: impl IntoIterator<Item = Record>, now: Time) -> Result<Self, Corrupt> {
        let mut state = Self::restore(self.identity().clone(), records, now)?;
        state.index = state.index.max(self.index) + 1;
        state.floor = state.index;
        state.start(now);
        Ok(state)
    }

    /// Everything as records: a state restored from them answers alike.
    #[must_use]
    pub fn records(&self, now: Time) -> Vec<Record> {
        let mut all = vec![
            Record::put(Table::Meta, "index", &self.index),
            Record::put(Table::Meta, "floor", &self.floor),
            Record::put(Table::Meta, "dropped", &self.dropped),
            Record::put(Table::Meta, "node", &self.identity.node),
        ];
        all.extend(self.kv.values().map(|entry| Record::kv(entry)));
        let graves = self.graves.iter();
        all.extend(graves.map(|(key, index)| Record::put(Table::Grave, key.clone(), index)));
        let marks = self.marks.iter();
        all.extend(marks.map(|(topic, index)| Record::put(Table::Mark, mark_key(topic), index)));
        all.extend(self.sessions.values().map(|session| {
            Record::put(Table::Session, session.id.as_str(), &(&**session, session.ttl_length))
        }));
        let delays = self.alarms.delays(now);
        all.extend(delays.map(|(key, delay)| Record::put(Table::Delay, key, &delay)));
        let nodes = self.nodes.iter();
        all.extend(nodes.map(|(key, node)| Record::put(Table::Node, key.as_str(), &**node)));
        all.extend(
            self.services
                .values()
                .map(|service| Record::put(Table::Service, pair(&service.node, &service.id), &**service)),
        );
        all.extend(self.checks.values().map(|check| Record::check(check)));
        all
    }
}
