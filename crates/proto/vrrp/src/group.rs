//! Changes of state, of one virtual router or of a sync group together.

use std::time::Duration;

use weir_model::vrrp::{Delivery, Instance, Notify, Script, SyncGroup};

use crate::node::Node;
use crate::router::{Rogue, Router};
use crate::timers::Timer;
use crate::tracking::{Readiness, Verdict, assess};
use crate::{Command, Event, Notice, NoticeState, State, Subject, Time};

/// A sync group: its members are masters together or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) config: SyncGroup,
    /// Places in the node's list.
    pub(crate) members: Vec<usize>,
    pub(crate) state: State,
}

impl Node {
    /// The router with the other members of its sync group.
    pub(crate) fn unit(&self, i: usize) -> Vec<usize> {
        match self.routers[i].group.and_then(|group| self.groups.get(group)) {
            Some(group) => group.members.clone(),
            None => vec![i],
        }
    }

    pub(crate) fn verdict(&self, i: usize) -> Verdict {
        let router = &self.routers[i];
        let device = router.config.vmac.is_some().then_some(router.assets.interface.as_str());
        let group = router.group.and_then(|group| self.groups.get(group)).map(|group| &group.config);
        assess(router, device, &self.links, &self.trackers, group)
    }

    /// Looks at everything that routers depend on, and lets all of them follow.
    pub(crate) fn settle_all(&mut self, now: Time) {
        for i in 0..self.routers.len() {
            let first_of_unit = self.unit(i).first() == Some(&i);
            if first_of_unit {
                self.settle(now, i);
            }
        }
        self.index();
    }

    fn settle(&mut self, now: Time, i: usize) {
        let unit = self.unit(i);
        let verdicts: Vec<Verdict> = unit.iter().map(|member| self.verdict(*member)).collect();
        for (member, verdict) in unit.iter().zip(&verdicts) {
            self.routers[*member].port = verdict.port.clone();
            self.change_priority(*member, verdict);
        }
        let fault = unit.iter().zip(&verdicts).find_map(|(member, verdict)| match &verdict.readiness {
            Readiness::Fault(cause) => Some((*member, cause.clone())),
            _ => None,
        });
        if let Some((member, cause)) = fault {
            return self.become_fault(now, member, &cause);
        }
        let waits = verdicts.iter().find_map(|verdict| match &verdict.readiness {
            Readiness::NoLink(cause) => Some(cause.clone()),
            Readiness::Unreported(cause) if !self.may_adopt(now, &unit) => Some(cause.clone()),
            _ => None,
        });
        match waits {
            Some(cause) => self.wait(now, &unit, &cause),
            None => self.enter(now, &unit),
        }
    }

    fn change_priority(&mut self, i: usize, verdict: &Verdict) {
        let router = &mut self.routers[i];
        // An owner that stepped back for another owner keeps its 254.
        let stepped_back = router.config.is_owner() && router.effective == Instance::OWNER - 1;
        if router.effective == verdict.priority || stepped_back {
            return;
        }
        let from = std::mem::replace(&mut router.effective, verdict.priority);
        let (to, state, instance) = (router.effective, router.state, router.name());
        let said = router.config.notify_priority_changes || self.config.globals.notify_priority_changes;
        let cause = verdict.reasons.join(", ");
        let cause = if cause.is_empty() { "nothing lowers or raises it any more".to_owned() } else { cause };
        self.say(Event::PriorityChanged { instance, from, to, cause });
        match state {
            State::Master if said => self.notify(i, NoticeState::MasterPriority),
            State::Backup if said => self.notify(i, NoticeState::BackupPriority),
            _ => {}
        }
    }

    /// Something has not been seen yet: those that take part already go on.
    fn wait(&mut self, now: Time, unit: &[usize], cause: &str) {
        for i in unit {
            match self.routers[*i].state {
                State::Init => cause.clone_into(&mut self.routers[*i].cause),
                State::Fault => self.shift(now, *i, State::Init, cause),
                State::Backup | State::Master => {}
            }
        }
        self.shift_group(unit, cause);
    }

    /// Nothing stands against taking part.
    fn enter(&mut self, now: Time, unit: &[usize]) {
        let idle = |router: &Router| matches!(router.state, State::Init | State::Fault);
        let Some(first) = unit.iter().copied().find(|i| idle(&self.routers[*i])) else { return };
        if self.may_adopt(now, unit) {
            for i in unit {
                let instance = self.routers[*i].name();
                self.say(Event::Adopted { instance });
            }
            return self.become_master(now, first, "a predecessor's addresses are still leased");
        }
        self.refuse_adoption(now, unit, "it took too long until the router could take part");
        let owners = unit.iter().all(|i| self.routers[*i].config.is_owner());
        if owners && now >= self.ready_at {
            return self.become_master(now, first, "it owns the addresses");
        }
        let in_group = unit.len() > 1;
        for i in unit.iter().copied().filter(|i| idle(&self.routers[*i])).collect::<Vec<_>>() {
            let fresh = self.routers[i].state == State::Init;
            self.begin_to_listen(now, i, "everything that it depends on is there");
            if owners {
                self.routers[i].wants_master = true;
                self.listen(now, i, Duration::ZERO);
            } else if fresh && in_group && self.routers[i].config.wants_master {
                // keepalived: a member that wants to be master gives others one advertisement's time.
                let span = self.routers[i].one_advert();
                self.listen(now, i, span);
            }
        }
        self.shift_group(unit, "all members take part");
    }

    fn begin_to_listen(&mut self, now: Time, i: usize, cause: &str) {
        let recovered = self.routers[i].state == State::Fault;
        self.shift(now, i, State::Backup, cause);
        let router = &mut self.routers[i];
        router.master_interval = router.interval();
        let down = router.master_down();
        self.listen(now, i, down);
        self.notify(i, NoticeState::Backup);
        let router = &self.routers[i];
        if let (true, Delivery::Unicast(_), Some(interface), Some(address)) =
            (recovered, &router.config.delivery, router.port.base, router.port.source)
        {
            // A master that lost this host from its neighbour table could not send to it.
            self.commands.push_back(Command::Announce { instance: router.id, interface, address });
        }
    }

    /// The unit becomes master: each says so first, so that the old master lets go, then holds the addresses.
    pub(crate) fn become_master(&mut self, now: Time, i: usize, cause: &str) {
        let unit = self.unit(i);
        for member in unit.iter().copied() {
            if self.routers[member].is_master() {
                continue;
            }
            let cause = self.cause_for(member, i, cause);
            let router = &mut self.routers[member];
            if router.config.is_owner() {
                router.effective = Instance::OWNER;
            }
            router.adoption = false;
            router.wants_master = true;
            router.stats.become_master += 1;
            router.master_interval = router.interval();
            router.master = None;
            router.timers.clear_all();
            self.shift(now, member, State::Master, &cause);
            let effective = self.routers[member].effective;
            self.advertise(now, member, effective);
            self.hold(now, member);
            self.start_announcing(now, member);
            self.notify(member, NoticeState::Master);
        }
        self.shift_group(&unit, cause);
    }

    /// The unit listens again, after its addresses are released.
    pub(crate) fn become_backup(&mut self, now: Time, i: usize, cause: &str) {
        let unit = self.unit(i);
        for member in unit.iter().copied() {
            if !self.routers[member].is_master() {
                continue;
            }
            let cause = self.cause_for(member, i, cause);
            self.leave_master(member);
            self.shift(now, member, State::Backup, &cause);
            let down = self.routers[member].master_down();
            self.listen(now, member, down);
            self.notify(member, NoticeState::Backup);
        }
        self.shift_group(&unit, cause);
    }

    /// The unit stops to take part; masters tell the others to take over at once.
    pub(crate) fn become_fault(&mut self, now: Time, i: usize, cause: &str) {
        let unit = self.unit(i);
        self.refuse_adoption(now, &unit, cause);
        for member in unit.iter().copied() {
            let cause = self.cause_for(member, i, cause);
            if self.routers[member].state == State::Fault {
                self.routers[member].cause = cause;
                continue;
            }
            if self.routers[member].is_master() {
                self.advertise(now, member, 0);
                self.leave_master(member);
            }
            let router = &mut self.routers[member];
            let retry = router.timers.at(Timer::HoldRetry);
            router.timers.clear_all();
            if let Some(at) = retry {
                router.timers.arm(Timer::HoldRetry, at);
            }
            router.wants_master = false;
            router.preempt_at = None;
            router.master = None;
            self.shift(now, member, State::Fault, &cause);
            self.notify(member, NoticeState::Fault);
        }
        self.shift_group(&unit, cause);
    }

    fn cause_for(&self, member: usize, origin: usize, cause: &str) -> String {
        match (member == origin, self.routers[member].group.and_then(|group| self.groups.get(group))) {
            (false, Some(group)) => {
                format!("group {}: {}: {cause}", group.config.name, self.routers[origin].config.name)
            }
            _ => cause.to_owned(),
        }
    }

    /// Lets go of everything that a master has.
    pub(crate) fn leave_master(&mut self, i: usize) {
        self.release(i);
        let router = &mut self.routers[i];
        router.timers.clear_all();
        router.stats.release_master += 1;
        router.wants_master = false;
        router.preempt_at = None;
        router.answered_at = None;
        router.rogue = Rogue::None;
        router.foreign.clear();
        router.list_seen = None;
    }

    pub(crate) fn shift(&mut self, now: Time, i: usize, to: State, cause: &str) {
        let router = &mut self.routers[i];
        let from = std::mem::replace(&mut router.state, to);
        router.since = now;
        cause.clone_into(&mut router.cause);
        let (instance, priority) = (router.name(), router.effective);
        self.say(Event::Transition { instance, from, to, priority, cause: cause.to_owned() });
    }

    /// The group's state follows its members'.
    pub(crate) fn shift_group(&mut self, unit: &[usize], cause: &str) {
        let Some(group) = unit.first().and_then(|i| self.routers[*i].group) else { return };
        let states = || unit.iter().map(|i| self.routers[*i].state);
        let to = if states().any(|state| state == State::Fault) {
            State::Fault
        } else if states().any(|state| state == State::Init) {
            State::Init
        } else if states().all(|state| state == State::Master) {
            State::Master
        } else if states().all(|state| state == State::Backup) {
            State::Backup
        } else {
            // A new member still listens; it follows the others or takes them along.
            return;
        };
        let Some(group) = self.groups.get_mut(group) else { return };
        let from = std::mem::replace(&mut group.state, to);
        if from == to {
            return;
        }
        let (config, cause) = (group.config.clone(), cause.to_owned());
        self.say(Event::GroupTransition { group: config.name.clone(), from, to, cause });
        let state = match to {
            State::Master => NoticeState::Master,
            State::Backup => NoticeState::Backup,
            State::Fault => NoticeState::Fault,
            State::Init => return,
        };
        self.notify_group(&config, state);
    }

    pub(crate) fn notify_group(&mut self, config: &SyncGroup, state: NoticeState) {
        let notice = Notice {
            subject: Subject::Group(config.name.clone()),
            state,
            priority: 0,
            script: script(&config.notify, state),
            any: config.notify.any.clone(),
            mail: config.smtp_alert && is_mailed(state),
        };
        self.commands.push_back(Command::Notify(notice));
    }

    pub(crate) fn notify(&mut self, i: usize, state: NoticeState) {
        let notice = instance_notice(&self.routers[i], state);
        self.commands.push_back(Command::Notify(notice));
    }
}

pub(crate) fn instance_notice(router: &Router, state: NoticeState) -> Notice {
    let config = &router.config;
    Notice {
        subject: Subject::Instance(config.name.clone()),
        state,
        priority: router.effective,
        script: script(&config.notify, state),
        any: config.notify.any.clone(),
        mail: config.smtp_alert && is_mailed(state),
    }
}

fn script(notify: &Notify, state: NoticeState) -> Option<Script> {
    match state {
        NoticeState::Master => notify.master.clone(),
        NoticeState::Backup => notify.backup.clone(),
        NoticeState::Fault => notify.fault.clone(),
        NoticeState::Stop => notify.stop.clone(),
        NoticeState::Deleted => notify.deleted.clone(),
        NoticeState::MasterRxLowerPri => notify.master_rx_lower_pri.clone(),
        NoticeState::MasterPriority | NoticeState::BackupPriority => None,
    }
}

const fn is_mailed(state: NoticeState) -> bool {
    matches!(state, NoticeState::Master | NoticeState::Backup | NoticeState::Fault)
}
