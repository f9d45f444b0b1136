//! Single children, process groups, and the kernel's news of processes.

use std::io::{ErrorKind, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use crate::hosts::{FIRST_PROCESSES, FIRST_USERS, alone, is_first, readable};
use weir_net::{ProcessEvent, ProcessEvents, Signal, child_fd, is_root, signal_group, wait_pid};

// Each child is reaped by its number here, so `std::process::Child::wait` is not to be called as well.

#[test]
#[allow(clippy::zombie_processes)]
fn one_child_is_awaited_and_others_are_left_alone() {
    let other = Command::new("true").spawn().expect("spawn").id();
    let child = Command::new("sh").args(["-c", "exit 3"]).spawn().expect("spawn").id();
    for (child, code) in [(child, 3), (other, 0)] {
        readable(child_fd(child).expect("a child"));
        let status = wait_pid(child).expect("a child").expect("it ended");
        assert_eq!(status.code(), Some(code));
        assert_eq!(wait_pid(child).expect_err("reaped").raw_os_error(), Some(libc::ECHILD));
        assert_eq!(child_fd(child).expect_err("gone").raw_os_error(), Some(libc::ESRCH));
    }
}

#[test]
#[allow(clippy::zombie_processes)]
fn a_group_is_signalled_as_a_whole() {
    let mut child = Command::new("sh")
        .args(["-c", "sleep 600 & echo up; wait"])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("spawn");
    let mut output = child.stdout.take().expect("a pipe");
    output.read_exact(&mut [0; 3]).expect("it says that it is up");
    assert_eq!(wait_pid(child.id()).expect("a child"), None, "it runs");
    signal_group(child.id(), Signal::Term).expect("a group");
    // The pipe ends when the last of the group has let it go.
    assert_eq!(output.read(&mut [0; 1]).expect("the end"), 0);
    readable(child_fd(child.id()).expect("a child"));
    let status = wait_pid(child.id()).expect("a child").expect("it ended");
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn every_process_is_no_group() {
    // Sent to -1 it would be for all; this one would end none of them.
    let error = signal_group(1, Signal::Winch).expect_err("no group of a child");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "process group 1; expected the group of a child, 2 or more");
}

#[test]
fn a_process_that_leads_no_group_is_left_alone() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("spawn");
    let error = signal_group(child.id(), Signal::Kill).expect_err("no group");
    assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    drop(child.stdin.take());
    assert!(child.wait().expect("a child").success());
}

#[test]
fn numbers_that_are_no_process_are_refused() {
    for pid in [0, u32::MAX, 1 << 31] {
        for error in [
            wait_pid(pid).expect_err("no process"),
            child_fd(pid).expect_err("no process"),
            signal_group(pid, Signal::Term).expect_err("no process"),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), format!("process id {pid}; expected 1 to 2147483647"));
        }
    }
}

/// The subscription, which root of the host must get. In a container or without root there may be none.
fn subscribe() -> Option<ProcessEvents> {
    let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let elsewhere = network("1").is_some_and(|first| network("self") != Some(first));
    let host = is_first(FIRST_USERS) && is_first(FIRST_PROCESSES) && !elsewhere;
    match ProcessEvents::open() {
        Ok(events) => Some(events),
        Err(error) => {
            let refusals = [ErrorKind::ConnectionRefused, ErrorKind::PermissionDenied];
            assert!(!(host && is_root()) && refusals.contains(&error.kind()), "{error}");
            None
        }
    }
}

#[test]
fn processes_are_followed_from_fork_to_exit() {
    let Some(mut events) = subscribe() else {
        return;
    };
    let script = ["-c", "printf renamed >/proc/$$/comm; exec true"];
    let mut child = Command::new("sh").args(script).spawn().expect("spawn");
    let (me, pid) = (std::process::id(), child.id());
    let mut seen = Vec::new();
    while !seen.contains(&ProcessEvent::Exit(pid)) {
        readable(&events);
        events.read(&mut seen).expect("read");
    }
    assert!(child.wait().expect("a child").success());
    let fork = ProcessEvent::Fork { parent: me, child: pid };
    let of_child = |event: &ProcessEvent| match *event {
        ProcessEvent::Fork { child, .. } => child == pid,
        ProcessEvent::Exec(p) | ProcessEvent::Exit(p) | ProcessEvent::NameChanged(p) => p == pid,
        ProcessEvent::Overrun => true,
    };
    seen.retain(of_child);
    let (exec, exit) = (ProcessEvent::Exec(pid), ProcessEvent::Exit(pid));
    assert_eq!(seen, [fork, exec, ProcessEvent::NameChanged(pid), exec, exit]);
}

#[test]
fn threads_are_no_processes() {
    let Some(mut events) = subscribe() else {
        return;
    };
    let me = std::process::id();
    std::thread::spawn(|| weir_net::set_process_name("weir: a thread"))
        .join()
        .expect("a thread")
        .expect("name");
    let mut child = Command::new("true").spawn().expect("spawn");
    let mut seen = Vec::new();
    while !seen.contains(&ProcessEvent::Exit(child.id())) {
        readable(&events);
        events.read(&mut seen).expect("read");
    }
    child.wait().expect("a child");
    assert!(
        !seen.contains(&ProcessEvent::Exit(me)) && !seen.contains(&ProcessEvent::NameChanged(me)),
        "{seen:?}"
    );
    assert!(!seen.iter().any(|e| matches!(e, ProcessEvent::Fork { child, .. } if *child == me)), "{seen:?}");
}

#[test]
fn a_container_is_told_that_there_are_no_events() {
    alone("children::a_container_is_told_that_there_are_no_events", || {
        let error = ProcessEvents::open().expect_err("another network");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(
            error.to_string().starts_with("the kernel gives no process events here: a container"),
            "{error}"
        );
    });
}
