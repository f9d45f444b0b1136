//! Checks many peers of this machine and prints what the checking thread costs.
//!
//! `cargo run --release -p weir-serve-health --example crowd -- [tcp|http|keepalive] [PEERS] [SECONDS]`

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use weir_balance::PeerState;
use weir_health::{Report, Target};
use weir_model::check::{Bytes, StatusClasses};
use weir_model::{Check, ListenAddress, Millis, Probe, UpstreamKey};
use weir_serve_health::Health;

/// Listeners; the peers share them, each with an address of its own in 127.0.0.0/8.
const LISTENERS: usize = 16;

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let kind = words.next().unwrap_or_else(|| "http".to_owned());
    weir_net::raise_nofile()?;
    if kind == "respond" {
        return respond();
    }
    let number = |word: Option<String>, default| word.and_then(|word| word.parse().ok()).unwrap_or(default);
    let peers: usize = number(words.next(), 10_000);
    let seconds = u64::try_from(number(words.next(), 10)).unwrap_or(10);
    let (mut responder, ports) = start_responder()?;
    let (passed, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (ups, downs) = (Arc::clone(&passed), Arc::clone(&failed));
    let report = move |report: Report| {
        if report.passed {
            ups.fetch_add(1, Relaxed);
        } else {
            downs.fetch_add(1, Relaxed);
            eprintln!("{} {}", report.peer, report.reason);
        }
    };
    let health = Health::start(
        report,
        Arc::new(|level: weir_model::Level, line| eprintln!("{}: {line}", level.name())),
    )?;
    let check = Arc::new(check(&kind));
    let states: Vec<Arc<PeerState>> = (0..peers).map(|_| Arc::default()).collect();
    for (number, state) in states.iter().enumerate() {
        health.watch(target(number, &ports, &check, state));
    }
    while passed.load(Relaxed) + failed.load(Relaxed) < peers as u64 {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(2));

    let results = || states.iter().map(|state| u64::from(state.rise() + state.fall())).sum::<u64>();
    let (ticks, before) = (thread_ticks()?, results());
    std::thread::sleep(Duration::from_secs(seconds));
    let (ticks, checks) = (thread_ticks()? - ticks, results() - before);
    let spent = ticks as f64 / 100.0;
    println!(
        "{kind}: {peers} peers, {:.0} checks/s, {:.1} % of a core, {:.1} us a check, {} up, {} down",
        checks as f64 / seconds as f64,
        100.0 * spent / seconds as f64,
        1e6 * spent / checks as f64,
        passed.load(Relaxed),
        failed.load(Relaxed),
    );
    health.stop();
    responder.kill()
}

fn check(kind: &str) -> Check {
    let send = Bytes(b"GET /health HTTP/1.1\r\nHost: app\r\n\r\n".to_vec());
    let http = Probe::Http { send, expect: StatusClasses::DEFAULT };
    Check {
        probe: if kind == "tcp" { Probe::Tcp } else { http },
        interval: Millis(1000),
        jitter: Millis(0),
        timeout: Millis(1000),
        rise: 2,
        fall: 3,
        default_down: true,
        persistent: false,
        port: 0,
        keepalive_requests: if kind == "keepalive" { 100_000 } else { 1 },
    }
}

fn target(number: usize, ports: &[u16], check: &Arc<Check>, state: &Arc<PeerState>) -> Target {
    let byte = |shift: usize| u8::try_from(number >> shift & 0xff).unwrap_or_default();
    let address = SocketAddr::from((Ipv4Addr::new(127, 1, byte(8), byte(0)), ports[number % ports.len()]));
    Target {
        key: UpstreamKey { name: "app".to_owned(), port: 0, implicit: false },
        index: 0,
        check: Arc::clone(check),
        peer: address.to_string(),
        address: ListenAddress::Inet(address),
        state: Arc::clone(state),
        known: None,
    }
}

/// Processor time of the thread named `health`, hundredths of a second (proc(5), fields 14 and 15).
fn thread_ticks() -> io::Result<u64> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        if head.ends_with("(health") {
            let fields: Vec<&str> = tail.split_whitespace().collect();
            let field = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            return Ok(field(11) + field(12));
        }
    }
    Err(io::Error::other("there is no thread named health, expected the checker to run"))
}

/// This program once more, as the peers: they are not to share our limit of open files.
fn start_responder() -> io::Result<(Child, Vec<u16>)> {
    let program = std::env::current_exe()?;
    let mut child =
        Command::new(program).arg("respond").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = &mut child.stdout {
        BufReader::new(output).read_line(&mut line)?;
    }
    Ok((child, line.split_whitespace().filter_map(|port| port.parse().ok()).collect()))
}

/// Answers every request, and prints the ports. It ends with the program that started it.
fn respond() -> io::Result<()> {
    weir_net::set_parent_death_signal(weir_net::Signal::Term)?;
    let mut poll = Poll::new()?;
    let mut listeners = Vec::new();
    for number in 0..LISTENERS {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        listener.set_nonblocking(true)?;
        print!("{} ", listener.local_addr()?.port());
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, Token(number), Interest::READABLE)?;
        listeners.push(listener);
    }
    println!();
    let mut events = Events::with_capacity(1024);
    let mut streams: Vec<Option<mio::net::TcpStream>> = Vec::new();
    let mut free = Vec::new();
    loop {
        if poll.poll(&mut events, None).is_err() {
            continue;
        }
        for event in &events {
            let token = event.token().0;
            if let Some(listener) = listeners.get(token) {
                while let Ok((mut stream, _)) = listener.accept() {
                    let place = free.pop().unwrap_or_else(|| {
                        streams.push(None);
                        streams.len() - 1
                    });
                    let token = Token(LISTENERS + place);
                    if poll.registry().register(&mut stream, token, Interest::READABLE).is_ok() {
                        streams[place] = Some(stream);
                    }
                }
            } else if let Some(stream) = &mut streams[token - LISTENERS]
                && !answer(stream)
            {
                streams[token - LISTENERS] = None;
                free.push(token - LISTENERS);
            }
        }
    }
}

/// False at the end of a connection.
fn answer(stream: &mut (impl Read + Write)) -> bool {
    match stream.read(&mut [0; 1024]) {
        Ok(0) => false,
        Ok(_) => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
