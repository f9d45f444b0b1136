//! `weir demo`: the main job on three sample applications, with nothing to set up.

mod apps;
mod client;
mod registry;

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use weir_lab::Keys;
use weir_net::{Signal, Signals};

use apps::App;
use client::{Client, Tally};

/// Reads `10s`, `2m`, `500ms`, `10`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| format!("\"{text}\" is no time; expected 10s, 2m or 500ms"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(format!("\"{unit}\" is no unit of time; expected ms, s or m")),
    }
}

/// Runs the demonstration; the exit code is 0 if no request failed.
pub(crate) fn run(time: Option<Duration>, port: Option<u16>) -> ExitCode {
    match demonstrate(time, port) {
        Ok(tally) if tally.failed == 0 && tally.answered > 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weir: the demo cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(time: Option<Duration>, port: Option<u16>) -> io::Result<Tally> {
    let mut apps = App::start_three()?;
    let port = port.map_or_else(|| free_port(8000), Ok)?;
    let registry = free_port(8500)?;
    let folder = Folder::new()?;
    let conf = configuration(&folder.path, port, registry);
    fs::write(folder.path.join("nginx.conf"), &conf)?;
    println!(
        "Three sample applications run inside this process. This nginx.conf puts Weir in front of them:\n"
    );
    println!("{}", conf.lines().map(|line| format!("    {line}\n")).collect::<String>());
    let mut server = Server::start(&folder.path)?;
    for app in &apps {
        registry::register(registry, &app.address)?;
    }
    registry::await_all(port, apps.len())?;
    println!("    the proxy        http://127.0.0.1:{port}/");
    println!("    its counters     http://127.0.0.1:{port}/status");
    println!("    its checks       http://127.0.0.1:{port}/checks");
    println!("    its peers        weir upstream --socket {}/control.sock", folder.path.display());
    println!("    the registry     http://127.0.0.1:{registry}/v1/kv/applications/?keys");
    for app in &apps {
        println!("    application {}    http://{}/", app.name, app.address);
    }
    println!();
    let client = Client::start(port);
    let tally = show(time, &mut apps, &client, &mut server)?;
    client.stop();
    server.quit()?;
    summary(&client.tally(), &apps);
    drop(folder);
    Ok(tally.max(client.tally()))
}

/// Shows how requests are spread until the end of the time, q, or a signal.
fn show(time: Option<Duration>, apps: &mut [App], client: &Client, server: &mut Server) -> io::Result<Tally> {
    let signals = Signals::new()?;
    let keys = Keys::open();
    let script = time.is_some();
    if script {
        println!("Application 2 will be stopped on the way and started again.\n");
    } else if keys.is_some() {
        println!("Keys 1, 2, 3 stop and start an application; q ends.\n");
    }
    let start = Instant::now();
    let mut last = client.tally();
    let mut next_line = start + Duration::from_secs(1);
    loop {
        let signal = signals.wait(Some(Duration::from_millis(50)))?;
        if signal.is_some_and(|s| matches!(s.signal, Signal::Int | Signal::Term | Signal::Quit)) {
            break;
        }
        match keys.as_ref().and_then(Keys::take) {
            Some(b'q') => break,
            Some(key @ b'1'..=b'3') => toggle(&mut apps[usize::from(key - b'1')])?,
            _ => {}
        }
        let elapsed = start.elapsed();
        if let Some(time) = time {
            let stopped = elapsed > time / 3 && elapsed < time * 2 / 3;
            if apps[1].is_running() == stopped {
                toggle(&mut apps[1])?;
            }
            if elapsed >= time {
                break;
            }
        }
        if next_line <= Instant::now() {
            next_line += Duration::from_secs(1);
            let now = client.tally();
            line(elapsed, &now, &last, apps);
            last = now;
        }
        server.still_runs()?;
    }
    Ok(client.tally())
}

fn toggle(app: &mut App) -> io::Result<()> {
    if app.is_running() {
        println!("      application {} is stopped", app.name);
        app.stop();
        Ok(())
    } else {
        println!("      application {} is started", app.name);
        app.start()
    }
}

/// One second: how many requests each application answered.
fn line(elapsed: Duration, now: &Tally, last: &Tally, apps: &[App]) {
    let mut text = format!("{:4}s", elapsed.as_secs());
    for (index, app) in apps.iter().enumerate() {
        let count = now.by_app[index] - last.by_app[index];
        let bar = "#".repeat((count as usize).div_ceil(8).min(14));
        let state = if app.is_running() { bar } else { "stopped".to_owned() };
        text.push_str(&format!("   {}: {count:4} {state:14}", app.name));
    }
    text.push_str(&format!("   failed: {}", now.failed));
    println!("{text}");
    let _ = io::stdout().flush();
}

fn summary(tally: &Tally, apps: &[App]) {
    let shares: Vec<String> =
        apps.iter().zip(tally.by_app).map(|(app, count)| format!("{} {count}", app.name)).collect();
    println!("\n{} requests answered ({}), {} failed", tally.answered, shares.join(", "), tally.failed);
    if let Some(reason) = &tally.reason {
        println!("the first failure: {reason}");
    }
}

/// The first port from here up that nobody listens on.
fn free_port(from: u16) -> io::Result<u16> {
    let to = from + 100;
    (from..to).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).ok_or_else(|| {
        io::Error::other(format!("ports {from} to {} are all in use; name another with --port", to - 1))
    })
}

fn configuration(folder: &Path, port: u16, registry: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes auto;
pid {folder}/weir.pid;
error_log {folder}/error.log;
state_path {folder}/state;

admin {{ socket {folder}/control.sock; }}
registry {{
    listen 127.0.0.1:{registry};
    data {folder}/registry;
}}

events {{ }}

http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;

    upstream applications {{
        upsync registry/v1/kv/applications/ upsync_type=consul;
        upsync_dump_path {folder}/applications.servers;
        check interval=200 rise=1 fall=1 timeout=200 type=tcp default_down=false;
    }}

    server {{
        listen 127.0.0.1:{port};

        location / {{
            proxy_pass http://applications;
            proxy_set_header Host $host;
        }}

        location = /status {{
            stub_status;
        }}
        location = /checks {{
            check_status;
        }}
        location = /peers {{
            upstream_show;
        }}
    }}
}}
"
    )
}

/// A folder of our own that goes with this value.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("weir-demo-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Folder { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The proxy: this binary once more, as a server.
struct Server {
    process: Child,
    folder: PathBuf,
}

impl Server {
    fn start(folder: &Path) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "error.log"]).stdin(Stdio::null());
        weir_net::end_with_parent(&mut command, Signal::Term);
        let mut server = Server { process: command.spawn()?, folder: folder.to_owned() };
        // The pid file is written when connections are served.
        while !folder.join("weir.pid").exists() {
            server.still_runs()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// An error if the proxy has ended.
    fn still_runs(&mut self) -> io::Result<()> {
        let Some(status) = self.process.try_wait()? else {
            return Ok(());
        };
        let log = fs::read_to_string(self.folder.join("error.log")).unwrap_or_default();
        Err(io::Error::other(format!("the proxy has ended ({status}); its error log:\n{log}")))
    }

    fn quit(&mut self) -> io::Result<()> {
        weir_net::send_signal(self.process.id(), Signal::Quit)?;
        self.process.wait()?;
        Ok(())
    }
}

/// A demo that fails must not leave its proxy behind.
impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = weir_net::send_signal(self.process.id(), Signal::Term);
            let _ = self.process.wait();
        }
    }
}
