//! Notify scripts, pipes and mail.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use weir_lab::{Host, Lab};

use crate::routers::{ADDRESS, Instance, PATIENCE, Start, holds, host, keepalived, watch, weir};
use crate::stage::{lab, one, output};

const TOLD: &str = "/run/told";
/// Says how it was called, after a pause that lets a script of the next state overtake one that is not waited for.
const TELL: &str =
    "#!/bin/sh\nread -r pause < /etc/keepalived/pause && sleep $pause\necho \"$*\" >> /run/told\n";
const EVERY: &str = "notify_master \"/etc/keepalived/tell.sh to master\"\n notify_backup \"/etc/keepalived/tell.sh to \
                     backup\"\n notify_fault \"/etc/keepalived/tell.sh to fault\"\n notify_stop \"/etc/keepalived/tell.sh to \
                     stop\"\n notify \"/etc/keepalived/tell.sh any\"";

fn told(host: &Host, text: &str) {
    if let Err(error) = host.wait_text(TOLD, text, PATIENCE) {
        panic!("{error}; it has:\n{}", host.read(TOLD).unwrap_or_default());
    }
}

fn stage() -> (Lab, Host) {
    let lab = lab();
    let a = host(&lab, "a", 1);
    a.write("/etc/keepalived/tell.sh", TELL).expect("a script");
    a.write("/etc/keepalived/pause", "0\n").expect("a file");
    (lab, a)
}

/// From the start over a fault to the end.
fn life(first: Start, body: &str) -> String {
    let (lab, a) = stage();
    let watch = watch(&lab, ADDRESS);
    let router = first(&a, &one(100, body));
    told(&a, "any INSTANCE V MASTER 100\n");
    holds(&watch, &["a"], &[&router]);
    a.ip("link set eth0 down").expect("eth0 goes down");
    told(&a, "any INSTANCE V FAULT 100\n");
    router.end();
    told(&a, "any INSTANCE V STOP 100\n");
    a.read(TOLD).expect("what was told")
}

#[test]
fn scripts_run_in_order_with_their_arguments() {
    assert_eq!(
        life(weir, EVERY),
        "to backup\nany INSTANCE V BACKUP 100\nto master\nany INSTANCE V MASTER 100\nto fault\n\
         any INSTANCE V FAULT 100\nto stop\nany INSTANCE V STOP 100\n"
    );
}

#[test]
fn keepalived_calls_the_same_scripts() {
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(life(keepalived, EVERY)), sorted(life(weir, EVERY)));
}

#[test]
fn a_slow_script_holds_up_those_after_it_and_not_those_of_others() {
    let (lab, a) = stage();
    a.write("/etc/keepalived/pause", "2\n").expect("a file");
    let other = Instance {
        name: "OTHER",
        vrid: 10,
        addresses: "10.9.0.101",
        body: "version 3\n advert_int 0.2\n notify \"/etc/keepalived/other.sh\"",
        ..Instance::default()
    };
    a.write("/etc/keepalived/other.sh", "#!/bin/sh\necho \"$*\" >> /run/other\n").expect("a script");
    let router = weir(&a, &format!("{}{}", one(100, EVERY), other.text()));
    holds(&watch(&lab, ADDRESS), &["a"], &[&router]);
    a.wait_text("/run/other", "INSTANCE OTHER MASTER 100\n", PATIENCE).expect("it is not held up");
    let early = a.read(TOLD).unwrap_or_default();
    assert!(!early.contains("MASTER"), "{early}");
    told(&a, "any INSTANCE V MASTER 100\n");
    let all = a.read(TOLD).expect("what was told");
    assert_eq!(all, "to backup\nany INSTANCE V BACKUP 100\nto master\nany INSTANCE V MASTER 100\n");
}

#[test]
fn scripts_have_a_clean_environment_and_their_user() {
    let (_lab, a) = stage();
    let script = "#!/bin/sh\n{ id -un; id -gn; echo \"IFS=$IFS.\"; env; } > /var/lib/told/$1\n";
    a.write("/etc/keepalived/tell.sh", script).expect("a script");
    output(&a, "install -d -m 1777 /var/lib/told");
    let body = "notify_backup \"/etc/keepalived/tell.sh backup\" nobody nogroup\n notify_master \
                \"/etc/keepalived/tell.sh master\"";
    let file = format!("global_defs {{\n script_user daemon\n}}\n{}", one(100, body));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args(["run", "/etc/keepalived/keepalived.conf"])
        .env("LD_LIBRARY_PATH", "/nowhere")
        .env("IFS", "x");
    a.write("/etc/keepalived/keepalived.conf", &file).expect("its file");
    let program = a.spawn("vrrp", &command).expect("it starts");
    let of = |name: &str| {
        let path = format!("/var/lib/told/{name}");
        if let Err(error) = a.wait_text(&path, "PATH=", PATIENCE) {
            panic!("{error}: {}", a.read(program.log()).unwrap_or_default());
        }
        a.read(&path).expect("what was told")
    };
    let (backup, master) = (of("backup"), of("master"));
    assert!(backup.starts_with("nobody\nnogroup\n"), "{backup}");
    assert!(master.starts_with("daemon\ndaemon\n"), "{master}");
    assert!(!master.contains("\nLD_LIBRARY_PATH") && !master.contains("\nIFS=x"), "{master}");
}

#[test]
fn lines_of_the_pipe_are_those_of_keepalived() {
    let lines = |start: Start, globals: &str| {
        let (lab, a) = stage();
        // The reader is there before the first line is written.
        a.write("/etc/keepalived/read.sh", "#!/bin/sh\nexec cat \"$1\" > /run/told\n").expect("a script");
        let globals = format!(
            "global_defs {{\n {globals}\n vrrp_notify_fifo /run/states\n vrrp_notify_fifo_script \
             /etc/keepalived/read.sh\n}}\n"
        );
        let group = "vrrp_sync_group G {\n group {\n V\n W\n }\n}\n";
        let other = Instance { name: "W", vrid: 10, addresses: "10.9.0.101", ..Default::default() };
        let router = start(&a, &format!("{globals}{group}{}{}", one(100, ""), other.text()));
        holds(&watch(&lab, ADDRESS), &["a"], &[&router]);
        told(&a, "GROUP \"G\" MASTER 0\n");
        a.ip("link set eth0 down").expect("eth0 goes down");
        told(&a, "GROUP \"G\" FAULT 0\n");
        told(&a, "INSTANCE \"V\" FAULT 100\n");
        told(&a, "INSTANCE \"W\" FAULT 100\n");
        router.end();
        a.read(TOLD).expect("what was told")
    };
    let sorted = |text: &str| {
        // keepalived has killed the reader when it stops.
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.contains("STOP")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (ours, theirs) = (lines(weir, "script_user root"), lines(keepalived, ""));
    assert_eq!(sorted(&ours), sorted(&theirs), "{ours}\n{theirs}");
}

/// Takes mails on port 25 of a host; each is sent as one text.
fn mail_server(host: &Host) -> Receiver<String> {
    let listener = host.inside(|| TcpListener::bind(("0.0.0.0", 25))).expect("its network").expect("port 25");
    let (sender, mails) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            if take_mails(stream, &sender).is_err() {
                return;
            }
        }
    });
    mails
}

/// RFC 5321: as much of it as a sender of plain mail needs.
fn take_mails(stream: TcpStream, mails: &Sender<String>) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    let (mut mail, mut body) = (String::new(), false);
    answers.write_all(b"220 mail ready\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        mail.push_str(&line);
        mail.push('\n');
        let answer: &[u8] = match line.split(' ').next().unwrap_or_default() {
            "." if body => {
                body = false;
                if mails.send(std::mem::take(&mut mail)).is_err() {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                b"250 taken\r\n"
            }
            _ if body => continue,
            "DATA" => {
                body = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        answers.write_all(answer)?;
    }
    Ok(())
}

#[test]
fn mails_are_those_of_keepalived() {
    let mails = |start: Start| {
        let (lab, a) = stage();
        let post = host(&lab, "post", 3);
        let mails = mail_server(&post);
        let globals = "global_defs {\n router_id edge\n notification_email {\n ops@example.net\n night@example.net\n }\n \
                       notification_email_from edge@example.net\n smtp_server 10.9.0.3\n smtp_connect_timeout 5\n}\n";
        let router = start(&a, &format!("{globals}{}", one(100, "smtp_alert")));
        let mail = mails.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}: {}", router.log()));
        router.end();
        mail
    };
    let (ours, theirs) = (mails(weir), mails(keepalived));
    for mail in [&ours, &theirs] {
        let has = |text: &str| mail.to_lowercase().contains(&text.to_lowercase());
        for text in [
            "MAIL FROM:<edge@example.net>",
            "RCPT TO:<ops@example.net>",
            "RCPT TO:<night@example.net>",
            "Subject: [edge] VRRP Instance V - Entering BACKUP state",
            "From: edge",
            "ops@example.net",
        ] {
            assert!(has(text), "no {text} in {mail}");
        }
    }
}
