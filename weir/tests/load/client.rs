//! One connection of a client that believes nothing: an answer is complete and well-formed, or an error.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Connection {
    pub stream: TcpStream,
    /// Read, and not yet used.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let first = found.next().map(|(_, value)| value.as_str());
        if found.next().is_some() { None } else { first }
    }

    /// Whether the connection ends with it.
    pub fn is_last(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Connection {
    pub async fn open(proxy: SocketAddr) -> Result<Connection, String> {
        let stream = TcpStream::connect(proxy).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Connection { stream, bytes: Vec::new() })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| format!("while sending: {error}"))
    }

    /// What ends a connection on which nothing runs: true for its proper end.
    pub async fn idle_end(&mut self) -> (bool, String) {
        match self.stream.read_buf(&mut self.bytes).await {
            Ok(0) => (true, "the end".to_owned()),
            Ok(_) => (false, format!("bytes that nobody asked for: {:?}", self.lossy())),
            Err(error) => (false, error.to_string()),
        }
    }

    /// The head of an answer, and its body unless it is 101.
    pub async fn answer(&mut self) -> Result<Answer, String> {
        let end = loop {
            match self.bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more("in the head").await?,
            }
        };
        let head: Vec<u8> = self.bytes.drain(..end).collect();
        let head = String::from_utf8(head).map_err(|error| format!("a head that is no text: {error}"))?;
        let mut answer = read_head(&head)?;
        if answer.status == 101 {
            return Ok(answer);
        }
        answer.body = match (answer.header("content-length"), answer.header("transfer-encoding")) {
            (Some(length), None) => {
                let length = length.parse().map_err(|_| format!("content-length {length:?}"))?;
                self.take(length).await?
            }
            (None, Some("chunked")) => self.chunks().await?,
            _ => return Err(format!("no single length: {head:?}")),
        };
        if self.bytes.is_empty() {
            return Ok(answer);
        }
        Err(format!("bytes behind the answer: {:?}", self.lossy()))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.bytes.windows(2).position(|window| window == b"\r\n") {
                    Some(at) => break at,
                    None => self.more("in the length of a chunk").await?,
                }
            };
            let line: Vec<u8> = self.bytes.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&line);
            let length = usize::from_str_radix(text.trim_end(), 16).map_err(|_| format!("chunk {text:?}"))?;
            let chunk = self.take(length + 2).await?;
            let chunk = chunk.strip_suffix(b"\r\n").ok_or("a chunk without its end")?;
            if chunk.is_empty() {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        while self.bytes.len() < length {
            self.more("in the body").await?;
        }
        Ok(self.bytes.drain(..length).collect())
    }

    /// Loses nothing when it is given up.
    pub async fn more(&mut self, place: &str) -> Result<(), String> {
        match self.stream.read_buf(&mut self.bytes).await {
            Ok(0) => Err(format!("the end {place}, after {:?}", self.lossy())),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error} {place}, after {:?}", self.lossy())),
        }
    }

    fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.bytes).chars().take(200).collect()
    }
}

fn read_head(head: &str) -> Result<Answer, String> {
    let wrong = || format!("no head of an answer: {head:?}");
    let mut lines = head.strip_suffix("\r\n\r\n").ok_or_else(wrong)?.split("\r\n");
    let line = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).ok_or_else(wrong)?;
    let status = line.get(..3).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(wrong());
        }
        Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
    };
    Ok(Answer { status, headers: lines.map(header).collect::<Result<_, _>>()?, body: Vec::new() })
}
