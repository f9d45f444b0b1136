//! What each setting becomes, how levels inherit it, and what is refused.

mod support;

use std::net::{IpAddr, Ipv4Addr};

use support::{error, http, warnings};
use weir_model::location::{
    AccessRule, ErrorPage, Expires, Fallback, LimitConn, LimitReq, LogFileCache, Network, Overwrite,
};
use weir_model::log::AccessTarget;
use weir_model::proxy::{CookiePattern, Redirects};
use weir_model::{
    Builtin, Escape, Http, Level, LogTarget, Millis, NextUpstream, Part, Settings, Template, Variable,
};

/// The settings of the location with this name.
fn settings<'a>(http: &'a Http, name: &str) -> &'a Settings {
    let found = http.locations.iter().find(|location| location.kind.name() == name);
    &found.unwrap_or_else(|| panic!("there is no location {name}")).settings
}

/// The settings of one location with these lines.
fn location(lines: &str) -> Settings {
    settings(&http(&format!("server {{ location /x/ {{ {lines} }} }}")), "/x/").clone()
}

#[track_caller]
fn refused(lines: &str, expected: &str) {
    assert_eq!(error(lines), format!("{expected} in /w/nginx.conf:3"), "{lines}");
}

/// nginx compares settings when the http block ends, which is on line 4 here.
#[track_caller]
fn refused_at_the_end(lines: &str, expected: &str) {
    assert_eq!(error(lines), format!("{expected} in /w/nginx.conf:4"), "{lines}");
}

fn text(text: &str) -> Template {
    Template::text(text)
}

#[test]
fn simple_settings_reach_inner_levels() {
    let http = http(
        "client_max_body_size 2g; keepalive_timeout 30s 20s; tcp_nopush on; proxy_read_timeout 90;
         server { client_body_timeout 5s; location /a { client_max_body_size 0; location /a/b { } } }",
    );
    let (outer, inner) = (settings(&http, "/a"), settings(&http, "/a/b"));
    assert_eq!(settings(&http, "").client.max_body_size, 2 << 30);
    assert_eq!(outer, inner);
    assert_eq!(inner.client.max_body_size, 0);
    assert_eq!(inner.client.keepalive_timeout, Millis(30_000));
    assert_eq!(inner.client.keepalive_header, Some(20));
    assert_eq!(inner.client.body_timeout, Millis(5000));
    assert_eq!(inner.proxy.read_timeout, Millis(90_000));
    assert!(inner.client.tcp_nopush && inner.client.tcp_nodelay);
}

#[test]
fn lists_are_inherited_only_where_a_level_has_none() {
    let http = http(
        "add_header A 1; proxy_set_header Host a; proxy_set_header X ''; allow 10.0.0.0/8; deny all;
         server { location /a { add_header B $host always; deny all; } location /b { proxy_set_header Y 1; } }",
    );
    let (a, b) = (settings(&http, "/a"), settings(&http, "/b"));
    let names = |settings: &Settings| -> Vec<String> {
        settings.response.add_headers.iter().map(|header| header.name.clone()).collect()
    };
    assert_eq!(names(a), ["B"]);
    assert!(a.response.add_headers[0].always);
    assert_eq!(
        a.response.add_headers[0].value,
        Template(vec![Part::Variable(Variable::Builtin(Builtin::Host))])
    );
    assert_eq!(names(b), ["A"]);
    assert_eq!(a.proxy.set_headers, [("Host".to_owned(), text("a")), ("X".to_owned(), text(""))]);
    assert_eq!(b.proxy.set_headers, [("Y".to_owned(), text("1"))]);
    assert_eq!(a.access.rules, [AccessRule { allow: false, who: Network::All }]);
    let ten = Network::Net(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8);
    assert_eq!(b.access.rules[0], AccessRule { allow: true, who: ten });
    assert_eq!(b.access.rules.len(), 2);
}

#[test]
fn buffers_that_nobody_sized_follow_the_others() {
    let proxy = location("proxy_buffer_size 16k; proxy_buffers 4 32k;").proxy;
    assert_eq!((proxy.busy_buffers_size, proxy.temp_file_write_size), (64 << 10, 64 << 10));
    let proxy = location("proxy_busy_buffers_size 16k; proxy_buffer_size 16k; proxy_buffers 4 8k;").proxy;
    assert_eq!(proxy.busy_buffers_size, 16 << 10);
    let http =
        http("proxy_buffers 8 64k; server { location /x { proxy_buffers 8 8k; proxy_buffer_size 8k; } }");
    assert_eq!(settings(&http, "/x").proxy.busy_buffers_size, 16 << 10);
}

#[test]
fn buffers_that_contradict_each_other_are_refused() {
    refused_at_the_end("server { proxy_buffers 1 4k; }", r#"there must be at least 2 "proxy_buffers""#);
    refused_at_the_end(
        "server { proxy_buffer_size 64k; }",
        r#""proxy_busy_buffers_size" must be less than the size of all "proxy_buffers" minus one buffer"#,
    );
    let largest = r#"the maximum of the value of "proxy_buffer_size" and one of the "proxy_buffers""#;
    refused_at_the_end(
        "server { proxy_busy_buffers_size 2k; }",
        &format!(r#""proxy_busy_buffers_size" must be equal to or greater than {largest}"#),
    );
    refused_at_the_end(
        "server { proxy_temp_file_write_size 2k; }",
        &format!(r#""proxy_temp_file_write_size" must be equal to or greater than {largest}"#),
    );
    let machine = support::Machine::with("events {}\nhttp { server { proxy_buffer_size 64k; } }");
    let failure = machine.load().expect_err("the buffers are too few");
    assert_eq!(
        failure.first().expect("an error").help,
        [
            "it is 131072 (twice the larger of proxy_buffer_size and one buffer when it is not set) and 8 buffers of \
          4096 leave 28672; set proxy_busy_buffers_size to 28672, or proxy_buffers to 33 4096"
        ]
    );
}

#[test]
fn next_upstream() {
    let next = |words: &str| location(&format!("proxy_next_upstream {words};")).proxy.next_upstream;
    assert_eq!(next("http_503 ERROR"), NextUpstream { error: true, http_503: true, ..NextUpstream::OFF });
    assert_eq!(next("error off"), NextUpstream::OFF);
    refused("proxy_next_upstream http_501;", r#"invalid value "http_501""#);
    assert_eq!(
        warnings("proxy_next_upstream error error;"),
        [r#"duplicate value "error" in /w/nginx.conf:3"#]
    );
}

#[test]
fn redirects() {
    let redirect = |lines: &str| location(lines).proxy.redirect;
    assert_eq!(redirect("proxy_pass http://10.0.0.1/y/;"), Redirects::Default);
    assert_eq!(redirect("proxy_redirect off;"), Redirects::Off);
    let pair = |from: &str, to: &str| (CookiePattern::Text(text(from)), text(to));
    assert_eq!(
        redirect("proxy_pass http://10.0.0.1/y/; proxy_redirect default; proxy_redirect http://z/ /;"),
        Redirects::List(vec![pair("http://10.0.0.1/y/", "/x/"), pair("http://z/", "/")])
    );
    assert_eq!(
        redirect("proxy_pass http://10.0.0.1; proxy_redirect default;"),
        Redirects::List(vec![pair("http://10.0.0.1/", "/")])
    );
    let Redirects::List(list) = redirect(r"proxy_redirect ~*^http://(?<rest>.+)$ https://$rest;") else {
        panic!("a list is expected");
    };
    assert!(matches!(&list[0].0, CookiePattern::Regex(regex) if regex.caseless && regex.names.len() == 1));
    refused("proxy_redirect on;", r#"invalid parameter "on""#);
    refused("proxy_redirect off; proxy_redirect a b;", r#""proxy_redirect" directive is duplicate"#);
    refused(
        "server { location / { proxy_redirect default; } }",
        r#""proxy_redirect default" should be placed after the "proxy_pass" directive"#,
    );
    refused(
        "server { location / { proxy_pass http://$host; proxy_redirect default; } }",
        r#""proxy_redirect default" cannot be used with "proxy_pass" directive with variables"#,
    );
}

#[test]
fn cookies() {
    let proxy = location(
        "proxy_cookie_domain .a.test .b.test; proxy_cookie_path ~^/(.*) /$1; proxy_cookie_flags ~sid secure samesite=lax;",
    )
    .proxy;
    assert_eq!(proxy.cookie_domain, [(CookiePattern::Text(text("a.test")), text("b.test"))]);
    assert!(matches!(&proxy.cookie_path[0].0, CookiePattern::Regex(regex) if !regex.caseless));
    assert_eq!(proxy.cookie_path[0].1, Template(vec![Part::Text("/".to_owned()), Part::Capture(1)]));
    assert_eq!(proxy.cookie_flags[0].flags, [text("secure"), text("samesite=lax")]);
    refused("proxy_cookie_path a b; proxy_cookie_path off;", r#""proxy_cookie_path" directive is duplicate"#);
    refused("proxy_cookie_domain x;", r#"invalid parameter "x""#);
}

#[test]
fn error_pages() {
    let pages =
        location("error_page 404 =200 /a; error_page 500 502 /b; error_page 403 = @c; error_page 497 /d;");
    let page = |status, overwrite, target: &str| ErrorPage { status, overwrite, target: text(target) };
    assert_eq!(
        pages.error_pages,
        [
            page(404, Overwrite::Status(200), "/a"),
            page(500, Overwrite::Keep, "/b"),
            page(502, Overwrite::Keep, "/b"),
            page(403, Overwrite::Answer, "@c"),
            page(497, Overwrite::Status(400), "/d"),
        ]
    );
    refused("error_page 200 /a;", r#"value "200" must be between 300 and 599"#);
    refused("error_page 499 /a;", r#"invalid value "499""#);
    refused("error_page =200 /a;", r#"invalid value "=200""#);
    refused("error_page 404 =x /a;", r#"invalid value "=x""#);
}

#[test]
fn files() {
    let files = |lines: &str| location(lines).files;
    assert_eq!(files("").root, text("/w/html"));
    assert_eq!(files("root data/;").root, text("/w/data"));
    assert_eq!(files("root /;").root, text(""));
    assert_eq!(files("root $host/a;").root.0.len(), 2);
    let alias = files("alias /srv/a/;");
    assert_eq!((alias.root, alias.alias), (text("/srv/a/"), true));
    let tried = files("try_files $uri $uri/ =404;").try_files.expect("it is set");
    assert_eq!((tried.files.len(), tried.fallback), (2, Fallback::Status(404)));
    let types = files("types { text/x a B; text/y c; } types { text/z D; }").types;
    let pairs: Vec<_> = types.iter().map(|(ending, name)| (ending.as_str(), name.as_str())).collect();
    assert_eq!(pairs, [("a", "text/x"), ("b", "text/x"), ("c", "text/y"), ("d", "text/z")]);
    refused(
        "server { location / { root a; alias b; } }",
        r#""alias" directive is duplicate, "root" directive was specified earlier"#,
    );
    refused(
        "server { location @n { alias a; } }",
        r#"the "alias" directive cannot be used inside the named location"#,
    );
    refused("root $document_root;", r#"the $document_root variable cannot be used in the "root" directive"#);
    refused("server { try_files a =x; }", r#"invalid code "=x""#);
    assert_eq!(
        warnings("types { a/b x; c/d X; }"),
        [r#"duplicate extension "X", content type: "c/d", previous content type: "a/b" in /w/nginx.conf:3"#]
    );
}

#[test]
fn answers() {
    let response =
        location("gzip on; gzip_types text/css; gzip_types text/CSS; expires -1h; charset utf-8;").response;
    assert!(response.gzip.on);
    assert_eq!(response.gzip.types, ["text/html", "text/css"]);
    assert_eq!(response.expires, Some(Expires { modified: false, time: text("-1h") }));
    assert_eq!(response.charset, Some(text("utf-8")));
    let response = location("gzip_types *; gzip_proxied any off; expires off; server_tokens off;").response;
    assert_eq!(response.gzip.types, ["*"]);
    assert!(response.gzip.proxied.is_empty() && response.expires.is_none() && !response.server_tokens);
    assert_eq!(location("mirror /a; mirror /b;").mirror, ["/a", "/b"]);
    refused("gzip_comp_level 10;", "value must be between 1 and 9");
    refused("expires x;", r#""expires" directive invalid value"#);
    refused("expires @25h;", r#""expires" directive daily time value must be less than 24 hours"#);
    refused("add_header A b c;", r#"invalid parameter "c""#);
    refused("mirror off; mirror /a;", r#""mirror" directive is duplicate"#);
}

#[test]
fn access() {
    let access = location(
        "satisfy any; auth_basic 'closed'; auth_basic_user_file users; auth_request /auth;
         auth_request_set $who $upstream_http_x_user; set_real_ip_from 10.0.0.0/8; set_real_ip_from unix:;
         set_real_ip_from pair.test; real_ip_header X-Forwarded-For; real_ip_recursive on;",
    )
    .access;
    assert!(access.satisfy_any && access.real_ip.recursive);
    assert_eq!(access.auth_basic, Some(text("closed")));
    assert_eq!(access.auth_basic_user_file, Some(text("/w/users")));
    assert_eq!(access.auth_request.as_deref(), Some("/auth"));
    assert_eq!(access.auth_request_set.len(), 1);
    assert_eq!(access.real_ip.from.len(), 4);
    assert_eq!(access.real_ip.header, "x-forwarded-for");
    assert_eq!(location("auth_basic off; auth_request off;").access.auth_basic, None);
    refused("deny 10.0.0;", r#"invalid parameter "10.0.0""#);
    refused("set_real_ip_from gone.test;", r#"host not found in set_real_ip_from "gone.test""#);
    assert_eq!(
        warnings("allow 10.1.1.1/8;"),
        ["low address bits of 10.1.1.1/8 are meaningless in /w/nginx.conf:3"]
    );
}

#[test]
fn limits() {
    let http = http(
        "server { location /x { limit_req zone=late burst=5 nodelay; limit_conn c 3; } }
         limit_req_zone $binary_remote_addr zone=late:1m rate=30r/m; limit_conn_zone $server_name zone=c:32k;",
    );
    assert_eq!(http.limit_req_zones[0].rate, 500);
    assert_eq!(http.limit_req_zones[0].size, 1 << 20);
    assert_eq!(http.limit_conn_zones[0].rate, 0);
    let access = &settings(&http, "/x").access;
    assert_eq!(access.limit_req, [LimitReq { zone: 0, burst: 5, delay: u64::MAX }]);
    assert_eq!(access.limit_conn, [LimitConn { zone: 0, connections: 3 }]);
    refused("limit_req_zone a zone=a:1k rate=1r/s;", r#"zone "zone=a:1k" is too small"#);
    refused("limit_req_zone a zone=a rate=1r/s;", r#"invalid zone size "zone=a""#);
    refused("limit_req_zone a zone=a:1m rate=0r/s;", r#"invalid rate "rate=0r/s""#);
    refused("limit_req burst=1;", r#""limit_req" must have "zone" parameter"#);
    refused("limit_req_status 200;", "value must be between 400 and 599");
    let zone = "limit_conn_zone a zone=z:1m;";
    refused(&format!("{zone} limit_conn z 0;"), r#"invalid number of connections "0""#);
    refused(&format!("{zone} limit_conn z 65536;"), "connection limit must be less 65536");
    refused(&format!("{zone} limit_conn z 1; limit_conn z 2;"), r#""limit_conn" directive is duplicate"#);
}

#[test]
fn logs() {
    let http = http(
        "log_format j escape=json '{\"a\":' '\"$host\"}';
         server { location /a { access_log a.log j buffer=32k flush=5s if=$host; error_log e.log info; }
                  location /b { access_log /l/$host.log; access_log off; }
                  location /c { access_log syslog:server=127.0.0.1,tag=x,facility=user; } }",
    );
    assert_eq!(http.log_formats[0].name, "combined");
    assert_eq!(http.log_formats[1].escape, Escape::Json);
    assert_eq!(http.log_formats[1].template.0[0], Part::Text("{\"a\":\"".to_owned()));
    let log = &settings(&http, "/a").access_log[0];
    assert_eq!(log.target, AccessTarget::Log(LogTarget::File("/w/a.log".to_owned())));
    assert_eq!((log.format, log.buffer, log.flush), (1, Some(32 << 10), Some(Millis(5000))));
    assert_eq!(settings(&http, "/a").error_log[0].level, Level::Info);
    assert!(settings(&http, "/b").access_log.is_empty());
    let AccessTarget::Log(LogTarget::Syslog(syslog)) = &settings(&http, "/c").access_log[0].target else {
        panic!("syslog is expected");
    };
    assert_eq!((syslog.address.as_str(), syslog.tag.as_str(), syslog.facility), ("127.0.0.1:514", "x", 1));
    let default = &settings(&http, "").access_log[0];
    assert_eq!(default.target, AccessTarget::Log(LogTarget::File("/w/logs/access.log".to_owned())));
}

#[test]
fn logs_that_are_refused() {
    refused("access_log a none;", r#"unknown log format "none""#);
    refused("access_log a combined flush=1s;", r#"no buffer is defined for access_log "a""#);
    refused("access_log $host combined buffer=1k;", "buffered logs cannot have variables in name");
    refused("access_log syslog:server=127.0.0.1 combined gzip;", "logs to syslog cannot be buffered");
    refused("access_log a combined gzip=0;", r#"invalid compression level "0""#);
    refused("access_log off combined;", r#"invalid parameter "combined""#);
    refused("access_log syslog:tag=a;", "no syslog server specified");
    refused("access_log syslog:server=127.0.0.1,facility=x;", r#"unknown syslog facility "x""#);
    refused("error_log a loud;", r#"invalid log level "loud""#);
    refused("error_log a info warn;", r#"duplicate log level "warn""#);
    refused("log_format combined x;", r#"duplicate "log_format" name "combined""#);
    refused("log_format a escape=x y;", r#"unknown log format escaping "x""#);
}

#[test]
fn what_is_not_there_yet_is_taken_only_where_it_says_off() {
    http("gzip_static off; proxy_cache off; server { http2 off; location / { add_header_inherit on; } }");
    refused("gzip_static on;", r#""gzip_static" directive is not supported by this version of Weir"#);
    refused("server { http2 on; }", r#""http2" directive is not supported by this version of Weir"#);
    refused("proxy_http_version 2;", r#""proxy_http_version 2" is not supported by this version of Weir"#);
    refused(
        "server { location / { fastcgi_pass 127.0.0.1:9; } }",
        r#""fastcgi_pass" directive is not supported by this version of Weir"#,
    );
    refused("include a b;", r#"invalid number of arguments in "include" directive"#);
}

#[test]
fn logs_with_variables_may_be_kept_open() {
    let found = location("open_log_file_cache max=9 inactive=1m min_uses=2;").log_file_cache;
    let expected = LogFileCache { max: 9, inactive: Millis(60_000), valid: Millis(60_000), min_uses: 2 };
    assert_eq!(found, Some(expected));
    assert_eq!(location("open_log_file_cache off;").log_file_cache, None);
    refused("open_log_file_cache valid=1s;", r#""open_log_file_cache" must have "max" parameter"#);
    refused("open_log_file_cache max=none;", r#"invalid "open_log_file_cache" parameter "max=none""#);
    refused("open_log_file_cache max=1 size=2;", r#"invalid "open_log_file_cache" parameter "size=2""#);
}

#[test]
fn shares_and_slow_starts_of_servers() {
    let found = http("upstream a { server 10.0.0.1 slow_start=30s percent=10; server 10.0.0.2; }");
    let peers = &found.upstreams[0].peers;
    assert_eq!((peers[0].slow_start, peers[0].percent), (Millis(30_000), 10));
    assert_eq!((peers[1].slow_start, peers[1].percent), (Millis(0), 100));
    for wrong in ["percent=0", "percent=101", "percent=x", "slow_start=x"] {
        let line = format!("upstream a {{ server 10.0.0.1 {wrong}; }}");
        assert_eq!(error(&line), format!("invalid parameter \"{wrong}\" in /w/nginx.conf:3"));
    }
    for (method, name) in [
        ("hash $uri", "hash"),
        ("hash $uri consistent", "hash"),
        ("ip_hash", "ip_hash"),
        ("random two", "random"),
    ] {
        let line = format!("upstream a {{ {method}; server 10.0.0.1 slow_start=3s; }}");
        let expected = format!("slow_start is ignored in upstream \"a\" with {name} in /w/nginx.conf:3");
        assert_eq!(warnings(&line), [expected]);
        assert!(warnings(&line.replace("slow_start=3s", "percent=5")).is_empty());
    }
    for method in ["", "least_conn;", "least_time header;"] {
        assert!(warnings(&format!("upstream a {{ {method} server 10.0.0.1 slow_start=3s; }}")).is_empty());
    }
}
