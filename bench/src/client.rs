//! A blocking HTTP/1.1 client for checks, probes and idle connections. Load comes from wrk and
//! from the open-loop generator.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long a reply may take before it counts as absent.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The reply header by which the reload case tells configurations apart.
pub(crate) const GENERATION: &str = "X-Generation";

/// What the cases need to know of a response head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Content-Length in bytes.
    pub(crate) length: Option<usize>,
    /// The server closes after this reply.
    pub(crate) close: bool,
    /// Value of [`GENERATION`].
    pub(crate) generation: Option<u32>,
    /// Length of the head in bytes, with its empty line.
    pub(crate) end: usize,
}

/// Reads the response head at the start of `input`; `None` while it is incomplete.
pub(crate) fn parse_head(input: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response.parse(input)? {
        httparse::Status::Complete(end) => end,
        httparse::Status::Partial => return Ok(None),
    };
    let mut head = Head {
        status: response.code.unwrap_or_default(),
        length: None,
        close: response.version == Some(0),
        generation: None,
        end,
    };
    for header in response.headers {
        let value = String::from_utf8_lossy(header.value);
        if header.name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.trim().parse().context("content-length")?);
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.close = value.trim().eq_ignore_ascii_case("close");
        } else if header.name.eq_ignore_ascii_case(GENERATION) {
            head.generation = value.trim().parse().ok();
        }
    }
    Ok(Some(head))
}

/// Connects with timeouts set in both directions.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads exactly one head and nothing behind it; for replies after which another protocol begins.
pub(crate) fn read_head(stream: &mut TcpStream) -> Result<Head> {
    let mut input = Vec::new();
    let mut byte = [0];
    loop {
        ensure!(stream.read(&mut byte)? == 1, "closed after {} bytes of the head", input.len());
        input.push(byte[0]);
        if input.ends_with(b"\r\n\r\n") {
            return parse_head(&input)?.context("a head without a status line");
        }
    }
}

/// A request for `path`; `close` asks the server to close after it.
pub(crate) fn request(path: &str, close: bool) -> Vec<u8> {
    let last = if close { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{last}\r\n").into_bytes()
}

/// Sends one request on an open connection and returns the head and the body.
pub(crate) fn exchange(stream: &mut TcpStream, path: &str, close: bool) -> Result<(Head, Vec<u8>)> {
    stream.write_all(&request(path, close))?;
    let mut input = Vec::new();
    let mut chunk = [0; 64 * 1024];
    let mut head: Option<Head> = None;
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            bail!("closed after {} bytes of the reply", input.len());
        }
        input.extend_from_slice(&chunk[..count]);
        if head.is_none() {
            head = parse_head(&input)?;
        }
        if let Some(found) = &head {
            let length = found.length.context("the reply has no content-length, the backend sent one")?;
            ensure!(input.len() <= found.end + length, "bytes behind the end of the reply");
            if input.len() == found.end + length {
                let body = input.split_off(found.end);
                return Ok((head.expect("it was just read"), body));
            }
        }
    }
}

/// One request on a connection of its own that must be answered with 200 and the backend's body.
pub(crate) fn check(address: SocketAddr, path: &str) -> Result<Head> {
    let mut stream = connect(address)?;
    let (head, body) = exchange(&mut stream, path, true)?;
    ensure!(head.status == 200, "{path} was answered with {}, expected 200", head.status);
    ensure!(
        Some(&body) == crate::backend::body(path).as_ref(),
        "{path} was answered with another body than the backend's ({} bytes)",
        body.len()
    );
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nconnection: close\r\nX-Generation: 4\r\n\r\nabc";
        assert_eq!(parse_head(&text[..20]).expect("a partial head"), None);
        assert_eq!(
            parse_head(text).expect("a whole head"),
            Some(Head {
                status: 200,
                length: Some(3),
                close: true,
                generation: Some(4),
                end: text.len() - 3,
            })
        );
    }

    #[test]
    fn the_backend_answers_every_path_and_echoes() {
        let listener = crate::backend::listen().expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        std::thread::spawn(move || crate::backend::serve(listener));
        let mut stream = connect(address).expect("the backend listens");
        for path in ["/small", "/16k", "/1m", "/small"] {
            let (head, body) = exchange(&mut stream, path, false).expect("a reply");
            assert_eq!((head.status, head.close), (200, false), "{path}");
            assert_eq!(Some(body), crate::backend::body(path), "{path}");
        }
        assert_eq!(check(address, "/16k").expect("a reply").status, 200);
        let error = check(address, "/absent").expect_err("no such path");
        assert_eq!(error.to_string(), "/absent was answered with 404, expected 200");
        let mut socket = crate::websocket::WebSocket::open(address).expect("an upgrade");
        let deadline = std::time::Instant::now() + REPLY_TIMEOUT;
        for message in ["one", "two"] {
            socket.send(message).expect("an open WebSocket");
            socket.expect(message, deadline).expect("an echo");
        }
    }
}
