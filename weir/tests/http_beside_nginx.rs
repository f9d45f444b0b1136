//! The same nginx.conf served by Debian's nginx and by Weir over the same upstream, asked the same random requests:
//! their answers are the same. A difference prints the seed and the request.

mod common;
mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{Site, until};
use support::random::{Random, pattern, seed};
use support::upstream::reply;
use support::{Answer, Client, Then, Upstream};
use weir_net::{Signal, send_signal};

const REQUESTS: usize = 600;

/// Debian's nginx on a site of its own; ended with this value.
struct Nginx {
    site: Site,
    process: Child,
}

impl Nginx {
    fn start(site: Site) -> Nginx {
        let binary = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists())
            .expect("nginx is there to compare with; ./test installs it (apt-get install nginx-light)");
        let mut command = Command::new(binary);
        command.arg("-p").arg(site.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        let process = command.stdin(Stdio::null()).spawn().expect("start nginx");
        let mut nginx = Nginx { site, process };
        let Nginx { site, process } = &mut nginx;
        until("nginx", || {
            if let Some(status) = process.try_wait().expect("a child") {
                panic!("nginx ended with {status}: {}", site.read("error.log"));
            }
            std::net::TcpStream::connect(("127.0.0.1", site.port)).ok()
        });
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = send_signal(self.process.id(), Signal::Term);
            let _ = self.process.wait();
        }
    }
}

/// Says what it was asked, so that a difference towards the upstream becomes one in the answer.
fn mirror() -> Upstream {
    Upstream::new(|request, stream| {
        let mut headers: Vec<String> =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        headers.sort();
        let said = format!(
            "{} {} {}\n{}\n\n{} bytes\n",
            request.method,
            request.target,
            request.version,
            headers.join("\n"),
            request.body.len()
        );
        let body = [said.into_bytes(), request.body.clone()].concat();
        let shown: &[u8] = if request.method == "HEAD" { b"" } else { &body };
        let head = match request.target.len() % 4 {
            0 => "HTTP/1.1 200 OK\r\nX-One: 1\r\nx-two: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d; path=/\r\n",
            1 => {
                "HTTP/1.1 404 Gone Fishing\r\nContent-Type: text/x-fish\r\nLast-Modified: Sat, 01 Jan 2022 00:00:00 GMT\r\n"
            }
            2 => "HTTP/1.1 302 Found\r\nLocation: /elsewhere?x=1\r\nCache-Control: no-store\r\n",
            _ => "HTTP/1.1 500 Oh No\r\nX-Hidden: 1\r\nVary: Accept\r\nETag: \"abc\"\r\n",
        };
        if request.target.len() % 3 == 0 && request.method != "HEAD" {
            reply(stream, format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
            for piece in body.chunks(1000) {
                reply(stream, format!("{:x}\r\n", piece.len()).as_bytes());
                reply(stream, piece);
                reply(stream, b"\r\n");
            }
            return reply(stream, b"0\r\n\r\n");
        }
        reply(stream, format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        if reply(stream, shown) == Then::Close { Then::Close } else { Then::Keep }
    })
}

/// What both serve: most of what an operator's file does, with each kind of location.
fn configuration(upstream: &Upstream) -> String {
    let http = format!(
        "include DIR/folders*.conf;
         server_tokens off;
         default_type text/plain;
         types {{ text/html html; text/css css; image/png png; }}
         map $arg_k $mapped {{ default other; a first; ~^b(?<rest>.*)$ rest-$rest; }}
         upstream group {{ server {address}; keepalive 8; }}
         server {{
             listen 127.0.0.1:PORT;
             server_name localhost;
             root DIR/files;
             large_client_header_buffers 4 8k;
             error_page 418 /teapot.html;
             location /p/ {{
                 proxy_pass http://group;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_set_header Host $host;
                 proxy_set_header X-Mapped $mapped;
                 proxy_set_header X-Uri \"$request_uri $uri $args\";
                 proxy_hide_header X-Hidden;
             }}
             location /q/ {{ proxy_pass http://group/base/; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_redirect / /q/; }}
             location ~ ^/r/([^/]*)/(.*)$ {{ proxy_pass http://group/$2/$1$is_args$args; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
             location /w/ {{ rewrite ^/w/a(.*)$ /v/$1?from=w last; rewrite ^/w/b(.*)$ /moved$1 redirect; rewrite ^/w/c(.*)$ http://other.test$1 permanent; return 204; }}
             location /v/ {{ return 200 \"v $uri $args $is_args $mapped\\n\"; }}
             location = /exact {{ return 200 exact; }}
             location ^~ /fixed/ {{ return 200 \"fixed $uri\"; }}
             location ~* \\.css$ {{ add_header X-Css yes always; expires 1h; }}
             location /i/ {{
                 set $word none;
                 if ($arg_k = a) {{ set $word a; }}
                 if ($arg_k ~ ^b) {{ return 403; }}
                 if ($request_method = DELETE) {{ return 405; }}
                 if ($http_x_test) {{ add_header X-Test $http_x_test; return 200 tested; }}
                 return 200 \"i $word\";
             }}
             location /t/ {{ try_files $uri $uri/index.html /exact; }}
             location /teapot {{ return 418; }}
             location /alias/ {{ alias DIR/files/; }}
             location /deny/ {{ deny 127.0.0.1; allow all; }}
             location /limit/ {{ limit_except GET {{ deny all; }} proxy_pass http://group; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
             location /err/ {{
                 proxy_pass http://group;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_intercept_errors on;
                 error_page 404 500 /teapot.html;
                 error_page 302 =200 /a.html;
             }}
             location /named/ {{ try_files /nope @group; }}
             location @group {{
                 proxy_pass http://group;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 add_header X-Named $uri;
                 proxy_cookie_path / /cookies/;
             }}
             location /rw/ {{
                 rewrite ^/rw/([0-9]+)$ /v/number/$1 last;
                 rewrite ^/rw/(?<name>[a-z]+)/ /p/$name? last;
                 rewrite ^/rw/(.+)\\.html$ /$1.html break;
                 return 302 /v$uri;
             }}
             location /body/ {{ client_max_body_size 500; proxy_set_body \"[$request_method]\"; proxy_pass http://group; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
             location /auth/ {{ return 301 /v/$request_method; }}
         }}",
        address = upstream.address()
    );
    support::conf(&http)
}

/// A site with the files; both get the same, with the same times.
fn site(conf: &str) -> Site {
    let site = Site::new(conf);
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    for (name, bytes) in [
        ("index.html", b"<p>index</p>".to_vec()),
        ("a.html", b"<p>a</p>".to_vec()),
        ("style.css", b"p { }".to_vec()),
        ("picture.png", pattern(5000)),
        ("sub/index.html", b"sub".to_vec()),
        ("t/found", b"found".to_vec()),
        ("teapot.html", b"short and stout".to_vec()),
        ("plain", b"plain".to_vec()),
    ] {
        let path = site.file("files").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, bytes).expect("write");
        let file = std::fs::File::options().write(true).open(&path).expect("open");
        file.set_modified(written).expect("a time");
    }
    site
}

struct Case {
    method: &'static str,
    bytes: Vec<u8>,
}

const METHODS: &[&str] =
    &["GET", "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
const ROOTS: &[&str] = &[
    "/",
    "/p/",
    "/p/",
    "/p/",
    "/q/",
    "/q/",
    "/r/",
    "/r/x/",
    "/w/a",
    "/w/b",
    "/w/c",
    "/w/",
    "/v/",
    "/exact",
    "/fixed/",
    "/i/",
    "/t/",
    "/teapot",
    "/alias/",
    "/auth/",
    "/deny/",
    "/limit/",
    "/err/",
    "/err/",
    "/named/",
    "/rw/",
    "/rw/12",
    "/rw/a/",
    "/body/",
    "/sub",
    "/sub/",
    "/missing",
    "/a.html",
    "/style.css",
    "/picture.png",
    "/plain",
    "/t/found",
];
const PIECES: &[&str] = &[
    "",
    "a",
    "b",
    "abc",
    "index.html",
    "a.html",
    "style.css",
    "X.CSS",
    "picture.png",
    "found",
    "%20",
    "%2F",
    "%2f..",
    "%C3%A9",
    "%e2%82%ac",
    "é",
    "a+b",
    "a;b",
    "a=b",
    "a&b",
    "~x",
    "%7Ex",
    "..",
    ".",
    "//",
    "%3F",
    "%23",
    "%25",
    "%41",
    "(x)",
    "a:b",
    "@",
    "!$'*,",
    "\"q\"",
    "<x>",
    "{y}",
    "a|b",
    "^",
    "`",
];
const QUERIES: &[&str] =
    &["", "", "", "?", "?k=a", "?k=bcd", "?k=%20", "?a=1&k=a", "?x&y", "??", "?k=é", "?a=/../b", "?%zz"];
const HEADERS: &[&str] = &[
    "User-Agent: test/1.0",
    "Accept: */*",
    "X-Test: yes",
    "X-Test:",
    "X-Empty: ",
    "X-Spaces:    a  b   ",
    "X_Underscore: dropped",
    "Cookie: a=b; c=d",
    "Cookie: e=f",
    "X-Forwarded-For: 10.0.0.1",
    "Range: bytes=0-3",
    "Range: bytes=-3",
    "Range: bytes=2-",
    "Range: bytes=9999999-",
    "Range: bytes=0-1,3-4",
    "If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT",
    "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT",
    "If-None-Match: \"5f5e0f80-8\"",
    "If-None-Match: *",
    "Keep-Alive: 10",
    "Accept-Encoding: gzip",
    "Referer: http://localhost/",
    "TE: trailers",
    "Via: 1.0 old",
    "Authorization: Basic YTpi",
];

fn case(random: &mut Random) -> Case {
    let method = random.pick(METHODS);
    let mut target = random.pick(ROOTS).to_owned();
    for _ in 0..random.below(4) {
        target += random.pick(PIECES);
        if random.once_in(2) {
            target.push('/');
        }
    }
    target += random.pick(QUERIES);
    if random.once_in(20) {
        target = format!("http://localhost{target}");
    }
    let version = if random.once_in(12) { "1.0" } else { "1.1" };
    let mut head = format!("{method} {target} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n");
    let mut names = Vec::new();
    for _ in 0..random.below(4) {
        let line = random.pick(HEADERS);
        let name = line.split(':').next().unwrap_or(line);
        if !names.contains(&name) {
            names.push(name);
            head += line;
            head += "\r\n";
        }
    }
    let mut body = Vec::new();
    if matches!(method, "POST" | "PUT" | "PATCH") {
        let length = random.pick(&[0, 1, 10, 1000, 40_000]);
        if version == "1.1" && random.once_in(3) {
            head += "Transfer-Encoding: chunked\r\n";
            for piece in pattern(length).chunks(7000) {
                body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                body.extend(piece);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
        } else {
            head += &format!("Content-Length: {length}\r\n");
            body = pattern(length);
        }
    }
    Case { method, bytes: [head.into_bytes(), b"\r\n".to_vec(), body].concat() }
}

/// What has to be the same: not the time, not the name, not the ports that each has for itself.
fn comparable(port: u16, case: &Case) -> Answer {
    let mut client = Client::connect(port);
    let _ = client.try_send(&case.bytes);
    let mut answer = client.answer_to(case.method);
    answer
        .headers
        .retain(|(name, _)| !matches!(name.as_str(), "date" | "server" | "connection" | "keep-alive"));
    for (_, value) in &mut answer.headers {
        *value = value.replace(&format!(":{port}"), ":PORT");
    }
    answer.headers.sort();
    let boundary = answer
        .header("content-type")
        .and_then(|value| value.strip_prefix("multipart/byteranges; boundary="))
        .map(str::to_owned);
    let mut body = String::from_utf8_lossy(&answer.body).replace(&format!(":{port}"), ":PORT");
    if let Some(boundary) = boundary {
        body = body.replace(&boundary, "BOUNDARY");
        for (_, value) in &mut answer.headers {
            *value = value.replace(&boundary, "BOUNDARY");
        }
    }
    // nginx adds what `add_header` and `expires` say to the answer that became a 416, and again to the 416.
    if answer.status == 416 {
        answer.headers.dedup();
        answer.headers.retain(|(name, _)| name != "cache-control");
    }
    // Expires is the time of the answer and an hour.
    answer.headers.retain(|(name, _)| name != "expires");
    answer.body = body.into_bytes();
    answer
}

#[test]
fn the_same_answers() {
    let upstream = mirror();
    let conf = configuration(&upstream);
    let server = site(&conf).start();
    let other = site(&conf);
    // Modules that Weir does not have want folders for temporary files too.
    let folders: String = ["fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {}/{name};\n", other.path().display()))
        .collect();
    std::fs::write(other.file("folders-of-nginx.conf"), folders).expect("write");
    let nginx = Nginx::start(other);
    let seed = seed();
    let mut random = Random::new(seed);
    let mut differences = Vec::new();
    for number in 0..REQUESTS {
        let case = case(&mut random);
        let expected = comparable(nginx.site.port, &case);
        let got = comparable(server.site.port, &case);
        if expected != got {
            let request = String::from_utf8_lossy(&case.bytes).chars().take(600).collect::<String>();
            differences.push(format!(
                "request {number}: {request:?}\n  nginx: {}\n   weir: {}",
                show(&expected),
                show(&got)
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {REQUESTS} answers differ; WEIR_SEED={seed}\n{}",
        differences.len(),
        differences.join("\n")
    );
}

fn show(answer: &Answer) -> String {
    let body: String = answer.text().chars().take(600).collect();
    format!("{} {:?} {body:?}", answer.line, answer.headers)
}
