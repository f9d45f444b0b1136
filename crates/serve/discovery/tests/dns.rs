//! A name server of the test's own.

mod common;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use common::{Process, source};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use weir_model::source::DnsQuery;
use weir_model::{Millis, Origin, Resolver};
use weir_serve_discovery::{Names, What};

/// What the server says for a name and a kind; what is not there does not exist.
#[derive(Clone)]
enum Says {
    Records(u32, Vec<RData>),
    Code(ResponseCode),
    Nothing,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<HashMap<(String, RecordType), Says>>>,
    questions: Arc<Mutex<usize>>,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = socket.local_addr().expect("its address");
        let server = Self { address, zone: Arc::default(), questions: Arc::default() };
        let shared = server.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).expect("a question");
                *shared.questions.lock().expect("no panic") += 1;
                if let Some(answer) = shared.answer(&question) {
                    socket.send_to(&answer.to_vec().expect("a message"), from).await.expect("sent");
                }
            }
        });
        server
    }

    fn says(&self, name: &str, kind: RecordType, says: Says) {
        self.zone.lock().expect("no panic").insert((name.to_owned(), kind), says);
    }

    fn addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address.parse().expect("an address") {
                IpAddr::V4(ip) => v4.push(RData::A(A(ip))),
                IpAddr::V6(ip) => v6.push(RData::AAAA(AAAA(ip))),
            }
        }
        self.says(name, RecordType::A, Says::Records(ttl, v4));
        self.says(name, RecordType::AAAA, Says::Records(ttl, v6));
    }

    fn answer(&self, question: &Message) -> Option<Message> {
        let query = question.queries.first().expect("one query").clone();
        let mut answer = Message::response(question.id, OpCode::Query);
        answer.add_query(query.clone());
        let key = (query.name().to_ascii().to_ascii_lowercase(), query.query_type());
        match self.zone.lock().expect("no panic").get(&key) {
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(Says::Nothing) => return None,
            Some(Says::Code(code)) => answer.metadata.response_code = *code,
            Some(Says::Records(ttl, records)) => {
                answer.add_answers(
                    records.iter().map(|data| Record::from_rdata(query.name().clone(), *ttl, data.clone())),
                );
            }
        }
        Some(answer)
    }

    fn resolver(&self) -> Resolver {
        Resolver { servers: vec![self.address], timeout: Millis(5000), ..Resolver::default() }
    }

    fn origin(&self, service: Option<&str>) -> Origin {
        Origin::Dns(DnsQuery {
            name: "app.test".to_owned(),
            port: 8080,
            service: service.map(str::to_owned),
            resolver: self.resolver(),
        })
    }
}

#[tokio::test]
async fn addresses_follow_their_time_to_live() {
    let server = Server::start().await;
    server.addresses("app.test.", 1, &["192.0.2.2", "192.0.2.1", "2001:db8::1"]);
    let mut process = Process::new(None);
    process.follow(source(server.origin(None)));
    let all = ["192.0.2.1:8080", "192.0.2.2:8080", "[2001:db8::1]:8080"];
    process.peers(&all).await;

    // Another order is no change; the server that fails, or half of it, takes nobody away.
    server.addresses("app.test.", 1, &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    server.says("app.test.", RecordType::AAAA, Says::Code(ResponseCode::ServFail));
    let What::Failed { error, endpoint } = process.update().await else { panic!("a list of half an answer") };
    assert!(
        error.starts_with("app.test could not be resolved (2: Server failure); the last list (3 peers"),
        "{error}"
    );
    assert_eq!(endpoint, format!("dns {}", server.address));
    server.zone.lock().expect("no panic").clear();
    let error = process.failure().await;
    assert!(error.starts_with("app.test could not be resolved (3: Host not found)"), "{error}");
    server.addresses("app.test.", 1, &["192.0.2.2"]);
    process.peers(&["192.0.2.2:8080"]).await;
}

#[tokio::test]
async fn services_and_their_targets() {
    let server = Server::start().await;
    let service = |priority, weight, port, target: &str| {
        RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(target).expect("a name")))
    };
    let records = vec![service(20, 1, 81, "b.test."), service(10, 0, 80, "a.test.")];
    server.says("_http._tcp.app.test.", RecordType::SRV, Says::Records(1, records));
    server.addresses("a.test.", 60, &["192.0.2.1"]);
    server.addresses("b.test.", 60, &["192.0.2.2"]);
    let mut process = Process::new(None);
    process.follow(source(server.origin(Some("http"))));
    let list = process.peers(&["192.0.2.1:80", "192.0.2.2:81"]).await;
    let shown: Vec<_> = list.peers.iter().map(|peer| (peer.weight, peer.backup)).collect();
    assert_eq!(shown, [(1, false), (1, true)]);
    server.says(
        "_http._tcp.app.test.",
        RecordType::SRV,
        Says::Records(1, vec![service(10, 5, 80, "a.test.")]),
    );
    assert_eq!(process.peers(&["192.0.2.1:80"]).await.peers[0].weight, 5);
}

#[tokio::test]
async fn names_are_cached_as_long_as_they_live() {
    let server = Server::start().await;
    server.addresses("app.test.", 3600, &["192.0.2.1"]);
    let (names, resolver) = (Names::new(), server.resolver());
    let expected: IpAddr = [192, 0, 2, 1].into();
    for _ in 0..3 {
        assert_eq!(*names.lookup(&resolver, "app.test").await.expect("found"), [expected]);
    }
    // A clone has a cache of its own, and the one of the task behind it.
    assert_eq!(*names.clone().lookup(&resolver, "App.Test").await.expect("found"), [expected]);
    assert_eq!(*server.questions.lock().expect("no panic"), 2, "A and AAAA, once");
    let literal = names.lookup(&resolver, "[2001:db8::1]").await.expect("an address");
    assert_eq!(*literal, ["2001:db8::1".parse::<IpAddr>().expect("an address")]);
}

#[tokio::test]
async fn names_fail_in_nginx_s_words() {
    let server = Server::start().await;
    let both = |name: &str, says: Says| {
        server.says(name, RecordType::A, says.clone());
        server.says(name, RecordType::AAAA, says);
    };
    both("fails.test.", Says::Code(ResponseCode::ServFail));
    both("refused.test.", Says::Code(ResponseCode::Refused));
    both("silent.test.", Says::Nothing);
    both("empty.test.", Says::Records(5, Vec::new()));
    let names = Names::new();
    let resolver = Resolver { timeout: Millis(700), ..server.resolver() };
    for (name, words) in [
        ("gone.test", "3: Host not found"),
        ("empty.test", "3: Host not found"),
        ("fails.test", "2: Server failure"),
        ("refused.test", "5: Operation refused"),
        ("silent.test", "110: Operation timed out"),
        ("a..b", "1: Format error"),
    ] {
        assert_eq!(names.lookup(&resolver, name).await, Err(words.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn the_machine_knows_itself() {
    let names = Names::new();
    let found = names.lookup(&Resolver::default(), "localhost").await.expect("the hosts file names it");
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
}
