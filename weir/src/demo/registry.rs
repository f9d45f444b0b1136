//! What a release script would do: put applications into the registry, and wait until the proxy has them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What takes longer is a fault.
const PATIENCE: Duration = Duration::from_secs(5);

/// Puts one application in.
pub(super) fn register(registry: u16, application: &SocketAddr) -> io::Result<()> {
    let path = format!("/v1/kv/applications/{application}");
    let answer = ask(registry, "PUT", &path, r#"{"max_fails":1,"fail_timeout":1}"#)?;
    if answer.ends_with("true") {
        return Ok(());
    }
    Err(io::Error::other(format!("the registry answered: {answer}")))
}

/// Waits until the proxy balances over so many.
pub(super) fn await_all(proxy: u16, count: usize) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let wanted = format!("Backend server count: {count}");
    while !ask(proxy, "GET", "/peers", "")?.contains(&wanted) {
        if Instant::now() > end {
            return Err(io::Error::other("the proxy does not take over what the registry has"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn ask(port: u16, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: demo\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
