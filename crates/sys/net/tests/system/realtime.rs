//! Real-time threads, locked memory, the boot clock and waking. Some of it needs root of the whole host; without
//! it the tests assert what is said instead.

use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CapabilitySet, capabilities};
use weir_net::{Waker, boottime, lock_memory, pin, real_time};

use crate::hosts::{FIRST_USERS, is_first};

/// Field `number` of this thread's stat (proc(5) counts from 1), from the state on.
fn stat_field(number: usize) -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("the own state");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    fields.split_whitespace().nth(number - 3).expect("a field").parse().expect("a number")
}

fn holds(capability: CapabilitySet) -> bool {
    let own = capabilities(None).expect("the own capabilities").effective;
    own.contains(capability) && is_first(FIRST_USERS)
}

#[test]
fn one_thread_is_real_time() {
    let thread = std::thread::spawn(|| {
        match real_time(7) {
            Ok(()) => {}
            Err(error) => {
                assert!(!holds(CapabilitySet::SYS_NICE), "{error}");
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                assert!(error.to_string().starts_with("CAP_SYS_NICE is missing"), "{error}");
                return;
            }
        }
        // Priority and policy; 1 is SCHED_FIFO.
        assert_eq!((stat_field(40), stat_field(41)), (7, 1));
        let child = std::thread::spawn(|| (stat_field(40), stat_field(41)));
        assert_eq!(child.join().expect("a thread"), (0, 0), "what it starts is normal");
    });
    thread.join().expect("the assertions hold");
    assert_eq!(stat_field(41), 0, "the others are as before");
}

#[test]
fn priorities_have_bounds() {
    for priority in [0, 100] {
        let error = real_time(priority).expect_err("out of bounds");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), format!("real-time priority {priority}; expected 1 to 99"));
    }
}

#[test]
fn a_thread_is_pinned() {
    let allowed = rustix::thread::sched_getaffinity(None).expect("the own processors");
    let cpu = (0..1024).find(|cpu| allowed.is_set(*cpu)).expect("one to run on");
    let thread = std::thread::spawn(move || {
        pin(&[u32::try_from(cpu).expect("a small number")]).expect("pin");
        rustix::thread::sched_getaffinity(None).expect("the own processors")
    });
    let pinned = thread.join().expect("a thread");
    assert_eq!((pinned.count(), pinned.is_set(cpu)), (1, true));
    assert_eq!(pin(&[]).expect_err("nowhere to run").kind(), ErrorKind::InvalidInput);
    let error = pin(&[0, 5000]).expect_err("no such processor");
    assert_eq!(error.to_string(), "processor 5000; expected 0 to 1023");
}

/// In a process of its own: it concerns all threads.
#[test]
fn memory_is_locked() {
    const ALONE: &str = "WEIR_TEST_LOCKS";
    if std::env::var_os(ALONE).is_none() {
        for setpriv in [&[][..], &["--inh-caps=-all", "--bounding-set=-all"]] {
            let status = Command::new("setpriv")
                .args(setpriv)
                .arg(std::env::current_exe().expect("a test has a file"))
                .args(["--exact", "realtime::memory_is_locked", "--nocapture"])
                .env(ALONE, "1")
                .status();
            assert!(status.expect("setpriv(1) is installed").success(), "setpriv {setpriv:?}");
        }
        return;
    }
    match lock_memory() {
        Ok(()) => {
            // What is mapped later is locked as soon as it was touched.
            let before = locked();
            let later = vec![1u8; 32 << 20];
            assert!(locked() >= before + (32 << 10), "{before} KiB, later {} KiB", locked());
            assert_eq!(std::hint::black_box(&later).len(), 32 << 20);
        }
        Err(error) => {
            assert!(!holds(CapabilitySet::IPC_LOCK), "{error}");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.to_string().starts_with("CAP_IPC_LOCK is missing to lock memory"), "{error}");
        }
    }
}

/// Locked memory of this process, KiB.
fn locked() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the own state");
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("a line for it");
    line.split_whitespace().next().expect("a value").parse().expect("a number")
}

#[test]
fn the_boot_clock_counts_on() {
    let uptime = || -> f64 {
        let text = std::fs::read_to_string("/proc/uptime").expect("the uptime");
        text.split_whitespace().next().expect("two fields").parse().expect("seconds")
    };
    // The file shows hundredths.
    let before = Duration::from_secs_f64(uptime());
    let now = boottime();
    let after = Duration::from_secs_f64(uptime()) + Duration::from_millis(10);
    assert!((before..=after).contains(&now), "{before:?} {now:?} {after:?}");
}

#[test]
fn a_poll_is_woken_from_another_thread() {
    let waker = Waker::new().expect("a waker");
    let is_readable =
        |limit| poll(&mut [PollFd::new(&waker, PollFlags::IN)], Some(&limit)).expect("poll") == 1;
    assert!(!is_readable(Timespec { tv_sec: 0, tv_nsec: 0 }));
    let other = waker.clone();
    let thread = std::thread::spawn(move || {
        other.wake().expect("wake");
        other.wake().expect("wake");
    });
    assert!(is_readable(Timespec { tv_sec: 10, tv_nsec: 0 }));
    thread.join().expect("a thread");
    assert!(waker.clear().expect("clear"), "it was woken");
    assert!(!waker.clear().expect("clear"), "once");
    assert!(!is_readable(Timespec { tv_sec: 0, tv_nsec: 0 }));
}
