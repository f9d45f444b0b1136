//! Host names, along nginx's `http_host.t`.

use crate::wire::host::{HostError, HostParts, parse_host};

#[test]
fn accepted() {
    for (value, name, port) in [
        ("L", "l", None),
        ("abcd-ef.g02.xyz:", "abcd-ef.g02.xyz", None),
        ("abcd-ef.g02.xyz:0", "abcd-ef.g02.xyz", None),
        ("www.abcd-ef.g02.xyz.", "www.abcd-ef.g02.xyz", None),
        ("abcd-ef.g02.xyz.:88", "abcd-ef.g02.xyz", Some(88)),
        (".a", ".a", None),
        ("123.49.0.78:65535", "123.49.0.78", Some(65535)),
        ("a:00000080", "a", Some(80)),
        ("a%20_b", "a%20_b", None),
        ("[ABCD::ef98:0:7654:321]:80", "[abcd::ef98:0:7654:321]", Some(80)),
        ("[::123.45.67.89]:4321", "[::123.45.67.89]", Some(4321)),
        ("[v1.!$&'()*+,;=-._~Ab9:]", "[v1.!$&'()*+,;=-._~ab9:]", None),
        ("[]", "[]", None),
    ] {
        let mut out = b"before".to_vec();
        assert_eq!(parse_host(value.as_bytes(), &mut out), Ok(HostParts { port }), "{value}");
        assert_eq!(out, name.as_bytes(), "{value}");
    }
}

#[test]
fn refused() {
    for (value, error) in [
        ("", HostError::Empty),
        (".", HostError::Empty),
        (":80", HostError::Empty),
        (".:80", HostError::Empty),
        ("a..", HostError::DoubleDot),
        ("..examp-LE.com", HostError::DoubleDot),
        ("[ab..cd::1]", HostError::DoubleDot),
        ("example.com.:1.2", HostError::Port),
        ("a:65536", HostError::Port),
        ("a:98777", HostError::Port),
        ("a:9000:80", HostError::Port),
        ("a:-1", HostError::Port),
        ("example.com/\\:552", HostError::Byte(b'/')),
        ("a b", HostError::Byte(b' ')),
        ("localhost\u{2}", HostError::Byte(2)),
        ("a\u{e9}", HostError::Byte(0xc3)),
        ("extra[::1]:98", HostError::Byte(b'[')),
        ("[::1].", HostError::Byte(b'.')),
        ("[::1].:98", HostError::Byte(b'.')),
        ("[abcd::e\\f98]", HostError::Byte(b'\\')),
        ("[a%25]", HostError::Byte(b'%')),
        ("[::1", HostError::Literal),
    ] {
        let mut out = b"before".to_vec();
        assert_eq!(parse_host(value.as_bytes(), &mut out), Err(error), "{value}");
        assert_eq!(out, b"");
    }
}
