//! From the bytes of a question to those of its answer.

use hickory_proto::op::{Edns, Message, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use super::zone::{Entry, Found};

/// Bytes of a UDP answer to a client that names no size (RFC 1035, 4.2.1).
const PLAIN_SIZE: usize = 512;
/// Bytes of a UDP answer at most, whatever the client can take (RFC 6891, 6.2.5).
const LARGEST_UDP: u16 = 4096;
/// Bytes of a question over UDP that are taken (the size that the DNS operators agreed on in 2020).
const OWN_SIZE: u16 = 1232;
/// Consul's `udp_answer_limit`: so many records are told by UDP to a client that names no size.
const PLAIN_ANSWERS: usize = 3;
const HEADER: usize = 12;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What the zone knows about a question; the record is its SOA, where an answer needs it.
pub(crate) trait Zone {
    fn find(&self, name: &Name, kind: RecordType) -> Found;
    fn soa(&self) -> Option<Record>;
}

/// The answer to a packet; none to what is no question: an answer, or less than a header.
pub(crate) fn respond(packet: &[u8], transport: Transport, zone: &impl Zone) -> Option<Vec<u8>> {
    let &[id_high, id_low, flags, _, questions_high, questions_low, ..] = packet.first_chunk::<HEADER>()?;
    let id = u16::from_be_bytes([id_high, id_low]);
    if flags & 0x80 != 0 {
        return None;
    }
    let op_code = OpCode::from_u8(flags >> 3 & 0x0f);
    if op_code != OpCode::Query {
        return Message::error_msg(id, op_code, ResponseCode::NotImp).to_vec().ok();
    }
    // One question a message (RFC 9619); the count is read first, so that a false one reserves no memory.
    let question = (u16::from_be_bytes([questions_high, questions_low]) == 1)
        .then(|| Message::from_vec(packet).ok())
        .flatten();
    let Some(question) = question else {
        return Message::error_msg(id, op_code, ResponseCode::FormErr).to_vec().ok();
    };
    let query = question.queries.first()?.clone();
    let reply = Answer { request: question.metadata, query, edns: question.edns, transport };
    reply.encode(zone)
}

/// An answer that is being made.
struct Answer {
    request: Metadata,
    query: Query,
    edns: Option<Edns>,
    transport: Transport,
}

impl Answer {
    fn encode(&self, zone: &impl Zone) -> Option<Vec<u8>> {
        if self.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return self.plain(ResponseCode::BADVERS, None);
        }
        if !matches!(self.query.query_class(), DNSClass::IN | DNSClass::ANY) {
            return self.plain(ResponseCode::Refused, None);
        }
        match zone.find(self.query.name(), self.query.query_type()) {
            Found::Answers(entries) => self.fitting(&entries),
            Found::NoData => self.plain(ResponseCode::NoError, zone.soa()),
            Found::NoName => self.plain(ResponseCode::NXDomain, zone.soa()),
            Found::Refused => self.plain(ResponseCode::Refused, None),
        }
    }

    fn message(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.request.id, self.request.op_code);
        message.metadata.recursion_desired = self.request.recursion_desired;
        message.metadata.checking_disabled = self.request.checking_disabled;
        message.metadata.response_code = code;
        message.metadata.authoritative = matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
        message.add_query(self.query.clone());
        // Who asks with the option is answered with it (RFC 6891, 6.1.1).
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(OWN_SIZE);
            message.set_edns(edns);
        }
        message
    }

    fn plain(&self, code: ResponseCode, authority: Option<Record>) -> Option<Vec<u8>> {
        let mut message = self.message(code);
        message.authorities.extend(authority);
        message.to_vec().ok()
    }

    /// Bytes that the answer may have.
    fn room(&self) -> usize {
        match (self.transport, &self.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => PLAIN_SIZE,
            (Transport::Udp, Some(edns)) => usize::from(edns.max_payload().min(LARGEST_UDP)).max(PLAIN_SIZE),
        }
    }

    /// As many entries as there is room for, each with what belongs to it. Entries that are left out for lack of room set
    /// TC (RFC 2181, 9); the limit for clients without EDNS is a choice, as in Consul, and does not.
    fn fitting(&self, entries: &[Entry]) -> Option<Vec<u8>> {
        let plain = self.transport == Transport::Udp && self.edns.is_none();
        let wanted = if plain { entries.len().min(PLAIN_ANSWERS) } else { entries.len() };
        let entries = entries.get(..wanted).unwrap_or(entries);
        let room = self.room();
        let all = self.with(entries, false)?;
        if all.len() <= room {
            return Some(all);
        }
        // The most that fits lies between `fits` and `over`.
        let (mut fits, mut over) = (0, entries.len());
        let mut best = self.with(&[], true)?;
        while over - fits > 1 {
            let middle = fits.midpoint(over);
            let tried = self.with(entries.get(..middle).unwrap_or_default(), true)?;
            if tried.len() <= room {
                (fits, best) = (middle, tried);
            } else {
                over = middle;
            }
        }
        Some(best)
    }

    fn with(&self, entries: &[Entry], truncated: bool) -> Option<Vec<u8>> {
        let mut message = self.message(ResponseCode::NoError);
        message.metadata.truncation = truncated;
        message.answers.extend(entries.iter().map(|entry| entry.answer.clone()));
        for extra in entries.iter().flat_map(|entry| &entry.extra) {
            if !message.additionals.contains(extra) {
                message.additionals.push(extra.clone());
            }
        }
        message.to_vec().ok()
    }
}
