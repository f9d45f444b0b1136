//! Who may ask what.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION};
use subtle::ConstantTimeEq;
use weir_model::Secret;

use crate::problem::Problem;

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// Who can open the socket may do everything: the permissions of the file decide.
    Unix {
        uid: Option<u32>,
    },
    Tcp(SocketAddr),
    /// Over another listener of this process, which has looked at its own tokens.
    Admitted {
        address: Option<IpAddr>,
        vouched: bool,
        may_write: bool,
    },
}

impl Origin {
    /// Who it was, where the request does not say it.
    pub(crate) fn name(self) -> String {
        match self {
            Origin::Unix { uid: Some(uid) } => format!("uid {uid}"),
            Origin::Unix { uid: None } => "local user".to_owned(),
            Origin::Tcp(address) => address.ip().to_string(),
            Origin::Admitted { address: Some(address), .. } => address.to_string(),
            Origin::Admitted { address: None, .. } => "local user".to_owned(),
        }
    }
}

/// What has to be shown over TCP, as `Authorization: Bearer TOKEN`.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// For what changes something; absent: nobody may over TCP.
    pub write: Option<Secret>,
    /// Absent: everybody may read. Who may write may read.
    pub read: Option<Secret>,
}

impl Tokens {
    pub(crate) fn admit(&self, origin: Origin, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let shown = token(headers);
        let is = |secret: &Option<Secret>| match (secret, shown) {
            (Some(secret), Some(shown)) => bool::from(secret.0.as_bytes().ct_eq(shown)),
            _ => false,
        };
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match origin {
            Origin::Unix { .. } => return Ok(()),
            Origin::Admitted { vouched, may_write, .. } if may_write || reads && vouched => return Ok(()),
            Origin::Admitted { .. } | Origin::Tcp(_) => {}
        }
        if is(&self.write) || reads && (self.read.is_none() || is(&self.read)) {
            return Ok(());
        }
        let error = match shown {
            _ if !reads && self.write.is_none() => {
                "changes over TCP are not allowed: there is no write token"
            }
            None => "no token; expected Authorization: Bearer TOKEN",
            Some(_) if !reads && is(&self.read) => "this token may only read",
            Some(_) => "wrong token",
        };
        let hint = match (reads, &self.write) {
            (false, None) => "set `token write=TOKEN` in admin { }, or use the socket of the control API",
            (false, Some(_)) => "send the write token of admin { }, or use the socket of the control API",
            (true, _) => "send the read token of admin { }, or use the socket of the control API",
        };
        Err(Problem::new(StatusCode::FORBIDDEN, error, hint))
    }
}

/// RFC 6750, section 2.1; the scheme is case-insensitive (RFC 9110, section 11.1).
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Origin = Origin::Tcp(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1));

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(AUTHORIZATION, value.parse().expect("a header value"));
        }
        headers
    }

    fn refusal(tokens: &Tokens, method: &Method, value: &str) -> Option<String> {
        tokens.admit(TCP, method, &headers(value)).err().map(|problem| problem.error)
    }

    #[test]
    fn without_tokens_tcp_reads_and_changes_nothing() {
        let none = Tokens::default();
        assert_eq!(refusal(&none, &Method::GET, ""), None);
        for value in ["", "Bearer ", "Bearer x"] {
            let error = refusal(&none, &Method::PUT, value).expect("a refusal");
            assert_eq!(error, "changes over TCP are not allowed: there is no write token");
        }
        assert!(none.admit(Origin::Unix { uid: None }, &Method::PUT, &headers("")).is_ok());
    }

    #[test]
    fn another_listener_vouches_for_what_it_has_seen() {
        let secret = |text: &str| Some(Secret(text.to_owned()));
        let tokens = Tokens { write: secret("w"), read: secret("r") };
        let admitted = |vouched, may_write, method: &Method, value: &str| {
            let origin = Origin::Admitted { address: None, vouched, may_write };
            tokens.admit(origin, method, &headers(value)).is_ok()
        };
        assert!(!admitted(false, false, &Method::GET, ""), "its own read token is not got round");
        assert!(admitted(false, false, &Method::GET, "Bearer r"));
        assert!(admitted(true, false, &Method::GET, ""));
        assert!(!admitted(true, false, &Method::PUT, ""));
        assert!(admitted(true, false, &Method::PUT, "Bearer w"));
        assert!(admitted(false, true, &Method::PUT, ""));
    }

    #[test]
    fn each_token_opens_its_door() {
        let secret = |text: &str| Some(Secret(text.to_owned()));
        let both = Tokens { write: secret("w"), read: secret("r") };
        assert_eq!(refusal(&both, &Method::GET, "Bearer r"), None);
        assert_eq!(refusal(&both, &Method::GET, "bearer w"), None);
        assert_eq!(refusal(&both, &Method::DELETE, "Bearer w"), None);
        assert_eq!(refusal(&both, &Method::PUT, "Bearer r").as_deref(), Some("this token may only read"));
        assert_eq!(refusal(&both, &Method::GET, "Bearer x").as_deref(), Some("wrong token"));
        assert_eq!(refusal(&both, &Method::GET, "Bearer ").as_deref(), Some("wrong token"));
        let missing = refusal(&both, &Method::GET, "Basic r").expect("a refusal");
        assert_eq!(missing, "no token; expected Authorization: Bearer TOKEN");
    }

    #[test]
    fn tokens_are_not_shown() {
        let tokens = Tokens { write: Some(Secret("hush".to_owned())), read: None };
        assert!(!format!("{tokens:?}").contains("hush"));
    }
}
