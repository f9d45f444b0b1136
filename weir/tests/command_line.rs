//! nginx's command line: its texts and exit codes.

mod common;

use common::{Site, one_word, text, weir};

#[test]
fn versions() {
    let output = weir().arg("-v").output().expect("run");
    assert!(output.status.success());
    let version = concat!("nginx version: nginx/1.31.4 (weir/", env!("CARGO_PKG_VERSION"), ")\n");
    assert_eq!(text(&output.stderr), version);

    let output = weir().arg("-V").output().expect("run");
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with(version), "{stderr}");
    let arguments = stderr.lines().find(|line| line.starts_with("configure arguments:")).expect("a line");
    for (word, there) in [
        ("--without-http_fastcgi_module", true),
        ("--without-http_uwsgi_module", true),
        ("--without-http_proxy_module", false),
        ("--without-http_rewrite_module", false),
        ("--without-http_map_module", false),
        ("--with-http_stub_status_module", true),
        ("--with-http_v3_module", false),
        ("--with-stream", false),
        ("--without-http-cache", true),
    ] {
        assert_eq!(arguments.split(' ').any(|argument| argument == word), there, "{word} in {arguments}");
    }

    let help = text(&weir().arg("-h").output().expect("run").stderr);
    assert!(help.contains("Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]"), "{help}");
}

#[test]
fn called_nginx() {
    let site = Site::saying("hello");
    let link = site.file("nginx");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_weir"), &link).expect("link");
    let output = std::process::Command::new(&link).arg("check").output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "nginx: invalid option: \"check\"\n");
}

#[test]
fn wrong_options() {
    for (words, expected) in [
        (&["-x"][..], "nginx: invalid option: \"x\"\n"),
        (&["-s", "now"], "nginx: invalid option: \"-s now\"\n"),
        (&["-c"], "nginx: option \"-c\" requires file name\n"),
    ] {
        let output = weir().args(words).output().expect("run");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr), expected);
    }
}

#[test]
fn a_good_configuration() {
    let site = Site::saying("hello");
    let file = site.file("nginx.conf").display().to_string();
    let output = site.output(&["-t"]);
    assert!(output.status.success());
    assert_eq!(
        text(&output.stderr),
        format!(
            "nginx: the configuration file {file} syntax is ok\n\
             nginx: configuration file {file} test is successful\n"
        )
    );
    let quiet = site.output(&["-tq"]);
    assert!(quiet.status.success());
    assert_eq!(text(&quiet.stderr), "");
    assert!(!site.file("nginx.pid").exists(), "a test leaves no pid file");
}

#[test]
fn a_broken_configuration() {
    let site = Site::new("daemon off;\nevents { }\nhttpx { }\n");
    let file = site.file("nginx.conf").display().to_string();
    let output = site.output(&["-t"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!(
            "nginx: [emerg] unknown directive \"httpx\" in {file}:3\n\
             nginx: configuration file {file} test failed\n"
        )
    );
    let log = site.read("error.log");
    assert!(log.contains(&format!("unknown directive \"httpx\" in {file}:3\n")), "{log}");

    let start = site.output(&[]);
    assert_eq!(start.status.code(), Some(1));
    assert_eq!(text(&start.stderr), format!("nginx: [emerg] unknown directive \"httpx\" in {file}:3\n"));
}

#[test]
fn a_missing_configuration() {
    let site = Site::saying("hello");
    let output = site.output(&["-t", "-c", "none.conf"]);
    assert_eq!(output.status.code(), Some(1));
    let file = site.file("none.conf").display().to_string();
    let stderr = text(&output.stderr);
    assert!(
        stderr
            .starts_with(&format!("nginx: [emerg] open() \"{file}\" failed (2: No such file or directory)")),
        "{stderr}"
    );
}

#[test]
fn a_dump_has_every_file_once() {
    let site = Site::saying("hello");
    std::fs::write(site.file("inc.conf"), "# inside\n").expect("write");
    let conf = format!("include inc.conf;\ninclude inc.conf;\n{}", one_word("hello"));
    site.write(&conf);
    let output = site.output(&["-T"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let dir = site.path().display();
    let (main, inc) = (site.read("nginx.conf"), site.read("inc.conf"));
    assert_eq!(
        text(&output.stdout),
        format!(
            "# configuration file {dir}/nginx.conf:\n{main}\n# configuration file {dir}/inc.conf:\n{inc}\n"
        )
    );
}

#[test]
fn globals_come_first() {
    let site = Site::saying("hello");
    let output = site.output(&["-t", "-g", "nonsense on;"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.starts_with("nginx: [emerg] unknown directive \"nonsense\" in command line\n"),
        "{stderr}"
    );
}

#[test]
fn signals_without_a_server() {
    let site = Site::saying("hello");
    let pid = site.file("nginx.pid");
    let output = site.output(&["-s", "reload"]);
    assert_eq!(output.status.code(), Some(1));
    let text_of = |o: &std::process::Output| text(&o.stderr);
    // Errors that are milder than warn are shown too: [error] is graver.
    assert_eq!(
        text_of(&output),
        format!("nginx: [error] open() \"{}\" failed (2: No such file or directory)\n", pid.display())
    );
    std::fs::write(&pid, "").expect("write");
    let output = site.output(&["-s", "quit"]);
    assert_eq!(
        text_of(&output),
        format!("nginx: [error] invalid PID number \"\" in \"{}\"\n", pid.display())
    );
}

#[test]
fn called_without_anything() {
    if std::path::Path::new("/etc/nginx/nginx.conf").exists() {
        return;
    }
    let output = weir().output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("type `weir run FILE`"), "{}", text(&output.stderr));
}

#[test]
fn an_address_in_use() {
    let server = Site::saying("first").start();
    let other = Site::saying("second");
    std::fs::copy(server.site.file("nginx.conf"), other.file("nginx.conf")).expect("copy");
    let output = other.output(&["-t"]);
    assert!(output.status.success(), "a test accepts what the running server holds");
    let output = other.output(&[]);
    assert_eq!(output.status.code(), Some(1));
    let port = server.site.port;
    let bind = format!("nginx: [emerg] bind() to 127.0.0.1:{port} failed (98: Address already in use)\n");
    assert_eq!(text(&output.stderr), format!("{}nginx: [emerg] still could not bind()\n", bind.repeat(5)));
    assert_eq!(server.get().expect("the first one serves on"), "first");
}
