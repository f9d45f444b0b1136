//! Who may read and who may write.

use subtle::ConstantTimeEq;
use weir_model::Secret;

use super::{Query, Verb};

/// The two tokens of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    /// Absent: who may read may write.
    pub(crate) write: Option<Secret>,
    /// Absent: everybody may read.
    pub(crate) read: Option<Secret>,
}

impl Tokens {
    /// The write token opens everything. With a read token alone nothing is open without it: writing is not less than
    /// reading, since a transaction reads as well.
    pub(crate) fn allow(&self, verb: Verb, shown: Option<&str>) -> bool {
        let needed = match verb {
            Verb::Get => self.read.as_ref(),
            Verb::Put | Verb::Post | Verb::Delete => self.write.as_ref().or(self.read.as_ref()),
        };
        let Some(needed) = needed else { return true };
        let Some(shown) = shown else { return false };
        same(needed, shown) | self.write.as_ref().is_some_and(|write| same(write, shown))
    }

    /// Whether a write needs a token.
    pub(crate) fn guard_writes(&self) -> bool {
        self.write.is_some() || self.read.is_some()
    }
}

/// In a time that says nothing about where the two differ.
fn same(secret: &Secret, shown: &str) -> bool {
    secret.0.as_bytes().ct_eq(shown.as_bytes()).into()
}

/// The token of a request: Consul asks the query first.
pub(crate) fn token<'a>(query: &'a Query, header: Option<&'a str>) -> Option<&'a str> {
    query.first("token").filter(|token| !token.is_empty()).or(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(write: Option<&str>, read: Option<&str>) -> Tokens {
        let secret = |word: Option<&str>| word.map(|word| Secret(word.to_owned()));
        Tokens { write: secret(write), read: secret(read) }
    }

    #[test]
    fn rights_follow_the_token() {
        let open = tokens(None, None);
        assert!(open.allow(Verb::Get, None) && open.allow(Verb::Put, None));

        let writing = tokens(Some("w"), None);
        assert!(writing.allow(Verb::Get, None));
        assert!(!writing.allow(Verb::Put, None) && !writing.allow(Verb::Delete, Some("x")));
        assert!(writing.allow(Verb::Delete, Some("w")));

        let both = tokens(Some("w"), Some("r"));
        assert!(
            !both.allow(Verb::Get, None)
                && both.allow(Verb::Get, Some("r"))
                && both.allow(Verb::Get, Some("w"))
        );
        assert!(!both.allow(Verb::Put, Some("r")) && both.allow(Verb::Put, Some("w")));

        let reading = tokens(None, Some("r"));
        assert!(!reading.allow(Verb::Put, None) && reading.allow(Verb::Put, Some("r")));
        assert!(!reading.allow(Verb::Get, Some("")));
    }

    #[test]
    fn the_query_counts_before_the_header() {
        assert_eq!(token(&Query::parse("a=b"), None), None);
        assert_eq!(token(&Query::parse("token="), Some("second")), Some("second"));
        assert_eq!(token(&Query::parse("token=first"), Some("second")), Some("first"));
    }
}
