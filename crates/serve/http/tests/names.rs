//! `proxy_pass` to a host that a variable names.

mod common;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use common::{Proxy, Upstream, nowhere};
use weir_model::Resolver;
use weir_serve_http::{BoxFuture, Resolve};

/// Answers by the first letter of the name, and remembers the questions.
#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl Resolve for Names {
    fn resolve(&self, resolver: &Resolver, name: &str) -> BoxFuture<'static, Result<Arc<[IpAddr]>, String>> {
        self.0.lock().expect("no panic").push(format!("{name} of {:?}", resolver.servers));
        let answer: Result<Arc<[IpAddr]>, String> = match name.as_bytes() {
            [b'o', ..] => Ok(["127.0.0.1".parse().expect("an address")].into()),
            // Nobody listens at the first two.
            [b'm', ..] => {
                Ok(["127.0.0.2", "127.0.0.3", "127.0.0.1"].map(|ip| ip.parse().expect("an address")).into())
            }
            [b'e', ..] => Ok([].into()),
            _ => Err("2: Server failure".to_owned()),
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }
}

fn conf(resolver: &str, peer: &Upstream) -> String {
    let port = peer.address().port();
    format!(
        "{resolver}
         server {{ listen 127.0.0.1:PORT;
            location / {{ proxy_pass http://$arg_host:{port}/at?$args; }} }}"
    )
}

#[test]
fn names_are_asked_for_and_all_addresses_are_tried() {
    let peer = Upstream::saying("here");
    let names = Arc::new(Names::default());
    let proxy = Proxy::resolving(Arc::clone(&names) as Arc<dyn Resolve>, &conf("resolver 192.0.2.1;", &peer));
    assert_eq!(proxy.get("/?host=one.test"), (200, "here".to_owned()));
    assert_eq!(peer.requests()[0].target, "/at?host=one.test");
    let host = format!("one.test:{}", peer.address().port());
    assert_eq!(peer.requests()[0].header("host"), Some(host.as_str()));
    for _ in 0..3 {
        assert_eq!(proxy.get("/?host=many.test"), (200, "here".to_owned()), "wherever it begins");
    }
    assert_eq!(names.0.lock().expect("no panic")[0], "one.test of [192.0.2.1:53]");
    assert_eq!(proxy.get("/?host=127.0.0.1").0, 200);
    assert_eq!(names.0.lock().expect("no panic").len(), 4, "an address is no question");
}

#[test]
fn who_cannot_be_resolved_is_named() {
    let peer = Upstream::saying("here");
    let proxy = Proxy::resolving(Arc::new(Names::default()), &conf("resolver 192.0.2.1;", &peer));
    assert_eq!(proxy.get("/?host=fails.test").0, 502);
    assert!(proxy.log().contains("fails.test could not be resolved (2: Server failure)"), "{}", proxy.log());
    assert_eq!(proxy.get("/?host=empty.test").0, 502);
    assert!(proxy.log().contains("empty.test could not be resolved (3: Host not found)"), "{}", proxy.log());
}

#[test]
fn without_a_resolver_names_lead_nowhere() {
    let peer = Upstream::saying("here");
    let proxy = Proxy::resolving(Arc::new(Names::default()), &conf("", &peer));
    assert_eq!(proxy.get("/?host=one.test").0, 502);
    assert!(proxy.log().contains("no resolver defined to resolve one.test"), "{}", proxy.log());
    let proxy = Proxy::new(1, &conf("resolver 192.0.2.1;", &peer));
    assert_eq!(proxy.get("/?host=one.test").0, 502);
    assert!(proxy.log().contains("no resolver defined to resolve one.test"), "{}", proxy.log());
}

#[test]
fn a_retry_goes_to_the_next_address_and_to_each_once() {
    let nobody = nowhere().port();
    let text = format!(
        "resolver 192.0.2.1;
         server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://$arg_host:{nobody}; }} }}"
    );
    let proxy = Proxy::resolving(Arc::new(Names::default()), &text);
    assert_eq!(proxy.get("/?host=many.test").0, 502);
    assert_eq!(
        proxy.log().matches("connect() failed (111: Connection refused)").count(),
        3,
        "{}",
        proxy.log()
    );
}
