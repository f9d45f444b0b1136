//! Real stores of the machine on free ports of loopback. They end with their guard, or with the test.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program that ends with its guard.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program with its output in a file of the folder.
fn start(program: &str, arguments: &[String], folder: &Path) -> Running {
    let log = std::fs::File::create(folder.join(format!("{program}.log"))).expect("a log file");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the same file"))
        .stderr(log)
        .env("ETCD_UNSUPPORTED_ARCH", "arm64")
        .process_group(0);
    Running(command.spawn().unwrap_or_else(|error| panic!("{program} has to be installed: {error}")))
}

/// Ports that nobody listens on, and that no other test gets. They are below those that the kernel gives to outgoing
/// connections: a store that is started again finds its own port free.
pub fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static GIVEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(61);
    [(); N].map(|()| {
        loop {
            let given = GIVEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let port = FIRST + begin.wrapping_add(given) % COUNT;
            let port = u16::try_from(port).expect("all of them are ports");
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                break port;
            }
        }
    })
}

/// One Consul server.
pub struct Consul {
    pub port: u16,
    ports: [u16; 5],
    folder: PathBuf,
    running: Option<Running>,
}

impl Consul {
    pub async fn start(folder: &Path) -> Self {
        let ports = free_ports();
        let mut consul = Self { port: ports[0], ports, folder: folder.to_owned(), running: None };
        consul.run().await;
        consul
    }

    /// Until it has a leader.
    pub async fn run(&mut self) {
        let [http, serf, wan, rpc, grpc] = self.ports;
        let data = self.folder.join("data");
        let arguments = [
            "agent".to_owned(),
            "-server".to_owned(),
            "-bootstrap-expect=1".to_owned(),
            "-bind=127.0.0.1".to_owned(),
            "-node=test".to_owned(),
            format!("-data-dir={}", data.display()),
            format!("-http-port={http}"),
            format!("-serf-lan-port={serf}"),
            format!("-serf-wan-port={wan}"),
            format!("-server-port={rpc}"),
            format!("-grpc-port={grpc}"),
            "-dns-port=-1".to_owned(),
            "-hcl=performance { raft_multiplier = 1 } leave_on_terminate = false".to_owned(),
        ];
        self.running = Some(start("consul", &arguments, &self.folder));
        super::soon("leader of Consul", async {
            loop {
                let put = self.put("ready", "1");
                if put.await.is_some_and(|(status, body)| status == 200 && body.trim() == "true") {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Ends it as a crash does.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Forgets everything that it knew.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.folder.join("data")).expect("its data");
    }

    pub async fn put(&self, key: &str, value: &str) -> Option<(u16, String)> {
        request(self.port, "PUT", &format!("/v1/kv/{key}"), value).await
    }

    pub async fn call(&self, method: &str, path: &str, body: &str) {
        let (status, answer) = request(self.port, method, path, body).await.expect("Consul answers");
        assert_eq!(status, 200, "{method} {path}: {answer}");
    }
}

/// One etcd.
pub struct Etcd {
    pub port: u16,
    peer: u16,
    folder: PathBuf,
    running: Option<Running>,
}

impl Etcd {
    pub async fn start(folder: &Path) -> Self {
        let [port, peer] = free_ports();
        let mut etcd = Self { port, peer, folder: folder.to_owned(), running: None };
        etcd.run().await;
        etcd
    }

    pub async fn run(&mut self) {
        let (client, peer) =
            (format!("http://127.0.0.1:{}", self.port), format!("http://127.0.0.1:{}", self.peer));
        let data = self.folder.join("data");
        let arguments = [
            "--enable-v2=true".to_owned(),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        self.running = Some(start("etcd", &arguments, &self.folder));
        super::soon("health of etcd", async {
            loop {
                let health = request(self.port, "GET", "/health", "").await;
                if health.is_some_and(|(_, body)| body.contains("true")) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    pub async fn call(&self, method: &str, path: &str, body: &str) -> String {
        let (status, answer) = request(self.port, method, path, body).await.expect("etcd answers");
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }
}

/// One question over a connection of its own; absent when nobody answers.
pub async fn request(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let kind =
        if path.starts_with("/v2/") { "Content-Type: application/x-www-form-urlencoded\r\n" } else { "" };
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some((status, body.to_owned()))
}
