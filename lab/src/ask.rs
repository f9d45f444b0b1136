//! One request of a probe, on a runtime that lives in the network of its host.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::probe::{Kind, Outcome, ProbePlan};

pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) by: Option<String>,
    pub(crate) node: Option<String>,
}

/// A runtime on the calling thread, which has entered a network before.
pub(crate) fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().map_err(Error::io("a runtime"))
}

/// What a probe reads of an answer, bytes.
const MOST: u64 = 65_536;

pub(crate) async fn ask(plan: &ProbePlan) -> io::Result<Answer> {
    let plain = Answer { outcome: Outcome::Answered, by: None, node: None };
    match &plan.kind {
        Kind::Tcp => TcpStream::connect(plan.to).await.map(|_| plain),
        Kind::Ping => ping(plan.to).await.map(|()| plain),
        Kind::Http { path, host } => {
            let mut stream = TcpStream::connect(plan.to).await?;
            let question = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
            stream.write_all(question.as_bytes()).await?;
            let mut bytes = Vec::with_capacity(512);
            stream.take(MOST).read_to_end(&mut bytes).await?;
            read(&String::from_utf8_lossy(&bytes))
        }
    }
}

fn read(text: &str) -> io::Result<Answer> {
    // A connection that closes before the head is complete has broken.
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let outcome = match status.split(' ').nth(1) {
        Some("200") => Outcome::Answered,
        _ => Outcome::Wrong(status.to_owned()),
    };
    let node = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("x-node"))
        .map(|(_, value)| value.trim().to_owned());
    let by = body.lines().next().map(|line| line.chars().take(40).collect());
    Ok(Answer { outcome, by, node })
}

/// An echo by the kernel's own ICMP sockets, which fill in identifier and checksum.
async fn ping(to: SocketAddr) -> io::Result<()> {
    let (domain, protocol, kind) = match to {
        SocketAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        SocketAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.connect(SocketAddr::new(to.ip(), 0)).await?;
    socket.send(&[kind, 0, 0, 0, 0, 0, 0, 1]).await?;
    socket.recv(&mut [0; 64]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_who_gave_it() {
        let answer = read("HTTP/1.1 200 OK\r\nx-node: n1\r\n\r\none\nmore").expect("an answer");
        assert_eq!(
            (answer.outcome, answer.by.as_deref(), answer.node.as_deref()),
            (Outcome::Answered, Some("one"), Some("n1"))
        );
        let wrong = read("HTTP/1.1 502 Bad Gateway\r\n\r\n").expect("an answer").outcome;
        assert_eq!(wrong, Outcome::Wrong("HTTP/1.1 502 Bad Gateway".to_owned()));
        let cut = read("HTTP/1.1 200").map(|a| a.outcome).expect_err("no head");
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
