//! `sticky`: which peer a client comes back to.

use std::sync::Arc;

use weir_balance::{Millis, Peer};
use weir_http::answer::number;
use weir_log::clock;
use weir_model::{Http, Level, Part, Template, Upstream, Variable};

use super::sessions::{Learnt, Sessions};
use crate::exchange::Exchange;
use crate::membership::Membership;

/// The stickiness of one upstream, shared by all threads. The ids of its peers stand in their [`Membership`].
#[derive(Debug)]
pub(crate) struct Sticky {
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
    pub(crate) fn all(http: &Http, previous: &[Option<Self>]) -> Vec<Option<Self>> {
        http.upstreams.iter().map(|upstream| Self::new(upstream, previous)).collect()
    }

    fn new(upstream: &Upstream, previous: &[Option<Self>]) -> Option<Self> {
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
        Some(Self { lookup, kind })
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

    /// The peer for a wish. Of several with one id the first that can be had, or else the first; backups stand behind the
    /// primaries.
    pub(crate) fn hint(
        &self,
        wish: &[u8],
        membership: &Membership,
        now: Millis,
        can_be_had: impl Fn(&Peer) -> bool,
    ) -> Option<usize> {
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
        let mut first = None;
        for (id, peer) in membership.servers.iter().zip(membership.group.peers()) {
            if **id == *server {
                if can_be_had(peer) {
                    return Some(peer.index);
                }
                first = first.or(Some(peer.index));
            }
        }
        first
    }

    /// `learn`: the peer answered.
    pub(super) fn learn(
        &self,
        exchange: &mut Exchange<'_>,
        wish: &[u8],
        server: &Arc<[u8]>,
        lesson: Lesson,
        now: Millis,
    ) {
        let Kind::Learn(learn) = &self.kind else { return };
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
    pub(super) fn bind(&self, exchange: &mut Exchange<'_>, server: &[u8]) {
        if let Kind::Cookie(cookie) = &self.kind {
            let value = cookie.value(exchange, server);
            exchange.request.answer.push(b"Set-Cookie", &value);
        }
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
    use weir_balance::PeerSpec;
    use weir_model::Millis as Time;

    use super::*;
    use crate::membership::Rules;

    fn upstream(sticky: weir_model::Sticky) -> Upstream {
        Upstream { sticky: Some(sticky), ..crate::membership::tests::upstream() }
    }

    fn membership() -> Membership {
        let spec = |port: u16| PeerSpec::new(format!("127.0.0.1:{port}"));
        let specs = [
            PeerSpec { route: Some("a".to_owned()), ..spec(1) },
            PeerSpec { route: Some("b".to_owned()), ..spec(2) },
            PeerSpec { route: Some("a".to_owned()), ..spec(3) },
            PeerSpec { route: Some("b".to_owned()), backup: true, ..spec(4) },
            PeerSpec { backup: true, ..spec(5) },
        ];
        let members = specs.into_iter().map(|spec| (spec, Arc::default())).collect();
        Membership::new(&Rules::of(&upstream(route())), members, None)
    }

    fn route() -> weir_model::Sticky {
        weir_model::Sticky::Route { lookup: Vec::new() }
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
        let (membership, sticky) =
            (membership(), Sticky::new(&upstream(route()), &[]).expect("it is sticky"));
        let hint =
            |wish: &[u8], out: &[usize]| sticky.hint(wish, &membership, 0, |peer| !out.contains(&peer.index));
        assert_eq!(hint(b"", &[]), None, "no wish");
        assert_eq!(hint(b"c", &[]), None, "nobody's id");
        assert_eq!(hint(b"a", &[]), Some(0));
        assert_eq!(hint(b"4af0ff4650207200a5f57d4674264612", &[]), Some(4), "md5 of 127.0.0.1:5");
        assert_eq!(hint(b"a", &[0]), Some(2), "the other one with this route");
        assert_eq!(hint(b"b", &[0, 1]), Some(3), "the backup with this route");
        assert_eq!(hint(b"a", &[0, 2]), Some(0), "neither: the choice knows more");
    }

    #[test]
    fn sessions_stay_while_zone_size_and_upstream_do() {
        let make = |sticky, previous: &[Option<Sticky>]| Sticky::new(&upstream(sticky), previous);
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
        let membership = membership();
        let sticky = Sticky::new(&upstream(learn("z", 65_536)), &[]).expect("it is sticky");
        sticky.sessions().expect("it learns").learn(b"id", &membership.servers[1], true, 0, 10);
        let hint = |wish: &[u8], now| sticky.hint(wish, &membership, now, |_| true);
        assert_eq!(hint(b"id", 9), Some(1));
        assert_eq!(hint(b"id", 10), None, "it is over");
        assert_eq!(hint(b"b", 0), None, "a server's id is no session");
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
