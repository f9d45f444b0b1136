//! Bodies that change on their way: pages with commands, and compression.

mod common;
mod support;

use std::fs;
use std::io::Read;

use common::Server;
use flate2::read::GzDecoder;
use support::random::pattern;
use support::upstream::{ok, reply};
use support::{Answer, Client, Then, Upstream, conf, get};

/// A site whose pages are these files.
fn site(server: &str, files: &[(&str, &[u8])]) -> Server {
    let http = format!(
        "types {{ text/html html; text/plain txt; }} root DIR; server {{ listen 127.0.0.1:PORT; {server} }}"
    );
    let site = common::Site::new(&conf(&http));
    for (name, content) in files {
        fs::write(site.file(name), content).expect("a page");
    }
    site.start()
}

fn unzip(answer: &Answer) -> Vec<u8> {
    let mut body = Vec::new();
    GzDecoder::new(answer.body.as_slice()).read_to_end(&mut body).expect("gzip");
    body
}

fn ask(client: &mut Client, target: &str, headers: &str) -> Answer {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    client.answer()
}

#[test]
fn pages_include_files_and_peers_in_order() {
    let large = pattern(400_000);
    let sent = large.clone();
    let upstream = Upstream::new(move |_, stream| {
        reply(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()).as_bytes());
        reply(stream, &sent)
    });
    let page = b"<!--#set var=\"x\" value=\"$arg_a!\" -->1<!--#include virtual=\"/p\" -->2<!--#include file=\"b.txt\" -->3<!--#echo var=\"x\" -->";
    let places = format!("ssi on; gzip on; location = /p {{ proxy_pass http://{}; }}", upstream.address());
    let server = site(&places, &[("a.html", page), ("b.txt", b"<&>")]);
    let expected = [b"1", large.as_slice(), b"2<&>3&lt;&gt;!"].concat();
    let mut client = Client::to(&server);
    for _ in 0..2 {
        let plain = ask(&mut client, "/a.html?a=<>", "");
        assert_eq!((plain.status, plain.complete), (200, true));
        assert!(plain.body == expected, "{} bytes of {}", plain.body.len(), expected.len());
        assert_eq!((plain.header("last-modified"), plain.header("etag")), (None, None));
        let zipped = ask(&mut client, "/a.html?a=<>", "Accept-Encoding: gzip\r\n");
        assert!(unzip(&zipped) == expected);
    }
}

#[test]
fn a_block_stands_in_for_what_is_not_there() {
    let page = b"<!--#block name=\"b\"-->none of <!--#echo var=\"uri\"--><!--#endblock-->[<!--#include virtual=\"/no.html\" stub=\"b\"-->]";
    let server = site("ssi on;", &[("a.html", page)]);
    assert_eq!(get(&server, "/a.html").text(), "[none of /no.html]");
}

#[test]
fn pages_that_include_themselves_come_to_an_end() {
    let server = site("ssi on;", &[("a.html", b"(<!--#include virtual=\"/a.html\"-->)")]);
    let answer = get(&server, "/a.html");
    let message = "[an error occurred while processing the directive]";
    assert_eq!(answer.text(), format!("{}{message}{}", "(".repeat(51), ")".repeat(51)));
    assert!(server.site.read("error.log").contains("subrequests cycle while processing \"/a.html\""));
}

#[test]
fn a_page_whose_included_peer_breaks_off_is_not_whole() {
    let upstream = Upstream::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    let places = format!("ssi on; location = /p {{ proxy_pass http://{}; }}", upstream.address());
    let server = site(&places, &[("a.html", b"1<!--#include virtual=\"/p\"-->2")]);
    let answer = get(&server, "/a.html");
    assert_eq!((answer.status, answer.complete), (200, false));
    assert_eq!(answer.text(), "1half");
}

#[test]
fn compression_is_for_those_who_take_it() {
    let text = "some text ".repeat(1000);
    let server =
        site("gzip on; gzip_types text/plain; gzip_vary on;", &[("a.txt", text.as_bytes()), ("s.txt", b"s")]);
    let mut client = Client::to(&server);
    let zipped = ask(&mut client, "/a.txt", "Accept-Encoding: br, gzip\r\n");
    assert_eq!(unzip(&zipped), text.as_bytes());
    assert!(zipped.body.len() < 500, "{}", zipped.body.len());
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.header("vary"), Some("Accept-Encoding"));
    assert!(zipped.header("etag").is_some_and(|tag| tag.starts_with("W/\"")));
    assert_eq!((zipped.header("accept-ranges"), zipped.header("content-length")), (None, None));
    let plain = ask(&mut client, "/a.txt", "Accept-Encoding: gzip;q=0\r\n");
    assert_eq!((plain.text(), plain.header("vary")), (text, Some("Accept-Encoding")));
    assert!(plain.header("etag").is_some_and(|tag| tag.starts_with('"')));
    let short = ask(&mut client, "/s.txt", "Accept-Encoding: gzip\r\n");
    assert_eq!((short.text().as_str(), short.header("vary")), ("s", None));
    client.send("HEAD /a.txt HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").header("content-encoding"), Some("gzip"));
}

#[test]
fn unbuffered_events_are_not_held_back_by_compression() {
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::new(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\nfirst";
        reply(stream, head.as_bytes());
        gate.lock().expect("one request").recv().expect("the test lives");
        reply(stream, b"second");
        Then::Close
    });
    let places =
        format!("gzip on; proxy_buffering off; location / {{ proxy_pass http://{}; }}", upstream.address());
    let server = site(&places, &[]);
    let mut client = Client::to(&server);
    client.send("GET / HTTP/1.0\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head();
    // HTTP/1.0 is too old for it by default.
    assert!(!head.contains("gzip"), "{head}");
    assert_eq!(client.take(5), b"first");
    go_on.send(()).expect("the peer waits");
    assert_eq!(client.rest(), b"second");

    client = Client::to(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n");
    assert!(client.head().contains("Content-Encoding: gzip"));
    let mut got = Vec::new();
    while !decodes_to(&got, b"first") {
        got.extend(client.take(1));
    }
    go_on.send(()).expect("the peer waits");
    got.extend(client.rest());
    assert!(decodes_to(&got, b"firstsecond"));
}

/// Whether the chunks that came so far hold this text.
fn decodes_to(chunked: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut zipped) = (chunked, Vec::new());
    while let Some(at) = rest.windows(2).position(|end| end == b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..at]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(data) = size.and_then(|size| rest.get(at + 2..at + 2 + size)) else { break };
        zipped.extend_from_slice(data);
        rest = rest.get(at + 2 + data.len() + 2..).unwrap_or_default();
    }
    let mut found = vec![0; text.len()];
    GzDecoder::new(zipped.as_slice()).read_exact(&mut found).is_ok() && found == text
}

#[test]
fn limited_rates_of_peers_and_clients_deliver_everything() {
    let body = pattern(60_000);
    let sent = String::from_utf8_lossy(&body).into_owned();
    let expected = sent.clone();
    let upstream = Upstream::new(move |_, stream| reply(stream, &ok(&sent)));
    for limit in ["proxy_limit_rate 100k", "limit_rate 100k", "proxy_limit_rate 100k; limit_rate 200k"] {
        let places = format!("location / {{ {limit}; proxy_pass http://{}; }}", upstream.address());
        let server = site(&places, &[]);
        let answer = get(&server, "/");
        assert_eq!((answer.complete, answer.text() == expected), (true, true), "{limit}");
    }
}
