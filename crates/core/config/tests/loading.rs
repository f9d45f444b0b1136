//! What files mean: inheritance, names, groups, programs.

mod support;

use std::net::SocketAddr;

use support::{Machine, error, http, options};
use weir_model::rewrite::AfterRewrite;
use weir_model::{
    Condition, Handler, Http, ListenAddress, Location, LocationKind, MapKey, Method, Millis, Part,
    ProxyTarget, Rewrite, ServerName, Sticky, Template, Variable, VariableSource, WorkerCount,
};

fn root(http: &Http, server: usize) -> &Location {
    at(http, http.servers[server].root)
}

fn at(http: &Http, id: weir_model::LocationId) -> &Location {
    &http.locations[id.0 as usize]
}

fn child<'h>(http: &'h Http, outer: &Location, index: usize) -> &'h Location {
    at(http, outer.children[index])
}

fn inet(text: &str) -> ListenAddress {
    ListenAddress::Inet(text.parse::<SocketAddr>().expect("the test writes addresses"))
}

fn target(location: &Location) -> &ProxyTarget {
    match &location.handler {
        Handler::Proxy(pass) => &pass.target,
        other => panic!("it is no proxy: {other:?}"),
    }
}

#[test]
fn the_main_level() {
    let text = "daemon off; master_process off; user www data; pid run/w.pid; worker_processes auto;\n\
                worker_rlimit_nofile 4096; worker_shutdown_timeout 10s; working_directory /tmp; env A; env B=c;\n\
                worker_priority -5; pcre_jit on; thread_pool default threads=4;\n\
                events { worker_connections 99; use epoll; multi_accept on; }";
    let process = Machine::with(text).load().expect("it is right").config.process;
    assert!(!process.daemon && !process.master_process);
    assert_eq!(
        process.user.map(|user| (user.name, user.group)),
        Some(("www".to_owned(), Some("data".to_owned())))
    );
    assert_eq!(process.pid, "/w/run/w.pid");
    assert_eq!(process.worker_processes, WorkerCount::Auto);
    assert_eq!((process.worker_connections, process.worker_rlimit_nofile), (99, Some(4096)));
    assert_eq!(process.worker_shutdown_timeout, Millis(10_000));
    assert_eq!(process.env, ["A", "B=c"]);
}

#[test]
fn defaults_of_the_main_level() {
    let machine = Machine { uid: 1000, ..Machine::with("events {}\nhttp { server { } }") };
    let loaded = machine.load().expect("it is right");
    let process = &loaded.config.process;
    assert_eq!(process.pid, "/w/logs/nginx.pid");
    assert_eq!(process.worker_processes, WorkerCount::Fixed(1));
    assert_eq!(process.error_log.len(), 1);
    assert_eq!(process.error_log[0].target, weir_model::LogTarget::File("/w/logs/error.log".to_owned()));
    let http = loaded.config.http.expect("there is http");
    assert_eq!(http.listeners[0].address, inet("0.0.0.0:8000"));
}

#[test]
fn the_command_line_gives_paths_and_directives() {
    let machine = Machine::with("events {}");
    let options = weir_config::Options {
        globals: Some("pid /run/x.pid; daemon off;".to_owned()),
        error_log: Some("early.log".to_owned()),
        ..options()
    };
    let process = weir_config::load(&options, &machine).expect("it is right").config.process;
    assert_eq!(process.pid, "/run/x.pid");
    assert!(!process.daemon);
    assert_eq!(process.error_log[0].target, weir_model::LogTarget::File("/w/early.log".to_owned()));
}

#[test]
fn the_user_is_ignored_without_root() {
    let machine = Machine { uid: 1000, ..Machine::with("user www;\nevents {}") };
    let warnings = machine.load().expect("it is right").warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.starts_with(r#"the "user" directive makes sense only if"#));
}

#[test]
fn listeners_gather_servers() {
    let http = http(
        "server { listen 80; listen [::]:80 ipv6only=off; listen unix:/run/w.sock; server_name a; }\n\
         server { listen 80 default_server backlog=7; server_name b; }\n\
         server { listen 127.0.0.1:9000-9002 proxy_protocol; listen pair.test:81 so_keepalive=1m::3; }",
    );
    let find =
        |address| http.listeners.iter().find(|listener| listener.address == address).expect("it listens");
    let shared = find(inet("0.0.0.0:80"));
    assert_eq!((shared.servers.as_slice(), shared.default_server), (&[0, 1][..], 1));
    assert_eq!(shared.options.backlog, 7);
    assert!(!find(inet("[::]:80")).options.ipv6only);
    assert_eq!(find(ListenAddress::Unix("/run/w.sock".to_owned())).servers, [0]);
    assert!(find(inet("127.0.0.1:9002")).options.proxy_protocol);
    let tuned = weir_model::KeepAlive::Tuned { idle: Some(60), interval: None, count: Some(3) };
    assert_eq!(find(inet("10.0.0.2:81")).options.so_keepalive, Some(tuned));
    assert_eq!(http.listeners.len(), 8);
}

#[test]
fn server_names_have_kinds() {
    let http =
        http("server { server_name A.test *.b.test .c.test www.* \"\" $hostname ~^(?<who>.+)\\.Test$; }");
    let names = &http.servers[0].names;
    assert_eq!(
        names[..6],
        [
            ServerName::Exact("a.test".to_owned()),
            ServerName::Suffix("b.test".to_owned()),
            ServerName::SuffixOrExact("c.test".to_owned()),
            ServerName::Prefix("www".to_owned()),
            ServerName::Exact(String::new()),
            ServerName::Exact("box.test".to_owned()),
        ]
    );
    let ServerName::Regex(regex) = &names[6] else { panic!("{:?}", names[6]) };
    assert!(regex.caseless, "a capital letter in the pattern");
    assert_eq!(regex.names, [(1, 0)]);
    assert_eq!(http.variables[0].name, "who");
}

#[test]
fn servers_inherit_scalars_from_http() {
    let http = http(
        "client_header_timeout 5s;\nserver { }\nserver { client_header_timeout 1m; merge_slashes off; }\nmax_headers 7;",
    );
    assert_eq!(http.servers[0].client_header_timeout, Millis(5000));
    assert_eq!(http.servers[1].client_header_timeout, Millis(60_000));
    assert!(http.servers[0].merge_slashes && !http.servers[1].merge_slashes);
    assert_eq!(http.servers[0].max_headers, 7, "a directive behind the block counts for it");
}

#[test]
fn locations_nest() {
    let http = http(
        "server { location = /a { internal; } location ^~ /b/ { location /b/c { } location ~* \\.PNG$ { } } \
         location @n { } location ~^/r { } location =/s { } }",
    );
    let root = root(&http, 0);
    let kinds: Vec<_> = root.children.iter().map(|id| at(&http, *id).kind.name().to_owned()).collect();
    assert_eq!(kinds, ["/a", "/b/", "@n", "^/r", "/s"]);
    assert!(child(&http, root, 0).internal);
    let outer = child(&http, root, 1);
    assert_eq!(outer.kind, LocationKind::PrefixNoRegex("/b/".to_owned()));
    assert_eq!(child(&http, outer, 0).kind, LocationKind::Prefix("/b/c".to_owned()));
    let LocationKind::Regex(regex) = &child(&http, outer, 1).kind else { panic!("no regex") };
    assert!(regex.caseless);
    assert_eq!(child(&http, root, 4).kind, LocationKind::Exact("/s".to_owned()));
}

#[test]
fn a_location_inside_an_alias_keeps_its_rest() {
    let http = http("server { location /a/ { alias /srv/x/; location /a/b/ { } } }");
    let outer = child(&http, root(&http, 0), 0);
    let inner = child(&http, outer, 0);
    let text: String = inner.settings.files.root.0.iter().map(|part| format!("{part:?}")).collect();
    assert_eq!(text, r#"Text("/srv/x/")Text("b/")"#);
    assert!(inner.settings.files.alias);
}

#[test]
fn proxy_pass_finds_or_makes_groups() {
    let http = http(
        "server { location /a/ { proxy_pass http://APP/x?y; } location /b { proxy_pass http://pair.test:81; }\n\
         location /c { proxy_pass http://pair.test:81/; } location /d { proxy_pass http://pair.test; }\n\
         location /e { proxy_pass http://unix:/run/b.sock:/u; } location /f { proxy_pass http://$host$uri; } \n\
         location /g { proxy_pass http://[::1]:8080; } }\n\
         upstream app { server 10.0.0.9:8080; }",
    );
    let root = root(&http, 0);
    let group = |index| match target(child(&http, root, index)) {
        ProxyTarget::Group { upstream, host, port, uri } => {
            (http.upstreams[*upstream].name.as_str(), host.as_str(), port.as_str(), uri.as_deref())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(group(0), ("app", "APP", "80", Some("/x?y")));
    assert_eq!(group(1), ("pair.test", "pair.test:81", "81", None));
    assert_eq!(group(2), ("pair.test", "pair.test:81", "81", Some("/")));
    assert_eq!(group(3), ("pair.test", "pair.test", "80", None));
    assert_eq!(group(4), ("/run/b.sock", "localhost", "", Some("/u")));
    assert_eq!(group(6), ("[::1]", "[::1]:8080", "8080", None));
    assert!(matches!(target(child(&http, root, 5)), ProxyTarget::Template(_)));
    let pairs: Vec<_> = http.upstreams.iter().filter(|upstream| upstream.name == "pair.test").collect();
    assert_eq!(pairs.iter().map(|upstream| upstream.port).collect::<Vec<_>>(), [81, 80]);
    assert_eq!(
        pairs[0].peers.iter().map(|peer| peer.address.clone()).collect::<Vec<_>>(),
        [inet("10.0.0.1:81"), inet("10.0.0.2:81")]
    );
    assert_eq!(pairs[0].peers[0].server, "pair.test:81");
    assert!(pairs[0].implicit && pairs[0].keepalive.connections == 0);
}

#[test]
fn upstream_blocks() {
    let http = http(
        "upstream a { server 10.0.0.1 weight=3 max_fails=0 fail_timeout=1m max_conns=9 down route=r; server unix:/s backup;\n\
         server pair.test:90 drain; keepalive 5 local; keepalive_requests 6; keepalive_time 7s; keepalive_timeout 8s; zone z 64k; }\n\
         upstream b { hash $uri$is_args consistent; server 10.0.0.1; }\n\
         upstream c { random two least_conn; server 10.0.0.1; }\n\
         upstream d { least_time last_byte inflight; server 10.0.0.1; sticky cookie id expires=1h path=/ httponly samesite=lax; }\n\
         upstream e { server 10.0.0.1; sticky learn create=$cookie_a lookup=$arg_b zone=s:1m timeout=5m; }",
    );
    let a = &http.upstreams[0];
    assert_eq!(a.peers.len(), 4);
    let peer = &a.peers[0];
    assert_eq!(peer.address, inet("10.0.0.1:80"));
    assert_eq!((peer.weight, peer.max_fails, peer.fail_timeout, peer.max_conns), (3, 0, Millis(60_000), 9));
    assert!(peer.down && peer.route.as_deref() == Some("r") && !peer.backup);
    assert_eq!(a.peers[1].address, ListenAddress::Unix("/s".to_owned()));
    assert!(a.peers[1].backup && a.peers[3].drain);
    assert_eq!(a.peers[3].server, "pair.test:90");
    assert_eq!((a.keepalive.connections, a.keepalive.requests), (5, 6));
    assert_eq!((a.keepalive.time, a.keepalive.timeout), (Millis(7000), Millis(8000)));
    assert_eq!(a.zone.as_deref(), Some("z"));
    assert!(matches!(&http.upstreams[1].method, Method::Hash { consistent: true, key } if key.0.len() == 2));
    assert_eq!(http.upstreams[1].keepalive.connections, 32);
    assert_eq!(http.upstreams[2].method, Method::Random { two: true });
    assert_eq!(http.upstreams[3].method, Method::LeastTime { last_byte: true, inflight: true });
    assert!(matches!(
        &http.upstreams[3].sticky,
        Some(Sticky::Cookie { expires: Some(3600), httponly: true, .. })
    ));
    assert!(matches!(&http.upstreams[4].sticky, Some(Sticky::Learn { timeout: Millis(300_000), .. })));
}

#[test]
fn if_blocks_copy_the_level_around_them() {
    let http = http(
        "server { if ($host = a) { set $x 1; return 403; } location /p/ { \n\
         if ($http_user_agent ~* phone) { proxy_pass http://app.test; }\n\
         set $y $1; if (!-f /x$uri) { break; } proxy_pass http://pair.test/z; } }",
    );
    let root = root(&http, 0);
    let Rewrite::If { condition, then, location } = &root.rewrite[0] else { panic!("{:?}", root.rewrite) };
    assert!(matches!(condition, Condition::Equal { negate: false, .. }));
    assert_eq!((then.len(), *location), (2, None));
    let p = child(&http, root, 0);
    assert_eq!(p.rewrite.len(), 3);
    let Rewrite::If { condition: Condition::Match { regex, .. }, location: Some(id), .. } = &p.rewrite[0]
    else {
        panic!("{:?}", p.rewrite)
    };
    assert!(regex.caseless);
    assert_eq!(at(&http, *id).kind, LocationKind::Nameless("/p/".to_owned()));
    assert!(matches!(target(at(&http, *id)), ProxyTarget::Group { host, .. } if host == "app.test"));
    let Rewrite::If { condition, then, location: Some(id) } = &p.rewrite[2] else {
        panic!("{:?}", p.rewrite)
    };
    assert!(matches!(condition, Condition::File { negate: true, .. }));
    assert_eq!(then, &[Rewrite::Break]);
    assert_eq!(at(&http, *id).handler, p.handler, "the target of the level around it, its URI included");
}

#[test]
fn limit_except_keeps_the_proxy_and_knows_head() {
    let http = http("server { location / { proxy_pass http://app.test; limit_except get POST { } } }");
    let location = child(&http, root(&http, 0), 0);
    let (methods, id) = location.limit_except.as_ref().expect("it is there");
    assert_eq!(methods, &["GET", "HEAD", "POST"]);
    assert_eq!(at(&http, *id).handler, location.handler);
}

#[test]
fn rewrites() {
    let http = http(
        "server { rewrite ^/a$ /b? last; rewrite ^/(?<rest>.*)$ http://x.test/$rest permanent; rewrite ^/c $scheme://y break; \n\
         rewrite ^/d /e; return 301 https://$host$request_uri; return http://x.test; return 204; return 200 ''; }",
    );
    let program = &root(&http, 0).rewrite;
    let flags: Vec<_> = program
        .iter()
        .filter_map(|step| match step {
            Rewrite::Rewrite { flag, .. } => Some((flag.then, flag.keep_args)),
            _ => None,
        })
        .collect();
    assert_eq!(
        flags,
        [
            (AfterRewrite::Last, false),
            (AfterRewrite::Permanent, true),
            (AfterRewrite::Redirect, true),
            (AfterRewrite::Next, true),
        ]
    );
    assert!(matches!(&program[4], Rewrite::Return { status: 301, text: Some(text) } if text.0.len() == 3));
    assert!(matches!(&program[5], Rewrite::Return { status: 302, text: Some(_) }));
    assert_eq!(program[6], Rewrite::Return { status: 204, text: None });
    assert_eq!(program[7], Rewrite::Return { status: 200, text: Some(Template::default()) });
}

#[test]
fn a_user_variable_wins_over_a_family() {
    let http = http("server { return 200 $arg_page$arg_other$ARGS; set $arg_page 1; set $args x; }");
    let program = &root(&http, 0).rewrite;
    let Rewrite::Return { text: Some(text), .. } = &program[0] else { panic!("{program:?}") };
    assert_eq!(
        text.0,
        [
            Part::Variable(Variable::User(0)),
            Part::Variable(Variable::Arg("other".to_owned())),
            Part::Variable(Variable::Builtin(weir_model::Builtin::Args)),
        ]
    );
    assert!(matches!(
        program[2],
        Rewrite::Set { variable: Variable::Builtin(weir_model::Builtin::Args), .. }
    ));
}

#[test]
fn maps() {
    let http = http(
        "map $host$uri $m { hostnames; volatile; default d$1; a.test 1; *.b.test 2; .c.test 3; www.* 4; ~*^/(?<x>.)$ $x; \\default 5; }\n\
         map $m $n { *.b.test plain; }\nserver { return 200 $n; set $m over; }",
    );
    let map = &http.maps[0];
    assert!(map.hostnames && map.volatile);
    assert_eq!(map.default.0, [Part::Text("d".to_owned()), Part::Capture(1)]);
    let keys: Vec<_> = map.entries.iter().map(|(key, _)| key).collect();
    assert_eq!(
        [keys[0], keys[1], keys[2], keys[3], keys[5]],
        [
            &MapKey::Exact("a.test".to_owned()),
            &MapKey::Suffix("b.test".to_owned()),
            &MapKey::SuffixOrExact("c.test".to_owned()),
            &MapKey::Prefix("www".to_owned()),
            &MapKey::Exact("default".to_owned()),
        ]
    );
    assert!(matches!(keys[4], MapKey::Regex(regex) if regex.caseless && regex.source == "^/(?<x>.)$"));
    assert_eq!(http.maps[1].entries[0].0, MapKey::Exact("*.b.test".to_owned()));
    let m = http.variables.iter().find(|variable| variable.name == "m").expect("it is defined");
    assert_eq!(m.source, VariableSource::Map(0), "set changes the value, not where it comes from");
}

#[test]
fn maps_include_files() {
    let text = "events {}\nhttp { map $host $m { include maps/*.map; } server { } }";
    let machine = Machine::with(text).file("/w/maps/a.map", "a 1;\nb 2;\n").file("/w/maps/b.map", "c 3;");
    let http = machine.load().expect("it is right").config.http.expect("there is http");
    assert_eq!(http.maps[0].entries.len(), 3);
}

#[test]
fn geos() {
    let http = http(
        "geo $a { default 0; 10.0.0.0/8 1; 10.1.0.0/16 2; delete 10.1.0.0/16; ::1 3; proxy 192.168.0.0/24; proxy_recursive; }\n\
         geo $arg_ip $b { ranges; default x; 10.0.0.0-10.0.0.9 y; 10.0.0.3-10.0.0.4 z; }\nserver { return 200 $a$b; }",
    );
    let a = &http.geos[0];
    assert_eq!((a.default.as_str(), a.ranges.len(), a.proxies.len(), a.proxy_recursive), ("0", 2, 1, true));
    let b = &http.geos[1];
    assert_eq!(b.input.as_ref().map(|input| input.0.len()), Some(1));
    let ranges: Vec<_> = b.ranges.iter().map(|(from, to, value)| format!("{from}-{to} {value}")).collect();
    assert_eq!(ranges, ["10.0.0.0-10.0.0.2 y", "10.0.0.3-10.0.0.4 z", "10.0.0.5-10.0.0.9 y"]);
}

#[test]
fn shares() {
    let http = http("split_clients $uri $s { 50% a; 0.5% b; * c; }\nserver { return 200 $s; }");
    let bounds: Vec<_> = http.splits[0].parts.iter().map(|(bound, _)| *bound).collect();
    assert_eq!(bounds, [2_147_483_646, 2_168_958_482, u32::MAX]);
}

#[test]
fn handlers() {
    let http = http("server { location /s { stub_status; } location /g { empty_gif; } location /f { } }");
    let root = root(&http, 0);
    let handlers: Vec<_> = (0..3).map(|i| child(&http, root, i).handler.clone()).collect();
    assert_eq!(handlers, [Handler::StubStatus, Handler::EmptyGif, Handler::Static]);
}

#[test]
fn a_file_without_http_is_fine() {
    assert!(Machine::with("events {}").load().expect("it is right").config.http.is_none());
    assert_eq!(error("server { }"), "it loads");
}
