//! Virtual routers beside the proxy: started, reloaded, lent to a new binary and stopped with the keeper.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use weir_log::Level;
use weir_model::vrrp::Vrrp;
use weir_serve_vrrp::{Context, Dump, Released, Service};
use weir_vrrp::{Finding, Tracker};

use super::Keeper;
use super::child::Child;
use super::health::Health;
use super::herald::Herald;
use super::pid_file;
use super::sockets::Sockets;
use crate::journal::Journal;
use crate::message::Standing;
use crate::place;

/// Elections, and what they need of the rest of the keeper.
pub(super) struct Routers {
    service: Service,
    /// Absent where there is no proxy.
    health: Option<Health>,
    herald: Option<Herald>,
    /// When another herald is started in the place of one that was killed.
    herald_at: Option<Instant>,
}

/// A herald that is killed at once is not replaced more often than this.
const HERALD_PAUSE: Duration = Duration::from_secs(1);

/// The pause before elections that did not begin are tried again.
const ROUTERS_PAUSE: Duration = Duration::from_secs(1);
/// How long a new binary may take until it has the addresses.
const TAKE_OVER: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

impl Routers {
    /// Starts the elections. Errors were told.
    pub(super) fn start(vrrp: Vrrp, proxy: bool, journal: &Journal) -> Option<Routers> {
        Routers::begin(vrrp, proxy, false, journal)
    }

    /// The same; `handed_over`: another keeper of this host has just left its addresses to this one.
    fn begin(vrrp: Vrrp, proxy: bool, handed_over: bool, journal: &Journal) -> Option<Routers> {
        let context = Context {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            journal: journal.voice(),
            status_socket: place::status_socket().into(),
            handed_over,
        };
        let service = match Service::start(vrrp, context) {
            Ok(service) => service,
            Err(reasons) => {
                reasons.iter().for_each(|reason| journal.emerg(reason));
                return None;
            }
        };
        let told = |what: &str, error: std::io::Error| {
            journal.alert(format_args!("{what} {}", weir_log::Errno(&error)));
        };
        let health = proxy.then(|| Health::start(service.remote())).transpose();
        let health = match health {
            Ok(health) => health,
            Err(error) => {
                told("the proxy's health is not watched:", error);
                service.release().finish();
                return None;
            }
        };
        // In a node with a proxy SIGUSR1 and SIGUSR2 are nginx's.
        let herald = if proxy { Herald::start(Path::new(place::KEEPALIVED_PID), journal) } else { None };
        Some(Routers { service, health, herald, herald_at: None })
    }

    /// Tells which worker serves, and what it listens on.
    pub(super) fn serving(&self, worker: Option<&Child>, sockets: &Sockets) {
        let Some(health) = &self.health else { return };
        match worker {
            Some(worker) => health.serves(worker.pid, &worker.pulse),
            None => health.gone(),
        }
        health.listeners(sockets.copies());
        let remote = self.service.remote();
        for Standing { upstream, up, peers } in worker.iter().flat_map(|worker| &worker.standing) {
            let finding = match up {
                0 => Finding::Down(format!("without a usable peer (0 of {peers})")),
                _ => Finding::Up,
            };
            remote.finding(Tracker::Upstream(upstream.clone()), finding);
        }
    }

    pub(super) fn herald(&self) -> Option<&Herald> {
        self.herald.as_ref()
    }

    pub(super) fn dump(&self, dump: Dump) {
        self.service.dump(dump);
    }

    /// What a configuration would change; the errors were told.
    pub(super) fn plan(&self, vrrp: &Vrrp, journal: &Journal) -> Option<Vec<String>> {
        let planned = self.service.plan(vrrp);
        planned.map_err(|reasons| reasons.iter().for_each(|reason| journal.emerg(reason))).ok()
    }

    fn reload(&mut self, vrrp: Vrrp, journal: &Journal) {
        if let Err(reasons) = self.service.reload(vrrp) {
            reasons.iter().for_each(|reason| journal.emerg(reason));
        }
    }

    fn is_running(&self) -> bool {
        self.service.is_running()
    }

    /// Sees that there is a herald as long as there was one.
    fn mend_herald(&mut self, journal: &Journal) {
        if let Some(status) = self.herald.as_mut().and_then(Herald::ended) {
            let pid = self.herald.take().map_or(0, |herald| herald.pid());
            journal.notice(format_args!("the process of keepalived's signals, {pid}, ended: {status}"));
            self.herald_at = Some(Instant::now().max(self.herald_at.unwrap_or_else(Instant::now)));
        }
        if self.herald.is_none() && self.herald_at.is_some_and(|at| at <= Instant::now()) {
            self.herald = Herald::start(Path::new(place::KEEPALIVED_PID), journal);
            self.herald_at = Some(Instant::now() + HERALD_PAUSE);
        }
    }

    /// Ends the elections: with the addresses given up, or left to another keeper of this host.
    pub(super) fn end(self, hand_over: bool) -> Released {
        // The watch first: a worker that stops because all stops is no fault.
        drop(self.health);
        drop(self.herald);
        if hand_over { self.service.hand_over() } else { self.service.release() }
    }
}

/// Elections that begin when another keeper of this host lets go.
pub(super) struct Awaited {
    vrrp: Vrrp,
    holder: Holder,
}

/// Who has the addresses meanwhile.
enum Holder {
    /// The keeper whose sockets this one took over.
    Predecessor,
    /// The binary that this keeper started, and that serves in its place.
    Successor {
        /// It has answered once: when it answers no more it has let go.
        seen: bool,
        /// Says to the new binary that somebody waits; see [`Keeper::release_routers`].
        _door: Option<Door>,
    },
}

impl Awaited {
    pub(super) fn from_predecessor(vrrp: Vrrp) -> Awaited {
        Awaited { vrrp, holder: Holder::Predecessor }
    }
}

/// A socket that exists as long as a keeper waits for what it lent.
struct Door {
    path: PathBuf,
    _socket: UnixListener,
}

impl Door {
    /// Without one the addresses take the way over the peer when the new binary ends.
    fn open(path: PathBuf) -> Option<Door> {
        // What is left of a process that was killed.
        let _ = std::fs::remove_file(&path);
        Some(Door { _socket: UnixListener::bind(&path).ok()?, path })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // A file that is left says nothing: nobody answers there.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the elections of a configuration answer.
fn status_socket(vrrp: &Vrrp) -> String {
    vrrp.globals.status_socket.clone().unwrap_or_else(place::status_socket)
}

fn door(vrrp: &Vrrp) -> PathBuf {
    pid_file::old(&status_socket(vrrp)).into()
}

impl Keeper {
    /// Whether another keeper still holds the addresses.
    pub(super) fn routers_wait(&self) -> bool {
        self.routers.is_none() && self.awaited.is_some()
    }

    /// Starts elections that had to wait for another keeper.
    pub(super) fn start_awaited_routers(&mut self) {
        let Some(awaited) = &mut self.awaited else { return };
        let answers = weir_serve_vrrp::answers(Path::new(&status_socket(&awaited.vrrp)));
        let holds = match &mut awaited.holder {
            Holder::Predecessor => self.launch.predecessor_lives() && answers,
            Holder::Successor { seen, .. } => {
                let before = std::mem::replace(seen, *seen || answers);
                self.successor.is_some() && (answers || !before)
            }
        };
        if holds {
            return;
        }
        // A keeper that was killed may have been silent for long before.
        let handed_over = match awaited.holder {
            Holder::Predecessor => self.launch.predecessor_lives(),
            Holder::Successor { .. } => true,
        };
        if let Some(awaited) = self.awaited.take() {
            self.routers = Routers::begin(awaited.vrrp, self.proxy, handed_over, &self.journal);
            self.retry_routers();
            self.tell_routers();
        }
    }

    /// Elections that did not begin in a node that serves are tried again.
    fn retry_routers(&mut self) {
        self.routers_at = self.routers.is_none().then(|| Instant::now() + ROUTERS_PAUSE);
    }

    /// Leaves the elections to a new binary that waits for them, until it ends.
    pub(super) fn lend_routers(&mut self) {
        if self.successor.is_none() {
            return;
        }
        let (Some(routers), Some(vrrp)) = (self.routers.take(), self.serving.vrrp.clone()) else { return };
        // Before the new binary begins, which may end at once.
        let holder = Holder::Successor { seen: false, _door: Door::open(door(&vrrp)) };
        self.awaited = Some(Awaited { vrrp, holder });
        self.journal.notice("the new binary takes the virtual routers over");
        self.released = Some(routers.end(true));
    }

    /// Sees that the herald lives.
    pub(super) fn mend_herald(&mut self) {
        if let Some(routers) = &mut self.routers {
            routers.mend_herald(&self.journal);
        }
    }

    /// Elections that ended by a defect begin again; the leases bridge the time between.
    pub(super) fn restart_routers(&mut self) {
        if self.routers.as_ref().is_some_and(|routers| !routers.is_running()) {
            self.journal.alert("the elections of virtual routers ended by a defect; they start again");
            // Scripts that still run must not delay what follows.
            self.released = self.routers.take().map(|routers| routers.end(true));
            self.routers_at = Some(Instant::now());
        }
        if self.routers_at.is_some_and(|at| at <= Instant::now())
            && let Some(vrrp) = self.serving.vrrp.clone()
        {
            self.routers = Routers::start(vrrp, self.proxy, &self.journal);
            self.retry_routers();
            self.tell_routers();
        }
    }

    /// The elections follow a reload that everything else has accepted; `begun` has those that are new.
    pub(super) fn reload_routers(&mut self, begun: Option<Routers>) {
        match (&mut self.routers, self.serving.vrrp.clone()) {
            (Some(routers), Some(vrrp)) => routers.reload(vrrp, &self.journal),
            (None, Some(vrrp)) => match &mut self.awaited {
                Some(awaited) => awaited.vrrp = vrrp,
                None => {
                    self.routers = begun;
                    self.routers_at = None;
                }
            },
            (_, None) => {
                self.awaited = None;
                self.routers_at = None;
                self.released = self.routers.take().map(|routers| routers.end(false));
            }
        }
        self.tell_routers();
    }

    /// Tells the elections what serves now.
    pub(super) fn tell_routers(&self) {
        if let Some(routers) = &self.routers {
            routers.serving(self.workers.iter().rfind(|worker| !worker.leaving), &self.serving.sockets);
        }
    }

    /// Gives the addresses up, or leaves them to another keeper that waits for them: the new binary, or the old one that
    /// lent them.
    pub(super) fn release_routers(&mut self) {
        self.awaited = None;
        self.routers_at = None;
        let lent = |vrrp: &Vrrp| self.launch.predecessor_lives() && weir_serve_vrrp::answers(&door(vrrp));
        let hand_over = self.successor.is_some() || self.serving.vrrp.as_ref().is_some_and(lent);
        if let Some(routers) = self.routers.take() {
            self.released = Some(routers.end(hand_over));
        }
    }

    /// Stays until a new binary has the addresses: from a keeper that has gone it does not take them as handed over,
    /// because that one may have been silent for long.
    pub(super) fn await_successor(&self) {
        let Some(vrrp) = self.serving.vrrp.as_ref().filter(|_| self.successor.is_some()) else { return };
        let (path, until) = (status_socket(vrrp), Instant::now() + TAKE_OVER);
        while !weir_serve_vrrp::answers(Path::new(&path)) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }

    pub(super) fn dump(&self, dump: Dump) {
        match &self.routers {
            Some(routers) => routers.dump(dump),
            None => {
                self.journal.say(Level::Notice, "there are no virtual routers whose state could be dumped")
            }
        }
    }

    /// What a signal to the herald asks for.
    pub(super) fn heed_herald(&mut self) {
        let Some(herald) = self.routers.as_ref().and_then(Routers::herald) else { return };
        for signal in herald.take() {
            self.obey_as_keepalived(signal);
        }
    }

    /// The herald's file, if there is one.
    pub(super) fn herald_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        Some(self.routers.as_ref()?.herald()?.as_fd())
    }
}
