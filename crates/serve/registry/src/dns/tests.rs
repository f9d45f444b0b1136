use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use proptest::prelude::*;
use weir_registry::{
    CheckDefinition, Command, Identity, Registration, ServiceDefinition, State, Status, Time, Weights,
};

use super::message::{Transport, Zone, respond};
use super::zone::{self, Found, Settings};

struct Fixture {
    state: State,
    settings: Settings,
}

impl Zone for Fixture {
    fn find(&self, name: &Name, kind: RecordType) -> Found {
        zone::find(&self.state, &self.settings, 7, name, kind)
    }

    fn soa(&self) -> Option<Record> {
        zone::soa(&self.settings, 7)
    }
}

fn service(name: &str, id: &str, address: &str, port: u16, tags: &[&str]) -> ServiceDefinition {
    ServiceDefinition {
        id: id.to_owned(),
        name: name.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        address: address.to_owned(),
        port,
        weights: Some(Weights { passing: 7, warning: 3 }),
        ..ServiceDefinition::default()
    }
}

impl Fixture {
    fn new() -> Self {
        let identity = Identity {
            node: "own".to_owned(),
            node_id: "5d7e2f6a-0f43-4c5e-9a51-0c1d6d4a7f11".to_owned(),
            datacenter: "dc1".to_owned(),
            address: "192.0.2.1".to_owned(),
        };
        let mut state = State::new(identity);
        state.start(Time(0));
        let settings = Settings { datacenter: "dc1".to_owned(), only_passing: false, ttl: 0 };
        let mut fixture = Self { state, settings };
        fixture.register("db", "db1", "198.51.100.1", &["master"], Status::Passing);
        fixture.register("db", "db2", "", &["slave"], Status::Warning);
        fixture.register("db", "db3", "198.51.100.3", &["slave"], Status::Critical);
        fixture.register("six", "six1", "2001:db8::1", &[], Status::Passing);
        fixture.register("alias", "alias1", "www.example.org", &[], Status::Passing);
        fixture.register("dead", "dead1", "198.51.100.4", &[], Status::Critical);
        fixture.apply(Command::Register(Registration {
            node: "ext".to_owned(),
            address: "203.0.113.9".to_owned(),
            node_meta: [("m".to_owned(), "1".to_owned()), ("rfc1035-x".to_owned(), "plain".to_owned())]
                .into(),
            ..Registration::default()
        }));
        fixture
    }

    fn with_many(count: u8) -> Self {
        let mut fixture = Self::new();
        for at in 1..=count {
            fixture.register("many", &format!("many{at}"), &format!("198.51.100.{at}"), &[], Status::Passing);
        }
        fixture
    }

    fn register(&mut self, name: &str, id: &str, address: &str, tags: &[&str], status: Status) {
        let check = CheckDefinition {
            status: Some(status),
            kind: weir_registry::CheckKind::Ttl { ttl: std::time::Duration::from_secs(600) },
            ..CheckDefinition::default()
        };
        self.apply(Command::AgentServiceRegister {
            service: service(name, id, address, 5432, tags),
            checks: vec![check],
            replace_checks: false,
        });
    }

    fn apply(&mut self, command: Command) {
        self.state.apply(Time(0), command).outcome.expect("a good command");
    }

    fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.ask_by(&question(name, kind), Transport::Tcp)
    }

    fn ask_by(&self, question: &Message, transport: Transport) -> Message {
        let packet = question.to_vec().expect("a question can be written");
        let answer = respond(&packet, transport, self).expect("a question is answered");
        Message::from_vec(&answer).expect("an answer can be read")
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

/// `NAME TYPE DATA`, sorted.
fn lines(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<_> = records
        .iter()
        .map(|record| format!("{} {} {}", record.name, record.record_type(), record.data))
        .collect();
    lines.sort();
    lines
}

#[test]
fn addresses_of_a_service_leave_out_what_is_critical() {
    let fixture = Fixture::new();
    let answer = fixture.ask("DB.service.Consul.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(
        answer.metadata.authoritative && !answer.metadata.recursion_available && !answer.metadata.truncation
    );
    assert!(answer.metadata.recursion_desired, "RD is copied");
    assert_eq!(answer.metadata.id, 77);
    let expected = ["DB.service.Consul. A 192.0.2.1", "DB.service.Consul. A 198.51.100.1"];
    assert_eq!(lines(&answer.answers), expected, "the case of the question is kept");
    assert!(answer.answers.iter().all(|record| record.ttl == 0));
}

#[test]
fn only_passing_leaves_warnings_out_too() {
    let mut fixture = Fixture::new();
    fixture.settings.only_passing = true;
    fixture.settings.ttl = 5;
    let answer = fixture.ask("db.service.consul.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["db.service.consul. A 198.51.100.1"]);
    assert!(answer.answers.iter().all(|record| record.ttl == 5));
}

#[test]
fn srv_names_the_host_and_tells_its_address() {
    let fixture = Fixture::new();
    for name in ["db.service.consul.", "_db._tcp.service.consul.", "_db._tcp.dc1.consul."] {
        let answer = fixture.ask(name, RecordType::SRV);
        let expected = [
            format!("{name} SRV 1 3 5432 own.node.dc1.consul."),
            format!("{name} SRV 1 7 5432 c6336401.addr.dc1.consul."),
        ];
        assert_eq!(lines(&answer.answers), expected);
        let extra = ["c6336401.addr.dc1.consul. A 198.51.100.1", "own.node.dc1.consul. A 192.0.2.1"];
        assert_eq!(lines(&answer.additionals), extra);
    }
    let tagged = fixture.ask("_db._master.service.consul.", RecordType::SRV);
    assert_eq!(tagged.answers.len(), 1);
    let alias = fixture.ask("alias.service.consul.", RecordType::SRV);
    assert_eq!(lines(&alias.answers), ["alias.service.consul. SRV 1 7 5432 www.example.org."]);
}

#[test]
fn other_types_and_names() {
    let fixture = Fixture::new();
    let ask = |name, kind| {
        let answer = fixture.ask(name, kind);
        (answer.metadata.response_code, lines(&answer.answers), lines(&answer.authorities))
    };
    let soa = "consul. SOA ns.consul. hostmaster.consul. 7 3600 600 86400 0".to_owned();
    let no_error = ResponseCode::NoError;
    let one = |line: &str| (no_error, vec![line.to_owned()], Vec::new());
    assert_eq!(ask("six.service.consul.", RecordType::AAAA), one("six.service.consul. AAAA 2001:db8::1"));
    assert_eq!(ask("six.service.consul.", RecordType::ANY), one("six.service.consul. AAAA 2001:db8::1"));
    assert_eq!(ask("six.service.consul.", RecordType::A), (no_error, vec![], vec![soa.clone()]));
    assert_eq!(ask("db.service.consul.", RecordType::MX), (no_error, vec![], vec![soa.clone()]));
    assert_eq!(
        ask("alias.service.consul.", RecordType::A),
        one("alias.service.consul. CNAME www.example.org.")
    );
    assert_eq!(ask("own.node.consul.", RecordType::A), one("own.node.consul. A 192.0.2.1"));
    assert_eq!(
        ask("c6336401.addr.dc1.consul.", RecordType::A),
        one("c6336401.addr.dc1.consul. A 198.51.100.1")
    );
    assert_eq!(ask("consul.", RecordType::SOA), (no_error, vec![soa.clone()], vec![]));
    assert_eq!(ask("consul.", RecordType::NS), one("consul. NS own.node.dc1.consul."));
    assert_eq!(ask("service.consul.", RecordType::A), (no_error, vec![], vec![soa.clone()]));
    for name in
        ["dead.service.consul.", "none.service.consul.", "none.node.consul.", "db.service.dc9.consul."]
    {
        assert_eq!(ask(name, RecordType::A), (ResponseCode::NXDomain, vec![], vec![soa.clone()]), "{name}");
    }
    assert_eq!(ask("example.com.", RecordType::A), (ResponseCode::Refused, vec![], vec![]));
}

#[test]
fn reverse_names_lead_to_a_node_or_a_service() {
    let fixture = Fixture::new();
    let ask = |name: &str| lines(&fixture.ask(name, RecordType::PTR).answers);
    assert_eq!(ask("1.2.0.192.in-addr.arpa."), ["1.2.0.192.in-addr.arpa. PTR own.node.dc1.consul."]);
    assert_eq!(ask("1.100.51.198.in-addr.arpa."), ["1.100.51.198.in-addr.arpa. PTR db.service.dc1.consul."]);
    let unknown = fixture.ask("9.9.9.9.in-addr.arpa.", RecordType::PTR);
    assert_eq!(unknown.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn metadata_of_a_node_is_text() {
    let fixture = Fixture::new();
    let text = fixture.ask("ext.node.consul.", RecordType::TXT);
    assert_eq!(lines(&text.answers), ["ext.node.consul. TXT m=1", "ext.node.consul. TXT plain"]);
    let address = fixture.ask("ext.node.consul.", RecordType::A);
    assert_eq!((address.answers.len(), address.additionals.len()), (1, 2));
}

#[test]
fn udp_without_edns_tells_three_and_in_another_order_each_time() {
    let fixture = Fixture::with_many(40);
    let question = question("many.service.consul.", RecordType::A);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let answer = fixture.ask_by(&question, Transport::Udp);
        assert_eq!(answer.answers.len(), 3);
        assert!(!answer.metadata.truncation);
        seen.extend(lines(&answer.answers));
    }
    assert_eq!(seen.len(), 40, "200 times 3 of 40 miss one of them with a chance of 2 in 100 millions");
}

#[test]
fn an_answer_fits_in_the_room_that_the_client_names() {
    let fixture = Fixture::with_many(200);
    for (payload, kind) in
        [(512, RecordType::SRV), (600, RecordType::A), (1232, RecordType::SRV), (65535, RecordType::SRV)]
    {
        let mut question = question("many.service.consul.", kind);
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        question.set_edns(edns);
        let packet = question.to_vec().expect("a question can be written");
        let bytes = respond(&packet, Transport::Udp, &fixture).expect("an answer");
        let answer = Message::from_vec(&bytes).expect("an answer can be read");
        assert!(bytes.len() <= usize::from(payload.min(4096)), "{} bytes of {payload}", bytes.len());
        assert!(answer.edns.is_some(), "RFC 6891, 6.1.1");
        assert!(answer.metadata.truncation && !answer.answers.is_empty() && answer.answers.len() < 200);
        if kind == RecordType::SRV {
            assert_eq!(answer.answers.len(), answer.additionals.len(), "each with its address");
        }
        let whole = fixture.ask_by(&question, Transport::Tcp);
        assert_eq!((whole.answers.len(), whole.metadata.truncation), (200, false));
    }
}

#[test]
fn what_is_no_good_question_is_refused_or_dropped() {
    let fixture = Fixture::new();
    let code = |packet: &[u8]| {
        respond(packet, Transport::Udp, &fixture)
            .map(|answer| Message::from_vec(&answer).expect("an answer can be read").metadata.response_code)
    };
    let packet = question("db.service.consul.", RecordType::A).to_vec().expect("a question can be written");
    assert_eq!(code(&packet), Some(ResponseCode::NoError));
    assert_eq!(code(&packet[..11]), None, "less than a header");
    assert_eq!(code(&packet[..20]), Some(ResponseCode::FormErr));
    let with = |at: usize, value: u8| {
        let mut packet = packet.clone();
        packet[at] = value;
        packet
    };
    assert_eq!(code(&with(2, 0x80)), None, "an answer");
    assert_eq!(code(&with(2, 0x28)), Some(ResponseCode::NotImp), "an update");
    assert_eq!(code(&with(5, 0)), Some(ResponseCode::FormErr), "no question");
    assert_eq!(code(&with(5, 2)), Some(ResponseCode::FormErr), "two questions");
    assert_eq!(code(&with(4, 0xff)), Some(ResponseCode::FormErr), "65,281 questions");

    let mut chaos = question("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(fixture.ask_by(&chaos, Transport::Udp).metadata.response_code, ResponseCode::Refused);
    let mut newer = question("db.service.consul.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.set_edns(edns);
    let refused = fixture.ask_by(&newer, Transport::Udp);
    // RFC 6891, 9: BADVERS; the number has a second name.
    assert_eq!(u16::from(refused.metadata.response_code), 16);
    assert!(refused.answers.is_empty());
}

#[test]
fn names_that_cannot_be_names_do_no_harm() {
    let mut fixture = Fixture::new();
    let long = "x".repeat(80);
    fixture.apply(Command::Register(Registration {
        node: long.clone(),
        address: "203.0.113.7".to_owned(),
        service: Some(service("odd", "odd1", "", 1, &[])),
        ..Registration::default()
    }));
    fixture.register("bad", "bad1", "not a host..", &[], Status::Passing);
    let srv = fixture.ask("odd.service.consul.", RecordType::SRV);
    assert_eq!(lines(&srv.answers), ["odd.service.consul. SRV 1 7 1 cb007107.addr.dc1.consul."]);
    let bad = fixture.ask("bad.service.consul.", RecordType::SRV);
    assert_eq!((bad.metadata.response_code, bad.answers.len()), (ResponseCode::NoError, 0));
    let reverse = fixture.ask("7.113.0.203.in-addr.arpa.", RecordType::PTR);
    assert_eq!(reverse.metadata.response_code, ResponseCode::Refused);
    assert!(
        fixture
            .ask("bad.service.consul.", RecordType::A)
            .answers
            .iter()
            .all(|record| matches!(record.data, RData::CNAME(_)))
    );
}

proptest! {
    #[test]
    fn random_bytes_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
        let fixture = Fixture::new();
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Some(answer) = respond(&packet, transport, &fixture) {
                prop_assert!(answer.len() >= 12);
                prop_assert_eq!(&answer[..2], &packet[..2], "the id is the question's");
                prop_assert_eq!(answer[2] & 0x80, 0x80, "an answer");
            }
        }
    }

    #[test]
    fn spoiled_questions_never_panic(
        at in 0usize..60,
        value in any::<u8>(),
        kind in any::<u16>(),
        labels in proptest::collection::vec("[a-z0-9_.-]{0,12}", 0..6),
    ) {
        let fixture = Fixture::new();
        let text = format!("{}.service.consul.", labels.join("."));
        let name = Name::from_ascii(&text).unwrap_or_else(|_| Name::from_ascii("db.service.consul.").expect("a name"));
        let mut question = Message::new(1, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(name, RecordType::from(kind)));
        let mut packet = question.to_vec().expect("a question can be written");
        if let Some(byte) = packet.get_mut(at) {
            *byte = value;
        }
        if let Some(answer) = respond(&packet, Transport::Udp, &fixture) {
            prop_assert!(answer.len() <= 4096);
            prop_assert!(Message::from_vec(&answer).is_ok());
        }
    }
}
