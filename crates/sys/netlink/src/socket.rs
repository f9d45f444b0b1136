//! One rtnetlink socket: requests in batches, acknowledgements by sequence number, dumps.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkMessage,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::{RecvFlags, sockopt};

use crate::decode;

/// Requests in one write. The kernel queues the acknowledgements of all before the write returns; twice as many fit
/// the default receive buffer of 208 KiB (832 bytes each on Linux 6.18).
const BATCH: usize = 128;
/// Larger than the 32 KiB that the kernel fills at most in a dump.
pub(crate) const RECEIVE: usize = 64 * 1024;
/// The kernel answers while the request is written; this bounds the wait for a reply that was lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a dump is begun again because the tables changed meanwhile.
const DUMPS: usize = 16;

/// A message and its `NLM_F_*` flags, those of every request left out.
pub(crate) struct Request {
    pub(crate) message: RouteNetlinkMessage,
    pub(crate) flags: u16,
}

/// A negative acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// positive
    pub(crate) errno: i32,
    /// What the kernel says beside the number (`NLMSGERR_ATTR_MSG`).
    pub(crate) text: Option<String>,
}

pub(crate) type Outcome = Result<(), Refusal>;

pub(crate) struct Connection {
    socket: Socket,
    port: u32,
    sequence: u32,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        // Kernels before 4.12 lack them; then errors are mere numbers and acknowledgements longer.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        Ok(Self { socket, port, sequence: 0, received: vec![0; RECEIVE] })
    }

    /// The address of this socket, which the kernel names as the origin of a change.
    pub(crate) const fn port(&self) -> u32 {
        self.port
    }

    /// Sends all requests and returns one outcome each, in their order.
    pub(crate) fn requests(&mut self, requests: Vec<Request>) -> io::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter();
        while requests.len() > 0 {
            let first = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            let mut sent = 0;
            for request in requests.by_ref().take(BATCH) {
                self.append(&mut bytes, request, NLM_F_ACK);
                sent += 1;
            }
            self.send(&bytes)?;
            outcomes.extend(self.acknowledgements(first, sent)?);
        }
        Ok(outcomes)
    }

    /// What `each` makes of type and payload of every entry of a table; begun again if the table changed meanwhile.
    pub(crate) fn dump<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        each: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..DUMPS {
            let mut bytes = Vec::new();
            self.append(&mut bytes, Request { message: message.clone(), flags: 0 }, NLM_F_DUMP);
            self.send(&bytes)?;
            let mut entries = Vec::new();
            if self.read_dump(|kind, payload| entries.extend(each(kind, payload)))? {
                return Ok(entries);
            }
        }
        Err(io::Error::other(format!("the kernel's tables changed during each of {DUMPS} dumps: try again")))
    }

    fn append(&mut self, bytes: &mut Vec<u8>, request: Request, kind: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(request.message);
        message.header.flags = NLM_F_REQUEST | kind | request.flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        if let Some(room) = bytes.get_mut(start..start + message.buffer_len()) {
            message.serialize(room);
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Collects the outcomes of `count` requests from the sequence number `first` on. Replies to requests that
    /// were given up earlier are passed over.
    fn acknowledgements(&mut self, first: u32, count: usize) -> io::Result<Vec<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; count];
        let mut missing = count;
        while missing > 0 {
            let length = receive(&self.socket, &mut self.received, RecvFlags::empty()).map_err(|error| {
                explain(error, || {
                    format!("no reply to {missing} of {count} netlink requests in {PATIENCE:?}")
                })
            })?;
            for message in messages(self.received.get(..length).unwrap_or_default()) {
                let place = message.sequence_number().wrapping_sub(first) as usize;
                if message.message_type() != NLMSG_ERROR {
                    continue;
                }
                if let Some(slot @ None) = outcomes.get_mut(place) {
                    *slot = Some(outcome(message.payload(), message.flags()));
                    missing -= 1;
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Reads one dump to its end; false if it was inconsistent.
    fn read_dump(&mut self, mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        let mut consistent = true;
        loop {
            let length = receive(&self.socket, &mut self.received, RecvFlags::empty())
                .map_err(|error| explain(error, || format!("no end of a netlink dump in {PATIENCE:?}")))?;
            for message in messages(self.received.get(..length).unwrap_or_default()) {
                if message.sequence_number() != self.sequence {
                    continue;
                }
                consistent &= message.flags() & NLM_F_DUMP_INTR == 0;
                match message.message_type() {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match outcome(message.payload(), message.flags()) {
                            Ok(()) => Ok(consistent),
                            Err(refusal) => Err(io::Error::from_raw_os_error(refusal.errno)),
                        };
                    }
                    kind => each(kind, message.payload()),
                }
            }
        }
    }
}

/// Reads one datagram of the kernel; what others send is passed over.
///
/// # Errors
/// `WouldBlock` if there is none in time, `ENOBUFS` if datagrams were lost, `InvalidData` if it does not fit.
pub(crate) fn receive(socket: &Socket, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let flags = (flags | RecvFlags::TRUNC).bits().cast_signed();
    loop {
        let capacity = buffer.len();
        match socket.recv_from(&mut &mut *buffer, flags) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok((_, sender)) if sender.port_number() != 0 => {}
            Ok((length, _)) if length > capacity => {
                let text = format!("a netlink datagram of {length} bytes, expected at most {capacity}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            Ok((length, _)) => return Ok(length),
        }
    }
}

/// The messages of one datagram, up to the first that is malformed.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let length = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some(message)
    })
}

/// Says in words that the wait was over or that replies were lost.
fn explain(error: io::Error, waited: impl FnOnce() -> String) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::new(io::ErrorKind::TimedOut, waited());
    }
    if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) {
        return io::Error::other("netlink replies did not fit the receive buffer and were lost: try again");
    }
    error
}

/// Payload of `NLMSG_ERROR` or `NLMSG_DONE`: a negative errno or zero, and attributes with the kernel's words.
fn outcome(payload: &[u8], flags: u16) -> Outcome {
    /// Of the request only the header is repeated (netlink(7), `NETLINK_CAP_ACK`).
    const CAPPED: u16 = netlink_packet_core::NLM_F_CAPPED;
    const ATTRIBUTES: u16 = netlink_packet_core::NLM_F_ACK_TLVS;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    const HEADER: usize = 16;

    let code = decode::u32(payload).map_or(0, u32::cast_signed);
    if code >= 0 {
        return Ok(());
    }
    let echoed = if flags & CAPPED != 0 {
        HEADER
    } else {
        payload.get(4..).and_then(decode::u32).map_or(HEADER, |length| (length as usize).next_multiple_of(4))
    };
    let text = (flags & ATTRIBUTES != 0)
        .then(|| payload.get(4 + echoed..))
        .flatten()
        .and_then(|bytes| decode::attributes(bytes).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG))
        .map(|(_, text)| decode::string(text));
    Err(Refusal { errno: code.saturating_neg(), text })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::LinkMessage;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refusal_carries_number_and_words() {
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        payload.extend(8_u16.to_ne_bytes());
        payload.extend(1_u16.to_ne_bytes());
        payload.extend(*b"odd\0");
        let flags = netlink_packet_core::NLM_F_CAPPED | netlink_packet_core::NLM_F_ACK_TLVS;
        assert_eq!(outcome(&payload, flags), Err(Refusal { errno: 22, text: Some("odd".to_owned()) }));
        assert_eq!(outcome(&payload, 0), Err(Refusal { errno: 22, text: None }));
        assert_eq!(outcome(&[0; 20], 0), Ok(()));
    }

    fn absent_link() -> Request {
        let mut message = LinkMessage::default();
        message.header.index = u32::MAX >> 1;
        Request { message: RouteNetlinkMessage::GetLink(message), flags: 0 }
    }

    #[test]
    fn missing_reply_is_an_error_after_the_patience() {
        let mut connection = Connection::open().expect("a netlink socket needs no privilege");
        let error = connection.acknowledgements(1, 1).expect_err("nothing was asked");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "no reply to 1 of 1 netlink requests in 1s");
    }

    #[test]
    fn replies_to_abandoned_requests_are_passed_over() {
        let mut connection = Connection::open().expect("a netlink socket needs no privilege");
        let mut bytes = Vec::new();
        connection.append(&mut bytes, absent_link(), NLM_F_ACK);
        connection.send(&bytes).expect("the kernel takes a request");
        let mut present = LinkMessage::default();
        present.header.index = 1; // lo
        let present = Request { message: RouteNetlinkMessage::GetLink(present), flags: 0 };
        let outcomes = connection.requests(vec![present, absent_link()]).expect("the kernel answers");
        let absent = outcomes.last().cloned().expect("two outcomes").expect_err("there is no such link");
        assert_eq!((outcomes.len(), outcomes.first(), absent.errno), (2, Some(&Ok(())), 19));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256), flags: u16) {
            for message in messages(&bytes) {
                let _ = outcome(message.payload(), message.flags());
            }
            let _ = outcome(&bytes, flags);
        }
    }
}
