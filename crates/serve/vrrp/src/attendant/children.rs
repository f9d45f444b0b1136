//! Scripts that run: each in a process group of its own, with an end that is waited for without signals.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use process_wrap::std::{ChildWrapper, CommandWrap, ResetSigmask};
use rustix::event::{PollFd, PollFlags};
use weir_net::{Signal, child_fd, end_with_parent, signal_group};

use super::security::{Identity, Program};

/// Between TERM and KILL, and between one KILL and the next (keepalived's two seconds).
const GRACE: Duration = Duration::from_secs(2);

/// How often the end of a child is looked for where the kernel or a filter refuses pidfds.
const LOOK: Duration = Duration::from_millis(50);

/// What a script's environment must not bring in, since it may run as another user (keepalived drops the same).
const UNSET: [&str; 3] = ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"];

/// What a script that overruns is in (keepalived's `State` of a script).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// TERM was sent.
    Asked,
    /// KILL was sent.
    Forced,
}

/// What happens to a script when the process that started it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tie {
    /// It ends as well: what is left of a killed daemon must not go on checking and reading pipes.
    Bound,
    /// It goes on: half a notification is worse than a late one.
    Free,
}

struct Running<O> {
    owner: O,
    child: Box<dyn ChildWrapper>,
    pid: u32,
    exit: Option<OwnedFd>,
    phase: Phase,
    /// When the next signal is due.
    due: Option<Instant>,
    /// How long it was allowed to run.
    limit: Option<Duration>,
}

/// A script that has ended.
#[derive(Debug)]
pub(super) struct Ended<O> {
    pub(super) owner: O,
    pub(super) status: ExitStatus,
    /// Signals were sent: it overran its limit, or was not wanted any more.
    pub(super) ended_by_us: bool,
    /// How long it was allowed to run.
    pub(super) limit: Option<Duration>,
}

/// All scripts that run now, each with its owner.
pub(super) struct Children<O> {
    running: Vec<Running<O>>,
}

impl<O: PartialEq + Clone> Children<O> {
    pub(super) fn new() -> Self {
        Self { running: Vec::new() }
    }

    /// Starts a program with further arguments. After `limit` its whole process group gets TERM, [`GRACE`] later KILL.
    pub(super) fn start(
        &mut self,
        owner: O,
        program: &Program,
        further: &[String],
        tie: Tie,
        limit: Option<Duration>,
        now: Instant,
    ) -> io::Result<()> {
        let mut command = command(program, further);
        if tie == Tie::Bound {
            end_with_parent(&mut command, Signal::Term);
        }
        let child = CommandWrap::from(command).wrap(ResetSigmask).spawn()?;
        let pid = child.id();
        let exit = child_fd(pid).ok();
        let due = limit.map(|limit| now + limit);
        self.running.push(Running { owner, child, pid, exit, phase: Phase::Running, due, limit });
        Ok(())
    }

    /// What an owner's script is in; `None`: none runs.
    pub(super) fn phase(&self, owner: &O) -> Option<Phase> {
        self.running.iter().find(|r| r.owner == *owner).map(|r| r.phase)
    }

    /// Readable once the child has ended; in the order of [`Self::reap`]'s indexes.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = (usize, PollFd<'_>)> {
        let exits = self.running.iter().enumerate();
        exits.filter_map(|(index, r)| Some((index, PollFd::new(r.exit.as_ref()?, PollFlags::IN))))
    }

    /// Takes out the children that have ended: those at `ready` and those without a pidfd.
    pub(super) fn reap(&mut self, ready: &[usize]) -> Vec<Ended<O>> {
        let mut ended = Vec::new();
        let mut index = 0;
        self.running.retain_mut(|r| {
            let asked = r.exit.is_none() || ready.contains(&index);
            index += 1;
            let status = if asked { r.child.try_wait() } else { Ok(None) };
            let status = match status {
                Ok(None) => return true,
                Ok(Some(status)) => status,
                // Somebody else took its status: it is gone, and nobody can say how.
                Err(_) => std::os::unix::process::ExitStatusExt::from_raw(-1),
            };
            let ended_by_us = r.phase != Phase::Running;
            if ended_by_us {
                // Its own children must not outlive what was asked to end.
                _ = signal_group(r.pid, Signal::Kill);
            }
            ended.push(Ended { owner: r.owner.clone(), status, ended_by_us, limit: r.limit });
            false
        });
        ended
    }

    /// Sends the signals that are due. Returns whose limit has passed just now.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<O> {
        let mut overran = Vec::new();
        for r in self.running.iter_mut().filter(|r| r.due.is_some_and(|due| due <= now)) {
            if r.phase == Phase::Running {
                overran.push(r.owner.clone());
            }
            r.advance(now);
        }
        overran
    }

    /// Asks the scripts of `wanted` owners to end: TERM now, KILL after [`GRACE`].
    pub(super) fn end(&mut self, now: Instant, wanted: impl Fn(&O) -> bool) {
        for r in self.running.iter_mut().filter(|r| r.phase == Phase::Running && wanted(&r.owner)) {
            r.advance(now);
        }
    }

    /// Ends the scripts of `wanted` owners at once and takes their status.
    pub(super) fn kill(&mut self, wanted: impl Fn(&O) -> bool) {
        for r in self.running.iter().filter(|r| wanted(&r.owner)) {
            _ = signal_group(r.pid, Signal::Kill);
        }
        for mut r in self.running.extract_if(.., |r| wanted(&r.owner)) {
            _ = r.child.wait();
        }
    }

    /// When [`Self::expire`] or [`Self::reap`] has something to do without an event.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let looks = self.running.iter().any(|r| r.exit.is_none()).then(|| now + LOOK);
        self.running.iter().filter_map(|r| r.due).chain(looks).min()
    }
}

impl<O> Running<O> {
    fn advance(&mut self, now: Instant) {
        let (phase, signal) = match self.phase {
            Phase::Running => (Phase::Asked, Signal::Term),
            Phase::Asked | Phase::Forced => (Phase::Forced, Signal::Kill),
        };
        self.phase = phase;
        self.due = Some(now + GRACE);
        // A group that is gone was reaped a moment later anyway.
        _ = signal_group(self.pid, signal);
    }
}

fn command(program: &Program, further: &[String]) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(&program.path);
    command.args(&program.args).args(further);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0);
    for name in UNSET {
        command.env_remove(name);
    }
    if let Identity { uid, gid, other: true } = program.identity {
        // As root, setting the user also drops all further groups.
        command.uid(uid).gid(gid);
    }
    command
}
