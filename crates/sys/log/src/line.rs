//! The form of an error log's line.

use std::fmt::{self, Write as _};
use std::io;

use weir_model::Level;

use crate::clock;

/// Longer lines are cut: nginx's bound, which tools that read such logs are built for.
const MAX_LINE: usize = 2048;

/// An error of the system in nginx's form: ` (111: Connection refused)` follows a message as `{}`.
/// An error that no system call made shows its text alone.
#[derive(Debug, Clone, Copy)]
pub struct Errno<'a>(pub &'a io::Error);

impl fmt::Display for Errno<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match self.0.raw_os_error() {
            Some(code) => {
                let suffix = format!(" (os error {code})");
                write!(f, "({code}: {})", text.strip_suffix(&suffix).unwrap_or(&text))
            }
            None => write!(f, "({text})"),
        }
    }
}

/// What a line says about the request it belongs to; absent parts are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// ` while reading response header from upstream`: the words after "while"
    pub action: Option<&'a str>,
    /// the client's address
    pub client: Option<&'a str>,
    /// the server's first name, or the listener's address before a request was read
    pub server: Option<&'a str>,
    /// the request line
    pub request: Option<&'a [u8]>,
    /// the URI of a subrequest
    pub subrequest: Option<&'a [u8]>,
    /// scheme, peer and URI: `http://127.0.0.1:8080/path`
    pub upstream: Option<&'a [u8]>,
    /// the Host header
    pub host: Option<&'a [u8]>,
    /// the Referer header
    pub referrer: Option<&'a [u8]>,
}

impl Context<'_> {
    /// Nothing is known.
    pub const NONE: Context<'static> = Context {
        action: None,
        client: None,
        server: None,
        request: None,
        subrequest: None,
        upstream: None,
        host: None,
        referrer: None,
    };

    fn write(&self, line: &mut Vec<u8>) {
        let mut part = |before: &str, value: Option<&[u8]>, after: &str| {
            if let Some(value) = value {
                line.extend_from_slice(before.as_bytes());
                escape(value, line);
                line.extend_from_slice(after.as_bytes());
            }
        };
        part(" while ", self.action.map(str::as_bytes), "");
        part(", client: ", self.client.map(str::as_bytes), "");
        part(", server: ", self.server.map(str::as_bytes), "");
        part(", request: \"", self.request, "\"");
        part(", subrequest: \"", self.subrequest, "\"");
        part(", upstream: \"", self.upstream, "\"");
        part(", host: \"", self.host, "\"");
        part(", referrer: \"", self.referrer, "\"");
    }
}

/// Appends bytes with control characters as `\x0A`, so that no client can start a line of its own, and with what
/// is no UTF-8 as `\xFF`, so that the log is text.
pub fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for (at, letter) in chunk.valid().char_indices() {
            let letter_bytes = &chunk.valid().as_bytes()[at..at + letter.len_utf8()];
            if letter.is_control() {
                hexadecimal(letter_bytes, out);
            } else {
                out.extend_from_slice(letter_bytes);
            }
        }
        hexadecimal(chunk.invalid(), out);
    }
}

fn hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text.as_bytes(), self.0);
        Ok(())
    }
}

/// `2026/11/21 06:45:01 [error] 12#13: *17 message, client: ..., host: "x"` and LF.
pub(crate) fn write_line(
    line: &mut Vec<u8>,
    level: Level,
    conn: Option<u64>,
    message: fmt::Arguments<'_>,
    context: &Context<'_>,
) {
    clock::with(|time| line.extend_from_slice(time.error_log().as_bytes()));
    let pid = rustix::process::getpid();
    let tid = rustix::thread::gettid();
    let mut text = Escaped(line);
    // Writing to memory does not fail; a message whose Display does is cut there.
    let _ = write!(text, " [{}] {pid}#{tid}: ", level.name());
    if let Some(conn) = conn {
        let _ = write!(text, "*{conn} ");
    }
    let _ = text.write_fmt(message);
    context.write(line);
    line.truncate(MAX_LINE - 1);
    line.push(b'\n');
}

/// What a starting process says to the terminal: `nginx: [emerg] message` and LF.
pub fn startup_line(level: Level, message: impl fmt::Display) -> String {
    format!("nginx: [{}] {message}\n", level.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(conn: Option<u64>, message: fmt::Arguments<'_>, context: &Context<'_>) -> String {
        let mut out = Vec::new();
        write_line(&mut out, Level::Error, conn, message, context);
        let text = String::from_utf8(out).expect("text");
        let (date, rest) = text.split_at(19);
        assert!(jiff::fmt::strtime::parse("%Y/%m/%d %H:%M:%S", date).is_ok(), "{date}");
        let id = format!(" [error] {}#{}: ", std::process::id(), rustix::thread::gettid());
        rest.strip_prefix(&id).expect("level and ids").to_owned()
    }

    #[test]
    fn all_parts_in_order() {
        let context = Context {
            action: Some("connecting to upstream"),
            client: Some("192.0.2.9"),
            server: Some("example.com"),
            request: Some(b"GET / HTTP/1.1"),
            subrequest: Some(b"/auth"),
            upstream: Some(b"http://127.0.0.1:8080/"),
            host: Some(b"example.com"),
            referrer: Some(b"http://a/"),
        };
        let refused = io::Error::from_raw_os_error(111);
        let text = line(Some(17), format_args!("connect() failed {}", Errno(&refused)), &context);
        assert_eq!(
            text,
            "*17 connect() failed (111: Connection refused) while connecting to upstream, \
             client: 192.0.2.9, server: example.com, request: \"GET / HTTP/1.1\", subrequest: \"/auth\", \
             upstream: \"http://127.0.0.1:8080/\", host: \"example.com\", referrer: \"http://a/\"\n"
        );
    }

    #[test]
    fn bare_message() {
        assert_eq!(line(None, format_args!("start"), &Context::NONE), "start\n");
    }

    #[test]
    fn control_characters_are_escaped_everywhere() {
        let context = Context { request: Some(b"GET /\r\n\x00\x7f\xc3\xa9\x1b[2J"), ..Context::NONE };
        let text = line(None, format_args!("odd {}", "a\nb\tc"), &context);
        assert_eq!(text, "odd a\\x0Ab\\x09c, request: \"GET /\\x0D\\x0A\\x00\\x7Fé\\x1B[2J\"\n");
    }

    #[test]
    fn a_line_is_text() {
        let context = Context { request: Some(b"\x16\x03 \xc3\xa9\xff\xfe\xc3"), ..Context::NONE };
        // U+009B starts a command of some terminals.
        let text = line(None, format_args!("a\u{9b}b"), &context);
        assert_eq!(text, "a\\xC2\\x9Bb, request: \"\\x16\\x03 é\\xFF\\xFE\\xC3\"\n");
    }

    #[test]
    fn long_lines_are_cut() {
        let mut out = Vec::new();
        let long = "x".repeat(5000);
        write_line(&mut out, Level::Crit, None, format_args!("{long}"), &Context::NONE);
        assert_eq!(out.len(), MAX_LINE);
        assert!(out.ends_with(b"x\n"));
    }

    #[test]
    fn starting_up() {
        let text = startup_line(Level::Emerg, "unknown directive \"x\" in /etc/nginx/nginx.conf:3");
        assert_eq!(text, "nginx: [emerg] unknown directive \"x\" in /etc/nginx/nginx.conf:3\n");
    }

    #[test]
    fn errors_without_a_number() {
        assert_eq!(Errno(&io::Error::other("odd")).to_string(), "(odd)");
    }
}
