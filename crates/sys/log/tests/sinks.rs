//! Sinks against real files, pipes and sockets.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir_log::{
    AccessOptions, AccessSink, Context, ErrorLog, Level, LogFile, Output, Sink, Syslog, SyslogTarget,
    open_append,
};

fn file_log(path: &Path, level: Level) -> (Arc<LogFile>, ErrorLog) {
    let file = Arc::new(LogFile::new(open_append(path).expect("open")));
    let log = ErrorLog::new(vec![Output { sink: Sink::File(Arc::clone(&file)), level }]);
    (file, log)
}

fn target(address: String) -> SyslogTarget {
    SyslogTarget { address, facility: 23, severity: 6, tag: "nginx".to_owned(), hostname: true }
}

fn receiver() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    let address = socket.local_addr().expect("bound").to_string();
    (socket, address)
}

fn datagram(socket: &UdpSocket) -> String {
    let mut space = [0; 4096];
    let size = socket.recv(&mut space).expect("a datagram");
    String::from_utf8_lossy(&space[..size]).into_owned()
}

#[test]
fn levels_choose_the_outputs() {
    let dir = tempfile::tempdir().expect("a folder");
    let (all, few) = (dir.path().join("all"), dir.path().join("few"));
    let output = |path: &Path, level| Output {
        sink: Sink::File(Arc::new(LogFile::new(open_append(path).expect("open")))),
        level,
    };
    let memory = Output { sink: Sink::Memory, level: Level::Debug };
    let log = ErrorLog::new(vec![output(&all, Level::Info), memory, output(&few, Level::Error)]);
    assert!(log.enabled(Level::Info));
    assert!(!log.enabled(Level::Debug), "memory is no reason to put a message together");
    log.note(Level::Debug, format_args!("first"));
    log.note(Level::Info, format_args!("second"));
    log.log(Level::Crit, Some(4), format_args!("third"), &Context { client: Some("::1"), ..Context::NONE });
    let text = fs::read_to_string(&all).expect("read");
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains(" [info] ") && text.contains(": second\n"), "{text}");
    assert!(text.ends_with(": *4 third, client: ::1\n"), "{text}");
    let text = fs::read_to_string(&few).expect("read");
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(" [crit] "), "{text}");
}

#[test]
fn nobody_listens() {
    let log = ErrorLog::new(Vec::new());
    assert!(!log.enabled(Level::Emerg));
    log.note(Level::Emerg, format_args!("lost"));
}

#[test]
fn lines_of_many_threads_stay_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("error.log");
    let (_, log) = file_log(&path, Level::Error);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for i in 0..250 {
                    log.note(Level::Error, format_args!("thread {thread} line {i} {}", "x".repeat(300)));
                }
            });
        }
    });
    let text = fs::read_to_string(&path).expect("read");
    assert_eq!(text.lines().count(), 1000);
    assert!(text.lines().all(|l| l.ends_with(&"x".repeat(300)) && l.matches("thread").count() == 1));
}

#[test]
fn reopened_files_get_the_next_lines() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, moved) = (dir.path().join("error.log"), dir.path().join("error.log.1"));
    let (file, log) = file_log(&path, Level::Error);
    log.note(Level::Error, format_args!("before"));
    fs::rename(&path, &moved).expect("rename");
    log.note(Level::Error, format_args!("between"));
    file.replace(open_append(&path).expect("reopen"));
    log.note(Level::Error, format_args!("after"));
    assert_eq!(fs::read_to_string(&moved).expect("read").lines().count(), 2);
    assert!(fs::read_to_string(&path).expect("read").ends_with(": after\n"));
}

#[test]
fn syslog_over_udp() {
    let (socket, address) = receiver();
    let syslog = Arc::new(Syslog::new(&target(address)).expect("target"));
    syslog.send(b"GET /");
    let text = datagram(&socket);
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let (head, rest) = text.split_at("<190>Nov 21 06:45:01".len());
    assert!(jiff::fmt::strtime::parse("<190>%b %e %H:%M:%S", head).is_ok(), "{head}");
    assert_eq!(rest, format!(" {host} nginx: GET /"));

    let log = ErrorLog::new(vec![Output { sink: Sink::Syslog(Arc::clone(&syslog)), level: Level::Warn }]);
    log.note(Level::Error, format_args!("broken"));
    let text = datagram(&socket);
    assert!(text.starts_with("<187>"), "local7 and error: {text}");
    assert!(text.contains(" nginx: 2") && text.contains(" [error] "), "{text}");
    assert!(text.ends_with(": broken"), "no line feed: {text}");

    let sink = AccessSink::syslog(syslog);
    sink.push(b"one");
    sink.push_with(|line| line.extend_from_slice(b"two"));
    assert!(datagram(&socket).ends_with("nginx: one"));
    assert!(datagram(&socket).ends_with("nginx: two"));
    assert!(sink.deadline().is_none() && sink.take_loss().is_none());
}

#[test]
fn syslog_without_host_and_with_tag() {
    let (socket, address) = receiver();
    let target =
        SyslogTarget { facility: 1, severity: 1, tag: "edge".into(), hostname: false, ..target(address) };
    Syslog::new(&target).expect("target").send(b"m");
    let text = datagram(&socket);
    assert!(text.starts_with("<9>"), "{text}");
    assert_eq!(text.split_at("<9>Nov 21 06:45:01".len()).1, " edge: m");
}

#[test]
fn syslog_comes_back() {
    let (socket, address) = receiver();
    let syslog = Syslog::new(&target(address.clone())).expect("target");
    syslog.send(b"first");
    assert!(datagram(&socket).ends_with("first"));
    drop(socket);
    // The refusal of one datagram is told at the next one.
    while syslog.failures() == 0 {
        syslog.send(b"lost");
    }
    let socket = UdpSocket::bind(&address).expect("the same port again");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    syslog.send(b"again");
    assert!(datagram(&socket).ends_with("again"));
}

#[test]
fn syslog_over_a_unix_socket() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    let syslog = Syslog::new(&target(format!("unix:{}", path.display()))).expect("target");
    syslog.send(b"nobody there");
    assert_eq!(syslog.failures(), 1);
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    syslog.send(b"there");
    let mut space = [0; 256];
    let size = socket.recv(&mut space).expect("a datagram");
    assert!(space[..size].ends_with(b" nginx: there"));
    // Nobody reads: the queue fills and nothing blocks.
    while syslog.failures() == 1 {
        syslog.send(&[b'x'; 1024]);
    }
}

#[test]
fn syslog_host_names() {
    Syslog::new(&target("localhost".into())).expect("a host without a port");
    Syslog::new(&target("localhost:1514".into())).expect("a host with a port");
    Syslog::new(&target("127.0.0.1".into())).expect("an address without a port");
    Syslog::new(&target("[::1]".into())).expect("an IPv6 address without a port");
    Syslog::new(&target("no-such-host.invalid".into())).expect_err("no such host");
}

fn access(options: AccessOptions) -> (tempfile::TempDir, std::path::PathBuf, AccessSink) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("access.log");
    let sink = AccessSink::file(open_append(&path).expect("open"), options);
    (dir, path, sink)
}

#[test]
fn lines_leave_when_the_loop_sleeps() {
    let (_dir, path, sink) = access(AccessOptions::default());
    sink.push(b"one");
    sink.push_with(|line| line.extend_from_slice(b"two"));
    assert_eq!(fs::read_to_string(&path).expect("read"), "");
    assert_eq!(sink.deadline(), None);
    sink.flush();
    assert_eq!(fs::read_to_string(&path).expect("read"), "one\ntwo\n");
    for _ in 0..70 {
        sink.push_with(|line| line.resize(line.len() + 1023, b'y'));
    }
    assert_eq!(fs::metadata(&path).expect("size").len(), 8 + (64 << 10), "64 KiB leave at once");
    drop(sink);
    assert_eq!(fs::metadata(&path).expect("size").len(), 8 + (70 << 10));
}

#[test]
fn a_configured_buffer_is_written_when_full() {
    let (_dir, path, sink) = access(AccessOptions { buffer: Some(10), ..AccessOptions::default() });
    sink.push(b"1234");
    sink.flush();
    sink.push_with(|line| line.extend_from_slice(b"678"));
    assert_eq!(fs::read_to_string(&path).expect("read"), "", "9 of 10 bytes");
    sink.push(b"ab");
    assert_eq!(fs::read_to_string(&path).expect("read"), "1234\n678\n", "no line is split");
    sink.push(b"longer than the buffer");
    assert_eq!(fs::read_to_string(&path).expect("read"), "1234\n678\nab\nlonger than the buffer\n");
    sink.push(b"end");
    sink.finish();
    assert!(fs::read_to_string(&path).expect("read").ends_with("buffer\nend\n"));
}

#[test]
fn a_flush_time_bounds_the_wait() {
    let options = AccessOptions { buffer: Some(4096), flush_ms: Some(0), gzip: None };
    let (_dir, path, sink) = access(options);
    assert_eq!(sink.deadline(), None);
    sink.push(b"x");
    assert!(sink.deadline().expect("a time") <= weir_log::clock::mono_ms());
    sink.flush();
    assert_eq!(fs::read_to_string(&path).expect("read"), "x\n");
    assert_eq!(sink.deadline(), None);

    let (_dir, path, sink) = access(AccessOptions { flush_ms: Some(3_600_000), ..options });
    sink.push(b"x");
    sink.flush();
    assert_eq!(fs::read_to_string(&path).expect("read"), "", "an hour is not over");
    assert!(sink.deadline().expect("a time") > weir_log::clock::mono_ms());
}

#[test]
fn rotation_keeps_lines_in_the_old_file() {
    let (dir, path, sink) = access(AccessOptions { buffer: Some(4096), ..AccessOptions::default() });
    sink.push(b"old");
    let new = dir.path().join("new.log");
    sink.replace(open_append(&new).expect("open"));
    sink.push(b"new");
    sink.finish();
    assert_eq!(fs::read_to_string(path).expect("read"), "old\n");
    assert_eq!(fs::read_to_string(new).expect("read"), "new\n");
}

#[test]
fn gzip_members() {
    let (_dir, path, sink) = access(AccessOptions { gzip: Some(1), ..AccessOptions::default() });
    sink.push(b"first");
    sink.finish();
    sink.push_with(|line| line.extend_from_slice(b"second"));
    sink.finish();
    let mut text = String::new();
    let file = File::open(path).expect("open");
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, "first\nsecond\n");
}

#[test]
fn a_full_disk_loses_lines_and_says_so() {
    let full = fs::OpenOptions::new().append(true).open("/dev/full").expect("open");
    let sink = AccessSink::file(OwnedFd::from(full), AccessOptions::default());
    sink.push(b"one");
    sink.push(b"two");
    sink.flush();
    let loss = sink.take_loss().expect("both lines are lost");
    assert_eq!(loss.lines, 2);
    assert_eq!(loss.error.expect("a reason").kind(), ErrorKind::StorageFull);
    assert!(sink.take_loss().is_none());
}

#[test]
fn a_slow_reader_blocks_nobody() {
    let (reader, writer) = std::io::pipe().expect("pipe");
    let sink = AccessSink::file(OwnedFd::from(writer), AccessOptions::default());
    // A pipe holds 64 KiB; the next MiB waits here; what is beyond is lost.
    let line = [b'z'; 1023];
    for _ in 0..3000 {
        sink.push(&line);
    }
    let lost = sink.take_loss().expect("a pipe is not endless").lines;
    assert!(lost > 0 && lost < 3000, "{lost}");
    let lines = std::thread::spawn(move || {
        std::io::BufRead::lines(std::io::BufReader::new(reader)).filter(|l| l.is_ok()).count() as u64
    });
    let mut rest = 0;
    while sink.take_loss().map(|l| rest += l.lines).is_some() {}
    // The reader takes its time: flush until everything is out.
    loop {
        sink.flush();
        if sink.pending() == 0 {
            break;
        }
        std::thread::yield_now();
    }
    drop(sink);
    assert_eq!(lines.join().expect("the reader ends") + lost + rest, 3000);
}
