//! `weir upstream`: which peers serve, since when and why; and the orders of operators.

mod table;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde::Deserialize;
use weir_directory::{AdminState, Applied, State, UpstreamStatus};
use weir_serve_admin::{Client, ClientError, Listing, Obeyed, Reply, Wish, parse_time, segment};

use crate::place;

/// The node answers at once, but for what is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where a node of root answers, for users who are not root.
const ROOT_SOCKET: &str = "/run/weir/control.sock";
/// The time that was given to a wait is over.
const OVER: u8 = 3;

/// What `weir upstream` is told.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        weir upstream                                    who serves, and who does not\n  \
        weir upstream drain web 10.0.0.7:8080 --wait     returns when no request is left there\n  \
        weir upstream undrain web 10.0.0.7:8080          back again\n  \
        weir upstream weight web 10.0.0.7:8080 1         another weight\n  \
        weir upstream percent web 10.0.0.7:8080 10       a tenth of its weight\n  \
        weir upstream wait web --index 1234              returns when what was written to the store is served\n\n\
        Exit code 0: done; 1: refused or no answer; 3: done, but what was waited for did not come in time."
)]
pub(super) struct Words {
    /// One upstream; without it all
    name: Option<String>,
    /// The whole state, for programs
    #[arg(long)]
    json: bool,
    /// The socket of the control API
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Send a peer no new requests but those that are bound to it; running ones end
    Drain(Withdrawal),
    /// Take a drain or a maintenance back
    Undrain(Order),
    /// Send a peer no new requests at all
    Maintenance(Withdrawal),
    /// Give a peer another share of the requests than the configuration or its source says
    Weight {
        #[command(flatten)]
        order: Order,
        /// 1 to 65535
        weight: u32,
    },
    /// Let a part of a peer's weight count; 100 takes that back
    Percent {
        #[command(flatten)]
        order: Order,
        /// 1 to 100
        percent: u8,
    },
    /// Forget what was ordered for a peer: state, weight and percent
    Forget(Order),
    /// Return when every data thread serves what was written to the source of an upstream
    Wait {
        /// The upstream
        name: String,
        /// The index that the store answered to the write
        #[arg(long)]
        index: u64,
        /// How long at most
        #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "30s")]
        timeout: Duration,
        /// The socket of the control API
        #[arg(long, value_name = "PATH")]
        socket: Option<String>,
    },
}

#[derive(Args)]
struct Withdrawal {
    #[command(flatten)]
    order: Order,
    /// Even if no other peer is left that serves
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
struct Order {
    /// The upstream
    name: String,
    /// The peer's address
    address: String,
    /// Why, for those who look at the state later
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// The order ends by itself after this time: 10m
    #[arg(long = "for", value_name = "TIME")]
    time: Option<String>,
    /// Return when it is in force in every data thread and, where it takes the peer out, no request is left there
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "60s")]
    timeout: Duration,
    /// The socket of the control API
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
}

/// What went wrong, and the exit code that says so to scripts.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: 1 }
    }
}

/// Does what the words say.
pub(super) fn run(words: Words) -> ExitCode {
    let result = match words.action {
        None => show(words.name.as_deref(), words.socket, words.json),
        Some(Action::Drain(words)) => withdraw(&words, AdminState::Drain),
        Some(Action::Maintenance(words)) => withdraw(&words, AdminState::Maintenance),
        Some(Action::Undrain(order)) => {
            let wish = Wish { state: Some(AdminState::Up), ..order.wish() };
            obey(&order, Some(&wish), "served")
        }
        Some(Action::Weight { order, weight }) => {
            let wish = Wish { weight: Some(weight), ..order.wish() };
            obey(&order, Some(&wish), "served")
        }
        Some(Action::Percent { order, percent }) => {
            let wish = Wish { percent: Some(percent), ..order.wish() };
            obey(&order, Some(&wish), "served")
        }
        Some(Action::Forget(order)) => obey(&order, None, "served"),
        Some(Action::Wait { name, index, timeout, socket }) => wait(&name, index, timeout, socket),
    };
    match result {
        Ok(text) => {
            // A reader that has seen enough (`| head`) is no mistake.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("weir: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

fn show(name: Option<&str>, socket: Option<String>, json: bool) -> Result<String, Failure> {
    let target =
        name.map_or_else(|| "/v1/upstreams".to_owned(), |name| format!("/v1/upstreams/{}", segment(name)));
    let reply = ask(socket, "GET", &target, Vec::new(), PATIENCE)?;
    let body = accepted(&reply)?;
    if json {
        let document: serde_json::Value = understood(body)?;
        return Ok(format!("{document:#}\n"));
    }
    let upstreams: Vec<UpstreamStatus> = match name {
        Some(_) => vec![understood(body)?],
        None => understood::<Listing>(body)?.upstreams,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(table::draw(&upstreams, now.as_millis() as u64))
}

impl Order {
    fn wish(&self) -> Wish {
        Wish { reason: self.reason.clone(), expires: self.time.clone(), who: Some(who()), ..Wish::default() }
    }

    fn target(&self) -> String {
        format!("/v1/upstreams/{}/peers/{}", segment(&self.name), segment(&self.address))
    }
}

fn withdraw(words: &Withdrawal, state: AdminState) -> Result<String, Failure> {
    let wish = Wish { state: Some(state), force: words.force, ..words.order.wish() };
    obey(&words.order, Some(&wish), "quiet")
}

/// Sends an order, or takes it back.
fn obey(order: &Order, wish: Option<&Wish>, until: &str) -> Result<String, Failure> {
    let mut target = format!("{}?timeout={}ms", order.target(), order.timeout.as_millis());
    if order.wait {
        target.push_str(&format!("&wait={until}"));
    }
    let (method, body) = match wish {
        Some(wish) => ("PUT", serde_json::to_vec(wish).map_err(|error| Failure::new(error.to_string()))?),
        None => {
            target.push_str(&format!("&who={}", segment(&who())));
            ("DELETE", Vec::new())
        }
    };
    let patience = if order.wait { order.timeout + PATIENCE } else { PATIENCE };
    let reply = ask(order.socket.clone(), method, &target, body, patience)?;
    let obeyed: Obeyed = understood(accepted(&reply)?)?;
    Ok(told(order, &obeyed))
}

/// What the peer is now, which may be something else than what was ordered: others have a say as well.
fn told(order: &Order, obeyed: &Obeyed) -> String {
    let Order { name, address, .. } = order;
    let Some(peer) = &obeyed.peer else {
        return format!("{name}: there is no {address} at present; its order is forgotten\n");
    };
    let mut text = format!("{name}: {} is {}", peer.address, peer.state);
    if peer.state != State::Up {
        text.push_str(&format!(" by {}", table::why(peer)));
    }
    text.push_str(&format!(", weight {}", peer.weight));
    if let Some(share) = peer.share.or(peer.percent) {
        text.push_str(&format!(" at {share}%"));
    }
    match (obeyed.quiet, peer.state.serves(), peer.active) {
        (true, ..) => text.push_str(", no request is left"),
        (false, false, active @ 1..) => text.push_str(&format!(", {active} requests run")),
        _ => {}
    }
    text.push('\n');
    text
}

fn wait(name: &str, index: u64, timeout: Duration, socket: Option<String>) -> Result<String, Failure> {
    let milliseconds = timeout.as_millis();
    let target =
        format!("/v1/upstreams/{}/wait-applied?index={index}&timeout={milliseconds}ms", segment(name));
    let reply = ask(socket, "GET", &target, Vec::new(), timeout + PATIENCE)?;
    let applied: Applied = understood(accepted(&reply)?)?;
    Ok(format!("{name}: index {} is served\n", applied.served))
}

/// The answer's body, or what the answer refuses.
fn accepted(reply: &Reply) -> Result<&[u8], Failure> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        hint: String,
    }
    if reply.status == 200 {
        return Ok(&reply.body);
    }
    let refusal: Refusal = understood(&reply.body)?;
    let text = match reply.status {
        // The message says it all, in words for this command.
        400 | 404 => refusal.error,
        409 if refusal.error.contains("force it") => format!("{}: --force", refusal.error),
        _ => format!("{}; {}", refusal.error, refusal.hint),
    };
    Err(Failure { text, code: if reply.status == 504 { OVER } else { 1 } })
}

fn understood<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::new(format!("an answer that is not understood: {error}; is the node of another version?"))
    })
}

fn ask(
    socket: Option<String>,
    method: &str,
    target: &str,
    body: Vec<u8>,
    patience: Duration,
) -> Result<Reply, Failure> {
    let socket = socket.map_or_else(default_socket, Ok)?;
    let method = method.parse().expect("the methods of this file are tokens");
    Client::new(&socket).send_blocking(method, target, body, patience).map_err(|error| {
        let hint = match &error {
            ClientError::Connect(error) if error.kind() == ErrorKind::PermissionDenied => {
                "only the user of the node may ask it: try sudo weir upstream, or as root"
            }
            ClientError::Connect(_) => {
                "expected a running node (weir run nginx.conf); if its admin { } names a socket: --socket PATH"
            }
            _ => "look at the node's error log",
        };
        Failure::new(format!("{socket}: {error}; {hint}"))
    })
}

/// Where the node of this machine answers.
pub(super) fn local_socket() -> Result<String, String> {
    default_socket().map_err(|failure| failure.text)
}

/// The node of this user, or else that of root, or else the only one that runs.
fn default_socket() -> Result<String, Failure> {
    let own = place::control_socket();
    if Path::new(&own).exists() {
        return Ok(own);
    }
    if Path::new(ROOT_SOCKET).exists() {
        return Ok(ROOT_SOCKET.to_owned());
    }
    let folder = Path::new(&own).parent().unwrap_or(Path::new("/"));
    let mut others = sockets(folder);
    match others.len() {
        0 => Ok(own),
        1 => Ok(others.remove(0)),
        _ => Err(Failure::new(format!(
            "several nodes run here; say which by --socket PATH: {}",
            others.join(", ")
        ))),
    }
}

/// Sockets of nodes with a pid file of their own, those of dead ones left out.
fn sockets(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.path().to_str().map(str::to_owned));
    let mut sockets: Vec<String> = names
        .filter(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("control-")))
        .filter(|path| path.ends_with(".sock") && std::os::unix::net::UnixStream::connect(path).is_ok())
        .collect();
    sockets.sort();
    sockets
}

/// Who gives the order: the one behind sudo, if there is one.
pub(super) fn who() -> String {
    let named = |name: &str| std::env::var(name).ok().filter(|user| !user.is_empty());
    let user = named("SUDO_USER").or_else(|| named("USER")).or_else(|| named("LOGNAME"));
    let user = user.unwrap_or_else(|| match rustix::process::getuid().as_raw() {
        0 => "root".to_owned(),
        uid => format!("uid {uid}"),
    });
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}
