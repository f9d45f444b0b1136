//! Stores that tests run as peers of the binary: Consul, and clients of a store's API.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use weir_net::{Signal, send_signal};

use crate::common::{PATIENCE, free_port, until};

/// A real Consul on ports of its own; it ends with this value.
pub struct Consul {
    process: Child,
    pub port: u16,
    data: tempfile::TempDir,
    ports: [u16; 3],
}

impl Consul {
    pub fn start() -> Consul {
        let data = tempfile::tempdir().expect("a folder");
        let ports = [free_port(), free_port(), free_port()];
        Consul::on(free_port(), data, ports)
    }

    fn on(port: u16, data: tempfile::TempDir, ports: [u16; 3]) -> Consul {
        let [lan, wan, server] = ports;
        let settings = format!(
            "ports {{ http = {port} dns = -1 grpc = -1 serf_lan = {lan} serf_wan = {wan} server = {server} }}
             bind_addr = \"127.0.0.1\" client_addr = \"127.0.0.1\" performance {{ raft_multiplier = 1 }}"
        );
        let mut command = Command::new("consul");
        command.args(["agent", "-server", "-bootstrap-expect=1", "-log-level=err", "-data-dir"]);
        command.arg(data.path()).args(["-hcl", &settings]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        weir_net::end_with_parent(&mut command, Signal::Kill);
        let process = command.spawn().expect("consul is installed by ./test");
        let consul = Consul { process, port, data, ports };
        until("consul has a leader", || (get(port, "/v1/status/leader").ok()?.1.len() > 4).then_some(()));
        consul
    }

    /// Ends it as a machine ends that loses its power, and keeps its data.
    pub fn kill(mut self) -> Stopped {
        send_signal(self.process.id(), Signal::Kill).expect("it runs");
        self.process.wait().expect("a child");
        let data = tempfile::tempdir().expect("a folder");
        Stopped { port: self.port, data: std::mem::replace(&mut self.data, data), ports: self.ports }
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = send_signal(self.process.id(), Signal::Kill);
            let _ = self.process.wait();
        }
    }
}

/// A Consul that does not run.
pub struct Stopped {
    port: u16,
    data: tempfile::TempDir,
    ports: [u16; 3],
}

impl Stopped {
    /// The same one again.
    pub fn start(self) -> Consul {
        Consul::on(self.port, self.data, self.ports)
    }

    /// One at the same place that knows nothing.
    pub fn start_empty(self) -> Consul {
        Consul::on(self.port, tempfile::tempdir().expect("a folder"), self.ports)
    }
}

/// Status and body.
pub type Reply = (u16, String);

pub fn get(port: u16, path: &str) -> std::io::Result<Reply> {
    send(port, "GET", path, "", "")
}

/// Writes, and says what was answered.
pub fn put(port: u16, path: &str, body: &str) -> Reply {
    send(port, "PUT", path, "", body).expect("the store answers")
}

pub fn delete(port: u16, path: &str) -> Reply {
    send(port, "DELETE", path, "", "").expect("the store answers")
}

/// `headers`: whole lines.
pub fn send(port: u16, method: &str, path: &str, headers: &str, body: &str) -> std::io::Result<Reply> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    converse(stream, method, path, headers, body)
}

/// The same over a socket in the file system.
pub fn send_to_socket(socket: &Path, method: &str, path: &str, body: &str) -> std::io::Result<Reply> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    converse(stream, method, path, "", body)
}

fn converse(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<Reply> {
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: store\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
}
