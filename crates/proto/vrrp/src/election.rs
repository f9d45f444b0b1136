//! Who is master (RFC 9568 section 6.4, with keepalived's options).

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use weir_model::vrrp::{Instance, Version};

use crate::limiter::{Key, Kind};
use crate::node::Node;
use crate::router::{Heard, Rogue};
use crate::timers::Timer;
use crate::{Advertisement, Event, NoticeState, State, Time};

impl Node {
    /// A valid advertisement for a router that listens.
    pub(crate) fn hear(&mut self, now: Time, i: usize, source: IpAddr, advert: &Advertisement) {
        match self.routers[i].state {
            State::Backup => self.hear_as_backup(now, i, source, advert),
            State::Master => self.hear_as_master(now, i, source, advert),
            State::Init | State::Fault => {}
        }
        if let Some(router) = self.routers.get_mut(i) {
            router.heard_at = Some(now);
        }
    }

    fn hear_as_backup(&mut self, now: Time, i: usize, source: IpAddr, advert: &Advertisement) {
        let router = &mut self.routers[i];
        let changed = router.master.is_none_or(|master| master.address != source);
        // The other owner is gone or has another priority by now.
        if router.config.is_owner() && (changed || advert.priority != Instance::OWNER) {
            router.effective = Instance::OWNER;
        }
        if advert.priority == 0 {
            // RFC 9568 section 6.4.2 (410): its sender leaves, the best backup is the fastest.
            let skew = router.skew();
            return router.timers.arm(Timer::Down, now + skew);
        }
        let seen = Heard { address: source, priority: advert.priority, at: now };
        let lower = advert.priority < router.effective;
        let nopreempt = router.config.nopreempt && !router.config.is_owner();
        if lower && !nopreempt && !self.delays_preemption(now, i) {
            // It is not listened to, so the timer runs out and this router takes over.
            let router = &mut self.routers[i];
            router.stats.lower_prio_rcvd += 1;
            router.master = Some(seen);
            return;
        }
        let router = &mut self.routers[i];
        if !lower {
            router.preempt_at = None;
        }
        router.wants_master = false;
        router.master = Some(seen);
        self.adopt_interval(now, i, source, advert);
        let router = &mut self.routers[i];
        let down = router.master_down();
        router.timers.arm(Timer::Down, now + down);
        let (key, grouped) =
            (Key { instance: Some(router.id), kind: Kind::Master, source }, router.group.is_some());
        if grouped && self.unit(i).into_iter().any(|member| self.routers[member].is_master()) {
            self.become_backup(now, i, &format!("{source} is its master"));
        }
        if changed && self.limiter.admit(now, key).is_some() {
            let instance = self.routers[i].name();
            self.say(Event::MasterChanged { instance, address: source, priority: advert.priority });
        }
    }

    /// `preempt_delay` counts from the first advertisement of lower priority.
    fn delays_preemption(&mut self, now: Time, i: usize) -> bool {
        let router = &mut self.routers[i];
        let delay = router.config.preempt_delay.duration();
        if delay.is_zero() || router.config.is_owner() {
            return false;
        }
        *router.preempt_at.get_or_insert(now + delay) > now
    }

    /// RFC 9568 section 6.4.2 (440): version 3 backups use their master's interval.
    fn adopt_interval(&mut self, now: Time, i: usize, source: IpAddr, advert: &Advertisement) {
        let router = &mut self.routers[i];
        let found = advert.interval.duration();
        if router.config.version == Version::V2 || router.master_interval == found {
            return;
        }
        router.master_interval = found;
        let (instance, expected) = (router.name(), router.interval());
        let key = Key { instance: Some(router.id), kind: Kind::Interval, source };
        if found != expected && self.limiter.admit(now, key).is_some() {
            self.say(Event::IntervalDiffers { instance, source, found, expected });
        }
    }

    fn hear_as_master(&mut self, now: Time, i: usize, source: IpAddr, advert: &Advertisement) {
        let router = &self.routers[i];
        if router.config.owner_ignore_adverts && router.config.is_owner() {
            return;
        }
        if advert.priority == 0 {
            // RFC 9568 section 6.4.3 (705): the others hear at once that there still is a master.
            self.answer(now, i);
            self.resume_contact(now, i, source);
            return;
        }
        self.watch_other_owner(now, i, source, advert);
        match self.routers[i].rank_of(advert.priority, source) {
            Ordering::Less => self.hear_lower(now, i, source, advert.priority),
            Ordering::Greater => self.hear_higher(now, i, source, advert),
            // The same priority from the same address: whoever has it twice has to be found by people.
            Ordering::Equal => self.note_crossing(now, i, source, advert.priority),
        }
    }

    fn hear_lower(&mut self, now: Time, i: usize, source: IpAddr, priority: u8) {
        self.note_crossing(now, i, source, priority);
        let router = &mut self.routers[i];
        router.stats.lower_prio_rcvd += 1;
        if router.config.lower_prio_no_advert {
            if !router.may_answer(now) {
                return;
            }
            router.answered_at = Some(now);
        } else if !self.answer(now, i) {
            return;
        }
        let resumed = self.resume_contact(now, i, source);
        if !resumed {
            self.burst_lower_priority(now, i);
        }
        for member in self.unit(i).into_iter().filter(|member| *member != i) {
            self.burst_lower_priority(now, member);
        }
        self.notify(i, NoticeState::MasterRxLowerPri);
    }

    /// Advertises at once. Of several that arrive together, or of a flood, only the first is answered at once, the rest
    /// by one advertisement a little later: every sender hears it. Whether it was at once.
    fn answer(&mut self, now: Time, i: usize) -> bool {
        let router = &mut self.routers[i];
        if router.may_answer(now) {
            router.answered_at = Some(now);
            let effective = router.effective;
            self.advertise(now, i, effective);
            return true;
        }
        let soon = router.answered_at.unwrap_or(now) + router.pause();
        if router.timers.at(Timer::Advert).is_some_and(|at| at > soon) {
            router.timers.arm(Timer::Advert, soon);
        }
        false
    }

    /// RFC 9568 section 6.4.3 (715): this router steps back, without priority zero, as somebody is master already.
    fn hear_higher(&mut self, now: Time, i: usize, source: IpAddr, advert: &Advertisement) {
        let router = &self.routers[i];
        // A master that was not heard for so long has not heard this router either, and neighbours may have learnt where
        // this one is. Hearing it, the other one tells them where the addresses are now.
        let missed = advert.interval.duration() * u32::from(router.config.down_timer_adverts);
        let unheard = router.heard_at.is_none_or(|at| now.saturating_sub(at) > missed);
        let parted = unheard && !router.config.strict;
        if router.config.higher_prio_send_advert || parted {
            let effective = router.effective;
            self.advertise(now, i, effective);
        }
        let own = self.routers[i].effective;
        let why = if advert.priority > own {
            "a higher priority"
        } else {
            "the same priority and a higher address"
        };
        let cause = format!("{source} advertises {why} ({} to {own})", advert.priority);
        self.become_backup(now, i, &cause);
        let router = &mut self.routers[i];
        router.master = Some(Heard { address: source, priority: advert.priority, at: now });
        self.adopt_interval(now, i, source, advert);
        let router = &mut self.routers[i];
        let down = router.master_down();
        router.timers.arm(Timer::Down, now + down);
    }

    /// Neighbours may have learnt the peer's address while neither heard the other. Whether it was that long.
    fn resume_contact(&mut self, now: Time, i: usize, source: IpAddr) -> bool {
        let router = &self.routers[i];
        let silence = router.silence(now);
        if silence <= router.master_down() {
            return false;
        }
        let (instance, repeat) = (router.name(), router.config.garp.master_repeat);
        self.say(Event::ContactResumed { instance, source, silence });
        self.burst(now, i, repeat);
        true
    }

    /// Two masters heard each other, and this one stays.
    fn note_crossing(&mut self, now: Time, i: usize, source: IpAddr, priority: u8) {
        let router = &mut self.routers[i];
        if now.saturating_sub(router.since) < router.interval() {
            // The old master's last word was under way; one that gives up hundreds of virtual routers at once says it late.
            return;
        }
        router.stats.conflicts += 1;
        router.crossed_at = Some(now);
        let (instance, own_priority) = (router.name(), router.effective);
        let key = Key { instance: Some(router.id), kind: Kind::Crossed, source };
        if let Some(suppressed) = self.limiter.admit(now, key) {
            self.say(Event::Crossed { instance, source, priority, own_priority, suppressed });
        }
    }

    /// Two routers with priority 255: the one with the lower address steps back by the ordinary rule. The other one
    /// waits until the first had two advertisements and time to obey, and then steps back itself.
    fn watch_other_owner(&mut self, now: Time, i: usize, source: IpAddr, advert: &Advertisement) {
        let router = &mut self.routers[i];
        if advert.priority != Instance::OWNER || router.effective != Instance::OWNER {
            return;
        }
        let (instance, key) = (router.name(), Key { instance: Some(router.id), kind: Kind::Owners, source });
        if router.rank_of(advert.priority, source).is_lt() {
            match router.rogue {
                Rogue::None => {
                    router.rogue = Rogue::Told { adverts: 2, interval: advert.interval.duration() }
                }
                Rogue::Told { .. } => {}
                Rogue::Awaited => {
                    router.rogue = Rogue::None;
                    router.timers.clear(Timer::Rogue);
                    router.effective = Instance::OWNER - 1;
                }
            }
        }
        if let Some(suppressed) = self.limiter.admit(now, key) {
            self.say(Event::TwoOwners { instance, source, suppressed });
        }
    }

    /// The advertisement timer of a master.
    pub(crate) fn advert_due(&mut self, now: Time, i: usize) {
        let effective = self.routers[i].effective;
        self.advertise(now, i, effective);
        let router = &mut self.routers[i];
        if let Rogue::Told { adverts, interval } = router.rogue {
            router.rogue = match adverts.checked_sub(1) {
                Some(0) | None => {
                    let longest = interval.max(router.interval());
                    router.timers.arm(Timer::Rogue, now + longest * 12 / 10);
                    Rogue::Awaited
                }
                Some(adverts) => Rogue::Told { adverts, interval },
            };
        }
    }

    /// Master_Down_Timer ran out. `deadline` is when it should have.
    pub(crate) fn down_due(&mut self, now: Time, i: usize, deadline: Time) {
        let late = now.saturating_sub(deadline);
        let router = &mut self.routers[i];
        if late > router.master_interval && !router.config.is_owner() {
            // The master's advertisements may lie unread before this process.
            let again = now + router.master_interval + router.skew();
            router.timers.arm(Timer::Down, again);
            let instance = router.name();
            return self.say(Event::Stalled { instance, late, stepped_down: false });
        }
        router.wants_master = true;
        let cause = match router.master {
            Some(master) if master.priority < router.effective && !router.config.nopreempt => {
                format!("{} has a lower priority ({})", master.address, master.priority)
            }
            Some(master) => {
                let silence = now.saturating_sub(master.at);
                format!("{} has not been heard for {:.2} s", master.address, silence.as_secs_f64())
            }
            None if router.config.is_owner() => "it owns the addresses".to_owned(),
            None => "no other router was heard".to_owned(),
        };
        let unit = self.unit(i);
        if unit.iter().all(|member| self.routers[*member].wants_master || self.routers[*member].is_master()) {
            self.become_master(now, i, &cause);
        } else {
            // The other members of the group still listen to somebody.
            let router = &mut self.routers[i];
            let down = router.master_down();
            router.timers.arm(Timer::Down, now + down);
        }
    }

    /// First of all: masters that did not run long enough for a peer to take over step down before anything is sent.
    pub(crate) fn wake(&mut self, now: Time) {
        if self.next_router_timeout().is_none_or(|next| next > now) {
            return;
        }
        for i in 0..self.routers.len() {
            let router = &self.routers[i];
            let Some(deadline) = router.timers.at(Timer::Advert).filter(|at| *at <= now) else { continue };
            let silent = now.saturating_sub(router.advert_at);
            let stalled = silent > router.stall_limit();
            if !stalled && !router.lease_may_be_over(now) {
                continue;
            }
            let (late, instance) = (now.saturating_sub(deadline), router.name());
            if stalled && !router.config.is_owner() {
                self.say(Event::Stalled { instance, late, stepped_down: true });
                self.become_backup(now, i, &format!("it did not run for {:.2} s", silent.as_secs_f64()));
            } else {
                self.say(Event::Stalled { instance, late, stepped_down: false });
                self.advert_due(now, i);
                self.renew(now, i);
                let repeat = self.routers[i].config.garp.master_repeat;
                self.burst(now, i, repeat);
            }
        }
    }

    /// How long a router that begins to listen waits for a master.
    pub(crate) fn listen(&mut self, now: Time, i: usize, span: Duration) {
        let from = now.max(self.ready_at);
        self.routers[i].timers.arm(Timer::Down, from + span);
    }
}
