//! `sticky`: which peer a client comes back to.

use std::sync::Arc;

use md5::{Digest, Md5};
use weir_balance::{Group, Millis, Peer, Tried};
use weir_http::answer::number;
use weir_log::clock;
use weir_model::{Http, Level, Part, Template, Upstream, Variable};

use super::sessions::{Learnt, Sessions};
use crate::exchange::Exchange;

/// The stickiness of one group, shared by all threads.
#[derive(Debug)]
pub(crate) struct Sticky {
    /// Server id of each peer, in the group's order.
    servers: Vec<Arc<[u8]>>,
    /// The first that is not empty says where the request wants to go.
    lookup: Vec<Template>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Cookie(Cookie),
    Route,
    Learn(Learn),
}

/// The cookie that names the server.
#[derive(Debug)]
struct Cookie {
    name: String,
    expires: Option<u64>,
    domain: Option<Template>,
    path: Option<Template>,
    httponly: bool,
    secure: bool,
    samesite: Option<Template>,
}

#[derive(Debug)]
struct Learn {
    create: Vec<Template>,
    sessions: Arc<Sessions>,
    timeout: Millis,
    /// Learns when the head of the answer is there, not when the answer ended.
    header: bool,
}

/// The moment of a lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lesson {
    Header,
    End,
}

impl Sticky {
    /// The stickiness of each upstream of a configuration. Sessions of the previous generation stay while their
    /// zone does.
    pub(crate) fn all(http: &Http, groups: &[Arc<Group>], previous: &[Option<Self>]) -> Vec<Option<Self>> {
        let upstreams = http.upstreams.iter().zip(groups);
        upstreams.map(|(upstream, group)| Self::new(upstream, group, previous)).collect()
    }

    fn new(upstream: &Upstream, group: &Group, previous: &[Option<Self>]) -> Option<Self> {
        let (lookup, kind) = match upstream.sticky.clone()? {
            weir_model::Sticky::Cookie { name, expires, domain, path, httponly, secure, samesite } => {
                let variable = Template(vec![Part::Variable(Variable::Cookie(name.clone()))]);
                (
                    vec![variable],
                    Kind::Cookie(Cookie { name, expires, domain, path, httponly, secure, samesite }),
                )
            }
            weir_model::Sticky::Route { lookup } => (lookup, Kind::Route),
            weir_model::Sticky::Learn { create, lookup, zone, size, timeout, header } => {
                let known = previous.iter().flatten().filter_map(Self::sessions);
                let same = |known: &&Arc<Sessions>| {
                    known.upstream == upstream.name && known.zone == zone && known.size == size
                };
                let sessions = known
                    .clone()
                    .find(same)
                    .map_or_else(|| Arc::new(Sessions::new(&upstream.name, &zone, size)), Arc::clone);
                (lookup, Kind::Learn(Learn { create, sessions, timeout: timeout.0, header }))
            }
        };
        Some(Self { servers: group.peers().iter().map(server_id).collect(), lookup, kind })
    }

    fn sessions(&self) -> Option<&Arc<Sessions>> {
        match &self.kind {
            Kind::Learn(learn) => Some(&learn.sessions),
            Kind::Cookie(_) | Kind::Route => None,
        }
    }

    /// What the request says about where it wants to go: a server id, or with `learn` a session. Empty for nothing.
    pub(super) fn wish(&self, exchange: &mut Exchange<'_>) -> Vec<u8> {
        first(exchange, &self.lookup)
    }

    /// The peer for a wish. Of several with one id the first that can be had; backups stand behind the primaries.
    pub(super) fn hint(&self, wish: &[u8], group: &Group, tried: &Tried, now: Millis) -> Option<usize> {
        if wish.is_empty() {
            return None;
        }
        let session;
        let server = match &self.kind {
            Kind::Cookie(_) | Kind::Route => wish,
            Kind::Learn(learn) => {
                session = learn.sessions.find(wish, now, learn.timeout)?;
                &*session
            }
        };
        let can_be_had = |peer: &Peer| {
            let disabled = !group.is_single() && peer.is_disabled(now);
            !peer.spec.down && !disabled && !peer.is_full() && !tried.contains(peer.index)
        };
        let mut peers = self.servers.iter().zip(group.peers());
        peers.position(|(id, peer)| **id == *server && can_be_had(peer))
    }

    /// `learn`: the peer answered.
    pub(super) fn learn(
        &self,
        exchange: &mut Exchange<'_>,
        wish: &[u8],
        peer: usize,
        lesson: Lesson,
        now: Millis,
    ) {
        let (Kind::Learn(learn), Some(server)) = (&self.kind, self.servers.get(peer)) else { return };
        if learn.header != (lesson == Lesson::Header) {
            return;
        }
        let created = first(exchange, &learn.create);
        let (session, create) = if created.is_empty() { (wish, false) } else { (&*created, true) };
        if session.is_empty() {
            return;
        }
        if learn.sessions.learn(session, server, create, now, learn.timeout) == Learnt::Displaced {
            let zone = &learn.sessions.zone;
            exchange.log(
                Level::Warn,
                format_args!("sticky zone \"{zone}\" is full, its least recently used session was dropped"),
            );
        }
    }

    /// `cookie`: binds the client to a peer.
    pub(super) fn bind(&self, exchange: &mut Exchange<'_>, peer: usize) {
        if let (Kind::Cookie(cookie), Some(server)) = (&self.kind, self.servers.get(peer)) {
            let value = cookie.value(exchange, server);
            exchange.request.answer.push(b"Set-Cookie", &value);
        }
    }
}

/// `route=`, or MD5 of the address in hexadecimal.
fn server_id(peer: &Peer) -> Arc<[u8]> {
    match &peer.spec.route {
        Some(route) => route.as_bytes().into(),
        None => format!("{:x}", Md5::digest(&peer.spec.name)).into_bytes().into(),
    }
}

/// The first value that is not empty.
fn first(exchange: &mut Exchange<'_>, templates: &[Template]) -> Vec<u8> {
    exchange.evaluate(|request, scope, _| {
        let mut values = templates.iter().map(|template| request.expanded(scope, template));
        values.find(|value| !value.is_empty()).unwrap_or_default()
    })
}

impl Cookie {
    /// The value of Set-Cookie, with the attributes in nginx's order.
    fn value(&self, exchange: &mut Exchange<'_>, server: &[u8]) -> Vec<u8> {
        let mut value = self.name.as_bytes().to_vec();
        value.push(b'=');
        value.extend_from_slice(server);
        if let Some(seconds) = self.expires {
            expires(seconds, clock::now().unix_ms / 1000, &mut value);
        }
        attribute(b"domain", &expanded(exchange, self.domain.as_ref()), &mut value);
        if self.httponly {
            value.extend_from_slice(b"; httponly");
        }
        if self.secure {
            value.extend_from_slice(b"; secure");
        }
        let site = expanded(exchange, self.samesite.as_ref());
        attribute(b"samesite", same_site(&site), &mut value);
        attribute(b"path", &expanded(exchange, self.path.as_ref()), &mut value);
        value
    }
}

/// The value of a template; none if it would break out of its header line.
fn expanded(exchange: &mut Exchange<'_>, template: Option<&Template>) -> Vec<u8> {
    let Some(template) = template else { return Vec::new() };
    let value = exchange.evaluate(|request, scope, _| request.expanded(scope, template));
    if value.iter().any(u8::is_ascii_control) { Vec::new() } else { value }
}

fn attribute(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        for part in [b"; ".as_slice(), name, b"=", value] {
            out.extend_from_slice(part);
        }
    }
}

/// A variable may hold anything; what is no value of SameSite becomes the strictest one.
fn same_site(value: &[u8]) -> &[u8] {
    let known = [b"strict".as_slice(), b"lax", b"none"].iter().any(|known| value.eq_ignore_ascii_case(known));
    if value.is_empty() || known { value } else { b"strict" }
}

/// `expires` and `max-age` of a cookie that lives for `seconds` from `now` on; `u64::MAX` stands for `max`.
fn expires(seconds: u64, now: u64, out: &mut Vec<u8>) {
    /// Thu, 31 Dec 2037 23:55:55 GMT: what every client can count up to.
    const LAST: u64 = 2_145_916_555;
    const TEN_YEARS: u64 = 315_360_000;
    let (at, age) = match seconds {
        u64::MAX => (LAST, TEN_YEARS),
        seconds => (now.saturating_add(seconds), seconds),
    };
    out.extend_from_slice(b"; expires=");
    cookie_date(i64::try_from(at).unwrap_or(i64::MAX), out);
    out.extend_from_slice(b"; max-age=");
    number(age, out);
}

/// `Thu, 31-Dec-37 23:55:55 GMT`; a year that two digits do not tell has four.
fn cookie_date(second: i64, out: &mut Vec<u8>) {
    let date = clock::http_date(second);
    let mut words = date.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (day_name, day, month, year, time) = (next(), next(), next(), next(), next());
    let year = if year > "2037" { year } else { year.get(2..).unwrap_or(year) };
    out.extend_from_slice(format!("{day_name} {day}-{month}-{year} {time} GMT").as_bytes());
}

#[cfg(test)]
mod tests {
    use weir_balance::{Method, PeerSpec};
    use weir_model::{Keepalive, Millis as Time};

    use super::*;

    fn peers() -> Vec<PeerSpec> {
        let spec = |port: u16| PeerSpec::new(format!("127.0.0.1:{port}"));
        vec![
            PeerSpec { route: Some("a".to_owned()), ..spec(1) },
            PeerSpec { route: Some("b".to_owned()), ..spec(2) },
            PeerSpec { route: Some("a".to_owned()), ..spec(3) },
            PeerSpec { route: Some("b".to_owned()), backup: true, ..spec(4) },
            PeerSpec { backup: true, ..spec(5) },
        ]
    }

    fn upstream(sticky: weir_model::Sticky) -> Upstream {
        Upstream {
            name: "u".to_owned(),
            implicit: false,
            port: 0,
            method: weir_model::Method::RoundRobin,
            peers: Vec::new(),
            keepalive: Keepalive::default(),
            zone: None,
            sticky: Some(sticky),
            sources: Vec::new(),
            checks: Vec::new(),
            check_panic: true,
            resolver: None,
        }
    }

    fn learn(zone: &str, size: u64) -> weir_model::Sticky {
        weir_model::Sticky::Learn {
            create: Vec::new(),
            lookup: Vec::new(),
            zone: zone.to_owned(),
            size,
            timeout: Time(10),
            header: false,
        }
    }

    #[test]
    fn a_hint_is_the_first_peer_of_its_id_that_can_be_had() {
        let group = Arc::new(Group::new("u".to_owned(), Method::RoundRobin, peers(), None));
        let sticky = Sticky::new(&upstream(weir_model::Sticky::Route { lookup: Vec::new() }), &group, &[]);
        let sticky = sticky.expect("it is sticky");
        let mut selector = weir_balance::Selector::new(Arc::clone(&group), 1);
        let mut tried = Tried::default();
        assert_eq!(sticky.hint(b"", &group, &tried, 0), None, "no wish");
        assert_eq!(sticky.hint(b"c", &group, &tried, 0), None, "nobody's id");
        assert_eq!(sticky.hint(b"a", &group, &tried, 0), Some(0));
        let md5 = b"4af0ff4650207200a5f57d4674264612";
        assert_eq!(sticky.hint(md5, &group, &tried, 0), Some(4), "md5 of 127.0.0.1:5");
        assert_eq!(selector.pick(&mut tried, b"", Some(0), 0), Some(0));
        assert_eq!(sticky.hint(b"a", &group, &tried, 0), Some(2), "the other one with this route");
        assert_eq!(selector.pick(&mut tried, b"", Some(1), 0), Some(1));
        assert_eq!(sticky.hint(b"b", &group, &tried, 0), Some(3), "the backup with this route");
    }

    #[test]
    fn sessions_stay_while_zone_size_and_upstream_do() {
        let group = Group::new("u".to_owned(), Method::RoundRobin, peers(), None);
        let make = |sticky, previous: &[Option<Sticky>]| Sticky::new(&upstream(sticky), &group, previous);
        let first = [None, make(learn("z", 65_536), &[])];
        let sessions = |sticky: &Option<Sticky>| {
            Arc::clone(sticky.as_ref().and_then(Sticky::sessions).expect("it learns"))
        };
        assert!(Arc::ptr_eq(&sessions(&first[1]), &sessions(&make(learn("z", 65_536), &first))));
        assert!(!Arc::ptr_eq(&sessions(&first[1]), &sessions(&make(learn("z", 32_768), &first))));
        assert!(!Arc::ptr_eq(&sessions(&first[1]), &sessions(&make(learn("y", 65_536), &first))));
    }

    #[test]
    fn a_session_leads_to_its_peer() {
        let group = Group::new("u".to_owned(), Method::RoundRobin, peers(), None);
        let sticky = Sticky::new(&upstream(learn("z", 65_536)), &group, &[]).expect("it is sticky");
        sticky.sessions().expect("it learns").learn(b"id", &sticky.servers[1], true, 0, 10);
        assert_eq!(sticky.hint(b"id", &group, &Tried::default(), 9), Some(1));
        assert_eq!(sticky.hint(b"id", &group, &Tried::default(), 10), None, "it is over");
        assert_eq!(sticky.hint(b"b", &group, &Tried::default(), 0), None, "a server's id is no session");
    }

    #[test]
    fn lifetimes() {
        let text = |seconds| {
            let mut out = Vec::new();
            expires(seconds, 1_795_243_501, &mut out);
            String::from_utf8(out).expect("ascii")
        };
        assert_eq!(text(3780), "; expires=Sat, 21-Nov-26 07:48:01 GMT; max-age=3780");
        assert_eq!(text(u64::MAX), "; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000");
        assert_eq!(text(3_784_320_000), "; expires=Sun, 23-Oct-2146 06:45:01 GMT; max-age=3784320000");
    }

    #[test]
    fn same_site_is_one_of_three() {
        for (value, expected) in
            [(&b""[..], &b""[..]), (b"Lax", b"Lax"), (b"none", b"none"), (b"odd", b"strict")]
        {
            assert_eq!(same_site(value), expected);
        }
    }
}
