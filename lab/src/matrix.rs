//! The kill matrix: what an address and its clients suffer when something of the master dies, for Weir and its rivals.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::entry::Subject;
use crate::error::{Error, Result};
use crate::probe::Tally;
use crate::record::Record;
use crate::run::{Cast, run};
use crate::scenario::{Action, Event, HostPart, PartName, Play, ProbePart, Role, Scenario, Time};
use crate::watch::Account;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
/// When the event happens, after the start of the clock: soon after an advertisement, which is when the backup has to
/// wait longest, and not so close to one that chance decides.
const AT: Duration = Duration::from_millis(1100);
/// Late between two advertisements, so that a restarted master does not win against the backup by its shorter skew.
const LATE: Duration = Duration::from_millis(1800);
/// Where a master takes its address back, the other gives it up when it hears so.
const EXCHANGE: Duration = Duration::from_millis(20);
const MASTER: &str = "a";
const BACKUP: &str = "b";

/// Who plays the master and the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pair {
    Rivals,
    Weir,
    /// Weir is the master, keepalived the backup.
    Mixed,
}

impl Pair {
    pub const ALL: [Pair; 3] = [Pair::Rivals, Pair::Weir, Pair::Mixed];

    pub fn name(self) -> &'static str {
        match self {
            Pair::Rivals => Subject::RIVALS,
            Pair::Weir => "weir",
            Pair::Mixed => "weir, backup keepalived",
        }
    }

    fn plays(self) -> (Play, Play) {
        match self {
            Pair::Rivals => (Play::Rivals, Play::Rivals),
            Pair::Weir => (Play::Weir, Play::Weir),
            Pair::Mixed => (Play::Weir, Play::Rivals),
        }
    }
}

/// What happens to the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    Term,
    KillAll,
    KillWorker,
    KillVrrp,
    StopAndContinue,
    BrokenReload,
    DifferingAddresses,
    AddressDeleted,
    ProxyWedged,
    LinkDown,
    LinkDownFast,
}

impl Case {
    pub const ALL: [Case; 11] = [
        Case::Term,
        Case::KillAll,
        Case::KillWorker,
        Case::KillVrrp,
        Case::StopAndContinue,
        Case::BrokenReload,
        Case::DifferingAddresses,
        Case::AddressDeleted,
        Case::ProxyWedged,
        Case::LinkDown,
        Case::LinkDownFast,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Case::Term => "TERM",
            Case::KillAll => "KILL of everything",
            Case::KillWorker => "KILL of the worker",
            Case::KillVrrp => "KILL of the VRRP process",
            Case::StopAndContinue => "STOP for 5 s, then CONT",
            Case::BrokenReload => "reload of a broken file",
            Case::DifferingAddresses => "address lists differ by one",
            Case::AddressDeleted => "ip addr del of the VIP",
            Case::ProxyWedged => "proxy wedged",
            Case::LinkDown => "link down",
            Case::LinkDownFast => "link down, v3, 100 ms",
        }
    }

    /// What Weir must reach.
    pub fn target(self, pair: Pair) -> Target {
        let base = Target { without: None, doubled: Some(Duration::ZERO), moves: Some(1), refused: None };
        let without = |ms| Target { without: Some(Duration::from_millis(ms)), ..base };
        match self {
            Case::Term => without(650),
            // The own copy is gone before the peer has it.
            Case::KillAll | Case::KillVrrp | Case::LinkDown => without(3700),
            Case::KillWorker => Target { moves: Some(0), refused: Some(0), ..without(0) },
            // The lease ends during the stall; the node returns as backup and may win its address back.
            Case::StopAndContinue => Target { moves: None, doubled: Some(EXCHANGE), ..without(3700) },
            Case::BrokenReload => Target { moves: Some(0), refused: Some(0), ..without(0) },
            // keepalived before 2.3.3 drops what has another list, and becomes master once; then it hears its own list.
            Case::DifferingAddresses if pair == Pair::Mixed => {
                Target { moves: None, doubled: Some(EXCHANGE), ..without(0) }
            }
            Case::DifferingAddresses => Target { moves: Some(0), ..without(0) },
            Case::AddressDeleted => Target { moves: Some(0), ..without(10) },
            // One second until the fault is seen, and the master-down time.
            Case::ProxyWedged => without(4700),
            Case::LinkDownFast => without(400),
        }
    }

    fn window(self) -> Duration {
        Duration::from_secs(match self {
            Case::StopAndContinue => 14,
            Case::LinkDownFast | Case::AddressDeleted => 6,
            _ => 10,
        })
    }

    fn at(self) -> Duration {
        if self == Case::KillVrrp { LATE } else { AT }
    }

    fn events(self, master_file: &str) -> Vec<Event> {
        let event = |action, part| Event { part, ..Event::new(self.at(), action, MASTER) };
        match self {
            Case::Term => vec![event(Action::End, PartName::All)],
            Case::KillAll => vec![event(Action::Kill, PartName::All)],
            Case::KillWorker => vec![event(Action::Kill, PartName::Worker)],
            Case::KillVrrp => vec![event(Action::Kill, PartName::Vrrp)],
            Case::StopAndContinue => {
                let end = Event::new(self.at() + Duration::from_secs(5), Action::Cont, MASTER);
                vec![event(Action::Stop, PartName::All), end]
            }
            Case::BrokenReload => {
                let broken = master_file.replace("interface eth0", "interface eth9");
                vec![Event { keepalived: Some(broken), ..event(Action::Reload, PartName::All) }]
            }
            Case::DifferingAddresses => {
                let more = master_file.replace("10.0.0.100/24", "10.0.0.100/24\n        10.0.0.101/24");
                vec![Event { keepalived: Some(more), ..event(Action::Reload, PartName::All) }]
            }
            Case::AddressDeleted => {
                vec![Event { address: Some(VIP), ..event(Action::DeleteAddress, PartName::All) }]
            }
            Case::ProxyWedged => vec![event(Action::Stop, PartName::Worker)],
            Case::LinkDown | Case::LinkDownFast => vec![event(Action::LinkDown, PartName::All)],
        }
    }
}

/// Bounds; `None` asks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Target {
    pub without: Option<Duration>,
    pub doubled: Option<Duration>,
    pub moves: Option<u32>,
    pub refused: Option<u64>,
}

/// A cell of the matrix.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    pub case: Case,
    pub pair: Pair,
    pub account: Account,
    pub probe: Tally,
    /// When the master lost the address after the event; `None`: it never did.
    pub left_after: Option<Duration>,
    /// When the backup had it after the event.
    pub taken_after: Option<Duration>,
    /// The bounds that were missed; judged for Weir, told for rivals.
    pub missed: Vec<String>,
}

/// Runs one case in a laboratory of its own.
pub fn measure(case: Case, pair: Pair, weir: &Path) -> Result<Cell> {
    let scenario = scenario(case, pair);
    let cast = Cast { weir: weir.to_owned(), subject: None };
    let record = run(&scenario, &cast).map_err(|error| {
        Error::wrong(format!("{} with {} cannot be measured: {error}", case.name(), pair.name()))
    })?;
    Ok(cell(case, pair, &record))
}

/// Runs many cases, `jobs` at once, and tells each as it ends.
pub fn measure_all(
    cases: &[Case],
    pairs: &[Pair],
    weir: &Path,
    jobs: usize,
    tell: impl Fn(&Result<Cell>) + Sync,
) -> Vec<Result<Cell>> {
    let work: Vec<(Case, Pair)> =
        cases.iter().flat_map(|case| pairs.iter().map(|pair| (*case, *pair))).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((case, pair)) = work.get(index) else { return };
                    let cell = measure(*case, *pair, weir);
                    tell(&cell);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(index, cell);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect()
}

fn scenario(case: Case, pair: Pair) -> Scenario {
    let fast = case == Case::LinkDownFast;
    let (master, backup) = pair.plays();
    let node = |name: &str, address: &str, play, priority| {
        let role = Role {
            nginx: Some(nginx(name)),
            keepalived: Some(keepalived(name, priority, fast)),
            ..Role::new(play)
        };
        HostPart { address: vec![address.to_owned()], role: vec![role], ..HostPart::default() }
    };
    let host = BTreeMap::from([
        (MASTER.to_owned(), node(MASTER, "10.0.0.1/24", master, 150)),
        (BACKUP.to_owned(), node(BACKUP, "10.0.0.2/24", backup, 100)),
        ("client".to_owned(), HostPart { address: vec!["10.0.0.9/24".to_owned()], ..HostPart::default() }),
    ]);
    let probe =
        ProbePart { from: "client".to_owned(), to: format!("http://{VIP}/"), every: None, timeout: None };
    Scenario {
        name: format!("{} ({})", case.name(), pair.name()),
        duration: Time(case.at() + case.window()),
        vips: vec![VIP],
        segments: vec!["lan".to_owned()],
        ready: BTreeMap::from([(VIP, MASTER.to_owned())]),
        host,
        event: case.events(&keepalived(MASTER, 150, fast)),
        probe: vec![probe],
        ..Scenario::default()
    }
}

fn nginx(name: &str) -> String {
    // Alone in a user namespace nobody else exists that workers could become.
    let user = if crate::lab::Lab::has_users() { "nobody nogroup" } else { "root root" };
    format!(
        "user {user};\nworker_processes 1;\npid /run/proxy.pid;\nerror_log /var/log/proxy.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n    access_log off;\n    server {{\n        listen 80;\n        location / {{\n            \
         add_header X-Node {name};\n            return 200 \"{name}\\n\";\n        }}\n    }}\n}}\n"
    )
}

fn keepalived(name: &str, priority: u8, fast: bool) -> String {
    let (version, interval) = if fast { (3, "0.1") } else { (2, "1") };
    let state = if priority == 150 { "MASTER" } else { "BACKUP" };
    format!(
        "global_defs {{\n    router_id {name}\n    vrrp_version {version}\n}}\n\
         vrrp_instance entry {{\n    state {state}\n    interface eth0\n    virtual_router_id 51\n    \
         priority {priority}\n    advert_int {interval}\n    virtual_ipaddress {{\n        10.0.0.100/24\n    }}\n}}\n"
    )
}

fn cell(case: Case, pair: Pair, record: &Record) -> Cell {
    let vip = record.vips.first();
    let begun = record.events.first().map_or(case.at(), |mark| mark.at);
    let intervals = vip.map_or(&[][..], |vip| &vip.intervals);
    let left = intervals.iter().find(|i| i.host == MASTER).and_then(|i| i.to);
    let taken = intervals.iter().find(|i| i.host == BACKUP).map(|i| i.from);
    let mut cell = Cell {
        case,
        pair,
        account: vip.map(|vip| vip.account.clone()).unwrap_or_default(),
        probe: record.probes.first().map(|probe| probe.tally.clone()).unwrap_or_default(),
        left_after: left.map(|at| at.saturating_sub(begun)),
        taken_after: taken.map(|at| at.saturating_sub(begun)),
        missed: Vec::new(),
    };
    cell.missed = misses(&cell);
    cell
}

fn misses(cell: &Cell) -> Vec<String> {
    let (target, account) = (cell.case.target(cell.pair), &cell.account);
    let mut missed = Vec::new();
    if target.without.is_some_and(|most| account.without > most) {
        missed.push("without".to_owned());
    }
    if target.doubled.is_some_and(|most| account.doubled > most) {
        missed.push("doubled".to_owned());
    }
    if target.moves.is_some_and(|moves| account.moves != moves) {
        missed.push("moves".to_owned());
    }
    if target.refused.is_some_and(|most| cell.probe.refused > most) {
        missed.push("refused".to_owned());
    }
    if cell.case == Case::KillAll && cell.left_after.is_none_or(|after| after > Duration::from_millis(2400)) {
        missed.push("own copy".to_owned());
    }
    missed
}

/// One table of all cells.
pub fn table(cells: &[Result<Cell>]) -> String {
    let mut text = format!(
        "{:27} {:24} {:>8} {:>9} {:>5} {:>8} {:>8} {:>7} {:>7}  {}\n",
        "event on the master",
        "pair",
        "without",
        "doubled",
        "moves",
        "left",
        "taken",
        "refused",
        "gap",
        "target"
    );
    for cell in cells {
        match cell {
            Ok(cell) => text.push_str(&row(cell)),
            Err(error) => {
                text.push_str(&format!("{}\n", error.to_string().lines().next().unwrap_or_default()))
            }
        }
    }
    text
}

/// A line of the table.
pub fn row(cell: &Cell) -> String {
    let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
    let perhaps = |time: Option<Duration>| time.map_or("never".to_owned(), seconds);
    let account = &cell.account;
    let doubled = if account.doubled_at_end { "for ever".to_owned() } else { seconds(account.doubled) };
    let verdict =
        if cell.missed.is_empty() { "met".to_owned() } else { format!("missed: {}", cell.missed.join(", ")) };
    format!(
        "{:27} {:24} {:>8} {:>9} {:>5} {:>8} {:>8} {:>7} {:>7}  {verdict} ({})\n",
        cell.case.name(),
        cell.pair.name(),
        seconds(account.without),
        doubled,
        account.moves,
        perhaps(cell.left_after),
        perhaps(cell.taken_after),
        cell.probe.refused,
        seconds(cell.probe.gap),
        wish(cell.case, cell.pair)
    )
}

fn wish(case: Case, pair: Pair) -> String {
    let target = case.target(pair);
    let mut words = Vec::new();
    words.extend(target.without.map(|time| format!("without <= {} ms", time.as_millis())));
    words.extend(target.doubled.map(|most| match most {
        Duration::ZERO => "never doubled".to_owned(),
        most => format!("doubled <= {} ms", most.as_millis()),
    }));
    words.extend(target.moves.map(|moves| format!("moves {moves}")));
    words.extend(target.refused.map(|_| "none refused".to_owned()));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_a_sound_scenario() {
        for case in Case::ALL {
            for pair in Pair::ALL {
                scenario(case, pair).check().unwrap_or_else(|error| panic!("{case:?} {pair:?}: {error}"));
            }
        }
    }
}
