//! What a master holds: addresses as leases, and what happens when others take them away.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_model::vrrp::Address;

use crate::limiter::{Key, Kind};
use crate::node::Node;
use crate::timers::Timer;
use crate::{Assets, Command, Event, Time};

/// Leases are not renewed more often.
const LEAST_RENEWAL: Duration = Duration::from_millis(10);
/// Addresses that could not be held are tried again after this.
const RETRY: Duration = Duration::from_secs(10);

impl Node {
    pub(crate) fn hold(&mut self, now: Time, i: usize) {
        let router = &mut self.routers[i];
        self.commands.push_back(Command::Hold { instance: router.id, assets: Arc::clone(&router.assets) });
        router.renewed_at = now;
        self.arm_renewal(now, i);
    }

    /// Renews the leases, and plans the next time.
    pub(crate) fn renew(&mut self, now: Time, i: usize) {
        let router = &mut self.routers[i];
        if router.assets.lease.is_some() {
            self.commands
                .push_back(Command::Renew { instance: router.id, assets: Arc::clone(&router.assets) });
            router.renewed_at = now;
        }
        self.arm_renewal(now, i);
    }

    /// All routers renew at the same moments, so that hundreds of them wake the process once and not hundreds of times.
    fn arm_renewal(&mut self, now: Time, i: usize) {
        let router = &mut self.routers[i];
        match router.assets.lease {
            Some(lease) => {
                let period = lease.renew.duration().max(LEAST_RENEWAL);
                let past = u64::try_from(now.as_nanos() % period.as_nanos()).unwrap_or(0);
                router.timers.arm(Timer::Renew, now + period - Duration::from_nanos(past));
            }
            None => router.timers.clear(Timer::Renew),
        }
    }

    pub(crate) fn release(&mut self, i: usize) {
        let router = &self.routers[i];
        self.commands.push_back(Command::Release { instance: router.id, assets: Arc::clone(&router.assets) });
        self.announcer.forget(router.id);
        self.prober.forget(router.id);
    }

    /// Somebody deleted an address that a master holds: it is put back, and neighbours are told.
    pub(crate) fn restore(&mut self, now: Time, interface: &str, address: IpAddr, by: Option<u32>) {
        for i in 0..self.routers.len() {
            let router = &self.routers[i];
            if !router.is_master() {
                continue;
            }
            let Some(line) = find(&router.assets, interface, address).cloned() else { continue };
            let part = Assets {
                addresses: vec![line.clone()],
                routes: router.assets.routes.clone(),
                rules: Vec::new(),
                ..(*router.assets).clone()
            };
            let repeat = router.config.garp.master_repeat;
            self.commands.push_back(Command::Hold { instance: router.id, assets: Arc::new(part) });
            self.burst_some(now, i, repeat, std::slice::from_ref(&line));
            let router = &mut self.routers[i];
            router.stats.restored += 1;
            let (instance, interface) = (router.name(), interface.to_owned());
            let key = Key { instance: Some(router.id), kind: Kind::Restored, source: address };
            if let Some(suppressed) = self.limiter.admit(now, key) {
                self.say(Event::Restored { instance, interface, address, by, suppressed });
            }
        }
    }

    /// The addresses cannot be held, so somebody else should have them.
    pub(crate) fn fail_hold(&mut self, now: Time, i: usize, reason: String) {
        let router = &mut self.routers[i];
        if !router.is_master() {
            return;
        }
        router.hold_failure = Some(format!("its addresses cannot be held: {reason}"));
        let (instance, cause) = (router.name(), format!("its addresses cannot be held: {reason}"));
        self.say(Event::HoldFailed { instance, reason, retry: RETRY });
        self.become_fault(now, i, &cause);
        self.routers[i].timers.arm(Timer::HoldRetry, now + RETRY);
    }

    pub(crate) fn retry_hold(&mut self, now: Time, i: usize) {
        self.routers[i].hold_failure = None;
        self.settle_all(now);
    }

    /// Whether all members of a unit take a predecessor's addresses over without a break.
    pub(crate) fn may_adopt(&self, now: Time, unit: &[usize]) -> bool {
        unit.iter().all(|i| {
            let router = &self.routers[*i];
            router.adoption && router.adoption_window().is_ok_and(|window| now <= self.started + window)
        })
    }

    /// Removes a predecessor's addresses: the election starts as if they were not there.
    pub(crate) fn refuse_adoption(&mut self, now: Time, unit: &[usize], cause: &str) {
        for i in unit.iter().copied() {
            if !std::mem::take(&mut self.routers[i].adoption) {
                continue;
            }
            self.routers[i].timers.clear(Timer::Adoption);
            let router = &self.routers[i];
            let instance = router.name();
            let cause = match router.adoption_window() {
                Err(cause) => cause,
                Ok(window) if now > self.started + window => "a peer may be master by now".to_owned(),
                Ok(_) => cause.to_owned(),
            };
            self.release(i);
            self.say(Event::AdoptionRefused { instance, cause });
        }
    }
}

fn find<'a>(assets: &'a Assets, interface: &str, address: IpAddr) -> Option<&'a Address> {
    assets.addresses.iter().find(|line| {
        line.address == address && line.interface.as_deref().unwrap_or(&assets.interface) == interface
    })
}
