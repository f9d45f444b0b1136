//! The peers that one request may be sent to.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use weir_balance::{Outcome, Tried};
use weir_http::pass::{Destination, Target};
use weir_log::clock;
use weir_model::{Level, ListenAddress, Method};

use crate::exchange::Exchange;
use crate::live::{Live, UpstreamLive};
use crate::proxy::pool::Pool;

/// A group with the state of this request's selection, or one address.
pub(crate) struct Peers {
    live: Rc<Live>,
    source: Source,
    current: Option<usize>,
}

enum Source {
    Group { index: usize, tried: Tried, key: Vec<u8>, name: String },
    Address { address: ListenAddress, name: String, used: bool },
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
                Source::Group { index: *index, tried: Tried::default(), key, name: upstream.name.clone() }
            }
            Target::Unix(path) => {
                let address = ListenAddress::Unix(path.clone());
                Source::Address { name: address.to_string(), address, used: false }
            }
            Target::Host { host, port } => match host.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(ip) => {
                    let address = ListenAddress::Inet(SocketAddr::new(ip, *port));
                    Source::Address { name: address.to_string(), address, used: false }
                }
                Err(_) => {
                    exchange.log(Level::Error, format_args!("no resolver defined to resolve {host}"));
                    return Err(502);
                }
            },
        };
        Ok(Self { live: Rc::clone(live), source, current: None })
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
    pub(crate) fn next(&mut self, _exchange: &mut Exchange<'_>) -> Option<String> {
        match &mut self.source {
            Source::Address { name, used, .. } => {
                if std::mem::replace(used, true) {
                    return None;
                }
                self.current = Some(0);
                Some(name.clone())
            }
            Source::Group { index, tried, key, .. } => {
                let upstream = self.live.upstreams.get(*index)?;
                let mut selector = upstream.selector.borrow_mut();
                let peer = selector.pick(tried, key, None, clock::mono_ms())?;
                self.current = Some(peer);
                selector.group().peers().get(peer).map(|peer| peer.spec.name.clone())
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

    /// Gives the chosen peer back.
    pub(crate) fn release(&mut self, outcome: Outcome) {
        let Some(peer) = self.current.take() else { return };
        let now = clock::mono_ms();
        if let Source::Group { index, .. } = &self.source
            && let Some(upstream) = self.live.upstreams.get(*index)
        {
            let _ = upstream.selector.borrow_mut().release(peer, outcome, now);
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
