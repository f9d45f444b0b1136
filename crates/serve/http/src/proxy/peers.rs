//! The peers that one request may be sent to.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use weir_balance::{Outcome, Times, Tried};
use weir_http::pass::{Destination, Target};
use weir_log::clock;
use weir_model::{Level, ListenAddress, Method};

use crate::exchange::Exchange;
use crate::live::{Live, UpstreamLive};
use crate::proxy::pool::Pool;
use crate::proxy::sticky::{Lesson, Sticky};

/// A group with the state of this request's selection, or one address.
pub(crate) struct Peers {
    live: Rc<Live>,
    source: Source,
    current: Option<usize>,
    /// The peer that was chosen last; it stays when it is given back.
    last: Option<usize>,
    /// When it was chosen, in monotonic milliseconds.
    begun: u64,
    /// How long its head took, once it is there.
    header: Option<u64>,
}

enum Source {
    /// `wish`: what `sticky` found in the request.
    Group {
        index: usize,
        tried: Tried,
        key: Vec<u8>,
        wish: Vec<u8>,
        name: Rc<str>,
    },
    Address {
        address: ListenAddress,
        name: Rc<str>,
        used: bool,
    },
}

impl Peers {
    /// The peers of a destination; the error is a status.
    pub(crate) fn of(exchange: &mut Exchange<'_>, live: &Rc<Live>, to: &Destination) -> Result<Self, u16> {
        let source = match &to.target {
            Target::Upstream(index) => {
                let upstream = live.site().http().upstreams.get(*index).ok_or(500_u16)?;
                let key = match &upstream.method {
                    Method::Hash { key, .. } => {
                        exchange.evaluate(|request, scope, _| request.expanded(scope, key))
                    }
                    Method::IpHash => match exchange.request.remote() {
                        Some(IpAddr::V4(address)) => address.octets().to_vec(),
                        Some(IpAddr::V6(address)) => address.octets().to_vec(),
                        None => Vec::new(),
                    },
                    _ => Vec::new(),
                };
                let sticky = live.shared.sticky.get(*index).and_then(Option::as_ref);
                let wish = sticky.map(|sticky| sticky.wish(exchange)).unwrap_or_default();
                Source::Group {
                    index: *index,
                    tried: Tried::default(),
                    key,
                    wish,
                    name: live.name_of(*index),
                }
            }
            Target::Unix(path) => {
                let address = ListenAddress::Unix(path.clone());
                Source::Address { name: address.to_string().into(), address, used: false }
            }
            Target::Host { host, port } => match host.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(ip) => {
                    let address = ListenAddress::Inet(SocketAddr::new(ip, *port));
                    Source::Address { name: address.to_string().into(), address, used: false }
                }
                Err(_) => {
                    exchange.log(Level::Error, format_args!("no resolver defined to resolve {host}"));
                    return Err(502);
                }
            },
        };
        Ok(Self { live: Rc::clone(live), source, current: None, last: None, begun: 0, header: None })
    }

    fn upstream(&self) -> Option<&UpstreamLive> {
        match &self.source {
            Source::Group { index, .. } => self.live.upstreams.get(*index),
            Source::Address { .. } => None,
        }
    }

    /// Tries that the group allows.
    pub(crate) fn tries(&self) -> u32 {
        self.upstream().map_or(1, |upstream| upstream.selector.borrow().group().tries())
    }

    /// Chooses a peer and returns its name. `None`: no live upstreams.
    pub(crate) fn next(&mut self, _exchange: &mut Exchange<'_>) -> Option<Rc<str>> {
        match &mut self.source {
            Source::Address { name, used, .. } => {
                if std::mem::replace(used, true) {
                    return None;
                }
                self.current = Some(0);
                Some(Rc::clone(name))
            }
            Source::Group { index, tried, key, wish, .. } => {
                let upstream = self.live.upstreams.get(*index)?;
                let mut selector = upstream.selector.borrow_mut();
                let now = clock::mono_ms();
                let sticky = self.live.shared.sticky.get(*index).and_then(Option::as_ref);
                let hint = sticky.and_then(|sticky| sticky.hint(wish, selector.group(), tried, now));
                let peer = selector.pick(tried, key, hint, now)?;
                self.current = Some(peer);
                (self.last, self.begun, self.header) = (Some(peer), now, None);
                upstream.peer_names.get(peer).map(Rc::clone)
            }
        }
    }

    /// The address of the chosen peer.
    pub(crate) fn address(&self) -> &ListenAddress {
        match &self.source {
            Source::Address { address, .. } => address,
            Source::Group { index, .. } => {
                let peer = self.current.expect("an address is asked for after a peer was chosen");
                self.live
                    .upstreams
                    .get(*index)
                    .and_then(|upstream| upstream.addresses.get(peer))
                    .expect("the addresses stand in the order of the group")
            }
        }
    }

    pub(crate) fn pool(&self) -> Option<&Rc<Pool>> {
        self.upstream().map(|upstream| &upstream.pool).filter(|pool| pool.keeps())
    }

    /// The name of the group.
    pub(crate) fn name(&self) -> &str {
        match &self.source {
            Source::Group { name, .. } | Source::Address { name, .. } => name,
        }
    }

    fn sticky(&self) -> Option<(&Sticky, &[u8])> {
        let Source::Group { index, wish, .. } = &self.source else { return None };
        Some((self.live.shared.sticky.get(*index)?.as_ref()?, wish))
    }

    /// The head of the chosen peer's answer is there and will be passed on; what it says can be evaluated.
    pub(crate) fn answered(&mut self, exchange: &mut Exchange<'_>) {
        let now = clock::mono_ms();
        let time = now.saturating_sub(self.begun);
        self.header = Some(time);
        if let (Source::Group { index, tried, .. }, Some(peer)) = (&mut self.source, self.current)
            && let Some(upstream) = self.live.upstreams.get(*index)
        {
            upstream.selector.borrow_mut().header_received(tried, peer, time, now);
        }
        self.learn(exchange, Lesson::Header, now);
    }

    fn learn(&self, exchange: &mut Exchange<'_>, lesson: Lesson, now: u64) {
        if let (Some((sticky, wish)), Some(peer)) = (self.sticky(), self.current) {
            sticky.learn(exchange, wish, peer, lesson, now);
        }
    }

    /// Puts the cookie that binds the client to its peer into the answer, if the group sets one.
    pub(crate) fn bind(&self, exchange: &mut Exchange<'_>) {
        if let (Some((sticky, _)), Some(peer)) = (self.sticky(), self.last) {
            sticky.bind(exchange, peer);
        }
    }

    /// Gives the chosen peer back after an answer that was passed on.
    pub(crate) fn settle(&mut self, exchange: &mut Exchange<'_>, outcome: Outcome) {
        if outcome != Outcome::Failure {
            self.learn(exchange, Lesson::End, clock::mono_ms());
        }
        self.release(outcome);
    }

    /// Gives the chosen peer back.
    pub(crate) fn release(&mut self, outcome: Outcome) {
        let Some(peer) = self.current.take() else { return };
        let now = clock::mono_ms();
        if let Source::Group { index, tried, .. } = &mut self.source
            && let Some(upstream) = self.live.upstreams.get(*index)
        {
            let times = Times { header: self.header, response: now.saturating_sub(self.begun) };
            let _ = upstream.selector.borrow_mut().release_timed(tried, peer, outcome, times, now);
        }
    }

    /// The request is over.
    pub(crate) fn end(&mut self) {
        self.release(Outcome::Success);
    }
}

impl Drop for Peers {
    /// A request that is cut off by its client gives its place at the peer back.
    fn drop(&mut self) {
        self.release(Outcome::Neutral);
    }
}
