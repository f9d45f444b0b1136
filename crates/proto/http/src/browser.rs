//! Browsers that need special care, by their User-Agent header.
//! What the care is, is up to who asks.

use memchr::memmem::find;

/// A browser as far as settings ask for it (`keepalive_disable`, `msie_padding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// Internet Explorer; `old` is version 4, 5, or 6 without its security update SV1.
    Msie {
        old: bool,
    },
    /// Safari on macOS and alike; browsers that only name it for compatibility are others.
    Safari,
    Other,
}

impl Browser {
    /// Reads a User-Agent header.
    #[must_use]
    pub fn of(user_agent: &[u8]) -> Self {
        let names = |name: &str| find(user_agent, name.as_bytes()).is_some();
        if names("Opera") {
            return Self::Other;
        }
        if let Some(at) = find(user_agent, b"MSIE ") {
            let version = user_agent.get(at + 5..).unwrap_or_default();
            let old = match version {
                [b'4' | b'5', b'.', ..] => true,
                [b'6', b'.', rest @ ..] => find(rest, b"SV1").is_none(),
                _ => false,
            };
            return Self::Msie { old };
        }
        let compatible = names("Gecko/") || names("Chrome/");
        if !compatible && names("Safari/") && names("Mac OS X") { Self::Safari } else { Self::Other }
    }

    /// Internet Explorer of any version.
    #[must_use]
    pub fn is_msie(self) -> bool {
        matches!(self, Self::Msie { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_apart() {
        let cases = [
            ("Mozilla/4.0 (compatible; MSIE 5.0; Windows)", Browser::Msie { old: true }),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", Browser::Msie { old: true }),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", Browser::Msie { old: false }),
            ("Mozilla/5.0 (compatible; MSIE 10.0)", Browser::Msie { old: false }),
            ("MSIE ", Browser::Msie { old: false }),
            ("Mozilla/4.0 (compatible; MSIE 6.0) Opera 7", Browser::Other),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X) Version/5.1 Safari/7534", Browser::Safari),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X) Chrome/90 Safari/537", Browser::Other),
            ("curl/8", Browser::Other),
        ];
        for (text, browser) in cases {
            assert_eq!(Browser::of(text.as_bytes()), browser, "{text}");
        }
    }
}
