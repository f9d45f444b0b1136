//! Commands and time: the only ways in which the state changes.

use crate::alarm::Alarm;
use crate::command::{Command, Outcome};
use crate::record::{Record, Table};
use crate::refusal::Refusal;
use crate::state::{Applied, Change, State, Time};
use crate::topic::Topic;

/// How many indexes of deleted keys, and of services and nodes that are gone, are remembered one by one.
const REMEMBERED: usize = 65_536;

impl State {
    /// Obeys a command or refuses it; refused, it has changed nothing.
    pub fn apply(&mut self, now: Time, command: Command) -> Applied {
        let before = self.clone();
        let mut change = self.change(now);
        match self.obey(&mut change, command) {
            Ok(outcome) => self.finish(change, outcome),
            Err(refusal) => {
                *self = before;
                let (records, topics) = (Vec::new(), Vec::new());
                Applied { outcome: Err(refusal), index: self.index, records, topics }
            }
        }
    }

    /// Does what is due: sessions and TTL checks end, services that were critical for too long go. Call it at
    /// [`State::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Time) -> Applied {
        let mut change = self.change(now);
        while let Some(alarm) = self.alarms.pop(now) {
            match alarm {
                Alarm::Session(id) => self.end_session(&mut change, &id),
                Alarm::Ttl(id) => self.ttl_expired(&mut change, &id),
                Alarm::Reap(id) => self.reap(&mut change, &id),
                Alarm::Delay(key) => change.remove(Table::Delay, key),
            }
        }
        self.finish(change, Outcome::Done)
    }

    pub(crate) fn change(&self, now: Time) -> Change {
        Change { now, index: self.index + 1, records: Vec::new(), topics: Vec::new(), health: false }
    }

    fn obey(&mut self, change: &mut Change, command: Command) -> Result<Outcome, Refusal> {
        match command {
            Command::Kv(write) => return self.kv_write(change, write).map(Outcome::Bool),
            Command::Txn(ops) => return self.txn(change, ops).map(Outcome::Txn),
            Command::SessionCreate(request) => {
                return self.session_create(change, request).map(Outcome::Session);
            }
            Command::SessionRenew { id } => {
                return self.session_renew(change, &id).map(Outcome::Session);
            }
            Command::SessionDestroy { id } => self.end_session(change, &id),
            Command::Register(registration) => self.register(change, registration)?,
            Command::Deregister(what) => self.deregister(change, &what)?,
            Command::AgentServiceRegister { service, checks, replace_checks } => {
                self.agent_service_register(change, service, checks, replace_checks)?;
            }
            Command::AgentServiceDeregister { id } => self.agent_service_deregister(change, &id),
            Command::AgentCheckRegister(check) => self.agent_check_register(change, check)?,
            Command::AgentCheckDeregister { id } => self.agent_check_deregister(change, &id),
            Command::CheckUpdate { id, status, output } => {
                self.check_update(change, &id, status, output)?;
            }
            Command::CheckRenew { id } => self.check_held(change, &id)?,
            Command::CheckResult { id, status, output } => {
                self.check_result(change, &id, status, output);
            }
            Command::ServiceMaintenance { id, reason } => {
                self.service_maintenance(change, &id, reason)?;
            }
            Command::NodeMaintenance { reason } => self.node_maintenance(change, reason),
        }
        Ok(Outcome::Done)
    }

    /// The index goes up with the records that say so.
    pub(crate) fn finish(&mut self, mut change: Change, outcome: Outcome) -> Applied {
        if change.health {
            self.update_aliases(&mut change);
        }
        self.forget(&mut change);
        if !change.records.is_empty() {
            self.index = change.index;
            change.put(Table::Meta, "index", &self.index);
        }
        Applied { outcome: Ok(outcome), index: self.index, records: change.records, topics: change.topics }
    }

    /// Notes that the answer about a topic changes with this index.
    pub(crate) fn touch(&mut self, change: &mut Change, topic: Topic) {
        if self.marks.get(&topic) == Some(&change.index) {
            return;
        }
        self.marks.insert_mut(topic.clone(), change.index);
        change.records.push(Record::put(Table::Mark, mark_key(&topic), &change.index));
        change.topics.push(topic);
    }

    /// Drops the older half of what is remembered about what is gone once it is too much; one number stands in for all
    /// of it.
    fn forget(&mut self, change: &mut Change) {
        if self.graves.size() > REMEMBERED {
            let old = older_half(self.graves.iter().map(|(key, index)| (key.clone(), *index)));
            for (key, index) in old {
                self.graves.remove_mut(&key);
                self.dropped = self.dropped.max(index);
                change.remove(Table::Grave, key);
            }
            change.put(Table::Meta, "dropped", &self.dropped);
        }
        if self.marks.size() > REMEMBERED + self.named.size() + self.nodes.size() {
            let gone = self.marks.iter().filter(|(topic, _)| self.is_gone(topic));
            for (topic, index) in older_half(gone.map(|(topic, index)| (topic.clone(), *index))) {
                self.marks.remove_mut(&topic);
                self.dropped = self.dropped.max(index);
                change.remove(Table::Mark, mark_key(&topic));
            }
            change.put(Table::Meta, "dropped", &self.dropped);
        }
    }

    fn is_gone(&self, topic: &Topic) -> bool {
        match topic {
            Topic::Service(name) => self.instances(name, &[]).next().is_none(),
            Topic::Node(name) => !self.nodes.contains_key(name),
            _ => false,
        }
    }
}

fn older_half<T>(all: impl Iterator<Item = (T, u64)>) -> Vec<(T, u64)> {
    let mut all: Vec<(T, u64)> = all.collect();
    all.sort_by_key(|(_, index)| *index);
    all.truncate(all.len() / 2);
    all
}

pub(crate) fn mark_key(topic: &Topic) -> Vec<u8> {
    serde_json::to_vec(topic).expect("a topic is valid JSON")
}
