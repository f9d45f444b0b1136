//! `weir vip`: who holds what, since when, and why.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::place;

/// The node answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// What of the node's document is shown.
#[derive(Deserialize)]
struct Document {
    now: f64,
    instances: Vec<Row>,
    node: Vec<Entry>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    group: Option<String>,
    state: String,
    since_unix: f64,
    cause: String,
    base_priority: u8,
    effective_priority: u8,
    reasons: Vec<String>,
    master: Option<Master>,
    alarms: Vec<String>,
    holds: bool,
    interface: String,
    vrid: u8,
    vrrp_version: u8,
    addresses: Vec<String>,
    excluded: Vec<String>,
    lease: Option<u32>,
    history: Vec<Entry>,
}

#[derive(Deserialize)]
struct Master {
    address: String,
    priority: u8,
    heard: f64,
}

#[derive(Deserialize)]
struct Entry {
    /// seconds since 1970
    at: f64,
    text: String,
}

/// So many changes are shown of each instance, unless one is named.
const CHANGES: usize = 3;

/// Asks the node of this machine.
pub(super) fn run(name: Option<&str>, socket: Option<String>, json: bool) -> ExitCode {
    let socket = socket.unwrap_or_else(default_socket);
    let text = match ask(&socket) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!(
                "weir: {socket}: {error}; only the user of the node may ask it: try sudo weir vip, or as root"
            );
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!(
                "weir: {socket}: {error}; expected a running node with virtual routers (weir run keepalived.conf)"
            );
            eprintln!("      if its file sets status_socket, name that: weir vip --socket PATH");
            return ExitCode::FAILURE;
        }
    };
    let shown = if json { select_json(&text, name) } else { select(&text, name) };
    match shown {
        Ok(shown) => {
            // A reader that has seen enough (`| head`) is no mistake.
            let _ = std::io::stdout().lock().write_all(shown.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("weir: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The node of this user, or else that of root.
fn default_socket() -> String {
    let own = place::status_socket();
    if !Path::new(&own).exists() && Path::new(place::STATUS_SOCKET).exists() {
        place::STATUS_SOCKET.to_owned()
    } else {
        own
    }
}

fn ask(socket: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    if text.is_empty() {
        return Err(std::io::Error::other("the node's elections do not answer"));
    }
    Ok(text)
}

fn unknown<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    format!("there is no vrrp_instance {name}; there are: {}", names.join(", "))
}

fn select_json(text: &str, name: Option<&str>) -> Result<String, String> {
    let mut document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some(name) = name {
        let rows = document["instances"].as_array().cloned().unwrap_or_default();
        let found = rows.iter().find(|row| row["name"] == name);
        let names = rows.iter().filter_map(|row| row["name"].as_str());
        document = found.cloned().ok_or_else(|| unknown(name, names))?;
    }
    Ok(format!("{document:#}\n"))
}

fn select(text: &str, name: Option<&str>) -> Result<String, String> {
    let mut document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut changes = CHANGES;
    if let Some(name) = name {
        if !document.instances.iter().any(|row| row.name == name) {
            return Err(unknown(name, document.instances.iter().map(|row| row.name.as_str())));
        }
        document.instances.retain(|row| row.name == name);
        changes = usize::MAX;
    }
    Ok(show(&document, changes))
}

fn show(document: &Document, changes: usize) -> String {
    let mut text = String::new();
    for row in &document.instances {
        show_row(&mut text, row, document.now, changes);
    }
    if document.instances.is_empty() {
        text.push_str("no virtual router is configured\n");
    }
    for entry in last(&document.node, changes) {
        let _ = writeln!(text, "node: {} ago: {}", ago(document.now - entry.at), entry.text);
    }
    text
}

/// Writing to a string cannot fail.
fn show_row(text: &mut String, row: &Row, now: f64, changes: usize) {
    let state = row.state.to_uppercase();
    let group = row.group.as_ref().map_or_else(String::new, |group| format!(", group {group}"));
    let _ = writeln!(
        text,
        "{}: {state} for {}  ({}, vrid {}, version {}{group})",
        row.name,
        ago(now - row.since_unix),
        row.interface,
        row.vrid,
        row.vrrp_version
    );
    let addresses: Vec<&str> = row.addresses.iter().chain(&row.excluded).map(String::as_str).collect();
    let lease = match row.lease {
        Some(seconds) if row.holds => format!("  leased for {seconds} s at a time"),
        _ => String::new(),
    };
    let holds = if row.holds { "holds" } else { "does not hold" };
    let _ = writeln!(text, "  {holds:<8} {}{lease}", addresses.join(", "));
    let _ = writeln!(text, "  because  {}", row.cause);
    match (&row.master, row.holds) {
        (Some(master), false) => {
            let Master { address, priority, heard } = master;
            let _ = writeln!(text, "  master   {address}, priority {priority}, heard {heard:.1} s ago");
        }
        (None, false) => text.push_str("  master   none is heard\n"),
        (_, true) => {}
    }
    let changed = row.base_priority != row.effective_priority;
    let base = if changed { format!(", {} without trackers", row.base_priority) } else { String::new() };
    let _ = writeln!(text, "  priority {}{base}", row.effective_priority);
    for reason in &row.reasons {
        let _ = writeln!(text, "           {reason}");
    }
    for alarm in &row.alarms {
        let _ = writeln!(text, "  ALARM    {alarm}");
    }
    let mut title = "changes";
    for entry in last(&row.history, changes) {
        let _ = writeln!(text, "  {title:<8} {} ago: {}", ago(now - entry.at), entry.text);
        title = "";
    }
}

fn last(entries: &[Entry], count: usize) -> impl Iterator<Item = &Entry> {
    entries.iter().skip(entries.len().saturating_sub(count))
}

/// A span of seconds as people say it.
pub(super) fn ago(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {} s", whole / 60, whole % 60),
        7200..172_800 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} days", whole / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"pid": 1, "now": 1000.0, "node": [], "instances": [
        {"name": "web", "group": null, "state": "master", "since_unix": 400.0, "cause": "no master was heard for 3.4 s",
         "base_priority": 150, "effective_priority": 130, "reasons": ["script web is down: -20"], "master": null,
         "alarms": ["10.0.0.2 announces another list"], "holds": true, "interface": "eth0", "vrid": 51, "vrrp_version": 2,
         "addresses": ["10.0.0.9/24"], "excluded": [], "lease": 2,
         "history": [{"at": 1.0, "text": "a"}, {"at": 2.0, "text": "b"}, {"at": 3.0, "text": "c"}, {"at": 400.0, "text": "BACKUP -> MASTER"}]},
        {"name": "db", "group": "all", "state": "backup", "since_unix": 995.0, "cause": "a higher priority is heard",
         "base_priority": 100, "effective_priority": 100, "reasons": [], "master": {"address": "10.0.0.2", "priority": 200, "heard": 0.4},
         "alarms": [], "holds": false, "interface": "eth0", "vrid": 52, "vrrp_version": 3,
         "addresses": ["10.0.0.10/32"], "excluded": [], "lease": 2, "history": []}]}"#;

    #[test]
    fn a_node_is_told_in_words() {
        let text = select(DOCUMENT, None).expect("a document");
        assert!(text.contains("web: MASTER for 10 min 0 s  (eth0, vrid 51, version 2)"), "{text}");
        assert!(text.contains("holds    10.0.0.9/24  leased for 2 s at a time"), "{text}");
        assert!(text.contains("priority 130, 150 without trackers"), "{text}");
        assert!(text.contains("ALARM    10.0.0.2 announces another list"), "{text}");
        assert!(text.contains("600 ago") || text.contains("10 min 0 s ago: BACKUP -> MASTER"), "{text}");
        assert!(!text.contains(": a\n"), "only the last changes: {text}");
        assert!(text.contains("master   10.0.0.2, priority 200, heard 0.4 s ago"), "{text}");
    }

    #[test]
    fn one_instance_has_its_whole_history() {
        let text = select(DOCUMENT, Some("web")).expect("a document");
        assert!(text.contains(": a\n") && !text.contains("db:"), "{text}");
        let error = select(DOCUMENT, Some("wbe")).expect_err("no such instance");
        assert_eq!(error, "there is no vrrp_instance wbe; there are: web, db");
        assert!(select_json(DOCUMENT, Some("db")).expect("a document").contains("\"vrid\": 52"));
    }
}
