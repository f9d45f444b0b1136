//! A new configuration for routers that live on.

use std::net::IpAddr;
use std::sync::Arc;

use weir_model::vrrp::{Address, Delivery, Family, Instance, Vrrp};

use crate::group::{Group, instance_notice};
use crate::node::Node;
use crate::router::{Router, assets, list};
use crate::{Assets, Command, Event, InstanceId, Notice, NoticeState, State, Time};

/// What makes an instance the same one after a reload.
#[derive(Debug, PartialEq, Eq)]
struct Identity<'a> {
    vrid: u8,
    family: Family,
    interface: &'a str,
    /// The group, or that of unicast the source.
    multicast: Option<IpAddr>,
    unicast_source: Option<IpAddr>,
    vmac: bool,
}

impl<'a> Identity<'a> {
    fn of(config: &'a Instance) -> Self {
        let (multicast, unicast_source) = match &config.delivery {
            Delivery::Multicast(group) => (Some(*group), None),
            Delivery::Unicast(_) => (None, config.source),
        };
        Self {
            vrid: config.vrid,
            family: config.family,
            interface: &config.interface,
            multicast,
            unicast_source,
            vmac: config.vmac.is_some(),
        }
    }
}

/// The name of the virtual interface of an instance with `use_vmac`: as configured, or `vrrp.VRID`; `vrrp6.VRID` if that
/// is taken by the other family, and further numbers if there are more.
#[must_use]
pub fn vmac_device(config: &Vrrp, instance: &str) -> Option<String> {
    let mut taken: Vec<String> = Vec::new();
    for one in &config.instances {
        let Some(vmac) = &one.vmac else { continue };
        let name = match &vmac.name {
            Some(name) => name.clone(),
            None => {
                let sixth = (one.family == Family::V6).then(|| format!("vrrp6.{}", one.vrid));
                let more = (2..).map(|n| format!("vrrp{n}.{}", one.vrid));
                let mut names = std::iter::once(format!("vrrp.{}", one.vrid)).chain(sixth).chain(more);
                names.find(|name| !taken.contains(name))?
            }
        };
        if one.name == instance {
            return Some(name);
        }
        taken.push(name);
    }
    None
}

impl Node {
    /// The differences that a reload would make, one line each for people, such as
    /// `vrrp_instance web: priority 100 -> 90; 10.0.0.9 leaves`.
    #[must_use]
    pub fn plan(&self, config: &Vrrp) -> Vec<String> {
        crate::plan::differences(&self.config, config, |old, new| Identity::of(old) == Identity::of(new))
    }

    /// Takes a new configuration over. Instances with the same identifier, family, interface and group or source live on
    /// with their state, timers and counters.
    pub fn reload(&mut self, now: Time, config: Arc<Vrrp>) {
        if !self.begin(now) {
            return;
        }
        for change in self.plan(&config) {
            self.say(Event::Reload { change });
        }
        self.configure(now, config);
        if self.config.globals.fifo_write_states_on_reload {
            self.repeat_states();
        }
    }

    pub(crate) fn configure(&mut self, now: Time, config: Arc<Vrrp>) {
        self.trackers.retain_equal(&self.config, &config);
        self.remove_missing(now, &config);
        self.config = Arc::clone(&config);
        let mut old = std::mem::take(&mut self.routers);
        let (mut changed, mut held) = (Vec::new(), Vec::new());
        for instance in &config.instances {
            let device = vmac_device(&config, &instance.name);
            let same = old.iter().position(|router| Identity::of(&router.config) == Identity::of(instance));
            let Some(place) = same else {
                let id = InstanceId(self.next_id);
                self.next_id += 1;
                self.routers.push(Router::new(now, id, Arc::new(instance.clone()), device));
                continue;
            };
            self.routers.push(old.remove(place));
            let i = self.routers.len() - 1;
            let before = Arc::clone(&self.routers[i].assets);
            if let Some(new) = self.reconfigure(now, i, instance, device) {
                changed.push((i, new));
            }
            if self.routers[i].is_master() && before != self.routers[i].assets {
                held.push(i);
            }
        }
        // When all that goes has gone: an address may move from one router to another.
        for i in held {
            self.hold(now, i);
        }
        self.regroup();
        self.settle_all(now);
        self.agree(now);
        for (i, new) in changed {
            if self.routers[i].is_master() {
                // The others learn the new priority, interval and list at once.
                let (effective, repeat) =
                    (self.routers[i].effective, self.routers[i].config.garp.master_repeat);
                self.advertise(now, i, effective);
                self.burst_some(now, i, repeat, &new);
            }
        }
    }

    /// Instances that the new configuration does not have leave as at a stop.
    fn remove_missing(&mut self, now: Time, config: &Vrrp) {
        let stays = |router: &Router| {
            config.instances.iter().any(|instance| Identity::of(instance) == Identity::of(&router.config))
        };
        let leaving: Vec<usize> = (0..self.routers.len()).filter(|i| !stays(&self.routers[*i])).collect();
        self.refuse_adoption(now, &leaving, "it is not configured any more");
        for i in leaving.iter().copied() {
            if self.routers[i].is_master() {
                self.advertise(now, i, 0);
                self.leave_master(i);
            }
            if self.routers[i].state != State::Init {
                self.shift(now, i, State::Init, "it is not configured any more");
            }
            let deleted = self.routers[i].config.notify.deleted.is_some();
            self.notify(i, if deleted { NoticeState::Deleted } else { NoticeState::Fault });
        }
        let mut place = 0..;
        self.routers.retain(|_| place.next().is_none_or(|i: usize| !leaving.contains(&i)));
    }

    /// Gives a router its new configuration. The addresses that it did not have, if anything changed.
    fn reconfigure(
        &mut self,
        now: Time,
        i: usize,
        instance: &Instance,
        device: Option<String>,
    ) -> Option<Vec<Address>> {
        let router = &mut self.routers[i];
        if *router.config == *instance {
            return None;
        }
        let old = std::mem::replace(&mut router.config, Arc::new(instance.clone()));
        let old_assets = std::mem::replace(&mut router.assets, Arc::new(assets(instance, device)));
        router.list = list(instance);
        router.foreign.clear();
        router.list_seen = None;
        if instance.is_owner() != old.is_owner() {
            router.effective = instance.priority;
        }
        if instance.advert_interval != old.advert_interval || instance.version != old.version {
            router.master_interval = router.interval();
            if router.state == State::Backup {
                let down = router.master_down();
                self.listen(now, i, down);
            }
        }
        let assets = Arc::clone(&self.routers[i].assets);
        if self.routers[i].is_master() {
            self.drop_missing(i, &old_assets, &assets);
        }
        Some(missing(&assets.addresses, &old_assets.addresses))
    }

    /// A master takes away what it has no more.
    fn drop_missing(&mut self, i: usize, old: &Assets, new: &Assets) {
        let gone = Assets {
            addresses: missing(&old.addresses, &new.addresses),
            routes: missing(&old.routes, &new.routes),
            rules: missing(&old.rules, &new.rules),
            ..old.clone()
        };
        let instance = self.routers[i].id;
        if !is_empty(&gone) {
            self.commands.push_back(Command::Release { instance, assets: Arc::new(gone) });
            self.announcer.forget(instance);
            self.prober.forget(instance);
        }
    }

    /// Rebuilds the sync groups; one of the same name keeps its state.
    fn regroup(&mut self) {
        let old = std::mem::take(&mut self.groups);
        for router in &mut self.routers {
            router.group = None;
        }
        let config = Arc::clone(&self.config);
        for group in &config.groups {
            let place = self.groups.len();
            let mut members = Vec::new();
            for name in &group.members {
                let found = self
                    .routers
                    .iter()
                    .position(|router| router.config.name == *name && router.group.is_none());
                if let Some(i) = found {
                    self.routers[i].group = Some(place);
                    members.push(i);
                }
            }
            if members.is_empty() {
                continue;
            }
            let state =
                old.iter().find(|one| one.config.name == group.name).map_or(State::Init, |one| one.state);
            self.groups.push(Group { config: group.clone(), members, state });
        }
    }

    /// Routers that a reload brought together are masters together or not at all.
    fn agree(&mut self, now: Time) {
        for place in 0..self.groups.len() {
            let members = self.groups[place].members.clone();
            let of_state = |state| members.iter().copied().find(|i| self.routers[*i].state == state);
            if let (Some(backup), Some(_)) = (of_state(State::Backup), of_state(State::Master))
                && self.routers[backup].master.is_some()
            {
                self.become_backup(now, backup, "another router is its master");
            } else {
                self.shift_group(&members, "the configuration changed");
            }
        }
    }

    /// `fifo_write_vrrp_states_on_reload`: for pipes only, as nothing changed.
    fn repeat_states(&mut self) {
        for router in &self.routers {
            let state = match router.state {
                State::Master => NoticeState::Master,
                State::Backup => NoticeState::Backup,
                State::Fault => NoticeState::Fault,
                State::Init => continue,
            };
            let notice = instance_notice(router, state);
            self.commands.push_back(Command::Notify(Notice {
                script: None,
                any: None,
                mail: false,
                ..notice
            }));
        }
    }
}

fn missing<T: Clone + PartialEq>(of: &[T], from: &[T]) -> Vec<T> {
    of.iter().filter(|one| !from.contains(one)).cloned().collect()
}

fn is_empty(assets: &Assets) -> bool {
    assets.addresses.is_empty() && assets.routes.is_empty() && assets.rules.is_empty()
}
