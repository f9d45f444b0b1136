//! What the cases run: Weir with a configuration, Consul, applications with a name, and a client of a store.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use super::Place;
use crate::{backend, client, proxy};

const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A process of ours with a folder; both go with it.
pub(super) struct Node {
    child: Child,
    folder: PathBuf,
}

impl Node {
    /// `weir run` of a configuration whose relative paths are below a fresh folder.
    pub(super) fn weir(place: &Place, name: &str, conf: &str) -> Result<Node> {
        let folder = fresh(&place.folder, name)?;
        let file = folder.join("nginx.conf");
        fs::write(&file, conf)?;
        let mut command = Command::new(&place.weir);
        command.arg("run").arg(&file);
        Node::start(command, folder)
    }

    /// A program with arguments.
    pub(super) fn program(place: &Place, name: &str, program: &Path, words: &[&str]) -> Result<Node> {
        let folder = fresh(&place.folder, name)?;
        let mut command = Command::new(program);
        command.args(words);
        Node::start(command, folder)
    }

    fn start(mut command: Command, folder: PathBuf) -> Result<Node> {
        let output = fs::File::create(folder.join("output.log"))?;
        command.current_dir(&folder).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Node { child, folder })
    }

    /// Waits until something answers.
    pub(super) fn await_answer(&mut self, mut asks: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !asks() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at start, {status}: {}", self.said());
            }
            ensure!(Instant::now() < deadline, "it does not answer: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(self.folder.join("output.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(6)..].join(" | ")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        proxy::stop(&mut self.child);
    }
}

fn fresh(parent: &Path, name: &str) -> Result<PathBuf> {
    let folder = parent.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder)?;
    // The worker drops its privileges, and has to get at its folders.
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}

/// A configuration with the registry, one upstream and one server.
pub(super) fn conf(folder: &str, main: &str, upstream: &str, listen: SocketAddr) -> String {
    format!(
        "worker_processes 2;
pid {folder}weir.pid;
error_log error.log notice;
state_path state;
{main}
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    upstream app {{
{upstream}
    }}
    server {{
        listen {listen};
        location / {{ proxy_pass http://app; }}
    }}
}}
"
    )
}

/// A loopback address that nobody listens on now.
pub(super) fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// An application that answers every request with its name, on threads of this process.
pub(super) fn named(name: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, name));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, name: &str) {
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
    let mut input = Vec::new();
    let mut chunk = [0; 4096];
    let _ = stream.set_nodelay(true);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        input.extend_from_slice(&chunk[..count]);
        while let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            input.drain(..end + 4);
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The canned backend on a port of every loopback address (127.0.0.0/8), reachable through the loopback interface only.
pub(super) fn everywhere() -> Result<u16> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind_device(Some(b"lo")).context("binding to the loopback interface")?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let listener: TcpListener = socket.into();
    let port = listener.local_addr()?.port();
    thread::spawn(move || backend::serve(listener));
    Ok(port)
}

/// The n-th of many loopback addresses.
pub(super) fn loopback(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + n)
}

/// One keep-alive connection to a store.
pub(super) struct Store {
    stream: TcpStream,
}

impl Store {
    pub(super) fn open(address: SocketAddr) -> Result<Store> {
        Ok(Store { stream: client::connect(address)? })
    }

    /// Sends a PUT, and returns the body of the answer, which has to be 200.
    pub(super) fn put(&mut self, path: &str, body: &str) -> Result<Vec<u8>> {
        self.send("PUT", path, body)
    }

    pub(super) fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.send("GET", path, "")
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: store\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        let mut input = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            let count = self.stream.read(&mut chunk)?;
            ensure!(count > 0, "the store closed the connection");
            input.extend_from_slice(&chunk[..count]);
            let Some(head) = client::parse_head(&input)? else { continue };
            let length = head.length.context("an answer without a length")?;
            if input.len() >= head.end + length {
                let body = input.split_off(head.end);
                ensure!(
                    head.status == 200,
                    "{method} {path}: {} {}",
                    head.status,
                    String::from_utf8_lossy(&body)
                );
                return Ok(body);
            }
        }
    }
}

/// The given share of sorted values, as milliseconds.
pub(super) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(index).copied().unwrap_or(f64::NAN)
}
