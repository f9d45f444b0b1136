//! A real nginx as peer: HTTP, TLS 1.2, TLS 1.3, HTTP/2.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use weir_model::check::{Bytes, HeaderExpectation, HeaderTest, Match, StatusTest};
use weir_model::{Check, ListenAddress, Millis, Probe, Regex};

use crate::support::*;

/// nginx on sockets in a folder; ends when dropped.
struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Nginx {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path();
        let key = rcgen::generate_simple_self_signed(vec!["app.test".to_owned()]).expect("a certificate");
        let write = |name: &str, text: &[u8]| std::fs::write(place.join(name), text).expect("a file");
        write("cert.pem", key.cert.pem().as_bytes());
        write("key.pem", key.signing_key.serialize_pem().as_bytes());
        write("serving", &[0, 0, 0, 0, 2, 8, 1]);
        write("nginx.conf", config(place).as_bytes());
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(place)
            .arg("-c")
            .arg(place.join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        Nginx { child, folder }
    }

    fn address(&self, name: &str) -> ListenAddress {
        let path: PathBuf = self.folder.path().join(name);
        ListenAddress::Unix(path.to_string_lossy().into_owned())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(place: &Path) -> String {
    let place = place.display();
    format!(
        "daemon off; master_process off; pid {place}/pid; error_log stderr;
         events {{ }}
         http {{
             access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
             fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
             ssl_certificate {place}/cert.pem; ssl_certificate_key {place}/key.pem;
             server {{
                 listen unix:{place}/http;
                 location / {{ add_header X-State ready; return 200 'all is well'; }}
                 location /busy {{ return 503; }}
             }}
             server {{ listen unix:{place}/tls12 ssl; ssl_protocols TLSv1.2; }}
             server {{ listen unix:{place}/tls13 ssl; ssl_protocols TLSv1.3; }}
             server {{
                 listen unix:{place}/grpc http2;
                 location / {{ root {place}; error_page 405 =200 /serving; default_type application/grpc;
                               add_trailer grpc-status 0 always;
                               location = /grpc.health.v1.Health/Check {{ alias {place}/serving; }} }}
             }}
             server {{ listen unix:{place}/nogrpc http2; location / {{ return 404; }} }}
         }}"
    )
}

/// The words for the first good result of a peer, on connections that carry one and many checks.
fn passes(nginx: &Nginx, probe: &Probe, socket: &str) -> String {
    let words = [1, 50].map(|keepalive_requests| {
        let checker = Checker::start();
        let check = Check { keepalive_requests, interval: Millis(5), ..check(probe.clone()) };
        let target = target(check, nginx.address(socket));
        let state = std::sync::Arc::clone(&target.state);
        checker.health.watch(target);
        let report = checker.until_passed();
        while state.rise() < 60 {
            assert!(!checker.has_report(), "the verdict did not change");
            std::thread::yield_now();
        }
        report.reason
    });
    assert_eq!(words[0], words[1]);
    words[0].clone()
}

fn request(path: &str, expect: Option<Match>) -> Probe {
    let head = format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n");
    Probe::Request { head: Bytes(head.into_bytes()), expect }
}

#[test]
fn http_of_both_kinds() {
    let nginx = Nginx::start();
    assert_eq!(passes(&nginx, &http("GET / HTTP/1.0\r\n\r\n"), "http"), "status 200");
    let keep = http("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(passes(&nginx, &keep, "http"), "status 200");
    assert_eq!(passes(&nginx, &http("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), "http"), "status 200");
    let block = Match {
        status: Some(StatusTest { ranges: vec![(200, 200)], negated: false }),
        headers: vec![HeaderTest {
            name: "x-state".to_owned(),
            test: HeaderExpectation::Equals("ready".to_owned()),
        }],
        body: Some((Regex { source: "^all .* well$".to_owned(), caseless: false, names: Vec::new() }, true)),
        ..Match::default()
    };
    assert_eq!(passes(&nginx, &request("/", Some(block)), "http"), "status 200");
    let checker = Checker::start();
    assert_eq!(checker.first(request("/busy", None), nginx.address("http")), "failed: status 503");
}

#[test]
fn tls_1_2_and_tls_1_3() {
    let nginx = Nginx::start();
    assert_eq!(passes(&nginx, &Probe::SslHello, "tls12"), "server hello");
    assert_eq!(passes(&nginx, &Probe::SslHello, "tls13"), "server hello");
    let checker = Checker::start();
    let plain = checker.first(Probe::SslHello, nginx.address("http"));
    assert_eq!(plain, "failed: not tls: first record is no handshake");
}

#[test]
fn grpc_over_its_http_2() {
    let nginx = Nginx::start();
    let probe = Probe::Grpc { service: "shop".to_owned(), status: None };
    assert_eq!(passes(&nginx, &probe, "grpc"), "serving");
    let checker = Checker::start();
    let missing = checker.first(probe, nginx.address("nogrpc"));
    assert_eq!(missing, "failed: status 404");
}
