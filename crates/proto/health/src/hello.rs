//! The first bytes of TLS, MySQL and AJP servers.

use crate::http::Step;
use crate::reason::{Reason, Verdict};

/// Cipher suites of TLS 1.3 (RFC 8446, appendix B.4) and the common ones of TLS 1.2 and before.
const SUITES: [u16; 17] = [
    0x1301, 0x1302, 0x1303, // TLS 1.3
    0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, // ECDHE with AEAD
    0xc009, 0xc013, 0xc00a, 0xc014, // ECDHE with CBC
    0x009c, 0x009d, 0x002f, 0x0035, // RSA
];

/// x25519, P-256, P-384, P-521.
const GROUPS: [u16; 4] = [0x001d, 0x0017, 0x0018, 0x0019];

/// ECDSA, RSA-PSS, RSA-PKCS1 with SHA-256 to SHA-512, and SHA-1 for old servers; Ed25519.
const SIGNATURES: [u16; 12] =
    [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0603, 0x0806, 0x0601, 0x0807, 0x0201, 0x0203];

/// Versions of TLS, 1.3 to 1.0.
const VERSIONS: [u16; 4] = [0x0304, 0x0303, 0x0302, 0x0301];

/// A ClientHello without a server name that servers of TLS 1.0 to 1.3 answer (RFC 8446, section 4.1.2; RFC 5246, section
/// 7.4.1.2). Nobody goes on with the handshake, so nothing in it has to be secret or fresh.
pub(crate) fn client_hello() -> Vec<u8> {
    let share: [u8; 32] = std::array::from_fn(|n| 0x40 + n as u8);
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, content: &[u8]| {
        extensions.extend_from_slice(&kind.to_be_bytes());
        put_sized(&mut extensions, 2, content);
    };
    extension(0xff01, &[0]); // renegotiation_info
    extension(0x0017, &[]); // extended_master_secret
    extension(0x000a, &sized(2, &words(&GROUPS)));
    extension(0x000b, &[1, 0]); // ec_point_formats: uncompressed
    extension(0x000d, &sized(2, &words(&SIGNATURES)));
    extension(0x002b, &sized(1, &words(&VERSIONS)));
    extension(0x002d, &[1, 1]); // psk_key_exchange_modes: with (EC)DHE
    let entry = [&words(&GROUPS[..1])[..], &sized(2, &share)].concat();
    extension(0x0033, &sized(2, &entry)); // key_share

    let mut body = vec![3, 3];
    body.extend((0..32).map(|n: u8| n.wrapping_mul(37) ^ 0x5a)); // random
    put_sized(&mut body, 1, &[0x77; 32]); // a session id, for middleboxes (RFC 8446, appendix D.4)
    put_sized(&mut body, 2, &words(&SUITES));
    put_sized(&mut body, 1, &[0]); // no compression
    put_sized(&mut body, 2, &extensions);

    let message = [&[1][..], &sized(3, &body)].concat();
    [&[22, 3, 1][..], &sized(2, &message)].concat()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn sized(width: usize, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_sized(&mut out, width, content);
    out
}

/// Appends the length in `width` bytes, and the content.
fn put_sized(out: &mut Vec<u8>, width: usize, content: &[u8]) {
    let length = (content.len() as u64).to_be_bytes();
    out.extend_from_slice(&length[8 - width..]);
    out.extend_from_slice(content);
}

/// Passes for a ServerHello (also one that asks for another key share): the server speaks TLS.
pub(crate) fn judge_tls(input: &[u8]) -> Step {
    match *input {
        [21, 3, _, 0, 2, _, alert, ..] => Step::fail(Reason::Alert(alert)),
        [22, 3, _, high, low, ..] if u16::from_be_bytes([high, low]) < 4 => garbage("tls", "short record"),
        [22, 3, _, _, _, 2, ..] => pass(Reason::ServerHello),
        [22, 3, _, _, _, _, ..] => garbage("tls", "first message is no server hello"),
        [21, 3, _, high, low, ..] if [high, low] != [0, 2] => garbage("tls", "bad alert"),
        [] | [21 | 22] | [21 | 22, 3] | [21 | 22, 3, ..] => Step::Short,
        _ => garbage("tls", "first record is no handshake"),
    }
}

/// Passes for a greeting: packet number 0 with protocol 9 or 10.
pub(crate) fn judge_mysql(input: &[u8]) -> Step {
    match *input {
        [_, _, _, number, ..] if number != 0 => garbage("mysql", "first packet is not number 0"),
        [_, _, _, _, 0xff, low, high, ..] => Step::fail(Reason::SqlError(u16::from_le_bytes([low, high]))),
        [_, _, _, _, 9 | 10, ..] => pass(Reason::Greeting),
        [_, _, _, _, 0xff, ..] | [] | [_] | [_, _] | [_, _, _] | [_, _, _, _] => Step::Short,
        _ => garbage("mysql", "unknown protocol version"),
    }
}

/// CPing of AJP 1.3, and the answer CPong.
pub(crate) const AJP_PING: [u8; 5] = [0x12, 0x34, 0, 1, 10];
const AJP_PONG: [u8; 5] = [0x41, 0x42, 0, 1, 9];

pub(crate) fn judge_ajp(input: &[u8]) -> Step {
    if input.starts_with(&AJP_PONG) {
        return Step::Done { verdict: Verdict::pass(Reason::Pong), reusable: Some(AJP_PONG.len()) };
    }
    if AJP_PONG.starts_with(input) { Step::Short } else { garbage("ajp", "no cpong packet") }
}

fn pass(reason: Reason) -> Step {
    Step::Done { verdict: Verdict::pass(reason), reusable: None }
}

fn garbage(expected: &'static str, found: &'static str) -> Step {
    Step::fail(Reason::Garbage(expected, found))
}
