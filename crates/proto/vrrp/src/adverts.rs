//! Advertisements: sending them, and telling whether one that came is to be listened to.

use std::net::IpAddr;
use std::time::Duration;

use weir_model::vrrp::{Delivery, Family};

use crate::limiter::{Key, Kind};
use crate::node::Node;
use crate::packet::{self, Decoded, Defect, Envelope, Filter};
use crate::router::Router;
use crate::timers::Timer;
use crate::{Advertisement, Arrival, Command, Event, Protocol, State, Time};

/// Senders whose lists or sequence numbers are remembered.
const MOST_LISTS: usize = 4;
const MOST_SEQUENCES: usize = 16;

/// A peer that advertises other addresses.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) source: IpAddr,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) at: Time,
    /// Each advertisement is sent a second time with its list: keepalived up to 2.3.2 drops those with another list than
    /// its own, and both nodes would be masters for ever.
    pub(crate) echo: bool,
}

/// Numbers of packets.
#[derive(Clone, Debug)]
pub(crate) struct Sequences {
    ip_id: u16,
    /// The last one that was sent in an authentication header.
    ah: u32,
    /// The last ones that were heard there, and when.
    heard: Vec<(IpAddr, u32, Time)>,
}

impl Sequences {
    /// Ten a second since the start of the machine are more than are sent, so a process that starts again goes on with
    /// greater numbers.
    pub(crate) fn new(now: Time) -> Self {
        let ah = u32::try_from(now.as_millis() / 100).unwrap_or(0);
        Self { ip_id: 0, ah, heard: Vec::new() }
    }

    fn next(&mut self) -> (u16, u32) {
        // Zero would let the kernel choose.
        self.ip_id = self.ip_id.checked_add(1).unwrap_or(1);
        self.ah = self.ah.saturating_add(1);
        (self.ip_id, self.ah)
    }

    /// The last number of a sender. A sender that was silent for so long may have begun anew.
    fn last(&self, now: Time, source: IpAddr, silence: Duration) -> Option<u32> {
        let (_, number, at) = self.heard.iter().find(|(address, ..)| *address == source)?;
        (now.saturating_sub(*at) < silence).then_some(*number)
    }

    fn note(&mut self, now: Time, source: IpAddr, number: u32) {
        self.heard.retain(|(address, ..)| *address != source);
        if self.heard.len() >= MOST_SEQUENCES {
            self.heard.remove(0);
        }
        self.heard.push((source, number, now));
        // keepalived keeps one counter for all routers of a virtual router.
        self.ah = self.ah.max(number);
    }
}

impl Router {
    /// Sends one advertisement of the list to everyone, and one of each foreign list that is echoed.
    fn packets(&mut self, priority: u8) -> Vec<Command> {
        let mut commands = Vec::new();
        let all = self.destinations();
        let list = std::mem::take(&mut self.list);
        for (destination, hop_limit) in &all {
            commands.extend(self.packet(priority, &list, *destination, *hop_limit));
        }
        self.list = list;
        let foreign = std::mem::take(&mut self.foreign);
        for peer in foreign.iter().filter(|peer| peer.echo) {
            let unicast = matches!(self.config.delivery, Delivery::Unicast(_));
            for (destination, hop_limit) in &all {
                if !unicast || *destination == peer.source {
                    commands.extend(self.packet(priority, &peer.addresses, *destination, *hop_limit));
                }
            }
        }
        self.foreign = foreign;
        commands
    }

    fn packet(
        &mut self,
        priority: u8,
        list: &[IpAddr],
        destination: IpAddr,
        hop_limit: u8,
    ) -> Option<Command> {
        let (source, interface) = (self.port.source?, self.port.out?);
        if Family::of(&source) != Family::of(&destination) {
            return None;
        }
        let (ip_id, ah_sequence) = self.sequences.next();
        let envelope = Envelope { source, destination, hop_limit, ip_id, ah_sequence };
        let (protocol, packet) = packet::encode(&self.config, priority, list, &envelope);
        Some(Command::Send { instance: self.id, interface, source, destination, hop_limit, protocol, packet })
    }

    fn destinations(&self) -> Vec<(IpAddr, u8)> {
        match &self.config.delivery {
            Delivery::Multicast(group) => vec![(*group, u8::MAX)],
            Delivery::Unicast(unicast) => {
                unicast.peers.iter().map(|peer| (peer.address, unicast.ttl)).collect()
            }
        }
    }

    /// Remembers a peer that advertises other addresses; more than a few at a time are no honest mistake.
    fn note_list(&mut self, now: Time, source: IpAddr, addresses: &[IpAddr], echo: bool) {
        if let Some(known) = self.foreign.iter_mut().find(|known| known.source == source) {
            known.addresses = addresses.to_vec();
            known.at = now;
            known.echo |= echo;
        } else if self.foreign.len() < MOST_LISTS {
            self.foreign.push(Foreign { source, addresses: addresses.to_vec(), at: now, echo });
        }
    }
}

impl Node {
    /// Sends an advertisement of one router now, and arms its timer for the next unless it leaves.
    pub(crate) fn advertise(&mut self, now: Time, i: usize, priority: u8) {
        let router = &mut self.routers[i];
        let packets = router.packets(priority);
        router.advert_at = now;
        if priority == 0 {
            router.stats.pri_zero_sent += 1;
        } else {
            let next = now + router.interval();
            router.timers.arm(Timer::Advert, next);
        }
        router.stats.advert_sent += 1;
        self.commands.extend(packets);
    }

    /// Finds out for whom a packet is, checks it, and lets that router hear it.
    pub(crate) fn receive(&mut self, now: Time, arrival: &Arrival<'_>, protocol: Protocol) {
        let peek = match packet::peek(arrival, protocol) {
            Ok(peek) => peek,
            Err(defect) => return self.drop_packet(now, None, arrival.source, defect),
        };
        let key = (arrival.interface, Family::of(&arrival.source), peek.vrid);
        let Some(candidates) = self.by_vrid.get(&key) else {
            return self.drop_unknown(now, arrival, peek.vrid);
        };
        // Unicast routers may share an identifier; the one that has the sender as a peer is meant.
        let named = candidates.iter().find(|i| self.routers[**i].has_peer(arrival.source));
        let candidates = named.map_or(candidates.as_slice(), std::slice::from_ref);
        let mut defect = None;
        let decoded = candidates.iter().find_map(|i| match self.decode(now, *i, arrival, protocol) {
            Ok(decoded) => Some((*i, decoded)),
            Err(found) => {
                defect.get_or_insert((*i, found));
                None
            }
        });
        match (decoded, defect) {
            (Some((i, decoded)), _) => self.accept(now, i, arrival.source, decoded),
            (None, Some((i, defect))) => self.drop_packet(now, Some(i), arrival.source, defect),
            (None, None) => {}
        }
    }

    fn decode(
        &self,
        now: Time,
        i: usize,
        arrival: &Arrival<'_>,
        protocol: Protocol,
    ) -> Result<Decoded, Defect> {
        let router = &self.routers[i];
        let filter = Filter {
            instance: &router.config,
            own_addresses: self.links.own_addresses(),
            ah_sequence: router.sequences.last(now, arrival.source, router.master_down()),
        };
        packet::decode(arrival, protocol, &filter)
    }

    fn accept(&mut self, now: Time, i: usize, source: IpAddr, decoded: Decoded) {
        let router = &mut self.routers[i];
        if let Some(number) = decoded.ah_sequence {
            router.sequences.note(now, source, number);
        }
        // In INIT and FAULT nothing is listened to (RFC 9568 section 6.4.1).
        if !matches!(router.state, State::Backup | State::Master) {
            return;
        }
        router.stats.advert_rcvd += 1;
        let advert = decoded.advertisement;
        if advert.priority == 0 {
            router.stats.pri_zero_rcvd += 1;
        } else {
            self.compare_lists(now, i, source, &advert);
        }
        self.hear(now, i, source, &advert);
    }

    fn drop_packet(&mut self, now: Time, i: Option<usize>, source: IpAddr, defect: Defect) {
        let router = i.map(|i| &mut self.routers[i]);
        let (instance, name) = match router {
            Some(router) => {
                defect.count(&mut router.stats);
                (Some(router.id), Some(router.name()))
            }
            None => (None, None),
        };
        let key = Key { instance, kind: Kind::Defect(std::mem::discriminant(&defect)), source };
        if let Some(suppressed) = self.limiter.admit(now, key) {
            self.say(Event::Dropped { instance: name, source, defect, suppressed });
        }
    }

    fn drop_unknown(&mut self, now: Time, arrival: &Arrival<'_>, vrid: u8) {
        let (source, index) = (arrival.source, arrival.interface);
        if self.links.own_addresses().contains(&source) {
            return;
        }
        let ours =
            self.routers.iter().any(|router| [router.port.base, router.port.vmac].contains(&Some(index)));
        if !ours && !self.config.globals.log_unknown_vrids {
            return;
        }
        let key = Key { instance: None, kind: Kind::UnknownVrid(index, vrid), source };
        if let Some(suppressed) = self.limiter.admit(now, key) {
            let interface =
                self.links.link(index).map_or_else(|| index.to_string(), |link| link.name.clone());
            self.say(Event::UnknownVrid { interface, source, vrid, suppressed });
        }
    }

    /// Differing lists are alarmed, never a reason to drop (keepalived since 2.3.3).
    fn compare_lists(&mut self, now: Time, i: usize, source: IpAddr, advert: &Advertisement) {
        let router = &mut self.routers[i];
        let same_sender = router.master.is_some_and(|master| master.address == source);
        if router.config.skip_check_adv_addr && same_sender {
            return;
        }
        // What comes right behind an advertisement of the same sender is its echo of a third router's list.
        let echoed = router
            .list_seen
            .is_some_and(|(seen, at)| seen == source && now.saturating_sub(at) < router.interval() / 2);
        if echoed {
            return;
        }
        router.list_seen = Some((source, now));
        let missing_from = |list: &[IpAddr], other: &[IpAddr]| -> Vec<IpAddr> {
            list.iter().filter(|address| !other.contains(address)).copied().collect()
        };
        let only_here = missing_from(&router.list, &advert.addresses);
        let only_there = missing_from(&advert.addresses, &router.list);
        if only_here.is_empty() && only_there.is_empty() {
            router.foreign.retain(|peer| peer.source != source);
            return;
        }
        router.stats.addr_list_err += 1;
        let echo = router.is_master() && router.rank_of(advert.priority, source).is_lt();
        router.note_list(now, source, &advert.addresses, echo);
        let (name, key) = (router.name(), Key { instance: Some(router.id), kind: Kind::Addresses, source });
        if let Some(suppressed) = self.limiter.admit(now, key) {
            self.say(Event::AddressesDiffer { instance: name, source, only_here, only_there, suppressed });
        }
    }
}
