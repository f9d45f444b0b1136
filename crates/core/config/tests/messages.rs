//! What is said about files that cannot be used: nginx's words, and the line that nginx names.

mod support;

use support::{Machine, error, warnings};

#[track_caller]
fn refused(body: &str, expected: &str) {
    assert_eq!(error(body), expected, "{body}");
}

#[test]
fn the_four_errors_of_the_frame() {
    refused("proxy_psas x;", r#"unknown directive "proxy_psas" in /w/nginx.conf:3"#);
    refused("listen 80;", r#""listen" directive is not allowed here in /w/nginx.conf:3"#);
    refused("server { listen; }", r#"invalid number of arguments in "listen" directive in /w/nginx.conf:3"#);
    refused("server;", r#"directive "server" has no opening "{" in /w/nginx.conf:3"#);
    refused(
        "server {\nlisten 80 {\n}\n}",
        r#"directive "listen" is not terminated by ";" in /w/nginx.conf:4"#,
    );
    refused(
        "merge_slashes on;\nmerge_slashes on;",
        r#""merge_slashes" directive is duplicate in /w/nginx.conf:4"#,
    );
    refused(
        "merge_slashes yes;",
        r#"invalid value "yes" in "merge_slashes" directive, it must be "on" or "off" in /w/nginx.conf:3"#,
    );
}

#[test]
fn a_forgotten_semicolon_is_guessed() {
    let help = |text: &str| {
        let machine = Machine::with(text);
        machine.load().expect_err("it is wrong").first().expect("an error").help.clone()
    };
    let text = "events {}\nhttp {\n default_type text/html\n etag off;\n}\n";
    assert_eq!(help(text), [r#"is a ";" missing in front of "etag"?"#]);
    let text = "events {}\nhttp {\n default_type text/html \"etag\";\n}\n";
    assert_eq!(help(text), ["it is written: default_type TYPE;"]);
}

#[test]
fn suggestions_name_the_nearest_word_and_the_contexts() {
    let machine = Machine::with("events {}\nhttp {\n lisen 80;\n}\n");
    let failure = machine.load().expect_err("the word is wrong");
    assert_eq!(
        failure.first().expect("an error").help,
        [r#"did you mean "listen"? it is allowed in server, registry, admin"#]
    );
    let machine = Machine::with("events {}\nhttp {\n upstream a { server 10.0.0.1; }\n internal;\n}\n");
    let failure = machine.load().expect_err("the place is wrong");
    assert_eq!(failure.first().expect("an error").help, ["it is allowed in location"]);
}

#[test]
fn slots() {
    refused(
        "client_header_timeout 5x;",
        r#""client_header_timeout" directive invalid value in /w/nginx.conf:3"#,
    );
    refused("max_headers many;", r#""max_headers" directive invalid number in /w/nginx.conf:3"#);
    refused(
        "client_header_buffer_size 1g;",
        r#""client_header_buffer_size" directive invalid value in /w/nginx.conf:3"#,
    );
    refused(
        "large_client_header_buffers 0 8k;",
        r#""large_client_header_buffers" directive invalid value in /w/nginx.conf:3"#,
    );
}

#[test]
fn the_main_level() {
    let line = |text: &str| match Machine::with(text).load() {
        Ok(_) => "it loads".to_owned(),
        Err(failure) => failure.to_string(),
    };
    assert_eq!(line("daemon off;"), r#"no "events" section in configuration"#);
    assert_eq!(line("events {}\nevents {}"), r#""events" directive is duplicate in /w/nginx.conf:2"#);
    assert_eq!(
        line("worker_processes 0;\nevents {}"),
        r#""worker_processes" directive invalid value in /w/nginx.conf:1"#
    );
    assert_eq!(line("events {"), r#"unexpected end of file, expecting "}" in /w/nginx.conf:1"#);
    assert_eq!(line("events {}\nhttp {\n x;\n"), r#"unknown directive "x" in /w/nginx.conf:3"#);
    let machine = Machine::with("events {}");
    let options = weir_config::Options { globals: Some("daemon maybe;".to_owned()), ..support::options() };
    let failure = weir_config::load(&options, &machine).expect_err("the flag is wrong");
    assert_eq!(
        failure.to_string(),
        r#"invalid value "maybe" in "daemon" directive, it must be "on" or "off" in command line"#
    );
}

#[test]
fn listen_errors() {
    refused("server { listen 0; }", r#"invalid port in "0" of the "listen" directive in /w/nginx.conf:3"#);
    refused(
        "server { listen 90-80; }",
        r#"invalid port range in "90-80" of the "listen" directive in /w/nginx.conf:3"#,
    );
    refused(
        "server { listen a/b; }",
        r#"invalid host in "a/b" of the "listen" directive in /w/nginx.conf:3"#,
    );
    refused(
        "server { listen [::g]:80; }",
        r#"invalid IPv6 address in "[::g]:80" of the "listen" directive in /w/nginx.conf:3"#,
    );
    refused(
        "server { listen none.test; }",
        r#"host not found in "none.test" of the "listen" directive in /w/nginx.conf:3"#,
    );
    refused(
        "server { listen unix:; }",
        r#"no path in the unix domain socket in "unix:" of the "listen" directive in /w/nginx.conf:3"#,
    );
    refused("server { listen 80 fast; }", r#"invalid parameter "fast" in /w/nginx.conf:3"#);
    refused("server { listen 80 backlog=0; }", r#"invalid backlog "backlog=0" in /w/nginx.conf:3"#);
    refused(
        "server { listen 80 so_keepalive=::; }",
        r#"invalid so_keepalive value: "::" in /w/nginx.conf:3"#,
    );
    refused("server { listen 80 ipv6only=oh; }", r#"invalid ipv6only flags "oh" in /w/nginx.conf:3"#);
    refused("server {\nlisten 80;\nlisten *:80;\n}", "a duplicate listen 0.0.0.0:80 in /w/nginx.conf:5");
    refused(
        "server { listen 80 backlog=5; }\nserver { listen 80 reuseport; }",
        "duplicate listen options for 0.0.0.0:80 in /w/nginx.conf:4",
    );
    refused(
        "server { listen 80 default_server; }\nserver { listen 80 default; }",
        "a duplicate default server for 0.0.0.0:80 in /w/nginx.conf:4",
    );
    refused(
        "server { listen 443 ssl; }",
        r#"the "ssl" parameter of "listen" is not supported by this version of Weir in /w/nginx.conf:3"#,
    );
}

#[test]
fn names_that_clash() {
    let body = "server { listen 80; server_name a.test; }\nserver { listen 80; server_name A.test; }";
    assert_eq!(
        warnings(body),
        [r#"conflicting server name "a.test" on 0.0.0.0:80, ignored in /w/nginx.conf:3"#]
    );
    refused("server { server_name *x; }", r#"server name "*x" is invalid in /w/nginx.conf:3"#);
    refused("server { server_name ~; }", r#"empty regex in server name "~" in /w/nginx.conf:3"#);
    assert_eq!(
        warnings("server { server_name http://a.test; }"),
        [r#"server name "http://a.test" has suspicious symbols in /w/nginx.conf:3"#]
    );
}

#[test]
fn locations_that_do_not_nest() {
    let inside =
        |inner: &str, outer: &str| format!("server {{ location {outer} {{ location {inner} {{ }} }} }}");
    refused(
        &inside("/a/b", "= /a"),
        r#"location "/a/b" cannot be inside the exact location "/a" in /w/nginx.conf:3"#,
    );
    refused(
        &inside("/a", "@x"),
        r#"location "/a" cannot be inside the named location "@x" in /w/nginx.conf:3"#,
    );
    refused(&inside("@x", "/a"), r#"named location "@x" can be on the server level only in /w/nginx.conf:3"#);
    refused(&inside("/b", "/a"), r#"location "/b" is outside location "/a" in /w/nginx.conf:3"#);
    refused("server { location ~~ /a { } }", r#"invalid location modifier "~~" in /w/nginx.conf:3"#);
    refused(
        "server {\nlocation /a { }\nlocation ^~ /a { }\n}",
        r#"duplicate location "/a" in /w/nginx.conf:5"#,
    );
    refused(
        "server { location /a { limit_except GETS { } } }",
        r#"invalid method "GETS" in /w/nginx.conf:3"#,
    );
}

#[test]
fn proxy_pass_errors() {
    let pass = |url: &str| format!("server {{ location /a {{ proxy_pass {url}; }} }}");
    refused(&pass("ftp://app.test"), "invalid URL prefix in /w/nginx.conf:3");
    refused(&pass("https://app.test"), "https protocol requires SSL support in /w/nginx.conf:3");
    refused(&pass("http://none.test"), r#"host not found in upstream "none.test" in /w/nginx.conf:3"#);
    refused(&pass("http:///a"), r#"no host in upstream "/a" in /w/nginx.conf:3"#);
    refused(&pass("http://app.test:0"), r#"invalid port in upstream "app.test:0" in /w/nginx.conf:3"#);
    refused(
        &format!("upstream app {{ server 10.0.0.1; }}\n{}", pass("http://app:80")),
        r#"upstream "app" may not have port 80 in /w/nginx.conf:4"#,
    );
    let uri = r#""proxy_pass" cannot have URI part in location given by regular expression, or inside named location, or inside "if" statement, or inside "limit_except" block in /w/nginx.conf:3"#;
    refused("server { location ~ /a { proxy_pass http://app.test/; } }", uri);
    refused("server { location @a { proxy_pass http://app.test/; } }", uri);
    refused("server { location / { if ($host) { proxy_pass http://app.test/; } } }", uri);
    refused("server { location / { limit_except GET { proxy_pass http://app.test/; } } }", uri);
}

#[test]
fn upstream_errors() {
    refused("upstream a { }", "no servers are inside upstream in /w/nginx.conf:3");
    refused("upstream a { server 10.0.0.1 backup; }", r#"no servers in upstream "a" in /w/nginx.conf:3"#);
    refused(
        "upstream a { server 10.0.0.1; }\nupstream A { server 10.0.0.1; }",
        r#"duplicate upstream "A" in /w/nginx.conf:4"#,
    );
    refused(
        "upstream a { server none.test; }",
        r#"host not found in upstream "none.test" in /w/nginx.conf:3"#,
    );
    refused("upstream a { server 10.0.0.1 weight=0; }", r#"invalid parameter "weight=0" in /w/nginx.conf:3"#);
    refused(
        "upstream a {\nip_hash;\nserver 10.0.0.1 backup;\n}",
        r#"balancing method does not support parameter "backup" in /w/nginx.conf:5"#,
    );
    assert_eq!(
        warnings("upstream a {\nleast_conn;\nip_hash;\nserver 10.0.0.1;\n}"),
        ["load balancing method redefined in /w/nginx.conf:5"]
    );
    refused(
        "upstream a { server app.test resolve; }",
        r#"no resolver defined to resolve names at run time in upstream "a" in /w/nginx.conf:3"#,
    );
    refused("upstream a { zone a 1k; server 10.0.0.1; }", r#"zone "a" is too small in /w/nginx.conf:3"#);
    refused(
        "upstream a { server 10.0.0.1; sticky cookie x path=; }",
        r#""sticky" directive no value for "path" in /w/nginx.conf:3"#,
    );
    refused(
        "upstream a { server 10.0.0.1; sticky learn create=$cookie_a zone=z:1m; }",
        r#""sticky" directive "lookup" parameter is not specified in /w/nginx.conf:3"#,
    );
}

#[test]
fn variables_that_nothing_defines() {
    refused("server { return 200 $nothing; }", r#"unknown "nothing" variable in /w/nginx.conf:3"#);
    refused("server { set $host x; }", r#"the duplicate "host" variable in /w/nginx.conf:3"#);
    refused("server { set host x; }", r#"invalid variable name "host" in /w/nginx.conf:3"#);
    refused(
        "server { return 200 ${host; }",
        r#"the closing bracket in "host" variable is missing in /w/nginx.conf:3"#,
    );
    refused("server { return 200 a$; }", "invalid variable name in /w/nginx.conf:3");
    assert_eq!(error("server { return 200 $later; set $later 1; }"), "it loads");
    assert_eq!(error("server { location ~ /(?<part>.*) { return 200 $part; } }"), "it loads");
}

#[test]
fn the_rewrite_module() {
    refused("server { return abc; }", r#"invalid return code "abc" in /w/nginx.conf:3"#);
    refused("server { return 1000; }", r#"invalid return code "1000" in /w/nginx.conf:3"#);
    refused("server { rewrite ^ ''; }", "empty replacement in /w/nginx.conf:3");
    refused("server { rewrite ^ /a first; }", r#"invalid parameter "first" in /w/nginx.conf:3"#);
    refused("server { if $host { } }", r#"invalid condition "$host" in /w/nginx.conf:3"#);
    refused("server { if ($host { } }", r#"invalid condition "$host" in /w/nginx.conf:3"#);
    refused("server { if ($host == a) { } }", r#"unexpected "==" in condition in /w/nginx.conf:3"#);
    refused("server { if (-q /a) { } }", r#"invalid condition "-q" in /w/nginx.conf:3"#);
    refused("server { if ($host = a b) { } }", r#"invalid condition "$host" in /w/nginx.conf:3"#);
}

#[test]
fn maps_and_shares() {
    refused("map $host $m { a; }", "invalid number of the map parameters in /w/nginx.conf:3");
    refused("map $host $m { default a; default b; }", "duplicate default map parameter in /w/nginx.conf:3");
    refused("map $host $m {\na 1;\nA 2;\n}", r#"conflicting parameter "A" in /w/nginx.conf:5"#);
    refused(
        "map $host $m { hostnames; a.*.b 1; }",
        r#"invalid hostname or wildcard "a.*.b" in /w/nginx.conf:3"#,
    );
    refused("map $host m { }", r#"invalid variable name "m" in /w/nginx.conf:3"#);
    refused("geo $g { 10.0.0.0/40 a; }", r#"invalid network "10.0.0.0/40" in /w/nginx.conf:3"#);
    refused(
        "geo $g { ranges; 10.0.0.2-10.0.0.1 a; }",
        r#"invalid range "10.0.0.2-10.0.0.1" in /w/nginx.conf:3"#,
    );
    refused(
        "geo $g { ranges; 10.0.0.0-10.0.0.9 a; 10.0.0.5-10.0.0.12 b; }",
        r#"range "10.0.0.5-10.0.0.12" overlaps "10.0.0.0-10.0.0.9" in /w/nginx.conf:3"#,
    );
    assert_eq!(
        warnings("geo $g {\n10.0.0.1/8 a;\n}"),
        ["low address bits of 10.0.0.1/8 are meaningless in /w/nginx.conf:4"]
    );
    refused(
        "split_clients $host $s {\n60% a;\n50% b;\n}",
        "percent total is greater than 100% in /w/nginx.conf:6",
    );
    refused("split_clients $host $s { 0% a; }", r#"invalid percent value "0%" in /w/nginx.conf:3"#);
}

#[test]
fn errors_come_in_the_order_of_the_files() {
    let text = "events {}\nhttp {\n server {\n  location / { wrong1; }\n  wrong2;\n }\n wrong3;\n upstream a { wrong4; }\n}\n";
    let failure = Machine::with(text).load().expect_err("all of it is wrong");
    let lines: Vec<_> =
        failure.diagnostics.iter().map(|error| error.nginx_line(&failure.tree.files)).collect();
    assert_eq!(
        lines,
        [
            r#"unknown directive "wrong1" in /w/nginx.conf:4"#,
            r#"unknown directive "wrong2" in /w/nginx.conf:5"#,
            r#"unknown directive "wrong3" in /w/nginx.conf:7"#,
            r#"unknown directive "wrong4" in /w/nginx.conf:8"#,
        ]
    );
}

#[test]
fn what_is_known_and_not_there_is_refused_by_name() {
    refused(
        "ssl_certificate a.pem;",
        r#""ssl_certificate" directive is not supported by this version of Weir in /w/nginx.conf:3"#,
    );
}
