//! What all sources have in common: lists become updates, failures are told once, the last good list is kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_discovery::{Document, Known, Verdict, dump, peers};
use weir_model::{Level, PeerList, Resolver, Source, UpstreamKey};

use crate::disk::{self, Disk};
use crate::names::{Found, Names};
use crate::{Options, Update, What};

/// A name of a peer that is new may hold its list back so long.
const NEW_NAME: Duration = Duration::from_secs(2);

/// One source that is followed.
pub(crate) struct Follower {
    pub(crate) key: UpstreamKey,
    pub(crate) index: usize,
    pub(crate) source: Source,
    pub(crate) options: Options,
    pub(crate) names: Names,
    disk: Disk,
    file: Option<PathBuf>,
    known: Known,
    /// The last time at which the source was found to be as it is known.
    good: Option<Instant>,
    /// What was told last.
    trouble: Option<String>,
    rejected: Vec<String>,
    /// `upsync_dump_path` was written.
    dumped: bool,
    named: Named,
}

/// The host names among the peers.
struct Named {
    resolver: Resolver,
    /// What was read last, if it has names.
    document: Option<(u64, String, Document)>,
    addresses: HashMap<String, Address>,
    lookups: JoinSet<(String, Found)>,
}

/// Of one host name.
#[derive(Default)]
struct Address {
    /// The last good ones: they stay when the name servers fail.
    known: Option<Arc<[IpAddr]>>,
    error: Option<String>,
    /// Absent while it is being asked.
    until: Option<Instant>,
}

impl Follower {
    /// Starts with the last list: `earlier` in this process, or the one on disk. It is reported at once.
    pub(crate) fn new(
        (key, index, source): (UpstreamKey, usize, Source),
        options: Options,
        names: Names,
        disk: Disk,
        earlier: Option<PeerList>,
    ) -> Self {
        let file = options.state_folder.as_deref().map(|folder| disk::path(folder, &key, index));
        let resolver = match &source.origin {
            weir_model::Origin::Dns(query) => query.resolver.clone(),
            _ => Resolver::default(),
        };
        let named = Named { resolver, document: None, addresses: HashMap::new(), lookups: JoinSet::new() };
        let mut follower = Self {
            key,
            index,
            source,
            options,
            names,
            disk,
            file,
            known: Known::default(),
            good: None,
            trouble: None,
            rejected: Vec::new(),
            dumped: false,
            named,
        };
        follower.known = Known::remembered(earlier.or_else(|| follower.recall()));
        if let Some(list) = follower.known.list().cloned() {
            follower.report(What::List(list));
        }
        follower
    }

    fn recall(&self) -> Option<PeerList> {
        disk::recall(self.file.as_deref()?, &self.source.origin).unwrap_or_else(|error| {
            self.say(Level::Warn, &error);
            None
        })
    }

    pub(crate) fn say(&self, level: Level, text: &str) {
        (self.options.log)(level, format!("upstream \"{}\": {text}", self.key));
    }

    /// Takes what the source lists. Names of peers that were never resolved are waited for, but not for long.
    pub(crate) async fn adopt(&mut self, index: u64, endpoint: String, document: Document) {
        let names = document.names();
        if names.is_empty() {
            self.named.document = None;
            self.named.addresses.clear();
            self.take(index, endpoint, document);
            return;
        }
        self.named.addresses.retain(|name, _| names.binary_search(name).is_ok());
        let now = Instant::now();
        for name in names {
            let address = self
                .named
                .addresses
                .entry(name.clone())
                .or_insert_with(|| Address { until: Some(now), ..Address::default() });
            if address.known.is_none() && address.until.is_some_and(|until| until <= now) {
                self.look_up(name);
            }
        }
        let deadline = now + NEW_NAME;
        while self.named.addresses.values().any(|address| address.known.is_none() && address.until.is_none())
        {
            match tokio::time::timeout_at(deadline, self.named.lookups.join_next()).await {
                Ok(Some(Ok((name, found)))) => self.found(&name, found),
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.named.document = Some((index, endpoint.clone(), document.clone()));
        self.take(index, endpoint, document);
    }

    fn look_up(&mut self, name: String) {
        if let Some(address) = self.named.addresses.get_mut(&name) {
            address.until = None;
        }
        let question = self.names.find(&self.named.resolver, &name);
        self.named.lookups.spawn(async move { (name, question.await) });
    }

    fn found(&mut self, name: &str, found: Found) {
        let Some(address) = self.named.addresses.get_mut(name) else { return };
        match found.addresses {
            Ok(addresses) => {
                let until = found.until.max(Instant::now() + Duration::from_millis(100));
                *address = Address { known: Some(addresses), error: None, until: Some(until) };
            }
            Err(failure) => {
                address.error = Some(failure.to_string());
                address.until =
                    Some(Instant::now() + self.source.interval.duration().max(Duration::from_secs(1)));
            }
        }
    }

    /// Waits for something, and keeps the names of the peers resolved meanwhile.
    pub(crate) async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::pin!(what);
        loop {
            let due = self.named.addresses.values().filter_map(|address| address.until).min();
            tokio::select! {
                biased;
                result = &mut what => return result,
                Some(joined) = self.named.lookups.join_next() => {
                    if let Ok((name, found)) = joined {
                        self.found(&name, found);
                    }
                    if self.named.lookups.is_empty() && let Some((index, endpoint, document)) = self.named.document.clone() {
                        self.take(index, endpoint, document);
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let now = Instant::now();
                    let old = self.named.addresses.iter().filter(|(_, address)| address.until.is_some_and(|until| until <= now));
                    for name in old.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                        self.look_up(name);
                    }
                }
            }
        }
    }

    fn take(&mut self, index: u64, endpoint: String, document: Document) {
        let addresses = &self.named.addresses;
        let (peers, rejected) = peers(document, |name| match addresses.get(name) {
            Some(Address { known: Some(known), .. }) => Ok(sorted(known)),
            Some(Address { error: Some(error), .. }) => Err(error.clone()),
            _ => Err("no answer yet".to_owned()),
        });
        let list = PeerList { index, peers, rejected, remembered: false, endpoint };
        let endpoint = list.endpoint.clone();
        match self.known.adopt(list) {
            Ok(verdict) => self.adopted(verdict),
            Err(refusal) => self.failed(&refusal.to_string(), endpoint),
        }
    }

    fn adopted(&mut self, verdict: Verdict) {
        self.good = Some(Instant::now());
        let recovered = self.trouble.take().is_some();
        let Some(list) = self.known.list().filter(|_| recovered || verdict != Verdict::Nothing).cloned()
        else {
            return;
        };
        self.report(What::List(list.clone()));
        if let Some(file) = self.file.as_ref().filter(|_| verdict == Verdict::Peers) {
            self.disk.write(file.clone(), disk::encode(&self.source.origin, &list));
        }
        // Of the first list nobody knows whether the file has it.
        if let Some(path) = self.source.dump.as_ref().filter(|_| verdict == Verdict::Peers || !self.dumped) {
            self.disk.write(path.into(), dump(&list.peers).into_bytes());
            self.dumped = true;
        }
        let word = if recovered { "follows again: " } else { "" };
        let level = if recovered { Level::Notice } else { Level::Info };
        self.say(
            level,
            &format!("{word}{} peers, index {}, from {}", list.peers.len(), list.index, list.endpoint),
        );
        for line in list.rejected.iter().filter(|line| !self.rejected.contains(line)) {
            self.say(Level::Warn, &format!("{} lists {line}", list.endpoint));
        }
        self.rejected = list.rejected;
    }

    /// The source is as it was known: nothing but its age changes.
    pub(crate) fn unchanged(&mut self) {
        self.good = Some(Instant::now());
    }

    /// Tells that the source cannot be followed, or is not believed: in the log once, until it can be again.
    pub(crate) fn failed(&mut self, error: &str, endpoint: String) {
        if self.trouble.as_deref() == Some(error) {
            return;
        }
        let text = format!("{error}; {}", self.age());
        if self.trouble.replace(error.to_owned()).is_none() {
            let who = if error.contains(&endpoint) { String::new() } else { format!("{endpoint}: ") };
            self.say(Level::Error, &format!("{who}{text}"));
        }
        self.report(What::Failed { error: text, endpoint });
    }

    fn age(&self) -> String {
        match (self.known.list(), self.good) {
            (None, _) => "there is no list yet".to_owned(),
            (Some(list), Some(good)) => {
                let peers = list.peers.len();
                format!("the last list ({peers} peers, {} s old) stays", good.elapsed().as_secs())
            }
            (Some(list), None) => format!("the remembered list ({} peers) stays", list.peers.len()),
        }
    }

    /// The last good list, for who follows after.
    pub(crate) fn into_list(self) -> Option<PeerList> {
        self.known.list().cloned()
    }

    fn report(&self, what: What) {
        // Nobody listens any more when the process ends.
        let _ = self.options.report.send(Update { key: self.key.clone(), source: self.index, what });
    }
}

/// Name servers turn their answers round and round; that is no change.
fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
