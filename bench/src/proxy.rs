//! The proxies under measurement: their configuration files, how they start, reload and end.
//! nginx and Weir read the very same file; haproxy reads its translation.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::client::{self, GENERATION};
use crate::measure;

const START_TIMEOUT: Duration = Duration::from_secs(5);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Weir,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Weir => "weir",
        }
    }
}

/// What differs between the configurations of the cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) access_log: bool,
    /// Marks the configuration in a reply header; `None` sends no such header.
    pub(crate) generation: Option<u32>,
}

/// What is the same for all of them.
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    /// Where every proxy listens; they run one after the other.
    pub(crate) address: SocketAddr,
    pub(crate) backend: SocketAddr,
    pub(crate) core: usize,
    pub(crate) weir: PathBuf,
}

impl Site {
    /// A loopback address that nobody listens on now.
    pub(crate) fn free_address() -> Result<SocketAddr> {
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
    }

    fn file(&self, kind: Kind) -> PathBuf {
        self.folder.join(match kind {
            Kind::Haproxy => "haproxy.cfg",
            Kind::Nginx | Kind::Weir => "nginx.conf",
        })
    }

    fn write(&self, kind: Kind, setup: Setup) -> Result<()> {
        let text = match kind {
            Kind::Haproxy => haproxy_file(self.address, self.backend, setup),
            Kind::Nginx | Kind::Weir => nginx_file(self.address, self.backend, setup),
        };
        Ok(fs::write(self.file(kind), text)?)
    }

    fn command(&self, kind: Kind, prefix: &Path) -> Command {
        let mut command = pinned(self.core);
        match kind {
            // Master and worker, so that reloads work as in service; -db keeps it in the foreground.
            Kind::Haproxy => {
                command.args(["haproxy", "-W", "-db", "-f"]);
                command.arg(self.file(kind));
            }
            Kind::Nginx | Kind::Weir => {
                match kind {
                    Kind::Weir => command.arg(&self.weir),
                    _ => command.arg("nginx"),
                };
                command.arg("-p").arg(prefix).arg("-c");
                command.arg(self.file(kind));
                command.args(["-e", "error.log", "-g", "daemon off;"]);
            }
        }
        command
    }
}

/// A command on one core that ends with the thread that starts it.
pub(crate) fn pinned(core: usize) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "taskset", "--cpu-list"]);
    command.arg(core.to_string()).stdin(Stdio::null());
    command
}

/// A running proxy that answers; ends with all its processes when dropped.
pub(crate) struct Proxy<'a> {
    site: &'a Site,
    kind: Kind,
    setup: Setup,
    prefix: PathBuf,
    child: Child,
}

impl<'a> Proxy<'a> {
    /// Starts `kind` and waits until it passes the backend's replies on, byte for byte.
    pub(crate) fn start(site: &'a Site, kind: Kind, setup: Setup) -> Result<Self> {
        let prefix = site.folder.join(kind.name());
        if prefix.exists() {
            fs::remove_dir_all(&prefix)?;
        }
        fs::create_dir(&prefix)?;
        site.write(kind, setup)?;
        let output = fs::File::create(prefix.join("output.log"))?;
        let child = site
            .command(kind, &prefix)
            .current_dir(&prefix)
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", kind.name()))?;
        let mut proxy = Self { site, kind, setup, prefix, child };
        proxy.await_ready().map_err(|error| anyhow!("{error:#}; {}", proxy.said()))?;
        Ok(proxy)
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at start: {status}", self.kind.name());
            }
            match client::check(self.site.address, "/small") {
                Ok(_) => break,
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("{} does not serve", self.kind.name())));
                }
                Err(_) => thread::sleep(POLL),
            }
        }
        for path in ["/16k", "/1m"] {
            client::check(self.site.address, path)?;
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.site.address
    }

    /// The process that was started; its tree is the proxy.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes the file of `generation` and sends the reload signal.
    pub(crate) fn reload(&mut self, generation: u32) -> Result<()> {
        self.setup.generation = Some(generation);
        self.site.write(self.kind, self.setup)?;
        let signal = match self.kind {
            Kind::Haproxy => Signal::USR2,
            Kind::Nginx | Kind::Weir => Signal::HUP,
        };
        send(self.pid(), signal).with_context(|| format!("cannot signal {}", self.kind.name()))
    }

    /// The last lines of what it wrote to its error log and its terminal.
    pub(crate) fn said(&self) -> String {
        let mut text = String::new();
        for name in ["error.log", "output.log"] {
            let log = fs::read(self.prefix.join(name)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).into_owned();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(5)..] {
                text.push_str("\n    ");
                text.push_str(line);
            }
        }
        if text.is_empty() {
            text.push_str(" nothing");
        }
        format!("{} said:{text}", self.kind.name())
    }
}

impl Drop for Proxy<'_> {
    fn drop(&mut self) {
        let members = measure::tree(self.pid()).unwrap_or_default();
        stop(&mut self.child);
        for pid in members {
            // Only those that outlived their parent are left; a reused pid is not a risk within
            // these few seconds, because pids are given out in turn.
            let _ = send(pid, Signal::KILL);
        }
    }
}

/// Ends a child of ours: asks, waits, and kills it if it does not go.
pub(crate) fn stop(child: &mut Child) {
    let _ = send(child.id(), Signal::TERM);
    let deadline = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(POLL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid.try_into()?).context("pid 0 is no process")?;
    Ok(kill_process(pid, signal)?)
}

fn nginx_file(address: SocketAddr, backend: SocketAddr, setup: Setup) -> String {
    let log = if setup.access_log { "access.log combined" } else { "off" };
    let generation = setup.generation.map_or(String::new(), |generation| {
        format!("            add_header {GENERATION} {generation} always;\n")
    });
    format!(
        r#"worker_processes 1;
pid nginx.pid;
error_log error.log warn;

events {{
    worker_connections 9000;
}}

http {{
    access_log {log};
    client_body_temp_path client_body_temp;
    proxy_temp_path proxy_temp;
    keepalive_timeout 120s;
    keepalive_requests 100000000;

    upstream origin {{
        server {backend};
        keepalive 64;
        keepalive_requests 100000000;
    }}

    server {{
        listen {address};

        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
{generation}        }}

        location /ws {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 120s;
        }}
    }}
}}
"#
    )
}

fn haproxy_file(address: SocketAddr, backend: SocketAddr, setup: Setup) -> String {
    let log = if setup.access_log { "    log global\n    option httplog clf\n" } else { "" };
    let generation = setup.generation.map_or(String::new(), |generation| {
        format!("    http-response set-header {GENERATION} {generation}\n")
    });
    format!(
        "global
    nbthread 1
    maxconn 9000
    log stdout format raw local0

defaults
    mode http
    timeout connect 60s
    timeout client 120s
    timeout server 120s
    timeout tunnel 120s
    timeout http-keep-alive 120s
    http-reuse always

frontend entry
    bind {address}
{log}    default_backend origin

backend origin
{generation}    server a {backend} pool-max-conn 64
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setup_changes_only_its_own_lines() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        let backend = SocketAddr::from(([127, 0, 0, 1], 9090));
        for (file, on, off, mark) in [
            (
                nginx_file as fn(SocketAddr, SocketAddr, Setup) -> String,
                "access_log access.log combined;",
                "access_log off;",
                "add_header X-Generation 3 always;",
            ),
            (
                haproxy_file,
                "option httplog clf",
                "default_backend",
                "http-response set-header X-Generation 3",
            ),
        ] {
            let plain = Setup { access_log: true, generation: None };
            let text = file(address, backend, plain);
            assert!(text.contains(on), "{text}");
            assert!(!text.contains(mark), "{text}");
            let text = file(address, backend, Setup { access_log: false, generation: Some(3) });
            assert!(!text.contains(on), "{text}");
            assert!(text.contains(off), "{text}");
            assert!(text.contains(mark), "{text}");
        }
    }
}
