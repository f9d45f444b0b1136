//! The authentication header as keepalived uses it for version 2 (RFC 4302, RFC 2403, RFC 2338 section 5.3.6.3).

use std::net::Ipv4Addr;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::{VRRP, secret};

/// In bytes, with 96 bits of HMAC-MD5.
pub(crate) const LEN: usize = 24;
/// Where the integrity check value is in it.
const ICV_AT: usize = 12;
const ICV_LEN: usize = LEN - ICV_AT;
/// The length of the header in its own unit: words of four bytes, less two (RFC 4302 section 2.2).
const LENGTH_WORD: u8 = 4;

/// An authentication header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) next: u8,
    pub(crate) spi: Ipv4Addr,
    pub(crate) sequence: u32,
    pub(crate) icv: [u8; ICV_LEN],
}

impl Header {
    pub(crate) fn read(bytes: &[u8; LEN]) -> Self {
        let [next, _, _, _, a, b, c, d, s0, s1, s2, s3, icv @ ..] = *bytes;
        Self { next, spi: Ipv4Addr::new(a, b, c, d), sequence: u32::from_be_bytes([s0, s1, s2, s3]), icv }
    }

    /// What is sent: the integrity check value is zero until the rest of the packet is there.
    pub(crate) fn unsigned(source: Ipv4Addr, sequence: u32) -> [u8; LEN] {
        let mut header = [0; LEN];
        let [a, b, c, d] = source.octets();
        let [s0, s1, s2, s3] = sequence.to_be_bytes();
        header[..ICV_AT].copy_from_slice(&[VRRP, LENGTH_WORD, 0, 0, a, b, c, d, s0, s1, s2, s3]);
        header
    }
}

/// The integrity check value of a whole IPv4 packet whose IP header has `header_len` bytes. Fields that change on the way
/// count as zero (RFC 4302 section 3.3.3.1.1), but keepalived counts the time to live of multicast packets.
pub(crate) fn icv(packet: &[u8], header_len: usize, password: &str, multicast: bool) -> [u8; ICV_LEN] {
    let mut image = packet.to_vec();
    let ttl = if multicast { 8..8 } else { 8..9 };
    let icv = header_len + ICV_AT..header_len + LEN;
    for mutable in [1..2, 6..8, ttl, 10..12, icv] {
        if let Some(bytes) = image.get_mut(mutable) {
            bytes.fill(0);
        }
    }
    let mut hmac = Hmac::<Md5>::new_from_slice(&secret(password)).expect("HMAC takes keys of any length");
    hmac.update(&image);
    let digest: [u8; 16] = hmac.finalize().into_bytes().into();
    *digest.first_chunk().expect("MD5 has 16 bytes")
}

/// Puts the integrity check value into a packet that is otherwise complete.
pub(crate) fn sign(packet: &mut [u8], header_len: usize, password: &str, multicast: bool) {
    let value = icv(packet, header_len, password, multicast);
    if let Some(field) = packet.get_mut(header_len + ICV_AT..header_len + LEN) {
        field.copy_from_slice(&value);
    }
}
