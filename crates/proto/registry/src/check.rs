//! Checks of the own node: what becomes of their results, and of time.

use std::sync::Arc;
use std::time::Duration;

use crate::alarm::Alarm;
use crate::catalog::check_row;
use crate::command::{CheckDefinition, CheckKind};
use crate::refusal::Refusal;
use crate::rows::{Check, Status};
use crate::state::{Change, State, Time};

/// How long a probe may take when its definition does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// A service is critical for at least so long before it goes.
const REAP_FLOOR: Duration = Duration::from_secs(1);

impl State {
    pub(crate) fn agent_check_register(
        &mut self,
        change: &mut Change,
        mut definition: CheckDefinition,
    ) -> Result<(), Refusal> {
        if definition.check_id.is_empty() {
            definition.check_id.clone_from(&definition.name);
        }
        if definition.check_id.is_empty() {
            return Err(Refusal::NoCheckName);
        }
        refuse_definition(&definition)?;
        if definition.kind.probes() && definition.timeout.is_zero() {
            definition.timeout = DEFAULT_TIMEOUT;
        }
        if definition.name.is_empty() {
            definition.name.clone_from(&definition.check_id);
        }
        let service_id = definition.service_id.clone();
        let check = self
            .join_service(check_row(&self.identity.node, definition))
            .ok_or(Refusal::NoSuchService(service_id))?;
        self.disarm_check(&check.check_id);
        self.arm_check(change.now, &check);
        self.put_check(change, check);
        Ok(())
    }

    /// Starts the clocks of a check of the own node: it has its whole time from now on.
    pub(crate) fn arm_check(&mut self, now: Time, check: &Check) {
        if let CheckKind::Ttl { ttl } = check.kind {
            self.alarms.set(now.after(ttl), Alarm::Ttl(check.check_id.clone()));
        }
        self.arm_reap(now, check);
    }

    /// The service goes after a time of being critical without a break.
    pub(crate) fn arm_reap(&mut self, now: Time, check: &Check) {
        let alarm = Alarm::Reap(check.check_id.clone());
        if check.status != Status::Critical || check.deregister_after.is_zero() {
            self.alarms.clear(&alarm);
        } else if self.alarms.at(&alarm).is_none() {
            self.alarms.set(now.after(check.deregister_after.max(REAP_FLOOR)), alarm);
        }
    }

    pub(crate) fn disarm_check(&mut self, id: &str) {
        self.alarms.clear(&Alarm::Ttl(id.to_owned()));
        self.alarms.clear(&Alarm::Reap(id.to_owned()));
        self.streaks.remove_mut(id);
    }

    pub(crate) fn agent_check_deregister(&mut self, change: &mut Change, id: &str) {
        if id != crate::catalog::SERF {
            let own = self.own();
            self.remove_check(change, &own, id);
        }
    }

    pub(crate) fn check_update(
        &mut self,
        change: &mut Change,
        id: &str,
        status: Status,
        output: String,
    ) -> Result<(), Refusal> {
        let check = self.check_renew(change, id)?;
        self.judge(change, &check, status, output);
        Ok(())
    }

    /// Who registered the service is there, however it is: it does not go for being critical.
    pub(crate) fn check_held(&mut self, change: &mut Change, id: &str) -> Result<(), Refusal> {
        let check = self.check_renew(change, id)?;
        self.alarms.clear(&Alarm::Reap(id.to_owned()));
        self.arm_reap(change.now, &check);
        Ok(())
    }

    /// Winds the clock of a TTL check up again; its status stays. Nothing of it is on disk.
    fn check_renew(&mut self, change: &mut Change, id: &str) -> Result<Arc<Check>, Refusal> {
        let check = self.check_on(&self.own(), id).cloned();
        let ttl = check.as_ref().and_then(|check| match check.kind {
            CheckKind::Ttl { ttl } => Some(ttl),
            _ => None,
        });
        let (Some(check), Some(ttl)) = (check, ttl) else {
            return Err(Refusal::NoTtl(id.to_owned()));
        };
        self.alarms.set(change.now.after(ttl), Alarm::Ttl(id.to_owned()));
        Ok(check)
    }

    /// A probe's result counts once there are as many alike in a row as the check wants (Consul's
    /// `SuccessBeforePassing`, `FailuresBeforeCritical`); a warning is a success here.
    pub(crate) fn check_result(&mut self, change: &mut Change, id: &str, status: Status, output: String) {
        let Some(check) = self.check_on(&self.own(), id).cloned() else { return };
        if !check.kind.probes() {
            return;
        }
        let good = status != Status::Critical;
        let wanted = if good { check.success_before_passing } else { check.failures_before_critical };
        if wanted > 1 {
            let before = self.streaks.get(id).filter(|streak| streak.0 == good);
            let streak = before.map_or(0, |streak| streak.1).saturating_add(1);
            self.streaks.insert_mut(id.to_owned(), (good, streak));
            if streak < wanted {
                return;
            }
        } else {
            self.streaks.insert_mut(id.to_owned(), (good, 1));
        }
        self.judge(change, &check, status, output);
    }

    /// Sets state and output. An output that changes without the state is shown, but it is no change of the index, nobody
    /// is woken, and it is on disk only with the next change of state: outputs carry times and counts, and a write for
    /// every probe would be for nothing.
    fn judge(&mut self, change: &mut Change, check: &Check, status: Status, output: String) {
        let same = check.status == status;
        let check = Check { status, output, ..check.clone() };
        if same {
            self.link_check(&check.node.to_lowercase(), &Arc::new(check));
        } else {
            self.put_check(change, check);
        }
    }

    pub(crate) fn ttl_expired(&mut self, change: &mut Change, id: &str) {
        if let Some(check) = self.check_on(&self.own(), id).cloned() {
            self.judge(change, &check, Status::Critical, "TTL expired".to_owned());
        }
    }

    pub(crate) fn reap(&mut self, change: &mut Change, id: &str) {
        let own = self.own();
        let Some(check) = self.check_on(&own, id).cloned() else { return };
        if !check.service_id.is_empty() {
            self.remove_service(change, &own, &check.service_id);
        }
    }

    /// Alias checks follow the checks that they stand for; other alias checks do not count.
    pub(crate) fn update_aliases(&mut self, change: &mut Change) {
        let own = self.own();
        let aliases: Vec<(String, String)> = self.aliases.iter().cloned().collect();
        for (node, id) in aliases {
            let Some(check) = self.check_on(&node, &id).cloned() else { continue };
            let CheckKind::Alias { node: of, service } = &check.kind else { continue };
            let of = if of.is_empty() { own.clone() } else { of.to_lowercase() };
            let (status, output) = self.alias_state(&of, service);
            if (check.status, &check.output) != (status, &output) {
                self.judge(change, &check, status, output);
            }
        }
    }

    /// The worst of a service's checks and those of its node, in the words of Consul's agent.
    fn alias_state(&self, node: &str, service: &str) -> (Status, String) {
        let of_service = (!service.is_empty()).then(|| self.checks_of(node, service));
        let worst = self
            .checks_of(node, "")
            .chain(of_service.into_iter().flatten())
            .filter(|check| !matches!(check.kind, CheckKind::Alias { .. }))
            .reduce(|worst, check| if check.status > worst.status { check } else { worst });
        match worst {
            None if service.is_empty() => (Status::Critical, "No checks found.".to_owned()),
            None => (Status::Passing, "No checks found.".to_owned()),
            Some(check) if check.status == Status::Passing => {
                (Status::Passing, "All checks passing.".to_owned())
            }
            Some(check) => {
                let word = if check.status == Status::Critical { "failing" } else { "warning" };
                let output = format!("Aliased check {:?} {word}: {}", check.name, check.output);
                (check.status, output)
            }
        }
    }
}

fn refuse_definition(definition: &CheckDefinition) -> Result<(), Refusal> {
    match &definition.kind {
        kind if kind.probes() && definition.interval.is_zero() => {
            Err(Refusal::InvalidCheck("Interval must be > 0 for Script, HTTP, or TCP checks"))
        }
        CheckKind::Ttl { ttl } if ttl.is_zero() => {
            Err(Refusal::InvalidCheck("TTL must be > 0 for TTL checks"))
        }
        _ => Ok(()),
    }
}
