use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use weir_model::Micros;
use weir_model::vrrp::Globals;

/// What one mail was, as the server saw it.
struct Seen {
    commands: Vec<String>,
    text: String,
}

/// Speaks one session of RFC 5321's server side.
fn session(stream: TcpStream) -> Option<Seen> {
    let mut write = stream.try_clone().ok()?;
    let mut say = |line: &str| write.write_all(format!("{line}\r\n").as_bytes()).ok();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut seen = Seen { commands: Vec::new(), text: String::new() };
    say("220 mail.test ready")?;
    while let Some(line) = lines.next() {
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        match verb.as_str() {
            "DATA" => {
                say("354 go on")?;
                let text: Vec<String> = lines.by_ref().take_while(|line| line != ".").collect();
                seen.text = text.join("\n");
                say("250 taken")?;
            }
            "QUIT" => {
                say("221 bye")?;
                break;
            }
            _ => {
                say("250 ok")?;
            }
        }
        seen.commands.push(line);
    }
    Some(seen)
}

/// A server that gives out what it got.
fn server() -> (u16, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let (send, seen) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if session(stream).filter(|s| !s.text.is_empty()).is_some_and(|s| send.send(s).is_err()) {
                break;
            }
        }
    });
    (port, seen)
}

fn config(port: u16) -> Vrrp {
    let mail = Mail {
        to: vec!["ops@example.net".into(), "night@example.org".into()],
        from: Some("lb@example.net".into()),
        server: "127.0.0.1".into(),
        port,
        timeout: Micros::from_secs(5),
        helo: Some("edge-a.example.net".into()),
        faults: true,
    };
    Vrrp { globals: Globals { mail: Some(mail), ..Globals::default() }, ..Vrrp::default() }
}

type Lines = Arc<Mutex<Vec<String>>>;

fn mailer(config: &Vrrp) -> (Mailer, Lines, Receiver<()>) {
    let lines = Lines::default();
    let (alive, ended) = channel();
    let shared = lines.clone();
    let journal: crate::attendant::Journal =
        Arc::new(move |_, text| shared.lock().expect("no test panics in here").push(text));
    let log = Log::start(journal, alive.clone()).expect("thread");
    let mailer = Mailer::start(config, "edge-a".into(), "host-a".into(), log, alive).expect("thread");
    (mailer, lines, ended)
}

fn notice(subject: Subject, state: NoticeState) -> Notice {
    Notice { subject, state, priority: 100, script: None, any: None, mail: true }
}

fn edge() -> Subject {
    Subject::Instance("edge".into())
}

#[test]
fn a_change_is_mailed_to_all_receivers() {
    let (port, seen) = server();
    let (mut mailer, _, _) = mailer(&config(port));
    mailer.push(&notice(edge(), NoticeState::Master));
    let mail = seen.recv().expect("the server lives");
    let want = [
        "EHLO edge-a.example.net",
        "MAIL FROM:<lb@example.net>",
        "RCPT TO:<ops@example.net>",
        "RCPT TO:<night@example.org>",
        "DATA",
        "QUIT",
    ];
    assert_eq!(mail.commands[..5], want[..5]);
    let (head, body) = mail.text.split_once("\n\n").expect("an empty line behind the headers");
    for line in [
        "From: lb@example.net",
        "To: ops@example.net, night@example.org",
        "Subject: [edge-a] VRRP Instance edge - Entering MASTER state",
        "X-Mailer: Weir",
    ] {
        assert!(head.lines().any(|have| have == line), "{line} in {head}");
    }
    assert!(head.lines().any(|line| line.starts_with("Date: ")), "{head}");
    assert_eq!(body.trim_end(), "=> VRRP Instance is now owning VRRP VIPs <=");
}

#[test]
fn the_same_state_is_mailed_once_and_events_never() {
    let (port, seen) = server();
    let (mut mailer, _, _) = mailer(&config(port));
    mailer.push(&notice(edge(), NoticeState::Backup));
    mailer.push(&notice(edge(), NoticeState::Backup));
    mailer.push(&notice(edge(), NoticeState::MasterRxLowerPri));
    mailer.push(&notice(Subject::Group("pair".into()), NoticeState::Backup));
    drop(mailer);
    let texts: Vec<String> = seen.iter().take(2).map(|mail| mail.text).collect();
    assert!(texts[0].contains("VRRP Instance edge - Entering BACKUP state"), "{texts:?}");
    assert!(texts[1].contains("VRRP Group pair - Entering BACKUP state"), "{texts:?}");
    assert!(texts[1].contains("=> All VRRP group instances are now in BACKUP state <="), "{texts:?}");
}

#[test]
fn faults_are_not_mailed_with_no_email_faults() {
    let (port, seen) = server();
    let mut config = config(port);
    config.globals.mail.as_mut().expect("set above").faults = false;
    let (mut mailer, _, _) = mailer(&config);
    mailer.push(&notice(edge(), NoticeState::Fault));
    mailer.push(&notice(edge(), NoticeState::Stop));
    let mail = seen.recv().expect("the server lives");
    assert!(mail.text.contains("VRRP Instance edge - Stopping"), "{}", mail.text);
}

#[test]
fn a_server_that_is_not_there_is_told_once() {
    // Bound and not listening: nobody else gets the port, and connections are refused.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let port = socket.local_addr().expect("bound").port();
    let (mut mailer, lines, ended) = mailer(&config(port));
    mailer.push(&notice(edge(), NoticeState::Master));
    mailer.push(&notice(edge(), NoticeState::Backup));
    drop(mailer);
    // Both threads drop their end when they are done.
    _ = ended.recv();
    let lines = lines.lock().expect("no test panics in here");
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let want = format!(
        "mail \"[edge-a] VRRP Instance edge - Entering MASTER state\" not delivered by 127.0.0.1 port {port}, dropped: "
    );
    assert!(line.starts_with(&want), "{line}");
    assert!(line.contains("refused"), "{line}");
}

#[test]
fn an_address_that_is_none_is_named() {
    let (port, _seen) = server();
    let mut config = config(port);
    config.globals.mail.as_mut().expect("set above").to = vec!["nobody".into()];
    let (mut mailer, lines, ended) = mailer(&config);
    mailer.push(&notice(edge(), NoticeState::Master));
    drop(mailer);
    _ = ended.recv();
    let lines = lines.lock().expect("no test panics in here");
    assert!(lines[0].contains("\"nobody\" is no mail address, expected user@host"), "{lines:?}");
}
