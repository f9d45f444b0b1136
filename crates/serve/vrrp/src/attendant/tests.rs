use super::*;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use weir_model::Micros;
use weir_model::vrrp::{Fifo, Globals, Hook, Instance, Script, Track, TrackFile, TrackProcess, TrackScript};

/// An attendant, what it finds and what it says.
struct Bench {
    folder: tempfile::TempDir,
    findings: Receiver<(Tracker, Finding)>,
    lines: Receiver<(Level, String)>,
    attendant: Attendant,
}

fn bench(make: impl FnOnce(&Path) -> Vrrp) -> Bench {
    let folder = tempfile::tempdir().expect("temp folder");
    let config = make(folder.path());
    let (found, findings) = channel();
    let (said, lines) = channel();
    let (found, said) = (Mutex::new(found), Mutex::new(said));
    let journal: Journal = Arc::new(move |level, text| {
        _ = said.lock().expect("sending does not panic").send((level, text));
    });
    let told: Findings = Arc::new(move |tracker, finding| {
        _ = found.lock().expect("sending does not panic").send((tracker, finding));
    });
    let context = Context { router_id: "edge-a".into(), host: "host-a".into(), journal, running: false };
    let attendant = Attendant::start(Arc::new(config), context, told).expect("threads");
    Bench { folder, findings, lines, attendant }
}

impl Bench {
    fn finding(&self) -> (Tracker, Finding) {
        self.findings.recv_timeout(Duration::from_secs(60)).expect("a finding")
    }

    /// Waits for a line with this text.
    fn line(&self, part: &str) -> String {
        loop {
            let (_, text) = self.lines.recv_timeout(Duration::from_secs(60)).expect("a line");
            if text.contains(part) {
                return text;
            }
        }
    }
}

/// A program in the folder, run by the shell.
fn program(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("own file");
    path.display().to_string()
}

fn script(words: &[&str]) -> Script {
    Script { argv: words.iter().map(|w| (*w).to_owned()).collect(), user: None }
}

fn check(name: &str, run: Script, interval: u64) -> TrackScript {
    TrackScript {
        name: name.into(),
        script: run,
        interval: Micros(interval * 1000),
        timeout: Micros(0),
        weight: 0,
        reverse: false,
        rise: 1,
        fall: 1,
        init_fail: false,
    }
}

fn tracking(scripts: Vec<TrackScript>) -> Vrrp {
    let mut instance = Instance::new("edge", "lo", 1);
    let track = |s: &TrackScript| Track { name: s.name.clone(), weight: 0, reverse: false };
    instance.track_scripts = scripts.iter().map(track).collect();
    Vrrp { instances: vec![instance], scripts, ..Vrrp::default() }
}

fn tracker(name: &str) -> Tracker {
    Tracker::Script(name.into())
}

fn notice(state: NoticeState, script: Option<Script>, any: Option<Script>) -> Notice {
    Notice { subject: Subject::Instance("edge".into()), state, priority: 120, script, any, mail: false }
}

#[test]
fn a_check_goes_down_and_up_with_its_program() {
    let bench = bench(|folder| {
        let path = program(folder, "check", &format!("test -e {}/well || exit 3", folder.display()));
        tracking(vec![check("web", script(&[&path]), 20)])
    });
    assert_eq!(bench.finding(), (tracker("web"), Finding::Down("exited with code 3".into())));
    fs::write(bench.folder.path().join("well"), "").expect("writable");
    assert_eq!(bench.finding(), (tracker("web"), Finding::Up));
    fs::remove_file(bench.folder.path().join("well")).expect("it is there");
    assert_eq!(bench.finding(), (tracker("web"), Finding::Down("exited with code 3".into())));
}

#[test]
fn a_check_that_hangs_ends_with_all_that_it_started() {
    let bench = bench(|folder| {
        let text = format!("trap '' TERM\nsleep 1000 &\necho $! > {0}/child\nwait\nwait", folder.display());
        let path = program(folder, "hang", &text);
        let check = check("hang", script(&[&path]), 100);
        tracking(vec![TrackScript { interval: Micros::from_secs(1000), timeout: Micros(200_000), ..check }])
    });
    assert_eq!(bench.finding(), (tracker("hang"), Finding::Down("timed out after 200ms".into())));
    let child = fs::read_to_string(bench.folder.path().join("child")).expect("written before the limit");
    // Without such a process it has ended and was reaped as well.
    if let Ok(child) = weir_net::child_fd(child.trim().parse().expect("a process id")) {
        let mut fds = [rustix::event::PollFd::new(&child, rustix::event::PollFlags::IN)];
        let minute = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&minute)), Ok(1), "the sleep outlived its check");
    }
}

#[test]
fn a_check_that_is_slow_is_not_run_twice_at_once() {
    let bench = bench(|folder| {
        let path =
            program(folder, "slow", &format!("echo x >> {0}/runs\nread x < {0}/gate", folder.display()));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("gate"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .expect("a pipe");
        let check = check("slow", script(&[&path]), 50);
        tracking(vec![TrackScript { timeout: Micros::from_secs(1000), ..check }])
    });
    let line = bench.line("skipped");
    assert_eq!(line, "check script slow: last run is still running; skipped");
    let runs = fs::read_to_string(bench.folder.path().join("runs")).expect("it ran");
    assert_eq!(runs, "x\n");
    fs::write(bench.folder.path().join("gate"), "go\n").expect("it reads");
    assert_eq!(bench.finding(), (tracker("slow"), Finding::Up));
}

#[test]
fn output_without_end_blocks_nothing() {
    let bench =
        bench(|_| tracking(vec![check("loud", script(&["head", "-c", "1000000", "/dev/zero"]), 1000)]));
    assert_eq!(bench.finding(), (tracker("loud"), Finding::Up));
}

#[test]
fn a_program_that_is_not_there_is_left_out_unless_init_fail() {
    let bench = bench(|_| {
        let missing = check("missing", script(&["/nonexistent/check"]), 20);
        let strict = TrackScript { name: "strict".into(), init_fail: true, ..missing.clone() };
        tracking(vec![missing, strict])
    });
    assert_eq!(bench.finding(), (tracker("missing"), Finding::Up));
    assert_eq!(bench.finding(), (tracker("strict"), Finding::Down("cannot be run (init_fail)".into())));
    let line = bench.line("check script missing");
    assert!(
        line.starts_with("check script missing cannot be run, it is left out: /nonexistent/check: "),
        "{line}"
    );
}

#[test]
fn notify_scripts_run_in_order_with_keepalived_s_words() {
    let bench = bench(|folder| {
        program(folder, "slow", &format!("sleep 0.1; echo slow $# >> {}/out", folder.display()));
        program(folder, "any", &format!("echo \"$@\" >> {}/out", folder.display()));
        let hook = program(folder, "end", &format!("echo end >> {}/out", folder.display()));
        let hook = Hook { script: script(&[&hook]), timeout: Micros::from_secs(10) };
        Vrrp { globals: Globals { shutdown_script: Some(hook), ..Globals::default() }, ..Vrrp::default() }
    });
    let path = |name: &str| bench.folder.path().join(name).display().to_string();
    let (slow, any) = (script(&[&path("slow")]), script(&[&path("any"), "mine"]));
    bench.attendant.notify(notice(NoticeState::Backup, Some(slow.clone()), Some(any.clone())));
    bench.attendant.notify(notice(NoticeState::Master, None, Some(any)));
    bench.attendant.notify(notice(NoticeState::Stop, Some(slow), None));
    let folder = bench.folder;
    bench.attendant.stop(Duration::from_secs(60));
    let out = fs::read_to_string(folder.path().join("out")).expect("scripts ran");
    let want = "slow 0\nmine INSTANCE edge BACKUP 120\nmine INSTANCE edge MASTER 120\nslow 0\nend\n";
    assert_eq!(out, want);
}

#[test]
fn stop_does_not_wait_for_ever() {
    let bench = bench(|_| Vrrp::default());
    bench.attendant.notify(notice(NoticeState::Stop, Some(script(&["sleep", "1000"])), None));
    bench.attendant.notify(notice(NoticeState::Stop, Some(script(&["true"])), None));
    let Bench { attendant, lines, .. } = bench;
    attendant.stop(Duration::from_millis(200));
    let texts: Vec<String> = lines.iter().map(|(_, text)| text).collect();
    assert!(texts.contains(&"1 notify scripts did not run before the end".to_owned()), "{texts:?}");
}

#[test]
fn a_notify_script_that_cannot_run_makes_way() {
    let bench = bench(|folder| {
        program(folder, "next", &format!("echo ran > {}/out", folder.display()));
        Vrrp::default()
    });
    let next = bench.folder.path().join("next").display().to_string();
    bench.attendant.notify(notice(
        NoticeState::Backup,
        Some(script(&["/nonexistent"])),
        Some(script(&[&next])),
    ));
    let line = bench.line("did not run");
    assert!(line.starts_with("notify script of instance edge did not run: /nonexistent: "), "{line}");
    let folder = bench.folder;
    bench.attendant.stop(Duration::from_secs(60));
    assert_eq!(fs::read_to_string(folder.path().join("out")).expect("it ran"), "ran\n");
}

#[test]
fn a_script_s_environment_is_clean_and_its_signals_are_not_blocked() {
    let bench = bench(|folder| {
        let text = format!(
            "grep SigBlk /proc/self/status > {0}/out; ps -o pgid= -p $$ >> {0}/out; echo $$ >> {0}/out",
            folder.display()
        );
        program(folder, "look", &text);
        Vrrp::default()
    });
    let look = bench.folder.path().join("look").display().to_string();
    bench.attendant.notify(notice(NoticeState::Backup, Some(script(&[&look])), None));
    let folder = bench.folder;
    bench.attendant.stop(Duration::from_secs(60));
    let out = fs::read_to_string(folder.path().join("out")).expect("it ran");
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["SigBlk:", "0000000000000000"]);
    assert_eq!(lines[1], lines[2], "the script leads a process group of its own");
}

#[test]
fn a_pipe_s_script_gets_the_path_and_the_lines_and_is_started_again() {
    let bench = bench(|folder| {
        let text = format!(
            "echo \"start $*\" >> {0}/out\nread line < $2\necho \"$line\" >> {0}/out",
            folder.display()
        );
        let reader = program(folder, "reader", &text);
        let path = folder.join("pipe").display().to_string();
        let fifo = Fifo { path, user: None, script: Some(script(&[&reader, "mine"])) };
        Vrrp { globals: Globals { fifos: vec![fifo], ..Globals::default() }, ..Vrrp::default() }
    });
    let out = bench.folder.path().join("out");
    bench.attendant.notify(notice(NoticeState::Master, None, None));
    let line = bench.line("started again");
    let pipe = bench.folder.path().join("pipe").display().to_string();
    assert_eq!(line, format!("script of notify pipe {pipe} ended; started again in 1s"));
    let want = format!("start mine {pipe}\nINSTANCE \"edge\" MASTER 120\n");
    assert_eq!(fs::read_to_string(&out).expect("it ran"), want);
    bench.attendant.write_states(vec![(Subject::Group("pair".into()), NoticeState::Backup, 0)]);
    bench.line("started again in 2s");
    let want = format!("{want}start mine {pipe}\nGROUP \"pair\" BACKUP 0\n");
    assert_eq!(fs::read_to_string(&out).expect("it ran"), want);
    bench.attendant.stop(Duration::from_secs(60));
    assert!(!Path::new(&pipe).exists(), "the pipe was made here, so it is removed here");
}

#[test]
fn what_another_process_goes_on_with_is_left_to_it() {
    let bench = bench(|folder| {
        let end = program(folder, "end", &format!("touch {}/ended", folder.display()));
        let shutdown = Hook { script: script(&[&end]), timeout: Micros::from_secs(10) };
        let path = folder.join("pipe").display().to_string();
        let fifo = Fifo { path, user: None, script: Some(script(&["sleep", "1000"])) };
        let globals = Globals { fifos: vec![fifo], shutdown_script: Some(shutdown), ..Globals::default() };
        let checks = vec![check("busy", script(&["true"]), 1_000_000)];
        Vrrp { globals, ..tracking(checks) }
    });
    assert_eq!(bench.finding(), (tracker("busy"), Finding::Up));
    let next = bench.folder.path().join("next").display().to_string();
    program(bench.folder.path(), "next", &format!("touch {}/notified", bench.folder.path().display()));
    bench.attendant.leave();
    bench.attendant.notify(notice(NoticeState::Stop, Some(script(&[&next])), None));
    let folder = bench.folder;
    bench.attendant.stop(Duration::from_secs(60));
    let exists = |name: &str| folder.path().join(name).exists();
    assert!(exists("notified"), "a notice is this process' own");
    assert!(exists("pipe"), "the other one has it open");
    assert!(!exists("ended"), "the node goes on");
}

#[test]
fn a_reload_keeps_what_is_the_same_and_starts_what_is_new() {
    let folder = tempfile::tempdir().expect("temp folder");
    let kept = || {
        let path = program(folder.path(), "kept", &format!("echo x >> {}/runs", folder.path().display()));
        check("kept", script(&[&path]), 1_000_000)
    };
    let bench = bench(|_| tracking(vec![kept(), check("gone", script(&["sleep", "1000"]), 500_000)]));
    assert_eq!(bench.finding(), (tracker("kept"), Finding::Up));
    let new = check("new", script(&["false"]), 1_000_000);
    bench.attendant.reload(Arc::new(tracking(vec![kept(), new])));
    assert_eq!(bench.finding(), (tracker("new"), Finding::Down("exited with code 1".into())));
    bench.attendant.stop(Duration::from_secs(60));
    assert_eq!(bench.findings.try_iter().collect::<Vec<_>>(), []);
    assert_eq!(fs::read_to_string(folder.path().join("runs")).expect("it ran"), "x\n");
}

#[test]
fn a_process_that_comes_and_goes_is_found() {
    let bench = bench(|folder| {
        // A name that no other process on this machine has.
        let name = folder.file_name().expect("a temp folder has a name").to_string_lossy().replace('.', "t");
        fs::copy("/bin/sleep", folder.join(&name)).expect("coreutils");
        let process = TrackProcess {
            name: "proxy".into(),
            process: name,
            parameters: Vec::new(),
            parameter_match: None,
            full_command: false,
            weight: 0,
            reverse: false,
            quorum: 1,
            quorum_max: None,
            fork_delay: Micros(0),
            terminate_delay: Micros(0),
        };
        let mut instance = Instance::new("edge", "lo", 1);
        instance.track_processes = vec![Track { name: "proxy".into(), weight: 0, reverse: false }];
        Vrrp { instances: vec![instance], processes: vec![process], ..Vrrp::default() }
    });
    let name = bench.folder.path().file_name().expect("named").to_string_lossy().replace('.', "t");
    let down = || Finding::Down(format!("0 of {name} run, at least 1 expected"));
    let proxy = || Tracker::Process("proxy".into());
    assert_eq!(bench.finding(), (proxy(), down()));
    let mut child =
        std::process::Command::new(bench.folder.path().join(&name)).arg("1000").spawn().expect("own copy");
    assert_eq!(bench.finding(), (proxy(), Finding::Up));
    child.kill().expect("own child");
    child.wait().expect("own child");
    assert_eq!(bench.finding(), (proxy(), down()));
}

#[test]
fn a_tracked_file_is_followed() {
    let bench = bench(|folder| {
        let mut instance = Instance::new("edge", "lo", 1);
        instance.track_files = vec![Track { name: "drain".into(), weight: 1, reverse: false }];
        let path = folder.join("drain").display().to_string();
        let file = TrackFile { name: "drain".into(), path, weight: 1, reverse: false, init: None };
        Vrrp { instances: vec![instance], files: vec![file], ..Vrrp::default() }
    });
    let drain = |value| (Tracker::File("drain".into()), Finding::Value(value));
    assert_eq!(bench.finding(), drain(0));
    fs::write(bench.folder.path().join("drain"), "-30\n").expect("writable");
    assert_eq!(bench.finding(), drain(-30));
}

#[test]
fn hundreds_of_checks_all_report() {
    let checks: Vec<_> = (0..255).map(|n| check(&format!("c{n}"), script(&["true"]), 1_000_000)).collect();
    let bench = bench(move |_| {
        let checks = checks.into_iter().map(|c| TrackScript { timeout: Micros::from_secs(100), ..c });
        tracking(checks.collect())
    });
    let all: HashSet<Tracker> = (0..255)
        .map(|_| {
            let (tracker, finding) = bench.finding();
            assert_eq!(finding, Finding::Up);
            tracker
        })
        .collect();
    assert_eq!(all.len(), 255);
}

#[test]
fn startup_script_ends_before_the_first_check() {
    let bench = bench(|folder| {
        let first = program(folder, "first", &format!("sleep 0.1; touch {}/ready", folder.display()));
        let path = program(folder, "check", &format!("test -e {}/ready", folder.display()));
        let hook = Hook { script: script(&[&first]), timeout: Micros::from_secs(60) };
        let globals = Globals { startup_script: Some(hook), ..Globals::default() };
        Vrrp { globals, ..tracking(vec![check("web", script(&[&path]), 20)]) }
    });
    assert_eq!(bench.finding(), (tracker("web"), Finding::Up));
}

#[test]
fn a_dropped_attendant_ends_its_threads() {
    let bench = bench(|_| tracking(vec![check("web", script(&["sleep", "1000"]), 20)]));
    let Bench { attendant, findings, lines, .. } = bench;
    drop(attendant);
    // The threads own the other ends of both.
    assert_eq!(findings.iter().count(), 0);
    _ = lines.iter().count();
}
