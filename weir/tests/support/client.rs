//! A client that sends bytes and reads answers by their framing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::common::{Server, text};

/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    pub stream: TcpStream,
    /// What was read beyond the last answer.
    ahead: Vec<u8>,
}

/// One answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The status line without its end.
    pub line: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The body ended as its framing says, and not with the connection.
    pub complete: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        text(&self.body)
    }
}

impl Client {
    pub fn to(server: &Server) -> Client {
        Client::connect(server.site.port)
    }

    pub fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Client { stream, ahead: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes it");
    }

    /// Sends what a server may refuse to take to its end.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shut down");
    }

    /// The answer to a request that was not HEAD.
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    pub fn answer_to(&mut self, method: &str) -> Answer {
        let head = self.head();
        let mut answer = parse_head(&head);
        if method == "HEAD" || answer.status < 200 || matches!(answer.status, 204 | 304) {
            return answer;
        }
        let length = answer.header("content-length").map(|value| value.parse().expect("a length"));
        if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer);
        } else if let Some(length) = length {
            while self.ahead.len() < length && self.more() {}
            answer.complete = self.ahead.len() >= length;
            let length = length.min(self.ahead.len());
            answer.body = self.ahead.drain(..length).collect();
        } else {
            answer.body = self.rest();
        }
        answer
    }

    /// Bytes of a head with its empty line.
    pub fn head(&mut self) -> String {
        let end = loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.more(), "the connection ended inside a head: {:?}", text(&self.ahead));
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        text(&head)
    }

    fn chunks(&mut self, answer: &mut Answer) {
        answer.complete = false;
        loop {
            let Some(line) = self.line() else { return };
            let size = usize::from_str_radix(&line, 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            while self.ahead.len() < size + 2 {
                if !self.more() {
                    answer.body.append(&mut self.ahead);
                    return;
                }
            }
            answer.body.extend(self.ahead.drain(..size));
            assert_eq!(self.ahead.drain(..2).collect::<Vec<u8>>(), b"\r\n", "the end of a chunk");
        }
        loop {
            match self.line() {
                None => return,
                Some(line) if line.is_empty() => break,
                Some(line) => answer.trailers.push(field(&line)),
            }
        }
        answer.complete = true;
    }

    fn line(&mut self) -> Option<String> {
        let end = loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                break end;
            }
            if !self.more() {
                return None;
            }
        };
        let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
        Some(text(&line[..end]))
    }

    /// Reads until something new is there. False at the end of the connection.
    pub fn more(&mut self) -> bool {
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.ahead.extend_from_slice(&piece[..count]);
                true
            }
            // A server that closes with unread bytes in its buffer resets the connection.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the server neither sent nor closed: {error}"),
        }
    }

    /// All bytes up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.ahead)
    }

    /// Reads exactly so many bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.more(), "the connection ended after {} bytes of {count}", self.ahead.len());
        }
        self.ahead.drain(..count).collect()
    }

    /// Asserts that the server closes without another byte.
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more came before the end: {:?}", text(&rest));
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header line: {line:?}"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

fn parse_head(head: &str) -> Answer {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let line = lines.next().expect("a status line").to_owned();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no status line: {line:?}")),
        line,
        headers: lines.map(field).collect(),
        body: Vec::new(),
        trailers: Vec::new(),
        complete: true,
    }
}
