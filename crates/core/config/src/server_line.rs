//! The words of a `server` line for those who read them outside of a configuration: folders, tags of services.

use weir_model::Peer;
use weir_syntax::{Directive, Span, Word};

use crate::address::Authority;
use crate::args::Args;

/// Where a `server` line points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// An IPv6 address stands without its brackets; the port is absent where the text has none.
    Inet {
        host: String,
        port: Option<u16>,
    },
    Unix(String),
}

/// Reads the address of a `server` line: `host`, `host:port`, `[IPv6]:port`, `unix:PATH`.
///
/// # Errors
/// nginx's words: `invalid port`.
pub fn server_address(text: &str) -> Result<ServerAddress, &'static str> {
    Ok(match Authority::parse(text, false)? {
        Authority::Inet { host, port, .. } => {
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            ServerAddress::Inet { host: host.to_owned(), port }
        }
        Authority::Unix { path, .. } => ServerAddress::Unix(path.to_owned()),
    })
}

/// Reads one parameter of a `server` line, such as `weight=5` or `backup`, into a peer.
///
/// # Errors
/// nginx's words and the remedy.
pub fn server_parameter(peer: &mut Peer, text: &str) -> Result<(), String> {
    let word = |text: &str| Word { text: text.to_owned(), span: Span::default(), quoted: false };
    let line = Directive {
        name: word("server"),
        args: vec![word(text)],
        block: None,
        span: Span::default(),
        close: None,
    };
    crate::peer::parameter(peer, &Args::new(&line), 0, false).map_err(|problem| {
        let mut words = problem.message;
        for help in problem.help {
            words.push_str("; ");
            words.push_str(&help);
        }
        words
    })
}

#[cfg(test)]
mod tests {
    use weir_model::{ListenAddress, Millis};

    use super::*;

    #[test]
    fn words_of_a_line() {
        let mut peer = Peer::new(ListenAddress::Unix("/a".to_owned()), "unix:/a");
        for word in ["weight=3", "fail_timeout=1m", "backup"] {
            assert_eq!(server_parameter(&mut peer, word), Ok(()));
        }
        assert_eq!((peer.weight, peer.fail_timeout, peer.backup), (3, Millis(60_000), true));
        let error = server_parameter(&mut peer, "wieght=1").expect_err("misspelt");
        assert_eq!(error, r#"invalid parameter "wieght=1"; did you mean "weight="?"#);
    }

    #[test]
    fn addresses_lose_their_brackets() {
        let inet = |host: &str, port| Ok(ServerAddress::Inet { host: host.to_owned(), port });
        assert_eq!(server_address("[2001:db8::1]:80"), inet("2001:db8::1", Some(80)));
        assert_eq!(server_address("app"), inet("app", None));
        assert_eq!(server_address("unix:/s"), Ok(ServerAddress::Unix("/s".to_owned())));
        assert_eq!(server_address("app:x"), Err("invalid port"));
    }
}
