//! Sessions: who holds locks, and what ends that.

use std::sync::Arc;
use std::time::Duration;

use crate::alarm::Alarm;
use crate::command::SessionRequest;
use crate::record::Table;
use crate::refusal::Refusal;
use crate::rows::{Behavior, Check, Session, Status};
use crate::state::{Change, State, Time};
use crate::topic::Topic;

/// Consul's bounds of a TTL.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 60 * 60);
/// A TTL is a lower bound; Consul ends a session after twice the time, and clients renew it with that in mind.
const TTL_MULTIPLIER: u32 = 2;
/// A longer delay is not kept up.
const MAX_LOCK_DELAY: Duration = Duration::from_secs(60);

impl State {
    pub(crate) fn session_create(
        &mut self,
        change: &mut Change,
        request: SessionRequest,
    ) -> Result<Arc<Session>, Refusal> {
        if let Some(refusal) = Refusal::of_session_id(&request.id) {
            return Err(refusal);
        }
        let ttl = request.ttl.filter(|ttl| !ttl.is_zero());
        if let Some(ttl) = ttl
            && !TTL.contains(&ttl)
        {
            return Err(Refusal::SessionTtl(ttl.as_nanos()));
        }
        let node_key = if request.node.is_empty() { self.own() } else { request.node.to_lowercase() };
        let node = self.nodes.get(&node_key).ok_or(Refusal::MissingNode)?.node.clone();
        for check in dependencies(&request.node_checks, &request.service_checks) {
            self.refuse_check(&node_key, check)?;
        }
        let session = Arc::new(Session {
            id: request.id,
            name: request.name,
            node,
            lock_delay: request.lock_delay,
            behavior: request.behavior,
            ttl: request.ttl_text,
            ttl_length: ttl,
            node_checks: request.node_checks,
            service_checks: request.service_checks,
            create_index: change.index,
            modify_index: change.index,
        });
        self.arm_session(change.now, &session);
        self.sessions.insert_mut(session.id.clone(), Arc::clone(&session));
        change.put(Table::Session, session.id.as_str(), &(&*session, ttl));
        self.touch(change, Topic::Sessions);
        Ok(session)
    }

    /// A session cannot depend on a check that is missing or critical.
    fn refuse_check(&self, node: &str, id: &str) -> Result<(), Refusal> {
        let check = self.check_on(node, id).ok_or_else(|| Refusal::MissingCheck(id.to_owned()))?;
        if check.status == Status::Critical {
            return Err(Refusal::CriticalCheck(id.to_owned()));
        }
        Ok(())
    }

    pub(crate) fn arm_session(&mut self, now: Time, session: &Session) {
        if let Some(ttl) = session.ttl_length {
            self.alarms.set(now.after(ttl * TTL_MULTIPLIER), Alarm::Session(session.id.clone()));
        }
    }

    pub(crate) fn session_renew(&mut self, change: &mut Change, id: &str) -> Result<Arc<Session>, Refusal> {
        if let Some(refusal) = Refusal::of_session_id(id) {
            return Err(refusal);
        }
        let session = self.sessions.get(id).cloned().ok_or_else(|| Refusal::UnknownSession(id.to_owned()))?;
        self.arm_session(change.now, &session);
        Ok(session)
    }

    /// Ends a session, whoever wants it; its locks go, and for the lock delay nobody gets them.
    pub(crate) fn end_session(&mut self, change: &mut Change, id: &str) {
        let Some(session) = self.sessions.get(id).cloned() else { return };
        self.sessions.remove_mut(id);
        self.alarms.clear(&Alarm::Session(id.to_owned()));
        change.remove(Table::Session, id);
        self.touch(change, Topic::Sessions);
        let delay = session.lock_delay.min(MAX_LOCK_DELAY);
        for key in self.held_by(id) {
            self.kv_invalidate(change, &key, session.behavior == Behavior::Delete);
            if !delay.is_zero() {
                change.put(Table::Delay, key.as_slice(), &delay);
                self.alarms.set(change.now.after(delay), Alarm::Delay(key));
            }
        }
    }

    fn held_by(&self, session: &str) -> Vec<Vec<u8>> {
        let first = (session.to_owned(), Vec::new());
        self.locks
            .range(first..)
            .take_while(|(holder, _)| holder == session)
            .map(|(_, key)| key.clone())
            .collect()
    }

    /// Ends the sessions that depend on a check which is critical or gone.
    pub(crate) fn end_sessions_of_check(&mut self, change: &mut Change, check: &Check) {
        let ended: Vec<String> = self
            .sessions
            .values()
            .filter(|session| session.node.eq_ignore_ascii_case(&check.node))
            .filter(|session| {
                dependencies(&session.node_checks, &session.service_checks).any(|id| id == check.check_id)
            })
            .map(|session| session.id.clone())
            .collect();
        for id in ended {
            self.end_session(change, &id);
        }
    }

    /// Ends the sessions of a node that is gone.
    pub(crate) fn end_sessions_of_node(&mut self, change: &mut Change, node: &str) {
        let ended: Vec<String> = self
            .sessions
            .values()
            .filter(|session| session.node.to_lowercase() == node)
            .map(|session| session.id.clone())
            .collect();
        for id in ended {
            self.end_session(change, &id);
        }
    }
}

fn dependencies<'a>(
    node_checks: &'a [String],
    service_checks: &'a [crate::rows::ServiceCheck],
) -> impl Iterator<Item = &'a str> {
    let services = service_checks.iter().map(|check| check.id.as_str());
    node_checks.iter().map(String::as_str).chain(services)
}
