//! A host that falls silent: no packet comes any more, nothing is refused. Needs root, for a network namespace.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use weir_health::Target;
use weir_model::{Check, ListenAddress, Millis, Probe, UpstreamKey};
use weir_serve_health::Health;

/// A namespace with nginx in it, at 10.213.77.2; gone when dropped.
struct Host {
    name: String,
    nginx: Option<Child>,
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {words}");
}

impl Host {
    fn start(folder: &std::path::Path) -> Host {
        let id = std::process::id();
        let mut host = Host { name: format!("checked{id}"), nginx: None };
        let name = &host.name;
        ip(&format!("netns add {name}"));
        ip(&format!("link add vc{id} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add 10.213.77.1/24 dev vc{id}"));
        ip(&format!("link set vc{id} up"));
        ip(&format!("-n {name} addr add 10.213.77.2/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        let place = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {place}/pid; error_log stderr; events {{ }}
             http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p;
                     fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
                     server {{ listen 80; client_header_timeout 1h; }} }}"
        );
        std::fs::write(folder.join("nginx.conf"), config).expect("a file");
        let nginx = Command::new("ip")
            .args(["netns", "exec", name, "nginx", "-e", "stderr", "-c"])
            .arg(folder.join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn();
        host.nginx = Some(nginx.expect("iproute2 is installed"));
        host
    }

    /// Nothing answers any more.
    fn fall_silent(&self) {
        ip(&format!("-n {} addr flush dev eth0", self.name));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(nginx) = &mut self.nginx {
            let _ = nginx.kill();
            let _ = nginx.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[test]
fn a_kept_tcp_connection_does_not_hide_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::start(folder.path());
    let (reports, told) = channel();
    let report = move |report| {
        let _ = reports.send(report);
    };
    let health = Health::start(report, Arc::new(|_, _| {})).expect("a thread");
    let address = SocketAddr::from(([10, 213, 77, 2], 80));
    health.watch(Target {
        key: UpstreamKey { name: "app".to_owned(), port: 0, implicit: false },
        index: 0,
        check: Arc::new(Check {
            probe: Probe::Tcp,
            interval: Millis(100),
            jitter: Millis(0),
            timeout: Millis(1000),
            rise: 3,
            fall: 2,
            default_down: true,
            persistent: false,
            port: 0,
            keepalive_requests: 1_000_000,
        }),
        peer: address.to_string(),
        address: ListenAddress::Inet(address),
        state: Arc::default(),
        known: None,
    });
    let next = || told.recv_timeout(Duration::from_secs(60)).expect("a report");
    while !next().passed {}
    host.fall_silent();
    let report = next();
    assert!(!report.passed, "{report:?}");
    // Which of them comes depends on whether the neighbour is still believed to be there.
    let silent = ["no connection within 1000 ms", "connect: no route to host (113)"];
    assert!(silent.contains(&report.reason.as_str()), "{report:?}");
}
