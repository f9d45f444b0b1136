//! Both ends of a WebSocket, as far as a proxy can see: the handshake, then bytes of any kind.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Client, Then, Upstream};

pub const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Switches protocols, then sends back what comes until its end.
pub fn echo() -> Upstream {
    Upstream::new(|request, stream| {
        if request.header("upgrade") != Some("websocket") {
            let _ = stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
            return Then::Keep;
        }
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        if stream.write_all(head.as_bytes()).is_ok() {
            pump(stream);
        }
        Then::Close
    })
}

/// The script keeps the thread that reads requests, so all bytes behind the head are its own. One word ends it.
fn pump(stream: &mut TcpStream) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count) = stream.read(&mut piece) {
        if count == 0 || piece[..count].ends_with(b"bye") || stream.write_all(&piece[..count]).is_err() {
            return;
        }
    }
}

/// Opens a WebSocket through a server.
pub fn open(port: u16) -> Client {
    let mut client = Client::connect(port);
    client.send(HANDSHAKE);
    let answer = client.answer();
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    client
}

/// Sends something and asserts that it comes back.
pub fn assert_echo(client: &mut Client, bytes: &[u8]) {
    let sending = client.stream.try_clone().expect("another handle");
    let copy = bytes.to_vec();
    let sender = std::thread::spawn(move || (&sending).write_all(&copy));
    assert!(client.take(bytes.len()) == bytes, "what came back is not what was sent");
    sender.join().expect("it writes and nothing else").expect("all is taken");
}
