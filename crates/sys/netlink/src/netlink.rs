//! The socket on which requests are made.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};

use crate::socket::{Connection, Outcome, Request};
use crate::{AddressInfo, Error, LinkInfo, decode};

/// A conversation with the kernel of the network namespace in which it was opened. Synchronous: a call returns when
/// the kernel has answered, or with an error of kind `TimedOut` when it has not for a second. Requests that change
/// something wait in the kernel for those of others (its rtnl lock), a time that no socket option bounds.
pub struct Netlink {
    pub(crate) connection: Connection,
}

impl Netlink {
    /// # Errors
    /// Those of socket(2), bind(2) and setsockopt(2). No privilege is needed to open it and to read.
    pub fn open() -> io::Result<Self> {
        Ok(Self { connection: Connection::open()? })
    }

    /// The netlink port by which [`crate::Event::AddressGone`] tells this socket's removals from those of others.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.connection.port()
    }

    /// All links of the namespace.
    ///
    /// # Errors
    /// Those of the socket; `TimedOut` without an answer.
    pub fn links(&mut self) -> io::Result<Vec<LinkInfo>> {
        self.link_dump(decode::link)
    }

    /// All IPv4 and IPv6 addresses of the namespace.
    ///
    /// # Errors
    /// Those of the socket; `TimedOut` without an answer.
    pub fn addresses(&mut self) -> io::Result<Vec<AddressInfo>> {
        let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.connection.dump(&message, |_, payload| decode::address(payload))
    }

    pub(crate) fn link_dump<T>(&mut self, each: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.connection.dump(&RouteNetlinkMessage::GetLink(message), |_, payload| each(payload))
    }

    /// Sends requests that belong together; the outcome is that of the last.
    pub(crate) fn ask(
        &mut self,
        requests: Vec<Request>,
        describe: impl FnOnce() -> String,
    ) -> Result<Outcome, Error> {
        match self.connection.requests(requests) {
            Ok(outcomes) => Ok(outcomes.into_iter().last().expect("something was asked")),
            Err(source) => Err(Error::Socket { request: describe(), source }),
        }
    }
}
