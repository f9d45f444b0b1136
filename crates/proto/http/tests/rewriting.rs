//! Rewrite programs, maps and variables of a configuration, run on a request without a network.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use weir_config::{Environment, Options};
use weir_http::evaluate::{Scope, World, size};
use weir_http::pass::{Target, destination};
use weir_http::redirect::set_cookie;
use weir_http::request::UriState;
use weir_http::rewrite::{Verdict, run};
use weir_http::wire::head::{Field, HeadLimits, Progress, Span};
use weir_http::wire::uri::normalize;
use weir_http::{Facts, Request, Site};
use weir_model::{Builtin, FileTest, Handler, Level, ListenAddress, ProxyTarget, Variable};
use weir_syntax::Source;

struct Text(String);

impl Source for Text {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }

    fn glob(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

impl Environment for Text {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other(format!("no name is known, not {host}")))
    }

    fn hostname(&self) -> String {
        "box.test".to_owned()
    }

    fn effective_uid(&self) -> u32 {
        0
    }
}

/// A machine on which nothing happens; what would be logged is kept.
#[derive(Default)]
struct Still(RefCell<Vec<(Level, String)>>);

impl World for Still {
    fn unix_ms(&self) -> u64 {
        1_500
    }

    fn mono_ms(&self) -> u64 {
        1_500
    }

    fn time(&self, _: Builtin, _: &mut Vec<u8>) {}

    fn hostname(&self) -> &'static str {
        "box.test"
    }

    fn request_id(&self) -> [u8; 32] {
        [b'a'; 32]
    }

    fn realpath(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn file(&self, _: &[u8], _: FileTest) -> bool {
        false
    }

    fn tcp_info(&self, _: Builtin) -> Option<u64> {
        None
    }

    fn connections(&self, _: Builtin) -> u64 {
        0
    }

    fn note(&self, level: Level, line: String) {
        self.0.borrow_mut().push((level, line));
    }
}

struct Run {
    request: Request,
    verdict: Verdict,
    notes: Vec<(Level, String)>,
}

impl Run {
    /// What the program answered.
    fn text(&self) -> String {
        match &self.verdict {
            Verdict::Return { text: Some(text), .. } => String::from_utf8_lossy(text).into_owned(),
            other => panic!("no text but {other:?}"),
        }
    }
}

/// A compiled configuration and a request for a target. `http` stands in the http block.
fn prepared(http: &str, server: &str, target: &str) -> (Site, Request) {
    let text = Text(format!("events {{}} http {{ {http} server {{ listen 127.0.0.1:80; {server} }} }}"));
    let loaded = weir_config::load(&Options::default(), &text).unwrap_or_else(|failure| panic!("{failure}"));
    let site = Site::new(Arc::new(loaded.config)).expect("a configuration that was checked compiles");
    let facts = Facts {
        remote: Some(IpAddr::from([192, 0, 2, 1])),
        remote_port: 999,
        remote_text: "192.0.2.1".to_owned(),
        local: ListenAddress::Unix("/s".to_owned()),
        serial: 1,
        accepted: 0,
        proxied: None,
    };
    let mut request = Request::new(Rc::new(facts));
    request.bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\n").into_bytes();
    let limits = HeadLimits {
        line: 8192,
        buffers: 4,
        first: 1024,
        max_headers: 100,
        ignore_invalid_headers: true,
        underscores_in_headers: false,
    };
    assert_eq!(request.head.advance(&request.bytes, &limits), Ok(Progress::Complete));
    let flags =
        normalize(target.as_bytes(), true, &mut request.uri, &mut request.args).expect("a good target");
    request.quoted = flags.quoted;
    request.location = site.http().servers[0].root;
    (site, request)
}

/// Runs the program of the server's level.
fn served(http: &str, server: &str, target: &str) -> Run {
    let (site, mut request) = prepared(http, server, target);
    let world = Still::default();
    let place = site.place(request.location);
    let verdict = run(&mut request, Scope { site: &site, world: &world }, place);
    Run { request, verdict, notes: world.0.into_inner() }
}

#[test]
fn limit_rate_takes_sizes_and_nothing_else() {
    let run = served("", "set $limit_rate $arg_l; return 200 $limit_rate;", "/?l=40k");
    assert_eq!((run.text().as_str(), run.request.limit_rate), ("40960", Some(40960)));
    let run = served("", "set $limit_rate $arg_l; return 200 $limit_rate;", "/?l=fast");
    assert_eq!((run.text().as_str(), run.request.limit_rate), ("0", None));
    assert_eq!(run.notes, [(Level::Error, "invalid $limit_rate \"fast\"".to_owned())]);
    let run = served("limit_rate 3m;", "return 200 $limit_rate;", "/");
    assert_eq!(run.text(), "3145728");
}

#[test]
fn sizes() {
    assert_eq!(size(b"12k"), Some(12 << 10));
    assert_eq!(size(b"3M"), Some(3 << 20));
    assert_eq!(size(b"77"), Some(77));
    for wrong in [&b""[..], b"k", b"-1", b"1g", b"1 k", b"99999999999999999999"] {
        assert_eq!(size(wrong), None, "{}", wrong.escape_ascii());
    }
}

#[test]
fn set_args_keeps_the_raw_target_from_being_passed_on() {
    let run = served("", "set $args b=2;", "/a%20b?a=1");
    assert_eq!((run.request.args.as_slice(), run.request.uri_state), (&b"b=2"[..], UriState::Changed));
}

#[test]
fn a_variable_that_nothing_set_is_empty_and_said_once() {
    let program = "if ($arg_x) { set $late 1; } return 200 [$late$late];";
    let run = served("", program, "/");
    assert_eq!(run.text(), "[]");
    assert_eq!(run.notes, [(Level::Warn, "using uninitialized \"late\" variable".to_owned())]);
    let run = served("uninitialized_variable_warn off;", program, "/");
    assert!(run.notes.is_empty(), "{:?}", run.notes);
}

#[test]
fn rewrite_log_tells_each_step() {
    let program =
        "rewrite_log on; rewrite ^/no /x; rewrite ^/a(.*)$ /b$1?c=$1; rewrite ^/b http://h/ redirect;";
    let run = served("", program, "/a/1?d=2");
    let lines: Vec<&str> = run.notes.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "\"^/no\" does not match \"/a/1\"",
            "\"^/a(.*)$\" matches \"/a/1\"",
            "rewritten data: \"/b/1\", args: \"c=/1&d=2\"",
            "\"^/b\" matches \"/b/1\"",
            "rewritten redirect: \"http://h/?c=/1&d=2\"",
        ]
    );
    assert!(run.notes.iter().all(|(level, _)| *level == Level::Notice));
}

#[test]
fn an_empty_path_ends_in_500() {
    let run = served("", "rewrite ^ $arg_none break;", "/a");
    assert_eq!(run.verdict, Verdict::Return { status: 500, text: None });
    assert_eq!(run.notes, [(Level::Error, "the rewritten URI has a zero length".to_owned())]);
}

#[test]
fn headers_of_one_name_are_joined_and_maps_remember() {
    let http = "map $arg_a $m { default d; ~^(?<rest>x.*)$ got-$rest; 1 one; } \
                map $arg_a $v { volatile; default $arg_a; }";
    let program = "set $first $m$v; set $args a=1; return 200 $http_x_two:$first:$m:$v;";
    assert_eq!(served(http, program, "/?a=xyz").text(), "1, 2:got-xyzxyz:got-xyz:1");
    assert_eq!(served(http, program, "/?a=1").text(), "1, 2:one1:one:1");
}

#[test]
fn geo_finds_the_narrowest_network() {
    let http = "geo $arg_ip $g { default none; ranges; 10.0.0.0-10.255.255.255 wide; 10.1.0.0-10.1.0.255 narrow; } \
                geo $n { default far; 192.0.2.0/24 near; 192.0.2.1 self; }";
    for (address, value) in
        [("10.1.0.9", "narrow"), ("10.1.1.0", "wide"), ("10.0.0.1", "wide"), ("11.0.0.0", "none")]
    {
        assert_eq!(
            served(http, "return 200 $g:$n;", &format!("/?ip={address}")).text(),
            format!("{value}:self")
        );
    }
}

#[test]
fn the_status_of_an_error_page_is_the_status() {
    let mut run = served("", "set $x 1;", "/");
    run.request.answer.status = 200;
    run.request.error_status = 404;
    let text = Text("events {} http { server { listen 127.0.0.1:80; } }".to_owned());
    let loaded = weir_config::load(&Options::default(), &text).unwrap_or_else(|failure| panic!("{failure}"));
    let site = Site::new(Arc::new(loaded.config)).expect("a configuration that was checked compiles");
    let world = Still::default();
    let mut out = Vec::new();
    let status = Variable::Builtin(Builtin::Status);
    assert!(run.request.variable(Scope { site: &site, world: &world }, &status, &mut out));
    assert_eq!(out, b"404");
}

#[test]
fn a_cookie_domain_keeps_its_leading_dot() {
    let (site, mut request) = prepared("", "proxy_cookie_domain .a.test b.test;", "/");
    let world = Still::default();
    let place = site.place(request.location);
    let mut changed = |value: &[u8]| {
        let new = set_cookie(&mut request, Scope { site: &site, world: &world }, place, value);
        new.map(|new| String::from_utf8_lossy(&new).into_owned())
    };
    assert_eq!(changed(b"v=1; Domain=.A.test; Secure").as_deref(), Some("v=1; Domain=.b.test; Secure"));
    assert_eq!(changed(b"v=1; Domain=a.test").as_deref(), Some("v=1; Domain=b.test"));
    assert_eq!(changed(b"v=1; Domain=x.a.test"), None);
}

#[test]
fn an_upstream_cookie_may_have_spaces_around_but_no_tabs() {
    let (site, mut request) = prepared("", "", "/");
    let world = Still::default();
    for (line, value) in [
        ("tc = a b ; Path=/", Some("a b ")),
        ("TC==;x", Some("=")),
        ("tc\t=a", None),
        ("=tc=a", None),
        ("tcx=a", None),
        ("tc", None),
    ] {
        request.upstream.bytes = line.as_bytes().to_vec();
        request.upstream.bytes.extend_from_slice(b"set-cookie");
        let (end, all) = (line.len() as u32, request.upstream.bytes.len() as u32);
        let (value_at, name) = (Span { start: 0, end }, Span { start: end, end: all });
        request.upstream.fields = vec![Field { name, value: value_at }];
        let mut out = Vec::new();
        let cookie = Variable::UpstreamCookie("tc".into());
        let found = request.variable(Scope { site: &site, world: &world }, &cookie, &mut out);
        assert_eq!(found.then(|| String::from_utf8_lossy(&out).into_owned()).as_deref(), value, "{line}");
    }
}

#[test]
fn proxy_pass_with_variables_finds_groups_by_name_and_port() {
    let server = "location /a { proxy_pass http://127.0.0.1:81; } location /b { proxy_pass http://u; } \
                  location /v { proxy_pass http://$arg_to; }";
    let http = "upstream u { server 127.0.0.1:82; }";
    let target = |to: &str| {
        let (site, mut request) = prepared(http, server, &format!("/v?to={to}"));
        let world = Still::default();
        let pass = site.places.iter().find_map(|place| match &place.handler {
            Handler::Proxy(pass) if matches!(pass.target, ProxyTarget::Template(_)) => {
                Some(pass.target.clone())
            }
            _ => None,
        });
        let pass = pass.expect("one location has variables");
        let found = destination(&mut request, Scope { site: &site, world: &world }, &pass);
        match found.expect("a good URL").target {
            Target::Upstream(index) => site.http().upstreams[index].name.clone(),
            Target::Host { host, port } => format!("{host} {port}"),
            Target::Unix(path) => path,
        }
    };
    assert_eq!(target("U"), "u");
    assert_eq!(target("127.0.0.1:81"), "127.0.0.1");
    assert_eq!(target("u:81"), "u 81");
    assert_eq!(target("127.0.0.1"), "127.0.0.1 80");
}

#[test]
fn request_method_follows_redirects_but_not_subrequests() {
    let (site, mut request) = prepared("", "", "/");
    let world = Still::default();
    let shown = |request: &mut Request| {
        let mut out = Vec::new();
        let method = Variable::Builtin(Builtin::RequestMethod);
        request.variable(Scope { site: &site, world: &world }, &method, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    assert_eq!(shown(&mut request), "GET");
    request.method = b"HEAD".to_vec();
    assert_eq!(shown(&mut request), "HEAD");
    request.is_sub = true;
    assert_eq!(shown(&mut request), "GET");
}
