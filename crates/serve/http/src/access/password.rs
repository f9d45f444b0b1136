//! Passwords as `htpasswd` and crypt(3) store them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Length of a SHA-1 digest in bytes.
const SHA1: usize = 20;

/// Whether the check takes microseconds.
pub(super) fn is_quick(stored: &[u8]) -> bool {
    stored.starts_with(b"{")
}

/// Whether `given` is the password of which `stored` was made: `{PLAIN}`, `{SHA}`, `{SSHA}` (RFC 2307), or a
/// hash of crypt(3). A hash that cannot be read matches nothing.
pub(super) fn verify(stored: &[u8], given: &[u8]) -> bool {
    if let Some(plain) = stored.strip_prefix(b"{PLAIN}") {
        return same(plain, given);
    }
    if let Some(text) = stored.strip_prefix(b"{SSHA}") {
        let Ok(bytes) = STANDARD.decode(text) else { return false };
        let Some((digest, salt)) = bytes.split_at_checked(SHA1) else { return false };
        return same(digest, &Sha1::new().chain_update(given).chain_update(salt).finalize());
    }
    if let Some(text) = stored.strip_prefix(b"{SHA}") {
        let Ok(digest) = STANDARD.decode(text) else { return false };
        return same(&digest, &Sha1::digest(given));
    }
    let Ok(stored) = std::str::from_utf8(stored) else { return false };
    match stored.get(..3) {
        // `unix::verify` takes these two only with a number of rounds.
        Some("$5$") => crypt3_rs::crypt::sha256::verify(given, stored),
        Some("$6$") => crypt3_rs::crypt::sha512::verify(given, stored),
        _ => crypt3_rs::unix::verify(given, stored),
    }
}

/// Compares in a time that does not tell how much is alike.
fn same(left: &[u8], right: &[u8]) -> bool {
    let different = left.iter().zip(right).fold(0, |sum, (left, right)| sum | (left ^ right));
    left.len() == right.len() && std::hint::black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use super::verify;

    /// Hashes of `password`, made by htpasswd and mkpasswd.
    const HASHES: &[&str] = &[
        "{PLAIN}password",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0",
        "sa3tHJ3/KuYvI",
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        "$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.",
        "$5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1",
        "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g.",
        "$6$rounds=1000$salt$O0nhCLTaysO7YRx7RhswA9LUudDbe8n/29Fg0mCv48MlTSygeX82/gn5a5m7.zIERei.MTm0LX6AbQbQLYGS5.",
        "$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu",
    ];

    #[test]
    fn every_kind_of_hash_knows_its_password() {
        for hash in HASHES {
            assert!(verify(hash.as_bytes(), b"password"), "{hash}");
            assert!(!verify(hash.as_bytes(), b"Password"), "{hash}");
            assert!(!verify(hash.as_bytes(), b""), "{hash}");
        }
    }

    #[test]
    fn what_is_no_hash_matches_nothing() {
        let broken = [
            "",
            "x",
            "$1$",
            "$apr1$",
            "$5$",
            "$6$a",
            "$2y$",
            "$y$j9T$",
            "{SHA}",
            "{SHA}Zm9vCg==",
            "{SSHA}Zm9vCg==",
        ];
        for hash in broken {
            for given in ["", "1", "foo"] {
                assert!(!verify(hash.as_bytes(), given.as_bytes()), "{hash} {given}");
            }
        }
        assert!(!verify(b"\xff\xfe", b"1"));
    }
}
