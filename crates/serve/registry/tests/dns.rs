//! DNS: the same questions to a real Consul and to the registry, over UDP and TCP, the same answers; and what only the
//! registry does.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use support::{Consul, ask};
use weir_model::Registry;
use weir_serve_registry::{Options, Running};

/// A registry with HTTP and DNS.
struct Weir {
    http: SocketAddr,
    dns: SocketAddr,
    _running: Running,
    _folder: tempfile::TempDir,
}

impl Weir {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let http = listener.local_addr().expect("it is bound");
        let (udp, tcp) = sockets();
        let dns = udp.local_addr().expect("it is bound");
        let data = folder.path().to_str().expect("a path in UTF-8").to_owned();
        let running = Running::start(Options {
            registry: Registry { data, ..Registry::default() },
            node: "node1".to_owned(),
            listeners: vec![listener],
            unix: Vec::new(),
            dns: vec![(udp, tcp)],
            mount: None,
            log: Arc::new(|level, text| eprintln!("{level:?}: {text}")),
        });
        Self { http, dns, _running: running.expect("the registry starts"), _folder: folder }
    }
}

/// Both kinds on one port; somebody else may have the port in the other kind.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("it is bound")) {
            return (udp, tcp);
        }
    }
}

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().expect("a question can be written")
}

fn by_udp(server: SocketAddr, packet: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.send_to(packet, server).expect("the loopback takes it");
    let mut answer = vec![0; 65536];
    let length = socket.recv(&mut answer).expect("an answer");
    Message::from_vec(&answer[..length]).expect("an answer can be read")
}

fn send_framed(stream: &mut TcpStream, packet: &[u8]) {
    let length = u16::try_from(packet.len()).expect("a short question");
    stream.write_all(&length.to_be_bytes()).expect("the server reads");
    stream.write_all(packet).expect("the server reads");
}

fn read_framed(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).expect("an answer");
    Message::from_vec(&answer).expect("an answer can be read")
}

fn by_tcp(server: SocketAddr, packet: &[u8]) -> Message {
    let mut stream = TcpStream::connect(server).expect("somebody listens");
    send_framed(&mut stream, packet);
    read_framed(&mut stream)
}

/// What has to be alike. Consul tells the metadata of nodes beside each SRV record too, that of the own node several
/// times, and leaves EDNS out of a refusal.
fn alike(message: &Message) -> String {
    let srv = message.queries.iter().any(|query| query.query_type() == RecordType::SRV);
    let told = |record: &&Record| {
        record.record_type() != RecordType::TXT || !(srv || record.name.to_utf8().starts_with("node1."))
    };
    let lines = |records: &[Record]| {
        let mut lines: Vec<String> = records
            .iter()
            .filter(told)
            .map(|record| {
                let data = match record.record_type() {
                    RecordType::SOA => "soa".to_owned(),
                    _ => record.data.to_string(),
                };
                format!("{} {} {} {data}", record.name, record.ttl, record.record_type())
            })
            .collect();
        lines.sort();
        lines
    };
    let head = &message.metadata;
    format!(
        "{} {:?} aa={} ra={} rd={} tc={} edns={}\n{:?}\n{:?}\n{:?}",
        head.id,
        head.response_code,
        head.authoritative,
        head.recursion_available,
        head.recursion_desired,
        head.truncation,
        message.edns.is_some() && head.response_code != ResponseCode::Refused,
        lines(&message.answers),
        lines(&message.authorities),
        lines(&message.additionals),
    )
}

fn register(server: SocketAddr) {
    for body in [
        r#"{"Name":"db","ID":"db1","Tags":["master","v1"],"Address":"198.51.100.1","Port":5432,"Check":{"TTL":"9m","Status":"passing"},"Weights":{"Passing":7,"Warning":3}}"#,
        r#"{"Name":"db","ID":"db2","Tags":["slave"],"Port":5433,"Check":{"TTL":"9m","Status":"warning"},"Weights":{"Passing":7,"Warning":3}}"#,
        r#"{"Name":"db","ID":"db3","Tags":["slave"],"Address":"198.51.100.3","Port":5434,"Check":{"TTL":"9m","Status":"critical"}}"#,
        r#"{"Name":"six","ID":"six1","Address":"2001:db8::1","Port":66}"#,
        r#"{"Name":"named","ID":"named1","Address":"www.example.org","Port":67}"#,
        r#"{"Name":"dead","ID":"dead1","Address":"198.51.100.9","Port":1,"Check":{"TTL":"9m"}}"#,
    ] {
        assert_eq!(ask(server, "PUT", "/v1/agent/service/register", body.as_bytes()).status, 200);
    }
    for at in 1..=6 {
        let body = format!(r#"{{"Name":"many","ID":"many{at}","Address":"203.0.113.{at}","Port":80{at}}}"#);
        assert_eq!(ask(server, "PUT", "/v1/agent/service/register", body.as_bytes()).status, 200);
    }
    for body in [
        r#"{"Node":"ext","Address":"192.0.2.9","NodeMeta":{"m":"1","rfc1035-x":"plain text"},"Service":{"Service":"ext-svc","Tags":["x"],"Port":99}}"#,
        r#"{"Node":"ext6","Address":"2001:db8::9","NodeMeta":{"m":"1"}}"#,
        r#"{"Node":"extn","Address":"host.example.org","Service":{"Service":"nsvc","Port":91}}"#,
    ] {
        assert_eq!(ask(server, "PUT", "/v1/catalog/register", body.as_bytes()).status, 200);
    }
}

/// Waits until the catalog has the last of the agent's services.
fn settle(server: SocketAddr) {
    let mut index = 0;
    loop {
        let answer = ask(server, "GET", &format!("/v1/catalog/service/many?wait=1s&index={index}"), b"");
        if answer.json().as_array().is_some_and(|list| list.len() == 6) {
            return;
        }
        index = answer.index();
    }
}

#[test]
fn answers_are_those_of_consul() {
    let (consul, weir) = (Consul::server(), Weir::start());
    for server in [consul.address, weir.http] {
        register(server);
        settle(server);
    }
    use RecordType::{A, AAAA, ANY, CNAME, MX, NS, PTR, SOA, SRV, TXT};
    let questions = [
        ("db.service.consul.", [A, SRV, ANY, AAAA, MX].as_slice()),
        ("DB.service.CONSUL.", &[A, SRV]),
        ("db.service.dc1.consul.", &[A]),
        ("db.service.dc9.consul.", &[A, SRV]),
        ("master.db.service.consul.", &[A, SRV]),
        ("slave.db.service.consul.", &[SRV]),
        ("_db._tcp.service.consul.", &[SRV, A]),
        ("_db._tcp.consul.", &[SRV]),
        ("_db._master.service.consul.", &[SRV]),
        ("_db._master.service.dc1.consul.", &[A]),
        ("_db._udp.service.consul.", &[SRV]),
        ("db.nothing.consul.", &[A]),
        ("foo.consul.", &[A]),
        ("consul.", &[NS]),
        ("node1.node.consul.", &[A]),
        ("node1.node.dc1.consul.", &[A]),
        ("ext.node.consul.", &[A, ANY, TXT]),
        ("ext6.node.consul.", &[AAAA]),
        ("extn.node.consul.", &[A, ANY]),
        ("none.node.consul.", &[A, TXT]),
        ("c6336401.addr.dc1.consul.", &[A, ANY]),
        ("c6336401.addr.consul.", &[A]),
        ("20010db8000000000000000000000001.addr.dc1.consul.", &[AAAA]),
        ("six.service.consul.", &[A, AAAA, SRV, ANY]),
        ("named.service.consul.", &[A, SRV, ANY]),
        ("nsvc.service.consul.", &[A, SRV]),
        ("ext-svc.service.consul.", &[A, SRV]),
        ("x.ext-svc.service.consul.", &[A]),
        ("dead.service.consul.", &[A, SRV]),
        ("none.service.consul.", &[A, AAAA, SRV]),
        ("a.b.c.db.service.consul.", &[A]),
        ("consul.service.consul.", &[A]),
        ("example.com.", &[A]),
        ("db.service.consul.example.", &[A]),
        ("1.100.51.198.in-addr.arpa.", &[PTR]),
        ("1.0.0.127.in-addr.arpa.", &[PTR]),
        ("9.2.0.192.in-addr.arpa.", &[PTR]),
        ("db.service.consul.", &[CNAME]),
    ];
    let mut failed = Vec::new();
    for (name, kinds) in questions {
        for &kind in kinds {
            for (by, payload) in [("udp", None), ("udp", Some(1232)), ("tcp", None)] {
                let packet = question(name, kind, payload);
                let way = if by == "udp" { by_udp } else { by_tcp };
                let (theirs, ours) = (alike(&way(consul.dns, &packet)), alike(&way(weir.dns, &packet)));
                if theirs != ours {
                    failed
                        .push(format!("{name} {kind} {by} {payload:?}\n consul: {theirs}\n weir:   {ours}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} differ\n{}", failed.len(), failed.join("\n"));
    let soa = by_udp(weir.dns, &question("consul.", SOA, None));
    assert_eq!(soa.answers.len(), 1);
    how_many(consul.dns, weir.dns);
}

/// Answers of chance are alike in number, and those that all fit in content.
fn how_many(consul: SocketAddr, weir: SocketAddr) {
    for kind in [RecordType::A, RecordType::SRV] {
        let plain = question("many.service.consul.", kind, None);
        let count = |message: Message| (message.answers.len(), message.metadata.truncation);
        assert_eq!(count(by_udp(consul, &plain)), (3, false));
        assert_eq!(count(by_udp(weir, &plain)), (3, false));
        let roomy = question("many.service.consul.", kind, Some(1232));
        assert_eq!(alike(&by_udp(weir, &roomy)), alike(&by_udp(consul, &roomy)));
        assert_eq!(alike(&by_tcp(weir, &plain)), alike(&by_tcp(consul, &plain)));
    }
}

#[test]
fn one_tcp_connection_takes_many_questions_and_a_broken_one_is_closed() {
    let weir = Weir::start();
    let mut stream = TcpStream::connect(weir.dns).expect("somebody listens");
    let packet = question("consul.service.consul.", RecordType::A, None);
    for _ in 0..3 {
        send_framed(&mut stream, &packet);
    }
    for _ in 0..3 {
        assert_eq!(read_framed(&mut stream).answers.len(), 1);
    }
    // An answer is no question: nothing comes back, and the connection ends.
    let mut answer = packet;
    answer[2] |= 0x80;
    send_framed(&mut stream, &answer);
    assert_eq!(stream.read(&mut [0; 16]).expect("it is closed in order"), 0);
}

#[test]
fn a_change_is_seen_by_the_next_question() {
    let weir = Weir::start();
    let packet = question("web.service.consul.", RecordType::A, None);
    let count = || by_udp(weir.dns, &packet).answers.len();
    assert_eq!(count(), 0);
    let body =
        br#"{"Name":"web","Address":"198.51.100.7","Port":80,"Check":{"TTL":"9m","Status":"passing"}}"#;
    ask(weir.http, "PUT", "/v1/agent/service/register", body);
    assert_eq!(count(), 1);
    ask(weir.http, "PUT", "/v1/agent/check/fail/service:web", b"");
    assert_eq!(count(), 0);
    ask(weir.http, "PUT", "/v1/agent/check/warn/service:web", b"");
    assert_eq!(count(), 1);
    ask(weir.http, "PUT", "/v1/agent/service/deregister/web", b"");
    assert_eq!(count(), 0);
}

#[test]
fn datagrams_that_are_no_questions_leave_the_server_alive() {
    let weir = Weir::start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for length in [0, 1, 11, 12, 13, 100, 4096, 9000] {
        socket.send_to(&vec![0x55; length], weir.dns).expect("the loopback takes it");
    }
    let packet = question("consul.service.consul.", RecordType::A, None);
    assert_eq!(by_udp(weir.dns, &packet).answers.len(), 1);
}
