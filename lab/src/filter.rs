//! What a switch does not forward: rules of nf_tables in the bridge family, spoken over netlink, so that no
//! package beyond iproute2 is needed.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::error::{Error, Result};

/// Frames that a switch drops between two of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The port where they come in; `None`: any.
    pub(crate) from: Option<String>,
    /// The port where they would leave.
    pub(crate) to: Option<String>,
    /// Of a million frames so many are dropped.
    pub(crate) per_million: u32,
    /// An IP protocol number, if only its packets are meant.
    pub(crate) protocol: Option<u8>,
}

const BRIDGE: u8 = 7;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const CREATE_APPEND: u16 = 0xc00;
const ERROR: u16 = 2;
const NESTED: u16 = 0x8000;

/// Replaces the rules of the switch whose network the calling thread is in.
pub(crate) fn install(rules: &[Rule]) -> Result<()> {
    let mut batch = Batch::default();
    batch.message(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &[]);
    batch.table(NEW_TABLE, CREATE_APPEND, &text(1, "lab"));
    let hook = nested(4, &[number(1, 2), number(2, 0)].concat());
    let chain = [text(1, "lab"), text(3, "forward"), hook, text(7, "filter")].concat();
    batch.table(NEW_CHAIN, CREATE_APPEND, &chain);
    let place = [text(1, "lab"), text(2, "forward")].concat();
    batch.table(DELETE_RULE, 0, &place);
    for rule in rules {
        for expressions in expressions(rule) {
            let body = [place.clone(), nested(4, &expressions)].concat();
            batch.table(NEW_RULE, CREATE_APPEND, &body);
        }
    }
    batch.message(BATCH_END, REQUEST, 0, SUBSYSTEM, &[]);
    batch.send()
}

/// One list for IPv4 and one for IPv6 where a protocol is asked for.
fn expressions(rule: &Rule) -> Vec<Vec<u8>> {
    let mut start = Vec::new();
    for (key, port) in [(6, &rule.from), (7, &rule.to)] {
        if let Some(port) = port {
            let mut name = [0; 16];
            for (to, from) in name.iter_mut().zip(port.bytes()) {
                *to = from;
            }
            start.extend(meta(key));
            start.extend(compare(0, &name));
        }
    }
    if rule.per_million < 1_000_000 {
        let share = u64::from(u32::MAX) * u64::from(rule.per_million) / 1_000_000;
        start.extend(meta(24));
        start.extend(compare(2, &u32::try_from(share).unwrap_or(u32::MAX).to_be_bytes()));
    }
    let drop = expression("immediate", &[number(1, 0), nested(2, &nested(2, &number(1, 0)))].concat());
    let Some(protocol) = rule.protocol else {
        return vec![[start, drop].concat()];
    };
    // The type of the frame, and where its IP header has the protocol.
    [([8, 0], 9), ([0x86, 0xdd], 6)]
        .map(|(kind, offset): ([u8; 2], u32)| {
            let field = [number(1, 1), number(2, 1), number(3, offset), number(4, 1)].concat();
            let payload = [expression("payload", &field), compare(0, &[protocol])].concat();
            [start.clone(), meta(1), compare(0, &kind), payload, drop.clone()].concat()
        })
        .to_vec()
}

fn meta(key: u32) -> Vec<u8> {
    expression("meta", &[number(1, 1), number(2, key)].concat())
}

fn compare(operation: u32, value: &[u8]) -> Vec<u8> {
    expression("cmp", &[number(1, 1), number(2, operation), nested(3, &attribute(1, value))].concat())
}

fn expression(name: &str, data: &[u8]) -> Vec<u8> {
    nested(1, &[text(1, name), nested(2, data)].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, value)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("attributes of a rule are short");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    answers: usize,
}

impl Batch {
    fn table(&mut self, kind: u16, flags: u16, body: &[u8]) {
        self.answers += 1;
        self.message((SUBSYSTEM << 8) | kind, REQUEST | ACK | flags, BRIDGE, 0, body);
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) {
        let length = u32::try_from(body.len() + 20).expect("a rule is short");
        self.sequence += 1;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(body);
    }

    fn send(mut self) -> Result<()> {
        let what = "nf_tables (kernel option CONFIG_NF_TABLES_BRIDGE)";
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(Error::io(what))?;
        socket.bind_auto().map_err(Error::io(what))?;
        socket.send_to(&self.bytes, &SocketAddr::new(0, 0), 0).map_err(Error::io(what))?;
        while self.answers > 0 {
            let (answer, _) = socket.recv_from_full().map_err(Error::io(what))?;
            self.answers = self.answers.saturating_sub(check(&answer)?);
        }
        Ok(())
    }
}

/// How many acknowledgements a datagram holds.
fn check(mut answer: &[u8]) -> Result<usize> {
    let mut count = 0;
    while let Some(head) = answer.first_chunk::<16>() {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if u16::from_ne_bytes([head[4], head[5]]) == ERROR {
            count += 1;
            let code = answer.get(16..20).and_then(|c| c.first_chunk()).map_or(0, |c| i32::from_ne_bytes(*c));
            if code != 0 {
                let source = std::io::Error::from_raw_os_error(-code);
                return Err(Error::Io { what: "the kernel refuses a rule of nf_tables".to_owned(), source });
            }
        }
        answer = answer.get(length.next_multiple_of(4).max(16)..).unwrap_or(&[]);
    }
    Ok(count)
}
