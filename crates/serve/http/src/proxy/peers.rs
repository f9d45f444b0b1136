//! The peers that one request may be sent to.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use weir_balance::{Outcome, PeerState, Times, Upgraded};
use weir_http::pass::{Destination, Target};
use weir_log::clock;
use weir_model::{Level, ListenAddress, Method, Proxy, Resolver};

use super::pool::Link;
use super::sticky::{Lesson, Sticky};
use crate::deadline;
use crate::exchange::{Exchange, Sink};
use crate::live::Live;
use crate::upstream::{Choice, Picked, UpstreamLive};

/// A group with the state of this request's selection, or addresses.
pub(crate) struct Peers {
    live: Rc<Live>,
    source: Source,
    /// The peer that was chosen last; it stays when it is given back.
    picked: Option<Picked>,
    /// It has not been given back yet.
    runs: bool,
    /// When it was chosen, in monotonic milliseconds.
    begun: u64,
    /// How long its head took, once it is there.
    header: Option<u64>,
}

enum Source {
    Group { index: usize, upstream: Rc<UpstreamLive>, choice: Choice },
    Addresses(Addresses),
}

/// Addresses that no group has, each to be tried once.
struct Addresses {
    name: Rc<str>,
    list: Vec<ListenAddress>,
    /// Where it began in the list.
    start: usize,
    used: usize,
}

/// How long the wait for a name may take beyond its own timeout.
const GRACE: Duration = Duration::from_secs(1);

/// Why there are no peers to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPeers {
    Status(u16),
    ClientGone,
}

impl Peers {
    /// The peers of a destination.
    pub(crate) async fn of(
        exchange: &mut Exchange<'_>,
        live: &Rc<Live>,
        proxy: &Proxy,
        to: &Destination,
    ) -> Result<Self, NoPeers> {
        let source = match &to.target {
            Target::Upstream(index) => Source::group(exchange, live, *index).ok_or(NoPeers::Status(500))?,
            Target::Unix(path) => {
                let address = ListenAddress::Unix(path.clone());
                Source::addresses(&address.to_string(), vec![address], 0)
            }
            Target::Host { host, port } => Source::host(exchange, proxy, host, *port).await?,
        };
        Ok(Self { live: Rc::clone(live), source, picked: None, runs: false, begun: 0, header: None })
    }

    fn group(&self) -> Option<(&UpstreamLive, &Choice)> {
        match &self.source {
            Source::Group { upstream, choice, .. } => Some((upstream, choice)),
            Source::Addresses(_) => None,
        }
    }

    /// Tries that are left after `made` of them.
    pub(crate) fn tries_left(&self, made: u32) -> u32 {
        match &self.source {
            Source::Group { upstream, choice, .. } => {
                let last = self.picked.as_ref().map_or(0, |picked| picked.index);
                upstream.tries_left(choice, last, made)
            }
            Source::Addresses(addresses) => {
                u32::try_from(addresses.list.len()).unwrap_or(u32::MAX).saturating_sub(made)
            }
        }
    }

    /// Chooses a peer and returns its name. `None`: no live upstreams.
    pub(crate) fn next(&mut self, exchange: &Exchange<'_>) -> Option<Rc<str>> {
        let now = clock::mono_ms();
        let picked = match &mut self.source {
            Source::Addresses(addresses) => addresses.next()?,
            Source::Group { index, upstream, choice } => {
                let sticky = self.live.shared.sticky.get(*index).and_then(Option::as_ref);
                upstream
                    .pick(choice, sticky, now, |text| exchange.log(Level::Error, format_args!("{text}")))?
            }
        };
        let name = Rc::clone(&picked.name);
        (self.picked, self.runs, self.begun, self.header) = (Some(picked), true, now, None);
        Some(name)
    }

    /// Whether requests of the group wait for a peer when all are out.
    pub(crate) fn waits(&self) -> bool {
        self.group().is_some_and(|(upstream, _)| !upstream.patience().is_zero())
    }

    /// The group, when all its peers are out because of what somebody did to them.
    pub(crate) fn shut(&self, now: u64) -> Option<&Rc<UpstreamLive>> {
        let Source::Group { index, upstream, choice } = &self.source else { return None };
        let sticky = self.live.shared.sticky.get(*index).and_then(Option::as_ref);
        upstream.is_shut(choice, sticky, now).then_some(upstream)
    }

    /// The address of the chosen peer.
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.picked.as_ref().expect("an address is asked for after a peer was chosen").address
    }

    /// Whether the chosen peer was taken away since, while another one could stand in.
    pub(crate) fn is_lost(&self) -> bool {
        match (self.group(), &self.picked) {
            (Some((upstream, choice)), Some(picked)) => {
                upstream.is_lost(choice, picked.index, clock::mono_ms())
            }
            _ => false,
        }
    }

    /// Counts something with the chosen peer. Addresses without a group have nobody who keeps count.
    pub(crate) fn note(&self, note: impl FnOnce(&Arc<PeerState>)) {
        if let (Some((upstream, choice)), Some(picked), true) = (self.group(), &self.picked, self.runs) {
            upstream.note(choice, picked.index, note);
        }
    }

    /// The chosen peer's request is an upgraded connection until what is returned is dropped.
    pub(crate) fn upgrade(&self) -> Option<Upgraded> {
        let mut upgraded = None;
        self.note(|state| upgraded = Some(Arc::clone(state).upgrade()));
        upgraded
    }

    /// An idle connection to the chosen peer.
    pub(crate) fn idle(&self, bound: Option<SocketAddr>, now: u64) -> Option<Link> {
        self.group().and_then(|(upstream, _)| upstream.take(self.address(), bound, now))
    }

    /// Keeps the connection to the chosen peer for others.
    pub(crate) fn keep(&self, link: Link) {
        if let (Some((upstream, choice)), Some(picked)) = (self.group(), &self.picked) {
            upstream.put(choice, picked, link, clock::mono_ms());
        }
    }

    /// The name of the group.
    pub(crate) fn name(&self) -> &str {
        match &self.source {
            Source::Group { upstream, .. } => &upstream.name,
            Source::Addresses(addresses) => &addresses.name,
        }
    }

    fn sticky(&self) -> Option<(&Sticky, &[u8], &Arc<[u8]>)> {
        let Source::Group { index, choice, .. } = &self.source else { return None };
        let server = self.picked.as_ref()?.server.as_ref()?;
        Some((self.live.shared.sticky.get(*index)?.as_ref()?, &choice.wish, server))
    }

    /// The head of the chosen peer's answer is there and will be passed on; what it says can be evaluated.
    pub(crate) fn answered(&mut self, exchange: &mut Exchange<'_>) {
        let now = clock::mono_ms();
        let time = now.saturating_sub(self.begun);
        self.header = Some(time);
        if let (Source::Group { upstream, choice, .. }, Some(picked), true) =
            (&mut self.source, &self.picked, self.runs)
        {
            upstream.header_received(choice, picked.index, time, now);
        }
        self.learn(exchange, Lesson::Header, now);
    }

    fn learn(&self, exchange: &mut Exchange<'_>, lesson: Lesson, now: u64) {
        if let (Some((sticky, wish, server)), true) = (self.sticky(), self.runs) {
            sticky.learn(exchange, wish, server, lesson, now);
        }
    }

    /// Puts the cookie that binds the client to its peer into the answer, if the group sets one.
    pub(crate) fn bind(&self, exchange: &mut Exchange<'_>) {
        if let Some((sticky, _, server)) = self.sticky() {
            sticky.bind(exchange, server);
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
        if !std::mem::take(&mut self.runs) {
            return;
        }
        let now = clock::mono_ms();
        if let (Source::Group { upstream, choice, .. }, Some(picked)) = (&mut self.source, &self.picked) {
            let times = Times { header: self.header, response: now.saturating_sub(self.begun) };
            upstream.release(choice, picked.index, outcome, times, now);
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

impl Source {
    fn group(exchange: &mut Exchange<'_>, live: &Live, index: usize) -> Option<Self> {
        let model = live.site().http().upstreams.get(index)?;
        let upstream = Rc::clone(live.upstreams.get(index)?);
        let key = match &model.method {
            Method::Hash { key, .. } => exchange.evaluate(|request, scope, _| request.expanded(scope, key)),
            Method::IpHash => match exchange.request.remote() {
                Some(IpAddr::V4(address)) => address.octets().to_vec(),
                Some(IpAddr::V6(address)) => address.octets().to_vec(),
                None => Vec::new(),
            },
            _ => Vec::new(),
        };
        let sticky = live.shared.sticky.get(index).and_then(Option::as_ref);
        let wish = sticky.map(|sticky| sticky.wish(exchange)).unwrap_or_default();
        Some(Self::Group { index, upstream, choice: Choice { key, wish, ..Choice::default() } })
    }

    fn addresses(name: &str, list: Vec<ListenAddress>, turn: usize) -> Self {
        let start = turn.checked_rem(list.len()).unwrap_or(0);
        Self::Addresses(Addresses { name: name.into(), list, start, used: 0 })
    }

    /// A host that no upstream has: an address, or a name to ask for.
    async fn host(
        exchange: &mut Exchange<'_>,
        proxy: &Proxy,
        host: &str,
        port: u16,
    ) -> Result<Self, NoPeers> {
        let at = |ip: IpAddr| ListenAddress::Inet(SocketAddr::new(ip, port));
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            let address = at(ip);
            return Ok(Self::addresses(&address.to_string(), vec![address], 0));
        }
        let list = resolve(exchange, proxy, host).await?;
        let turn = &exchange.client.thread.turn;
        turn.set(turn.get().wrapping_add(1));
        Ok(Self::addresses(host, list.iter().copied().map(at).collect(), turn.get()))
    }
}

/// The addresses of a name; the log says why there are none.
async fn resolve(exchange: &mut Exchange<'_>, proxy: &Proxy, host: &str) -> Result<Arc<[IpAddr]>, NoPeers> {
    let thread = Rc::clone(&exchange.client.thread);
    let (Some(resolver), Some(names)) = (&proxy.resolver, &thread.shared.resolve) else {
        exchange.log(Level::Error, format_args!("no resolver defined to resolve {host}"));
        return Err(NoPeers::Status(502));
    };
    match answer(exchange, proxy, resolver, names.resolve(resolver, host)).await? {
        Ok(list) if !list.is_empty() => Ok(list),
        nothing => {
            let why = nothing.err().unwrap_or_else(|| "3: Host not found".to_owned());
            exchange.log(Level::Error, format_args!("{host} could not be resolved ({why})"));
            Err(NoPeers::Status(502))
        }
    }
}

/// Waits for an answer as long as it may take and the client is there.
async fn answer<T>(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    resolver: &Resolver,
    mut question: crate::BoxFuture<'static, Result<T, String>>,
) -> Result<Result<T, String>, NoPeers> {
    let watch = !proxy.ignore_client_abort && matches!(exchange.sink, Sink::Client);
    let end = deadline::now() + resolver.timeout.duration() + GRACE;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = question.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        if watch && exchange.client_gone(cx) {
            return Poll::Ready(Err(NoPeers::ClientGone));
        }
        exchange.client.deadline.poll(cx, end).map(|()| Ok(Err("110: Operation timed out".to_owned())))
    })
    .await
}

impl Addresses {
    fn next(&mut self) -> Option<Picked> {
        let index = self.used;
        let at = (self.start + index).checked_rem(self.list.len()).filter(|_| index < self.list.len())?;
        self.used += 1;
        let address = self.list.get(at)?.clone();
        Some(Picked { index, name: address.to_string().into(), address, server: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_one_turn_and_the_start_moves_on() {
        let list: Vec<ListenAddress> =
            (1..=3).map(|port| ListenAddress::Inet(([127, 0, 0, 1], port).into())).collect();
        let order = |turn| {
            let Source::Addresses(mut addresses) = Source::addresses("name", list.clone(), turn) else {
                panic!("addresses make no group");
            };
            std::iter::from_fn(|| addresses.next()).map(|picked| picked.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(order(0), ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        assert_eq!(order(5), ["127.0.0.1:3", "127.0.0.1:1", "127.0.0.1:2"]);
    }
}
