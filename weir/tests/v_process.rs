//! What an operator finds on the machine: files and their rights, lines that say what is wrong, commands that end.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use common::{Background, Site, one_word, one_word_with, text, until, weir};
use weir_net::{Signal, send_signal};

fn mode(site: &Site, name: &str) -> u32 {
    std::fs::metadata(site.file(name)).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn an_account_that_does_not_exist() {
    if !weir_net::is_root() {
        eprintln!("skipped: without root nobody else can be become");
        return;
    }
    let site = Site::new(&one_word_with("x", "\nuser no-such-user;\n"));
    let conf = site.file("nginx.conf");
    let output = site.output(&["-t"]);
    let expected = format!(
        "nginx: [emerg] getpwnam(\"no-such-user\") failed in {0}:2\n\
         nginx: configuration file {0} test failed\n",
        conf.display()
    );
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), expected));

    site.write(&one_word_with("x", "\nuser root no-such-group;\n"));
    let stderr = text(&site.output(&["-t"]).stderr);
    assert!(stderr.contains("getgrnam(\"no-such-group\") failed in"), "{stderr}");

    // A file may be written for another machine.
    let checked = weir().arg("check").arg(&conf).output().expect("run");
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}

/// What a server in the background makes is written by nobody else: root's scripts believe what the pid file says.
#[test]
fn nobody_else_can_write_its_files() {
    let site = Site::new(&one_word("x").replace("daemon off;", "daemon on;"));
    let _background = Background::of(&site);
    assert!(site.output(&[]).status.success());
    assert_eq!(mode(&site, "nginx.pid"), 0o644);
    for name in ["error.log", "access.log"] {
        std::fs::rename(site.file(name), site.file("rotated")).expect("rename");
        assert!(site.output(&["-s", "reopen"]).status.success());
        until("a new log", || site.file(name).exists().then_some(()));
        assert_eq!(mode(&site, name), 0o644, "{name}");
    }
    // What libraries print goes to the new file too: the rotated one is let go.
    let pid: u32 = site.read("nginx.pid").trim().parse().expect("a number");
    let stderr = format!("/proc/{pid}/fd/2");
    until("standard error is the new log", || {
        (std::fs::read_link(&stderr).ok()? == std::fs::canonicalize(site.file("error.log")).ok()?)
            .then_some(())
    });
    send_signal(pid, Signal::Quit).expect("it lives");
    until("the end", || (!site.file("nginx.pid").exists()).then_some(()));
}

#[test]
fn the_pid_file_of_another_server_stays() {
    let mut server = Site::saying("x").start();
    std::fs::write(server.site.file("nginx.pid"), "1\n").expect("write");
    server.signal(Signal::Quit);
    assert!(server.wait().success());
    assert_eq!(server.site.read("nginx.pid"), "1\n");
}

#[test]
fn an_access_log_that_takes_nothing() {
    let conf = one_word("x").replace("access_log DIR/access.log;", "access_log /dev/full;");
    let server = Site::new(&conf).start();
    assert_eq!(server.get().expect("it serves all the same"), "x");
    server.wait_for_log("[alert] ");
    let log = server.site.read("error.log");
    let expected =
        "write() to \"/dev/full\" failed (28: No space left on device); 1 lines of the access log are lost";
    assert!(log.contains(expected), "{log}");
}

/// `weir check FILE | head`
#[test]
fn a_reader_that_wants_no_more() {
    let site = Site::new("nonsense one; nonsense two;");
    let conf = site.file("nginx.conf");
    let conf = conf.to_str().expect("plain");
    for words in [&["check", conf][..], &["config", conf], &["directives"], &["-t", "-c", conf], &["-h"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = weir();
        command.args(words).stdout(writer.try_clone().expect("a copy")).stderr(Stdio::from(writer));
        let status = command.status().expect("run");
        const SIGPIPE: i32 = 13;
        assert_eq!((status.code(), status.signal()), (None, Some(SIGPIPE)), "{words:?}");
    }
}
