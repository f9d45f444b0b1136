//! What can be seen of each router.

use std::time::Duration;

use crate::node::Node;
use crate::router::Router;
use crate::tracking::Readiness;
use crate::{InstanceStatus, MasterSeen, Time};

/// How long an alarm is shown after what caused it was last seen; probes come every minute.
const ALARM: Duration = Duration::from_secs(150);

impl Node {
    pub(crate) fn instance_status(&self, now: Time, i: usize) -> InstanceStatus {
        let router = &self.routers[i];
        let verdict = self.verdict(i);
        let mut reasons = verdict.reasons;
        if let Readiness::NoLink(cause) | Readiness::Unreported(cause) = verdict.readiness {
            reasons.push(cause);
        }
        let master = router.master.map(|heard| MasterSeen {
            address: heard.address,
            priority: heard.priority,
            heard: now.saturating_sub(heard.at).as_secs_f64(),
        });
        InstanceStatus {
            id: router.id,
            name: router.name(),
            group: router
                .group
                .and_then(|group| self.groups.get(group))
                .map(|group| group.config.name.clone()),
            state: router.state,
            since: router.since,
            cause: router.cause.clone(),
            base_priority: router.config.priority,
            effective_priority: router.effective,
            reasons,
            master,
            master_interval: u64::try_from(router.master_interval.as_micros()).unwrap_or(u64::MAX),
            next: router.timers.next(),
            alarms: router.alarms(now),
            stats: router.stats,
            config: router.config.clone(),
        }
    }
}

impl Router {
    fn alarms(&self, now: Time) -> Vec<String> {
        let fresh = |at: Time| now.saturating_sub(at) < ALARM;
        let mut alarms: Vec<String> = self
            .foreign
            .iter()
            .filter(|peer| peer.echo || fresh(peer.at))
            .map(|peer| format!("{} advertises other addresses", peer.source))
            .collect();
        if self.is_master() && self.crossed_at.is_some_and(fresh) {
            alarms.push("another router was master at the same time".to_owned());
        }
        if let Some((_, claim)) = self.conflict.as_ref().filter(|(at, _)| self.is_master() && fresh(*at)) {
            alarms.push(claim.clone());
        }
        alarms
    }
}
