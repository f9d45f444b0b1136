//! Small configurations in the shapes in which they are usually deployed: each request reaches its own group.

mod common;
mod support;

use common::Server;
use support::websocket::{assert_echo, echo, open};
use support::{Answer, Upstream, exchange, get, serve};

/// GET with more header lines, on a connection of its own.
fn ask(server: &Server, target: &str, lines: &[&str]) -> Answer {
    let mut request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n");
    if !lines.iter().any(|line| line.starts_with("Host:")) {
        request += "Host: localhost\r\n";
    }
    for line in lines {
        request += line;
        request += "\r\n";
    }
    exchange(server, &(request + "\r\n"))
}

#[test]
fn by_path() {
    let [shop, api, images] = ["shop", "api", "images"].map(Upstream::saying);
    let server = serve(&format!(
        "upstream shop {{ server {}; }}
         upstream api {{ server {}; }}
         upstream images {{ server {}; }}
         server {{
             listen 127.0.0.1:PORT;
             server_name www.example.com;
             location / {{ proxy_pass http://shop; }}
             location /api/ {{ proxy_pass http://api/; }}
             location ~* \\.(png|jpe?g)$ {{ proxy_pass http://images; }}
             location ^~ /api/raw/ {{ proxy_pass http://api; }}
             location = /health {{ access_log off; return 200 \"ok\\n\"; }}
             location /old/ {{ rewrite ^/old/(.*)$ /new/$1 permanent; }}
         }}",
        shop.address(),
        api.address(),
        images.address()
    ));
    for (target, who) in [
        ("/", "shop"),
        ("/apix", "shop"),
        ("/api/v1/users?id=7", "api"),
        ("/a/b.PNG", "images"),
        ("/api/logo.jpeg", "images"),
        ("/api/raw/logo.png", "api"),
        ("/health", "ok\n"),
    ] {
        assert_eq!(get(&server, target).text(), who, "{target}");
    }
    let seen: Vec<String> = api.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(
        seen,
        ["/v1/users?id=7", "/api/raw/logo.png"],
        "the prefix is replaced where proxy_pass has a URI"
    );
    let moved = get(&server, "/old/page?x=1");
    assert_eq!(moved.status, 301);
    let location = moved.header("location").expect("where to").to_owned();
    assert!(location.ends_with("/new/page?x=1"), "{location}");
}

#[test]
fn by_user_agent() {
    let [mobile, bots, desktop] = ["mobile", "bots", "desktop"].map(Upstream::saying);
    let server = serve(&format!(
        "upstream mobile {{ server {}; }}
         upstream bots {{ server {}; }}
         upstream desktop {{ server {}; }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{
                 if ($http_user_agent ~* \"iphone|android\") {{ proxy_pass http://mobile; }}
                 if ($http_user_agent ~* bot) {{ proxy_pass http://bots; }}
                 proxy_pass http://desktop;
             }}
             location /deny {{
                 if ($http_user_agent = '') {{ return 403; }}
                 proxy_pass http://desktop;
             }}
         }}",
        mobile.address(),
        bots.address(),
        desktop.address()
    ));
    for (agent, who) in [
        ("Mozilla/5.0 (iPhone; CPU)", "mobile"),
        ("Mozilla/5.0 (Linux; ANDROID 14)", "mobile"),
        ("GoogleBot/2.1", "bots"),
        ("Mozilla/5.0 (X11; Linux)", "desktop"),
    ] {
        assert_eq!(ask(&server, "/x", &[&format!("User-Agent: {agent}")]).text(), who, "{agent}");
    }
    assert_eq!(ask(&server, "/x", &[]).text(), "desktop");
    assert_eq!(ask(&server, "/deny", &[]).status, 403);
    assert_eq!(ask(&server, "/deny", &["User-Agent: curl"]).text(), "desktop");
}

#[test]
fn by_name() {
    let names = [
        ("exact", "www.example.com"),
        ("suffix", "*.example.com"),
        ("prefix", "www.example.*"),
        ("both", ".example.net"),
        ("regex", "~^(?<user>[a-z]+)\\.users\\.test$"),
    ];
    let mut http =
        "server { listen 127.0.0.1:PORT default_server; server_name _; return 200 default; }".to_owned();
    for (word, name) in names {
        let text = if word == "regex" { "\"regex $user\"" } else { word };
        http += &format!(" server {{ listen 127.0.0.1:PORT; server_name {name}; return 200 {text}; }}");
    }
    let server = serve(&http);
    for (host, who) in [
        ("www.example.com", "exact"),
        ("WWW.Example.COM", "exact"),
        ("www.example.com:8080", "exact"),
        ("www.example.com.", "exact"),
        ("shop.example.com", "suffix"),
        ("a.b.example.com", "suffix"),
        ("www.example.org", "prefix"),
        ("example.net", "both"),
        ("x.example.net", "both"),
        ("alice.users.test", "regex alice"),
        ("ALICE.users.test", "regex alice"),
        ("example.com", "default"),
        ("nobody.test", "default"),
        ("127.0.0.1", "default"),
    ] {
        assert_eq!(ask(&server, "/", &[&format!("Host: {host}")]).text(), who, "{host}");
    }
}

#[test]
fn the_first_server_is_the_default_when_none_is_named() {
    let server = serve(
        "server { listen 127.0.0.1:PORT; server_name a.test; return 200 first; }
         server { listen 127.0.0.1:PORT; server_name b.test; return 200 second; }",
    );
    assert_eq!(ask(&server, "/", &["Host: b.test"]).text(), "second");
    assert_eq!(ask(&server, "/", &["Host: c.test"]).text(), "first");
    assert_eq!(exchange(&server, "GET / HTTP/1.0\r\n\r\n").text(), "first");
}

/// What applications behind a proxy are told about the client.
#[test]
fn the_usual_headers() {
    let upstream = Upstream::saying("fine");
    let server = support::proxy_to(
        &upstream,
        "proxy_set_header Host $host;
         proxy_set_header X-Real-IP $remote_addr;
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
         proxy_set_header X-Forwarded-Proto $scheme;
         proxy_set_header Accept-Encoding \"\";",
    );
    let lines =
        ["Host: www.example.com:81", "X-Forwarded-For: 10.1.1.1", "Accept-Encoding: gzip", "Cookie: a=b"];
    assert_eq!(ask(&server, "/", &lines).text(), "fine");
    let request = upstream.request();
    for (name, value) in [
        ("host", Some("www.example.com")),
        ("x-real-ip", Some("127.0.0.1")),
        ("x-forwarded-for", Some("10.1.1.1, 127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("accept-encoding", None),
        ("cookie", Some("a=b")),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
}

/// An application and its WebSockets behind one name, as chat and dashboards are deployed.
#[test]
fn an_application_with_websockets() {
    let (pages, sockets) = (Upstream::saying("page"), echo());
    let server = serve(&format!(
        "map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
         map $http_upgrade $group {{ default sockets; '' pages; }}
         upstream pages {{ server {}; }}
         upstream sockets {{ server {}; }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{
                 proxy_pass http://$group;
                 proxy_http_version 1.1;
                 proxy_set_header Upgrade $http_upgrade;
                 proxy_set_header Connection $connection_upgrade;
                 proxy_read_timeout 3600s;
             }}
         }}",
        pages.address(),
        sockets.address()
    ));
    assert_eq!(get(&server, "/ws").text(), "page");
    let mut socket = open(server.site.port);
    assert_echo(&mut socket, b"hello");
    assert_eq!(get(&server, "/").text(), "page");
    assert_echo(&mut socket, b"again");
}

/// Maintenance pages and fallbacks: an error of the upstream becomes something that people can read.
#[test]
fn errors_have_pages() {
    let mut upstream = Upstream::new(|request, stream| {
        let status = if request.target == "/missing" { "404 Not Found" } else { "200 OK" };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nfine");
        support::upstream::reply(stream, head.as_bytes())
    });
    let fallback = Upstream::saying("fallback");
    let server = serve(&format!(
        "server {{
             listen 127.0.0.1:PORT;
             error_page 502 504 /sorry;
             error_page 404 = @fallback;
             location / {{ proxy_pass http://{}; proxy_intercept_errors on; }}
             location = /sorry {{ internal; return 503 \"back soon\"; }}
             location @fallback {{ proxy_pass http://{}; }}
         }}",
        upstream.address(),
        fallback.address()
    ));
    assert_eq!(get(&server, "/").text(), "fine");
    let answer = get(&server, "/missing");
    assert_eq!((answer.status, answer.text().as_str()), (200, "fallback"));
    assert_eq!(get(&server, "/sorry").text(), "fallback", "an internal location is a 404 for clients");
    upstream.stop();
    assert!(get(&server, "/").text().contains("back soon"));
}
