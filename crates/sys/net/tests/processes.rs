//! Passing files between processes, users, error texts.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use weir_net::{
    InheritedFd, errno_text, inherited, lookup_group, lookup_user, pass_fds, raise_nofile, recv_with_fds,
    send_with_fds, socket_pair,
};

#[test]
fn a_large_message_with_many_files_arrives_whole() {
    raise_nofile().expect("limit");
    let (here, there) = socket_pair().expect("pair");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "inside").expect("write");
    let open = File::open(file.path()).expect("open");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || {
        let fds: Vec<BorrowedFd<'_>> = std::iter::repeat_n(open.as_fd(), 600).collect();
        send_with_fds(here.as_fd(), &sent, &fds).expect("send");
        send_with_fds(here.as_fd(), b"", &[]).expect("an empty one");
        send_with_fds(here.as_fd(), b"third", &fds[..1]).expect("a third");
    });
    let (got, fds) = recv_with_fds(there.as_fd()).expect("receive");
    assert!(got == bytes, "the bytes differ");
    assert_eq!(fds.len(), 600);
    let mut text = String::new();
    File::from(fds.into_iter().next_back().expect("600 files")).read_to_string(&mut text).expect("read");
    assert_eq!(text, "inside");
    let (got, fds) = recv_with_fds(there.as_fd()).expect("receive");
    assert_eq!((got.len(), fds.len()), (0, 0));
    let (got, fds) = recv_with_fds(there.as_fd()).expect("receive");
    assert_eq!((got.as_slice(), fds.len()), (&b"third"[..], 1));
    sender.join().expect("the sender ends");
    assert_eq!(recv_with_fds(there.as_fd()).expect_err("closed").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_wild_length_is_refused() {
    let (here, there) = UnixStream::pair().expect("pair");
    (&here).write_all(&[0xff; 12]).expect("write");
    let error = recv_with_fds(there.as_fd()).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("at most 1073741824 and 65536"), "{error}");
}

#[test]
fn children_find_their_files() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["a", "b"] {
        std::fs::write(dir.path().join(name), name).expect("write");
    }
    let a = File::open(dir.path().join("a")).expect("open");
    let b = File::open(dir.path().join("b")).expect("open");
    let mut command = Command::new("sh");
    command.args(["-c", "cat <&3; cat <&9"]).stdout(Stdio::piped());
    // 9 and 3 cross: neither may overwrite the other's source.
    let fds = [InheritedFd { fd: a.as_fd(), number: 9 }, InheritedFd { fd: b.as_fd(), number: 3 }];
    pass_fds(&mut command, &fds).expect("pass");
    let child = command.spawn().expect("spawn");
    drop((a, b));
    let output = child.wait_with_output().expect("the child ends");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ba");
}

#[test]
fn numbers_that_are_not_open_are_refused() {
    assert_eq!(inherited(1).expect_err("standard output").kind(), ErrorKind::InvalidInput);
    assert_eq!(inherited(900_000).expect_err("not open").raw_os_error(), Some(libc::EBADF));
}

#[test]
fn users_and_groups() {
    let root = lookup_user("root").expect("look up").expect("everybody has root");
    assert_eq!((root.name.as_str(), root.uid, root.gid), ("root", 0, 0));
    assert_eq!(lookup_user("no-such-user-here").expect("look up"), None);
    assert_eq!(lookup_group("root").expect("look up"), Some(0));
    assert_eq!(lookup_group("no-such-group-here").expect("look up"), None);
}

#[test]
fn errno_has_the_systems_text() {
    let error = std::io::Error::from_raw_os_error(libc::ECONNREFUSED);
    assert_eq!(errno_text(&error), "111: Connection refused");
    assert_eq!(errno_text(&std::io::Error::other("odd")), "odd");
}
