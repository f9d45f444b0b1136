//! Keeper and worker: signals, reloads, deaths.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Background, Site, ask, get, one_word, one_word_with, text, until};
use weir_net::{Signal, send_signal};

fn lives(pid: u32) -> bool {
    // A zombie has ended; somebody has just not asked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("").starts_with('Z'))
}

#[test]
fn start_and_quit() {
    let server = Site::saying("hello").start();
    assert_eq!(server.site.read("nginx.pid"), format!("{}\n", server.pid()));
    assert_eq!(server.get().expect("an answer"), "hello");
    let worker = server.worker();
    if weir_net::is_root() {
        let nobody = weir_net::lookup_user("nobody").expect("look up").expect("there is one");
        let uid = std::fs::metadata(format!("/proc/{worker}")).expect("it lives").uid();
        assert_eq!(uid, nobody.uid, "the worker has no privileges");
    }
    let site = server.quit();
    assert!(!site.file("nginx.pid").exists());
    assert!(!lives(worker));
    let log = site.read("error.log");
    for words in [
        "[notice] ",
        "nginx/1.31.4",
        "start worker processes\n",
        "signal 3 (SIGQUIT) received from ",
        ", shutting down\n",
        &format!("worker process {worker} exited with code 0\n"),
        ": exit\n",
    ] {
        assert!(log.contains(words), "{words:?} in {log}");
    }
    assert!(!log.contains("[alert]"), "{log}");
    assert!(site.read("access.log").contains("\"GET / HTTP/1.1\" 200 5 "), "{}", site.read("access.log"));
}

#[test]
fn signals_by_name() {
    let mut server = Site::saying("one").start();
    server.site.write(&one_word("two"));
    assert!(server.site.output(&["-s", "reload"]).status.success());
    server.wait_for_answer("two");
    assert!(server.site.output(&["-s", "stop"]).status.success());
    assert!(server.wait().success());
}

#[test]
fn a_reload_keeps_worker_and_connections() {
    let server = Site::saying("one").start();
    let worker = server.worker();
    let connection = TcpStream::connect(("127.0.0.1", server.site.port)).expect("connect");
    assert_eq!(ask(&connection, "/", false).expect("an answer"), "one");
    server.site.write(&one_word("two"));
    server.signal(Signal::Hup);
    until("the new answer on the old connection", || {
        (ask(&connection, "/", false).expect("the connection is kept") == "two").then_some(())
    });
    assert_eq!(server.worker(), worker);
    assert!(lives(worker));
    server.wait_for_log("exited with code 0");
    let log = server.site.read("error.log");
    assert!(log.contains("signal 1 (SIGHUP) received from "), "{log}");
    assert!(log.contains(": reconfiguring\n"), "{log}");
}

#[test]
fn a_reload_opens_and_closes_addresses() {
    let server = Site::saying("one").start();
    let (old, new) = (server.site.port, common::free_port());
    server.site.write(&one_word("two").replace("PORT", &new.to_string()));
    server.signal(Signal::Hup);
    until("the new address", || (get(new, "/").ok()? == "two").then_some(()));
    until("the old address is closed", || TcpStream::connect(("127.0.0.1", old)).is_err().then_some(()));
}

#[test]
fn a_reload_with_other_numbers_of_threads() {
    let server = Site::saying("one").start();
    for (word, threads) in [("three", 3), ("two", 2), ("four", 4), ("single", 1)] {
        server.site.write(&one_word_with(word, &format!("worker_processes {threads};")));
        server.signal(Signal::Hup);
        server.wait_for_answer(word);
        for _ in 0..40 {
            assert_eq!(server.get().expect("every socket is served"), word);
        }
    }
}

#[test]
fn a_broken_file_changes_nothing() {
    let server = Site::saying("one").start();
    server.site.write(&one_word_with("two", "nonsense on;"));
    server.signal(Signal::Hup);
    server.wait_for_log("[emerg] ");
    let log = server.site.read("error.log");
    assert!(log.contains("unknown directive \"nonsense\" in "), "{log}");
    assert_eq!(server.get().expect("an answer"), "one");
    // An address that somebody else holds is found before anything is changed.
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("bound").port();
    let _holder = TcpListener::bind(("127.0.0.1", taken)).expect("bind");
    let conf = one_word("two").replace("listen", &format!("listen 127.0.0.1:{taken}; listen"));
    server.site.write(&conf);
    server.signal(Signal::Hup);
    server.wait_for_log("still could not bind()");
    assert_eq!(server.get().expect("an answer"), "one");
    server.site.write(&one_word("two"));
    server.signal(Signal::Hup);
    server.wait_for_answer("two");
}

#[test]
fn a_killed_worker_is_replaced_and_nobody_is_refused() {
    let server = Site::saying("hello").start();
    let (stop, refused, answered) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                match get(server.site.port, "/") {
                    Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
                    // A connection that the dead worker held is lost; a refused one would be our fault.
                    Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                        refused.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(_) => 0,
                };
            }
        });
        for _ in 0..3 {
            let worker = server.worker();
            let before = answered.load(Ordering::Relaxed);
            until("some answers", || (answered.load(Ordering::Relaxed) > before + 20).then_some(()));
            send_signal(worker, Signal::Kill).expect("it lives");
            server.wait_for_log(&format!("worker process {worker} exited on signal 9"));
            until("another worker", || (server.worker() != worker).then_some(()));
        }
        server.wait_for_answer("hello");
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(refused.load(Ordering::Relaxed), 0);
}

#[test]
fn the_worker_ends_with_the_keeper() {
    let mut server = Site::saying("hello").start();
    let worker = server.worker();
    server.signal(Signal::Kill);
    server.wait();
    until("the worker's end", || (!lives(worker)).then_some(()));
    until("the address is free", || TcpListener::bind(("127.0.0.1", server.site.port)).ok());
}

#[test]
fn rotated_logs() {
    let server = Site::saying("hello").start();
    server.get().expect("an answer");
    until("the first line", || (server.site.read("access.log").lines().count() == 1).then_some(()));
    for log in ["access.log", "error.log"] {
        std::fs::rename(server.site.file(log), server.site.file(&format!("{log}.1"))).expect("rename");
    }
    server.get().expect("an answer");
    until("the old file", || (server.site.read("access.log.1").lines().count() == 2).then_some(()));
    server.signal(Signal::Usr1);
    until("the new files", || {
        (server.site.file("access.log").exists() && server.site.file("error.log").exists()).then_some(())
    });
    until("lines in the new file", || {
        server.get().expect("an answer");
        (!server.site.read("access.log").is_empty()).then_some(())
    });
    let log = server.site.read("error.log.1");
    assert!(log.contains("signal 10 (SIGUSR1) received from "), "{log}");
    assert!(log.contains(": reopening logs\n"), "{log}");
}

/// A server in front of a backend that answers when it is told to.
fn slow(more: &str) -> (Site, TcpListener) {
    let backend = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = backend.local_addr().expect("bound");
    let site = Site::new(&format!(
        "daemon off; pid DIR/nginx.pid; error_log DIR/error.log notice; {more}
         events {{ }}
         http {{
             access_log off;
             server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{address}; }} }}
         }}"
    ));
    (site, backend)
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("a request"), 1);
        head.push(byte[0]);
    }
}

#[test]
fn quit_waits_for_running_requests() {
    let (site, backend) = slow("");
    let mut server = site.start();
    let port = server.site.port;
    let client = std::thread::spawn(move || get(port, "/"));
    let (mut request, _) = backend.accept().expect("a request comes");
    read_head(&mut request);
    server.signal(Signal::Quit);
    until("nobody is accepted", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    assert!(server.process.try_wait().expect("a child").is_none(), "it waits for the request");
    request.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").expect("answer");
    assert_eq!(client.join().expect("the client ends").expect("an answer"), "late");
    assert!(server.wait().success());
}

#[test]
fn a_limit_bounds_the_quit() {
    let (site, backend) = slow("worker_shutdown_timeout 1s;");
    let mut server = site.start();
    let port = server.site.port;
    let client = std::thread::spawn(move || get(port, "/"));
    let (mut request, _) = backend.accept().expect("a request comes");
    read_head(&mut request);
    server.signal(Signal::Quit);
    assert!(server.wait().success());
    client.join().expect("the client ends").expect_err("its request was cut off");
}

#[test]
fn term_does_not_wait() {
    let (site, backend) = slow("");
    let mut server = site.start();
    let port = server.site.port;
    let client = std::thread::spawn(move || get(port, "/"));
    let (mut request, _) = backend.accept().expect("a request comes");
    read_head(&mut request);
    let start = Instant::now();
    server.signal(Signal::Term);
    assert!(server.wait().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    client.join().expect("the client ends").expect_err("its request was cut off");
    assert!(!server.site.file("nginx.pid").exists());
}

#[test]
fn another_binary_takes_the_sockets_over() {
    let mut server = Site::saying("old").start();
    let _background = Background::of(&server.site);
    server.site.write(&one_word("new"));
    server.signal(Signal::Usr2);
    let (old, site) = (server.pid(), &server.site);
    let new: u32 = until("another keeper", || {
        let pid = site.read("nginx.pid");
        pid.strip_suffix('\n')?.parse().ok().filter(|pid| *pid != old)
    });
    assert_eq!(server.site.read("nginx.pid.oldbin"), format!("{old}\n"));
    server.signal(Signal::Quit);
    assert!(server.wait().success());
    assert!(!server.site.file("nginx.pid.oldbin").exists());
    assert_eq!(server.get().expect("the new one serves"), "new");
    send_signal(new, Signal::Quit).expect("it lives");
    until("its end", || (!server.site.file("nginx.pid").exists()).then_some(()));
}

/// The way to move a running nginx to Weir: put the binary in its place and send USR2.
#[test]
fn nginx_hands_its_sockets_on() {
    let nginx = std::path::Path::new("/usr/sbin/nginx");
    if !nginx.exists() {
        eprintln!("skipped: Debian's nginx is not installed");
        return;
    }
    let main = "client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/f;";
    let more = "uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;";
    let conf = one_word_with("\"$nginx_version\"", "worker_processes 2;").replace("daemon off;", "");
    let site = Site::new(&conf.replace("http {", &format!("http {{ {main} {more}")));
    let _background = Background::of(&site);
    let program = site.file("nginx");
    std::fs::copy(nginx, &program).expect("copy");
    let mut started = std::process::Command::new(&program);
    started.arg("-p").arg(site.path()).arg("-c").arg(site.file("nginx.conf")).args(["-e", "error.log"]);
    assert!(started.status().expect("nginx").success());
    let old = until("its pid file", || site.read("nginx.pid").trim().parse::<u32>().ok());
    let before = get(site.port, "/").expect("nginx answers");

    std::fs::remove_file(&program).expect("remove");
    std::fs::copy(env!("CARGO_BIN_EXE_weir"), &program).expect("copy");
    // What only nginx knows goes from the file.
    site.write(&conf.replace("http {", &format!("http {{ {}", main.replace("fastcgi_temp_path DIR/f;", ""))));
    send_signal(old, Signal::Usr2).expect("it lives");
    let new: u32 = until("Weir's pid file", || {
        site.read("nginx.pid").strip_suffix('\n')?.parse().ok().filter(|pid| *pid != old)
    });
    send_signal(old, Signal::Quit).expect("it lives");
    until("the end of nginx", || (!site.file("nginx.pid.oldbin").exists()).then_some(()));
    for _ in 0..20 {
        assert_ne!(get(site.port, "/").expect("Weir answers on the same sockets"), before);
    }
    send_signal(new, Signal::Quit).expect("it lives");
    until("its end", || (!site.file("nginx.pid").exists()).then_some(()));
}

#[test]
fn another_binary_that_fails_changes_nothing() {
    let server = Site::saying("old").start();
    server.site.write("nonsense");
    server.signal(Signal::Usr2);
    server.wait_for_log("new binary process ");
    server.wait_for_log(" exited with code 1");
    until("the pid file is back", || server.site.file("nginx.pid").exists().then_some(()));
    assert_eq!(server.site.read("nginx.pid"), format!("{}\n", server.pid()));
    assert_eq!(server.get().expect("an answer"), "old");
}

#[test]
fn in_the_background() {
    let site = Site::new(&one_word("hello").replace("daemon off;", ""));
    let _background = Background::of(&site);
    let output = site.output(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    // No waiting: the foreground process ends when connections are served.
    assert_eq!(get(site.port, "/").expect("an answer"), "hello");
    let pid: u32 = site.read("nginx.pid").trim().parse().expect("a number");
    send_signal(pid, Signal::Quit).expect("it lives");
    until("its end", || (!site.file("nginx.pid").exists()).then_some(()));
}

#[test]
fn unix_sockets_come_and_go() {
    let site = Site::new(&one_word("hello").replace("listen 127", "listen unix:DIR/web.sock; listen 127"));
    let server = site.start();
    let socket = server.site.file("web.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("connect");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("hello"), "{answer}");
    let site = server.quit();
    assert!(!site.file("web.sock").exists());
}

#[test]
fn a_bad_user_is_named() {
    if !weir_net::is_root() {
        return;
    }
    let site = Site::new(&one_word_with("hello", "user no-such-user-here;"));
    let output = site.output(&[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("nginx: [emerg] getpwnam(\"no-such-user-here\") failed"), "{stderr}");
}

#[test]
fn another_user_needs_another_worker() {
    if !weir_net::is_root() {
        return;
    }
    let server = Site::saying("one").start();
    let worker = server.worker();
    server.site.write(&one_word_with("two", "user root;"));
    server.signal(Signal::Hup);
    server.wait_for_answer("two");
    let other = server.worker();
    assert_ne!(other, worker);
    assert_eq!(std::fs::metadata(format!("/proc/{other}")).expect("it lives").uid(), 0);
    server.wait_for_log(&format!("worker process {worker} exited with code 0"));
}
