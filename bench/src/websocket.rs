//! WebSockets as far as the reload case needs them (RFC 6455): one handshake with a fixed key and
//! short unfragmented text frames.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::client;

/// The reply to [`handshake`]: the key is always RFC 6455's own example, so the answer is constant.
pub(crate) const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLBMiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LONGEST: usize = 125;

/// A text frame; clients must mask (RFC 6455, 5.1), servers must not.
pub(crate) fn encode(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = payload.len().min(LONGEST);
    let mut frame = Vec::with_capacity(length + 6);
    frame.push(0x81);
    frame.push(length as u8 | if mask.is_some() { 0x80 } else { 0 });
    frame.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    frame.extend(payload[..length].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The first frame of `input` as its length on the wire and its payload; `None` while it is incomplete.
pub(crate) fn decode(input: &[u8]) -> io::Result<Option<(usize, Vec<u8>)>> {
    let [first, second, ..] = input else {
        return Ok(None);
    };
    let length = usize::from(second & 0x7f);
    if *first != 0x81 || length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let masked = second & 0x80 != 0;
    let start = if masked { 6 } else { 2 };
    let Some(payload) = input.get(start..start + length) else {
        return Ok(None);
    };
    let mask = if masked { [input[2], input[3], input[4], input[5]] } else { [0; 4] };
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Ok(Some((start + length, payload)))
}

/// An open WebSocket to `/ws`.
pub(crate) struct WebSocket {
    stream: TcpStream,
}

impl WebSocket {
    /// Connects and upgrades.
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let mut stream = client::connect(address)?;
        write!(
            stream,
            "GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )?;
        let reply = client::read_head(&mut stream).context("the WebSocket handshake")?;
        ensure!(
            reply.status == 101,
            "the WebSocket handshake was answered with {}, expected 101",
            reply.status
        );
        Ok(Self { stream })
    }

    /// Sends one message.
    pub(crate) fn send(&mut self, message: &str) -> Result<()> {
        Ok(self.stream.write_all(&encode(message.as_bytes(), Some(MASK)))?)
    }

    /// Waits for the echo of `message`, at least a moment even when `deadline` has passed.
    pub(crate) fn expect(&mut self, message: &str, deadline: Instant) -> Result<()> {
        let mut input = Vec::new();
        let mut chunk = [0; 256];
        loop {
            if let Some((_, payload)) = decode(&input)? {
                ensure!(
                    payload == message.as_bytes(),
                    "the WebSocket echoed {:?}, expected {message:?}",
                    String::from_utf8_lossy(&payload)
                );
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(10))))?;
            match self.stream.read(&mut chunk)? {
                0 => bail!("the WebSocket was closed"),
                count => input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_way_there_and_back() {
        for mask in [None, Some(MASK)] {
            let frame = encode(b"tick 7", mask);
            assert_eq!(decode(&frame).expect("a valid frame"), Some((frame.len(), b"tick 7".to_vec())));
            assert_eq!(decode(&frame[..frame.len() - 1]).expect("an incomplete frame"), None);
        }
    }

    #[test]
    fn a_frame_that_is_not_text_is_refused() {
        let error = decode(&[0x88, 0x00]).expect_err("a close frame");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
