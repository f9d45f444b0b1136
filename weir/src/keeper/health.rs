//! The proxy's own health, as virtual routers need it: a thread beside the keeper's loop, so that neither a reload nor a
//! worker that does not answer delays what it says.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use weir_net::Waker;
use weir_serve_vrrp::Remote;
use weir_vrrp::{Finding, Tracker};

use super::sockets;

/// A worker or a thread that gives no sign for so long is at fault. With [`LOOK`] it is found within a second.
const SILENCE: Duration = Duration::from_millis(700);
/// A proxy that was at fault is trusted again after so long without one: a worker that dies again and again must not pull
/// the address back each time.
const STEADY: Duration = Duration::from_secs(2);
/// How often it is looked without any sign.
const LOOK: Duration = Duration::from_millis(100);

/// Both ends of a worker's pulse: ours, and the worker's.
pub(super) fn pulse() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Watches the worker that serves, and tells the elections.
pub(super) struct Health {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    watched: Mutex<Watched>,
    waker: Waker,
}

/// What is looked at.
struct Watched {
    end: bool,
    worker: Option<Worker>,
    /// Since when no worker serves.
    without: Instant,
    /// Copies of the listening sockets, and what each listens on.
    listeners: Vec<(String, OwnedFd)>,
}

struct Worker {
    pid: u32,
    pulse: Arc<OwnedFd>,
    seen: Instant,
    threads: Vec<Thread>,
}

/// A data thread's counter and when it moved.
struct Thread {
    beats: u64,
    moved: Instant,
}

impl Health {
    /// Starts to watch.
    pub(super) fn start(remote: Remote) -> std::io::Result<Health> {
        let watched = Watched { end: false, worker: None, without: Instant::now(), listeners: Vec::new() };
        let shared = Arc::new(Shared { watched: Mutex::new(watched), waker: Waker::new()? });
        let looking = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("health".to_owned());
        let thread = Some(thread.spawn(move || look(&looking, &remote))?);
        Ok(Health { shared, thread })
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This worker serves from now on.
    pub(super) fn serves(&self, pid: u32, pulse: &Arc<OwnedFd>) {
        let now = Instant::now();
        let mut watched = self.watched();
        if watched.worker.as_ref().is_none_or(|worker| worker.pid != pid) {
            let pulse = Arc::clone(pulse);
            watched.worker = Some(Worker { pid, pulse, seen: now, threads: Vec::new() });
        }
        drop(watched);
        // A failure delays the next look, by a tenth of a second at most.
        let _ = self.shared.waker.wake();
    }

    /// No worker serves.
    pub(super) fn gone(&self) {
        let mut watched = self.watched();
        if watched.worker.take().is_some() {
            watched.without = Instant::now();
        }
    }

    /// The sockets that have to listen.
    pub(super) fn listeners(&self, listeners: Vec<(String, OwnedFd)>) {
        self.watched().listeners = listeners;
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.watched().end = true;
        // A failure delays the next look, by a tenth of a second at most.
        let _ = self.shared.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there has been told by the process' hook.
            let _ = thread.join();
        }
    }
}

fn look(shared: &Shared, remote: &Remote) {
    let mut verdict = Verdict::default();
    loop {
        {
            let mut watched = shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
            if watched.end {
                return;
            }
            let now = Instant::now();
            let found = watched.find(now);
            if let Some(found) = verdict.next(found, now) {
                remote.finding(Tracker::Proxy, found);
            }
        }
        // Not the pulse: that of a worker that has ended would be readable for ever.
        let mut fds = [PollFd::from_borrowed_fd(shared.waker.as_fd(), PollFlags::IN)];
        let wait = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        // A failure is a signal or a lack of memory; looking once more is right in both cases.
        let _ = rustix::event::poll(&mut fds, Some(&wait));
        let _ = shared.waker.clear();
    }
}

/// What was told last, and how long the opposite has been seen.
#[derive(Default)]
struct Verdict {
    told: Option<Finding>,
    up_since: Option<Instant>,
}

impl Verdict {
    /// What has to be told now.
    fn next(&mut self, found: Finding, now: Instant) -> Option<Finding> {
        let up = found == Finding::Up;
        let since = *self.up_since.get_or_insert(now);
        if !up {
            self.up_since = None;
        }
        let doubted = matches!(self.told, Some(Finding::Down(_)));
        if self.told.as_ref() == Some(&found) || (up && doubted && now.duration_since(since) < STEADY) {
            return None;
        }
        self.told = Some(found.clone());
        Some(found)
    }
}

impl Watched {
    fn find(&mut self, now: Instant) -> Finding {
        let Some(worker) = &mut self.worker else {
            return if now.duration_since(self.without) < SILENCE {
                Finding::Up
            } else {
                Finding::Down("no worker process serves".to_owned())
            };
        };
        worker.listen(now);
        if let Some(reason) = worker.fault(now) {
            return Finding::Down(reason);
        }
        let deaf = self.listeners.iter().find(|(_, socket)| !sockets::is_listening(socket));
        match deaf {
            Some((address, _)) => Finding::Down(format!("the listening socket of {address} is lost")),
            None => Finding::Up,
        }
    }
}

impl Worker {
    /// Takes the pulses that have come.
    fn listen(&mut self, now: Instant) {
        let mut bytes = [0; 8 * 1024];
        while let Ok((length, _)) = recv(&*self.pulse, &mut bytes, RecvFlags::empty()) {
            if length == 0 {
                break;
            }
            self.seen = now;
            let counters = bytes.get(..length).unwrap_or_default().chunks_exact(8);
            let counters: Vec<u64> = counters
                .map(|chunk| u64::from_ne_bytes(chunk.try_into().expect("chunks of eight bytes")))
                .collect();
            if counters.len() != self.threads.len() {
                self.threads = counters.iter().map(|&beats| Thread { beats, moved: now }).collect();
            }
            for (thread, beats) in self.threads.iter_mut().zip(counters) {
                if thread.beats != beats {
                    *thread = Thread { beats, moved: now };
                }
            }
        }
    }

    fn fault(&self, now: Instant) -> Option<String> {
        let pid = self.pid;
        if now.duration_since(self.seen) >= SILENCE {
            return Some(format!("worker process {pid} gives no sign of life"));
        }
        let stuck = self.threads.iter().position(|thread| now.duration_since(thread.moved) >= SILENCE)?;
        Some(format!("data thread {stuck} of worker process {pid} is stuck"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(text: &str) -> Finding {
        Finding::Down(text.to_owned())
    }

    #[test]
    fn a_fault_is_told_at_once_and_its_end_when_it_lasts() {
        let (start, mut verdict) = (Instant::now(), Verdict::default());
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        assert_eq!(verdict.next(Finding::Up, at(0)), Some(Finding::Up), "nothing speaks against a new node");
        assert_eq!(verdict.next(Finding::Up, at(1)), None);
        assert_eq!(verdict.next(down("a"), at(2)), Some(down("a")));
        assert_eq!(verdict.next(Finding::Up, at(3)), None);
        assert_eq!(verdict.next(Finding::Up, at(22)), None);
        assert_eq!(verdict.next(down("a"), at(22)), None, "it is known");
        assert_eq!(verdict.next(down("b"), at(23)), Some(down("b")));
        assert_eq!(verdict.next(Finding::Up, at(24)), None, "the time counts from here");
        assert_eq!(verdict.next(Finding::Up, at(43)), None);
        assert_eq!(verdict.next(Finding::Up, at(44)), Some(Finding::Up));
    }

    #[test]
    fn a_thread_that_does_not_turn_is_stuck() {
        let (pulse, _other) = pulse().expect("a pair");
        let now = Instant::now();
        let thread = |moved| Thread { beats: 1, moved };
        let threads = vec![thread(now + SILENCE), thread(now)];
        let worker = Worker { pid: 7, pulse: Arc::new(pulse), seen: now + SILENCE, threads };
        assert_eq!(worker.fault(now), None);
        assert_eq!(
            worker.fault(now + SILENCE).as_deref(),
            Some("data thread 1 of worker process 7 is stuck")
        );
        let later = now + 2 * SILENCE;
        assert_eq!(worker.fault(later).as_deref(), Some("worker process 7 gives no sign of life"));
    }

    #[test]
    fn a_pulse_moves_the_threads_that_turn() {
        let (ours, theirs) = pulse().expect("a pair");
        let start = Instant::now();
        let mut worker = Worker { pid: 7, pulse: Arc::new(ours), seen: start, threads: Vec::new() };
        let beat = |counters: [u64; 2]| {
            let bytes: Vec<u8> = counters.into_iter().flat_map(u64::to_ne_bytes).collect();
            rustix::net::send(&theirs, &bytes, rustix::net::SendFlags::NOSIGNAL).expect("there is room");
        };
        beat([1, 1]);
        worker.listen(start);
        beat([2, 1]);
        let later = start + SILENCE;
        worker.listen(later);
        assert_eq!(worker.fault(later).as_deref(), Some("data thread 1 of worker process 7 is stuck"));
    }
}
