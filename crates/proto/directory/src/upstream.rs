//! One upstream: its lines, its sources, its checks, and the peers that follow from them.

use std::sync::Arc;

use weir_model::{Check, Level, Method, Peer, PeerList, UpstreamKey};

use crate::book::Scene;
use crate::record::{From, Record, Verdict};
use crate::roster::{Fate, Roster};
use crate::share::{Pace, Warmth};
use crate::slot::{Slot, kind, same_question};
use crate::{Action, By, Now, Remembered, Transition};

/// So many names are told of a change; more would fill the log.
const NAMES: usize = 5;

#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) key: UpstreamKey,
    /// By which people and orders name it.
    pub(crate) name: String,
    pub(crate) method: Method,
    pub(crate) check_panic: bool,
    pub(crate) checks: Vec<Arc<Check>>,
    servers: Vec<Peer>,
    pub(crate) sources: Vec<Slot>,
    pub(crate) roster: Roster,
    /// The change that the members came with.
    pub(crate) change: u64,
    /// When a peer has grown into a larger share, monotonic milliseconds.
    pub(crate) due: Option<u64>,
    /// Peers that come up grow into their weights.
    slow: bool,
    /// Whether its checks run.
    watched: bool,
}

/// Who came and who left, for one line of the log.
#[derive(Default)]
struct Difference {
    came: Vec<String>,
    left: Vec<String>,
    changed: usize,
}

impl Upstream {
    pub(crate) fn new(key: UpstreamKey) -> Upstream {
        Upstream {
            name: key.to_string(),
            key,
            method: Method::default(),
            check_panic: true,
            checks: Vec::new(),
            servers: Vec::new(),
            sources: Vec::new(),
            roster: Roster::default(),
            change: 0,
            due: None,
            slow: false,
            watched: true,
        }
    }

    /// Takes over what the file says; the members come with `change`.
    pub(crate) fn configure(&mut self, model: &weir_model::Upstream, change: u64, scene: &mut Scene<'_>) {
        self.method = model.method.clone();
        self.check_panic = model.check_panic;
        self.servers.clone_from(&model.peers);
        // Who is in the first configuration was there before.
        let is_first = self.change == 0;
        self.change = change;
        let mut before = std::mem::take(&mut self.sources);
        let renewed = model.sources.iter().map(|source| {
            let same = before.iter().position(|slot| slot.source.origin == source.origin);
            let like = |slot: &Slot| same_question(&slot.source.origin, &source.origin);
            match same.or_else(|| before.iter().position(like)) {
                Some(index) => before.swap_remove(index).renewed(source.clone(), change),
                None => Slot::new(source.clone()),
            }
        });
        self.sources = renewed.collect();
        self.renew_checks(&model.checks, scene);
        for record in self.roster.iter_mut() {
            record.order = scene.book.find(&self.name, record.name()).cloned();
        }
        self.reconcile(change, is_first, scene);
        for record in self.roster.iter_mut() {
            settle(&self.key, &self.checks, record, None, scene);
        }
        self.weigh(scene.now);
    }

    fn pace(&self, now: Now) -> Pace {
        Pace::new(now.mono, self.roster.len(), &self.method)
    }

    /// Puts all weights and shares into force; true if one is another than before.
    fn weigh(&mut self, now: Now) -> bool {
        let pace = self.pace(now);
        self.due = None;
        let mut changed = false;
        for record in self.roster.iter_mut() {
            let (other, due) = record.weigh(pace);
            changed |= other;
            self.due = self.due.into_iter().chain(due).min();
        }
        changed
    }

    /// Gives peers the share that they have grown into; true if the group has to be published with `change`.
    pub(crate) fn grow(&mut self, change: u64, scene: &mut Scene<'_>) -> bool {
        let changed = self.weigh(scene.now);
        if changed {
            scene.out.version += 1;
            self.change = change;
        }
        changed
    }

    /// Checks that are the same go on. Of one that asks something else now, what passed stays passed until it fails, and
    /// what failed is judged by its first result.
    fn renew_checks(&mut self, model: &[Check], scene: &mut Scene<'_>) {
        let same = self.checks.len() == model.len()
            && self.checks.iter().zip(model).all(|(check, model)| check.as_ref() == model);
        if same && self.watched {
            return;
        }
        if self.watched {
            self.unwatch(scene);
        }
        let before = std::mem::take(&mut self.checks);
        let equal = |model: &Check| before.iter().position(|check| check.as_ref() == model);
        let heirs: Vec<(Option<usize>, bool)> = model
            .iter()
            .enumerate()
            .map(|(index, check)| match equal(check) {
                Some(equal) => (Some(equal), true),
                None => {
                    let old = before.get(index);
                    let asks_the_same =
                        old.is_some_and(|old| old.probe == check.probe && old.port == check.port);
                    (old.map(|_| index), asks_the_same || check.persistent)
                }
            })
            .collect();
        self.checks = model.iter().cloned().map(Arc::new).collect();
        for record in self.roster.all_mut() {
            let inherit = |(old, whole): &(Option<usize>, bool)| {
                let verdict = old.and_then(|old| record.verdicts.get(old)).cloned().unwrap_or_default();
                if *whole || verdict.passed == Some(true) { verdict } else { Verdict::default() }
            };
            record.verdicts = heirs.iter().map(inherit).collect();
        }
        self.watched = true;
        for record in self.roster.iter() {
            watch(&self.key, &self.checks, record, scene);
        }
    }

    fn unwatch(&self, scene: &mut Scene<'_>) {
        for record in self.roster.iter() {
            unwatch(&self.key, &self.checks, record, scene);
        }
    }

    /// The upstream is in no configuration any more.
    pub(crate) fn retire(&mut self, scene: &mut Scene<'_>) {
        self.unwatch(scene);
        self.watched = false;
    }

    /// A list came; true if the group has to be published with `change`.
    pub(crate) fn take_list(
        &mut self,
        source: usize,
        list: PeerList,
        change: u64,
        scene: &mut Scene<'_>,
    ) -> bool {
        let Some(slot) = self.sources.get_mut(source).filter(|slot| !slot.is_stale(&list)) else {
            return false;
        };
        scene.out.version += 1;
        // Who is in the first list was there before.
        let is_first = slot.list.is_none();
        slot.take(scene.now, list) && self.reconcile(change, is_first, scene)
    }

    /// Makes members out of lines and lists: the `server` lines unless a list stands in their place, then each source's.
    /// True if the group is another one; it is the one of `change` then. Peers that come are new to requests, unless
    /// `is_first` says that nobody was known before.
    fn reconcile(&mut self, change: u64, is_first: bool, scene: &mut Scene<'_>) -> bool {
        let replaced = self.sources.iter().any(|slot| slot.source.replaces_servers && slot.list.is_some());
        self.roster.begin();
        let mut difference = Difference::default();
        let pace = Pace { now: scene.now.mono, grows: false };
        let Self { key, name, checks, servers, sources, roster, slow, .. } = self;
        let lines = if replaced { &[] } else { servers.as_slice() };
        let lines = lines.iter().map(|peer| (peer, From::Configuration));
        let listed = sources.iter().enumerate().flat_map(|(index, slot)| {
            let peers = slot.list.iter().flat_map(|list| &list.peers);
            let kind = kind(&slot.source.origin);
            peers.map(move |peer| (peer, From::Source { index, kind }))
        });
        let was_slow = std::mem::take(slow);
        for (peer, from) in lines.chain(listed) {
            *slow |= peer.slow_start.0 > 0;
            let Some(record) = roster.claim(peer, from, checks.len()) else { continue };
            if !is_first {
                record.warmth = Warmth::Cold;
            }
            difference.came.push(record.name().to_owned());
            record.order = scene.book.arrive(name, record.name()).map(|(order, changed)| {
                scene.out.remember |= changed;
                order
            });
            watch(key, checks, record, scene);
        }
        let came = difference.came.len();
        let grows = was_slow || *slow;
        roster.conclude(change, |fate| match fate {
            Fate::Stays(record, news) => {
                settle(key, checks, record, None, scene);
                // Where peers grow they are weighed below, all together.
                difference.changed += usize::from((!grows && record.weigh(pace).0) || news.group);
            }
            Fate::Leaves(record) => {
                unwatch(key, checks, record, scene);
                scene.out.remember |= scene.book.leave(name, record.name(), scene.now);
                difference.left.push(record.name().to_owned());
            }
        });
        let weighed = grows && self.weigh(scene.now);
        let changed = weighed || came != 0 || difference.changed != 0 || !difference.left.is_empty();
        if changed {
            self.change = change;
            self.tell(&difference, scene);
        }
        changed
    }

    /// Sources are followed in the log; what the file says is known to who wrote it.
    fn tell(&self, difference: &Difference, scene: &mut Scene<'_>) {
        if self.sources.iter().all(|slot| slot.list.is_none()) {
            return;
        }
        let mut parts = Vec::new();
        for (word, names) in [("new", &difference.came), ("gone", &difference.left)] {
            if !names.is_empty() {
                let shown = names.get(..NAMES).unwrap_or(names).join(", ");
                let more = if names.len() > NAMES { ", ..." } else { "" };
                parts.push(format!("{} {word} ({shown}{more})", names.len()));
            }
        }
        if difference.changed != 0 {
            parts.push(format!("{} changed", difference.changed));
        }
        if !parts.is_empty() {
            let text =
                format!("upstream {}: {}; {} peers now", self.name, parts.join(", "), self.roster.len());
            scene.out.note(Level::Notice, text);
        }
    }

    /// A check has a verdict: its position, whether it passes and what was seen. True if the group has to be published
    /// with `change`.
    pub(crate) fn take_verdict(
        &mut self,
        peer: &str,
        (index, passed, reason): (usize, bool, &str),
        change: u64,
        scene: &mut Scene<'_>,
    ) -> bool {
        let pace = self.pace(scene.now);
        let Some(address) = address_of(peer) else { return false };
        let Some(record) = self.roster.find_mut(&address) else { return false };
        let Some(verdict) = record.verdicts.get_mut(index) else { return false };
        if verdict.passed != Some(passed) {
            verdict.since = scene.now.unix;
        }
        verdict.passed = Some(passed);
        verdict.reason = reason.into();
        scene.out.version += 1;
        let actor = By::check(index, &self.checks).map(|by| (by, reason));
        settle(&self.key, &self.checks, record, actor, scene);
        let (changed, due) = record.weigh(pace);
        self.note_weights(changed, due, change)
    }

    fn note_weights(&mut self, changed: bool, due: Option<u64>, change: u64) -> bool {
        self.due = self.due.into_iter().chain(due).min();
        if changed {
            self.change = change;
        }
        changed
    }

    /// The order for a peer is another one; true if the group has to be published with `change`.
    pub(crate) fn obey(
        &mut self,
        peer: &str,
        order: Option<Arc<Remembered>>,
        actor: (By, &str),
        change: u64,
        scene: &mut Scene<'_>,
    ) -> bool {
        scene.out.version += 1;
        let pace = self.pace(scene.now);
        let record = address_of(peer).and_then(|address| self.roster.find_mut(&address));
        let Some(record) = record else { return false };
        record.order = order;
        settle(&self.key, &self.checks, record, Some(actor), scene);
        let (changed, due) = record.weigh(pace);
        self.note_weights(changed, due, change)
    }

    /// All data threads serve all changes up to this one.
    pub(crate) fn serve(&mut self, change: u64) {
        self.roster.serve(change);
        self.sources.iter_mut().for_each(|slot| slot.serve(change));
    }

    /// Whether checks rule nobody out, because they would rule out all.
    pub(crate) fn is_panicking(&self) -> bool {
        let mut candidates = self.roster.iter().filter(|record| record.is_candidate()).peekable();
        self.check_panic
            && candidates.peek().is_some()
            && candidates.all(|record| record.failing(&self.checks).is_some())
    }

    pub(crate) fn awaits_checks(&self) -> bool {
        self.roster.iter().any(|record| record.awaits_check(&self.checks))
    }

    /// Whether there is nobody to send a request to until a source has spoken.
    pub(crate) fn awaits_lists(&self) -> bool {
        self.servers.is_empty()
            && !self.sources.is_empty()
            && self.sources.iter().all(|slot| slot.list.is_none())
    }
}

/// The address that a peer's name stands for.
pub(crate) fn address_of(name: &str) -> Option<weir_model::ListenAddress> {
    match name.strip_prefix("unix:") {
        Some(path) => Some(weir_model::ListenAddress::Unix(path.to_owned())),
        None => name.parse().ok().map(weir_model::ListenAddress::Inet),
    }
}

fn watch(key: &UpstreamKey, checks: &[Arc<Check>], record: &Record, scene: &mut Scene<'_>) {
    for (index, (check, verdict)) in checks.iter().zip(&record.verdicts).enumerate() {
        scene.out.push(Action::Watch {
            key: key.clone(),
            index,
            check: Arc::clone(check),
            peer: record.name().to_owned(),
            address: record.first.spec.address.clone(),
            state: Arc::clone(&record.first.state),
            known: verdict.passed,
        });
    }
}

fn unwatch(key: &UpstreamKey, checks: &[Arc<Check>], record: &Record, scene: &mut Scene<'_>) {
    for index in 0..checks.len() {
        scene.out.push(Action::Unwatch { key: key.clone(), index, peer: record.name().to_owned() });
    }
}

/// Puts a peer's state into force, and says it where it is another one. Without an `actor` it is the one whose say begins
/// or ends.
fn settle(
    key: &UpstreamKey,
    checks: &[Arc<Check>],
    record: &mut Record,
    actor: Option<(By, &str)>,
    scene: &mut Scene<'_>,
) {
    let (is_new, last) = (record.since == 0, record.cause);
    let before = record.settle(scene.now, checks);
    if record.since == 0 {
        record.since = scene.now.unix;
    }
    let Some(from) = before.filter(|_| !is_new) else { return };
    scene.out.version += 1;
    let (by, reason) = match actor {
        Some((by, reason)) => (Some(by), reason.to_owned()),
        None => (record.by(record.cause, checks).or_else(|| record.by(last, checks)), record.reason()),
    };
    scene.out.push(Action::Transition(Transition {
        upstream: key.clone(),
        peer: record.name().to_owned(),
        from,
        to: record.state,
        by: by.unwrap_or(By::Configuration),
        reason,
        at: scene.now.unix,
    }));
}
